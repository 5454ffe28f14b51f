"""Augmentation inside fits: nothing changes where it is off, every option acts where it is on, and what judges never sees it."""

import gzip
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from sklearn.base import clone

from heldout.augment.mixup import mixup
from heldout.check import InputError
from heldout.data.samples import Samples
from heldout.data.text_table import TextData
from heldout.data.windows import Batch
from heldout.estimators.arrays import LSTMClassifier, LSTMRegressor
from heldout.estimators.files import load
from heldout.estimators.forecaster import LSTMForecaster
from heldout.nn.networks import Network, Shape
from heldout.nn.text import PAD, TextNetwork
from heldout.recipe import Recipe
from heldout.text_recipe import TextRecipe
from heldout.training import loop
from heldout.training.arrays import ArrayOptions, choose_shortcut, fit_arrays, settle_arrays
from heldout.training.checkpoint import Checkpoint
from heldout.training.fit import fit_series
from heldout.training.losses import sample_losses
from heldout.training.settle import settle, settle_scale
from heldout.training.text import fit_text

SEQUENCE_OPTIONS = {
    "jitter": 0.03,
    "random_scaling": 0.1,
    "magnitude_warp": 0.2,
    "time_warp": 0.2,
    "window_slice": 0.9,
    "mixup": 0.2,
}
FORECAST_OPTIONS = {"jitter": 0.03, "random_scaling": 0.1, "mixup": 2.0}
SMALL = {"hidden_size": 4, "max_epochs": 2, "segment": 1, "batch_size": 20}


def read_ts(path):
    """Sequences (n, T, F) and labels of a file in the UCR/UEA archive's format."""
    with gzip.open(path, "rt") as file:
        lines = file.read().partition("@data")[2].split("\n")[1:]
    rows = [line.strip().split(":") for line in lines if line.strip()]
    x = [np.array([[float(v) for v in column.split(",")] for column in row[:-1]]).T for row in rows]
    return np.array(x), np.unique([row[-1] for row in rows], return_inverse=True)[1]


@pytest.fixture
def power(shared):
    """Days of electricity demand, of summer or winter: 67 sequences of 24 hours."""
    path = shared / "ts_classification" / "ItalyPowerDemand_TRAIN.ts.gz"
    if not path.exists():
        pytest.skip("ItalyPowerDemand is not among the data sets")
    return read_ts(path)


def fit_classes(x, y, lengths=None, weight=None, seed=0, **options):
    recipe = Recipe(**{"loss": "cross_entropy", "shortcut": "none", **SMALL, **options})
    samples = Samples(x, lengths)
    weight = np.ones(len(y)) if weight is None else weight
    model, (history,), _ = fit_arrays(
        samples, y, weight, settle_arrays(recipe, samples), ArrayOptions(), seed=seed
    )
    return model.networks[0], history


def fit_numbers(seed=0, n=60, **options):
    x = np.random.default_rng(1).normal(size=(n, 10, 2))
    samples, y = Samples(x, None), x[:, -1] + x[:, 0]
    recipe = settle_arrays(Recipe(**{"shortcut": "none", **SMALL, **options}), samples)
    model, (history,), _ = fit_arrays(samples, y, np.linspace(1, 2, n), recipe, ArrayOptions(), seed=seed)
    return model.networks[0], history


def fit_windows(data, seed=0, **options):
    recipe = Recipe(**{"lookback": 10, "transform": "none", "shrink": False, **SMALL, **options})
    model, history = fit_series(data, np.arange(20, 150), np.arange(170, 230), recipe, seed=seed)
    return model.networks[0], history


def fit_words(seed=0, checkpoint=None, report=None, **options):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 60)
    words = np.array([["good", "fine", "film", "play", "the"], ["bad", "poor", "film", "play", "the"]])
    texts = tuple(" ".join(rng.choice(words[label], rng.integers(2, 9))) for label in labels)
    data = TextData(texts, labels, ("good", "bad"), None, None, 60)
    recipe = TextRecipe(
        **{"hidden_size": 4, "embedding_size": 6, "max_epochs": 2, "batch_size": 16, **options}
    )
    model, history = fit_text(
        data, np.arange(40), np.arange(40, 60), recipe, seed=seed, checkpoint=checkpoint, report=report
    )
    return model.networks[0], history


