"""What the estimators share: flat hyper-parameters and files; for arrays, reading X, splitting and training too."""

import os
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.utils import check_array, check_consistent_length, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from heldout.check import InputError
from heldout.data.samples import (
    ArrayPrepare,
    Samples,
    is_list_of_sequences,
    merge_identical,
    pad,
    read_weight,
)
from heldout.data.series import FloatArray, IntArray
from heldout.estimators.names import refuse
from heldout.options import Description, keyword_constructor
from heldout.recipe import Recipe
from heldout.training.arrays import ArrayModel, ArrayOptions, choose_shortcut, fit_arrays, settle_arrays
from heldout.training.checkpoint import ModelFileError, check_kind, save_tensors
from heldout.training.loop import History

# Fields of a recipe that say how windows are cut from series; arrays are windows already.
_FOR_SERIES = (
    "lookback", "transform", "fill_limit", "scale_by", "window_norm", "shared_columns", "shrink",
)  # fmt: skip
# Arrays are mostly few: an epoch is a handful of steps, so steps are longer and epochs more. Chosen on training rows.
_DEFAULTS = {"lr": 0.01, "schedule": "cosine", "batch_size": 32, "max_epochs": 100, "patience": 20}
_SEGMENT = "Steps that are embedded together and fed as one; 1 feeds step by step, None cuts sequences of more than 28 steps."
RANDOM_STATE = Description(
    "random_state", "int, RandomState or None", None, "Decides split, starting weights, orders and masks."
)
VERSION = 1


def flat(*extra: Description, leave_out: tuple[str, ...], shortcut: str, defaults: Mapping[str, Any]) -> Any:
    """Give a class decorator that writes constructor and docstring from the fields of a recipe and a few more.

    Parameters
    ----------
    *extra : Description
        Arguments of this class alone.
    leave_out : tuple of str
        Fields of a recipe that have no meaning for it.
    shortcut : str
        What the shortcut means here.
    defaults : mapping
        Defaults of this class alone.
    """
    defaults, texts = {**_DEFAULTS, **defaults}, {"segment": _SEGMENT, "shortcut": shortcut}
    items = [
        Description(
            item.name, item.kind, defaults.get(item.name, item.default), texts.get(item.name, item.text)
        )
        for item in (*Recipe.describe(), *ArrayOptions.describe())
        if item.name not in (*_FOR_SERIES, *leave_out)
    ]
    return keyword_constructor([*items, *extra], refuse)


