"""`Prepare`: what is learned from training rows to turn raw series into a network's inputs, and to turn forecasts back.

Everything here is fitted on the rows that training samples can see and applied row by row with no look ahead: filling
looks back, differences look back one row, bounds, centres and widths come from training rows only.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from heldout.check import InputError
from heldout.data.series import FloatArray, IntArray, SeriesData
from heldout.data.transforms import (
    center_width,
    check_positive,
    choose_transforms,
    choose_window_norm,
    fill_forward,
    is_differenced,
    is_log,
    last_known,
    robust_bounds,
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
    medians, minima : tuple of float
        Training median of each raw column, for gaps longer than ``fill_limit``; and its least training value.
    gappy : tuple of int
        Columns with missing training values; each gets an indicator input.
    lows, highs, centers, widths : tuple of tuple of float
        Least and greatest transformed value let through, centre and width of each column: one row over all series, or
        a row per series.
    groups : tuple of str
        The series these rows belong to; empty when over all.
    constant : tuple of str
        Columns that do not vary in the training rows.
    filled, clipped : tuple of int
        How many training values of each column were filled and how many were out of bounds.
    scaling, first_rows : str, int
        A series that is none of the groups is scaled so, by so many rows at its beginning, its first window, without bounds.
    """

    columns: tuple[str, ...]
    n_targets: int
    n_future: int
    transforms: tuple[str, ...]
    fill_limit: int
    window_norm: str
    medians: tuple[float, ...]
    minima: tuple[float, ...]
    gappy: tuple[int, ...]
    lows: tuple[tuple[float, ...], ...]
    highs: tuple[tuple[float, ...], ...]
    centers: tuple[tuple[float, ...], ...]
    widths: tuple[tuple[float, ...], ...]
    groups: tuple[str, ...]
    constant: tuple[str, ...]
    static_names: tuple[str, ...]
    static_center: tuple[float, ...]
    static_width: tuple[float, ...]
    filled: tuple[int, ...]
    clipped: tuple[int, ...]
    scaling: str = "standard"
    first_rows: int = 0

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
        transforms, _ = choose_transforms(data, rows, lookback, recipe.transform)
        by_series = recipe.scale_by == "series"
        prepare = cls(
            columns=columns,
            n_targets=len(data.targets),
            n_future=len(data.future),
            transforms=transforms,
            fill_limit=recipe.fill_limit,
            window_norm=choose_window_norm(recipe, transforms[: len(data.targets)], lookback),
            medians=tuple(_median(data.values[seen, c]) for c in data.indices(columns)),
            minima=tuple(
                float(np.nanmin(data.values[seen, c], initial=np.inf)) for c in data.indices(columns)
            ),
            gappy=tuple(
                n for n, c in enumerate(data.indices(columns)) if np.isnan(data.values[seen, c]).any()
            ),
            lows=(),
            highs=(),
            centers=(),
            widths=(),
            groups=tuple(data.ids[g] for g in np.unique(data.series_of_row[rows])) if by_series else (),
            constant=(),
            static_names=data.static_names,
            static_center=(),
            static_width=(),
            filled=tuple(int(np.isnan(data.values[seen, c]).sum()) for c in data.indices(columns)),
            clipped=(),
            scaling=recipe.scaling,
            first_rows=lookback,
        )
        return prepare._fit_bounds_and_scales(data, seen, recipe)._fit_static(data, rows)

    def _fit_bounds_and_scales(self, data: SeriesData, seen: NDArray[np.bool_], recipe: Recipe) -> Self:
        of_row = data.series_of_row[seen]
        series = np.unique(of_row)
        table: list[NDArray[np.float64]] = []
        clipped, constant = [], []
        for number, name in enumerate(self.columns):
            x = self.transformed(data, number)[seen]
            # Series at different levels have bounds of their own; over all, whatever is usual in one series may pass.
            bounds = np.array([robust_bounds(x[of_row == g], recipe.outliers) for g in series])
            if not self.groups:
                bounds = np.array([[bounds[:, 0].min(), bounds[:, 1].max()]])
            place = np.searchsorted(series, of_row) if self.groups else np.zeros(len(x), np.int64)
            held = x.clip(bounds[place, 0], bounds[place, 1])
            clipped.append(int((held != x).sum()))
            scales = [center_width(held[place == g], recipe.scaling) for g in range(len(bounds))]
            if not any(width for _, width in scales):
                constant.append(name)
            table.append(np.hstack([bounds, [(center, width or 1.0) for center, width in scales]]))
        lows, highs, centers, widths = np.stack(table).transpose(2, 1, 0).tolist()
        return replace(
            self,
            lows=tuple(map(tuple, lows)),
            highs=tuple(map(tuple, highs)),
            centers=tuple(map(tuple, centers)),
            widths=tuple(map(tuple, widths)),
            clipped=tuple(clipped),
            constant=tuple(constant),
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
            If a column is missing, a logarithm meets a value that is not positive, or a value does not fit float32.
        """
        low, high, center, width = self._row_scales(data)
        n_inputs = len(self.columns) + len(self.gappy)
        inputs = np.empty((data.n_rows, n_inputs), np.float32)
        level = np.empty((data.n_rows, self.n_targets))
        for number, name in enumerate(self.columns):
            x = self.transformed(data, number).clip(low[:, number], high[:, number])
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
            offsets=torch.tensor(data.offsets) if self.static_names else None,
        )

    def out_of_bounds(self, data: SeriesData, rows: IntArray, lookback: int) -> list[str]:
        """Say of each input column how many values in the windows that end at ``rows`` are held at the outlier bounds."""
        window = (rows[:, None] + np.arange(1 - lookback, 1)).ravel()
        low, high, _, _ = self._row_scales(data, window)
        said = []
        for number, name in enumerate(self.columns):
            x = self.transformed(data, number)[window]
            if count := int(((x < low[:, number]) | (x > high[:, number])).sum()):
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
        _, _, center, width = self._row_scales(data, rows)
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
        said = [
            f"column {name!r} is constant in the training rows: it carries nothing" for name in self.constant
        ]
        for name, filled, clipped in zip(self.columns, self.filled, self.clipped, strict=True):
            if filled:
                said.append(
                    f"column {name!r}: {filled} missing training values filled, with an indicator input"
                )
            if clipped:
                said.append(
                    f"column {name!r}: {clipped} training values held at the outlier bounds, as inputs only"
                )
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
        rows = (*prepare.lows, *prepare.highs, *prepare.centers, *prepare.widths)
        each = (prepare.transforms, prepare.medians, prepare.minima, *rows)
        if any(len(numbers) != len(prepare.columns) for numbers in each):
            raise InputError(
                "the preparation does not hold the same number of entries for each column: the file is damaged"
            )
        return prepare

    def _level(self, data: SeriesData, number: int, center: FloatArray, width: FloatArray) -> FloatArray:
        """The target as it is scored, in units of its scale; what an origin needs is the last known value, however old."""
        name = self.transforms[number]
        known = last_known(data, self.columns[number])
        level = np.log(known) if is_log(name) else known
        return level / width if is_differenced(name) else (level - center) / width

    def transformed(self, data: SeriesData, number: int) -> FloatArray:
        """Give column ``number`` of ``columns`` filled, mapped and differenced, over all rows: neither bounded nor scaled."""
        column, name = self.columns[number], self.transforms[number]
        if column not in data.columns:
            raise InputError(f"column {column!r} was there in training and is missing now")
        if is_differenced(name):
            x = last_known(data, column)  # over a gap, whatever its length, nothing changes
        else:
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

    def _row_scales(self, data: SeriesData, rows: IntArray | None = None) -> tuple[FloatArray, ...]:
        """Bounds, centre and width of each column for each row, (n, columns) each; views where one row is for all."""
        tables = [np.array(table) for table in (self.lows, self.highs, self.centers, self.widths)]
        n = data.n_rows if rows is None else len(rows)
        if not self.groups:
            return tuple(np.broadcast_to(table, (n, table.shape[1])) for table in tables)
        place = {name: number for number, name in enumerate(self.groups)}
        of_series = np.array([place.get(name, -1) for name in data.ids])
        new = np.flatnonzero(of_series < 0)
        if len(new):
            tables = [
                np.vstack(pair) for pair in zip(tables, self._first_window_scales(data, new), strict=True)
            ]
            of_series[new] = len(self.groups) + np.arange(len(new))
        of_row = of_series[data.series_of_row if rows is None else data.series_of_row[rows]]
        return tuple(table[of_row] for table in tables)

    def _first_window_scales(self, data: SeriesData, series: IntArray) -> tuple[FloatArray, ...]:
        """What `_row_scales` takes for series that were not there in training: no origin lies within their first window."""
        scales = np.zeros((2, len(series), len(self.columns)))
        for number in range(len(self.columns)):
            x = self.transformed(data, number)
            for row, (start, stop) in enumerate(
                zip(data.offsets[series], data.offsets[series + 1], strict=True)
            ):
                scales[:, row, number] = center_width(
                    x[start : min(start + self.first_rows, stop)], self.scaling
                )
        limit = np.full(scales.shape[1:], _FLOAT32_MAX)
        return -limit, limit, scales[0], np.where(scales[1] > 0, scales[1], 1.0)

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


def _median(values: FloatArray) -> float:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else 0.0


def _check_float32(x: FloatArray, name: str, data: SeriesData) -> None:
    bad = np.flatnonzero(~(np.abs(x) <= _FLOAT32_MAX))
    if len(bad):
        raise InputError(
            f"column {name!r} holds {data.values[bad[0], data.columns.index(name)]} in row {bad[0]}, which does not fit float32 once scaled"
        )


def _nested_tuple(value: Any) -> Any:
    return tuple(_nested_tuple(item) for item in value) if isinstance(value, list) else value
