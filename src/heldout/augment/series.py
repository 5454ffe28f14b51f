"""Operations on batches of series: jitter, scaling, magnitude and time warp, window slice; with `mixup`, what a fit draws.

None reverses, permutes or flips, and none reads beyond the window it is given or the padding at its end.
Axes: B batch, T time, F inputs, S steps ahead, K targets.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from torch import Tensor

from heldout.augment.mixup import Augmented, mixup
from heldout.check import InputError, check_number

# Why an option is not for forecasts.
_NOT_FOR_FORECASTS = {
    "magnitude_warp": "its factor changes along the window and says nothing of the steps ahead",
    "time_warp": "it changes the pace of the window and not that of the steps ahead",
    "window_slice": "it cuts off rows next to the steps ahead and changes the pace of the window",
}


def jitter(x: Tensor, sigma: float, *, generator: torch.Generator, lengths: Tensor | None = None) -> Tensor:
    """The batch with normal noise on every number.

    Parameters
    ----------
    x : Tensor of shape (B, T, F)
        Scaled inputs.
    sigma : float
        Standard deviation of the noise, in the units of ``x``; .03 is usual.
    generator : torch.Generator
        Where the chance comes from.
    lengths : Tensor of shape (B,), int64, optional
        Steps that hold data; the zeros after them stay.

    References
    ----------
    Um et al. 2017, arXiv 1706.00527, as all operations here but `window_slice` and `mixup`.

    Examples
    --------
    >>> jitter(torch.zeros(64, 100, 8), 0.03, generator=torch.Generator().manual_seed(0)).std()
    tensor(0.0300)
    """
    noise = sigma * _normal(x.shape, x, generator)
    if lengths is not None:
        noise *= _steps(x) <= _last(x, lengths)[:, :, None]
    return x + noise


def scaling(x: Tensor, sigma: float, *, generator: torch.Generator) -> Tensor:
    """The batch with each column of each sample times a factor around 1.

    Parameters
    ----------
    x, generator
        As in `jitter`.
    sigma : float
        Standard deviation of the factors, which are held within [0, 2]; .1 is usual.

    Examples
    --------
    >>> scaling(torch.ones(1, 3, 2), 0.1, generator=torch.Generator().manual_seed(0))
    tensor([[[1.1541, 0.9707],
             [1.1541, 0.9707],
             [1.1541, 0.9707]]])
    """
    return x * _factors(x, x.shape[2], sigma, generator)


def magnitude_warp(
    x: Tensor, sigma: float, *, generator: torch.Generator, knots: int = 4, lengths: Tensor | None = None
) -> Tensor:
    """The batch with each column of each sample times a smooth curve around 1.

    Parameters
    ----------
    x, generator, lengths
        As in `jitter`.
    sigma : float
        Standard deviation of the curve at its knots; it is held within [0, 2]; .2 is usual.
    knots : int, default 4
        Knots of the cubic spline between its two ends.

    Examples
    --------
    >>> x = magnitude_warp(torch.ones(500, 20, 1), 0.2, generator=torch.Generator().manual_seed(0))
    >>> bool((x.mean(0) - 1).abs().max() < 0.03), bool(x.std() > 0.1)
    (True, True)
    """
    return x * (1 + sigma * _curves(x, x.shape[2], knots, lengths, generator)).clamp(0, 2)


def time_warp(
    x: Tensor, sigma: float, *, generator: torch.Generator, knots: int = 4, lengths: Tensor | None = None
) -> Tensor:
    """The batch read at a pace that changes smoothly along each sample; first and last step stay.

    All columns of a sample are read at one pace, so that they stay in step.

    Parameters
    ----------
    x, generator, lengths
        As in `jitter`.
    sigma : float
        Standard deviation of the pace at its knots, before it is made to end at the last step; it is held within
        [0.1, 1.9], so that time never stands or runs back; .2 is usual.
    knots : int, default 4
        Knots of the cubic spline between its two ends.

    Examples
    --------
    >>> time_warp(torch.arange(5.0).view(1, 5, 1), 0.2, generator=torch.Generator().manual_seed(0)).flatten()
    tensor([0.0000, 0.9518, 1.9817, 3.1155, 4.0000])
    """
    pace = (1 + sigma * _curves(x, 1, knots, lengths, generator)[:, :, 0]).clamp(0.1, 1.9)
    pace[:, 0] = 0
    last = _last(x, lengths)
    passed = pace.cumsum(1)  # (B, T)
    return _read(x, passed / passed.gather(1, last).clamp_min(0.1) * last, last)


def window_slice(
    x: Tensor, share: float, *, generator: torch.Generator, lengths: Tensor | None = None
) -> Tensor:
    """The batch with a stretch of each sample, from a random step on, drawn out to the sample's length.

    Parameters
    ----------
    x, generator, lengths
        As in `jitter`.
    share : float
        Steps of the stretch, as a share of the sample's, rounded up; .9 is usual.

    References
    ----------
    Le Guennec, Malinowski & Tavenard 2016, hal-01357973.

    Examples
    --------
    >>> window_slice(torch.arange(5.0).view(1, 5, 1), 0.6, generator=torch.Generator().manual_seed(0)).flatten()
    tensor([1.0000, 1.5000, 2.0000, 2.5000, 3.0000])
    """
    last = _last(x, lengths)
    # Less a little, because 0.9 * 10 must not round up to 10.
    taken = ((last + 1) * share - 1e-6).ceil().clamp_min(2).minimum(last + 1) - 1  # steps between its ends
    start = torch.rand(len(x), 1, generator=generator, device=generator.device).to(x) * (last - taken + 1)
    start = start.floor().minimum(last - taken)
    return _read(x, start + _steps(x)[:, 0] * taken / last.clamp_min(1), last)


@dataclass(frozen=True, kw_only=True)
class SeriesAugmentation:
    """Which changes a batch of training samples goes through; 0 (1 for ``window_slice``) leaves one out.

    The stronger, the less the network can learn by heart, and the more samples no longer fit what they are to predict:
    for classes and numbers that sequences have, the label must not depend on what is changed.

    Forecasts allow ``jitter``, ``scaling`` and ``mixup``. There the noise leaves the last row of the targets alone, which
    the forecast starts from. The factor is one for all targets of a sample and for its ``y``, and covariates stay. As
    inputs and ``y`` are both relative to the window's offset, that is a series whose deviations from its last value
    (``window_norm="last"``), or from the training mean (``"none"``), are larger or smaller: for the first its level
    stays, and an offset need not be changed. (Differences are scaled about their mean in the inputs and about zero in
    ``y``: that errs by the drift times the factor less 1, which is zero on average.) Where windows are standardised the factor would be divided out again, so
    ``scaling`` is refused.

    Parameters
    ----------
    jitter : float, default 0
        Standard deviation of noise on the inputs, in units of the scaled columns, in [0, 1]. Usual: .03; less for a
        target in levels, whose steps from row to row are small against its spread.
    scaling : float, default 0
        Standard deviation of a factor per sample and column, in [0, 0.5]. Usual: .1.
    magnitude_warp : float, default 0
        Standard deviation of a factor that changes along the sample, in [0, 0.5]. Usual: .2.
    time_warp : float, default 0
        Standard deviation of the pace, in [0, 0.5]. Usual: .2.
    window_slice : float, default 1
        Share of each sample that is kept and drawn out, in [0.5, 1]. Usual: .9.
    mixup : float, default 0
        Alpha of the Beta distribution of the shares of two samples, in [0, 10]. Usual: .2 for classes, 2 for numbers.
    knots : int, default 4
        Knots of the warps, in [1, 100]; more change faster.
    bandwidth : float, default 0.5
        How similar numbers must be to be mixed, in standard deviations of the batch, in (0, 100].

    Raises
    ------
    InputError
        If a value is out of its range.

    Examples
    --------
    >>> options = SeriesAugmentation(scaling=0.1)
    >>> x, y = torch.ones(2, 3, 2), torch.ones(2, 1, 1)
    >>> new = options.apply(x, y, n_targets=1, generator=torch.Generator().manual_seed(0))
    >>> new.x[:, -1], new.y.flatten()
    (tensor([[1.1541, 1.0000],
            [0.9707, 1.0000]]), tensor([1.1541, 0.9707]))
    """

    jitter: float = 0.0
    scaling: float = 0.0
    magnitude_warp: float = 0.0
    time_warp: float = 0.0
    window_slice: float = 1.0
    mixup: float = 0.0
    knots: int = 4
    bandwidth: float = 0.5

    def __post_init__(self) -> None:
        check_number("jitter", self.jitter, 0, 1)
        for name in ("scaling", "magnitude_warp", "time_warp"):
            check_number(name, getattr(self, name), 0, 0.5)
        check_number("window_slice", self.window_slice, 0.5, 1)
        check_number("mixup", self.mixup, 0, 10)
        check_number("bandwidth", self.bandwidth, 0, 100, open_low=True)
        check_number("knots", self.knots, 1, 100)
        if self.knots != int(self.knots):
            raise InputError(f"knots must be a whole number, got {self.knots!r}")

    def check_forecast(self, *, standardised: bool = False) -> None:
        """Raise an error if an option is on that forecasts do not allow.

        Parameters
        ----------
        standardised : bool, default False
            Each window is divided by its own width.

        Raises
        ------
        InputError
            With the reason.

        Examples
        --------
        >>> SeriesAugmentation(jitter=0.03).check_forecast()
        """
        for name, reason in _NOT_FOR_FORECASTS.items():
            off = 1.0 if name == "window_slice" else 0.0
            if (value := getattr(self, name)) != off:
                raise InputError(
                    f"{name} must be {off:g} for a forecast, got {value!r}, because {reason}: use jitter, scaling or mixup"
                )
        if self.scaling and standardised:
            raise InputError(
                f"random scaling must be 0 with window_norm='standard', got {self.scaling!r}, because dividing each window by its "
                "own width takes a factor out again: use jitter or mixup, or window_norm='last'"
            )

    def apply(
        self,
        x: Tensor,
        y: Tensor,
        *,
        generator: torch.Generator,
        n_targets: int = 0,
        lengths: Tensor | None = None,
        scale: Tensor | None = None,
    ) -> Augmented:
        """Give a batch to train on instead; the tensors given are not changed.

        Parameters
        ----------
        x : Tensor of shape (B, T, F)
            Scaled inputs.
        y : Tensor of shape (B, S, K) float, or (B,) int64
            What is to be predicted.
        generator : torch.Generator
            Where the chance comes from: the same state gives the same batch.
        n_targets : int, default 0
            K for forecasts, whose first K inputs are the targets' own past; 0 for whole sequences.
        lengths : Tensor of shape (B,), int64, optional
            Steps that hold data, the rest being zeros at the end, which stay.
        scale : Tensor of shape (B, 1, K), optional
            Width of each window where windows are standardised.

        Returns
        -------
        Augmented

        Raises
        ------
        InputError
            As `check_forecast`.
        """
        if n_targets:
            self.check_forecast(standardised=scale is not None)
            x, y = self._forecast(x, y, n_targets, lengths, generator)
        else:
            x = self._sequences(x, lengths, generator)
        if not self.mixup:
            return Augmented(x, y)
        return mixup(
            x, y, self.mixup, generator=generator, lengths=lengths, scale=scale, bandwidth=self.bandwidth
        )

    def _forecast(
        self, x: Tensor, y: Tensor, n_targets: int, lengths: Tensor | None, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        if self.scaling:
            factor = _factors(x, 1, self.scaling, generator)  # (B, 1, 1)
            x, y = torch.cat([x[:, :, :n_targets] * factor, x[:, :, n_targets:]], dim=2), y * factor
        if self.jitter:
            samples, last = torch.arange(len(x), device=x.device), _last(x, lengths).expand(len(x), 1)[:, 0]
            start = x[samples, last, :n_targets]
            x = jitter(x, self.jitter, generator=generator, lengths=lengths)
            x[samples, last, :n_targets] = start
        return x, y

    def _sequences(self, x: Tensor, lengths: Tensor | None, generator: torch.Generator) -> Tensor:
        if self.window_slice < 1:
            x = window_slice(x, self.window_slice, generator=generator, lengths=lengths)
        if self.time_warp:
            x = time_warp(x, self.time_warp, generator=generator, knots=self.knots, lengths=lengths)
        if self.magnitude_warp:
            x = magnitude_warp(x, self.magnitude_warp, generator=generator, knots=self.knots, lengths=lengths)
        if self.scaling:
            x = scaling(x, self.scaling, generator=generator)
        if self.jitter:
            x = jitter(x, self.jitter, generator=generator, lengths=lengths)
        return x


def _normal(shape: tuple[int, ...], x: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normal numbers, drawn where the generator is."""
    return torch.randn(shape, generator=generator, device=generator.device).to(x)


