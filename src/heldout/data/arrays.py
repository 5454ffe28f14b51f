"""`ArrayData`: windows that are there already, with numbers or classes to predict."""

import numpy as np
import torch
from numpy.typing import ArrayLike, DTypeLike
from torch import Tensor

from heldout.check import InputError
from heldout.data.windows import Batch, Source


class ArrayData(Source):
    """Samples of shape (T, F) with targets; a source of batches for `heldout.training.loop.train`.

    Parameters
    ----------
    x : array of shape (n, T, F)
        Inputs, already on a common scale.
    y : array of shape (n,) of int, or (n, S, K) of float
        Class numbers from 0, or what is to be forecast.
    lengths : array of shape (n,) of int, optional
        Steps of each sample that hold data, the rest being padding at its end.
    weight : array of shape (n,), optional
        How much each sample counts in the mean of the losses; about 1 on average.
    dtype : dtype, default float32
        Precision of ``x``, and of what a network of that precision makes of it.

    Raises
    ------
    InputError
        If shapes do not agree, or a value that is no padding is not finite.

    Examples
    --------
    >>> data = ArrayData(np.zeros((5, 20, 3)), np.array([0, 1, 1, 0, 1]))
    >>> len(data), data.gather(torch.tensor([0, 4])).x.shape
    (5, torch.Size([2, 20, 3]))
    """

    def __init__(
        self,
        x: ArrayLike,
        y: ArrayLike,
        *,
        lengths: ArrayLike | None = None,
        weight: ArrayLike | None = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        inputs, targets = np.asarray(x, dtype=dtype), np.asarray(y)
        if inputs.ndim != 3 or len(inputs) != len(targets):
            raise InputError(
                f"x must be (n, T, F) and y hold n targets, got {inputs.shape} and {targets.shape}"
            )
        self.x = torch.from_numpy(inputs.copy())
        self.y = torch.from_numpy(targets.astype(np.float32 if targets.ndim == 3 else np.int64))
        self.weight = None if weight is None else torch.from_numpy(np.array(weight, dtype=np.float32))
        self.lengths: Tensor | None = None
        if lengths is not None:
            self.lengths = torch.from_numpy(np.array(lengths, dtype=np.int64))
            padding = torch.arange(self.x.shape[1]) >= self.lengths[:, None]
            self.x[padding] = 0.0
        if not self.x.isfinite().all():
            sample, step, column = (int(number) for number in (~self.x.isfinite()).nonzero()[0])
            raise InputError(
                f"x must be finite, sample {sample} is not in step {step}, column {column}: fill or drop it"
            )

    def __len__(self) -> int:
        return len(self.x)

    def gather(self, rows: Tensor, *, labelled: bool = True) -> Batch:
        """Give the samples with these numbers.

        Parameters
        ----------
        rows : Tensor of shape (B,), int64
            Sample numbers.
        labelled : bool, default True
            Also give ``y``.

        Returns
        -------
        Batch
        """
        y = self.y[rows] if labelled else torch.empty(0)
        return Batch(
            x=self.x[rows],
            y=y,
            lengths=None if self.lengths is None else self.lengths[rows],
            weight=None if self.weight is None else self.weight[rows],
        )
