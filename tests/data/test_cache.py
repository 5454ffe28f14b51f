"""Data larger than memory: what comes from the cache is what `read_series` gives, and what is not whole is made again."""

import json
import os
import pickle
import shutil
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from heldout.check import InputError
from heldout.data import cache_build, partition
from heldout.data.cache import open_cache
from heldout.data.columns import STEPS_COLUMN
from heldout.data.layout import read_series

pa = pytest.importorskip("pyarrow", reason="pyarrow is an extra: heldout[parquet]")
MANY = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
FIELDS = (
    "columns",
    "targets",
    "past",
    "future",
    "ids",
    "frequency",
    "static_names",
    "horizon",
    "last_step_only",
    "max_gap",
)
PARTS = {"target": "sales", "id": "shop", "future": ["price"], "static": ["size", "area"]}
DAY = timedelta(days=1)


def shops(n_series=5, n_rows=40, *, seed=0, kind=pl.Float64):
    """Series of days that differ in length, with covariates of every part."""
    rng = np.random.default_rng(seed)
    parts = []
    for number in range(n_series):
        n = n_rows - number % 3
        parts.append(
            pl.DataFrame(
                {
                    "day": [datetime(2020, 1, 1) + k * DAY for k in range(n)],
                    "shop": [f"s{number}"] * n,
                    "size": [("small", "large", "huge")[number % 3]] * n,
                    "area": [float(number % 4)] * n,
                    "sales": rng.normal(size=n),
                    "price": rng.normal(size=n),
                    "visits": rng.integers(0, 99, n),
                }
            ).with_columns(pl.col("sales", "price").cast(kind), pl.col("visits").cast(pl.Int16))
        )
    return pl.concat(parts)