def bits(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def ragged(n=40):
    rng = np.random.default_rng(2)
    return rng.normal(size=(n, 9, 2)), rng.integers(0, 2, n), rng.integers(1, 10, n)


def loss_without_augmentation(run, batch, _own):
    """What is minimised, written without any of it; for recipes without penalties."""
    said = run.network(
        batch.x, future=batch.future, static=batch.static, lengths=batch.lengths, generator=run.generator
    ).forecast
    if batch.scale is not None:
        said = said * batch.scale[..., None]
    losses = sample_losses(said, batch.y, run.recipe, smoothing=run.recipe.label_smoothing)
    return (losses if batch.weight is None else losses * batch.weight).mean()


@pytest.mark.parametrize(
    "fitted",
    [
        lambda data: fit_windows(data),
        lambda data: fit_windows(data, window_norm="standard", shortcut="none", loss="quantile"),
        lambda _: fit_numbers(),
        lambda _: fit_numbers(shortcut="ridge"),
        lambda _: fit_classes(*ragged(), label_smoothing=0.1, weight=np.linspace(0.5, 2, 40)),
        lambda _: fit_words(class_weight="balanced", label_smoothing=0.1),
        lambda _: fit_words(shortcut="none", pooling=("attention",)),
    ],
    ids=["series", "standardised", "numbers", "ridge", "classes", "texts", "texts alone"],
)
def test_with_everything_off_a_fit_is_bit_for_bit_one_without_augmentation(series, monkeypatch, fitted):
    network, history = fitted(series)
    monkeypatch.setattr(loop._Run, "loss", loss_without_augmentation)
    plain, expected = fitted(series)
    assert same(bits(network), bits(plain))
    assert history == expected


def check_acts(plain, fitted):
    """It changes the weights, reproducibly, and not what is said of the weights that nothing has trained."""
    (before, without), (network, history), (again, _) = plain, fitted(), fitted()
    assert same(bits(network), bits(again))
    assert not same(bits(network), bits(before))
    assert history.epochs[0] == without.epochs[0]
    assert history.epochs[-1]["valid_loss"] != without.epochs[-1]["valid_loss"]
    assert all(np.isfinite(row["valid_loss"]) for row in history.epochs)


@pytest.mark.parametrize("name", SEQUENCE_OPTIONS)
def test_each_option_acts_on_real_classes(power, name):
    fixed = {"restore_best": False, "regularization": 0.0, "lr": 0.02}
    check_acts(
        fit_classes(*power, **fixed),
        lambda: fit_classes(*power, **fixed, **{name: SEQUENCE_OPTIONS[name]}),
    )


def test_all_options_together_learn_real_classes(power):
    _, history = fit_classes(
        *power, **SEQUENCE_OPTIONS | {"hidden_size": 16, "max_epochs": 15, "lr": 0.02, "batch_size": 16}
    )
    assert history.epochs[history.best_epoch]["valid_loss"] < 0.5 * history.epochs[0]["valid_loss"]


@pytest.mark.parametrize("name", SEQUENCE_OPTIONS)
def test_each_option_acts_on_numbers_and_on_sequences_of_unequal_length(name):
    fixed, option = {"restore_best": False}, {name: SEQUENCE_OPTIONS[name]}
    check_acts(fit_numbers(**fixed), lambda: fit_numbers(**fixed, **option))
    check_acts(fit_classes(*ragged(), **fixed), lambda: fit_classes(*ragged(), **fixed, **option))


@pytest.mark.parametrize("name", FORECAST_OPTIONS)
@pytest.mark.parametrize("shortcut", ["none", "linear", "ridge"])
def test_each_option_of_forecasts_acts(series, name, shortcut):
    fixed = {"restore_best": False, "shortcut": shortcut}
    check_acts(
        fit_windows(series, **fixed), lambda: fit_windows(series, **fixed, **{name: FORECAST_OPTIONS[name]})
    )


@pytest.mark.parametrize("shortcut", ["none", "tfidf"])
def test_mixup_acts_on_texts(shortcut):
    fixed = {"restore_best": False, "shortcut": shortcut}
    check_acts(fit_words(**fixed), lambda: fit_words(**fixed, mixup=0.5))


class KilledError(Exception):
    pass


def test_an_augmented_fit_that_was_killed_goes_on_to_the_same_bits(tmp_path):
    checkpoint = Checkpoint(tmp_path / "c.safetensors")

    def kill(event):
        if event["epoch"] == 1:
            raise KilledError

    whole, _ = fit_words(mixup=0.5, max_epochs=3)
    with pytest.raises(KilledError):
        fit_words(mixup=0.5, max_epochs=3, checkpoint=checkpoint, report=kill)
    assert same(bits(whole), bits(fit_words(mixup=0.5, max_epochs=3, checkpoint=checkpoint)[0]))


def test_covariates_of_a_mixture_are_mixed_with_it():
    recipe = Recipe(hidden_size=4, mixup=2.0, shortcut="none").resolved()
    run = loop._Run(Network(Shape(lookback=5, n_inputs=1, n_steps=2), recipe), recipe, 0)
    g = torch.Generator().manual_seed(0)
    x, y = torch.randn(8, 5, 1, generator=g), torch.randn(8, 2, 1, generator=g)
    batch = Batch(
        x,
        y,
        offset=torch.zeros(8, 1, 1),
        future=torch.randn(8, 2, 3, generator=g),
        static=torch.randn(8, 4, generator=g),
        weight=torch.rand(8, generator=g),
    )
    run.generator.manual_seed(5)
    new, drawn = run.augmented(batch)
    expected = mixup(x, y, 2.0, generator=torch.Generator().manual_seed(5))
    partner, share = expected.mix
    assert (partner != torch.arange(8)).any()
    torch.testing.assert_close(new.x, expected.x)
    torch.testing.assert_close(drawn.y, expected.y)
    for name in ("future", "static"):
        own = getattr(batch, name)
        part = share.view(-1, *[1] * (own.ndim - 1))
        torch.testing.assert_close(getattr(new, name), part * own + (1 - part) * own[partner])


def test_a_network_of_texts_mixes_words_once_they_are_vectors_and_says_the_mixed_logits_of_the_linear_model():
    recipe = TextRecipe(hidden_size=4, embedding_size=5, pooling=("mean", "max", "last")).resolved()
    network = TextNetwork(30, 3, recipe, generator=torch.Generator().manual_seed(0)).eval()
    torch.nn.init.normal_(network.head.weight, generator=torch.Generator().manual_seed(1))
    words = torch.tensor([[4, 7, 2, 9], [9, 5, PAD, PAD], [3, PAD, PAD, PAD]])
    lengths, static = torch.tensor([4, 2, 1]), torch.eye(3)
    partner, share = torch.tensor([1, 0, 2]), torch.tensor([0.75, 0.5, 0.6])
    mixed = network(words, lengths=lengths, static=static, mix=(partner, share)).forecast

    def blend(part):
        own = share.view(-1, *[1] * (part.ndim - 1))
        return own * part + (1 - own) * part[partner]

    vectors = network.embed(words)
    alone = network.read(blend(vectors), static=blend(static), lengths=torch.tensor([4, 4, 1])).forecast
    torch.testing.assert_close(mixed, alone)
    # one that is mixed with itself stays
    torch.testing.assert_close(mixed[2], network(words, lengths=lengths, static=static).forecast[2])


def test_the_loss_of_mixed_texts_is_that_of_their_mixed_classes():
    recipe = TextRecipe(
        hidden_size=4, embedding_size=5, shortcut="none", mixup=1.0, rare=0.0, regularization=0.0
    ).resolved()
    recipe = replace(recipe, **dict.fromkeys(("embedding_dropout", "input_dropout", "dense_dropout"), 0.0))
    network = TextNetwork(30, 3, recipe, generator=torch.Generator().manual_seed(0))
    torch.nn.init.normal_(network.head.weight, generator=torch.Generator().manual_seed(1))
    run = loop._Run(network, recipe, 0)
    run.generator.manual_seed(3)
    batch = Batch(torch.randint(1, 30, (6, 4)), torch.tensor([0, 1, 2, 0, 1, 2]), lengths=torch.full((6,), 4))
    found = run.loss(batch, slice(None))
    partner, share = mixup(torch.zeros(6, 0, 0), batch.y, 1.0, generator=torch.Generator().manual_seed(3)).mix
    said = network(batch.x, lengths=batch.lengths, mix=(partner, share)).forecast[:, 0, 0].log_softmax(1)
    classes = torch.eye(3)[batch.y]
    wanted = share[:, None] * classes + (1 - share[:, None]) * classes[partner]
    torch.testing.assert_close(found, -(wanted * said).sum(1).mean())


# --- what is refused


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"jitter": 2.0}, r"jitter must be in \[0, 1\], got 2.0"),
        ({"random_scaling": 0.6}, r"random_scaling must be in \[0, 0.5\], got 0.6"),
        ({"magnitude_warp": -0.1}, r"magnitude_warp must be in \[0, 0.5\], got -0.1"),
        ({"time_warp": "0.2"}, r"time_warp must be float, got '0.2'"),
        ({"window_slice": 0.4}, r"window_slice must be in \[0.5, 1\], got 0.4"),
        ({"mixup": 11}, r"mixup must be in \[0, 10\], got 11"),
    ],
)
def test_a_recipe_refuses_what_is_out_of_range(values, message):
    with pytest.raises(InputError, match=message):
        Recipe.from_dict(values)


