"""Rungs: a fit that is trained in parts ends with the bits of one that is not."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from heldout.check import InputError
from heldout.data.arrays import ArrayData
from heldout.data.text_table import TextData
from heldout.nn.networks import Network, Shape
from heldout.recipe import Recipe
from heldout.text_recipe import TextRecipe
from heldout.training.checkpoint import Checkpoint, dump_tensors
from heldout.training.fit import fit_series
from heldout.training.loop import train
from heldout.training.text import fit_text
from tests.conftest import make_series

SERIES = {
    "plain": {},
    "averaged": {"ema": 0.8, "schedule": "cosine"},
    "decaying": {"optimizer": "sgd", "schedule": "exponential", "recurrent_dropout": 0.3},
    "augmented": {"jitter": 0.1, "mixup": 0.3},
    "impatient": {"patience": 2, "lr": 0.05, "shrink": True},
}
TEXTS = {
    "plain": {},
    "averaged": {"ema": 0.5, "schedule": "cosine", "shortcut": "none"},
    "pretrained": {"pretrain_epochs": 2, "alpha_nn": 0.3, "shortcut": "none"},
    "augmented": {"alpha_aeda": 0.3, "alpha_rs": 0.2, "p_unk": 0.1, "mixup": 0.2, "shortcut": "none"},
    "residual": {"shortcut": "residual"},
}


def make_fit(kind, name):
    """Give what fits one of the cases, until an epoch, with a checkpoint."""
    if kind == "series":
        data = make_series(150)
        recipe = Recipe(
            **{"lookback": 8, "hidden_size": 4, "max_epochs": 6, "transform": "none", **SERIES[name]}
        )
        return lambda **more: fit_series(data, np.arange(10, 90), np.arange(95, 130), recipe, **more)
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 2
    texts = tuple(" ".join(rng.choice(["the", "film", ("bad", "good")[k], "was"], 5)) for k in labels)
    data = TextData(texts, labels, ("bad", "good"), None, None, 60)
    recipe = TextRecipe(
        **{"hidden_size": 3, "embedding_size": 4, "max_epochs": 6, "batch_size": 16, **TEXTS[name]}
    )
    return lambda **more: fit_text(data, np.arange(40), np.arange(40, 60), recipe, **more)


CASES = [("series", name) for name in SERIES] + [("text", name) for name in TEXTS]


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_a_fit_in_rungs_ends_with_the_bits_of_an_unbroken_one(kind, name, tmp_path):
    fit = make_fit(kind, name)
    whole, history = fit()
    checkpoint = Checkpoint(tmp_path / "fit.safetensors")
    told = []
    for until in (1, 4):
        rung, early = fit(until=until, checkpoint=checkpoint, report=told.append)
        assert early.epochs == history.epochs[: until + 1]
    alone, _ = fit(until=4)  # the checkpoint may be lost at any time
    assert dump_tensors(*rung.to_file_parts()) == dump_tensors(*alone.to_file_parts())
    last, again = fit(checkpoint=checkpoint, report=told.append)
    assert again == history
    assert dump_tensors(*last.to_file_parts()) == dump_tensors(*whole.to_file_parts())
    epochs = [event["epoch"] for event in told if "epoch" in event]
    assert epochs == list(range(len(history.epochs))), "no epoch is trained twice"


def fit_arrays(recipe, **options):
    x = np.random.default_rng(0).normal(size=(60, 5, 1))
    data = ArrayData(x, x[:, -1:, :] * 0.5)
    network = Network(
        Shape(lookback=5, n_inputs=1), recipe.resolved(), generator=torch.Generator().manual_seed(0)
    )
    history = train(network, data, torch.arange(40), torch.arange(40, 60), recipe, **options)
    return {name: value.clone() for name, value in network.state_dict().items()}, history


QUICK = Recipe(hidden_size=3, shortcut="none", max_epochs=5, batch_size=20, patience=None)


@pytest.mark.parametrize(
    ("options", "until", "stopped"),
    [
        ({}, None, True),
        ({}, 4, False),
        ({}, 5, True),
        ({}, 50, True),
        ({"max_epochs": 0}, 0, True),
        ({"patience": 2, "min_delta": 9.0, "max_epochs": 20}, 1, False),
        ({"patience": 2, "min_delta": 9.0, "max_epochs": 20}, 2, True),
        ({"patience": 2, "min_delta": 9.0, "max_epochs": 20}, 15, True),
    ],
)
def test_a_rung_says_whether_a_later_one_would_change_anything(options, until, stopped, tmp_path):
    recipe = replace(QUICK, **options)
    checkpoint = Checkpoint(tmp_path / "fit.safetensors")
    weights, history = fit_arrays(recipe, until=until, checkpoint=checkpoint)
    later, again = fit_arrays(recipe, checkpoint=checkpoint)
    assert history.stopped == stopped
    assert again.stopped
    assert (len(again.epochs) == len(history.epochs)) == stopped
    if stopped:
        assert all(torch.equal(weights[name], later[name]) for name in weights)


def test_a_checkpoint_of_a_later_rung_does_not_reach_into_an_earlier_one(tmp_path):
    checkpoint = Checkpoint(tmp_path / "fit.safetensors")
    fit_arrays(QUICK, until=4, checkpoint=checkpoint)
    weights, history = fit_arrays(QUICK, until=2, checkpoint=checkpoint)
    alone, expected = fit_arrays(QUICK, until=2)
    assert history == expected
    assert all(torch.equal(weights[name], alone[name]) for name in weights)


def test_a_rung_before_the_start_is_refused():
    with pytest.raises(InputError, match="until must be"):
        fit_arrays(QUICK, until=-1)