def write(frame, folder, *, n_files=1, row_group_size=None):
    """One file, or several in folders of their own."""
    shutil.rmtree(folder, ignore_errors=True)
    cuts = [len(frame) * k // n_files for k in range(n_files + 1)]
    for number in range(n_files):
        path = folder / f"part-{number}" / "rows.parquet"
        path.parent.mkdir(parents=True)
        frame[cuts[number] : cuts[number + 1]].write_parquet(path, row_group_size=row_group_size)
    return folder


def assert_same(data, other, dtype=np.float64):
    """In all that a fit reads; values as they are in a type."""
    np.testing.assert_array_equal(data.values.astype(dtype), other.values.astype(dtype))
    for name in ("time", "position", "offsets", "static"):
        np.testing.assert_array_equal(getattr(data, name), getattr(other, name))
    for name in FIELDS:
        assert getattr(data, name) == getattr(other, name), name


def whole(cache):
    return cache.block(0, len(cache.ids))


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of one series or few, and files of sorted rows for one block or few."""
    monkeypatch.setattr(cache_build, "_BLOCK_BYTES", 8_000)
    monkeypatch.setattr(partition, "_BUCKET_BYTES", 10_000)


@st.composite
def panels(draw):
    """A table with holes, missing values, repeated times, ids and orders of many kinds, and how it is to be read."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n_series = draw(st.integers(1, 12))
    lengths = rng.integers(1 if n_series > 1 else 12, 40, n_series)
    ids = {
        "text": [f"shop {k}" for k in range(n_series)],
        "int": [7 * k - 3 for k in range(n_series)],
        "float": [float(k) for k in range(n_series)],
        "half": [k / 2 for k in range(n_series)],
        "date": [datetime(2000, 1, 1).date() + k * DAY for k in range(n_series)],
    }[draw(st.sampled_from(["text", "int", "float", "half", "date"]))]
    number = np.repeat(np.arange(n_series), lengths)
    n = len(number)
    step = (
        np.concatenate([np.arange(length) for length in lengths]) + 5 * rng.integers(0, 2, n_series)[number]
    )
    kind = draw(st.sampled_from([pl.Float32, pl.Float64, pl.Int8]))
    frame = pl.DataFrame(
        {
            "x": rng.normal(size=n),
            "id": [ids[k] for k in number],
            "t": [datetime(2021, 3, 1) + int(k) * DAY for k in step],
            "label": [("a", "b", "c")[k % 3] for k in number],
            "area": (number % 4).astype(float),
            "y": rng.integers(-100, 100, n),
            "text": [str(k) for k in rng.integers(0, 9, n)]
            if draw(st.booleans())
            else rng.integers(0, 2, n) == 1,
        }
    ).with_columns(pl.col("y").cast(kind))
    options = {"target": "y", "id": "id", "static": draw(st.sampled_from([[], ["label"], ["area", "label"]]))}
    options["ignore"] = [name for name in ("label", "area") if name not in options["static"]]
    frame = frame.filter(
        pl.Series(rng.random(n) > draw(st.sampled_from([0, 0.1]))) | (pl.Series(step) % 20 == 0)
    )
    if draw(st.booleans()):
        hole = pl.Series(rng.random(len(frame)) < 0.2)
        frame = frame.with_columns(
            x=pl.when(hole | (pl.Series(rng.random(len(frame)) < 0.1))).then(None).otherwise(pl.col("x"))
        )
        options["missing"] = "fill"
        if draw(st.booleans()):
            frame = frame.with_columns(x=pl.when(pl.col("id") == ids[0]).then(None).otherwise(pl.col("x")))
    if draw(st.booleans()):
        frame = pl.concat(
            [
                frame,
                frame[rng.integers(0, len(frame), 3)].with_columns(x=pl.lit(9.5)),
            ]
        )
        options["duplicates"] = draw(st.sampled_from(["mean", "last"]))
    if draw(st.booleans()):
        frame = frame.drop("t")
        options.pop("duplicates", None)
    else:
        options["calendar"] = draw(st.booleans())
        options["future"] = draw(st.sampled_from([[], ["text"]]))
    match draw(st.sampled_from(["as is", "by time", "shuffled", "by id"])):
        case "by time" if "t" in frame.columns:
            frame = frame.sort("t", maintain_order=True)
        case "shuffled":
            frame = frame[rng.permutation(len(frame))]
        case "by id":
            frame = frame.sort(pl.col("id").cast(pl.String), maintain_order=True)
    return frame, options


@MANY
@given(
    panels(),
    st.integers(1, 4),
    st.sampled_from([7, 50, None]),
    st.sampled_from([1, 1_500, 2**26]),
    st.sampled_from([1, 2_000, 2**26]),
)
def test_a_cache_gives_what_read_series_gives(
    tmp_path, panel, n_files, row_group_size, block_bytes, bucket_bytes
):
    frame, options = panel
    source, folder = (
        write(frame, tmp_path / "rows", n_files=n_files, row_group_size=row_group_size),
        tmp_path / "cache",
    )
    shutil.rmtree(folder, ignore_errors=True)
    try:
        direct = read_series(frame, **options)
    except InputError as error:  # the whole table breaks a rule
        with pytest.raises(InputError, match=str(error)[:25].replace("(", ".")):
            open_cache(source, folder, **options)
        return
    options["frequency"] = direct.frequency  # of few rows, as these are, it cannot be told
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache_build, "_BLOCK_BYTES", block_bytes)
        patch.setattr(partition, "_BUCKET_BYTES", bucket_bytes)
        cache = open_cache(source, folder, **options)
    assert_same(whole(cache), read_series(frame, **options), cache.values.dtype)


@pytest.mark.parametrize("kind", [pl.Float32, pl.Float64])
def test_values_are_float32_where_the_source_is_exact_in_it(tmp_path, kind):
    frame = shops(kind=kind)
    cache = open_cache(write(frame, tmp_path / "rows"), tmp_path / "cache", **PARTS)
    assert cache.values.dtype == (np.float32 if kind == pl.Float32 else np.float64)
    assert not cache.values.flags.writeable
    assert_same(whole(cache), read_series(frame, **PARTS))
    assert whole(cache).notes == cache.notes


