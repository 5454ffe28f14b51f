"""`LSTMForecaster`: series in, forecasts out, with scikit-learn's parameters over `fit_series`."""

import os
from typing import Any, Self

import numpy as np
import polars as pl
from sklearn.base import BaseEstimator, clone
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from heldout.check import InputError
from heldout.config import DataOptions
from heldout.data.ahead import check_long_enough, with_rows_ahead
from heldout.data.calendar import Frequency
from heldout.data.series import SeriesData
from heldout.data.times import spoken
from heldout.estimators.backtest import (
    check_backtest,
    choose_moments,
    forecast_table,
    history_before,
    split_last,
)
from heldout.estimators.forecast_options import (
    READ_AGAIN,
    ForecastOptions,
    forecaster_arguments,
    plain,
    read_options,
)
from heldout.estimators.forecast_table import Forecast
from heldout.estimators.names import refuse
from heldout.estimators.parts import read_part
from heldout.estimators.series_table import SeriesTable
from heldout.options import keyword_constructor
from heldout.recipe import Recipe
from heldout.training.checkpoint import ModelFileError, check_kind, save_tensors
from heldout.training.fit import SeriesModel, fit_series
from heldout.training.loop import History
from heldout.training.settle import settle

_VERSION = 1


@keyword_constructor(forecaster_arguments(), refuse, n_positional=2)
class LSTMForecaster(BaseEstimator):  # type: ignore[misc]  # scikit-learn is not typed
    """A regularised LSTM that forecasts one or many series, as a scikit-learn estimator.

    Attributes
    ----------
    history_ : History
        Loss on training and validation windows, epoch by epoch; ``histories_`` has one per seed.
    best_epoch_ : int
        The epoch whose weights are kept.
    n_parameters_ : int
        Numbers in one network.
    model_ : SeriesModel
        The networks, with what prepares their inputs (``prepare_``).
    feature_names_in_ : array of str
        Columns of y, exog and future, without times, ids and static columns; ``n_features_in_`` of them.
    notes_ : tuple of str
        What was inferred from the data, one sentence each.

    Notes
    -----
    Everything is learned from the windows before the last ``validation_fraction`` of the time; of that part, purged by
    the horizon, the errors say when to stop, and how wide the intervals are (`SeriesModel.calibrated`).

    Examples
    --------
    >>> import numpy as np
    >>> y = np.sin(np.arange(200) / 5)
    >>> model = LSTMForecaster(horizon=3, lookback=12, hidden_size=4, max_epochs=2, random_state=0).fit(y)
    >>> model.predict()
    Forecast of 'y': 3 steps from 1 origin, with 90 % intervals
    >>> LSTMForecaster(units=8)
    Traceback (most recent call last):
        ...
    heldout.check.InputError: unknown hyper-parameter 'units': here it is hidden_size
    """

    def set_params(self, **params: Any) -> Self:
        """Set hyper-parameters by name, as the constructor does."""
        for name in params.keys() - self._get_param_names():
            refuse(type(self), name, params[name])
        return super().set_params(**params)

    def fit(self, y: Any, exog: Any = None, future: Any = None) -> Self:
        """Fit to one or many series.

        Parameters
        ----------
        y : array of shape (n,) or (n, K), series, data frame or path
            The targets. A data frame may also have times (the column ``time``, else the first that holds dates, else a pandas
            index of dates), ids (``id``) and ``static`` columns; every other column is a target.
        exog : as y, optional
            Covariates known up to the present only: a row for each of y.
        future : as y, optional
            Covariates known ahead: a row for each of y, and any number of rows behind them.

        Returns
        -------
        LSTMForecaster

        Raises
        ------
        InputError
            If a hyper-parameter or the data break a rule.

        Notes
        -----
        Rows of exog and future are matched by time and id where these have the times and ids of y, and stand in the
        order of y where they have none.
        """
        self._options()
        return self._learn(self._join(y, exog, future, None), self._draw_seeds())

    def predict(self, y: Any = None, exog: Any = None, future: Any = None) -> Forecast:
        """Forecast what follows the last known row of each series.

        Parameters
        ----------
        y : as in `fit`, optional
            Series that end where the forecast begins; by default those of the fit.
        exog : as in `fit`, optional
            Goes with y.
        future : as in `fit`, optional
            With y, a row for each of it and the ``horizon`` rows behind; without y, the rows behind those of the fit: where
            it has no times, ``horizon`` rows, or those of the fit with at least as many behind.

        Returns
        -------
        Forecast

        Raises
        ------
        InputError
            If a column is missing, a series is too short, its rows have times and those of the fit none or the other way
            round, or a covariate known ahead is not known, or known at other times.
        """
        check_is_fitted(self)
        if y is not None:
            table = self._join(y, exog, future, self._table)
        elif exog is not None:
            raise InputError("exog goes with y: give both, or neither to go on from the rows of the fit")
        else:
            table = self._table
            if future is not None:
                part = read_part(future, "future", time=table.time_name, id=table.id_name)
                table = table.with_ahead(part, self._frequency, self.model_.task["horizon"])
        data, rows = with_rows_ahead(self._read_again(table), self.prepare_)
        check_long_enough(data, rows, self.model_.rows_needed)
        lookback = self.model_.lookback
        return Forecast(
            forecast_table(self.model_, data, rows, truth=False),
            self._level,
            history_before(data, rows, lookback),
            (*table.notes, *self._interval_notes, *self.model_.prepare.out_of_bounds(data, rows, lookback)),
        )

    def backtest(
        self,
        y: Any,
        exog: Any = None,
        future: Any = None,
        *,
        start: float | None = None,
        stride: int = 1,
        refit: bool | int = False,
    ) -> Forecast:
        """Forecast from many origins in the past, each from what was known then, and hold it against what happened.

        Parameters
        ----------
        y, exog, future : as in `fit`
            Series with what happened. Row numbers go on from those of the fit where there are no times: begin with its rows.
        start : float, optional
            Share of the origins to skip, in [0, 1). By default those whose forecasts the fit has seen; with ``refit`` half.
        stride : int, default 1
            Take each ``stride``-th origin.
        refit : bool or int, default False
            True fits anew at every origin, k at every k-th: on the rows up to it, with the same hyper-parameters and
            seeds. Needs no `fit` before and leaves this forecaster as it is.

        Returns
        -------
        Forecast
            With ``truth`` and ``last_value``; see `Forecast.scores`.

        Raises
        ------
        InputError
            If no origin is left, or there are too few rows to fit on before the first.
        """
        _, own, _ = self._options()
        check_backtest(start, stride, refit)
        if refit is False:
            check_is_fitted(self)
        fitted = hasattr(self, "model_")
        table = self._join(y, exog, future, None if refit else self._table)
        data = self._read(table) if refit else self._read_again(table)
        lookback = 1 if refit else self.model_.lookback
        times = np.unique(data.time[data.origins(lookback)])
        first = None if refit else self._seen_until(table)
        seeds = self._seeds if fitted else self._draw_seeds()
        tables, seen = [], 0
        for group in choose_moments(times, start=start, stride=stride, first=first, every=refit):
            model = self if refit is False else self._refitted(table, int(group[0]), seeds)
            rows = data.origins(lookback)
            rows = rows[np.isin(data.time[rows], group)]
            known = model._read_again(table.until(int(data.time[rows + data.horizon].max())))
            rows = known.origins(model.model_.lookback)
            rows = rows[np.isin(known.time[rows], group)]
            tables += [forecast_table(model.model_, known, rows, truth=True)] if len(rows) else []
            seen += 0 if first is None else int((group < first).sum())
        told = pl.concat(tables, how="diagonal")
        keys = [name for name in ("series", "origin") if name in told.columns]
        notes = list(self._interval_notes) if refit is False else []
        notes += [f"{seen} moments lie in the rows of the fit: their errors flatter it"] if seen else []
        return Forecast(
            told.sort(keys, maintain_order=True),
            self._level if refit is False else own.level,
            None,
            (*table.notes, *notes),
        )

    def _refitted(self, table: SeriesTable, time: int, seeds: list[int]) -> Self:
        """A new forecaster, fitted on the rows up to a time."""
        try:
            refitted: Self = clone(self)._learn(table.until(time), seeds)
        except InputError as error:
            when = spoken(time) if table.timed else f"row {time}"
            raise InputError(f"{error} (this is the refit at {when}, which start may put later)") from error
        return refitted

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted forecaster to a file that `heldout.load` reads: tensors and JSON, nothing that can be executed.

        The file holds the last window of each series, from which `predict` goes on, and no more of the data.

        Parameters
        ----------
        path : path
            The file; its folder must be there. What it held is replaced in one step.

        Raises
        ------
        InputError
            If it cannot be written.
        """
        save_tensors(path, *self.to_file_parts(), durable=True)

    def to_file_parts(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Give what a file holds: named tensors and JSON metadata; a ``random_state`` that is no number is left out."""
        check_is_fitted(self)
        tensors, model = self.model_.to_file_parts()
        tail = self._table.tail(self._read_again(self._table), self.model_.rows_needed + 1)
        rows, table = tail.to_file_parts()
        metadata = {
            "kind": f"heldout {type(self).__name__}",
            "version": _VERSION,
            "params": plain(self.get_params(deep=False)),
            "reading": self._reading,
            "seeds": self._seeds,
            "notes": self.notes_,
            "histories": [[history.epochs, history.best_epoch] for history in self.histories_],
            "table": table,
            "model": model,
        }
        return tensors | rows, metadata

    @classmethod
    def from_file_parts(cls, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> Self:
        """Build the forecaster that `to_file_parts` described.

        Raises
        ------
        ModelFileError
            If the parts are of another kind, of a later version, or do not fit.
        """
        check_kind(metadata, f"heldout {cls.__name__}", _VERSION)
        model = SeriesModel.from_file_parts(tensors, metadata.get("model", {}))
        try:
            given = metadata["params"].items()
            forecaster = cls(**{name: tuple(x) if isinstance(x, list) else x for name, x in given})
            forecaster._reading = {name: metadata["reading"][name] for name in READ_AGAIN}
            forecaster._seeds = [int(seed) for seed in metadata["seeds"]]
            histories = tuple(History(list(epochs), int(best)) for epochs, best in metadata["histories"])
            table = SeriesTable.from_file_parts(tensors, metadata["table"])
            forecaster._keep(model, histories, table)
            forecaster.notes_ = tuple(map(str, metadata["notes"]))
            forecaster._read_again(table)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise ModelFileError(f"the model file does not describe a {cls.__name__}: {error}") from error
        return forecaster

    def _options(self) -> tuple[Recipe, ForecastOptions, DataOptions]:
        return read_options(plain(self.get_params(deep=False)))

    def _draw_seeds(self) -> list[int]:
        state = self.random_state
        if state is not None:
            state = int(check_random_state(state).randint(2**31))
        drawn = np.random.default_rng(state).integers(2**31, size=(self.n_seeds,))
        return [int(seed) for seed in drawn]

    def _join(self, y: Any, exog: Any, future: Any, known: SeriesTable | None) -> SeriesTable:
        """One table; arrays take the names of the columns of the fit, where there was one that counts."""
        options = self._options()[2]
        main = read_part(
            y,
            "y",
            time=options.time,
            id=options.id,
            static=options.static,
            ignore=options.ignore,
            names=known.targets if known else (),
        )
        parts = [
            None if part is None else read_part(part, what, time=main.time_name, id=options.id, names=names)
            for part, what, names in (
                (exog, "exog", known.past if known else ()),
                (future, "future", known.future if known else ()),
            )
        ]
        return SeriesTable.join(
            main, *parts, id_name=options.id, frequency=self._frequency if known else None
        )

    def _read(self, table: SeriesTable) -> SeriesData:
        """The series as a fit reads them: what is not said is inferred."""
        _, own, options = self._options()
        said = {name: getattr(options, name) for name in (*READ_AGAIN, "last_step_only")}
        return table.read(horizon=own.horizon, **said)

    def _read_again(self, table: SeriesTable) -> SeriesData:
        """The series as the fit read them."""
        table.check_columns(self._table)
        task = self.model_.task
        said = {
            "target": task["targets"],
            **{name: task[name] for name in ("past", "horizon", "last_step_only")},
        }
        return table.read(frequency=self._frequency, **said, **self._reading)

    @property
    def _level(self) -> float | None:
        return None if self.model_.conformal is None else self.model_.conformal.level

    @property
    def _interval_notes(self) -> tuple[str, ...]:
        return () if self.model_.conformal is None else (self.model_.conformal.note,)

    @property
    def _frequency(self) -> Frequency:
        return Frequency(**self.model_.task["frequency"])

    def _learn(self, table: SeriesTable, seeds: list[int]) -> Self:
        recipe, own, options = self._options()
        data = self._read(table)
        recipe = settle(recipe, data)
        assert recipe.lookback is not None
        train, valid = split_last(data, recipe.lookback, own.validation_fraction)
        fits = [fit_series(data, train, valid, recipe, seed=seed) for seed in seeds]
        model = fits[0][0].joined([model for model, _ in fits[1:]])
        if own.level is not None:
            model = model.calibrated(data, valid, own.level)
        self._reading = {name: getattr(options, name) for name in READ_AGAIN}
        self._seeds = seeds
        self._keep(model, tuple(history for _, history in fits), table)
        self.notes_ = (*table.notes, *data.notes, *model.prepare.describe(), *self._interval_notes)
        return self

    def _keep(self, model: SeriesModel, histories: tuple[History, ...], table: SeriesTable) -> None:
        self.model_, self.histories_, self.history_ = model, histories, histories[0]
        self.prepare_ = model.prepare
        self.best_epoch_ = self.history_.best_epoch
        self.n_parameters_ = model.n_parameters
        self.feature_names_in_ = np.array([*table.targets, *table.past, *table.future], dtype=object)
        self.n_features_in_ = len(self.feature_names_in_)
        self._table = table

    def _seen_until(self, table: SeriesTable) -> int | None:
        """The last time that the fit has seen; of rows without times, None if they are not those of the fit."""
        mine = self._table.known()
        return int(mine.time.max()) if table.timed or mine.begins(table) else None