def test_a_recipe_of_texts_has_the_same_range_of_mixup():
    with pytest.raises(InputError, match=r"mixup must be in \[0, 10\], got 11"):
        TextRecipe(mixup=11)


@pytest.mark.parametrize(("name", "off"), [("magnitude_warp", 0), ("time_warp", 0), ("window_slice", 1)])
def test_series_refuse_what_forecasts_cannot_have_before_anything_is_fitted(series, name, off):
    with pytest.raises(InputError, match=f"{name} must be {off} for a forecast"):
        settle(Recipe(**{name: SEQUENCE_OPTIONS[name]}), series)


def test_a_factor_is_refused_as_soon_as_windows_are_known_to_be_standardised(series, panel):
    message = "random scaling must be 0 with window_norm='standard'"
    with pytest.raises(InputError, match=message):
        settle(Recipe(random_scaling=0.1, window_norm="standard"), series)
    by_series = settle(Recipe(random_scaling=0.1, scale_by="series", transform="none", lookback=10), panel)
    with pytest.raises(InputError, match=message):
        settle_scale(by_series, panel, np.arange(20, 100))
    settle_scale(replace(by_series, window_norm="last"), panel, np.arange(20, 100))
    rows = np.arange(20, 290)
    undecided = replace(by_series, transform="auto")
    settle_scale(undecided, panel, rows)
    with pytest.raises(InputError, match=message):
        fit_series(panel, rows, rows, undecided)