@pytest.mark.parametrize("order", ["as is", "by time", "shuffled"])
@pytest.mark.parametrize("files", [{"n_files": 1}, {"n_files": 3, "row_group_size": 11}])
def test_equal_data_have_the_same_fingerprint_in_any_layout(tmp_path, small_blocks, order, files):
    frame = shops(7)
    first = open_cache(write(frame, tmp_path / "rows"), tmp_path / "cache", **PARTS)
    shuffled = {
        "as is": frame,
        "by time": frame.sort("day"),
        "shuffled": frame.sample(fraction=1, shuffle=True, seed=1),
    }
    other = open_cache(write(shuffled[order], tmp_path / "others", **files), tmp_path / "other", **PARTS)
    assert other.fingerprint == first.fingerprint
    changed = frame.with_columns(sales=pl.col("sales") + (pl.int_range(len(frame)) == 100))
    assert (
        open_cache(write(changed, tmp_path / "changed"), tmp_path / "third", **PARTS).fingerprint
        != first.fingerprint
    )


def test_frequency_horizon_and_notes_are_those_of_the_table(tmp_path, small_blocks):
    frame = shops(6, 50).with_columns(note=pl.lit(4))
    cache = open_cache(write(frame, tmp_path / "rows"), tmp_path / "cache", **PARTS)
    direct = read_series(frame, **PARTS)
    assert (cache.frequency, cache.horizon) == (direct.frequency, direct.horizon)
    assert set(cache.notes) == set(direct.notes)


def test_steps_that_turn_uneven_in_a_later_block_are_a_column_of_all(tmp_path, small_blocks):
    frame = shops(8).filter((pl.col("shop") != "s7") | (pl.col("day").dt.day() != 9))
    cache = open_cache(write(frame, tmp_path / "rows"), tmp_path / "cache", **PARTS)
    assert STEPS_COLUMN in cache.past
    assert_same(whole(cache), read_series(frame, **PARTS))
    assert list(cache.folder.parent.glob(".*tmp*")) == []


def test_a_column_of_that_name_beside_uneven_steps_is_refused(tmp_path, small_blocks):
    frame = (
        shops(8)
        .filter((pl.col("shop") != "s7") | (pl.col("day").dt.day() != 9))
        .rename({"visits": STEPS_COLUMN})
    )
    with pytest.raises(
        InputError, match=r"a column of uneven steps must be added, but the table has one .* rename it"
    ):
        open_cache(write(frame, tmp_path / "rows"), tmp_path / "cache", **PARTS)


def test_a_target_may_rest_in_a_block_but_not_in_the_table(tmp_path, small_blocks):
    frame = shops(6).with_columns(sales=pl.when(pl.col("shop") == "s0").then(3.0).otherwise("sales"))
    assert_same(
        whole(open_cache(write(frame, tmp_path / "rows"), tmp_path / "cache", **PARTS)),
        read_series(frame, **PARTS),
    )
    with pytest.raises(InputError, match="a target must change, but column 'sales' is 3 in every row"):
        open_cache(write(frame.with_columns(sales=3.0), tmp_path / "rows"), tmp_path / "other", **PARTS)
    empty = frame.with_columns(visits=pl.lit(None, pl.Float64))
    with pytest.raises(InputError, match="column 'visits' must hold numbers, but every row is empty"):
        open_cache(write(empty, tmp_path / "rows"), tmp_path / "other", **PARTS, missing="fill")


@pytest.mark.parametrize("zone", ["UTC", "Europe/Paris"])
def test_times_with_a_zone_read_as_in_a_table(tmp_path, small_blocks, zone):
    frame = shops(6).with_columns(day=pl.col("day").dt.offset_by("7h").dt.replace_time_zone(zone))
    cache = open_cache(write(frame, tmp_path / "rows"), tmp_path / "cache", **PARTS)
    assert_same(whole(cache), read_series(frame, **PARTS))


def test_times_as_text_or_step_numbers_read_as_in_a_table(tmp_path, small_blocks):
    for column in (pl.col("day").dt.strftime("%d/%m/%Y"), pl.int_range(0, pl.len()).over("shop") + 5):
        frame = shops(6).with_columns(day=column)
        cache = open_cache(write(frame, tmp_path / "rows"), tmp_path / "cache", **PARTS, time="day")
        assert_same(whole(cache), read_series(frame, **PARTS, time="day"))
    mixed = shops(6).with_columns(
        day=pl.when(pl.col("shop") < "s3")
        .then(pl.col("day").dt.strftime("%d/%m/%Y"))
        .otherwise(pl.col("day").dt.strftime("%m/%d/%Y"))
    )
    with pytest.raises(
        InputError, match=r"must read alike throughout, but from row \d+ of .* month first.* day first"
    ):
        open_cache(write(mixed, tmp_path / "rows"), tmp_path / "other", **PARTS, time="day")


