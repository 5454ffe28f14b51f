"""Texts larger than memory: what comes from the cache is what `read_texts` gives, and what is not whole is made again."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from heldout.check import InputError
from heldout.data import text_cache
from heldout.data.text_cache import TextCache, open_text_cache
from heldout.data.text_table import read_texts

pa = pytest.importorskip("pyarrow", reason="pyarrow is an extra: heldout[parquet]")
MANY = settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
PARTS = {"text": "review", "target": "stars"}
DAY = timedelta(days=1)
LABELS = {
    "text": ["good", "bad", "so so", "nan"],
    "int": [10, 9, 2, -1],
    "float": [1.0, 0.0, 3.0, 10.0],
    "bool": [True, False],
}


def table(n: int = 30, **columns: Any) -> pl.DataFrame:
    """Numbered texts with two classes."""
    plain = {"review": [f"text number {k}" for k in range(n)], "stars": [(1, 5)[k % 2] for k in range(n)]}
    return pl.DataFrame({**plain, **columns})


def opened(frame: pl.DataFrame, folder: Path, **options: Any) -> TextCache:
    """The cache of a table in one file."""
    folder.mkdir(exist_ok=True)
    frame.write_parquet(folder / "table.parquet", row_group_size=7)
    return open_text_cache(folder / "table.parquet", folder / "cache", **PARTS | options)


@st.composite
def tables(draw: Any) -> tuple[pl.DataFrame, dict[str, str]]:
    """Texts of any characters, labels, groups and times of several types."""
    n = draw(st.integers(2, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    characters = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
    texts = draw(st.lists(st.none() | characters, min_size=n, max_size=n))
    texts[0] = "a word"
    labels = LABELS[draw(st.sampled_from([*LABELS]))]
    chosen = [0, 1, *rng.integers(0, len(labels), n - 2)]
    group = draw(st.sampled_from([["a", "b", "c"], [1, 2, 3], [0.5, 1.0, 7.0]]))
    time = draw(st.sampled_from(["datetime", "zoned", "date", "int"]))
    days = rng.integers(0, 50, n).tolist()
    moments = [datetime(2021, 3, 1) + day * DAY + timedelta(hours=3) for day in days]
    times = {
        "datetime": pl.Series(moments),
        "zoned": pl.Series([moment.replace(tzinfo=UTC) for moment in moments], dtype=pl.Datetime("us", "Europe/Paris")),
        "date": pl.Series([moment.date() for moment in moments]),
        "int": pl.Series(days, dtype=draw(st.sampled_from([pl.Int16, pl.UInt32]))),
    }  # fmt: skip
    frame = pl.DataFrame(
        {
            "review": pl.Series(texts, dtype=pl.String),
            "stars": [labels[k] for k in chosen],
            "who": [group[k] for k in rng.integers(0, 3, n)],
            "when": times[time],
        }
    )
    extra = {"group": "who"} if draw(st.booleans()) else {}
    return frame, extra | ({"time": "when"} if draw(st.booleans()) else {})


@MANY
@given(
    found=tables(), cuts=st.integers(1, 3), size=st.integers(1, 20), batch=st.sampled_from([1, 100, 10**7])
)
def test_a_cache_gives_what_read_texts_gives(found, cuts, size, batch, tmp_path_factory):
    frame, extra = found
    folder, n = tmp_path_factory.mktemp("texts"), len(frame)
    for k in range(cuts):
        part = frame[n * k // cuts : n * (k + 1) // cuts]
        part.write_parquet(folder / f"{k}.parquet", row_group_size=size)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_cache, "_BATCH_BYTES", batch)
        cache = open_text_cache(folder, folder / "cache", **PARTS | extra)
    data = read_texts(frame, **PARTS, **extra)
    assert tuple(cache.texts(0, n)) == data.texts
    assert cache.classes == data.classes
    np.testing.assert_array_equal(cache.labels, data.labels)
    for name in ("group", "time"):
        own, other = getattr(cache, name), getattr(data, name)
        assert (own is None) == (other is None) == (name not in extra)
        if own is not None:  # the same order of times, the same sets of rows
            one, two = (np.unique(x, return_inverse=True)[1] for x in (own, other))
            if name == "time":
                np.testing.assert_array_equal(one, two)
            assert len({*zip(one.tolist(), two.tolist(), strict=True)}) == one.max() + 1 == two.max() + 1
    sample, rows = cache.sample(n)
    assert sample.texts == data.texts
    np.testing.assert_array_equal(rows, np.arange(n))
    said, data = (
        " ".join(cache.notes),
        read_texts(frame, **PARTS),
    )  # notes of times are on how they are written
    assert all(note.split(", the first in")[0] in said for note in data.notes if "more than once" not in note)


@MANY
@given(
    lengths=st.lists(st.integers(0, 9), min_size=2, max_size=40),
    most=st.integers(1, 20),
    texts=st.integers(1, 9),
)
def test_blocks_are_all_texts_in_order_and_as_long_as_they_may_be(lengths, most, texts, tmp_path_factory):
    frame = table(len(lengths), review=["x" * n for n in lengths[:-1]] + ["last"])
    cache = opened(frame, tmp_path_factory.mktemp("texts"))
    found = list(cache.blocks(most, texts))
    assert [row for first, stop in found for row in range(first, stop)] == list(range(len(frame)))
    for first, stop in found:
        own = sum(map(len, cache.texts(first, stop)))
        assert stop - first == 1 or (own <= most and stop - first <= texts)
    assert [text for block in found for text in cache.texts(*block)] == frame["review"].to_list()


def test_a_sample_is_even_in_each_class_and_has_two_of_a_rare_one(tmp_path):
    labels = ["common"] * 900 + ["some"] * 98 + ["rare"] * 2
    cache = opened(table(1000, stars=labels), tmp_path)
    data, rows = cache.sample(100)
    counts = {name: int((data.labels == k).sum()) for k, name in enumerate(data.classes)}
    assert counts == {"common": 90, "some": 10, "rare": 2}
    common = rows[rows < 900]
    assert np.abs(np.diff(common) - 10).max() == 0
    assert [data.texts[k] for k in (0, -1)] == ["text number 9", "text number 999"]
    assert data.n_train == len(data) == 102


@pytest.mark.parametrize("name", [*text_cache.FILES[:3], "manifest.json"])
@pytest.mark.parametrize("damage", ["cut", "flip", "remove"])
def test_a_damaged_cache_is_made_again(tmp_path, name, damage):
    whole = opened(table(), tmp_path)
    path = tmp_path / "cache" / name
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 4
    if damage == "remove":
        path.unlink()
    else:
        path.write_bytes(raw if damage == "flip" else raw[:-1])
    again = open_text_cache(tmp_path / "table.parquet", tmp_path / "cache", **PARTS)
    assert "was damaged" in again.notes[-1]
    assert again.notes[-1].endswith("was made again")
    assert again.texts(0, 30) == table()["review"].to_list()
    assert again.fingerprint == whole.fingerprint


def test_a_whole_cache_is_opened_without_reading_the_texts(tmp_path, monkeypatch):
    first = opened(table(), tmp_path)
    monkeypatch.setattr(text_cache._Writer, "write", None)
    again = open_text_cache(tmp_path / "table.parquet", tmp_path / "cache", **PARTS)
    assert (again.fingerprint, again.notes) == (first.fingerprint, first.notes)


def test_other_files_or_columns_make_a_cache_again(tmp_path):
    frame = table(group=[k % 3 for k in range(30)])
    first = opened(frame, tmp_path)
    grouped = open_text_cache(tmp_path / "table.parquet", tmp_path / "cache", **PARTS, group="group")
    assert "with other options" in grouped.notes[-1]
    other = opened(frame.reverse(), tmp_path)
    assert "of other files" in other.notes[-1]
    assert other.fingerprint != first.fingerprint


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({"stars": [1, 5] * 14 + [1, None]}, {}, r"column 'stars' is empty in row 29 of .*table.parquet; fill it in or remove"),
        ({"stars": ["a", "b"] * 14 + ["a", " "]}, {}, r"column 'stars' is empty in row 29 of"),
        ({"stars": [1.0, 2.0] * 14 + [1.0, 2.5]}, {}, r"labels must be classes, but column 'stars' holds the number 2.5 in row 29 of"),
        ({"stars": [datetime(2020, 1, 1)] * 30}, {}, r"labels must be text, booleans or whole numbers, but column 'stars' holds datetime"),
        ({"stars": [1] * 30}, {}, r"labels must be of two classes at least, but column 'stars' holds '1' only"),
        ({"review": [3] * 30}, {}, r"the text column must hold text, but 'review' holds Int64; name another with text="),
        ({"review": [" "] * 29 + [None]}, {}, r"the text column must hold text, but 'review' is empty in all rows"),
        ({"who": ["a"] * 29 + [None]}, {"group": "who"}, r"column 'who' must have a value in every row, but is empty in row 29 of"),
        ({"when": ["2020-01-01"] * 30}, {"time": "when"}, r"must be dates or whole numbers, but 'when' holds String; save them as dates"),
        ({}, {"group": "starz"}, r"there is no column 'starz' in the table \(did you mean 'stars'\?\)"),
        ({}, {"group": "nowhere"}, r"there is no column 'nowhere' in the table; it has 'review', 'stars'"),
        ({}, {"target": "review"}, r"text and target must be two columns"),
    ],
)  # fmt: skip
def test_bad_input_is_named_with_its_place_and_leaves_no_cache(tmp_path, columns, options, message):
    with pytest.raises(InputError, match=message):
        opened(table(**columns), tmp_path, **options)
    assert not (tmp_path / "cache").exists()
    assert {item.name for item in tmp_path.iterdir()} <= {"table.parquet", ".cache.lock"}


def test_more_classes_than_there_can_be_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("heldout.data.text_classes.MOST_CLASSES", 20)
    with pytest.raises(
        InputError, match="labels must be of 20 classes at most, but column 'stars' holds more"
    ):
        opened(table(stars=[*range(30)]), tmp_path)


def test_a_folder_that_holds_something_else_is_let_be(tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "thesis.tex").write_text("mine")
    with pytest.raises(InputError, match=r"holds 'thesis\.tex'; name another"):
        opened(table(), tmp_path)
    assert (tmp_path / "cache" / "thesis.tex").read_text() == "mine"


def test_long_texts_are_read_few_at_a_time(tmp_path):
    frame = table(40, review=[f"{k} " + "word " * 20_000 for k in range(40)])
    cache = opened(frame, tmp_path)
    assert cache.texts(39, 40) == [frame["review"][39]]
    assert all(stop - first <= 2 for first, stop in cache.blocks(200_000))
