"""Figures of a classifier of texts: what they say is true, and words of the data act on nothing."""

import json

import pytest

from heldout.check import InputError
from heldout.plots.scores import losses_by_fold, skill_chart
from heldout.plots.terms import TEXTS
from heldout.plots.text import calibration_chart, words_chart
from heldout.plots.theme import without_title
from tests.plots.test_figures import HOSTILE, row, texts


def bins(*triples):
    return [{"confidence": c, "accuracy": a, "n": n} for c, a, n in triples]


def words(*weights, name="w"):
    return [{"word": f"{name}{n}", "weight": w, "n": 3} for n, w in enumerate(weights)]


def every_figure(name="a"):
    return {
        "calibration": calibration_chart(bins((0.6, 0.5, 10)), bins((0.55, 0.5, 10), (0.9, 1.0, 4))),
        "words": words_chart({name: words(0.5, -0.2, name=name), f"{name}2": words(0.1)}),
        "many": words_chart({f"{name}{n}": words(0.5) for n in range(30)}),
        "skill": skill_chart([row("heldout", 0.2, 0.1, 0.3), row("majority", 0.0)], terms=TEXTS),
        "folds": losses_by_fold({"heldout": [[1.0], [2.0]], "majority": [[2.0], [3.0]]}, terms=TEXTS),
    }


def test_every_figure_says_what_it_shows_with_numbers():
    for name, figure in every_figure().items():
        meta = figure.layout.meta
        assert any(c.isdigit() for c in meta["description"]), name
        assert meta["title"] in meta["description"]
        assert without_title(figure).layout.margin.t >= 12


def test_words_of_the_data_are_shown_and_never_act():
    for name, figure in every_figure(HOSTILE).items():
        for text in texts(json.loads(figure.to_json())):
            bare = text.replace("<br>", "").replace("<extra></extra>", "")
            assert "<" not in bare, (name, text)
            assert "%{customer}" not in text
            assert "\u202e" not in text


def test_terms_of_texts_name_the_majority_and_no_time():
    found = every_figure()
    for name in ("skill", "folds"):
        assert "the majority guess" in found[name].layout.meta["title"]
        assert "last value" not in found[name].to_json()
        assert "time" not in found[name].layout.xaxis.title.text


@pytest.mark.parametrize(
    ("after", "words_of_title"),
    [
        (bins((0.9, 0.5, 10)), "off by 40 % on average; it is too sure of itself"),
        (bins((0.5, 0.9, 10)), "it is less sure than it could be"),
        (bins((0.4, 0.5, 10), (0.6, 0.5, 10)), "off by 10 % on average"),
    ],
)
def test_the_title_says_to_which_side_confidence_errs(after, words_of_title):
    assert words_of_title in calibration_chart(bins((0.9, 0.5, 10)), after).layout.meta["title"]


def test_the_diagonal_and_the_share_of_texts_in_each_bin_are_drawn():
    figure = calibration_chart(bins((0.6, 0.5, 30)), bins((0.6, 0.5, 10), (0.9, 0.9, 30)))
    diagonal = next(trace for trace in figure.data if trace.name == "as sure as right")
    assert diagonal.x == diagonal.y
    bars = [trace for trace in figure.data if trace.type == "bar"]
    assert [tuple(bar.y) for bar in bars] == [(100,), (25, 75)]
    lines = [trace for trace in figure.data if trace.type == "scatter" and trace.mode == "lines+markers"]
    assert len({trace.line.dash for trace in lines}) == len({trace.marker.symbol for trace in lines}) == 2


def test_a_bin_of_few_texts_is_drawn_smaller_than_a_full_one_and_can_be_seen():
    figure = calibration_chart(bins((0.6, 0.5, 100), (0.9, 0.9, 400)), bins((0.6, 0.5, 1), (0.9, 0.9, 499)))
    before, after = (
        trace.marker.size for trace in figure.data if trace.type == "scatter" and trace.marker.size
    )
    assert (before[1] / before[0]) ** 2 == pytest.approx(4, rel=0.02)
    assert after[0] >= 4
    assert before[1] < after[1] <= 16
    assert "larger a mark, the more texts" in figure.layout.meta["note"]


def test_the_strongest_word_stands_on_top_whatever_its_sign_and_signs_differ_in_more_than_colour():
    bars = words_chart({"a": words(0.1, -0.9, 0.3)}).data[0]
    assert [abs(x) for x in bars.x] == [0.1, 0.3, 0.9]
    assert bars.marker.pattern.shape == ("", "", "/")


def test_classes_left_out_are_counted():
    assert every_figure()["many"].layout.meta["note"] == "6 of 30 classes are left out."


def test_names_of_newsgroups_are_told_apart():
    names = ["comp.sys.ibm.pc.hardware", "comp.sys.mac.hardware"]
    figure = words_chart({name: words(0.1) for name in names})
    assert len({note.text for note in figure.layout.annotations}) == 2


@pytest.mark.parametrize("make", [lambda: calibration_chart([], []), lambda: words_chart({"a": []})])
def test_what_cannot_be_drawn_is_refused_in_a_sentence(make):
    with pytest.raises(InputError, match=r"\w+ \w+"):
        make()
