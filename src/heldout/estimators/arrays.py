"""`LSTMRegressor` and `LSTMClassifier`: scikit-learn's contract over `ArrayData`, `Network` and `train`.

A sample is a sequence: X is (n, T, F), or (n, T) with one feature, or a list of (T_i, F) arrays of unequal length.
"""

from dataclasses import fields
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_array, check_consistent_length, check_random_state, column_or_1d
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from heldout.check import InputError
from heldout.data.samples import (
    Samples,
    is_list_of_sequences,
    merge_identical,
    pad,
    read_weight,
)
from heldout.data.series import FloatArray, IntArray
from heldout.options import Description, keyword_constructor
from heldout.recipe import Recipe
from heldout.training.arrays import ArrayOptions, fit_arrays, settle_arrays
from heldout.training.temperature import fit_temperature

# Fields of a recipe that say how windows are cut from series; arrays are windows already.
_FOR_SERIES = (
    "lookback", "transform", "fill_limit", "scale_by", "window_norm", "shared_columns", "shrink",
)  # fmt: skip
# Arrays are mostly few: an epoch is a handful of steps, so steps are longer and epochs more.
_DEFAULTS = {"shortcut": "none", "lr": 3e-3, "batch_size": 16, "max_epochs": 200, "patience": 30}
_TEXTS = {
    "shortcut": "Linear path from the inputs to the output, trained with the rest. Here 'none' or 'linear'.",
    "segment": "Steps that are embedded together and fed as one; 1 feeds step by step, None cuts sequences of more than 28 steps.",
}
_RANDOM_STATE = Description(
    "random_state", "int, RandomState or None", None, "Decides split, starting weights, orders and masks."
)
_CLASS_WEIGHT = Description(
    "class_weight", "dict, 'balanced' or None", None, "Weight of each class in the loss that is minimised."
)


def _flat(*extra: Description, leave_out: tuple[str, ...]) -> Any:
    """Give a class decorator that writes constructor and docstring from the fields of a recipe and a few more."""
    items = [
        Description(
            item.name, item.kind, _DEFAULTS.get(item.name, item.default), _TEXTS.get(item.name, item.text)
        )
        for item in (*Recipe.describe(), *ArrayOptions.describe())
        if item.name not in (*_FOR_SERIES, *leave_out)
    ]
    return keyword_constructor([*items, *extra], _refuse)


def _refuse(cls: type, name: str, value: Any) -> None:
    """Say what an argument that is no hyper-parameter of this class is called here."""
    if name in {item.name for item in fields(Recipe)}:
        raise InputError(f"{name!r} is no hyper-parameter of {cls.__name__}: leave it out")
    if name == "seed":
        raise InputError("unknown hyper-parameter 'seed': here it is random_state")
    Recipe.from_dict({name: value})


class _ArrayEstimator(BaseEstimator):  # type: ignore[misc]
    """What both share: reading X, splitting, training, averaging."""

    _fixed: ClassVar[dict[str, Any]] = {"transform": "none", "window_norm": "none", "shrink": False}

    def set_params(self, **params: Any) -> Self:
        """Set hyper-parameters by name, as the constructor does."""
        for name in params.keys() - self._get_param_names():
            _refuse(type(self), name, params[name])
        return super().set_params(**params)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    def _read(self, X: Any, *, reset: bool) -> Samples:
        """Turn any of the three forms of X into samples; ``reset`` remembers the form, else it must be the same."""
        as_list = is_list_of_sequences(X)
        three = not as_list and (X.ndim if hasattr(X, "ndim") else np.asarray(X).ndim) == 3
        if as_list:
            samples = pad(X)
        elif three:
            samples = Samples(check_array(X, allow_nd=True, dtype=np.float64, input_name="X"), None)
        else:
            x = validate_data(self, X, dtype=np.float64, reset=reset, ensure_min_samples=2 if reset else 1)
            samples = Samples(x[:, :, None], None)
        if reset:
            if len(samples.x) < 2:
                raise InputError("a fit needs two samples at least, got 1 sample")
            self._any_length, self._sample_shape = as_list, samples.x.shape[1:]
            if as_list or three:
                self.n_features_in_ = samples.x.shape[2]
            return samples
        steps, columns = self._sample_shape
        lengths = samples.lengths if samples.lengths is not None else np.array([samples.x.shape[1]])
        if samples.x.shape[2] != columns or not (self._any_length or (lengths == steps).all()):
            raise InputError(
                f"samples must have the shape of the fit, {'any number of' if self._any_length else steps} steps of {columns} features, got {samples.x.shape[1:]}"
            )
        return samples

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
        params = {
            name: value.item() if isinstance(value, np.generic) else value
            for name, value in self.get_params(deep=False).items()
        }
        names = {item.name for item in fields(Recipe)}, {item.name for item in fields(ArrayOptions)}
        given, own = ({name: value for name, value in params.items() if name in part} for part in names)
        recipe = Recipe.from_dict({**given, **self._fixed})
        return settle_arrays(recipe, samples), ArrayOptions.from_dict(own)

    def _fit(self, samples: Samples, y: Any, weight: FloatArray) -> IntArray:
        """Train; gives the rows that said when to stop."""
        seed = self.random_state
        if seed is not None:
            seed = check_random_state(seed).randint(2**31)
        self.model_, self.histories_, rows = fit_arrays(
            samples, y, weight, *self._options(samples), seed=seed
        )
        self.history_ = self.histories_[0]
        self.best_epoch_ = self.history_.best_epoch
        self.n_iter_ = len(self.history_.epochs) - 1
        self.n_parameters_ = self.model_.n_parameters
        return rows

    def _outputs(self, X: Any) -> FloatArray:
        check_is_fitted(self)
        return self.model_.outputs(self._read(X, reset=False))