def test_one_series_needs_no_ids(tmp_path):
    frame = shops(1).select("day", "sales", "price")
    cache = open_cache(write(frame, tmp_path / "rows", n_files=2), tmp_path / "cache", target="sales")
    assert_same(whole(cache), read_series(frame, target="sales"))


@given(st.lists(st.integers(1, 30), min_size=1, max_size=40), st.integers(1, 60))
def test_runs_are_whole_series_in_order_and_as_long_as_they_may_be(counts, most):
    runs = partition.cut_series(np.array(counts), most)
    assert [first for first, _ in runs] + [len(counts)] == [0] + [stop for _, stop in runs]
    for first, stop in runs:
        assert stop > first
        assert stop == first + 1 or sum(counts[first:stop]) <= most
        assert stop == len(counts) or sum(counts[first : stop + 1]) > most


def test_blocks_and_samples_are_whole_series(tmp_path):
    cache = open_cache(write(shops(30), tmp_path / "rows"), tmp_path / "cache", **PARTS)
    parts = [cache.block(*run) for run in cache.blocks(100)]
    np.testing.assert_array_equal(np.concatenate([part.values for part in parts]), cache.values)
    assert sum((part.ids for part in parts), ()) == cache.ids
    for most in (1, 100, 500, 10**9):
        sample = cache.sample(most)
        assert sample.n_rows <= most or len(sample.ids) == 1
        places = [cache.ids.index(name) for name in sample.ids]
        assert np.ptp(np.diff([-1, *places, len(cache.ids)])) <= len(cache.ids) / len(places) + 1
        for number, place in enumerate(places):
            rows = slice(*sample.offsets[number : number + 2])
            np.testing.assert_array_equal(sample.values[rows], cache.block(place, place + 1).values)
            np.testing.assert_array_equal(sample.static[number], cache.static[place])
    assert cache.sample(10**9).n_rows == cache.n_rows
    with pytest.raises(InputError, match=r"stop must be in \[3, 30\], got 31"):
        cache.block(2, 31)


def test_a_sample_is_of_the_series_that_hold_the_rows(tmp_path):
    lengths = [5] * 300 + [2000]
    frame = pl.DataFrame(
        {
            "id": np.repeat([f"s{k:03d}" for k in range(301)], lengths),
            "y": np.arange(3500.0),
            "t": np.concatenate([*map(np.arange, lengths)]),
        }
    )
    cache = open_cache(
        write(frame, tmp_path / "table"), tmp_path / "cache", target="y", id="id", time="t", horizon=1
    )
    assert cache.sample(3000).ids[-1] == "s300"
    assert 2500 < cache.sample(3000).n_rows <= 3000
    assert cache.sample(10_000).n_rows == 3500


def test_what_lies_beside_data_is_not_read_as_data(tmp_path):
    folder = write(shops(2), tmp_path / "table", n_files=2)
    wanted = open_cache(folder, tmp_path / "cache", **PARTS).fingerprint
    other = pl.DataFrame({"forecast": [1.0]})
    for name in ("run/predictions.parquet", "part-0/.hidden.parquet", "_delta_log/1.parquet"):
        (folder / name).parent.mkdir(exist_ok=True)
        other.write_parquet(folder / name)
    (folder / "run" / "run.json").write_text("{}")
    cache = open_cache(folder, tmp_path / "cache", **PARTS)
    assert cache.fingerprint == wanted
    assert not any("made again" in note for note in cache.notes)


def test_a_file_changed_under_its_old_time_makes_the_cache_again(tmp_path):
    path = write(shops(), tmp_path / "table") / "part-0" / "rows.parquet"
    open_cache(path, tmp_path / "cache", **PARTS)
    found, raw = path.stat(), bytearray(path.read_bytes())
    path.write_bytes(raw)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert "was made of other files" in open_cache(path, tmp_path / "cache", **PARTS).notes[-1]


