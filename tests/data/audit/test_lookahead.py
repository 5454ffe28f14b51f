"""News of a column that the target's future tells."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heldout.data.audit.lookahead import HINT, LEAK, check_lookahead, explained
from heldout.data.layout import read_series
from tests.data.audit.tables import KINDS, centred, clean, filled_back, later, table


def series(y, x, **options):
    return read_series(table(y, x=x), target="y", horizon=3, missing="fill", **options)


@given(seed=st.integers(0, 10**6), known=st.integers(1, 4), more=st.integers(1, 4), same=st.booleans())
@settings(max_examples=30, deadline=None)
def test_the_share_is_that_of_two_regressions(seed, known, more, same):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(120, known + more))
    y = x @ rng.normal(size=known + more) + rng.normal(size=120)
    if same:  # a column twice changes nothing
        x, known = np.hstack([x[:, :1], x]), known + 1

    def variance(columns):
        design = np.hstack([np.ones((120, 1)), columns])
        weights, _, rank, _ = np.linalg.lstsq(design, y, rcond=1e-10)
        return ((y - design @ weights) ** 2).sum() / (120 - rank)

    found = explained(np.hstack([y[:, None], x]), known + 1)
    assert found == pytest.approx(1 - variance(x) / variance(x[:, :known]), abs=1e-9)


LEAKS = {
    "the next value": later,
    "the value three rows on": lambda y: later(y, 3),
    "a mean around the row": centred,
    "filled from the next known row": filled_back,
    "a mean over the period still running": lambda y: np.repeat(y.reshape(-1, 8).mean(axis=1), 8),
    "up or down next": lambda y: (np.append(np.diff(y), 0) > 0).astype(float),
    "missing where it falls next": lambda y: (
        np.where(np.append(np.diff(y), 0) < 0, np.nan, 1.0) + np.arange(len(y)) % 7
    ),
}


@pytest.mark.parametrize("leak", LEAKS)
@pytest.mark.parametrize("kind", ["random_walk", "price", "white_noise", "autoregressive"])
def test_a_column_that_knows_the_future_is_found(leak, kind):
    for seed in range(3):
        y = KINDS[kind](np.random.default_rng(seed))
        found = check_lookahead(series(y, LEAKS[leak](y)), quick=True)
        assert found.is_leak, (seed, found.message, found.figures)
        assert "'x'" in found.rows[0]


@given(kind=st.sampled_from(sorted(KINDS)), seed=st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_honest_columns_stay_below_the_limit(kind, seed):
    data = read_series(clean(kind, seed), target="y", horizon=3, missing="fill")
    found = check_lookahead(data, quick=True)
    assert not found.failed, (found.message, found.figures)
    assert all(share < HINT < LEAK for share in found.figures.values())


def test_a_copy_known_ahead_is_a_leak_and_known_up_to_now_is_none():
    y = KINDS["random_walk"](np.random.default_rng(0))
    assert check_lookahead(series(y, 2 * y + 1), quick=True).status == "PASS"
    assert check_lookahead(series(y, 2 * y + 1, future=["x"]), quick=True).is_leak
    assert check_lookahead(series(y, np.arange(len(y)) % 24.0, future=["x"]), quick=True).status == "PASS"


def test_a_wide_window_is_found_by_the_full_look_alone():
    y = KINDS["random_walk"](np.random.default_rng(0), 1000)
    data = series(y, centred(y, 15))
    assert check_lookahead(data, quick=True).status == "PASS"
    assert check_lookahead(data).is_leak


def test_without_covariates_or_rows_it_is_not_run():
    y = KINDS["random_walk"](np.random.default_rng(0))
    alone = read_series(table(y), target="y", horizon=3)
    assert check_lookahead(alone).status == "NOT RUN"
    assert check_lookahead(series(y[:40], later(y[:40]))).status == "NOT RUN"
