"""The report of a text run: what stands in the file, and that no text of the data does anything in it."""

import html
import json
import re
import shutil

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heldout.check import InputError, visible
from heldout.plots.terms import TEXTS
from heldout.report.compare import compare
from heldout.report.compare_page import write_comparison
from heldout.report.confusion import commonest, confusion
from heldout.report.evidence import Evidence
from heldout.report.examples import example, spans, variant
from heldout.report.optimism import optimism_of_texts
from heldout.report.run_report import write_report
from heldout.report.sections import headline
from tests.report.pages import ACTING, SCRIPT
from tests.report.text_runs import IMAGE, TEXT, TWENTY, TWO, WORDS

ASKED = ["Does it hold up?", "Against what?", "Did it overfit?", "What does it get wrong?", "What did it see?", "augmentation make?", "exactly was run?"]  # fmt: skip


@pytest.fixture(scope="module")
def page(two):
    return write_report(two).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page_of_twenty(twenty):
    return write_report(twenty).read_text(encoding="utf-8")


def changed(run, path, **values):
    """A copy of a run with other scores."""
    shutil.copytree(run, path)
    scores = json.loads((run / "scores.json").read_text())
    (path / "scores.json").write_text(json.dumps(scores | values))
    return path


def test_the_answers_stand_in_the_order_in_which_a_reader_asks(page, page_of_twenty):
    for text in (page, page_of_twenty):
        places = [text.index(f"{title}</h2>") for title in ASKED]
        assert places == sorted(places)


def test_no_word_of_series_stands_in_it(page):
    own = html.unescape(SCRIPT.sub("", page)).partition("exactly was run?</h2>")[0].lower()
    for word in (
        "last value",
        "walk-forward",
        "forecast",
        "origins",
        "drift",
        "scaled units",
        "training rows",
        "validation rows",
    ):
        assert word not in own, word


def test_every_class_and_candidate_and_number_is_there(page, page_of_twenty):
    shown = html.unescape(page)
    for text in (
        *TWO,
        "tfidf",
        "nbsvm",
        "majority",
        "Macro-F1",
        "Balanced accuracy",
        "Calibration error",
        "glove.6B.300d.txt",
        "14,264",
    ):
        assert text in shown  # fmt: skip
    assert all(name in html.unescape(page_of_twenty) for name in TWENTY[:-2])
    assert "every epoch saw the training texts as they are" in page_of_twenty


def test_no_text_of_the_data_becomes_a_tag_or_turns_the_page(page, page_of_twenty):
    for text in (page, page_of_twenty):
        assert "<img" not in text
        assert text.count("<script") == text.count("</script") == 3
        assert "{{7*7}}" in html.unescape(text)
        assert not ACTING.search(SCRIPT.sub("", text))
        assert "⟨U+202E⟩" in text
    assert html.escape(IMAGE, quote=False) in page


def test_a_huge_text_is_cut(page):
    assert "a" * 599 + "…" in page
    assert "a" * 600 not in page


@pytest.mark.parametrize(
    ("low", "high", "beside", "answer"),
    [
        (0.1, 0.3, (0.01, 0.1), "Yes: it holds up on texts it has never seen, and beats tfidf."),
        (0.1, 0.3, (-0.1, 0.1), "Yes: it holds up on texts it has never seen; that it beats tfidf is not shown."),
        (0.1, 0.3, (-0.3, -0.1), "It beats the majority guess, but tfidf is better."),
        (-0.1, 0.1, (0.1, 0.2), "Not shown: it may be no better than guessing by the shares of the classes."),
        (-0.3, -0.1, (0.1, 0.2), "No: it is worse than guessing by the shares of the classes."),
        (None, None, (None, None), "Too short a test to tell."),
    ],
)  # fmt: skip
def test_the_headline_follows_both_intervals(low, high, beside, answer):
    best = {"name": "tfidf", "heldout_skill": {"mean": 0.0, "low": beside[0], "high": beside[1]}}
    assert headline(low, high, best, TEXTS)[0] == answer


def test_the_majority_as_the_best_baseline_is_not_named_twice():
    best = {"name": "majority", "heldout_skill": {"mean": 0.2, "low": 0.1, "high": 0.3}}
    assert headline(0.1, 0.3, best, TEXTS)[0] == "Yes: it holds up on texts it has never seen."


@pytest.mark.parametrize(
    ("low", "high", "answer"),
    [(0.1, 0.2, "Yes: it loses more"), (-0.1, 0.2, "Not shown"), (-0.2, -0.1, "No: it loses less"), (None, None, "too few texts")],
)  # fmt: skip
def test_overfitting_is_read_by_its_interval(low, high, answer):
    part = {"mean": 0.1, "low": low, "high": high}
    blocks = optimism_of_texts({"train_loss": 0.2, "test_loss": 0.3, "optimism": part}, later=True)
    assert answer in blocks[0].text
    assert "times have changed" in blocks[1].text
    assert blocks[2].items[1].detail == "1.50 times that on training texts"
    assert optimism_of_texts({"why_not": "no fit was kept."})[0].text.endswith("no fit was kept.")


@settings(max_examples=50, deadline=None)
@given(
    st.text(max_size=700),
    st.lists(st.tuples(st.text(max_size=8), st.floats(-1, 1)), max_size=20),
)
def test_cut_spans_are_the_text_again(text, words):
    found = spans(text, words)
    shown = text if len(text) <= 600 else f"{text[:599]}…"
    assert "".join(span.text for span in found) == shown
    assert all(span.text for span in found)


