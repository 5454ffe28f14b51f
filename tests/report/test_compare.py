"""Runs side by side: equal forecasts do not differ, better ones are found, and what does not match is not compared."""

import json
import shutil
from dataclasses import replace

import polars as pl
import pytest
from typer.testing import CliRunner

from heldout.check import InputError
from heldout.cli import app
from heldout.report.compare import compare, pair
from heldout.report.compare_page import write_comparison
from heldout.report.evidence import Evidence
from heldout.studies.compare import block_t


def changed(run, path, **columns):
    shutil.copytree(run, path)
    table = pl.read_parquet(run / "predictions.parquet")
    table.with_columns(**columns).write_parquet(path / "predictions.parquet")
    return path


def test_a_run_that_forecasts_the_same_does_not_differ(run, tmp_path):
    (pair,) = compare(run, changed(run, tmp_path / "same")).pairs
    assert pair.difference.mean == 0
    assert pair.skill.mean == 0
    assert "they are equal" in pair.sentence


def test_half_the_error_is_three_quarters_less_squared_loss(run, better):
    (pair,) = compare(run, better).pairs
    (back,) = compare(better, run).pairs
    assert pair.skill.mean == pytest.approx(0.75)
    assert pair.difference.mean == pytest.approx(-back.difference.mean)
    assert "better" in pair.sentence
    assert "worse" in back.sentence
    assert pair.losses[0] == pytest.approx(Evidence.read(run).rows["heldout"]["value"], rel=1e-6)


def test_the_difference_is_that_of_a_slow_count_over_moments(run, better):
    (pair,) = compare(run, better).pairs
    one, two = (Evidence.read(path).predictions.rows(named=True) for path in (run, better))
    other = {(line["origin"], line["step"]): line for line in two}
    moments = {}
    for line in one:
        twin = other[line["origin"], line["step"]]
        moments.setdefault(line["origin"], []).append(
            (twin["forecast"] - twin["truth"]) ** 2 - (line["forecast"] - line["truth"]) ** 2
        )
    slow = block_t([sum(found) / len(found) for _, found in sorted(moments.items())])
    assert pair.difference.mean == pytest.approx(slow.mean)
    assert (pair.difference.low, pair.difference.high) == pytest.approx((slow.low, slow.high))
    assert (pair.lines, pair.moments) == (len(one), len(moments))


def test_rows_that_only_one_has_are_left_out(run, tmp_path):
    path = shutil.copytree(run, tmp_path / "fewer")
    table = pl.read_parquet(path / "predictions.parquet")
    table.filter(pl.col("step") < 3)[10:].write_parquet(path / "predictions.parquet")
    (pair,) = compare(run, path).pairs
    assert pair.lines == len(table.filter(pl.col("step") < 3)) - 10


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ({"truth": pl.col("truth") + 1}, "the data are not the same"),
        ({"time": pl.col("time") + pl.duration(days=999)}, "no sealed row is in both"),
        ({"series": pl.lit("s")}, "series or times where the other has none"),
    ],
)
def test_what_does_not_match_is_said_and_not_compared(run, tmp_path, columns, why):
    (pair,) = compare(run, changed(run, tmp_path / "other", **columns)).pairs
    assert pair.difference is None
    assert why in pair.sentence


def test_runs_of_different_scales_are_compared_in_the_targets_own_units(run, better):
    one, two = Evidence.read(run), Evidence.read(better)
    scaled = [replace(fit, scale=replace(fit.scale, units=(7.0,))) for fit in two.fits]
    found = pair(("a", one), ("b", replace(two, fits=scaled)))
    assert "own units, as the runs were scored on different scales" in found.unit
    assert found.losses[0] == pytest.approx(4 * found.losses[1])
    error = one.predictions["forecast"] - one.predictions["truth"]
    assert found.losses[0] == pytest.approx((error**2).mean())


