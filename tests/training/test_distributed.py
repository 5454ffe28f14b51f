"""Ranks that train one model together take the steps of one process."""

import math
import multiprocessing
import socket
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from heldout.check import InputError
from heldout.data.layout import read_series
from heldout.data.prepare import Prepare
from heldout.data.runs import Runs
from heldout.data.text import Tokens
from heldout.data.token_files import MappedTokens
from heldout.nn.masks import PartGenerator, draw, drop, keep
from heldout.nn.networks import Network, Shape
from heldout.nn.text import TextNetwork
from heldout.recipe import Recipe
from heldout.text_recipe import TextRecipe
from heldout.training.checkpoint import Checkpoint
from heldout.training.distributed import ALONE, Ranks, only_here
from heldout.training.loop import train
from heldout.training.settle import settle

_RECIPES = {
    "all masks": {
        "input_dropout": 0.2,
        "recurrent_dropout": 0.3,
        "output_dropout": 0.2,
        "weight_dropout": 0.2,
        "zoneout": 0.1,
        "dense_dropout": 0.2,
        "num_layers": 2,
    },
    "penalties": {"l1": 1e-4, "l2": 1e-3, "activation_penalty": 0.1, "temporal_penalty": 0.1, "ema": 0.9},
    "noise and partners": {"jitter": 0.05, "mixup": 0.3, "random_scaling": 0.1, "window_norm": "last"},
    "last batch of one": {"batch_size": 41},
    "texts": {"texts": True},
}


def _problem(**changes: Any) -> dict[str, Any]:
    """A little panel, or texts, and what `train` is called with."""
    rng = np.random.default_rng(0)
    if changes.pop("texts", False):
        return _text_problem(rng)
    table = pl.DataFrame({"a": rng.normal(size=150).cumsum(), "b": rng.normal(size=150)})
    data = read_series(table, target="a", past=["b"], horizon=2)
    fields = {
        "lookback": 8,
        "hidden_size": 4,
        "batch_size": 16,
        "max_epochs": 3,
        "shortcut": "linear",
    } | changes
    recipe = settle(Recipe(transform="none", **fields), data)
    train_rows, valid_rows = np.arange(10, 92), np.arange(95, 130)
    windows = Prepare.fit(data, train_rows, 8, recipe).apply(data, 8)
    network = Network(
        Shape(lookback=8, n_inputs=2, n_steps=2), recipe, generator=torch.Generator().manual_seed(1)
    )
    rows = torch.from_numpy(train_rows), torch.from_numpy(valid_rows)
    return {"network": network, "source": windows, "rows": rows, "recipe": recipe}


def _text_problem(rng: np.random.Generator) -> dict[str, Any]:
    recipe = TextRecipe(
        hidden_size=4, embedding_size=5, batch_size=16, max_epochs=3, rare=2.0, pooling=("mean", "attention")
    )
    network = TextNetwork(40, 3, recipe.resolved(), generator=torch.Generator().manual_seed(1))
    lengths = rng.integers(1, 9, 130)
    tokens = Tokens(rng.integers(2, 40, lengths.sum()), np.cumsum([0, *lengths]), 0, 0, 0)
    source = MappedTokens(tokens, rng.integers(0, 3, 130), counts=rng.integers(1, 9, 40).tolist(), rare=2.0)
    rows = torch.arange(82), torch.arange(82, 130)
    return {"network": network, "source": source, "rows": rows, "recipe": recipe}


def _train(problem: dict[str, Any], **how: Any) -> tuple[list[float], list[float], dict[str, torch.Tensor]]:
    """The loss of each step and epoch, and the weights at the end."""
    steps: list[float] = []
    history = train(
        problem["network"],
        problem["source"],
        *problem["rows"],
        problem["recipe"],
        on_step=lambda _epoch, _step, loss: steps.append(loss),
        **how,
    )
    epochs = [row[name] for row in history.epochs for name in ("train_loss", "valid_loss")]
    return steps, epochs, problem["network"].state_dict()


