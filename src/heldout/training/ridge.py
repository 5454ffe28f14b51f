"""Ridge regression, the linear model that a network must beat: streamed over blocks, its penalty chosen on other rows.

Axes: n rows, L lookback, S steps, K targets, C covariates, p features, m outputs.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from math import inf
from typing import NamedTuple, Self

import numpy as np

from heldout.check import InputError
from heldout.data.series import FloatArray, IntArray
from heldout.training.lags import Forecast, LagWindows, check_fit_rows, row_blocks, thin

PENALTIES = tuple(float(penalty) for penalty in np.logspace(4, -8, 25))
"""Ridge penalties tried, per row and on standardised features, the strongest first (it wins ties)."""
MAX_ROWS = 100_000
"""Training rows, and validation rows, that a `Ridge` reads at most, evenly spread: bounds its time."""
MAX_FEATURES = 2048
"""With more features than this a `Ridge` reads each target's own lags only: time grows with their cube."""


@dataclass(frozen=True, eq=False)
class RidgeFit:
    """A ridge regression that was fitted: ``x @ coefficients + intercept``.

    Parameters
    ----------
    coefficients : array of shape (n_features, n_outputs)
        On the features as they were given (not standardised).
    intercept : array of shape (n_outputs,)
        The forecast where all features are 0.
    penalty : float
        The chosen penalty, per row: ``alpha / n`` of scikit-learn's `Ridge` on standardised features.
    valid_loss : float
        Mean squared error on the validation blocks, over rows and outputs.
    """

    coefficients: FloatArray
    intercept: FloatArray
    penalty: float
    valid_loss: float


Blocks = Iterable[tuple[FloatArray, FloatArray]]
"""Blocks of rows: features (n, p) and outputs (n, m)."""


def fit_ridge(train: Blocks, valid: Blocks, *, penalties: Sequence[float] = PENALTIES) -> RidgeFit:
    """Ridge regression over streamed blocks of rows, its penalty chosen on other rows.

    Minimises ``|Y - a - Z B|^2 / n + penalty |B|^2`` with Z the features standardised on the training blocks. Each
    stream is read once: the training blocks give the correlation matrix (about the first block's mean, so that a large
    level costs no digits), one eigendecomposition gives the solution for every penalty, and the validation blocks'
    second moments give every penalty's loss. Memory is p x p, whatever the number of rows.

    Parameters
    ----------
    train, valid : iterable of (features, outputs)
        Blocks of shapes (n, p) and (n, m), float64, finite; block lengths may differ.
    penalties : sequence of float, default 25 from 1e4 to 1e-8
        Above 0, per row. A higher penalty shrinks more, towards the mean of the outputs. The first of equals wins.

    Returns
    -------
    RidgeFit
        One penalty for all outputs: the one of least mean squared error on ``valid``.

    Raises
    ------
    InputError
        If a stream is empty.

    References
    ----------
    Hoerl and Kennard 1970, Ridge regression, Technometrics 12(1). Chan, Golub and LeVeque 1983 for sums about a shift.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(300, 2))
    >>> y = x @ np.array([[2.0], [0.0]]) + 1
    >>> found = fit_ridge([(x[:100], y[:100]), (x[100:200], y[100:200])], [(x[200:], y[200:])])
    >>> found.coefficients.round(6).ravel() + 0.0, found.intercept.round(6)
    (array([2., 0.]), array([1.]))
    """
    return _Problem.read(train, valid).solve(slice(None), penalties)