def test_hidden_files_in_a_cache_are_let_be(tmp_path):
    folder = write(shops(), tmp_path / "table")
    open_cache(folder, tmp_path / "cache", **PARTS)
    (tmp_path / "cache" / ".DS_Store").touch()
    assert not any("made again" in note for note in open_cache(folder, tmp_path / "cache", **PARTS).notes)


def test_released_pages_are_read_again_and_a_pickled_cache_maps_the_same_files(tmp_path):
    cache = open_cache(write(shops(), tmp_path / "rows"), tmp_path / "cache", **PARTS)
    before = whole(cache)
    cache.release()
    assert_same(whole(cache), before)
    again = pickle.loads(pickle.dumps(cache))  # noqa: S301 - made here
    assert_same(whole(again), before)
    assert (again.fingerprint, again.notes) == (cache.fingerprint, cache.notes)
    pickled = pickle.dumps(cache)
    open_cache(write(shops(seed=1), tmp_path / "rows"), tmp_path / "cache", **PARTS)
    with pytest.raises(InputError, match="but was made again of other data"):
        pickle.loads(pickled)  # noqa: S301 - made here
    assert_same(whole(cache), before)  # what is mapped stays
    shutil.rmtree(tmp_path / "cache")
    with pytest.raises(InputError, match="but is gone; make it again"):
        pickle.loads(pickled)  # noqa: S301 - made here


def test_a_whole_cache_is_opened_without_reading_the_files(tmp_path, monkeypatch):
    source = write(shops(), tmp_path / "rows")
    first = open_cache(source, tmp_path / "cache", **PARTS)
    monkeypatch.setattr("heldout.data.cache.make_files", None)
    stages = []
    again = open_cache(
        source, tmp_path / "cache", **PARTS, progress=lambda done: stages.append(done["stage"])
    )
    assert_same(whole(again), whole(first))
    assert set(stages) == {"checking"}


