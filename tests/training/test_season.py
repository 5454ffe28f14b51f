import numpy as np
import pytest
from scipy import signal

from heldout.check import InputError
from heldout.training.season import find_season


@pytest.mark.parametrize("season", [7, 12, 24])
def test_a_season_is_found_under_noise_and_trend(season):
    rng = np.random.default_rng(season)
    t = np.arange(1000)
    values = np.sin(2 * np.pi * t / season) + 0.02 * t + rng.normal(size=1000)
    assert find_season(values, [7, 12, 24]).rows == season
    assert find_season(np.stack([values, rng.normal(size=1000)], axis=1), [7, 12, 24]).rows == season


def test_the_longer_season_is_taken_only_where_it_is_stronger():
    rng = np.random.default_rng(7)
    t = np.arange(1200)
    day, week = np.sin(2 * np.pi * t / 6), rng.normal(size=42)[t % 42]
    shortest = sum(find_season(day + rng.normal(size=1200), [42, 12, 6]).rows == 6 for _ in range(40))
    assert shortest >= 38  # the plain maximum of the three takes it in about 30
    for _ in range(10):
        noise = 0.3 * rng.normal(size=1200)
        assert find_season(day + noise, [42, 12, 6]).rows == 6
        assert find_season(day + week + noise, [42, 12, 6]).rows == 42


@pytest.mark.parametrize("kind", ["noise", "walk", "smooth walk", "autoregression"])
def test_a_season_is_seldom_found_where_there_is_none(kind):
    rng = np.random.default_rng(5)
    false = 0
    for _ in range(100):
        noise = rng.normal(size=600)
        values = {
            "noise": noise,
            "walk": noise.cumsum(),
            "smooth walk": noise.cumsum().cumsum(),
            "autoregression": signal.lfilter([1], [1, -0.9], noise),
        }[kind]
        found = find_season(values, [5, 12, 24])
        false += found.rows is not None
        assert (found.rows is None) == found.note.startswith("no season: none of 5, 12, 24")
    assert false <= 6


def test_a_panel_of_short_series_shows_its_season_together():
    rng = np.random.default_rng(6)
    series = [
        1e4 * rng.random() + np.sin(2 * np.pi * np.arange(60) / 12) + rng.normal(size=60) for _ in range(40)
    ]
    offsets = np.arange(41) * 60
    assert find_season(np.concatenate(series), [7, 12], offsets=offsets).rows == 12


def test_too_few_rows_or_a_constant_show_no_season():
    assert find_season(np.sin(np.arange(30.0)), [12]).rows is None
    assert find_season(np.full(100, 0.1), [12]).rows is None


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: find_season(np.zeros(9), [1]), "season candidate must be in"),
        (lambda: find_season(np.array([1.0, np.nan]), [2]), "without gaps"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_no_rows_have_no_season():
    assert find_season(np.empty((0, 1)), [7, 12]).rows is None
