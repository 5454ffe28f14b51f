"""The preparation learned a block at a time is that of all series at once, and so are the windows cut from files."""

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from heldout.check import InputError
from heldout.data import runs as runs_module
from heldout.data.mapped import open_windows, prepared_by, write_windows
from heldout.data.prepare import Prepare
from heldout.data.prepare_blocks import fit_blocks
from heldout.data.quantiles import streamed_moments, streamed_quantiles
from heldout.data.runs import Runs, draw_epoch
from heldout.data.series import SeriesData
from heldout.data.transforms import choose_transforms
from heldout.recipe import Recipe
from tests.conftest import make_series
from tests.data.test_prepare import LOOKBACK, RECIPES, positive

_RECIPE = Recipe(transform="none")
COLUMNS = arrays(
    np.float32,
    st.tuples(st.integers(1, 40), st.integers(1, 3)),
    elements=st.floats(-(2.0**99), 2.0**99, width=32) | st.sampled_from([0.0, 1.0, np.nan]),
)


def part(data: SeriesData, first: int, stop: int) -> SeriesData:
    """Some of the series."""
    rows = slice(int(data.offsets[first]), int(data.offsets[stop]))
    return replace(
        data,
        values=data.values[rows],
        time=data.time[rows],
        position=data.position[rows],
        offsets=data.offsets[first : stop + 1] - data.offsets[first],
        ids=data.ids[first:stop],
        static=data.static[first:stop],
    )


@given(values=COLUMNS, cuts=st.lists(st.integers(0, 40), max_size=3), level=st.floats(0, 1))
@settings(max_examples=200, deadline=None)
def test_quantiles_seen_in_parts_are_those_of_numpy(values, cuts, level):
    parts = [p for p in np.split(values.astype(np.float64), sorted(cuts)) if len(p)]
    found = streamed_quantiles(lambda: iter(parts), [level, 0.5])
    for column in range(values.shape[1]):
        known = values[:, column][~np.isnan(values[:, column])].astype(np.float64)
        if not len(known):
            assert np.isnan(found[:, column]).all()
            continue
        wanted = np.quantile(known, [level, 0.5])
        # Of distances from the mean, of which float32 has none between 0 and 2 ** -149.
        within = 1e-6 * np.abs(known).max() + 2.0**-149
        np.testing.assert_allclose(found[:, column], wanted, rtol=1e-6, atol=within)


@pytest.mark.parametrize("scaling", ["robust", "standard"])
def test_scales_far_from_zero_are_those_learned_in_memory(scaling):
    data = make_series(n_series=1, n_rows=400)
    data = replace(data, values=data.values + 1e9)
    recipe, rows = replace(_RECIPE, lookback=LOOKBACK, scaling=scaling), np.arange(20, 300)
    memory = Prepare.fit(data, rows, LOOKBACK, recipe)
    blocks = fit_blocks(lambda: iter([(data, rows)]), LOOKBACK, recipe, memory.transforms)
    assert blocks.constant == memory.constant == ()
    np.testing.assert_allclose(blocks.widths, memory.widths, rtol=1e-6)
    np.testing.assert_allclose(
        np.subtract(blocks.centers, memory.centers), 0, atol=1e-6 * np.min(memory.widths)
    )


@given(
    n=st.integers(1, 3000),
    size=st.integers(1, 4000),
    seed=st.integers(0, 9),
    listed=st.sampled_from([0, 10**7]),
)
def test_an_epoch_holds_each_sample_once_at_most_also_where_they_are_not_listed(n, size, seed, listed):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs_module, "_LISTED", listed)
        drawn = draw_epoch(n, size, np.random.default_rng(seed))
    assert len(set(drawn.tolist())) == len(drawn) == min(n, size)
    assert set(drawn.tolist()) <= set(range(n))


def test_every_sample_is_drawn_as_often_where_they_are_not_listed(monkeypatch):
    monkeypatch.setattr(runs_module, "_LISTED", 0)
    rng = np.random.default_rng(0)
    counts = sum(np.bincount(draw_epoch(100, 30, rng), minlength=100) for _ in range(4000))
    np.testing.assert_allclose(counts, 1200, atol=5 * np.sqrt(1200))