@_flat(_RANDOM_STATE, leave_out=("label_smoothing",))
class LSTMRegressor(RegressorMixin, _ArrayEstimator):  # type: ignore[misc]
    """An LSTM that reads a sequence and gives one number or several, as a scikit-learn regressor.

    Attributes
    ----------
    history_ : History
        Loss on training and validation samples, epoch by epoch; ``histories_`` has one per seed.
    best_epoch_ : int
        The epoch whose weights are kept.
    n_iter_ : int
        Epochs that were run.
    n_parameters_ : int
        Numbers in one network; ``model_`` holds the networks.
    n_outputs_ : int
        Numbers per sample.
    n_features_in_ : int
        Columns of X: T where it is (n, T), F where it is (n, T, F) or a list.

    Notes
    -----
    Inputs are standardised per feature, targets per output, on the training samples; both inside `fit`.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(200, 8))
    >>> model = LSTMRegressor(hidden_size=8, max_epochs=3, random_state=0).fit(X, X[:, -1])
    >>> model.predict(X).shape, model.n_iter_
    ((200,), 3)
    >>> LSTMRegressor(units=8)
    Traceback (most recent call last):
        ...
    heldout.check.InputError: unknown hyper-parameter 'units': here it is hidden_size
    """

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> Self:
        """Fit to sequences and numbers.

        Parameters
        ----------
        X : array of shape (n, T, F) or (n, T), or list of n arrays of shape (T_i, F) or (T_i,)
            Sequences, finite.
        y : array of shape (n,) or (n, S)
            Targets.
        sample_weight : array of shape (n,), optional
            Weight of each sample in the loss, on training and validation samples; 0 leaves it out.

        Returns
        -------
        LSTMRegressor

        Raises
        ------
        InputError
            If a hyper-parameter or the data break a rule.
        """
        if self.loss == "cross_entropy":
            raise InputError("loss='cross_entropy' is for classes: use LSTMClassifier")
        samples = self._read_labelled(X, y)
        numbers = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
        self._flat_y = numbers.ndim == 1
        numbers = numbers.reshape(len(numbers), -1)
        self.n_outputs_ = numbers.shape[1]
        self._fit(*self._weighted(samples, numbers, sample_weight))
        return self

    def predict(self, X: Any) -> FloatArray:
        """Predict; with the quantile loss, the median.

        Parameters
        ----------
        X : as in `fit`
            Sequences.

        Returns
        -------
        array of shape (n,) or (n, S), as y was
        """
        levels = self._outputs(X)
        if self.loss == "quantile":
            point = np.apply_along_axis(lambda q: np.interp(0.5, self.quantiles, q), -1, levels)
        else:
            point = levels[..., 0]
        return point[:, 0] if self._flat_y else point

    def predict_quantiles(self, X: Any) -> FloatArray:
        """Predict each of ``quantiles``, which do not cross.

        Parameters
        ----------
        X : as in `fit`
            Sequences.

        Returns
        -------
        array of shape (n, Q) or (n, S, Q)

        Raises
        ------
        InputError
            If the loss is another.
        """
        if self.loss != "quantile":
            raise InputError(f"quantiles are predicted with loss='quantile', got {self.loss!r}")
        levels = self._outputs(X)
        return levels[:, 0] if self._flat_y else levels


