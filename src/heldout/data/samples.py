"""Samples that are whole sequences: read, weighed, merged where identical, split and scaled."""

from hashlib import blake2b
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike

from heldout.check import InputError
from heldout.data.series import FloatArray, IntArray
from heldout.data.transforms import center_width, robust_bounds


class Samples(NamedTuple):
    """Sequences, ready for `heldout.data.arrays.ArrayData` once scaled.

    Attributes
    ----------
    x : array of shape (n, T, F), float64
        Finite; zero where padded.
    lengths : array of shape (n,), int64, or None
        Steps that hold data, where the samples came as a list.
    """

    x: FloatArray
    lengths: IntArray | None

    def take(self, rows: IntArray) -> "Samples":
        """Give some of the samples."""
        return Samples(self.x[rows], None if self.lengths is None else self.lengths[rows])

    def values(self) -> FloatArray:
        """Give all steps that hold data, (n_steps, F)."""
        if self.lengths is None:
            return self.x.reshape(-1, self.x.shape[2])
        return self.x[np.arange(self.x.shape[1]) < self.lengths[:, None]]


class ColumnScale(NamedTuple):
    """What is learned of each column from training values: ``low`` and ``high`` bounds, ``center`` and ``width``, each (F,)."""

    low: FloatArray
    high: FloatArray
    center: FloatArray
    width: FloatArray

    @classmethod
    def fit(cls, values: FloatArray, outliers: float, scaling: str) -> Self:
        """Learn from training values (n, F); ``outliers`` and ``scaling`` are those of a recipe."""
        bounds = np.array([robust_bounds(column, outliers) for column in values.T])
        held = values.clip(bounds[:, 0], bounds[:, 1])
        pairs = np.array([center_width(column, scaling) for column in held.T])
        width = np.where(
            pairs[:, 1] > 0, pairs[:, 1], 1.0
        )  # a constant column carries nothing: 1 keeps it finite
        return cls(bounds[:, 0], bounds[:, 1], pairs[:, 0], width)

    def apply(self, values: FloatArray) -> FloatArray:
        """Hold values (..., F) within the bounds and scale them."""
        return (values.clip(self.low, self.high) - self.center) / self.width

    def undo(self, values: FloatArray) -> FloatArray:
        """Give values (..., F) back their centre and width."""
        return values * self.width + self.center

    def to_dict(self) -> dict[str, list[float]]:
        """Give the numbers as lists, for JSON."""
        return {name: value.tolist() for name, value in self._asdict().items()}

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        """Take back what `to_dict` gave.

        Raises
        ------
        InputError
            If it is not finite numbers, as many of each, with widths above zero.
        """
        scale = cls(**{name: np.array(value, dtype=np.float64) for name, value in values.items()})
        shapes = {value.shape for value in scale}
        finite = np.isfinite(scale.center).all() and np.isfinite(scale.width).all()
        if len(shapes) > 1 or scale.center.ndim != 1 or not finite or not (scale.width > 0).all():
            raise InputError("a scale needs as many finite centres as widths above 0 and bounds")
        return scale


class ArrayPrepare(NamedTuple):
    """What a fit of arrays learned of its training samples before any network: ``inputs`` per feature, ``targets`` per output.

    Attributes
    ----------
    inputs : ColumnScale
        Bounds, centre and width of each feature, over all steps of the training samples.
    targets : ColumnScale or None
        Of each target; None for classes.
    """

    inputs: ColumnScale
    targets: ColumnScale | None


def is_list_of_sequences(X: Any) -> bool:
    """Whether X is a list, a tuple or an array of objects, each an array: samples whose lengths may differ."""
    if isinstance(X, np.ndarray):
        return X.dtype == object and X.ndim == 1 and all(isinstance(sample, np.ndarray) for sample in X)
    return isinstance(X, list | tuple) and len(X) > 0 and all(isinstance(sample, np.ndarray) for sample in X)