@given(seed=st.integers(0, 9), cut=st.integers(1, 99), shift=st.sampled_from([0.0, 1e6]))
@settings(max_examples=20, deadline=None)
def test_moments_seen_in_parts_are_those_of_numpy(seed, cut, shift):
    values = np.random.default_rng(seed).normal(size=(100, 2)) + shift
    mean, width, most = streamed_moments(lambda: iter([values[:cut], values[cut:]]))
    np.testing.assert_allclose(mean, values.mean(axis=0), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(width, values.std(axis=0), rtol=1e-9)
    np.testing.assert_array_equal(most, np.abs(values).max(axis=0))


@given(rows=st.lists(st.integers(0, 60), min_size=1, unique=True), cut=st.integers(0, 60))
def test_runs_are_the_rows_that_they_were_made_of(rows, cut):
    rows = np.sort(np.array(rows, np.int64))
    runs = Runs.of([rows[:cut], rows[cut:]])
    assert len(runs) == len(rows)
    assert runs[torch.arange(-len(rows), len(rows))].tolist() == [*rows, *rows]


@given(recipe=RECIPES, seed=st.integers(0, 5), n_series=st.integers(1, 4), gaps=st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_block_at_a_time_is_learned_what_is_learned_of_all(recipe, seed, n_series, gaps):
    data = positive(make_series(120, n_series, seed=seed))
    if gaps:
        holes = np.random.default_rng(seed).random(data.values.shape) < 0.1
        data = replace(data, values=np.where(holes, np.nan, data.values))
    data = replace(data, static=np.arange(n_series)[:, None] * 1.0, static_names=("size",))
    rows = data.origins(LOOKBACK)
    rows = rows[data.time[rows] < np.median(data.time)]
    whole = Prepare.fit(data, rows, LOOKBACK, recipe)

    def blocks():
        for number in range(n_series):
            own = rows[data.series_of_row[rows] == number] - data.offsets[number]
            yield part(data, number, number + 1), own

    transforms, _ = choose_transforms(data, rows, LOOKBACK, recipe.transform)
    found = fit_blocks(blocks, LOOKBACK, recipe, transforms)
    for name, value in asdict(whole).items():
        own = getattr(found, name)
        if isinstance(value, tuple) and value and not isinstance(value[0], str):
            np.testing.assert_allclose(
                np.array(own, float), np.array(value, float), rtol=2e-6, atol=1e-6, err_msg=name
            )
        else:
            assert own == value, name


def test_nothing_to_learn_from_is_refused():
    with pytest.raises(InputError, match="there are no training rows"):
        fit_blocks(lambda: iter(()), LOOKBACK, _RECIPE, ("none",))


@pytest.fixture
def written(tmp_path):
    """Windows of three series in files, and in memory."""
    data = make_series(90, 3)
    data = replace(data, static=np.arange(3.0)[:, None], static_names=("size",))
    prepare = Prepare.fit(data, data.origins(LOOKBACK), LOOKBACK, _RECIPE)
    blocks = (part(data, n, n + 1) for n in range(3))
    write_windows(tmp_path, prepare, blocks, LOOKBACK, "key")
    return tmp_path, prepare.apply(data, LOOKBACK), data.origins(LOOKBACK)


def test_windows_cut_from_files_are_those_cut_from_memory(written):
    folder, windows, rows = written
    mapped = open_windows(folder)
    for _ in range(60):  # so often that pages are given back meanwhile
        for own, other in zip(
            mapped.gather(torch.from_numpy(rows)), windows.gather(torch.from_numpy(rows)), strict=True
        ):
            assert (own is None and other is None) or torch.equal(own, other)


@pytest.mark.parametrize("name", ["inputs.bin", "level.bin", "windows.json"])
@pytest.mark.parametrize("damage", ["cut short", "flipped", "missing"])
def test_damaged_files_of_windows_are_noticed(written, name, damage):
    folder, _, _ = written
    assert prepared_by(folder, "key")
    assert not prepared_by(folder, "another")
    path = folder / name
    content = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    else:
        content[len(content) // 2] ^= 64
        path.write_bytes(content[:-9] if damage == "cut short" else content)
    assert not prepared_by(folder, "key")
