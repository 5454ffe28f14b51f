"""`SeriesTable`: y and its covariates in one long table, matched by series and time where both have them."""

from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
import polars as pl
import torch
from torch import Tensor

from heldout.check import InputError
from heldout.data.calendar import Frequency, infer_frequency, times_after
from heldout.data.columns import listed
from heldout.data.layout import read_series
from heldout.data.series import FloatArray, IntArray, SeriesData
from heldout.data.times import spoken
from heldout.estimators.matching import find_rows, one_each, rows_before, running_numbers
from heldout.estimators.parts import Part


@dataclass(frozen=True, eq=False, kw_only=True)
class SeriesTable:
    """A row for each series and time, in the order of y; then the rows after its end, known as far as ``future`` is.

    Attributes
    ----------
    values : array of shape (n_rows, n_columns)
        Targets, past and future covariates.
    targets, past, future : tuple of str
        Their names.
    time : array of shape (n_rows,), int64
        Microseconds since 1970, or the row's number in its series.
    time_name, id_name : str or None
        What these columns are called; None where there is no such column.
    timed : bool
        ``time`` holds times.
    series : array of shape (n_rows,), int64
        The number of each row's series in ``ids``.
    ids : tuple of str
        Names.
    static : dict of str to list
        A value for each of ``ids``.
    n_dropped : tuple of int
        Rows of each series that were left out before these (`tail`).
    notes : tuple of str
        What was inferred.
    """

    values: FloatArray
    targets: tuple[str, ...]
    time: IntArray
    time_name: str | None
    timed: bool
    series: IntArray
    ids: tuple[str, ...]
    id_name: str | None
    past: tuple[str, ...] = ()
    future: tuple[str, ...] = ()
    static: dict[str, list[Any]]
    n_dropped: tuple[int, ...]
    notes: tuple[str, ...] = ()

    @classmethod
    def join(
        cls,
        y: Part,
        exog: Part | None,
        future: Part | None,
        *,
        id_name: str | None,
        frequency: Frequency | None = None,
    ) -> Self:
        """Put the parts into one table.

        Parameters
        ----------
        y : Part
            Decides the rows.
        exog : Part, optional
            Covariates known up to the present: a row for each of y.
        future : Part, optional
            Covariates known ahead: a row for each of y, and more behind them.
        id_name : str or None
            The column of ids.
        frequency : Frequency, optional
            Decides the times of rows of ``future`` that have none; by default inferred.

        Raises
        ------
        InputError
            If a row of y has no row of covariates, or it cannot be told which.
        """
        ids, series = (
            (("series",), np.zeros(len(y.values), np.int64))
            if y.ids is None
            else (tuple(np.unique(y.ids)), np.unique(y.ids, return_inverse=True)[1].astype(np.int64))
        )
        names = [*y.names, *(name for part in (exog, future) if part for name in part.names)]
        again = [name for name in names if names.count(name) > 1]
        if again:
            raise InputError(
                f"a column may come once, in y, exog or future, but {again[0]!r} comes {names.count(again[0])} times"
            )
        table = cls(
            values=y.values,
            targets=y.names,
            time=y.time if y.time is not None else running_numbers(series),
            time_name=y.time_name,
            timed=y.timed,
            series=series,
            ids=ids,
            id_name=id_name if y.ids is not None else None,
            static={name: one_each(name, values, series, ids) for name, values in (y.static or {}).items()},
            n_dropped=(0,) * len(ids),
            notes=(
                *y.notes,
                f"the time is column {y.time_name!r}"
                if y.time_name
                else "no column holds times, so the rows are taken in their order",
                *(note for part in (exog, future) if part for note in part.notes if note not in y.notes),
            ),
        )
        if exog is not None:
            table = table._with_past(exog)
        return table if future is None else table._with_future(future, frequency)

    def _with_past(self, exog: Part) -> Self:
        values, more = self._matched(exog)
        if len(more):
            raise InputError(
                f"exog is known up to the present only, but has {len(more)} rows after the end of y: "
                "leave them out, or give what is known ahead as future"
            )
        return replace(self, values=np.hstack([self.values, values]), past=exog.names)

    def _with_future(self, future: Part, frequency: Frequency | None) -> Self:
        values, more = self._matched(future)
        table = replace(self, values=np.hstack([self.values, values]), future=future.names)
        return table._longer(future, more, frequency) if len(more) else table

    def with_ahead(self, future: Part, frequency: Frequency, horizon: int) -> Self:
        """Give the table without its rows after the end of y, and behind it those of ``future`` instead.

        Parameters
        ----------
        future : Part
            The covariates known ahead in the rows that follow; where it has times, or a row for each of these and
            ``horizon`` or more behind, earlier rows are left out.
        frequency : Frequency
            Decides the times of rows that have none.
        horizon : int
            Rows that a forecast needs.

        Raises
        ------
        InputError
            If its columns are others, or it cannot be told whose or when the rows are.
        """
        if sorted(future.names) != sorted(self.future):
            raise InputError(
                f"future must have the columns of the fit, {listed(self.future) or 'which had none'}, got {listed(future.names)}"
            )
        order = [future.names.index(name) for name in self.future]
        future = replace(future, names=self.future, values=future.values[:, order])
        table = self.known()
        if len(self.ids) > 1 and future.ids is None:
            raise InputError(f"future must say whose its rows are: give it the column {self.id_name!r}")
        rows = np.flatnonzero(table._codes(future) >= 0)
        series = table._codes(future)[rows]
        if table._same_clock(future) and future.time is not None:
            rows = rows[future.time[rows] > table._ends()[series]]
        else:
            fitted = np.array(table.n_dropped) + np.bincount(table.series, minlength=len(self.ids))
            rows = rows[running_numbers(series) >= rows_before(series, fitted, horizon, self.ids)[series]]
        return table._longer(future, rows, frequency)

    def known(self) -> Self:
        """Give the rows up to the last known target of each series."""
        target_known = ~np.isnan(self.values[:, : len(self.targets)]).any(axis=1)
        return self.take(self.time <= self.take(target_known)._ends()[self.series])

    def until(self, time: int) -> Self:
        """Give the rows up to a time."""
        return self.take(self.time <= time)

    def begins(self, other: "SeriesTable") -> bool:
        """Whether rows of this table come again in another: the same targets where series and time are the same."""
        place = find_rows(*self._keys(), *other._keys())
        found = place >= 0
        count = len(self.targets)
        mine, theirs = self.values[found, :count], other.values[place[found], :count]
        return bool(found.any()) and np.array_equal(mine, theirs, equal_nan=True)

    def take(self, rows: Any) -> Self:
        """Give some of the rows, by mask or number."""
        return replace(self, values=self.values[rows], time=self.time[rows], series=self.series[rows])

    @property
    def time_column(self) -> str:
        """The column of times in `frame`, made where y has none."""
        name = self.time_name or "row"
        taken = (*self.targets, *self.past, *self.future, *self.static, self.id_name)
        while self.time_name is None and name in taken:
            name += "_"
        return name

    def frame(self) -> pl.DataFrame:
        """Give the table as a data frame, as `heldout.data.layout.read_series` reads it."""
        names = (*self.targets, *self.past, *self.future)
        time = pl.Series(self.time)
        columns: dict[str, Any] = {}
        if self.id_name is not None:
            columns[self.id_name] = pl.Series(self.ids, dtype=pl.String).gather(self.series)
        columns[self.time_column] = time.cast(pl.Datetime("us")) if self.timed else time
        columns |= {name: self.values[:, number] for number, name in enumerate(names)}
        for name, each in self.static.items():
            columns[name] = pl.Series(each, strict=False).gather(self.series)
        return pl.DataFrame(columns)

    def read(self, **said: Any) -> SeriesData:
        """Give the series in the table.

        Parameters
        ----------
        **said
            As for `heldout.data.layout.read_series`; the parts of the columns are said by the table unless they are here.
        """
        parts = {
            "target": self.targets,
            "past": self.past,
            "future": self.future,
            "static": tuple(self.static),
            "time": self.time_column,
            "id": self.id_name,
        }
        data = read_series(self.frame(), **{**parts, **said})
        if self.time_name is not None:
            return data
        made = f"the numbers in {self.time_column!r} were read as step numbers"
        return replace(data, notes=tuple(note for note in data.notes if note != made))

    def check_columns(self, fitted: Self) -> None:
        """Raise `InputError` unless the columns are those of another table, the one of the fit, and both have times or neither."""
        for what, names, ours in (
            ("y", self.targets, fitted.targets),
            ("exog", self.past, fitted.past),
            ("future", self.future, fitted.future),
        ):
            if sorted(names) != sorted(ours):
                raise InputError(
                    f"{what} must have the columns of the fit, {listed(ours) or 'which had none'}, got {listed(names) or 'none'}"
                )
        if self.timed != fitted.timed:
            had = (
                f"the fit had times, in column {fitted.time_name!r}, and y has none: give y its times"
                if fitted.timed
                else f"the fit had no times, and y has them in column {self.time_name!r}: leave them out, or fit with times"
            )
            raise InputError(had)

    def tail(self, data: SeriesData, need: int) -> Self:
        """Give the last rows of each series, those that a forecast from its end reads; the forecast is the same to the bit.

        Parameters
        ----------
        data : SeriesData
            As read from this table.
        need : int
            Rows that a window reads. Where a value is missing at its start, the last one known before it is kept too.
        """
        names = (*self.targets, *self.past, *self.future)
        values = data.values[:, data.indices([name for name in names if name in data.columns])]
        known = ~np.isnan(values)
        keep = np.zeros(data.n_rows, bool)
        for start, stop in zip(data.offsets[:-1], data.offsets[1:], strict=True):
            end = start + np.flatnonzero(known[start:stop, : len(self.targets)].all(axis=1))[-1]
            first = max(start, end + 1 - need)
            seen = [np.flatnonzero(column) for column in known[start : first + 1].T]
            keep[min([first, *(start + places[-1] if len(places) else start for places in seen)]) : stop] = (
                True
            )
        place = np.array([self.ids.index(name) if self.id_name else 0 for name in data.ids])
        series = place[data.series_of_row[keep]]
        rows, kept = (np.bincount(each, minlength=len(self.ids)) for each in (self.series, series))
        return replace(
            self,
            n_dropped=tuple((self.n_dropped + rows - kept).tolist()),
            values=values[keep],
            time=data.time[keep],
            series=series,
            past=tuple(name for name in self.past if name in data.columns),
        )

    def to_file_parts(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Give named tensors and JSON metadata."""
        arrays = {"values": self.values, "time": self.time, "series": self.series}
        tensors = {f"table.{name}": torch.from_numpy(array.copy()) for name, array in arrays.items()}
        return tensors, {
            item.name: getattr(self, item.name) for item in fields(self) if item.name not in arrays
        }

    @classmethod
    def from_file_parts(cls, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> Self:
        """Build the table that `to_file_parts` described.

        Raises
        ------
        InputError
            If the parts do not fit.
        """
        arrays = {name: tensors[f"table.{name}"].numpy() for name in ("values", "time", "series")}
        lists = {name: tuple(value) if isinstance(value, list) else value for name, value in metadata.items()}
        parts: dict[str, Any] = {**arrays, **lists}
        table = cls(**parts)
        names = (*table.targets, *table.past, *table.future)
        n, columns = len(table.time), len(names)
        fits = (
            table.values.shape == (n, columns)
            and table.series.shape == (n,)
            and n > 0
            and bool(((table.series >= 0) & (table.series < len(table.ids))).all())
            and all(isinstance(name, str) for name in (*names, *table.ids, *table.static))
            and all(len(each) == len(table.ids) for each in (*table.static.values(), table.n_dropped))
            and all(type(count) is int and count >= 0 for count in table.n_dropped)
            and all(isinstance(x, float | str | None) for each in table.static.values() for x in each)
        )
        if not fits:
            raise InputError(
                f"the rows of the file do not fit its {columns} columns and {len(table.ids)} series"
            )
        return table

    def _keys(self) -> tuple[Any, IntArray]:
        """The name of each row's series, and its time."""
        return np.array(self.ids, dtype=object)[self.series], self.time

    def _ends(self) -> IntArray:
        ends = np.full(len(self.ids), np.iinfo(np.int64).min)
        np.maximum.at(ends, self.series, self.time)
        return ends

    def _codes(self, part: Part) -> IntArray:
        """The number of each row's series, -1 for a series that y does not have."""
        if part.ids is None:
            return np.zeros(len(part.values), np.int64)
        number = {name: k for k, name in enumerate(self.ids)}
        return np.array([number.get(name, -1) for name in part.ids], dtype=np.int64)

    def _same_clock(self, part: Part) -> bool:
        """Whether its times can be compared with those of y, or neither has any."""
        return part.timed == self.timed and (part.time is None) == (self.time_name is None)

    def _matched(self, part: Part) -> tuple[FloatArray, IntArray]:
        """The covariates of each row of y, and which rows of the part come after the end of its series."""
        n, extra = len(self.values), len(part.values) - len(self.values)
        if not (self._same_clock(part) and (part.ids is None) == (self.id_name is None)):
            if extra < 0 or (extra and self.id_name is not None):
                keys = " and ".join(repr(name) for name in (self.id_name, self.time_name) if name)
                raise InputError(
                    f"{part.what} must have a row for each of the {n} rows of y, got {len(part.values)}"
                    + (f"; or give it the column {keys}, so that rows can be matched" if keys else "")
                )
            return part.values[:n], np.arange(n, len(part.values))
        series = self._codes(part)
        time = part.time if part.time is not None else running_numbers(series)
        own = series >= 0
        if pl.DataFrame({"series": series[own], "time": time[own]}).is_duplicated().any():
            raise InputError(
                f"{part.what} must have each time of a series once: remove the rows that repeat one"
            )
        place = find_rows(self.series, self.time, series, time)
        if (place < 0).any():
            row = int((place < 0).argmax())
            when = spoken(int(self.time[row])) if self.timed else f"row {self.time[row]}"
            whose = f" of series {self.ids[self.series[row]]!r}" if self.id_name else ""
            raise InputError(f"{part.what} must have a row for each row of y, but has none for {when}{whose}")
        return part.values[place], np.flatnonzero((series >= 0) & (time > self._ends()[series]))

    def _longer(self, future: Part, rows: IntArray, frequency: Frequency | None) -> Self:
        """Add these rows of ``future`` behind the end, their targets empty."""
        series, ends = self._codes(future)[rows], self._ends()
        if self._same_clock(future) and future.time is not None:
            time = future.time[rows]
        elif self.timed:
            step = frequency or infer_frequency(self.time[np.lexsort((self.time, self.series))])
            time = np.empty(len(rows), np.int64)
            for number in np.unique(series):
                own = series == number
                time[own] = times_after(int(ends[number]), int(own.sum()), step)
        else:
            time = ends[series] + 1 + running_numbers(series)
        empty = np.full((len(rows), len(self.targets) + len(self.past)), np.nan)
        return replace(
            self,
            values=np.vstack([self.values, np.hstack([empty, future.values[rows]])]),
            time=np.concatenate([self.time, time]),
            series=np.concatenate([self.series, series]),
        )
