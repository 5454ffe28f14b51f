"""Files of the array estimators: the same predictions to the bit, and one sentence for whatever is no such file."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError

import heldout as ho
from heldout.check import InputError
from heldout.estimators.arrays import LSTMClassifier, LSTMRegressor
from heldout.estimators.files import load
from heldout.training.checkpoint import ModelFileError, load_tensors, save_tensors

QUICK = {"hidden_size": 4, "max_epochs": 2, "random_state": 0}
X = np.random.default_rng(0).normal(size=(40, 6, 2))
Y = X[:, :, 0].sum(axis=1) + np.abs(X[:, -1, 1])


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A file of a regressor."""
    path = tmp_path_factory.mktemp("files") / "model"
    LSTMRegressor(**QUICK).fit(X, Y).save(path)
    return path


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"shortcut": "none", "n_seeds": 2, "dense": (3,), "pooling": "attention"},
        {"shortcut": "linear", "bidirectional": True, "segment": 2},
        {"loss": "quantile", "quantiles": [0.1, 0.5, 0.9], "scaling": "robust"},
    ],
)
def test_a_regressor_comes_back_with_its_parameters_and_predictions_to_the_bit(options, tmp_path):
    for y in (Y, np.column_stack([Y, -Y])):
        model = LSTMRegressor(**QUICK, **options).fit(X, y)
        model.save(tmp_path / "model")
        again = load(tmp_path / "model")
        np.testing.assert_array_equal(again.predict(X), model.predict(X))
        assert repr(again) == repr(model).replace("[0.1, 0.5, 0.9]", "(0.1, 0.5, 0.9)")
        assert again.histories_ == model.histories_
        for name in ("best_epoch_", "n_iter_", "n_parameters_", "n_features_in_", "n_outputs_"):
            assert getattr(again, name) == getattr(model, name)
        for ours, theirs in zip(again.prepare_, model.prepare_, strict=True):
            assert ours.to_dict() == theirs.to_dict()
        again.fit(X, y)
        np.testing.assert_array_equal(again.predict(X), model.predict(X))


@pytest.mark.parametrize(
    "labels",
    [
        np.array([0, 1]),
        np.array([-1.0, 2.0]),
        np.array([0, 5], dtype=np.float32),
        np.array([False, True]),
        np.array(["down", "ünder 'quotes'"]),
        np.array(["down", "up"], dtype=object),
        np.array([1, 2, 200], dtype=np.uint8),
    ],
)
def test_labels_of_every_kind_come_back_as_they_were(labels, tmp_path):
    y = labels[np.arange(len(X)) % len(labels)]
    weight = {label.item() if hasattr(label, "item") else label: 1.0 + n for n, label in enumerate(labels)}
    model = LSTMClassifier(**QUICK, class_weight=weight).fit(X, y)
    model.save(tmp_path / "model")
    again = load(tmp_path / "model")
    assert again.classes_.dtype == model.classes_.dtype
    np.testing.assert_array_equal(again.classes_, model.classes_)
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    assert again.get_params() == model.get_params()
    assert again.temperature_ == model.temperature_


def test_sequences_of_unequal_length_and_names_of_columns_come_back(tmp_path):
    ragged = [x[: 2 + n % 5] for n, x in enumerate(X)]
    model = LSTMRegressor(**QUICK)
    model.fit(ragged, Y).save(tmp_path / "ragged")
    np.testing.assert_array_equal(load(tmp_path / "ragged").predict(ragged[:3]), model.predict(ragged[:3]))
    table = pd.DataFrame(X[:, :, 0], columns=list("abcdef"))
    model = LSTMRegressor(**QUICK).fit(table, Y)
    model.save(tmp_path / "table")
    again = load(tmp_path / "table")
    np.testing.assert_array_equal(again.feature_names_in_, model.feature_names_in_)
    np.testing.assert_array_equal(again.predict(table), model.predict(table))
    with pytest.raises(InputError, match="shape of the fit, 6 steps of 2 features"):
        LSTMRegressor.from_file_parts(*LSTMRegressor(**QUICK).fit(X, Y).to_file_parts()).predict(X[:, :5])