def test_words_are_found_in_their_order_whatever_their_capitals():
    found = {span.text: span.shade for span in spans(TEXT, WORDS) if span.shade}
    assert found["WINNER"] == "for-5"
    assert found["n't"] == "against-2"
    assert found["£"] == "for-2"
    assert "You" not in found  # too weak
    twice = spans("no good, good", [("good", 0.0), ("good", 1.0)])
    assert [(span.text, span.shade) for span in twice] == [("no good, ", ""), ("good", "for-5")]


def test_a_word_that_is_not_in_the_text_shifts_no_other():
    found = spans("a [b] c", [("a", 1.0), ("[UNK]", 1.0), ("c", -1.0)])
    assert [(span.text, span.shade) for span in found] == [("a", "for-5"), (" [b] ", ""), ("c", "against-5")]


def test_what_moved_the_decision_is_told_in_words_too():
    found = example(
        {"row": 7, "text": TEXT, "label": "ham", "said": "spam", "probability": 0.973, "words": WORDS}
    )
    assert found.heading == "Row 7: ham, said spam (97.3 %)"
    assert found.note == "For spam: winner, claim, free, prize, call. Against it: wait, n't, hours, do, 12."


def test_a_variant_shows_what_is_new_in_it():
    found = variant(2, {"original": "not a good film", "variant": "not a really good movie"})
    assert [span.text for span in found.spans if span.shade] == ["really", "movie"]
    assert "".join(span.text for span in found.spans) == "not a really good movie"


@given(
    st.integers(2, 32).flatmap(
        lambda n: st.lists(st.lists(st.integers(0, 99), min_size=n, max_size=n), min_size=n, max_size=n)
    )
)
@settings(max_examples=25, deadline=None)
def test_the_matrix_holds_every_count_and_shades_right_and_wrong_apart(counts):
    names = [f"c{n}" for n in range(len(counts))]
    blocks = confusion(names, counts)
    if len(counts) > 30:
        assert "would not fit" in blocks[0].text
        return
    matrix = blocks[0]
    for i, row in enumerate(matrix.cells):
        assert [int(cell.count) for cell in row] == counts[i]
        assert matrix.totals[i] == f"{sum(counts[i]):,}"
        for j, cell in enumerate(row):
            assert cell.shade.startswith("right" if i == j else "wrong") if counts[i][j] else not cell.shade


def test_the_commonest_errors_come_first():
    counts = [[9, 1, 0], [5, 9, 2], [0, 0, 0]]
    assert [(i, j, n) for i, j, n, _ in commonest(list("abc"), counts)] == [
        ("b", "a", 5),
        ("b", "c", 2),
        ("a", "b", 1),
    ]


def test_what_a_run_lacks_is_said(two, tmp_path):
    path = changed(
        two, tmp_path / "bare", confusion=None, calibration=None, hardest=None, words=None, vocabulary=None, augmentation=None,
        data=None, splits=None, overfit=None, notes=[],
    )  # fmt: skip
    (path / "ledger.sqlite").unlink()
    (path / "predictions.parquet").unlink()
    page = write_report(path).read_text(encoding="utf-8")
    assert page.count("did not record this") == 8
    assert "ledger is not there" in page


def test_a_run_without_errors_says_so(two, tmp_path):
    path = changed(two, tmp_path / "perfect", hardest=[], confusion=[[900, 0], [0, 215]])
    page = write_report(path).read_text(encoding="utf-8")
    assert "0 of 1,115 sealed texts are put" in page
    assert "no sealed text that it gave a wrong class" in page


def test_a_series_run_without_a_kind_is_still_one_of_series(run):
    assert Evidence.read(run).kind == "series"


def test_text_runs_are_compared_text_by_text(two, twenty, run, tmp_path):
    better = shutil.copytree(two, tmp_path / "better")
    table = pl.read_parquet(better / "predictions.parquet")
    names = [f"p_{name}" for name in TWO]
    p = table.select(names).to_numpy() ** 0.5
    p /= p.sum(1, keepdims=True)
    table.with_columns(pl.Series(name, p[:, n]) for n, name in enumerate(names)).write_parquet(
        better / "predictions.parquet"
    )
    found = compare(two, better)
    truth = np.array([TWO.index(label) for label in table["label"]])
    own, other = (-np.log(q[np.arange(len(q)), truth]).mean() for q in (table.select(names).to_numpy(), p))
    assert found.pairs[0].losses == pytest.approx((own, other))
    assert found.pairs[0].sentence.startswith(
        "On 1,115 sealed texts that both put into classes, better loses"
    )
    page = write_comparison(found, tmp_path / "compare.html").read_text()
    assert "Skill against the majority guess" in html.unescape(page)
    assert "classes are not the same" in compare(two, twenty).pairs[0].sentence
    assert "one puts texts into classes, the other forecasts" in compare(two, run).pairs[0].sentence
    table.with_columns(label=pl.lit("ham")).write_parquet(better / "predictions.parquet")
    assert "the label differs in 156 of the 1,115" in compare(two, better).pairs[0].sentence


def test_a_text_run_that_names_no_target_is_refused(two, tmp_path):
    path = shutil.copytree(two, tmp_path / "nameless")
    (path / "config-resolved.toml").write_text("[data]\n")
    with pytest.raises(InputError, match="names no target"):
        write_report(path)


def test_marks_of_a_text_are_visible():
    assert visible("\u202e") == "⟨U+202E⟩"
    assert not re.search(ACTING, visible("\u2066a\x07"))