def _factors(x: Tensor, n_columns: int, sigma: float, generator: torch.Generator) -> Tensor:
    """(B, 1, n_columns) around 1; the bounds are symmetric, so that the mean is 1, and exclude a change of sign."""
    return (1 + sigma * _normal((len(x), 1, n_columns), x, generator)).clamp(0, 2)


def _steps(x: Tensor) -> Tensor:
    return torch.arange(x.shape[1], device=x.device)[:, None]  # (T, 1)


def _last(x: Tensor, lengths: Tensor | None) -> Tensor:
    """(B, 1) number of the last step that holds data."""
    if lengths is None:
        return torch.full((len(x), 1), x.shape[1] - 1, device=x.device)
    return (lengths - 1).clamp_min(0)[:, None]


@lru_cache(maxsize=64)
def _spline(n_steps: int, knots: int) -> Tensor:
    """(T, knots + 2): values at the knots, the two ends among them, to the cubic spline at every step."""
    places = np.linspace(0, 1, knots + 2)
    return torch.from_numpy(CubicSpline(places, np.eye(len(places)))(np.linspace(0, 1, n_steps)))


def _curves(
    x: Tensor, n_columns: int, knots: int, lengths: Tensor | None, generator: torch.Generator
) -> Tensor:
    """(B, T, n_columns) smooth curves around 0 over the whole of each sample, standard normal at the knots."""
    values = _normal((len(x), knots + 2, n_columns), x, generator)
    curves = _spline(x.shape[1], knots).to(x) @ values
    if lengths is None:
        return curves
    # The curve of a short sample is the same curve, read faster.
    places = _steps(x)[:, 0] * ((x.shape[1] - 1) / _last(x, lengths).clamp_min(1))
    last = _last(x, None)
    return _read(curves, places.minimum(last), last)


def _read(x: Tensor, places: Tensor, last: Tensor) -> Tensor:
    """The samples at ``places`` (B, T) between their steps, by linear interpolation; what follows ``last`` stays."""
    n, n_steps, n_columns = x.shape
    steps = _steps(x)[:, 0]
    places = torch.where(steps <= last, places, steps.to(places.dtype))
    before = places.long()
    after = (before + 1).minimum(last).maximum(before)
    first = torch.arange(n, device=x.device)[:, None] * n_steps
    rows = x.reshape(n * n_steps, n_columns)
    low = rows.index_select(0, (before + first).flatten())
    high = rows.index_select(0, (after + first).flatten())
    return torch.lerp(low, high, (places - before).flatten()[:, None].to(x.dtype)).view_as(x)
