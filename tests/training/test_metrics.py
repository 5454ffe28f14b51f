import csv
import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from heldout.check import InputError
from heldout.training.metrics import (
    absolute_error,
    mase,
    mase_scale,
    owa,
    pinball,
    rmse,
    smape,
    squared_error,
)

DATA = Path(__file__).parents[2] / "../shared/data"
numbers = st.floats(-1e6, 1e6, allow_subnormal=False)
pairs = array_shapes(min_dims=1, max_dims=3, max_side=5).flatmap(
    lambda shape: st.tuples(arrays(float, shape, elements=numbers), arrays(float, shape, elements=numbers))
)


def loop(truth, forecast, term):
    return [
        np.mean([term(y, f) for y, f in zip(a.ravel(), b.ravel(), strict=True)])
        for a, b in zip(truth, forecast, strict=True)
    ]


@settings(deadline=None)
@given(pairs)
def test_per_sample_errors_equal_a_loop(pair):
    truth, forecast = pair
    for measure, term in [
        (squared_error, lambda y, f: (f - y) ** 2),
        (absolute_error, lambda y, f: abs(f - y)),
        (smape, lambda y, f: 200 * abs(f - y) / (abs(f) + abs(y)) if (y, f) != (0, 0) else 0.0),
        (lambda y, f: pinball(y, f, 0.9), lambda y, f: 0.9 * (y - f) if y >= f else 0.1 * (f - y)),
        (lambda y, f: mase(y, f, 4.0), lambda y, f: abs(f - y) / 4),
    ]:
        found = measure(truth, forecast)
        assert found.shape == (len(truth),)
        np.testing.assert_allclose(found, loop(truth, forecast, term), rtol=1e-9, atol=1e-9)


@settings(deadline=None)
@given(pairs)
def test_measures_are_bounded_and_zero_for_the_truth(pair):
    truth, forecast = pair
    assert (smape(truth, forecast) <= 200 + 1e-9).all()
    assert rmse(truth, forecast) ** 2 == pytest.approx(squared_error(truth, forecast).mean())
    for measure in (squared_error, absolute_error, smape):
        assert (measure(truth, truth) == 0).all()


def test_the_pinball_loss_is_lowest_at_the_quantile():
    draws = np.random.default_rng(0).normal(size=20_000)
    guesses = np.linspace(-2, 2, 41)
    for quantile in (0.1, 0.5, 0.9):
        losses = [pinball(draws, np.full_like(draws, guess), quantile).mean() for guess in guesses]
        assert guesses[np.argmin(losses)] == pytest.approx(np.quantile(draws, quantile), abs=0.11)


def test_the_seasonal_naive_has_mase_one_on_its_own_training_rows():
    train = np.random.default_rng(1).normal(size=(200, 3)).cumsum(axis=0)
    scale = mase_scale(train, 7)
    assert scale.shape == (3,)
    assert mase(train[7:, None], train[:-7, None], scale).mean() == pytest.approx(1.0)


def test_owa_of_the_reference_is_one():
    assert owa([10.0, 30.0], [1.0, 2.0], [10.0, 30.0], [1.0, 2.0]) == 1.0


def m4_series(file):
    with gzip.open(file, "rt") as lines:
        return [np.array([float(v) for v in row[1:] if v]) for row in list(csv.reader(lines))[1:]]


def test_m4_hourly_naive_forecasts_have_the_published_errors():
    """Makridakis et al., "Evaluation and Ranks.xlsx": sMAPE and MASE of Naive and sNaive on the 414 hourly series."""
    files = [DATA / f"timeseries/m4_hourly_{part}.csv.gz" for part in ("train", "test")]
    if not all(file.exists() for file in files):
        pytest.skip("needs ../shared/data/timeseries/m4_hourly_*.csv.gz")
    train, test = map(m4_series, files)
    truth = np.stack(test)[:, :, None]
    scale = np.array([float(mase_scale(rows, 24)) for rows in train])[:, None, None]
    naive = np.stack([np.repeat(rows[-1], 48) for rows in train])[:, :, None]
    seasonal = np.stack([np.tile(rows[-24:], 2) for rows in train])[:, :, None]
    figures = [(smape(truth, f).mean(), mase(truth, f, scale).mean()) for f in (naive, seasonal)]
    np.testing.assert_allclose(figures, [(43.003, 11.608), (13.912, 1.193)], atol=5e-4)
    assert owa(*([figure] for figure in figures[1]), [18.383], [2.395]) == pytest.approx(0.627, abs=1e-3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: squared_error([1.0], [1.0, 2.0]), r"got \(1,\) and \(2,\)"),
        (lambda: absolute_error([], []), "not empty"),
        (lambda: pinball([1.0], [1.0], 1.0), "quantile must be in"),
        (lambda: mase_scale([1.0, 2.0], 2), "more training rows than one season, got 2 rows"),
        (lambda: mase_scale([1.0, 1.0, 1.0]), "must change over 1 rows"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()