@dataclass(frozen=True, eq=False)
class _Problem:
    """Moments of training and validation rows in the eigenvectors of the features' correlation: each penalty is cheap."""

    x: FloatArray
    y: FloatArray
    scale: FloatArray
    Q: FloatArray
    eigenvalues: FloatArray
    target: FloatArray
    cross: FloatArray
    square: FloatArray
    valid_yy: FloatArray

    @classmethod
    def read(cls, train: Blocks, valid: Blocks) -> Self:
        (x, y), fitted = _moments(train)
        x, y = x + fitted.x, y + fitted.y
        xx, xy = fitted.xx - np.outer(fitted.x, fitted.x), fitted.xy - np.outer(fitted.x, fitted.y)
        _, tested = _moments(valid, (x, y))
        deviation = np.sqrt(np.maximum(np.diag(xx), 0))
        scale = np.where(deviation > 1e-10 * np.abs(x), deviation, inf)  # a constant feature gets no weight
        eigenvalues, Q = np.linalg.eigh(xx / np.outer(scale, scale))
        return cls(
            x=x,
            y=y,
            scale=scale,
            Q=Q,
            eigenvalues=np.maximum(eigenvalues, 0),
            target=Q.T @ (xy / scale[:, None]),
            cross=Q.T @ (tested.xy / scale[:, None]),
            square=Q.T @ (tested.xx / np.outer(scale, scale)) @ Q,
            valid_yy=tested.yy,
        )

    def solve(self, outputs: slice, penalties: Sequence[float]) -> RidgeFit:
        """Fit some of the outputs, with one penalty for them."""
        target, cross = self.target[:, outputs], self.cross[:, outputs]
        losses = []
        for penalty in penalties:
            W = target / (self.eigenvalues + penalty)[:, None]
            error = self.valid_yy[outputs].sum() + np.vdot(W, self.square @ W - 2 * cross)
            losses.append(float(error) / target.shape[1])
        best = int(np.argmin(losses))
        W = target / (self.eigenvalues + penalties[best])[:, None]
        coefficients = (self.Q @ W) / self.scale[:, None]
        intercept = self.y[outputs] - self.x @ coefficients
        return RidgeFit(coefficients, intercept, float(penalties[best]), losses[best])


class _Moments(NamedTuple):
    """Means over rows, about a point, of features, outputs and their products."""

    x: FloatArray
    y: FloatArray
    xx: FloatArray
    xy: FloatArray
    yy: FloatArray


Point = tuple[FloatArray, FloatArray]


def _moments(blocks: Blocks, about: Point | None = None) -> tuple[Point, _Moments]:
    """Moments about ``about``, or about the first block's mean, and that point."""
    total, n = None, 0
    for X, Y in blocks:
        if len(X) == 0:
            continue
        x, y = about = about or (X.mean(axis=0), Y.mean(axis=0))
        dX, dY = X - x, Y - y
        part = _Moments(dX.sum(axis=0), dY.sum(axis=0), dX.T @ dX, dX.T @ dY, (dY**2).sum(axis=0))
        total = part if total is None else _Moments(*(a + b for a, b in zip(total, part, strict=True)))
        n += len(X)
    if total is None or about is None:
        raise InputError("ridge needs at least one training row and one validation row, got none")
    return about, _Moments(*(a / n for a in total))


Features = Callable[[LagWindows, IntArray], FloatArray]
"""What a `Ridge` reads instead of lags: windows and origins (n,) to features (n, p). No row after an origin may be read."""


@dataclass(frozen=True)
class Har:
    """Means of the last 1, 5 and 22 rows of one column: the features of the HAR model of daily volatility.

    Parameters
    ----------
    covariate : int or None, default None
        The number of the covariate that holds the daily value; None where it is the first target.

    References
    ----------
    Corsi 2009, A simple approximate long-memory model of realized volatility, Journal of Financial Econometrics 7(2).

    Examples
    --------
    >>> windows = LagWindows(np.arange(30.0)[:, None], 22, np.array([1]))
    >>> Har()(windows, np.array([21]))
    array([[21. , 19. , 10.5]])
    """

    covariate: int | None = None

    def __call__(self, windows: LagWindows, rows: IntArray) -> FloatArray:
        """Give day, week and month, shape (n, 3).

        Raises
        ------
        InputError
            If the windows are shorter than 22 rows or there is no such covariate.
        """
        if windows.lookback < 22:
            raise InputError(f"HAR needs windows of at least 22 rows, got lookback {windows.lookback}")
        if self.covariate is None:
            past = windows.past(rows, slice(0, 1))
        else:
            past = windows.past_covariates(rows, slice(self.covariate, self.covariate + 1))
        if past.shape[2] != 1:
            count = windows.n_columns - windows.values.shape[1]
            raise InputError(f"Har reads a covariate from 0 to {count} - 1, got {self.covariate}")
        return np.stack([past[:, -days:, 0].mean(axis=1) for days in (1, 5, 22)], axis=1)


