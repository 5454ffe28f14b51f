"""The report of a search: its verdict follows the folds that chose nothing, and nothing that is missing ends it."""

import sys

import pytest

from heldout.check import InputError
from heldout.report.compare import compare
from heldout.report.evidence import Evidence
from heldout.report.run_report import write_report
from tests.report.pages import ACTING, CONTRAST, open_page
from tests.report.searches import capacity_scores, export_study, trials, tune_scores, write_search

HOSTILE = "</script><img src=x onerror=alert(1)>{{7*7}}"


def page_of(path):
    return write_report(path).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def reduced(tmp_path_factory):
    scores = capacity_scores(modality="text") | {"left_out": [HOSTILE], "notes": [HOSTILE]}
    return write_search(tmp_path_factory.mktemp("reduced") / "run", scores, target=HOSTILE)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    run = write_search(tmp_path_factory.mktemp("tuned") / "run", tune_scores(), target=HOSTILE)
    export_study(run / "optuna.sqlite", trials())
    return run


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "Smaller, and better on data it has not seen."),
        ({"saved": (-0.02, -0.03, -0.01)}, "Smaller, but worse on data it has not seen."),
        ({"saved": (0.01, -0.01, 0.03)}, "no loss by it is shown"),
        ({"saved": (0.01, None, None)}, "too little data outside"),
        ({"saved": (0.01, float("-inf"), float("inf"))}, "too little data outside"),
        ({"keep": True}, "The start stays"),
        ({"plan": "depth"}, "Another shape, and better"),
    ],
)
def test_the_verdict_on_a_size_follows_what_it_saves_on_folds_that_chose_nothing(tmp_path, options, words):
    page = page_of(write_search(tmp_path / "run", capacity_scores(**options)))
    assert words in page
    assert "Of 7 sizes 1 x 16" in page


@pytest.mark.parametrize(
    ("gain", "words"),
    [
        ((0.02, 0.01, 0.03), "Yes: the choice loses less"),
        ((0.02, -0.01, 0.05), "Not shown"),
        ((-0.02, -0.03, -0.01), "No: the choice is worse"),
        ((0.02, None, None), "Too little data outside"),
    ],
)
def test_the_verdict_on_tuning_follows_the_gain_outside(tmp_path, gain, words):
    assert words in page_of(write_search(tmp_path / "run", tune_scores(gain=gain)))


def test_tuning_that_found_nothing_says_so(tmp_path):
    scores = tune_scores()
    scores |= {"choice": scores["start"], "chosen": 0, "lucky": None, "pbo": None}
    scores["outer"]["rows"] = scores["outer"]["rows"][:1]
    page = page_of(write_search(tmp_path / "run", scores))
    assert "no trial was better than the start" in page
    assert "The choice is the start" in page


def test_all_sizes_losses_and_counts_are_in_the_page(reduced):
    page = page_of(reduced)
    for row in (row for stage in capacity_scores(modality="text")["stages"] for row in stage["rows"]):
        assert row["label"] in page
        assert f"{row['n_parameters']:,}" in page
    for words in (
        "184 fits",
        "stopped by the race",
        "The sealed test was not looked at",
        "chosen.toml",
        "log loss",
    ):
        assert words in page


def test_all_trials_and_what_luck_would_show_are_in_the_page(tuned):
    page = page_of(tuned)
    for words in (
        "count as 11.3",
        "PBO",
        "among the worse half at epoch 8",
        "to epoch 24",
        "10 min",
        "optuna-dashboard",
    ):
        assert words in page
    assert page.count('<div class="plot"') == 6


def test_names_of_the_data_do_nothing_and_nothing_acts_unseen(reduced, tuned):
    for run in (reduced, tuned):
        page = page_of(run)
        assert HOSTILE not in page
        assert "&lt;img src=x" in page
        assert not ACTING.search(page)


def test_without_optuna_the_page_is_whole_and_says_what_to_install(tuned, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    page = page_of(tuned)
    assert "heldout[tune]" in page
    assert page.count('<div class="plot"') == 2


@pytest.mark.parametrize("content", [None, b"no database", b""])
def test_without_a_study_that_can_be_read_the_page_is_whole(tmp_path, content):
    run = write_search(tmp_path / "run", tune_scores())
    if content is not None:
        (run / "optuna.sqlite").write_bytes(content)
    assert "plots are not here" in page_of(run)
    assert content is None or (run / "optuna.sqlite").read_bytes() == content


def test_a_report_leaves_the_study_as_it_was(tuned):
    before = (tuned / "optuna.sqlite").read_bytes()
    write_report(tuned)
    assert (tuned / "optuna.sqlite").read_bytes() == before


def test_what_an_interrupted_or_older_search_did_not_write_is_left_out(tmp_path):
    scores = capacity_scores()
    for name in ("optimism", "baselines", "left_out", "notes", "fits", "seconds", "command", "environment"):
        del scores[name]
    run = write_search(tmp_path / "run", scores)
    (run / "chosen.toml").unlink()
    assert "Smaller" in page_of(run)


@pytest.mark.parametrize("name", ["stages", "outer", "sentence"])
def test_scores_without_what_a_report_needs_are_refused_by_name(tmp_path, name):
    scores = capacity_scores()
    del scores[name]
    with pytest.raises(InputError, match=f"has no {name} to report"):
        write_report(write_search(tmp_path / "run", scores))


def test_a_search_is_read_as_what_it_searched_in_the_words_of_its_data(reduced, tuned, run):
    assert [(e.search, e.kind) for e in map(Evidence.read, (reduced, tuned, run))] == [
        ("capacity", "text"),
        ("tune", "series"),
        ("", "series"),
    ]


def test_a_search_is_not_compared_with_a_fit(reduced, run):
    with pytest.raises(InputError, match="scores no sealed test"):
        compare(run, reduced)


@pytest.fixture(scope="module", params=["reduced on a phone", "tuned on a phone", "tuned on a desk"])
def page(request, browser):
    run, _, where = request.param.partition(" on a ")
    look = {"width": 390, "color_scheme": "dark", "has_touch": True} if where == "phone" else {}
    return open_page(browser, write_report(request.getfixturevalue(run)).as_uri(), **look)


def test_figures_are_drawn_within_the_window_and_nothing_is_said_or_asked(page):
    page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    width = page.viewport_size["width"]
    assert page.locator(".js-plotly-plot").count() == page.locator(".plot").count() >= 4
    assert page.evaluate("document.documentElement.scrollWidth") == width
    rights = page.evaluate(
        "[...document.querySelectorAll('svg.main-svg')].map((e) => e.getBoundingClientRect().right)"
    )
    assert max(rights) <= width
    assert page.said == page.dialogs == []
    assert len(page.asked) == 1


def test_texts_can_be_read_in_light_and_dark(page):
    found = page.evaluate(CONTRAST)
    assert any(item["inFigure"] for item in found)
    assert [item for item in found if item["ratio"] < 4.5] == []


def test_no_text_of_a_figure_is_cut_at_its_edge(page):
    """Names, numbers and ticks lie within the drawing, wide and narrow."""
    cut = page.evaluate(
        "[...document.querySelectorAll('.plot')].flatMap((plot) => { const box = plot.getBoundingClientRect();"
        "return [...plot.querySelectorAll('svg text')].filter((e) => { const b = e.getBoundingClientRect();"
        "return b.width && (b.left < box.left - 1 || b.right > box.right + 1) }).map((e) => e.textContent) })"
    )
    assert cut == []