def test_a_file_with_any_bit_changed_or_cut_short_is_refused(saved, tmp_path):
    data = saved.read_bytes()
    for place in range(9, len(data), len(data) // 25):
        spoilt = bytearray(data)
        spoilt[place] ^= 4
        (tmp_path / "spoilt").write_bytes(spoilt)
        with pytest.raises(ModelFileError, match="spoilt: "):
            load(tmp_path / "spoilt")
    (tmp_path / "short").write_bytes(data[: len(data) // 2])
    with pytest.raises(ModelFileError, match="short: "):
        load(tmp_path / "short")


def test_a_file_of_something_else_is_named(tmp_path):
    (tmp_path / "pickle").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(ModelFileError, match=r"no model file|only the beginning"):
        load(tmp_path / "pickle")
    with pytest.raises(ModelFileError, match="cannot be read"):
        load(tmp_path / "absent")
    save_tensors(tmp_path / "other", {}, {"kind": "cake"})
    with pytest.raises(ModelFileError, match="holds no estimator that this version reads, but 'cake'"):
        load(tmp_path / "other")


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (["version"], 2, "later heldout"),
        (["version"], "x", "not a LSTMRegressor that this version reads"),
        (["params"], {"units": 3}, "here it is hidden_size"),
        (["params"], None, "does not describe a LSTMRegressor"),
        (["fitted"], {}, "does not describe a LSTMRegressor"),
        (["fitted", "n_features_in_"], "2", "n_features_in_ must be int"),
        (["histories"], [[1]], "does not describe a LSTMRegressor"),
        (["model"], None, "does not describe a model"),
        (["model", "recipe", "hidden_size"], 4096, "does not describe a model"),
        (["model", "shape", "lookback"], 10**9, "does not describe a model|does not fit"),
        (["model", "n_networks"], 10**9, "n_networks must be in"),
        (["model", "inputs", "width"], [0.0, 1.0], "widths above 0"),
        (["model", "inputs", "center"], [0.0], "as many finite centres"),
        (
            ["model", "targets"],
            {"low": [0], "high": [0, 1], "center": [0], "width": [1]},
            "as many finite centres",
        ),
    ],
)
def test_metadata_that_lie_are_refused_in_one_sentence(saved, tmp_path, path, value, said):
    tensors, metadata = load_tensors(saved)
    place = metadata
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    save_tensors(tmp_path / "lie", tensors, metadata)
    with pytest.raises(ModelFileError, match=said) as raised:
        load(tmp_path / "lie")
    assert str(raised.value).startswith(f"{tmp_path / 'lie'}: ")
    assert "\n" not in str(raised.value)


def test_tensors_that_are_missing_or_of_another_shape_are_refused(saved, tmp_path):
    for name, change in (
        ("0.head.weight", None),
        ("linear.coefficients", lambda tensor: tensor[:-1]),
        ("0.lstm.weight_hh_l0", lambda tensor: tensor[:, :-1]),
    ):
        tensors, metadata = load_tensors(saved)
        if change is None:
            del tensors[name]
        else:
            tensors[name] = change(tensors[name])
        save_tensors(tmp_path / "lie", tensors, metadata)
        with pytest.raises(ModelFileError, match="does not"):
            load(tmp_path / "lie")


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        ({"dtype": "<U4", "labels": ["up"]}, "1 labels do not fit"),
        ({"dtype": "|V8", "labels": [0, 1]}, "do(es)? not"),
        ({"dtype": "cake", "labels": [0, 1]}, "does not say its labels"),
        ({"dtype": "|O", "labels": [[], {}]}, "do not fit"),
        (None, "does not say its labels"),
    ],
)
def test_labels_that_lie_are_refused(tmp_path, classes, said):
    tensors, metadata = LSTMClassifier(**QUICK).fit(X, Y > 0).to_file_parts()
    save_tensors(tmp_path / "lie", tensors, {**metadata, "classes": classes})
    with pytest.raises(ModelFileError, match=said):
        load(tmp_path / "lie")


def test_what_cannot_be_saved_is_said(tmp_path):
    with pytest.raises(NotFittedError):
        LSTMRegressor().save(tmp_path / "model")
    with pytest.raises(InputError, match="cannot write"):
        LSTMRegressor(**QUICK).fit(X, Y).save(tmp_path / "no folder" / "model")


def test_a_random_state_that_is_no_number_is_left_out(tmp_path):
    model = LSTMRegressor(**{**QUICK, "random_state": np.random.RandomState(3)}).fit(X, Y)
    model.save(tmp_path / "model")
    assert load(tmp_path / "model").random_state is None


def test_it_is_public():
    assert ho.load is load
