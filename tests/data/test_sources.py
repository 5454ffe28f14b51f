"""A test table given apart: its rows follow, and they alone are sealed."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heldout.check import InputError
from heldout.data.layout import read_series
from heldout.data.splits import split_series
from tests.data.test_wide import wide_table


def long_table(n_rows, n_series=1, seed=0, timed=True, start=0):
    rng = np.random.default_rng(seed)
    t = np.arange(start, start + n_rows)
    stamps = np.datetime64("2024-01-01", "us") + t * np.timedelta64(1, "h")
    parts = []
    for number in range(n_series):
        columns = {"time": stamps} if timed else {}
        parts.append(pl.DataFrame({**columns, "id": f"s{number}", "y": rng.normal(size=n_rows)}))
    return pl.concat(parts)


@given(
    n_test=st.integers(1, 30),
    horizon=st.integers(1, 5),
    n_series=st.integers(1, 3),
    lookback=st.integers(2, 12),
    timed=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_sealed_are_the_origins_from_which_all_is_ahead_in_the_test_table(
    n_test, horizon, n_series, lookback, timed
):
    train, test = long_table(120, n_series, timed=timed), long_table(n_test, n_series, 1, timed, start=120)
    data = read_series(train, target="y", id="id", horizon=horizon, test=test)
    assert data.n_rows == n_series * (120 + n_test)
    if n_test < horizon:
        with pytest.raises(InputError, match=f"the test table holds no {horizon} rows"):
            split_series(data, lookback)
        return
    folds = split_series(data, lookback, n_folds=2)
    sealed = folds[-1].test.rows(data, lookback)
    place = sealed - data.offsets[data.series_of_row[sealed]]
    np.testing.assert_array_equal(place, np.tile(np.arange(119, 119 + n_test - horizon + 1), n_series))
    for fold in folds:
        for part in ("train", "valid", *(["test"] if fold is not folds[-1] else [])):
            rows = getattr(fold, part).rows(data, lookback)
            assert data.time[rows + horizon].max() < data.test_start


def test_two_tables_read_as_one_of_all_their_rows():
    train, test = long_table(100, 2), long_table(20, 2, 1, start=100)
    apart = read_series(train, target="y", id="id", horizon=3, test=test)
    together = read_series(pl.concat([train, test]), target="y", id="id", horizon=3)
    np.testing.assert_array_equal(apart.values, together.values)
    np.testing.assert_array_equal(apart.time, together.time)
    assert apart.test_start == apart.time[100]
    assert apart.fingerprint != together.fingerprint


def test_wide_tables_of_unequal_length_get_one_origin_per_series():
    train, _ = wide_table([60, 50, 40])
    test, truth = wide_table([4, 4, 4], seed=1, names=[f"V{k + 2}" for k in range(4)])
    data = read_series(train, test=test)
    assert data.horizon == 4
    sealed = split_series(data, 10, n_folds=0)[-1].test.rows(data, 10)
    np.testing.assert_array_equal(sealed - data.offsets[:-1], [59, 49, 39])
    np.testing.assert_array_equal(data.values[sealed[:, None] + data.steps, 0], truth)
    assert len(set(data.time[sealed])) == 1


def test_a_long_test_table_does_not_set_the_horizon():
    data = read_series(long_table(300), target="y", ignore=["id"], test=long_table(200, seed=1, start=300))
    assert data.horizon == 24


def test_the_file_beside_is_taken_said_and_declined(tmp_path):
    train, test = wide_table([40, 40]), wide_table([3, 3], seed=1)
    for name, (table, _) in {"a_train_set.csv": train, "a_test_set.csv": test}.items():
        table.write_csv(tmp_path / name)
    data = read_series(tmp_path / "a_train_set.csv", test="auto")
    assert data.horizon == 3
    assert any(note.startswith("a_test_set.csv lies beside the table and is taken") for note in data.notes)
    for declined in ("none", None):
        assert read_series(tmp_path / "a_train_set.csv", test=declined).test_start is None
    asked = read_series(tmp_path / "a_train_set.csv", test=tmp_path / "a_test_set.csv")
    assert asked.fingerprint == data.fingerprint
    assert read_series(tmp_path / "a_test_set.csv", layout="wide", test="auto").test_start is None


def test_a_file_beside_with_other_columns_is_left_alone(tmp_path):
    long_table(60).write_csv(tmp_path / "train.csv")
    long_table(5).drop("y").write_csv(tmp_path / "test.csv")
    data = read_series(tmp_path / "train.csv", target="y", ignore=["id"], test="auto")
    assert data.test_start is None
    assert any("test.csv lies beside the table but has other columns" in note for note in data.notes)
    with pytest.raises(InputError, match="must have the columns of the training table, but y is missing"):
        read_series(tmp_path / "train.csv", target="y", ignore=["id"], test=tmp_path / "test.csv")


def test_a_series_without_test_rows_only_trains_and_one_without_training_rows_is_refused():
    train, test = long_table(60, 3), long_table(5, 3, 1, start=60)
    fewer = read_series(train, target="y", id="id", test=test.filter(pl.col("id") != "s1"))
    assert any("1 series has no test rows and is trained on only: s1" in note for note in fewer.notes)
    sealed = split_series(fewer, 10, n_folds=0)[-1].test.rows(fewer, 10)
    assert set(fewer.series_of_row[sealed]) == {0, 2}
    with pytest.raises(InputError, match="'s1' has none; remove it"):
        read_series(train.filter(pl.col("id") != "s1"), target="y", id="id", test=test)


def test_test_rows_that_do_not_follow_are_refused_with_both_times():
    train = long_table(60)
    with pytest.raises(InputError, match=r"must follow all training rows, but 2024-01-03 .* is not after"):
        read_series(
            train[:50].extend(train[55:]), target="y", ignore=["id"], test=long_table(1, seed=1, start=52)
        )
    with pytest.raises(InputError, match=r"each time once.*of the test table"):
        read_series(train, target="y", ignore=["id"], test=train[-5:])


def test_a_fault_in_the_test_table_is_placed_there():
    test = long_table(5, seed=1, start=60).with_columns(y=pl.Series([1.0, None, 1.0, 2.0, 3.0]))
    with pytest.raises(InputError, match="is empty in row 1 of the test table"):
        read_series(long_table(60), target="y", ignore=["id"], test=test)


@given(
    start=st.booleans(),
    n=st.integers(3, 60),
    n_series=st.integers(1, 3),
    seed=st.integers(0, 99),
    wide=st.booleans(),
)
@settings(max_examples=30, deadline=None)
def test_training_rows_are_refused_as_the_test_and_others_are_not(start, n, n_series, seed, wide):
    values = np.random.default_rng(seed).normal(size=(n_series, 80))
    own = values[:, :n] if start else values[:, -n:]

    def table(values):
        if wide:
            names = [f"V{k + 2}" for k in range(values.shape[1])]
            return pl.DataFrame({"id": [f"s{k}" for k in range(n_series)]}).hstack(
                pl.DataFrame(values, names)
            )
        ids = np.repeat([f"s{k}" for k in range(n_series)], values.shape[1])
        return pl.DataFrame({"id": ids, "y": values.ravel()})

    options = {"layout": "wide"} if wide else {"target": "y", "id": "id"}
    with pytest.raises(InputError, match=rf"first {n} test values.* are training values of the same series"):
        read_series(table(values), test=table(own), **options)
    assert read_series(table(values), test=table(own + 1), **options).test_start == 80


def test_values_that_may_repeat_by_chance_are_no_proof():
    names = [f"V{k}" for k in range(22)]
    values = np.random.default_rng(0).normal(size=(3, 22))
    values[1] = 4.0
    values[2] = [0, 1] * 11
    train = pl.DataFrame({"id": ["a", "b", "c"]}).hstack(pl.DataFrame(values, names))
    test = train.select("id", *names[:6]).with_columns(
        V0=pl.when(pl.col("id") == "a").then(9.0).otherwise(pl.col("V0"))
    )
    assert read_series(train, test=test).horizon == 6
    assert read_series(train[2:], layout="wide", test=test[2:]).horizon == 6


@pytest.mark.parametrize("duplicates", ["error", "mean", "last"])
def test_a_time_in_both_tables_is_refused_whatever_becomes_of_repeats(duplicates):
    with pytest.raises(InputError, match=r"must follow all training rows.*\(4 such rows\)"):
        read_series(
            long_table(60),
            target="y",
            ignore=["id"],
            test=long_table(9, seed=1, start=56),
            duplicates=duplicates,
        )


def test_a_table_in_the_other_form_is_refused_by_name():
    wide, long = wide_table([40, 40])[0], long_table(60)
    with pytest.raises(InputError, match=r"one series per row .*'time' holds none of the ids"):
        read_series(wide, test=long)
    with pytest.raises(InputError, match=r"one row per time .*as if each row were a series"):
        read_series(long, target="y", test=wide)


def test_a_ragged_test_table_names_the_series_that_sets_the_horizon():
    data = read_series(wide_table([40, 40])[0], test=wide_table([5, 3], seed=1)[0])
    assert data.horizon == 3
    assert any(
        "shortest series in the test table, 's01', has 3 rows and the longest 5" in n for n in data.notes
    )


@pytest.mark.parametrize("n_test", [10, 24, 30])
def test_one_series_has_at_most_the_usual_horizon_and_a_panel_what_its_test_table_holds(n_test):
    for n_series, horizon in ((1, min(24, n_test)), (2, n_test)):
        train, test = long_table(300, n_series), long_table(n_test, n_series, 1, start=300)
        assert read_series(train, target="y", id="id", test=test).horizon == horizon


def test_a_gap_before_the_test_and_a_column_left_out_are_said():
    test = long_table(10, seed=1, start=80).with_columns(extra=1.0)
    data = read_series(long_table(60), target="y", ignore=["id"], horizon=3, test=test)
    assert any("lacks extra of the test table: left out" in note for note in data.notes)
    with pytest.raises(
        InputError, match="begins 21 steps after the training rows and no window crosses more"
    ):
        split_series(data, 10)


def test_no_way_out_leaves_the_target_out_and_no_note_says_that_cells_were_sorted():
    table = wide_table([40, 40])[0].reverse()
    test = wide_table([3, 3], seed=1)[0]
    assert not any("sorted" in note for note in read_series(table, test=test).notes)
    with pytest.raises(
        InputError, match=r"'V3' \(step 1 of series 's01'\); fill it in, or say missing=fill$"
    ):
        read_series(table.with_columns(V3=pl.when(pl.col("id") == "s00").then(pl.col("V3"))), test=test)


def test_pandas_tables_join_too():
    train, test = long_table(60).to_pandas(), long_table(5, seed=1, start=60)
    mixed = read_series(train, target="y", ignore=["id"], test=test)
    alike = read_series(train, target="y", ignore=["id"], test=test.to_pandas())
    assert mixed.fingerprint == alike.fingerprint