@dataclass(frozen=True)
class Ridge:
    """Ridge regression from the window straight to every step: the linear autoregression, with covariates if they help.

    On the validation rows it chooses for each target

    - the penalty;
    - what it reads: the target's own lags, or the lags of all targets and covariates (where there are covariates, and
      at most `MAX_FEATURES` features);
    - whether the window's last value is subtracted from window and labels and added back (which follows a wandering
      level) or not (which pulls back to the mean). Every column then loses its own; a covariate's stays as a feature.

    It is not refitted on the validation rows. At most `MAX_ROWS` rows of each kind are read.

    Parameters
    ----------
    name : str, default "ridge"
        What reports call it.
    shared : bool, default False
        One map for all targets, each target a sample read from its own lags, instead of one map each: fewer
        coefficients and more rows for each, often the strongest linear forecast of columns of one kind.
    features : callable (windows, rows) -> array of shape (n, n_features), optional
        Read for all targets instead of lags, for instance `Har`. It sees the window as it is; where the last value is
        subtracted, then from the labels alone. A callable whose ``repr`` is alike in every process: a frozen dataclass.
    penalties : sequence of float, default as `fit_ridge`
        Penalties tried.

    Raises
    ------
    InputError
        If both ``shared`` and ``features`` are given, or the ``repr`` of ``features`` is a memory address.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> leader = rng.normal(size=(300, 1))
    >>> windows = LagWindows(np.roll(leader, 3, axis=0), 6, np.array([1]), leader)
    >>> fitted = Ridge().fit(windows, np.arange(10, 200), np.arange(201, 250))
    >>> forecast = fitted.predict(windows, np.array([280]))
    >>> bool(abs(forecast - windows.ahead(np.array([280]))) < 1e-6)
    True
    """

    name: str = "ridge"
    shared: bool = False
    features: Features | None = None
    penalties: tuple[float, ...] = PENALTIES

    def __post_init__(self) -> None:
        if self.shared and self.features is not None:
            raise InputError(
                "a shared ridge reads each target's own lags, got features too; leave one of the two out"
            )
        if re.search(" at 0x[0-9a-fA-F]+", repr(self.features)):
            raise InputError(
                f"features need a repr that is alike in every process, got {self.features!r}; make it a frozen dataclass with __call__"
            )

    def fit(self, windows: LagWindows, train_rows: IntArray, valid_rows: IntArray) -> Forecast:
        """Fit each choice on the training rows and keep, for each target, the one that is best on the validation rows."""
        check_fit_rows(windows, train_rows, valid_rows)
        rows = [part[thin(len(part), MAX_ROWS)] for part in (train_rows, valid_rows)]
        tried = [self._fit_lags(windows, rows, from_last=from_last) for from_last in (True, False)]
        if self.features is None and not self.shared and _reads_all(windows):
            tried += [self._fit_all(windows, rows, from_last=from_last) for from_last in (True, False)]
        best = [min(parts, key=lambda part: part[1].valid_loss) for parts in zip(*tried, strict=True)]
        return RidgeForecast(tuple(best))

    def _fit_lags(
        self, windows: LagWindows, rows: Sequence[IntArray], *, from_last: bool
    ) -> "list[tuple[_Linear, RidgeFit]]":
        """Maps from each target's own lags, or the map from the features given."""
        targets = [slice(k, k + 1) for k in range(windows.values.shape[1])]
        if self.features is None:
            forms = [_Linear(k, from_last, _Lags(k, from_last), windows.lookback) for k in targets]
        else:
            width = windows.lookback * windows.n_columns
            forms = [_Linear(slice(0, len(targets)), from_last, self.features, width)]
        groups = [forms] if self.shared else [[form] for form in forms]
        parts = []
        for group in groups:
            train, valid = (
                chain.from_iterable([form.blocks(windows, part) for form in group]) for part in rows
            )
            fit = fit_ridge(train, valid, penalties=self.penalties)
            parts += [(form, fit) for form in group]
        return parts

    def _fit_all(
        self, windows: LagWindows, rows: Sequence[IntArray], *, from_last: bool
    ) -> "list[tuple[_Linear, RidgeFit]]":
        """Maps from the lags of all columns: the moments are read once, each target has its own penalty."""
        K, width = windows.values.shape[1], windows.lookback * windows.n_columns
        lags = _Lags(slice(0, K), from_last, covariates=True)
        train, valid = (_Linear(slice(0, K), from_last, lags, width).blocks(windows, part) for part in rows)
        problem = _Problem.read(train, valid)
        forms = [_Linear(slice(k, k + 1), from_last, lags, width) for k in range(K)]
        return [(form, problem.solve(slice(k, None, K), self.penalties)) for k, form in enumerate(forms)]


