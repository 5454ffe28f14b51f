"""heldout trains LSTMs that hold up on data they have not seen, and proves it.

The contents page; each name is loaded when it is first used, so that ``heldout --help`` does not wait for torch.

============================  ================================================================
`LSTM`                        drop-in for ``torch.nn.LSTM``, regularised
`Recipe`, `Config`            every hyper-parameter; everything that can be said about a run
`read_series`, `SeriesData`   a table becomes series
`split_series`                sealed test, walk-forward folds, early-stopping blocks
`fit`, `Result`               the main job: table in, judged model out
`fit_series`, `SeriesModel`   one fit
`cross_validate`              recipes and baselines on the same folds
`predict`, `Run`              forecasts from a run directory
`write_report`, `compare`     a run as a page; runs side by side
`LSTMRegressor`               sequences in arrays to numbers, for scikit-learn
`LSTMClassifier`              sequences in arrays to classes, for scikit-learn
`LSTMForecaster`, `Forecast`  series in tables or arrays to forecasts, for scikit-learn
`load`                        an estimator from the file that its ``save`` wrote
`InputError`                  what is raised where data, file or argument break a rule
============================  ================================================================
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from heldout.check import InputError as InputError
    from heldout.config import Config as Config
    from heldout.data.layout import read_series as read_series
    from heldout.data.series import SeriesData as SeriesData
    from heldout.data.splits import split_series as split_series
    from heldout.estimators.arrays import LSTMClassifier as LSTMClassifier
    from heldout.estimators.arrays import LSTMRegressor as LSTMRegressor
    from heldout.estimators.files import load as load
    from heldout.estimators.forecast_table import Forecast as Forecast
    from heldout.estimators.forecaster import LSTMForecaster as LSTMForecaster
    from heldout.experiment import fit as fit
    from heldout.forecast import predict as predict
    from heldout.nn.lstm import LSTM as LSTM
    from heldout.recipe import Recipe as Recipe
    from heldout.report.compare import compare as compare
    from heldout.report.run_report import write_report as write_report
    from heldout.result import Result as Result
    from heldout.runs import Run as Run
    from heldout.studies.study import cross_validate as cross_validate
    from heldout.training.fit import SeriesModel as SeriesModel
    from heldout.training.fit import fit_series as fit_series

_HOMES = {
    "InputError": "check",
    "Config": "config",
    "read_series": "data.layout",
    "SeriesData": "data.series",
    "split_series": "data.splits",
    "LSTMClassifier": "estimators.arrays",
    "LSTMRegressor": "estimators.arrays",
    "load": "estimators.files",
    "Forecast": "estimators.forecast_table",
    "LSTMForecaster": "estimators.forecaster",
    "Result": "result",
    "fit": "experiment",
    "predict": "forecast",
    "LSTM": "nn.lstm",
    "Recipe": "recipe",
    "compare": "report.compare",
    "write_report": "report.run_report",
    "Run": "runs",
    "cross_validate": "studies.study",
    "SeriesModel": "training.fit",
    "fit_series": "training.fit",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'heldout' has no attribute {name!r}")
    return getattr(import_module(f"heldout.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
