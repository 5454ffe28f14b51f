"""`Prepare`: what is learned from training rows to turn raw series into a network's inputs, and to turn forecasts back.

Everything here is fitted on the rows that training samples can see and applied row by row with no look ahead: filling
looks back, differences look back one row, bounds, centres and widths come from training rows only.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np
import torch

from heldout.check import InputError
from heldout.data.series import FloatArray, IntArray, SeriesData
from heldout.data.transforms import (
    check_positive,
    choose_transforms,
    fill_forward,
    is_differenced,
    is_log,
    seen_rows,
)
from heldout.data.windows import Windows
from heldout.recipe import Recipe

_FLOAT32_MAX = float(np.finfo(np.float32).max)


@dataclass(frozen=True, kw_only=True)
class Prepare:
    """Fitted preparation of a `SeriesData`: transform, fill, bound, scale; and back.

    Make one with `Prepare.fit`. All fields are plain numbers and strings, so that `to_dict` is JSON.

    Attributes
    ----------
    columns : tuple of str
        Input columns: targets, past covariates, future covariates.
    n_targets, n_future : int
        How many of them are targets (first) and future covariates (last).
    transforms : tuple of str
        What is done to each column first.
    reasons : tuple of str
        Why, for each target.
    medians, minima : tuple of float
        Training median of each raw column, for gaps longer than ``fill_limit``; and its least training value.
    gappy : tuple of int
        Columns with missing training values; each gets an indicator input.
    bounds : tuple of (float, float)
        Lowest and highest transformed value let through.
    centers, widths : tuple of tuple of float
        One row over all series, or a row per series.
    groups : tuple of str
        The series the rows of ``centers`` belong to; empty when scaled over all.
    filled, clipped : tuple of int
        How many training values of each column were filled and how many were out of bounds.
    """

    columns: tuple[str, ...]
    n_targets: int
    n_future: int
    transforms: tuple[str, ...]
    reasons: tuple[str, ...]
    fill_limit: int
    window_norm: str
    medians: tuple[float, ...]
    minima: tuple[float, ...]
    gappy: tuple[int, ...]
    bounds: tuple[tuple[float, float], ...]
    centers: tuple[tuple[float, ...], ...]
    widths: tuple[tuple[float, ...], ...]
    groups: tuple[str, ...]
    static_names: tuple[str, ...]
    static_center: tuple[float, ...]
    static_width: tuple[float, ...]
    filled: tuple[int, ...]
    clipped: tuple[int, ...]

    @classmethod
    def fit(cls, data: SeriesData, rows: IntArray, lookback: int, recipe: Recipe) -> Self:
        """Learn the preparation from the rows that training samples can see.

        Parameters
        ----------
        data : SeriesData
            The series.
        rows : array of shape (n_samples,), int64
            Origins of the training samples. Read are, per series, the rows from the start of its first window to the
            last label of its last sample; no later row.
        lookback : int
            Rows in a window.
        recipe : Recipe
            ``transform``, ``fill_limit``, ``outliers``, ``scaling``, ``scale_by``, ``window_norm``.

        Returns
        -------
        Prepare

        Raises
        ------
        InputError
            If a logarithm is asked for and a value is not positive, or a target column holds nothing.
        """
        columns = (*data.targets, *data.past, *data.future)
        seen = seen_rows(data, rows, lookback)
        transforms, reasons = choose_transforms(data, rows, lookback, recipe.transform)
        by_series = recipe.scale_by == "series"
        prepare = cls(
            columns=columns,
            n_targets=len(data.targets),
            n_future=len(data.future),
            transforms=transforms,
            reasons=reasons,
            fill_limit=recipe.fill_limit,
            window_norm=_choose_window_norm(recipe, transforms[: len(data.targets)]),
            medians=tuple(_median(data.values[seen, c]) for c in data.indices(columns)),
            minima=tuple(
                float(np.nanmin(data.values[seen, c], initial=np.inf)) for c in data.indices(columns)
            ),
            gappy=tuple(
                n for n, c in enumerate(data.indices(columns)) if np.isnan(data.values[seen, c]).any()
            ),
            bounds=(),
            centers=(),
            widths=(),
            groups=data.ids if by_series else (),
            static_names=data.static_names,
            static_center=(),
            static_width=(),
            filled=tuple(int(np.isnan(data.values[seen, c]).sum()) for c in data.indices(columns)),
            clipped=(),
        )
        return prepare._fit_bounds_and_scales(data, seen, recipe)._fit_static(data, rows)

    def _fit_bounds_and_scales(self, data: SeriesData, seen: np.ndarray, recipe: Recipe) -> Self:
        bounds, centers, widths, clipped = [], [], [], []
        group = data.series_of_row[seen] if self.groups else np.zeros(int(seen.sum()), np.int64)
        for number in range(len(self.columns)):
            x = self._transformed(data, number)[seen]
            low, high = _robust_bounds(x, recipe.outliers)
            clipped.append(int(((x < low) | (x > high)).sum()))
            x = x.clip(low, high)
            bounds.append((low, high))
            pairs = [_center_width(x[group == g], recipe.scaling) for g in range(max(1, len(self.groups)))]
            centers.append([pair[0] for pair in pairs])
            widths.append([pair[1] for pair in pairs])
        return replace(
            self,
            bounds=tuple(bounds),
            centers=tuple(zip(*centers, strict=True)),
            widths=tuple(zip(*widths, strict=True)),
            clipped=tuple(clipped),
        )

    def _fit_static(self, data: SeriesData, rows: IntArray) -> Self:
        if not data.static_names:
            return self
        values = data.static[np.unique(data.series_of_row[rows])]
        width = values.std(axis=0)
        return replace(
            self,
            static_center=tuple(values.mean(axis=0)),
            static_width=tuple(np.where(width > 0, width, 1.0)),
        )

    def apply(self, data: SeriesData, lookback: int) -> Windows:
        """Prepare all rows of some series; a row's result depends on that row and earlier ones only.

        Parameters
        ----------
        data : SeriesData
            The series that `fit` saw, longer ones, or others with the same columns.
        lookback : int
            Rows in a window.

        Returns
        -------
        Windows

        Raises
        ------
        InputError
            If a column is missing, a logarithm meets a value that is not positive, a value does not fit float32, or
            scales are per series and a series is new.
        """
        center, width = self._row_scales(data)
        n_inputs = len(self.columns) + len(self.gappy)
        inputs = np.empty((data.n_rows, n_inputs), np.float32)
        level = np.empty((data.n_rows, self.n_targets))
        for number, name in enumerate(self.columns):
            x = self._transformed(data, number).clip(*self.bounds[number])
            x = (x - center[:, number]) / width[:, number]
            _check_float32(x, name, data)
            inputs[:, number] = x
            if number < self.n_targets:
                level[:, number] = self._level(data, number, center[:, number], width[:, number])
        for place, number in enumerate(self.gappy, start=len(self.columns)):
            inputs[:, place] = np.isnan(data.values[:, data.columns.index(self.columns[number])])
        first_future = len(self.columns) - self.n_future
        tensor = torch.from_numpy(inputs)
        return Windows(
            inputs=tensor,
            level=torch.from_numpy(level),
            lookback=lookback,
            steps=torch.from_numpy(data.steps),
            window_norm=self.window_norm,
            differenced=torch.tensor([is_differenced(name) for name in self.transforms[: self.n_targets]]),
            future=tensor[:, first_future : len(self.columns)] if self.n_future else None,
            static=self._static(data),
            series=torch.from_numpy(data.series_of_row) if self.static_names else None,
        )

    def out_of_bounds(self, data: SeriesData, rows: IntArray, lookback: int) -> list[str]:
        """Say of each input column how many values in the windows that end at ``rows`` are held at the outlier bounds."""
        window = (rows[:, None] + np.arange(1 - lookback, 1)).ravel()
        said = []
        for number, name in enumerate(self.columns):
            x = self._transformed(data, number)[window]
            count = int(((x < self.bounds[number][0]) | (x > self.bounds[number][1])).sum())
            if count:
                said.append(
                    f"column {name!r}: {count} values are out of the bounds learned in training and are held there"
                )
        return said

    def to_scored(self, level: FloatArray, data: SeriesData, rows: IntArray) -> FloatArray:
        """Turn prepared levels into the scoring scale: the target, or its logarithm.

        Parameters
        ----------
        level : array of shape (n, S, K) or (n, S, K, Q)
            What the network's output, its offset added, says.
        data : SeriesData
            The series the rows belong to.
        rows : array of shape (n,), int64
            Origins.

        Returns
        -------
        array of the same shape
        """
        center, width = self._row_scales(data, rows)
        shape = (len(rows), 1, self.n_targets) + (1,) * (level.ndim - 3)
        shift = np.where(
            [is_differenced(name) for name in self.transforms[: self.n_targets]],
            0.0,
            center[:, : self.n_targets],
        )
        return level * width[:, : self.n_targets].reshape(shape) + shift.reshape(shape)

    def to_original(self, scored: FloatArray) -> FloatArray:
        """Turn the scoring scale into the target's own units (shape (n, S, K) or (n, S, K, Q))."""
        result = scored.copy()
        for k, name in enumerate(self.transforms[: self.n_targets]):
            if is_log(name):
                result[:, :, k] = np.exp(scored[:, :, k])
        return result

    def describe(self) -> list[str]:
        """Say, a sentence each, what was filled, held within bounds, and found constant in the training rows."""
        said = []
        for name, filled, clipped, widths in zip(
            self.columns, self.filled, self.clipped, zip(*self.widths, strict=True), strict=True
        ):
            if filled:
                said.append(
                    f"column {name!r}: {filled} missing training values filled, with an indicator input"
                )
            if clipped:
                said.append(
                    f"column {name!r}: {clipped} training values held at the outlier bounds, as inputs only"
                )
            if set(widths) == {1.0}:
                said.append(f"column {name!r} is constant in the training rows: it carries nothing")
        return said

    def to_dict(self) -> dict[str, Any]:
        """Give the fields as JSON-able values; `from_dict` takes them back exactly."""
        return {
            name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Make the `Prepare` that `to_dict` described."""
        prepare = cls(**{name: _nested_tuple(value) for name, value in values.items()})
        each = (
            prepare.transforms,
            prepare.medians,
            prepare.minima,
            prepare.bounds,
            *prepare.centers,
            *prepare.widths,
        )
        if any(len(numbers) != len(prepare.columns) for numbers in each):
            raise InputError(
                "the preparation does not hold the same number of entries for each column: the file is damaged"
            )
        return prepare

    def _level(self, data: SeriesData, number: int, center: FloatArray, width: FloatArray) -> FloatArray:
        """The target as it is scored, in units of its scale; filled, because an origin may need it (missing labels are no samples)."""
        name = self.transforms[number]
        raw = data.values[:, data.columns.index(self.columns[number])]
        filled = fill_forward(raw, data.segment_offsets, self.fill_limit, self.medians[number])
        level = np.log(filled) if is_log(name) else filled
        return level / width if is_differenced(name) else (level - center) / width

    def _transformed(self, data: SeriesData, number: int) -> FloatArray:
        """One column filled, mapped and differenced, over all rows."""
        column, name = self.columns[number], self.transforms[number]
        if column not in data.columns:
            raise InputError(f"column {column!r} was there in training and is missing now")
        raw = data.values[:, data.columns.index(column)]
        x = fill_forward(raw, data.segment_offsets, self.fill_limit, self.medians[number])
        if is_log(name):
            if number < self.n_targets:
                check_positive(x, column)
            # A covariate may fall to zero later: it is held at its training minimum, as outliers are.
            x = np.log(x if number < self.n_targets else x.clip(self.minima[number]))
        if is_differenced(name):
            x = np.diff(x, prepend=x[:1])
            starts = data.segment_offsets[:-1]
            x[starts[starts < len(x)]] = 0.0
        return x

    def _row_scales(self, data: SeriesData, rows: IntArray | None = None) -> tuple[FloatArray, FloatArray]:
        """Centre and width of each column for each row, as views where there is one row for all."""
        center, width = np.array(self.centers), np.array(self.widths)
        n = data.n_rows if rows is None else len(rows)
        if not self.groups:
            return np.broadcast_to(center, (n, center.shape[1])), np.broadcast_to(width, (n, width.shape[1]))
        place = {name: number for number, name in enumerate(self.groups)}
        new = [name for name in data.ids if name not in place]
        if new:
            raise InputError(
                f"series {new[0]!r} was not there in training and scales are per series: train with scale_by='all'"
            )
        of_series = np.array([place[name] for name in data.ids])
        of_row = of_series[data.series_of_row if rows is None else data.series_of_row[rows]]
        return center[of_row], width[of_row]

    def _static(self, data: SeriesData) -> torch.Tensor | None:
        """Static covariates in the order of training; a level of a text column that does not occur is 0."""
        if not self.static_names:
            return None
        values = np.zeros((len(data.ids), len(self.static_names)))
        for number, name in enumerate(self.static_names):
            if name in data.static_names:
                values[:, number] = data.static[:, data.static_names.index(name)]
            elif "=" not in name:
                raise InputError(f"static column {name!r} was there in training and is missing now")
        return torch.from_numpy(((values - self.static_center) / self.static_width).astype(np.float32))


def _choose_window_norm(recipe: Recipe, transforms: tuple[str, ...]) -> str:
    if recipe.window_norm != "auto":
        return recipe.window_norm
    # A shortcut sees the level and its LSTM does not: nothing needs to be subtracted from the targets.
    return "none" if recipe.shortcut != "none" or all(is_differenced(name) for name in transforms) else "last"


def _median(values: FloatArray) -> float:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else 0.0


def _robust_bounds(x: FloatArray, times: float) -> tuple[float, float]:
    """Median -+ ``times`` robust sds (MAD x 1.4826); no bounds where half of the values are equal."""
    median = float(np.median(x))
    sd = 1.4826 * float(np.median(np.abs(x - median)))
    if times == 0 or sd == 0:
        return -_FLOAT32_MAX, _FLOAT32_MAX
    return median - times * sd, median + times * sd


def _center_width(x: FloatArray, scaling: str) -> tuple[float, float]:
    if not len(x):
        return 0.0, 1.0
    if scaling == "robust":
        low, center, high = np.quantile(x, [0.25, 0.5, 0.75])
        width = (high - low) / 1.349
    else:
        center, width = x.mean(), x.std()
    # A constant column carries nothing: scale 1 keeps it finite.
    return float(center), float(width) if width > 1e-12 * max(1.0, abs(center)) else 1.0


def _check_float32(x: FloatArray, name: str, data: SeriesData) -> None:
    bad = np.flatnonzero(~(np.abs(x) <= _FLOAT32_MAX))
    if len(bad):
        raise InputError(
            f"column {name!r} holds {data.values[bad[0], data.columns.index(name)]} in row {bad[0]}, which does not fit float32 once scaled"
        )


def _nested_tuple(value: Any) -> Any:
    return tuple(_nested_tuple(item) for item in value) if isinstance(value, list) else value