def _reads_all(windows: LagWindows) -> bool:
    return windows.values.shape[1] < windows.n_columns <= MAX_FEATURES // windows.lookback


@dataclass(frozen=True)
class _Lags:
    """The windows of some columns side by side; targets first, each column oldest first."""

    targets: slice
    from_last: bool
    covariates: bool = False

    def __call__(self, windows: LagWindows, rows: IntArray) -> FloatArray:
        past = windows.past(rows, self.targets)
        more = windows.past_covariates(rows, slice(None) if self.covariates else slice(0))
        if self.from_last:
            past = past - past[:, -1:]
            more[:, :-1] -= more[:, -1:]
        return np.concatenate([past, more], axis=2).transpose(0, 2, 1).reshape(len(rows), -1)


@dataclass(frozen=True)
class _Linear:
    """What a linear model reads and says for some targets; ``width`` numbers are gathered for a row."""

    targets: slice
    from_last: bool
    features: Features
    width: int

    def inputs(self, windows: LagWindows, rows: IntArray) -> FloatArray:
        X = np.asarray(self.features(windows, rows), dtype=np.float64)
        if X.ndim != 2 or len(X) != len(rows):
            raise InputError(
                f"features must give a table of {len(rows)} rows, one a window, got shape {X.shape}"
            )
        return X

    def base(self, windows: LagWindows, rows: IntArray) -> FloatArray:
        last = windows.values[rows][:, None, self.targets]
        return last if self.from_last else np.zeros_like(last)

    def blocks(self, windows: LagWindows, rows: IntArray) -> Iterator[tuple[FloatArray, FloatArray]]:
        for block in self.row_blocks(windows, rows):
            labels = windows.ahead(block, self.targets) - self.base(windows, block)
            yield self.inputs(windows, block), labels.reshape(len(block), -1)

    def row_blocks(self, windows: LagWindows, rows: IntArray) -> Iterator[IntArray]:
        return row_blocks(rows, self.width + len(windows.steps) * windows.values.shape[1])


@dataclass(frozen=True, eq=False)
class RidgeForecast:
    """A fitted `Ridge`: what each target, or all of them where features are given, is read from and mapped by.

    Parameters
    ----------
    parts : tuple of (form, RidgeFit)
        ``form.from_last`` says whether the window's last value is subtracted and added back, ``form.features`` what is
        read.
    """

    parts: tuple[tuple[_Linear, RidgeFit], ...]

    def predict(self, windows: LagWindows, rows: IntArray) -> FloatArray:
        """Forecast at each origin, shape (n, n_steps, n_targets)."""
        S = len(windows.steps)
        forecast = np.empty((len(rows), S, windows.values.shape[1]))
        for form, fit in self.parts:
            start = 0
            for block in form.row_blocks(windows, rows):
                flat = form.inputs(windows, block) @ fit.coefficients + fit.intercept
                stop = start + len(block)
                base = form.base(windows, block)
                forecast[start:stop, :, form.targets] = flat.reshape(len(block), S, -1) + base
                start = stop
        return forecast
