"""The report of a run: what stands in the file, whatever the run's names are and however little it recorded."""

import base64
import hashlib
import html
import json
import re
import shutil

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from heldout.check import InputError, visible
from heldout.cli import app
from heldout.report.blocks import Folded, Table
from heldout.report.evidence import Evidence
from heldout.report.forecasts import band, forecasts, paths
from heldout.report.losses import by_moment, scored_units, with_losses
from heldout.report.optimism import drift_sentence, optimism_sentence
from heldout.report.page import _json
from heldout.report.provenance import changes, data, recipe
from heldout.report.run_report import write_report
from heldout.report.sections import headline, overfit, rivals, verdict
from tests.report.conftest import COVARIATE, TARGET
from tests.report.pages import ACTING, SCRIPT


@pytest.fixture(scope="module")
def page(run):
    return write_report(run).read_text(encoding="utf-8")


def test_the_answers_stand_in_the_order_in_which_a_reader_asks(page, run):
    asked = [
        "Does it hold up?",
        "Against what?",
        "Did it overfit?",
        "forecasts look like?",
        "done to the data?",
        "exactly was run?",
    ]
    places = [page.index(f"{title}</h2>") for title in asked]
    assert places == sorted(places)
    sentence = Evidence.read(run).scores["sentence"].replace(" %", "\u00a0%")
    assert html.escape(sentence, quote=False) in html.unescape(page).replace("&", "&amp;").replace(
        "<", "&lt;"
    ).replace(">", "&gt;")


def test_every_candidate_and_column_and_option_is_named(page, run):
    evidence = Evidence.read(run)
    shown = html.unescape(page)
    for name in [*evidence.rows, TARGET, "hidden_size", "season", evidence.about["identity"]]:
        assert name in shown


def tables(blocks):
    for block in blocks:
        if isinstance(block, Table):
            yield block
        elif isinstance(block, Folded):
            yield from tables(block.blocks)


def test_every_cell_of_a_table_has_a_heading(run):
    evidence = Evidence.read(run)
    parts = (verdict, rivals, overfit, forecasts, data, recipe)
    found = list(tables(block for part in parts for block in part(evidence).blocks))
    assert len(found) >= 8
    for table in found:
        assert {len(row) for row in table.rows} == {len(table.header)}, table.caption
        assert all(place < len(table.header) for place in table.words)


def test_no_name_of_the_data_becomes_a_tag_or_a_template(page):
    assert "<img" not in page
    assert "<b>bold" not in page
    assert "{{7*7}}" in html.unescape(page)
    assert not ACTING.search(SCRIPT.sub("", page))
    assert "title⟨U+001B⟩]0;⟨U+0007⟩⟨U+009B⟩" in page
    assert visible(COVARIATE) in html.unescape(page)


