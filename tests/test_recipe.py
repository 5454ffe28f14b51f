"""Recipes and configurations: declared once, checked, read and written without loss."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heldout.check import InputError
from heldout.config import Config, TextConfig
from heldout.recipe import Recipe

RATES = ["input_dropout", "recurrent_dropout", "output_dropout", "weight_dropout", "zoneout", "dense_dropout"]


@given(
    hidden=st.integers(1, 4096),
    lr=st.floats(1e-9, 10),
    dense=st.lists(st.integers(1, 64), max_size=3),
    patience=st.none() | st.integers(1, 99),
    dial=st.floats(0, 4),
    target=st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=3),
)
def test_a_configuration_survives_its_file(tmp_path_factory, hidden, lr, dense, patience, dial, target):
    recipe = Recipe(hidden_size=hidden, lr=lr, dense=tuple(dense), patience=patience, regularization=dial)
    config = Config(recipe=recipe).with_values({"data.target": target})
    path = tmp_path_factory.mktemp("config") / "c.toml"
    for comments in (False, True):
        path.write_text(config.to_toml(comments=comments), encoding="utf-8")
        assert Config.read(path) == config


def test_the_dial_sets_what_the_user_did_not_and_nothing_else():
    weak, strong = (Recipe(regularization=dial, output_dropout=0.05).resolved() for dial in (0, 4))
    assert all(getattr(weak, name) == 0 for name in RATES if name != "output_dropout")
    assert weak.output_dropout == strong.output_dropout == 0.05
    assert strong.weight_dropout > Recipe().resolved().weight_dropout > 0
    assert strong.hidden_size == weak.hidden_size


def test_resolving_twice_changes_nothing():
    once = Recipe(regularization=1.7, l2=0.01).resolved()
    assert once.resolved() == once
    assert once.dense_l2 == 0.01


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"hidden_size": 0}, r"hidden_size must be in \[1, 4096\], got 0"),
        ({"hidden_size": 1.5}, "hidden_size must be int, got 1.5"),
        ({"bidirectional": 1}, "bidirectional must be bool"),
        ({"output_dropout": 1.0}, r"output_dropout must be in \[0, 1\)"),
        ({"lr": float("nan")}, "lr must be in"),
        ({"pooling": "lst"}, "did you mean 'last'"),
        ({"quantiles": [0.9, 0.1]}, "quantiles must rise"),
        ({"units": 8}, "here it is hidden_size"),
        ({"dropout": 0.3}, "output_dropout"),
        ({"hiden_size": 8}, "did you mean 'hidden_size'"),
        ({"quantiles": []}, "rise and not be empty"),
        ({"quantiles": [0.5, 0.5]}, "quantiles must rise"),
        ({"quantiles": [0.9], "loss": "quantile"}, "reach around the median"),
        ({"start_from_epoch": 9, "max_epochs": 3}, "at most max_epochs=3"),
        ({"label_smoothing": 0.1}, "cross-entropy only"),
        ({"weight_decay": 0.1, "optimizer": "sgd"}, "use l2 instead"),
        ({"window_norm": "last", "transform": "difference"}, "does nothing to differences"),
    ],
)
def test_a_bad_hyper_parameter_is_refused_with_the_way_out(values, message):
    with pytest.raises(InputError, match=message):
        Recipe.from_dict(values)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[recip]\nlr = 1", r"unknown part \[recip\] \(did you mean 'recipe'"),
        ("[recipe]\nlearning_rate = 1", "here it is lr"),
        ("[recipe\n", "is not TOML"),
        ("[study]\nn_folds = 'many'", "n_folds must be int"),
    ],
)
def test_a_bad_file_is_refused(tmp_path, text, message):
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        Config.read(path)


@pytest.mark.parametrize(
    ("written", "meant"),
    [("hiden", "hidden_size"), ("hidden", "hidden_size"), ("embeding", "embedding_"), ("whitn", "whiten"), ("smoothing", "label_smoothing"), ("max_epoch", "max_epochs")],
)  # fmt: skip
def test_a_near_miss_of_a_part_of_a_name_is_understood(written, meant):
    with pytest.raises(InputError, match=rf"did you mean '{meant}"):
        TextConfig().with_values({written: 3})


def test_every_hyper_parameter_is_in_the_docstring():
    for name, _, _, text in Recipe.describe():
        assert f"{name} : " in Recipe.__doc__
        assert text[0].isupper()
