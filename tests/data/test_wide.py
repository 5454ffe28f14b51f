"""Wide tables: one series per row is understood, lined up at the end, and refused with a place where it is not clean."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heldout.check import InputError
from heldout.data.layout import read_series
from heldout.data.tables import open_table
from heldout.data.wide import is_wide, unpivot


def wide_table(lengths, width=None, seed=0, first="id", names=None):
    """Series of these lengths, one per row, empty behind their ends."""
    rng = np.random.default_rng(seed)
    width = width or max(lengths)
    values = np.full((len(lengths), width), np.nan)
    for row, length in zip(values, lengths, strict=True):
        row[:length] = rng.normal(size=length).round(3)
    columns = {name: values[:, k] for k, name in enumerate(names or [f"V{k + 2}" for k in range(width)])}
    ids = [f"s{k:02d}" for k in range(len(lengths))]
    return pl.DataFrame({first: ids, **columns}).with_columns(pl.all().exclude(first).fill_nan(None)), values


@given(lengths=st.lists(st.integers(12, 30), min_size=1, max_size=5), extra=st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_each_row_is_a_series_and_all_end_at_the_same_position(lengths, extra):
    table, values = wide_table(lengths, max(lengths) + extra)
    data = read_series(table, horizon=1)
    assert len(data.ids) == len(lengths)
    for number, length in enumerate(lengths):
        own = slice(data.offsets[number], data.offsets[number + 1])
        np.testing.assert_array_equal(data.values[own, 0], values[number, :length])
        np.testing.assert_array_equal(data.time[own], np.arange(max(lengths) - length, max(lengths)))
        np.testing.assert_array_equal(np.diff(data.position[own]), 1)
    assert any(f"one series per row: {len(lengths)} series" in note for note in data.notes)


def test_a_wide_file_reads_as_its_data_frame_does(tmp_path):
    table, _ = wide_table([20, 14])
    table.write_csv(tmp_path / "wide.csv")
    for layout in ("auto", "wide"):
        data = read_series(tmp_path / "wide.csv", layout=layout)
        assert data.fingerprint == read_series(table).fingerprint
    assert data.targets == ("value",)


def test_a_wide_table_reads_as_the_long_one_that_holds_the_same(tmp_path):
    table, values = wide_table([20, 20])
    rows = [{"id": f"s{s:02d}", "n": t, "value": values[s, t]} for s in range(2) for t in range(20)]
    long = read_series(pl.DataFrame(rows), target="value", id="id", time="n", horizon=2)
    wide = read_series(table, horizon=2)
    np.testing.assert_array_equal(long.values, wide.values)
    np.testing.assert_array_equal(long.time, wide.time)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda t: t.with_columns(id=pl.lit("a")), "ids repeat"),
        (lambda t: t.with_columns(V5=pl.lit("x")), "a column of text"),
        (lambda t: t.select(t.columns[:8]), "few columns"),
        (lambda t: t.with_columns(id=pl.Series(["2020-01-01", "2020-01-02"])), "times first"),
        (lambda t: t.with_columns(id=pl.Series(["2020-W01", "2020-W02"])), "weeks first"),
        (lambda t: t.with_columns(id=pl.Series(["Q1 1990", "Q2 1990"])), "quarters first"),
        (lambda t: t.with_columns(id=pl.Series([1, 2])), "numbers first"),
        (lambda t: t.rename({"V9": "price"}), "a header with a word in it"),
        (lambda t: t.select("id", *t.columns[:5:-1]), "a header that counts down"),
        (lambda t: t.drop("V9"), "a header with a number left out"),
        (lambda t: t.with_columns(id=pl.Series(["a", None])), "an id is missing"),
    ],
)
def test_what_may_be_long_is_not_taken_for_wide(change, what):
    table, _ = wide_table([20, 20])
    assert is_wide(open_table(table))
    assert not is_wide(open_table(change(table))), what
    with pytest.raises(InputError, match="no target column is given"):
        read_series(change(table))


@given(
    first=st.integers(0, 2000), n=st.integers(10, 40), prefix=st.sampled_from(["", "V", "x_", "M4 2b", "t0"])
)
@settings(max_examples=30, deadline=None)
def test_a_counter_in_the_header_is_recognised_wherever_it_begins(first, n, prefix):
    table, _ = wide_table([n, n], names=[f"{prefix}{first + k}" for k in range(n)])
    assert is_wide(open_table(table))
    assert not is_wide(open_table(table.rename({f"{prefix}{first + 4}": f"{prefix}{first + n}"})))


@pytest.mark.parametrize("layout", ["auto", "wide"])
def test_columns_that_are_no_values_are_taken_out_and_a_static_one_follows_its_series(layout):
    table, _ = wide_table([20, 14, 17])
    more = table.with_columns(size=pl.Series([7.0, 5.0, 6.0]), region=pl.Series(["N", "S", "N"]))
    more = more.select("region", *table.columns, "size")
    test, _ = wide_table([2, 2, 2], seed=1)
    test = test.reverse()
    options = {"horizon": 1, "layout": layout, "id": "id", "test": test}
    plain = read_series(table, horizon=1, test=test)
    assert read_series(more, ignore=["region", "size"], **options).fingerprint == plain.fingerprint
    data = read_series(more, static=["region", "size"], **options)
    assert data.static_names == ("region=N", "region=S", "size")
    assert data.static.tolist() == [[1, 0, 7], [0, 1, 5], [1, 0, 6]]
    np.testing.assert_array_equal(data.values, plain.values)
    with pytest.raises(InputError, match=r"none called 'regoin' .did you mean 'region'"):
        read_series(more, static=["regoin"], ignore=["size"], id="id", layout="wide")


def test_a_column_that_is_named_makes_a_table_long():
    table, _ = wide_table([20, 20])
    assert read_series(table, target="V4", ignore=["id"], horizon=1).targets == ("V4",)


def test_times_in_the_header_place_the_series():
    days = [f"2024-01-{day:02d}" for day in range(1, 21)]
    table, _ = wide_table([20, 12], names=days)
    data = read_series(table, horizon=1)
    assert data.frequency.name == "day"
    assert data.time[data.offsets[1]] == data.time[0]


def test_a_missing_value_between_others_follows_the_policy():
    table, _ = wide_table([20, 20])
    table = table.with_columns(V7=pl.when(pl.col("id") == "s01").then(None).otherwise(pl.col("V7")))
    with pytest.raises(InputError, match=r"row 1, column 'V7' \(step 5 of series 's01'\)"):
        read_series(table)
    data = read_series(table, missing="fill")
    assert np.flatnonzero(np.isnan(data.values[:, 0])).tolist() == [25]


BAD = {
    "id twice": (lambda t: t.with_columns(id=pl.lit("a")), "'a' in column 'id' stands in row 0 and row 1"),
    "no id": (lambda t: t.with_columns(id=pl.Series(["a", None])), "'id' must have a value in every row"),
    "text": (lambda t: t.with_columns(V5=pl.lit("x")), "'V5' .*'x' in row 0"),
    "no values": (
        lambda t: t.with_columns(pl.all().exclude("id") * None),
        "'s00' in row 0 has none; remove it",
    ),
    "ids alone": (lambda t: t.select("id"), "has column 'id' alone"),
    "infinite": (lambda t: t.with_columns(V5=pl.lit(np.inf)), "row 0, column 'V5'"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_wide_table_is_refused_with_its_place(kind):
    change, message = BAD[kind]
    table, _ = wide_table([20, 20])
    with pytest.raises(InputError, match=message):
        read_series(change(table), layout="wide")


def test_a_covariate_cannot_be_named_in_a_wide_table():
    table, _ = wide_table([20, 20])
    with pytest.raises(InputError, match="none called 'price'"):
        read_series(table, layout="wide", future=["price"])


def test_cells_know_where_they_stand():
    table, values = wide_table([20, 12])
    cells = unpivot(open_table(table))
    frame = cells.frame.to_native()
    for row in (0, 19, 20, 31):
        line, name = cells.place(row).split(", column ")
        assert values[int(line.removeprefix("row ")), int(name.strip("'")[1:]) - 2] == frame["value"][row]