def pad(sequences: Any) -> Samples:
    """Give sequences (T_i, F) or (T_i,) as one array.

    Raises
    ------
    InputError
        If one is empty, not finite or has another number of columns.

    Examples
    --------
    >>> pad([np.ones(2), np.ones(5)]).x.shape
    (2, 5, 1)
    """
    samples = [
        np.asarray(s, dtype=np.float64)[:, None] if s.ndim == 1 else np.asarray(s, dtype=np.float64)
        for s in sequences
    ]
    width = samples[0].shape[-1]
    for number, sample in enumerate(samples):
        if sample.ndim != 2 or not len(sample) or sample.shape[1] != width or not np.isfinite(sample).all():
            raise InputError(
                f"each sample must be finite, of shape (steps, {width}) with one step at least; sample {number} of shape {sample.shape} is not"
            )
    lengths = np.array([len(sample) for sample in samples])
    x = np.zeros((len(samples), lengths.max(), width))
    for row, sample in zip(x, samples, strict=True):
        row[: len(sample)] = sample
    return Samples(x, lengths)


def read_weight(sample_weight: ArrayLike | None, n: int) -> FloatArray:
    """Give the weights of n samples, 1 where none are given.

    Raises
    ------
    InputError
        If they are not n finite numbers of 0 or more, not all zero.
    """
    if sample_weight is None:
        return np.ones(n)
    weight = np.asarray(sample_weight, dtype=np.float64)
    if weight.shape != (n,) or not np.isfinite(weight).all() or (weight < 0).any() or not weight.any():
        raise InputError(
            f"sample_weight must be {n} finite numbers of 0 or more, not all zero, got shape {weight.shape}"
        )
    return weight


def merge_identical(samples: Samples, y: Any, weight: FloatArray) -> tuple[Samples, Any, FloatArray]:
    """Make identical samples one with the sum of their weights, in an order that depends on their content only.

    So a copy of a training sample cannot say when to stop, a weight of 2 is the same as giving a sample twice, and the
    order in which samples are given does not matter. ``y`` is (n, S) numbers or (n,) labels of any kind.

    Examples
    --------
    >>> _, y, weight = merge_identical(pad([np.ones(3)] * 5), np.zeros(5, np.int64), np.ones(5))
    >>> y, weight
    (array([0]), array([5.]))
    """
    lengths = np.zeros(len(y), np.int64) if samples.lengths is None else samples.lengths
    # Numbers by their bytes, labels by their names: those may be Python objects.
    labels = (label.tobytes() if y.ndim == 2 else repr(label).encode() for label in y)
    keys = np.array(
        [
            blake2b(x.tobytes() + length.tobytes() + label, digest_size=16).digest()
            for x, length, label in zip(samples.x, lengths, labels, strict=True)
        ]
    )
    _, first, group = np.unique(keys, return_index=True, return_inverse=True)
    return samples.take(first), y[first], np.bincount(group, weights=weight).astype(np.float64)


def split_samples(
    groups: IntArray, fraction: float, random: np.random.Generator, *, shuffle: bool
) -> tuple[IntArray, IntArray]:
    """Give the rows that train and the rows that say when to stop.

    Parameters
    ----------
    groups : array of shape (n,), int64
        The class of each sample; drawn rows keep the shares of the classes, and each class keeps one to train on.
    fraction : float
        Share of validation rows: one at least where one can be spared, none if it is 0.
    random : Generator
        Draws them.
    shuffle : bool
        If False they are the last rows.

    Examples
    --------
    >>> split_samples(np.array([0, 1, 0, 1]), 0.5, np.random.default_rng(0), shuffle=False)
    (array([0, 1]), array([2, 3]))
    """
    n = len(groups)
    if not shuffle:
        first = n - (max(1, round(fraction * n)) if fraction else 0)
        return np.arange(first), np.arange(first, n)
    order = random.permutation(n)
    members = [order[groups[order] == group] for group in np.unique(groups)]
    wanted = [min(round(fraction * len(rows)), len(rows) - 1) for rows in members]
    if fraction and not any(wanted):
        largest = int(np.argmax([len(rows) for rows in members]))
        wanted[largest] = min(1, len(members[largest]) - 1)
    valid = np.concatenate([rows[:count] for rows, count in zip(members, wanted, strict=True)])
    return np.setdiff1d(order, valid), np.sort(valid)