@pytest.mark.parametrize("name", SEQUENCE_OPTIONS)
def test_beside_ridge_only_mixup_is_allowed_and_auto_is_not_ridge(name):
    option, samples = {name: SEQUENCE_OPTIONS[name]}, Samples(np.zeros((30, 8, 1)), None)
    assert choose_shortcut(samples) == choose_shortcut(samples, Recipe()) == "ridge"
    if name == "mixup":
        settle_arrays(Recipe(shortcut="ridge", **option), samples)
        assert choose_shortcut(samples, Recipe(**option)) == "ridge"
        return
    with pytest.raises(
        InputError, match=f"{name} must be [01] with shortcut='ridge', got .*: use mixup, or shortcut='none'"
    ):
        settle_arrays(Recipe(shortcut="ridge", **option), samples)
    for shortcut in ("none", "linear"):
        settle_arrays(Recipe(shortcut=shortcut, **option), samples)
    assert choose_shortcut(samples, Recipe(**option)) == "none"


def test_beside_ridge_numbers_are_mixed():
    fixed = {"restore_best": False, "shortcut": "ridge"}
    check_acts(fit_numbers(**fixed), lambda: fit_numbers(**fixed, mixup=2.0))


# --- through the estimators


@pytest.mark.parametrize("kind", [LSTMClassifier, LSTMRegressor])
def test_estimators_of_sequences_take_the_options_and_a_file_keeps_them(tmp_path, kind):
    x = np.random.default_rng(0).normal(size=(40, 10, 2))
    y = (x[:, -1, 0] > 0).astype(int) if kind is LSTMClassifier else x[:, -1, 0]
    options = {"hidden_size": 4, "max_epochs": 1, "shortcut": "none", "random_state": 0}
    model = kind(**options, **SEQUENCE_OPTIONS)
    assert {name: model.get_params()[name] for name in SEQUENCE_OPTIONS} == SEQUENCE_OPTIONS
    assert clone(model).get_params() == model.get_params()
    assert kind().set_params(time_warp=0.2).time_warp == 0.2
    model.fit(x, y).save(tmp_path / "model")
    again = load(tmp_path / "model")
    assert again.get_params() == model.get_params()
    np.testing.assert_array_equal(again.predict(x), model.predict(x))
    said = "decision_function" if kind is LSTMClassifier else "predict"
    plain = kind(**options).fit(x, y)
    assert (getattr(plain, said)(x) != getattr(model, said)(x)).any() or model.best_epoch_ == 0


def test_a_forecaster_takes_the_options_of_forecasts_and_a_file_keeps_them(tmp_path):
    table = pl.DataFrame({"y": np.sin(np.arange(200) / 3) + np.random.default_rng(0).normal(size=200) / 9})
    options = {"hidden_size": 4, "max_epochs": 1, "lookback": 8, "random_state": 0}
    model = LSTMForecaster(2, **options, **FORECAST_OPTIONS).fit(table)
    model.save(tmp_path / "model")
    again = load(tmp_path / "model")
    assert again.get_params() == model.get_params()
    assert {name: again.get_params()[name] for name in FORECAST_OPTIONS} == FORECAST_OPTIONS
    with pytest.raises(InputError, match="time_warp must be 0 for a forecast"):
        LSTMForecaster(2, **options, time_warp=0.2).fit(table)