@pytest.mark.parametrize("name", [*cache_build.FILES, "manifest.json"])
@pytest.mark.parametrize("damage", ["cut", "flip first", "flip middle", "flip last", "remove", "longer"])
def test_a_damaged_cache_is_made_again(tmp_path, name, damage):
    source = write(shops(), tmp_path / "rows")
    first = open_cache(source, tmp_path / "cache", **PARTS)
    file = tmp_path / "cache" / name
    raw = bytearray(file.read_bytes())
    if damage.startswith("flip"):
        raw[{"first": 0, "middle": len(raw) // 2, "last": -1}[damage[5:]]] ^= 1
    file.unlink()
    if damage != "remove":
        file.write_bytes({"cut": raw[:-1], "longer": raw + b"\0"}.get(damage, raw))
    again = open_cache(source, tmp_path / "cache", **PARTS)
    assert f"the cache in {tmp_path / 'cache'} was damaged ({name}" in again.notes[-1]
    assert again.notes[-1].endswith("and was made again")
    assert again.fingerprint == first.fingerprint
    assert_same(whole(again), whole(first))
    assert open_cache(source, tmp_path / "cache", **PARTS).notes == first.notes


def test_other_files_options_or_versions_make_a_cache_again(tmp_path, monkeypatch):
    source = write(shops(), tmp_path / "rows")
    open_cache(source, tmp_path / "cache", **PARTS)
    other = open_cache(source, tmp_path / "cache", **PARTS, horizon=2)
    assert (other.horizon, "was made with other options" in other.notes[-1]) == (2, True)
    write(shops(seed=1), tmp_path / "rows")
    assert "was made of other files" in open_cache(source, tmp_path / "cache", **PARTS, horizon=2).notes[-1]
    monkeypatch.setattr("heldout.data.cache._FORMAT", 0)
    assert (
        "was made by another version" in open_cache(source, tmp_path / "cache", **PARTS, horizon=2).notes[-1]
    )


def test_what_a_killed_process_left_is_removed_and_foreign_folders_are_not(tmp_path):
    source = write(shops(), tmp_path / "rows")
    left = tmp_path / ".cache.tmp-0123"
    (left / "sorted").mkdir(parents=True)
    (tmp_path / "cache").mkdir()
    open_cache(source, tmp_path / "cache", **PARTS)
    assert not left.exists()
    (tmp_path / "cache" / "letter.txt").write_text("keep me")
    with pytest.raises(InputError, match=r"must be new, empty or hold one, but .* holds 'letter.txt'"):
        open_cache(source, tmp_path / "cache", **PARTS)
    with pytest.raises(InputError, match=r"must be a folder, but .* is a file"):
        open_cache(source, next(source.rglob("*.parquet")), **PARTS)
    assert len(read_series(next(source.rglob("*.parquet")), **PARTS).ids) == 5


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            {"sales": None},
            r"column 'sales' must have no missing value, but is empty in row 17 of .*part-1.*of series 's",
        ),
        (
            {"visits": np.inf},
            r"column 'visits' must hold numbers that float32 can hold, but is inf in row 17 of .*part-1",
        ),
        (
            {"day": "again"},
            r"a series must have each time once, but 2020-.* stands in row 16 of .*part-1.* and row 17 of ",
        ),
        ({"shop": None}, r"column 'shop' must have a value in every row, but is empty in row 17 of .*part-1"),
        (
            {"area": 77.0},
            r"static column 'area' must be the same within a series, but changes in row 1[78] of .*part-1",
        ),
        (
            {"day": None},
            r"every row must have a time, but 'day' is empty in row 17 of .*part-1|has no value in row 17",
        ),
    ],
)
@pytest.mark.parametrize("in_order", [True, False])
def test_errors_name_the_row_of_the_file_and_leave_no_cache(tmp_path, small_blocks, spoil, message, in_order):
    frame = shops(8).with_columns(pl.col("visits").cast(pl.Float64))
    if not in_order:
        frame = frame.reverse() if "again" in spoil.values() else frame.sort("day")
    row = len(frame) // 2 + 17
    ((name, value),) = spoil.items()
    if value == "again":
        value = frame["day"][row - 1]
    frame = frame.with_columns(
        pl.when(pl.int_range(len(frame)) == row).then(pl.lit(value)).otherwise(name).alias(name)
    )
    source = write(frame, tmp_path / "rows", n_files=2, row_group_size=10)
    with pytest.raises(InputError, match=message):
        open_cache(source, tmp_path / "cache", **PARTS, time="day")
    assert {item.name for item in tmp_path.iterdir()} == {"rows", ".cache.lock"}


def test_files_must_be_whole_and_have_the_same_columns(tmp_path):
    source, folder = write(shops(), tmp_path / "rows", n_files=2), tmp_path / "cache"
    second = source / "part-1" / "rows.parquet"
    raw = second.read_bytes()
    damaged = r"rows.parquet must be a whole Parquet file, but it is damaged"
    for content, message in ((raw[:-20], damaged), (b"no table at all", r"part-1/rows.parquet is none")):
        second.write_bytes(content)
        with pytest.raises(InputError, match=message):
            open_cache(source, folder, **PARTS)
    hurt = bytearray(raw)
    hurt[4 : len(raw) // 2] = bytes(len(raw) // 2 - 4)
    second.write_bytes(hurt)
    with pytest.raises(
        InputError, match=r"part-1/rows.parquet must be a whole Parquet file, but it is damaged"
    ):
        open_cache(source, folder, **PARTS)
    shops().drop("price").write_parquet(second)
    with pytest.raises(
        InputError, match=r"the same columns, but .*part-1/rows.parquet has no column 'price'"
    ):
        open_cache(source, folder, **PARTS)
    shops().with_columns(more=1).write_parquet(second)
    with pytest.raises(InputError, match=r"the same columns, but .*part-0/rows.parquet has no column 'more'"):
        open_cache(source, folder, **PARTS)
    shops(kind=pl.Float32).write_parquet(second)
    with pytest.raises(
        InputError, match=r"column 'sales' holds float in .*part-1/rows.parquet and double in"
    ):
        open_cache(source, folder, **PARTS)
    assert not folder.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"target": ()},
            "target must name at least one column; a table with one series per row is not for data",
        ),
        ({"target": "sale"}, r"there is none called 'sale' \(did you mean 'sales'\?\)"),
        ({"future": ["sales"]}, "a column can have one part, but 'sales' is named in target and future"),
        ({"ignore": ["prise"]}, "ignore must name a column of the table, but there is none called 'prise'"),
        ({"layout": "wide"}, "but layout is 'wide'; write it in long form"),
        ({"test": "rows"}, "data larger than memory has no test table of its own"),
        ({"missing": "drop"}, "missing must be one of 'error', 'fill', got 'drop'"),
        ({"horizon": 0}, "horizon must be in"),
    ],
)
def test_what_cannot_be_read_is_said_at_once(tmp_path, options, message):
    source = write(shops(), tmp_path / "rows")
    with pytest.raises(InputError, match=message):
        open_cache(source, tmp_path / "cache", **(PARTS | options))
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (pl.DataFrame({"a": [1]}), "must be a Parquet file or a folder of them, got DataFrame"),
        ("no/such.parquet", "there is no file no/such.parquet"),
        (".", "must hold \\*.parquet, but . holds none"),
    ],
)
def test_a_source_must_be_parquet(tmp_path, monkeypatch, source, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        open_cache(source, tmp_path / "cache", **PARTS)


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch):
    source = write(shops(), tmp_path / "rows")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    with pytest.raises(InputError, match=r"needs pyarrow: pip install 'heldout\[parquet\]'"):
        open_cache(source, tmp_path / "cache", **PARTS)


