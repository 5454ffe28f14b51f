"""The models that a network must beat, fitted and scored on the network's own windows, rows and targets.

A network that cannot beat the last value, a season ago, or a ridge regression on the same lags has learned nothing
that was worth its size. Each baseline is a small object with a ``name`` and ``fit(windows, train_rows, valid_rows)``;
what is fitted has ``predict(windows, rows)``. Fitting reads the windows and labels of ``train_rows`` and
``valid_rows`` and nothing after the last of these labels. ``valid_rows`` only choose (penalty, form, number of trees),
as they do for the network, which is not refitted on them either: so the comparison stays like with like.

Axes: n rows, S steps, K targets.
"""

from dataclasses import dataclass
from math import inf

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor

from heldout.check import InputError, check_number
from heldout.data.series import FloatArray, IntArray
from heldout.training.lags import Baseline, Forecast, LagWindows, check_fit_rows, check_rows, row_blocks, thin
from heldout.training.ridge import Ridge


@dataclass(frozen=True)
class LastValue:
    """The last value of the window at every step: the random walk, hard to beat on prices.

    Parameters
    ----------
    name : str, default "naive"
        What reports call it.
    """

    name: str = "naive"

    def fit(self, windows: LagWindows, train_rows: IntArray, valid_rows: IntArray) -> Forecast:  # noqa: ARG002 - the interface of all baselines
        """Learn nothing."""
        return _Constant(np.zeros((len(windows.steps), windows.values.shape[1])), from_last=True)


@dataclass(frozen=True)
class TrainMean:
    """The mean training label of each step and target: the constant of least squared error on the training rows.

    Parameters
    ----------
    name : str, default "mean"
        What reports call it.
    """

    name: str = "mean"

    def fit(self, windows: LagWindows, train_rows: IntArray, valid_rows: IntArray) -> Forecast:  # noqa: ARG002 - the interface of all baselines
        """Average the training labels."""
        check_fit_rows(windows, train_rows)
        return _Constant(np.stack([windows.values[train_rows + step].mean(axis=0) for step in windows.steps]))


@dataclass(frozen=True)
class Drift:
    """The last value plus step x slope, one slope for each target, by least squares over the training labels.

    ``slope = sum_h h mean(y_{t+h} - y_t) / sum_h h^2`` over training origins t and steps h. Over a window the slope
    would be mostly noise; the training rows' slope is the random walk with drift.

    Parameters
    ----------
    name : str, default "drift"
        What reports call it.
    """

    name: str = "drift"

    def fit(self, windows: LagWindows, train_rows: IntArray, valid_rows: IntArray) -> Forecast:  # noqa: ARG002 - the interface of all baselines
        """Take the slope from the training rows."""
        check_fit_rows(windows, train_rows)
        last = windows.values[train_rows].mean(axis=0)
        changes = np.stack([windows.values[train_rows + step].mean(axis=0) - last for step in windows.steps])
        steps = windows.steps.astype(np.float64)
        return _Constant(np.outer(steps, steps @ changes / (steps @ steps)), from_last=True)


@dataclass(frozen=True)
class Seasonal:
    """The value one season before each label (or as many whole seasons as reach back to the window).

    Parameters
    ----------
    season : int
        Rows in a season, at most the lookback, so that only the window is read; see `find_season`.
    name : str, default "seasonal"
        What reports call it.
    """

    season: int
    name: str = "seasonal"

    def fit(self, windows: LagWindows, train_rows: IntArray, valid_rows: IntArray) -> Forecast:  # noqa: ARG002 - the interface of all baselines
        """Learn nothing.

        Raises
        ------
        InputError
            If the season is longer than the window.
        """
        check_number("season", self.season, 1, inf)
        if self.season > windows.lookback:
            raise InputError(
                f"a season must fit the window, got {self.season} rows and lookback {windows.lookback}"
            )
        return _SeasonAgo(self.season)


@dataclass(frozen=True)
class Boosting:
    """Gradient-boosted trees on the lags: one model for all steps and targets, both told to it as features.

    The window is read relative to its last value, which is added back. Features: up to ``max_lags`` lags (the most
    recent, and those whole seasons ago), the value one season before the label where a season is given, the step, the
    target's number, the covariates at the origin. It is fitted to at most ``max_pairs`` (window, step, target) triples
    spread evenly over the training rows; as many validation triples say how many trees to keep.

    Parameters
    ----------
    name : str, default "boosting"
        What reports call it.
    season : int, optional
        Rows in a season, see `find_season`; used where it fits the window.
    max_lags : int, default 64
        Most lags read.
    max_pairs : int, default 50 000
        Most triples fitted.
    max_trees : int, default 300
        Most trees; 10 trees without gain on the validation rows end the growth, and those 10 are cut off again.

    References
    ----------
    Elsayed et al. 2021, Do we really need deep learning models for time series forecasting?, arXiv 2101.02118.
    """

    name: str = "boosting"
    season: int | None = None
    max_lags: int = 64
    max_pairs: int = 50_000
    max_trees: int = 300

    def fit(self, windows: LagWindows, train_rows: IntArray, valid_rows: IntArray) -> Forecast:
        """Grow trees on the training rows until the validation rows gain no more."""
        check_fit_rows(windows, train_rows, valid_rows)
        season = self.season if self.season is not None and self.season <= windows.lookback else None
        reader = _PairReader(_choose_lags(windows.lookback, season, self.max_lags), season)
        X, y = reader.labelled(windows, train_rows, self.max_pairs)
        X_val, y_val = reader.labelled(windows, valid_rows, self.max_pairs)
        trees = HistGradientBoostingRegressor(
            max_iter=self.max_trees, early_stopping=True, n_iter_no_change=10, tol=0.0, random_state=0
        )
        trees.fit(X, y, X_val=X_val, y_val=y_val)
        best = max(1, int(np.argmax(trees.validation_score_)))
        if (
            best < trees.n_iter_
        ):  # the trees grown while waiting stay in the model: grow it again without them
            trees = HistGradientBoostingRegressor(max_iter=best, early_stopping=False, random_state=0).fit(
                X, y
            )
        return _BoostingForecast(trees, reader)


