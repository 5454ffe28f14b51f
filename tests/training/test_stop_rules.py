"""Prechelt's criteria against the words of the paper, computed slowly, epoch by epoch."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heldout.check import InputError
from heldout.training.stop_rules import generalisation_loss, stops, training_progress

LOSSES = st.lists(st.floats(0.01, 10), min_size=1, max_size=60)


def slow_stops(train, valid):
    """Where each rule stops, written down as the paper says it."""
    found = {}

    def gl(t):
        return 100 * (valid[t] / min(valid[: t + 1]) - 1)

    def progress(t):
        strip = train[t - 4 : t + 1]
        return 1000 * (sum(strip) / (5 * min(strip)) - 1)

    def up(t, s):
        if s == 0:
            return True
        return t - 5 >= 0 and valid[t] > valid[t - 5] and up(t - 5, s - 1)

    ends = [t for t in range(len(valid)) if (t + 1) % 5 == 0]
    for a in (1, 2, 3, 5):
        found[f"GL {a:g}"] = next((t for t in range(len(valid)) if gl(t) > a), None)
    for a in (0.5, 0.75, 1, 2, 3):
        found[f"PQ {a:g}"] = next((t for t in ends if gl(t) > a * progress(t)), None)
    for s in (2, 3, 4, 6, 8):
        found[f"UP {s}"] = next((t for t in ends if t - 5 * s >= 0 and up(t, s)), None)
    for p in (3, 5, 10, 20):
        found[f"patience {p}"] = next(
            (t for t in range(len(valid)) if t - int(np.argmin(valid[: t + 1])) >= p), None
        )
    return found


@given(data=st.data(), valid=LOSSES)
def test_rules_stop_where_a_slow_reading_of_them_does(data, valid):
    train = data.draw(st.lists(st.floats(0.01, 10), min_size=len(valid), max_size=len(valid)))
    found = {stop.rule: stop for stop in stops(train, valid)}
    slow = slow_stops(train, valid)
    progress = [
        1000 * (np.mean(train[t - 4 : t + 1]) / min(train[t - 4 : t + 1]) - 1) for t in range(4, len(valid))
    ]
    if progress and min(abs(p - 0.1) for p in progress) > 1e-9:
        slow["P 0.1"] = next((t + 4 for t, p in enumerate(progress) if p < 0.1), None)
    for rule, stopped in slow.items():
        assert found[rule].stopped == stopped, rule
        until = len(valid) if stopped is None else stopped + 1
        assert found[rule].kept == int(np.argmin(valid[:until]))


def test_a_falling_curve_stops_no_rule_but_that_of_progress():
    falling = 10 * 0.9 ** np.arange(50)
    assert {stop.rule for stop in stops(falling, falling) if stop.stopped is not None} == set()
    flat = np.where(np.arange(50) < 10, falling, falling[10])
    assert "P 0.1" in {stop.rule for stop in stops(flat, falling) if stop.stopped is not None}


def test_losses_below_zero_leave_the_rules_that_compare():
    valid = [-1.0, -2.0, -1.5, -1.2, -1.1, -1.0]
    assert {stop.rule.split()[0] for stop in stops(None, valid)} == {"UP", "patience"}
    with pytest.raises(InputError, match="need losses above 0, got -1"):
        generalisation_loss(valid)
    with pytest.raises(InputError, match="need losses above 0"):
        training_progress([1.0, 0.0])
