"""`NetworkClassifier`: labels in, probabilities of classes out, whatever the samples are."""

from collections.abc import Mapping
from math import isnan
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.base import ClassifierMixin
from sklearn.utils import check_array, column_or_1d
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from torch import Tensor

from heldout.check import InputError, check_number, did_you_mean
from heldout.data.columns import listed
from heldout.data.series import FloatArray, IntArray
from heldout.estimators.base import NetworkEstimator, plain_number
from heldout.options import Description
from heldout.training.checkpoint import ModelFileError

CLASS_WEIGHT = Description(
    "class_weight",
    "dict, 'balanced' or None",
    None,
    "Weight of each class, above 0 (1 for those not named), in the loss that is minimised, in the loss that says when to stop and in the temperature.",
)
# Kinds of labels that JSON gives back as they were: booleans, numbers, strings, and those as Python objects.
_LABELS = "biufUO"
_LABEL_TYPES = (bool, int, float, str)


class NetworkClassifier(ClassifierMixin, NetworkEstimator):  # type: ignore[misc]  # scikit-learn is not typed
    """What a classifier over fitted networks has whatever its samples are: labels, weights, probabilities, files."""

    def _logits(self, X: Any) -> FloatArray:
        """The logarithms of the probabilities, (n, n_classes), up to a constant of each sample."""
        raise NotImplementedError

    def _n_outputs(self) -> int:
        """Classes that the fitted networks tell apart."""
        raise NotImplementedError

    def _read_labels(self, y: Any) -> NDArray[Any]:
        if y is None:
            raise InputError(f"{type(self).__name__} requires y to be passed, but the target y is None")
        if isinstance(y, list | tuple) and any(isinstance(label, float) and isnan(label) for label in y):
            raise InputError(
                "labels must not be missing, but y holds NaN: leave these samples out"
            )  # numpy would make it the class 'nan'
        labels = check_array(y, ensure_2d=False, dtype=None, input_name="y")
        try:
            np.unique(labels)
        except TypeError as error:  # they cannot be sorted
            kinds = listed(sorted({type(label).__name__ for label in labels.flat}))
            raise InputError(
                f"labels must be of one kind, all numbers or all strings, got {kinds} in y"
            ) from error
        check_classification_targets(labels)
        return np.asarray(column_or_1d(labels, warn=True))

    def _learn_classes(self, labels: NDArray[Any], weight: FloatArray) -> tuple[IntArray, FloatArray]:
        """Learn ``classes_``; gives the class of each sample by its number, and the weights times those of the classes."""
        self.classes_, codes = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise InputError(
                f"a classifier needs two classes at least, got one class: {self.classes_.tolist()[0]!r}"
            )
        _check_class_weight(self.class_weight, self.classes_)
        by_class = compute_class_weight(
            self.class_weight, classes=self.classes_, y=labels, sample_weight=weight
        )
        return codes, weight * by_class[codes]

    def decision_function(self, X: Any) -> FloatArray:
        """Give the logarithms of the probabilities, up to a constant; for two classes, the log odds of the second.

        Parameters
        ----------
        X : as in `fit`
            Samples.

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
            Samples.

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
            Samples.

        Returns
        -------
        array of shape (n,)
        """
        best = self._logits(X).argmax(axis=1)
        return self.classes_[best]

    def to_file_parts(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Give what a file holds, the labels among it."""
        tensors, metadata = super().to_file_parts()
        kind, labels = self.classes_.dtype, self.classes_.tolist()
        if kind.kind not in _LABELS or not all(isinstance(label, _LABEL_TYPES) for label in labels):
            raise InputError(f"labels in a file are numbers, strings or booleans, got {kind} {labels[:3]}")
        return tensors, {**metadata, "classes": {"dtype": kind.str, "labels": labels}}

    @classmethod
    def from_file_parts(cls, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> Self:
        """Build the classifier that `to_file_parts` described.

        Raises
        ------
        ModelFileError
            If the parts are of another kind, of a later version, or do not fit.
        """
        classifier = super().from_file_parts(tensors, metadata)
        try:
            labels = metadata["classes"]["labels"]
            kind = np.dtype(metadata["classes"]["dtype"])
            fits = kind.kind in _LABELS and all(isinstance(label, _LABEL_TYPES) for label in labels)
            classifier.classes_ = np.array(labels, dtype=kind)
        except (LookupError, TypeError, ValueError, OverflowError) as error:
            raise ModelFileError(f"the model file does not say its labels: {error}") from error
        if not fits or classifier.classes_.shape != (classifier._n_outputs(),):
            raise ModelFileError(f"the model file's {len(labels)} labels do not fit its networks")
        return classifier


def _check_class_weight(weight: Any, classes: NDArray[Any]) -> None:
    """Raise `InputError` unless it is a dict of positive weights of these classes, ``"balanced"`` or None."""
    if weight is None or (isinstance(weight, str) and weight == "balanced"):
        return
    if not isinstance(weight, Mapping):
        near = did_you_mean(weight, ["balanced"]) if isinstance(weight, str) else ""
        raise InputError(
            f"class_weight must be a dict of labels and weights, 'balanced' or None, got {weight!r}{near}"
        )
    labels = classes.tolist()
    for label, value in weight.items():
        if label not in labels:
            raise InputError(
                f"class_weight must name classes of y, {listed([repr(name) for name in labels])}, got {label!r}"
            )
        check_number(
            f"class_weight of {label!r}", plain_number(value), 0, np.inf, open_low=True, open_high=True
        )
