"""`LSTMRegressor` and `LSTMClassifier`: scikit-learn's contract over `ArrayData`, `Network` and `train`.

A sample is a sequence: X is (n, T, F), or (n, T) with one feature, or a list of (T_i, F) arrays of unequal length.
"""

from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import RegressorMixin
from sklearn.utils import check_array

from heldout.check import InputError
from heldout.data.series import FloatArray
from heldout.estimators.base import RANDOM_STATE, ArrayEstimator, flat
from heldout.estimators.classes import CLASS_WEIGHT, NetworkClassifier
from heldout.training.temperature import fit_temperature

_FOR_NUMBERS = "Linear part: 'ridge' is fitted first, in closed form with a penalty chosen by leave-one-out, and the LSTM learns what it leaves; 'linear' is trained with the rest; 'auto' is ridge for sequences of one length and at most 2048 numbers, else none. Here 'auto', 'none', 'linear' or 'ridge'."
_FOR_CLASSES = "Linear path from the inputs to the output, trained with the rest. Here 'none' or 'linear'."


@flat(RANDOM_STATE, leave_out=("label_smoothing",), shortcut=_FOR_NUMBERS, defaults={"shortcut": "auto"})
class LSTMRegressor(RegressorMixin, ArrayEstimator):  # type: ignore[misc]  # scikit-learn is not typed
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
    prepare_ : ArrayPrepare
        Centre, width and bounds of each feature (``inputs``) and of each target (``targets``), learned on the training samples.
    n_outputs_ : int
        Numbers per sample.
    n_features_in_ : int
        Columns of X: T where it is (n, T), F where it is (n, T, F) or a list.

    Notes
    -----
    Inputs are standardised per feature, targets per output, on the training samples; both inside `fit`. Ridge takes part
    by leave-one-out: the LSTM is trained on what each sample's ridge, fitted without it, leaves, and kept as far as the
    validation samples say; where it finds nothing, `predict` is ridge's.

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

    _kept: ClassVar[dict[str, type]] = {**ArrayEstimator._kept, "_flat_y": bool, "n_outputs_": int}

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


@flat(
    CLASS_WEIGHT,
    RANDOM_STATE,
    leave_out=("loss", "huber_delta", "quantiles"),
    shortcut=_FOR_CLASSES,
    # A class belongs to the whole sequence, so reading it from its end as well leaks nothing.
    defaults={"shortcut": "none", "bidirectional": True, "patience": 30},
)
class LSTMClassifier(NetworkClassifier, ArrayEstimator):
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
    prepare_ : ArrayPrepare
        Centre, width and bounds of each feature (``inputs``), learned on the training samples.
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

    _fixed: ClassVar[dict[str, Any]] = {**ArrayEstimator._fixed, "loss": "cross_entropy"}
    _kept: ClassVar[dict[str, type]] = {**ArrayEstimator._kept, "temperature_": float}

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
        labels = self._read_labels(y)
        samples, labels, weight = self._weighted(samples, labels, sample_weight)
        codes, weight = self._learn_classes(labels, weight)
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

    def _n_outputs(self) -> int:
        return self.model_.shape.n_outputs
