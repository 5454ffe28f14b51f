"""The training loop: learns, stops, restores, resumes to the same bits, and catches what is not finite."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

from heldout.check import InputError
from heldout.data.arrays import ArrayData
from heldout.nn.networks import Network, Shape
from heldout.recipe import Recipe
from heldout.training.checkpoint import Checkpoint
from heldout.training.evaluation import evaluate, forecast, spread
from heldout.training.loop import NonFiniteError, train
from heldout.training.stopping import EarlyStopping

PLAIN = Recipe(hidden_size=8, shortcut="none", lr=0.02, max_epochs=6, batch_size=16)


def waves(n=160, classes=0, seed=0, ragged=False):
    """Windows of noisy waves; the task is the next value, or which of two frequencies it is."""
    rng = np.random.default_rng(seed)
    phase, kind = rng.uniform(0, 6, n), rng.integers(0, 2, n)
    t = np.arange(13)
    x = np.sin(phase[:, None] + t * np.where(kind, 0.9, 0.4)[:, None]) + 0.05 * rng.normal(size=(n, 13))
    y = kind if classes else x[:, -1].reshape(n, 1, 1)
    lengths = rng.integers(5, 13, n) if ragged else None
    return ArrayData(x[:, :12, None], y, lengths=lengths)


def fit(recipe, data=None, seed=0, **options):
    data = data or waves()
    shape = Shape(lookback=12, n_inputs=1, n_outputs=2 if recipe.loss == "cross_entropy" else 1)
    network = Network(shape, recipe.resolved(), generator=torch.Generator().manual_seed(seed))
    rows = torch.arange(len(data))
    history = train(network, data, rows[:120], rows[120:], recipe, seed=seed, **options)
    return network, history


def bits(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_it_learns_the_next_value_of_a_wave():
    _, history = fit(replace(PLAIN, max_epochs=30, regularization=0.0))
    assert history.epochs[history.best_epoch]["valid_loss"] < 0.15 * history.epochs[0]["valid_loss"]


@pytest.mark.parametrize("ragged", [False, True])
def test_it_learns_to_tell_two_classes_by_cross_entropy(ragged):
    recipe = replace(PLAIN, loss="cross_entropy", label_smoothing=0.1, max_epochs=25, pooling="mean")
    network, history = fit(recipe, waves(classes=2, ragged=ragged))
    data = waves(classes=2, ragged=ragged)
    said = forecast(network, data, torch.arange(120, 160))[:, 0, 0].argmax(1)
    assert (said == data.y[120:]).float().mean() > 0.85
    # What is reported is plain cross-entropy, without the smoothing that is minimised.
    truth = torch.nn.functional.cross_entropy(
        forecast(network, data, torch.arange(120, 160))[:, 0, 0], data.y[120:]
    )
    assert history.epochs[history.best_epoch]["valid_loss"] == pytest.approx(truth.item(), rel=1e-5)


@pytest.mark.parametrize("loss", ["absolute", "huber", "quantile"])
def test_every_loss_goes_down(loss):
    data = waves()
    recipe = replace(PLAIN, loss=loss, max_epochs=15)
    shape = Shape(lookback=12, n_inputs=1, n_outputs=5 if loss == "quantile" else 1)
    network = Network(shape, recipe.resolved())
    history = train(network, data, torch.arange(120), torch.arange(120, 160), recipe)
    assert history.epochs[history.best_epoch]["valid_loss"] < 0.5 * history.epochs[0]["valid_loss"]


def test_the_same_seed_gives_the_same_bits_and_another_other_ones():
    a, b, c = (bits(fit(PLAIN, seed=seed)[0]) for seed in (1, 1, 2))
    assert same(a, b)
    assert not same(a, c)


def test_nothing_global_is_read_or_changed():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one = bits(fit(PLAIN)[0])
    torch.manual_seed(6)
    np.random.default_rng(0)
    assert same(one, bits(fit(PLAIN)[0]))
    network = Network(Shape(lookback=12, n_inputs=1), PLAIN.resolved())
    torch.manual_seed(5)
    train(network, waves(), torch.arange(120), torch.arange(120, 160), PLAIN)
    assert torch.equal(torch.get_rng_state(), before)


class KilledError(Exception):
    pass


@pytest.mark.parametrize(
    "recipe",
    [
        PLAIN,
        replace(PLAIN, ema=0.9),
        replace(PLAIN, optimizer="sgd", schedule="cosine", recurrent_dropout=0.3),
    ],
)
def test_a_fit_killed_after_any_epoch_goes_on_to_the_same_bits(tmp_path, recipe):
    whole, history = fit(recipe)
    for epoch in range(5):
        checkpoint = Checkpoint(tmp_path / f"{epoch}.safetensors")

        def kill(event, last=epoch):
            if event["epoch"] == last:
                raise KilledError

        with pytest.raises(KilledError):
            fit(recipe, checkpoint=checkpoint, report=kill)
        resumed, again = fit(recipe, checkpoint=checkpoint)
        assert same(bits(whole), bits(resumed))
        assert again == history


def test_a_checkpoint_of_another_fit_is_refused(tmp_path):
    checkpoint = Checkpoint(tmp_path / "c.safetensors")
    fit(PLAIN, checkpoint=checkpoint)
    for recipe, seed in ((replace(PLAIN, lr=0.5), 0), (PLAIN, 1)):
        with pytest.raises(InputError, match="belongs to another recipe or seed"):
            fit(recipe, seed=seed, checkpoint=checkpoint)


def test_a_damaged_checkpoint_costs_an_epoch_and_not_a_bit(tmp_path):
    whole, _ = fit(PLAIN)
    checkpoint = Checkpoint(tmp_path / "c.safetensors")

    def kill(event):
        if event["epoch"] == 3:
            raise KilledError

    with pytest.raises(KilledError):
        fit(PLAIN, checkpoint=checkpoint, report=kill)
    damaged = bytearray(checkpoint.path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    checkpoint.path.write_bytes(damaged)
    assert same(bits(whole), bits(fit(PLAIN, checkpoint=checkpoint)[0]))
    assert list(tmp_path.glob("bad-*"))


def test_the_weights_of_the_best_epoch_are_kept():
    recipe = replace(PLAIN, lr=0.3, max_epochs=12, patience=None)
    network, history = fit(recipe)
    losses = [row["valid_loss"] for row in history.epochs]
    assert history.best_epoch == int(np.argmin(losses)) < 12
    kept = evaluate(network, waves(), torch.arange(120, 160), recipe).mean().item()
    assert kept == pytest.approx(min(losses), abs=1e-7)
    last, _ = fit(replace(recipe, restore_best=False))
    assert evaluate(last, waves(), torch.arange(120, 160), recipe).mean().item() == pytest.approx(
        losses[-1], abs=1e-7
    )


def test_training_stops_when_patience_runs_out():
    _, history = fit(replace(PLAIN, lr=0.5, max_epochs=60, patience=3))
    assert len(history.epochs) - 1 == history.best_epoch + 3 < 60


def test_the_reported_training_loss_has_no_dropout_and_no_penalty():
    recipe = replace(PLAIN, max_epochs=0, l2=10.0, activation_penalty=5.0, output_dropout=0.8)
    network, history = fit(recipe)
    rows = spread(torch.arange(120), 40)
    assert history.epochs[0]["train_loss"] == pytest.approx(
        evaluate(network, waves(), rows, recipe).mean().item()
    )


def test_a_loss_that_is_not_finite_is_named_before_it_spoils_a_weight():
    data = waves()
    data.x[7] = float("inf")
    network = Network(Shape(lookback=12, n_inputs=1), replace(PLAIN, outliers=0.0).resolved())
    with pytest.raises(NonFiniteError, match=r"epoch 1, step \d+: lower lr"):
        train(network, data, torch.arange(120), torch.arange(120, 160), PLAIN)
    assert all(p.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize(
    ("options", "acts"),
    [
        (
            {"l1": 0.05},
            lambda a, b: (a["lstm.weight_hh_l0"] == 0).any() and not (b["lstm.weight_hh_l0"] == 0).any(),
        ),
        ({"l2": 0.05}, lambda a, b: a["lstm.weight_hh_l0"].norm() < b["lstm.weight_hh_l0"].norm()),
        ({"dense_l2": 0.05}, lambda a, b: a["head.weight"].norm() < b["head.weight"].norm()),
        ({"weight_decay": 5.0}, lambda a, b: a["lstm.weight_hh_l0"].norm() < b["lstm.weight_hh_l0"].norm()),
        (
            {"max_norm": 0.2},
            lambda a, b: (
                a["lstm.weight_hh_l0"].norm(dim=1).max() < 0.2001 < b["lstm.weight_hh_l0"].norm(dim=1).max()
            ),
        ),
        ({"activation_penalty": 1.0}, lambda a, b: not same(a, b)),
        ({"temporal_penalty": 1.0}, lambda a, b: not same(a, b)),
        ({"clip_norm": 0.01}, lambda a, b: not same(a, b)),
        ({"ema": 0.9}, lambda a, b: not same(a, b)),
        ({"schedule": "cosine"}, lambda a, b: not same(a, b)),
        ({"batch_size": 40}, lambda a, b: not same(a, b)),
        ({"epoch_samples": 30}, lambda a, b: not same(a, b)),
    ],
)
def test_every_knob_acts(options, acts):
    base = replace(PLAIN, restore_best=False, regularization=0.0)
    assert acts(bits(fit(replace(base, **options))[0]), bits(fit(base)[0]))


def test_biases_are_never_penalised():
    free = bits(fit(replace(PLAIN, max_epochs=0, restore_best=False))[0])
    held = bits(fit(replace(PLAIN, max_epochs=8, l1=5.0, restore_best=False))[0])
    assert (held["lstm.weight_hh_l0"] == 0).all()
    assert (free["lstm.bias_ih_l0"][8:16] == 1).all()
    assert (held["lstm.bias_ih_l0"][8:16] > 0.5).all()


def test_two_fits_in_two_threads_do_not_disturb_each_other():
    alone = [bits(fit(PLAIN, seed=seed)[0]) for seed in (0, 1)]
    with ThreadPoolExecutor(2) as pool:
        together = [bits(network) for network, _ in pool.map(lambda seed: fit(PLAIN, seed=seed), (0, 1))]
    assert all(same(a, b) for a, b in zip(alone, together, strict=True))


def test_early_stopping_knows_the_right_direction_for_negative_losses():
    watch = EarlyStopping(patience=2, min_delta=0.1)
    assert [watch.improved(n, loss) for n, loss in enumerate([-1.0, -1.05, -1.2, -1.25, -1.3])] == [
        True,
        False,
        True,
        False,
        False,
    ]
    assert watch.stop


def test_early_stopping_waits_for_its_first_epoch_and_never_takes_nan():
    watch = EarlyStopping(patience=1, start_from_epoch=2)
    assert [watch.improved(n, loss) for n, loss in enumerate([0.1, 0.2, 5.0])] == [False, False, True]
    assert not watch.improved(3, float("nan"))
    assert watch.stop


def test_a_weight_multiplies_its_samples_loss_where_it_is_minimised_and_where_it_is_judged():
    data, rows = waves(), torch.arange(160)
    weight = np.random.default_rng(0).uniform(0.1, 2, 160)
    weighted = ArrayData(data.x, data.y, weight=weight)
    recipe = replace(PLAIN, batch_size=160, max_epochs=1, restore_best=False, regularization=0.0, lr=0.01)
    network = Network(
        Shape(lookback=12, n_inputs=1), recipe.resolved(), generator=torch.Generator().manual_seed(0)
    )
    plain = evaluate(network, data, rows, recipe)
    torch.testing.assert_close(
        evaluate(network, weighted, rows, recipe), plain * torch.from_numpy(weight).float()
    )
    # One whole-batch step of plain gradient descent, by hand.
    sgd = replace(recipe, optimizer="sgd", clip_norm=0.0).resolved()
    bias = network.head.bias.detach().clone()
    train(network, weighted, rows, rows, sgd)
    slope = (
        -2 * (torch.from_numpy(weight).float() * data.y[:, 0, 0]).mean()
    )  # the output layer starts at zero
    torch.testing.assert_close(network.head.bias.detach(), bias - 0.01 * slope[None])