def test_a_series_too_long_for_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(cache_build, "MOST_SERIES_ROWS", 39)
    with pytest.raises(
        InputError, match=r"a series must have at most 39 rows, .* but 's0' has 40; cut it into several"
    ):
        open_cache(write(shops(), tmp_path / "rows"), tmp_path / "cache", **PARTS)


@pytest.mark.parametrize("name", ["values.bin", "0.arrow"])
def test_a_disk_that_is_too_small_is_named_and_left_clean(tmp_path, monkeypatch, small_blocks, name):
    source = write(shops().sort("day"), tmp_path / "rows")
    with monkeypatch.context() as patch:
        patch.setattr("heldout.data.cache_files.shutil.disk_usage", lambda path: SimpleNamespace(free=1000))
        with pytest.raises(
            InputError, match=rf"{tmp_path / 'cache'} needs about \d+ bytes .*, but 1000 are free"
        ):
            open_cache(source, tmp_path / "cache", **PARTS)
    full, opened = Path("/dev/full"), Path.open
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    monkeypatch.setattr(
        Path, "open", lambda path, *mode, **how: opened(full if path.name == name else path, *mode, **how)
    )
    with pytest.raises(InputError, match=r"cannot write the cache in .*: No space left on device; make room"):
        open_cache(source, tmp_path / "cache", **PARTS)
    assert {item.name for item in tmp_path.iterdir()} == {"rows", ".cache.lock"}


def test_an_interrupted_cache_leaves_nothing(tmp_path):
    def stop(done):
        if done["stage"] == "writing":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_cache(write(shops(), tmp_path / "rows"), tmp_path / "cache", **PARTS, progress=stop)
    assert {item.name for item in tmp_path.iterdir()} == {"rows", ".cache.lock"}


def test_progress_counts_rows_of_each_stage(tmp_path, small_blocks):
    frame, seen = shops(8).sort("day"), {}
    open_cache(
        write(frame, tmp_path / "rows", row_group_size=20),
        tmp_path / "cache",
        **PARTS,
        progress=lambda done: seen.setdefault(done["stage"], []).append((done["done"], done["of"])),
    )
    assert list(seen) == ["reading ids", "sorting rows", "writing"]
    for counts in seen.values():
        assert sorted(counts) == counts
        assert counts[-1] == (len(frame), len(frame))


def _open(paths):
    cache = open_cache(paths / "rows", paths / "cache", **PARTS)
    return cache.fingerprint, float(cache.values.sum()), json.dumps(cache.notes)


def test_two_processes_that_build_at_once_do_not_spoil_each_other(tmp_path):
    write(shops(40), tmp_path / "rows")
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        first, second = pool.map(_open, [tmp_path, tmp_path])
    assert first == second == _open(tmp_path)
    assert {item.name for item in tmp_path.iterdir()} == {"rows", "cache", ".cache.lock"}
