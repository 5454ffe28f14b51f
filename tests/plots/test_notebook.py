"""Objects in a notebook: `plot` gives a figure, the HTML shows texts literally."""

import copy
import pickle
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from heldout.config import Config
from heldout.data.splits import Split, split_series
from heldout.plots.tables import html_table
from heldout.plots.values import envelope, even, numbers, rounded, times
from heldout.recipe import Recipe
from heldout.result import Result, Row
from heldout.studies.compare import Interval
from heldout.training.history import History
from tests.conftest import make_series

HOSTILE = "<script>alert(1)</script>&amp;"


class Cells(HTMLParser):
    """The texts of table cells, and the names of all tags."""

    def __init__(self, text):
        super().__init__()
        self.cells, self.tags, self.open = [], set(), False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.open = tag in ("td", "th")
        if self.open:
            self.cells.append("")

    def handle_data(self, data):
        if self.open:
            self.cells[-1] += data

    def handle_endtag(self, tag):
        self.open = False


def interval(mean):
    return Interval(
        mean=mean, low=mean - 0.1, high=mean + 0.1, se=0.1, df=7, level=0.95, p_value=0.5, enough=True
    )


@pytest.fixture(scope="module")
def folds():
    return split_series(make_series(), 12)


def test_a_split_equals_the_tuple_of_its_folds_and_survives_a_copy(folds):
    assert isinstance(folds, Split)
    assert folds == tuple(folds)
    assert hash(folds) == hash(tuple(folds))
    for other in (pickle.loads(pickle.dumps(folds)), copy.deepcopy(folds)):  # noqa: S301 - our own
        assert other == folds
        assert other.parts == folds.parts


@pytest.mark.parametrize("n_series", [1, 3])
def test_the_parts_of_a_split_are_those_of_its_folds(n_series):
    data = make_series(300, n_series)
    for fold, told in zip(folds := split_series(data, 12), folds.parts, strict=True):
        assert told["name"] == fold.name
        for name in ("train", "valid", "test"):
            rows = getattr(fold, name).rows(data, 12)
            first, last = (
                np.datetime64(told[name][key], "us").astype(int) for key in ("first_origin", "last_origin")
            )
            assert (first, last) == (data.time[rows].min(), data.time[rows].max())
            assert (
                np.datetime64(told[name]["last_label"], "us").astype(int)
                == data.time[rows + data.horizon].max()
            )
            assert told[name]["n"] == len(rows)


def test_a_split_is_drawn_with_and_without_its_series(folds):
    alone, above = folds.plot(), folds.plot(make_series())
    assert len(above.data) == len(alone.data) + 2
    for part in ("train", "valid", "test"):
        assert str(folds.parts[-1][part]["n"]) in alone.layout.meta["description"]
    drawn = numbers(above.data[-1].y)
    assert drawn.max() == pytest.approx(make_series().values[:, 0].max(), rel=1e-5)


def test_a_table_without_times_is_split_by_row_numbers():
    series = make_series()
    plain = replace(series, time=np.arange(series.n_rows), frequency=replace(series.frequency, name="row"))
    folds = split_series(plain, 12)
    assert folds.parts[0]["train"]["first_origin"] == 11
    assert folds.plot(plain).layout.xaxis.type == "linear"


def test_a_history_shows_the_kept_epoch():
    epochs = [
        {"epoch": e, "train_loss": 1 / (e + 1), "valid_loss": 1 + (e - 2) ** 2, "lr": 0.1} for e in range(6)
    ]
    history = History(epochs, 2)
    cells = Cells(history._repr_html_()).cells
    assert cells[5:] == [
        "start",
        "0",
        "1",
        "5",
        "0.1",
        "kept",
        "2",
        "0.3333",
        "1",
        "0.1",
        "last",
        "5",
        "0.1667",
        "10",
        "0.1",
    ]
    assert [t.x for t in history.plot().data if t.name == "kept epoch"] == [(2,)]
    assert "kept" not in Cells(History()._repr_html_()).cells


def test_a_result_shows_its_table_and_its_sentence(tmp_path):
    rows = [
        Row(
            name=name,
            value=1.0,
            low=0.9,
            high=1.1,
            skill_vs_naive=interval(s),
            heldout_skill=interval(0.2),
            folds=None,
        )
        for name, s in (("heldout", 0.2), ("naive", 0.0), (HOSTILE, -0.2))
    ]
    result = Result(
        path=tmp_path, metric="mean squared error", rows=rows, test_rows=9, best_baseline="naive", n_folds=0, n_seeds=1,
        added_nothing=False, fold_skill=None, extra_inputs=(HOSTILE,), looks=1, model=None,
    )  # fmt: skip
    page = Cells(result._repr_html_())
    assert HOSTILE in page.cells
    assert "script" not in page.tags
    assert "holds up" in result._repr_html_()
    assert "saves 20 %" in result.plot().layout.meta["title"]


def test_options_show_what_differs_from_the_defaults():
    page = Recipe(hidden_size=7)._repr_html_()
    shown, _, folded = page.partition("<details>")
    assert "1 of" in shown
    assert Cells(shown).cells[4:6] == ["hidden_size", "7"]
    assert len(Cells(folded).cells) > 100
    config = Config().with_values({"target": [HOSTILE]})
    assert "<script" not in config._repr_html_()


def test_a_table_shows_texts_literally():
    page = Cells(html_table(HOSTILE, [HOSTILE], [[HOSTILE], [None]], note=HOSTILE))
    assert page.cells == [HOSTILE, HOSTILE, "–"]
    assert page.tags == {"table", "caption", "thead", "tbody", "tr", "th", "td", "p"}


def test_a_thinned_list_keeps_both_ends_and_its_order():
    for n, most in ((5, 10), (10, 3), (1000, 7)):
        kept = even(n, most)
        assert (kept[0], kept[-1], len(kept)) == (0, n - 1, min(n, most))
        assert (np.diff(kept) > 0).all()


def test_an_envelope_holds_every_value():
    rng = np.random.default_rng(0)
    y = rng.normal(size=1234)
    y[100:110] = np.nan
    drawn = envelope(range(1234), y, most=50)
    starts = [*drawn["time"], 1234]
    for n, (low, high) in enumerate(zip(drawn["low"], drawn["high"], strict=True)):
        part = y[starts[n] : starts[n + 1]]
        assert (low, high) == pytest.approx((np.nanmin(part), np.nanmax(part)), rel=1e-5)
    assert envelope([0, 1], [np.nan, 1.0], most=2)["low"] == [None, 1.0]
    assert envelope([], []) == {"time": [], "low": [], "high": []}


def test_times_of_every_kind_become_text():
    stamps = np.array(["2024-01-01", "2024-01-02"], "datetime64[us]")
    assert times(stamps) == times(stamps.tolist()) == times(["2024-01-01 00:00:00", "2024-01-02 00:00:00"])
    assert times(np.array(["2024-01-01T01"], "datetime64[us]")) == ["2024-01-01T01:00:00"]
    assert rounded([3.14159265358979, None], 4) == [3.142, None]