def _rank(rank: int, world: int, folder: Path, jobs: dict[str, dict[str, Any]]) -> None:
    torch.set_num_threads(1)
    with Ranks.joined(rank, world, folder / "meeting") as ranks:
        for name, changes in jobs.items():
            found = _train(_problem(**changes), ranks=ranks)
            torch.save(found, folder / f"{name}-{rank}.pt")
        problem = _problem()
        checkpoint = Checkpoint(folder / "checkpoint")
        _train(problem, ranks=ranks, until=2, checkpoint=checkpoint)
        torch.save(_train(_problem(), ranks=ranks, checkpoint=checkpoint), folder / f"resumed-{rank}.pt")
        torch.save(_train(_problem(), ranks=ranks), folder / f"whole-{rank}.pt")


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What three ranks found in each problem."""
    folder, world = tmp_path_factory.mktemp("ranks"), 3
    spawn = multiprocessing.get_context("spawn")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in only_here().items():
            patch.setenv(name, value)
        processes = [
            spawn.Process(target=_rank, args=(rank, world, folder, _RECIPES)) for rank in range(world)
        ]
        for process in processes:
            process.start()
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    return partial(_load, folder)


def _load(folder: Path, name: str, rank: int = 0) -> Any:
    return torch.load(folder / f"{name}-{rank}.pt", weights_only=True)


@pytest.mark.parametrize("name", list(_RECIPES))
def test_the_loss_of_every_step_is_that_of_one_process(together: Any, name: str) -> None:
    steps, epochs, weights = _train(_problem(**_RECIPES[name]))
    own_steps, own_epochs, own_weights = together(name)
    assert len(steps) == len(own_steps) == 3 * math.ceil(82 / _RECIPES[name].get("batch_size", 16))
    np.testing.assert_allclose(own_steps, steps, rtol=0, atol=1e-5)
    np.testing.assert_allclose(own_epochs, epochs, rtol=0, atol=1e-5)
    for key, value in weights.items():
        torch.testing.assert_close(own_weights[key], value, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", list(_RECIPES))
def test_all_ranks_have_the_same_bits(together: Any, name: str) -> None:
    first = together(name)
    for rank in (1, 2):
        other = together(name, rank)
        assert first[:2] == other[:2]
        assert all(torch.equal(value, other[2][key]) for key, value in first[2].items())


def test_ranks_that_go_on_from_a_checkpoint_end_with_the_same_bits(together: Any) -> None:
    whole, resumed = together("whole"), together("resumed")
    assert resumed[0] == whole[0][-6:]
    assert resumed[1] == whole[1]
    assert all(torch.equal(value, resumed[2][key]) for key, value in whole[2].items())


@pytest.mark.parametrize("make", [draw, keep])
@pytest.mark.parametrize("batch", [0, 1])
def test_a_part_of_a_mask_is_that_part_of_the_whole_mask(make: Any, batch: int) -> None:
    like = torch.zeros(1)
    shape = (10, 6) if batch == 0 else (4, 10, 6)
    whole = make(0.4, shape, like, torch.Generator().manual_seed(3))
    for ranks in (2, 3, 7):
        parts = []
        for rank in range(ranks):
            own, generator = Ranks(rank, ranks).part(10), PartGenerator()
            generator.part = own.start, own.stop, 10
            size = [*shape]
            size[batch] = own.stop - own.start
            parts.append(make(0.4, size, like, generator.manual_seed(3), batch=batch))
        assert torch.equal(torch.cat(parts, dim=batch), whole)


def test_what_has_no_samples_is_drawn_alike_by_all() -> None:
    generator = PartGenerator()
    generator.part = 2, 4, 8
    x = torch.ones(3, 5)
    own = drop(x, 0.5, x.shape, generator.manual_seed(0), batch=None)
    assert torch.equal(own, drop(x, 0.5, x.shape, torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("world", [1, 2, 5, 16])
@pytest.mark.parametrize("n", [0, 1, 3, 64, 65])
def test_every_sample_belongs_to_one_rank_and_parts_are_alike(n: int, world: int) -> None:
    parts = [range(n)[Ranks(rank, world).part(n)] for rank in range(world)]
    assert [place for part in parts for place in part] == list(range(n))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_rows_in_runs_train_to_the_bits_of_the_same_rows_in_a_tensor() -> None:
    plain, runs = _problem(), _problem()
    runs["rows"] = tuple(Runs.of([rows.numpy()]) for rows in runs["rows"])
    first, second = _train(plain), _train(runs)
    assert first[:2] == second[:2]
    assert all(torch.equal(value, second[2][key]) for key, value in first[2].items())


def test_a_rank_beyond_the_world_is_refused() -> None:
    with pytest.raises(InputError, match="rank must be from 0 to world - 1, got rank 2 and world 2"):
        Ranks(2, 2)
    assert ALONE.first
    assert replace(ALONE).world == 1


@pytest.mark.skipif(sys.platform != "linux", reason="the name of the interface is looked up as Linux has it")
def test_gloo_is_told_to_stay_on_the_loopback_interface() -> None:
    assert only_here()["GLOO_SOCKET_IFNAME"] in [name for _, name in socket.if_nameindex()]
