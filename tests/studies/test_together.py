"""Several workers train one model: to the weights of one, and to the same ones where a worker is killed on the way."""

import os
import signal
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import psutil
import pytest
import torch

from heldout.data.layout import read_series
from heldout.data.mapped import open_windows, write_windows
from heldout.data.prepare import Prepare
from heldout.data.runs import Runs
from heldout.recipe import Recipe
from heldout.studies.engine import InlineEngine, LocalEngine
from heldout.studies.together import Rank, RankLost, SharedFit, fit_rank, train_together
from heldout.training.checkpoint import dump_tensors
from heldout.training.settle import settle
from heldout.training.start import empty_network, start_network


@pytest.fixture
def shared(tmp_path: Path) -> SharedFit:
    """A little fit with all its files."""
    return little_fit(tmp_path)


def little_fit(tmp_path: Path) -> SharedFit:
    """A fit of some hundred rows, its windows in files."""
    rng = np.random.default_rng(0)
    table = pl.DataFrame({"a": rng.normal(size=400).cumsum(), "b": rng.normal(size=400)})
    data = read_series(table, target="a", past=["b"], horizon=2)
    recipe = settle(
        Recipe(lookback=8, hidden_size=4, batch_size=32, max_epochs=60, transform="none", patience=None), data
    )
    rows = Runs.of([np.arange(10, 300)]), Runs.of([np.arange(310, 380)])
    prepare = Prepare.fit(data, np.arange(10, 300), 8, recipe)
    write_windows(tmp_path / "windows", prepare, iter([data]), 8, "key")
    network = start_network(data, prepare.apply(data, 8), rows, recipe, seed=0)
    return SharedFit(
        recipe=recipe,
        network=partial(empty_network, network.shape, recipe, 0),
        start=dump_tensors(network.state_dict(), {}),
        source=partial(open_windows, tmp_path / "windows"),
        rows=rows,
        seed=0,
        checkpoint=tmp_path / "checkpoint",
    )


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor], tolerance: float = 0.0) -> None:
    """Whether all weights are."""
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=0, atol=tolerance)


def test_two_workers_train_the_model_of_one_and_a_killed_one_changes_no_bit(shared: SharedFit) -> None:
    alone, history = train_together(shared, 1, InlineEngine())
    with LocalEngine(2).kept() as engine:
        plain = replace(shared, checkpoint=shared.checkpoint.with_name("two"))
        two, of_two = train_together(plain, 2, engine)
        same(alone, two, 1e-4)
        losses = [[row["valid_loss"] for row in found.epochs] for found in (history, of_two)]
        np.testing.assert_allclose(*losses, rtol=0, atol=1e-5)

        lost: list[str] = []

        def kill(_index: int, state: dict[str, Any]) -> None:
            if state["epoch"] >= 1 and not lost and not killed:
                workers = [
                    p for p in psutil.Process().children(recursive=True) if "loky" in " ".join(p.cmdline())
                ]
                workers = [p for p in workers if "resource_tracker" not in " ".join(p.cmdline())]
                killed.append(workers[-1].pid)
                os.kill(workers[-1].pid, signal.SIGKILL)

        killed: list[int] = []
        slow = replace(shared, checkpoint=shared.checkpoint.with_name("three"))
        again, of_again = train_together(slow, 2, engine, on_progress=kill, on_lost=lost.append)
    assert lost
    same(two, again)
    assert vars(of_again) == vars(of_two)


def test_a_worker_started_in_the_place_of_a_lost_one_says_so(shared: SharedFit, tmp_path: Path) -> None:
    (tmp_path / "meeting-0").touch()
    with pytest.raises(RankLost, match="worker 1 of 2 was lost"):
        fit_rank(shared, Rank(0, 2, str(tmp_path / "meeting"), here=True), lambda _state: None)