def test_a_scale_that_is_not_known_is_said_to_be(run, tmp_path):
    path = shutil.copytree(run, tmp_path / "lost", ignore=shutil.ignore_patterns("ledger.sqlite*"))
    assert "as the scale of lost is not known" in compare(run, path).pairs[0].unit
    assert "as the scale of lost is not known" in compare(path, run).pairs[0].unit


def test_a_panel_of_one_moment_is_compared_over_its_series(run):
    one = Evidence.read(run)
    first = one.predictions.filter(pl.col("origin") == pl.col("origin").min())
    lines = pl.concat(
        first.with_columns(series=pl.lit(f"s{n}"), forecast=pl.col("truth") + 1 + n % 3) for n in range(40)
    )
    half = lines.with_columns(forecast=(pl.col("forecast") + pl.col("truth")) / 2)
    found = pair(("a", replace(one, predictions=lines)), ("b", replace(one, predictions=half)))
    assert found.moments == 1
    assert found.skill.mean == pytest.approx(0.75)
    assert found.difference.enough
    assert found.difference.df == 39


def test_other_targets_or_no_predictions_are_no_ground_for_comparison(run, older, tmp_path):
    path = shutil.copytree(run, tmp_path / "renamed")
    settled = path / "config-resolved.toml"
    settled.write_text(settled.read_text().replace("</script>", ""))
    found = compare(run, older, path)
    assert [pair.first for pair in found.pairs] == ["a", "a"]
    assert "holds no predictions.parquet" in found.pairs[0].sentence
    assert "one forecasts" in found.pairs[1].sentence


def test_only_what_differs_is_listed(run, better):
    found = compare(run, better)
    assert found.differences == [["hidden_size", "4", "5"]]


def test_a_comparison_needs_two_different_runs(run):
    with pytest.raises(InputError, match="two runs or more, got 1"):
        compare(run)
    with pytest.raises(InputError, match="is given twice"):
        compare(run, run)


def test_the_test_that_was_taken_is_named_and_p_values_are_corrected_for_their_number(run, better, tmp_path):
    found = compare(run, better, changed(run, tmp_path / "same"))
    first, same = found.to_dict()["pairs"]
    assert first["method"] == "t over blocks of time"
    assert "(t over blocks of time)" in first["sentence"]
    assert first["p_value_holm"] == pytest.approx(2 * first["p_value"])
    assert same["p_value"] == same["p_value_holm"] == 1
    page = write_comparison(found, tmp_path / "c.html").read_text(encoding="utf-8")
    assert f"correction for it {found.pairs[0].other} still differ" in page


def test_a_test_that_is_too_short_says_why(run, better):
    few = [Evidence.read(path) for path in (run, better)]
    origins = few[0].predictions["origin"].unique().sort()[:60]
    short = [
        replace(one, predictions=one.predictions.filter(pl.col("origin").is_in(origins.implode())))
        for one in few
    ]
    found = pair(("a", short[0]), ("b", short[1]))
    assert not found.difference.enough
    assert "cannot be told from chance: under 100 moments" in found.sentence


def test_the_page_and_the_command_say_the_same(run, better, tmp_path):
    page = write_comparison(compare(run, better), tmp_path / "c.html").read_text(encoding="utf-8")
    done = CliRunner().invoke(app, ["compare", str(run), str(better), "--json"])
    told = json.loads(done.stdout)
    assert told["pairs"][0]["sentence"].replace(" %", "\u00a0%") in page
    assert told["differences"] == [{"what": "hidden_size", "a": "4", "b": "5"}]
    shown = CliRunner().invoke(app, ["compare", str(run), str(better), "-o", str(tmp_path / "d.html")])
    assert shown.exit_code == 0
    assert told["pairs"][0]["sentence"] in shown.stdout
    assert (tmp_path / "d.html").exists()
    assert CliRunner().invoke(app, ["compare", str(run)]).exit_code == 2