def standard_baselines(season: int | None = None, *, lookback: int, n_targets: int = 1) -> list[Baseline]:
    """List the baselines that every series forecast is compared with, cheapest first.

    Parameters
    ----------
    season : int or None, default None
        Rows in a season, given or from `find_season`. The seasonal naive is left out where it is None, and where the
        season is longer than the window (say so to the user: a lookback of a season lets it in).
    lookback : int
        Rows in a window.
    n_targets : int, default 1
        Targets; with several, the ridge regression shared by all of them is listed beside the one for each.

    Returns
    -------
    list of Baseline
        Names: naive, mean, drift, seasonal (with a season), ridge, ridge shared (several targets), boosting.

    Examples
    --------
    >>> [baseline.name for baseline in standard_baselines(24, lookback=48)]
    ['naive', 'mean', 'drift', 'seasonal', 'ridge', 'boosting']
    """
    seasonal = [Seasonal(season)] if season is not None and season <= lookback else []
    linear = [Ridge(), *([Ridge(name="ridge shared", shared=True)] if n_targets > 1 else [])]
    return [LastValue(), TrainMean(), Drift(), *seasonal, *linear, Boosting(season=season)]


@dataclass(frozen=True, eq=False)
class _Constant:
    """A table (S, K), on top of the window's last value or of zero."""

    table: FloatArray
    from_last: bool = False

    def predict(self, windows: LagWindows, rows: IntArray) -> FloatArray:
        base = windows.values[rows][:, None, :] if self.from_last else np.zeros((len(rows), 1, 1))
        return base + self.table


@dataclass(frozen=True)
class _SeasonAgo:
    season: int

    def predict(self, windows: LagWindows, rows: IntArray) -> FloatArray:
        check_rows(rows, windows.lookback - 1, len(windows.values) - 1)
        return windows.values[rows[:, None] + _season_offsets(windows.steps, self.season)]


@dataclass(frozen=True, eq=False)
class _PairReader:
    """Features of (window, step, target) triples."""

    lags: IntArray
    season: int | None

    def labelled(self, windows: LagWindows, rows: IntArray, most: int) -> tuple[FloatArray, FloatArray]:
        """Features and labels of at most ``most`` triples, evenly spread."""
        total = len(rows) * len(windows.steps) * windows.values.shape[1]
        row, step, target = _unravel(windows, rows, thin(total, most))
        last = windows.values[row, target]
        return self.read(windows, row, step, target), windows.values[row + windows.steps[step], target] - last

    def read(self, windows: LagWindows, row: IntArray, step: IntArray, target: IntArray) -> FloatArray:
        values, last = windows.values, windows.values[row, target][:, None]
        parts = [
            values[row[:, None] - self.lags, target[:, None]] - last,
            windows.steps[step][:, None],
            target[:, None],
        ]
        if self.season is not None:
            ago = row + _season_offsets(windows.steps, self.season)[step]
            parts.append(values[ago, target][:, None] - last)
        if windows.covariates is not None:
            parts.append(windows.covariates[row])
        return np.hstack(parts)


@dataclass(frozen=True, eq=False)
class _BoostingForecast:
    trees: HistGradientBoostingRegressor
    reader: _PairReader

    def predict(self, windows: LagWindows, rows: IntArray) -> FloatArray:
        check_rows(rows, windows.lookback - 1, len(windows.values) - 1)
        S, K = len(windows.steps), windows.values.shape[1]
        forecast = windows.values[rows][:, None, :].repeat(S, axis=1)
        start = 0
        for block in row_blocks(rows, S * K * (len(self.reader.lags) + 3 + windows.n_columns)):
            triples = _unravel(windows, block, np.arange(len(block) * S * K))
            change = self.trees.predict(self.reader.read(windows, *triples))
            forecast[start : start + len(block)] += change.reshape(len(block), S, K)
            start += len(block)
        return forecast


def _season_offsets(steps: IntArray, season: int) -> IntArray:
    """Rows from the origin to the value whole seasons before each label, the latest that is not after the origin."""
    return steps - season * -(-steps // season)


def _choose_lags(lookback: int, season: int | None, most: int) -> IntArray:
    """Lags before the origin: all, or the most recent and up to a quarter of ``most`` whole seasons ago."""
    if lookback - 1 <= most:
        return np.arange(1, lookback)
    ago = np.arange(season, lookback, season) if season else np.zeros(0, np.int64)
    ago = ago[ago > most - most // 4][: most // 4]
    return np.union1d(np.arange(1, most - len(ago) + 1), ago).astype(np.int64)


def _unravel(windows: LagWindows, rows: IntArray, triples: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    shape = (len(rows), len(windows.steps), windows.values.shape[1])
    row, step, target = np.unravel_index(triples, shape)
    return rows[row], step, target
