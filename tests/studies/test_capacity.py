"""What sizes gave, as rows: paired differences, the folds that judge, and how far choosing flattered the choice."""

import numpy as np
import pytest

from heldout.studies.capacity import optimism, outer_rows, rows_of
from heldout.studies.selection import choose
from heldout.studies.sizes import Tried


def tried(units, losses, *, stopped=False):
    return Tried(
        values={"num_layers": 1, "hidden_size": units}, lr=0.001, losses=np.array(losses, float), n_parameters=10.0 * units,
        per_sample=units / 10, train_loss=0.5, valid_loss=0.6, n_seeds=2, stopped=stopped,
    )  # fmt: skip


LARGE = tried(16, [1.0, 2.0, 3.0, 4.0])
SMALL = tried(4, [1.1, 1.9, 3.1, 3.95])
BAD = tried(2, [2.0, 3.0, 4.0, np.nan], stopped=True)


def test_rows_tell_the_paired_difference_to_the_best_and_who_was_chosen():
    sizes = [LARGE, SMALL, BAD]
    rows = rows_of(sizes, choose([one.losses for one in sizes], [one.n_parameters for one in sizes]))
    assert [row["label"] for row in rows] == ["1 x 16", "1 x 4", "1 x 2"]
    assert [row["best"] for row in rows] == [True, False, False]
    assert [row["chosen"] for row in rows] == [False, True, False]
    gap = SMALL.losses - LARGE.losses
    assert rows[1]["difference"] == pytest.approx(gap.mean())
    assert rows[1]["se"] == pytest.approx(gap.std(ddof=1) / 2)
    assert (rows[2]["folds"], rows[2]["stopped"], rows[2]["difference"]) == (3, True, 1.0)


def test_no_row_holds_a_number_that_json_has_not():
    rows = rows_of(
        [LARGE, tried(2, [9.0, *[np.nan] * 3], stopped=True)],
        choose([LARGE.losses, [9.0, *[np.nan] * 3]], [2, 1]),
    )
    assert rows[1]["se"] is None
    assert rows[1]["low"] is None
    assert rows[1]["loss"] == 9.0


def test_the_folds_that_judge_have_one_row_per_size_and_differences_to_the_choice():
    rng = np.random.default_rng(0)
    losses = {"1 x 4": rng.exponential(size=(3, 400))}
    losses["1 x 16"] = losses["1 x 4"] + 0.1 + 0.01 * rng.normal(size=(3, 400))
    rows = outer_rows({"choice": SMALL, "start": LARGE, "best": LARGE}, losses, blocks=8)
    assert [row["name"] for row in rows] == ["choice", "start"]
    assert rows[0]["difference"] is None
    assert rows[1]["difference"]["low"] < 0.1 < rows[1]["difference"]["high"]
    assert rows[1]["difference"]["mean"] == pytest.approx(rows[1]["loss"] - rows[0]["loss"])


def test_choosing_the_start_is_no_gain_and_no_optimism():
    same = np.ones((2, 50))
    assert set(optimism(LARGE.losses, LARGE.losses, same, same, blocks=8).values()) == {0.0}


def test_a_gain_that_is_the_same_outside_is_no_optimism():
    rng = np.random.default_rng(0)
    inner, outer = rng.uniform(1, 2, 5), rng.uniform(1, 2, (2, 400))
    found = optimism(0.9 * inner, inner, 0.9 * outer, outer, blocks=8)
    assert found["inside"] == pytest.approx(0.1)
    assert found["outside"] == pytest.approx(0.1)
    assert found["value"] == pytest.approx(0)


def test_the_interval_of_the_optimism_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        inner, outer = 1 + 0.1 * rng.normal(size=6), np.ones((1, 300))
        gains = 0.9 + 0.05 * rng.normal(size=6), 0.95 + 0.3 * rng.normal(size=(1, 300))
        found = optimism(inner * gains[0], inner, outer * gains[1], outer, blocks=8)
        covered += found["low"] <= 0.05 <= found["high"]
    assert 180 <= covered <= 200


def test_only_folds_that_both_sizes_have_count():
    found = optimism(SMALL.losses, np.array([1.1, 1.9, 3.1, np.nan]), [[1.0, 1.0]], [[1.0, 1.1]], blocks=8)
    assert found["inside"] == 0
    assert found["low"] is None


def test_a_loss_of_nothing_has_no_shares():
    nothing = np.zeros(3)
    found = optimism(np.ones(3), nothing, np.ones((1, 9)), np.zeros((1, 9)), blocks=8)
    assert set(found.values()) == {None}