def test_a_script_runs_by_its_hash_alone(page):
    policy = html.unescape(re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)[1])
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    hashes = [
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in SCRIPT.findall(page)
    ]
    assert rules["script-src"] == " ".join(f"'sha256-{digest}'" for digest in hashes)
    assert (
        rules["default-src"] == rules["connect-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    )
    assert "unsafe" not in policy
    assert "http" not in policy


def test_nothing_in_the_page_points_elsewhere(page):
    own = SCRIPT.sub("", page)
    assert not re.search(r'\b(src|href)="(?!#|data:)', own)
    assert len(page.encode()) < 7e6


@settings(max_examples=50, deadline=None)
@given(st.text())
def test_figures_come_back_from_the_page_as_they_were(text):
    written = _json([text])
    assert not set("<>&") & set(written)
    assert not ACTING.search(written)
    if not ACTING.search(text):
        assert json.loads(written) == [text]


def test_the_losses_of_the_lines_are_those_of_the_scores(run):
    evidence = Evidence.read(run)
    units = scored_units(evidence.predictions, evidence.scale, evidence.targets)
    lost = by_moment(with_losses(evidence.predictions, units, evidence.scale.metric), "loss", "naive_loss")
    assert lost["loss"].mean() == pytest.approx(evidence.rows["heldout"]["value"], rel=1e-6)
    assert lost["naive_loss"].mean() == pytest.approx(evidence.rows["naive"]["value"], rel=1e-6)


def test_each_series_of_its_own_scale_is_divided_by_its_own_width(run):
    scale = Evidence.read(run).scale
    scale = type(scale)(
        transforms=("log",), units=(1.0,), metric="mae", centers=((9.0,), (9.0,)), widths=((2.0,), (4.0,))
    )
    table = pl.DataFrame(
        {
            "series": ["b", "a"],
            "origin": [0, 0],
            "target": ["y", "y"],
            "truth": [1.0, 1.0],
            "forecast": [np.e, np.e],
            "last_value": [1.0, np.e],
        }
    )
    lost = with_losses(table, scored_units(table, scale, ["y"]), scale.metric)
    assert lost["loss"].to_list() == pytest.approx([0.5, 0.25])
    assert lost["naive_loss"].to_list() == pytest.approx([0.0, 0.25])
    with pytest.raises(InputError, match="there are 2, and not as many have sealed rows: 1"):
        scored_units(table[:1], scale, ["y"])


@given(st.integers(1, 5), st.lists(st.integers(0, 60), min_size=1, unique=True))
def test_drawn_forecasts_follow_each_other(horizon, origins):
    lines = [(origin, origin + step, step) for origin in sorted(origins) for step in range(1, horizon + 1)]
    table = pl.DataFrame(lines, schema=["origin", "time", "step"], orient="row")
    shown = paths(table)
    assert shown["time"].is_unique().all()
    assert shown["time"].is_sorted()
    assert set(shown["origin"]) >= {min(origins)}
    if horizon == 1:
        assert len(shown) == len(table)
    for origin in origins:  # what is left out would have overlapped
        if origin not in set(shown["origin"]):
            assert any(kept < origin < kept + horizon for kept in set(shown["origin"]))


def test_the_promised_interval_is_drawn_before_the_others():
    scores = {"intervals": [{"method": "conformal", "level": 0.9}, {"method": "mc_dropout", "level": 0.8}]}
    columns = ["low", "high", "mc_low", "mc_high", "q0.05", "q0.5", "q0.95"]
    assert (band(columns, scores).low, band(columns, scores).level) == ("low", 0.9)
    assert (band(columns[2:], scores).high, band(columns[2:], scores).level) == ("mc_high", 0.8)
    assert band(columns[4:], scores).level == pytest.approx(0.9)
    assert band(["q0.5"], scores) is None


def test_the_headline_follows_the_interval():
    assert headline(0.1, 0.3, {})[1] == "good"
    assert headline(-0.3, -0.1, {})[1] == "bad"
    assert headline(-0.1, 0.1, {})[1] == headline(None, None, {})[1] == "open"
    ridge = {"name": "ridge", "heldout_skill": {"mean": -0.2, "low": -0.3, "high": -0.1}}
    assert headline(0.1, 0.3, ridge) == ("It beats the last value, but ridge is better.", "open")


@pytest.mark.parametrize(
    ("low", "high", "reading"),
    [
        (0.1, 0.3, "unseen rows cost more than training rows"),
        (-0.1, 0.3, "no overfitting is shown"),
        (None, None, "too short to tell"),
    ],
)
def test_optimism_is_read_by_its_interval(low, high, reading):
    part = {"mean": 0.2, "low": low, "high": high}
    found = {"train": 1.0, "in_period": 1.2, "future": 1.4, "optimism": part, "drift": part}
    assert reading in optimism_sentence(found)
    assert "1.4" in drift_sentence(found)


def test_a_run_of_an_older_version_is_reported_without_what_it_lacks(older):
    page = write_report(older).read_text(encoding="utf-8")
    assert page.count("did not record this") == 3
    assert "holds no predictions.parquet" in page
    assert "ledger is not there" in page


def test_options_set_by_the_user_come_first_and_the_dials_own_rates_are_no_change():
    given_, settled = (
        {"recipe": {"lr": 0.01}},
        {"recipe": {"segment": 4, "lr": 0.01, "output_dropout": 0.3, "zoneout": 0.2}},
    )
    assert [(row[0], row[3]) for row in changes(given_, settled)] == [
        ("lr", "you"),
        ("segment", "heldout"),
        ("zoneout", "heldout"),
    ]


def test_what_is_no_finished_run_is_refused_in_one_line(run, tmp_path):
    with pytest.raises(InputError, match="no run directory"):
        write_report(tmp_path)
    half = shutil.copytree(run, tmp_path / "half", ignore=shutil.ignore_patterns("scores.json"))
    with pytest.raises(InputError, match="not finished"):
        write_report(half)
    (half / "scores.json").write_text("{")
    with pytest.raises(InputError, match=r"scores\.json is damaged"):
        write_report(half)
    (half / "scores.json").write_text("{}")
    with pytest.raises(InputError, match="has no rows to report"):
        write_report(half)
    scores = json.loads((run / "scores.json").read_text())
    others = [row for row in scores["rows"] if row["name"] != "heldout"]
    (half / "scores.json").write_text(json.dumps(scores | {"rows": others}))
    with pytest.raises(InputError, match=r"scores\.json has no row of heldout"):
        write_report(half)
    shutil.copy(run / "scores.json", half)
    (half / "config-resolved.toml").rename(half / "away")
    with pytest.raises(InputError, match=r"config-resolved\.toml is missing or names no target"):
        write_report(half)
    (half / "away").rename(half / "config-resolved.toml")
    (half / "predictions.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"predictions\.parquet is damaged"):
        write_report(half)


def test_the_command_writes_where_it_is_told(run, tmp_path):
    done = CliRunner().invoke(app, ["report", str(run), "-o", str(tmp_path / "x.html")])
    assert (done.exit_code, done.stdout.strip()) == (0, str(tmp_path / "x.html"))
    assert (tmp_path / "x.html").exists()
    assert CliRunner().invoke(app, ["report", str(tmp_path)]).exit_code == 2
