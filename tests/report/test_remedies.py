"""The report of a ranking of remedies: what was confirmed leads, and every remedy is there with its error bars."""

import numpy as np
import pytest

from heldout.check import InputError
from heldout.plots.remedies import forest_chart
from heldout.remedies_result import RemediesResult, headline
from heldout.report.run_report import write_report
from tests.report.remedies import remedies_scores
from tests.report.searches import write_search

HOSTILE = "</script><img src=x onerror=alert(1)>{{7*7}}"


def page_of(path):
    return write_report(path).read_text(encoding="utf-8").replace("\u00a0", " ")


@pytest.mark.parametrize(
    ("confirmed", "words"),
    [
        ((0.09, 0.02, 0.16), "It helps on 3 folds that chose nothing."),
        ((0.01, -0.02, 0.04), "That it helps is not shown on 3 folds"),
        ((-0.03, -0.05, -0.01), "It harms on 3 folds"),
        ((0.02, None, None), "Whether it helps cannot be told on 3 folds"),
        (None, "the control stays"),
    ],
)
def test_the_answer_follows_what_was_confirmed(tmp_path, confirmed, words):
    page = page_of(write_search(tmp_path / "run", remedies_scores(confirmed=confirmed)))
    assert words in page


def test_the_confirmed_number_comes_before_the_gains_alone(tmp_path):
    page = page_of(write_search(tmp_path / "run", remedies_scores()))
    lead = "linear shortcut + EMA: selected +14.0 %, confirmed +9.0 % [+2.0, +16.0]"
    places = [
        page.index(lead),
        *(page.rindex(f">{title}<") for title in ("What does each do alone?", "Does it hold outside?")),
    ]
    assert places == sorted(places)


@pytest.mark.parametrize("modality", ["series", "text"])
def test_every_remedy_is_in_the_page_with_its_class(tmp_path, modality):
    scores = remedies_scores(modality=modality)
    page = page_of(write_search(tmp_path / "run", scores))
    for row in scores["rows"]:
        assert row["name"] in page
        assert row["verdict"] in page
    for words in (
        "fewer layers: the control has one layer",
        "in 4 of 5 cases",
        "In the stack",
        "[+8.0, +16.0]",
    ):
        assert words in page


def test_what_is_called_like_a_tag_does_not_act(tmp_path):
    scores = remedies_scores() | {"others": [{"name": "vectors", "why": HOSTILE}], "notes": [HOSTILE]}
    assert "<img src=x" not in page_of(write_search(tmp_path / "run", scores, target=HOSTILE))


def test_the_figure_draws_each_gain_once_and_cuts_what_is_far_out():
    scores = remedies_scores()
    scores["rows"][1]["high"] = 40.0
    drawn = forest_chart(scores)
    points = [(y, x) for trace in drawn.data for x, y in zip(trace.x, trace.y, strict=True)]
    assert len(points) == len({y for y, _ in points}) == len(scores["rows"]) + 1
    gains = [x for _, x in sorted(points, reverse=True)][:-1]
    assert gains == pytest.approx([100 * row["gain"] for row in scores["rows"]])
    assert max(np.max(np.array(trace.error_x.array, float)) for trace in drawn.data) < 100
    assert "cut" in drawn.layout.meta["note"]
    assert "EMA" in drawn.layout.meta["description"]
    with pytest.raises(InputError, match="nothing to draw"):
        forest_chart(scores | {"rows": []})


def test_the_tables_show_the_same_as_the_page():
    result = RemediesResult(None, remedies_scores())
    remedies, stack, outer = result.tables()
    assert [row[0] for row in remedies[2]] == [row["name"] for row in result.rows]
    assert [row[3] for row in stack[2]] == ["kept", "kept", ""]
    assert [row[0] for row in outer[2]] == ["control", "best alone", "stack", "ridge"]
    assert headline(result.found) in result.sentence