@_flat(_CLASS_WEIGHT, _RANDOM_STATE, leave_out=("loss", "huber_delta", "quantiles"))
class LSTMClassifier(ClassifierMixin, _ArrayEstimator):  # type: ignore[misc]
    """An LSTM that reads a sequence and says which class it is of, as a scikit-learn classifier.

    Attributes
    ----------
    classes_ : array of shape (n_classes,)
        Labels, sorted.
    temperature_ : float
        The network's outputs are divided by it before they become probabilities (Guo et al. 2017, arXiv 1706.04599).
        It is fitted on the validation samples, and 1 without them; it never changes which class is said.
    history_ : History
        Loss on training and validation samples, epoch by epoch; ``histories_`` has one per seed.
    best_epoch_ : int
        The epoch whose weights are kept.
    n_iter_ : int
        Epochs that were run.
    n_parameters_ : int
        Numbers in one network; ``model_`` holds the networks.
    n_features_in_ : int
        Columns of X: T where it is (n, T), F where it is (n, T, F) or a list.

    Notes
    -----
    Inputs are standardised per feature on the training samples, inside `fit`.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(100, 12, 2))
    >>> y = np.where(X[:, :, 0].mean(1) > 0, "up", "down")
    >>> model = LSTMClassifier(hidden_size=8, max_epochs=3, random_state=0).fit(X, y)
    >>> model.classes_, model.predict_proba(X).shape
    (array(['down', 'up'], dtype='<U4'), (100, 2))
    """

    _fixed: ClassVar[dict[str, Any]] = {**_ArrayEstimator._fixed, "loss": "cross_entropy"}

    def fit(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> Self:
        """Fit to sequences and labels.

        Parameters
        ----------
        X : array of shape (n, T, F) or (n, T), or list of n arrays of shape (T_i, F) or (T_i,)
            Sequences, finite.
        y : array of shape (n,)
            Labels: numbers, strings or booleans, of two classes at least.
        sample_weight : array of shape (n,), optional
            Weight of each sample in the loss, on training and validation samples; 0 leaves it out.

        Returns
        -------
        LSTMClassifier

        Raises
        ------
        InputError
            If a hyper-parameter or the data break a rule.
        """
        samples = self._read_labelled(X, y)
        labels = check_array(y, ensure_2d=False, dtype=None, input_name="y")
        check_classification_targets(labels)
        labels = column_or_1d(labels, warn=True)
        samples, labels, weight = self._weighted(samples, labels, sample_weight)
        self.classes_, codes = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise InputError(f"a classifier needs two classes at least, got one class: {self.classes_[0]!r}")
        by_class = compute_class_weight(
            self.class_weight, classes=self.classes_, y=labels, sample_weight=weight
        )
        weight = weight * by_class[codes]
        rows = self._fit(samples, codes, weight)
        self.temperature_ = 1.0
        if len(rows):
            self.temperature_ = fit_temperature(
                self.model_.outputs(samples.take(rows))[:, 0], codes[rows], weight[rows]
            )
        return self

    def _logits(self, X: Any) -> FloatArray:
        outputs = self._outputs(X)
        return outputs[:, 0] / self.temperature_

    def decision_function(self, X: Any) -> FloatArray:
        """Give the logarithms of the probabilities, up to a constant; for two classes, the log odds of the second.

        Parameters
        ----------
        X : as in `fit`
            Sequences.

        Returns
        -------
        array of shape (n, n_classes), or (n,) for two classes
        """
        logits = self._logits(X)
        return logits[:, 1] - logits[:, 0] if len(self.classes_) == 2 else logits

    def predict_proba(self, X: Any) -> FloatArray:
        """Give the probability of each class, in the order of ``classes_``.

        Parameters
        ----------
        X : as in `fit`
            Sequences.

        Returns
        -------
        array of shape (n, n_classes)
        """
        return np.asarray(softmax(self._logits(X), axis=1))

    def predict(self, X: Any) -> Any:
        """Say the most probable class.

        Parameters
        ----------
        X : as in `fit`
            Sequences.

        Returns
        -------
        array of shape (n,)
        """
        best = self._logits(X).argmax(axis=1)
        return self.classes_[best]