class NetworkEstimator(BaseEstimator):  # type: ignore[misc]  # scikit-learn is not typed
    """What an estimator over fitted networks has whatever its samples are: names, what training left, files."""

    _model_type: ClassVar[Any]
    # Fitted attributes that a file holds beside the model, plain values of JSON.
    _kept: ClassVar[dict[str, type]] = {}

    def set_params(self, **params: Any) -> Self:
        """Set hyper-parameters by name, as the constructor does."""
        for name in params.keys() - self._get_param_names():
            refuse(type(self), name, params[name])
        return super().set_params(**params)

    def _seed(self) -> int | None:
        seed = self.random_state
        return None if seed is None else check_random_state(seed).randint(2**31)

    def _keep(self, model: Any, histories: tuple[History, ...]) -> None:
        self.model_, self.histories_, self.history_ = model, histories, histories[0]
        self.best_epoch_ = self.history_.best_epoch
        self.n_iter_ = len(self.history_.epochs) - 1
        self.n_parameters_ = model.n_parameters

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted estimator to a file that `heldout.load` reads: tensors and JSON, nothing that can be executed.

        Parameters
        ----------
        path : path
            The file; its folder must be there. What it held is replaced in one step.

        Raises
        ------
        InputError
            If it cannot be written, or labels are neither numbers, strings nor booleans.
        """
        save_tensors(path, *self.to_file_parts(), durable=True)

    def to_file_parts(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Give what a file holds: named tensors and JSON metadata; a ``random_state`` that is no number is left out."""
        check_is_fitted(self)
        tensors, model = self.model_.to_file_parts()
        metadata = {
            "kind": f"heldout {type(self).__name__}",
            "version": VERSION,
            "params": {name: _to_plain(name, value) for name, value in self.get_params(deep=False).items()},
            "fitted": {name: getattr(self, name) for name in self._kept},
            "histories": [[history.epochs, history.best_epoch] for history in self.histories_],
            "model": model,
        }
        return tensors, metadata

    @classmethod
    def from_file_parts(cls, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> Self:
        """Build the estimator that `to_file_parts` described.

        Raises
        ------
        ModelFileError
            If the parts are of another kind, of a later version, or do not fit.
        """
        check_kind(metadata, f"heldout {cls.__name__}", VERSION)
        model = cls._model_type.from_file_parts(tensors, metadata.get("model", {}))
        try:
            given = metadata["params"]
            estimator = cls(**{name: _from_plain(name, value) for name, value in given.items()})
            for name, kind in cls._kept.items():
                value = metadata["fitted"][name]
                if type(value) is not kind:
                    raise TypeError(f"{name} must be {kind.__name__}, got {value!r}")
                setattr(estimator, name, value)
            histories = tuple(History(list(epochs), int(best)) for epochs, best in metadata["histories"])
            estimator._keep(model, histories)
            estimator._restore(metadata)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise ModelFileError(f"the model file does not describe a {cls.__name__}: {error}") from error
        return estimator

    def _restore(self, metadata: dict[str, Any]) -> None:
        """Take from a file what a kind of estimator alone has."""


class ArrayEstimator(NetworkEstimator):
    """What `LSTMRegressor` and `LSTMClassifier` share: reading X, splitting, training, averaging."""

    _fixed: ClassVar[dict[str, Any]] = {"transform": "none", "window_norm": "none", "shrink": False}
    _model_type: ClassVar[Any] = ArrayModel
    _kept: ClassVar[dict[str, type]] = {"_any_length": bool, "n_features_in_": int}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    def _read(self, X: Any, *, reset: bool) -> Samples:
        """Turn any of the three forms of X into samples; ``reset`` remembers the form, else it must be the same."""
        as_list = is_list_of_sequences(X)
        table = not as_list and (X.ndim if hasattr(X, "ndim") else np.asarray(X).ndim) < 3
        if as_list:
            samples = pad(X)
        elif table and (reset or self._fitted_to_table):
            x = validate_data(self, X, dtype=np.float64, reset=reset, ensure_min_samples=2 if reset else 1)
            samples = Samples(x[:, :, None], None)
        else:
            samples = _read_array(X)
        if reset:
            if len(samples.x) < 2:
                raise InputError("a fit needs two samples at least, got 1 sample")
            self._any_length, self._sample_shape = as_list, samples.x.shape[1:]
            if not table:
                self.n_features_in_ = samples.x.shape[2]
                self.__dict__.pop("feature_names_in_", None)  # of a table that was fitted before
            return samples
        steps, columns = self._sample_shape
        lengths = samples.lengths if samples.lengths is not None else np.array([samples.x.shape[1]])
        if samples.x.shape[2] != columns or not (self._any_length or (lengths == steps).all()):
            raise InputError(
                f"samples must have the shape of the fit, {'any number of' if self._any_length else steps} steps of {columns} features, got {samples.x.shape[1:]}"
                + " (a table is one feature, with a step per column)" * table
            )
        return samples

    @property
    def _fitted_to_table(self) -> bool:
        """Whether ``n_features_in_`` counts the steps of one feature."""
        return not self._any_length and self._sample_shape == (self.n_features_in_, 1)

    def _read_labelled(self, X: Any, y: Any) -> Samples:
        if y is None:
            raise InputError(f"{type(self).__name__} requires y to be passed, but the target y is None")
        return self._read(X, reset=True)

    def _weighted(
        self, samples: Samples, y: Any, sample_weight: ArrayLike | None
    ) -> tuple[Samples, Any, FloatArray]:
        """Give the samples that count, each once if they are shuffled, and their weights."""
        check_consistent_length(samples.x, y)
        weight = read_weight(sample_weight, len(y))
        used = np.flatnonzero(weight)
        counted = samples.take(used), y[used], weight[used]
        return merge_identical(*counted) if self.shuffle else counted

    def _options(self, samples: Samples) -> tuple[Recipe, ArrayOptions]:
        """Check the hyper-parameters and settle those that depend on the samples."""
        params = {name: plain_number(value) for name, value in self.get_params(deep=False).items()}
        names = {item.name for item in fields(Recipe)}, {item.name for item in fields(ArrayOptions)}
        given, own = ({name: value for name, value in params.items() if name in part} for part in names)
        if given["shortcut"] == "auto":
            if self._fixed.get("loss") == "cross_entropy":
                raise InputError("shortcut='auto' is for numbers, classes take 'none' or 'linear'")
            given["shortcut"] = choose_shortcut(
                samples, Recipe.from_dict({**given, **self._fixed, "shortcut": "none"})
            )
        recipe = Recipe.from_dict({**given, **self._fixed})
        return settle_arrays(recipe, samples), ArrayOptions.from_dict(own)

    def _fit(self, samples: Samples, y: Any, weight: FloatArray) -> IntArray:
        """Train; gives the rows that said when to stop."""
        model, histories, rows = fit_arrays(samples, y, weight, *self._options(samples), seed=self._seed())
        self._keep(model, histories)
        return rows

    def _keep(self, model: ArrayModel, histories: tuple[History, ...]) -> None:
        super()._keep(model, histories)
        self.prepare_: ArrayPrepare = model.prepare

    def _outputs(self, X: Any) -> FloatArray:
        check_is_fitted(self)
        return self.model_.outputs(self._read(X, reset=False))

    def to_file_parts(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Give what a file holds, the names of the features among it."""
        tensors, metadata = super().to_file_parts()
        names = getattr(self, "feature_names_in_", None)
        return tensors, {**metadata, "feature_names": None if names is None else names.tolist()}

    def _restore(self, metadata: dict[str, Any]) -> None:
        self._sample_shape = (self.model_.shape.lookback, self.model_.shape.n_inputs)
        if metadata["feature_names"] is not None:
            self.feature_names_in_ = np.array(metadata["feature_names"], dtype=object)


def _read_array(X: Any) -> Samples:
    """Give the samples in an array (n, T, F), or (n, T) with one feature."""
    shape = X.shape if hasattr(X, "shape") else np.shape(X)
    if len(shape) not in (2, 3) or 0 in shape:
        raise InputError(
            f"X must be (n, T, F), or (n, T) with one feature, with one sample, step and feature at least, got shape {tuple(shape)}"
        )
    x = check_array(X, allow_nd=True, dtype=np.float64, input_name="X")
    return Samples(x.reshape(*shape[:2], -1), None)


def _to_plain(name: str, value: Any) -> Any:
    """A hyper-parameter as JSON has it."""
    if isinstance(value, Mapping):
        return [[plain_number(label), plain_number(weight)] for label, weight in value.items()]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, np.ndarray | list | tuple):
        return [plain_number(item) for item in value]
    value = plain_number(value)
    return None if name == "random_state" and not isinstance(value, int) else value


def plain_number(value: Any) -> Any:
    """Give a number of numpy as Python's own, and anything else as it is."""
    return value.item() if isinstance(value, np.generic) else value


def _from_plain(name: str, value: Any) -> Any:
    if isinstance(value, list):
        return dict(value) if name == "class_weight" else tuple(value)
    return value
