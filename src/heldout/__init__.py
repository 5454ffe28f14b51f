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
`audit`, `AuditResult`        leaks and faults of a table, its split and its preparation; `audit_files`
`judge`, `Verdict`            whether a recipe overfits, and how sure that is
`rank_remedies`               what helps against overfitting, and by how much: `RemediesResult`
`reduce_capacity`             the smallest network that is as good as the best: `CapacityResult`
`tune`                        the hyper-parameters, and what choosing them was worth: `TuneResult`
`predict`, `Run`              forecasts from a run directory
`write_report`, `compare`     a run as a page; runs side by side
`diagnose`, `Diagnosis`       what the curves of any framework show, and what they cannot
`read_texts`, `split_texts`   a table becomes texts; sealed test, folds, early-stopping texts
`read_vectors`                word vectors of a file, for the words in use
`TextRecipe`, `TextConfig`    `Recipe` and `Config` of a run on texts
`TextResult`                  what `fit` gives for texts
`fit_text`, `TextModel`       one fit of texts
`LSTMRegressor`               sequences in arrays to numbers, for scikit-learn
`LSTMClassifier`              sequences in arrays to classes, for scikit-learn
`TextLSTMClassifier`          texts to classes, for scikit-learn
`LSTMForecaster`, `Forecast`  series in tables or arrays to forecasts, for scikit-learn
`load`                        an estimator from the file that its ``save`` wrote
`InputError`                  what is raised where data, file or argument break a rule
============================  ================================================================
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from heldout.audit_result import AuditResult as AuditResult
    from heldout.auditing import audit as audit
    from heldout.auditing import audit_files as audit_files
    from heldout.capacity_result import CapacityResult as CapacityResult
    from heldout.check import InputError as InputError
    from heldout.config import Config as Config
    from heldout.config import TextConfig as TextConfig
    from heldout.data.layout import read_series as read_series
    from heldout.data.series import SeriesData as SeriesData
    from heldout.data.splits import split_series as split_series
    from heldout.data.text_splits import split_texts as split_texts
    from heldout.data.text_table import read_texts as read_texts
    from heldout.data.vectors import read_vectors as read_vectors
    from heldout.diagnosis import Diagnosis as Diagnosis
    from heldout.diagnosis import diagnose as diagnose
    from heldout.estimators.arrays import LSTMClassifier as LSTMClassifier
    from heldout.estimators.arrays import LSTMRegressor as LSTMRegressor
    from heldout.estimators.files import load as load
    from heldout.estimators.forecast_table import Forecast as Forecast
    from heldout.estimators.forecaster import LSTMForecaster as LSTMForecaster
    from heldout.estimators.texts import TextLSTMClassifier as TextLSTMClassifier
    from heldout.experiment import fit as fit
    from heldout.forecast import predict as predict
    from heldout.judging import judge as judge
    from heldout.nn.lstm import LSTM as LSTM
    from heldout.ranking import rank_remedies as rank_remedies
    from heldout.recipe import Recipe as Recipe
    from heldout.reduce import reduce_capacity as reduce_capacity
    from heldout.remedies_result import RemediesResult as RemediesResult
    from heldout.report.compare import compare as compare
    from heldout.report.run_report import write_report as write_report
    from heldout.result import Result as Result
    from heldout.runs import Run as Run
    from heldout.studies.study import cross_validate as cross_validate
    from heldout.text_recipe import TextRecipe as TextRecipe
    from heldout.text_result import TextResult as TextResult
    from heldout.training.fit import SeriesModel as SeriesModel
    from heldout.training.fit import fit_series as fit_series
    from heldout.training.text import TextModel as TextModel
    from heldout.training.text import fit_text as fit_text
    from heldout.tune_result import TuneResult as TuneResult
    from heldout.tuning import tune as tune
    from heldout.verdict_result import Verdict as Verdict

_HOMES = {
    "AuditResult": "audit_result",
    "audit": "auditing",
    "audit_files": "auditing",
    "CapacityResult": "capacity_result",
    "InputError": "check",
    "Config": "config",
    "TextConfig": "config",
    "read_series": "data.layout",
    "SeriesData": "data.series",
    "split_series": "data.splits",
    "split_texts": "data.text_splits",
    "read_texts": "data.text_table",
    "read_vectors": "data.vectors",
    "Diagnosis": "diagnosis",
    "diagnose": "diagnosis",
    "LSTMClassifier": "estimators.arrays",
    "LSTMRegressor": "estimators.arrays",
    "load": "estimators.files",
    "Forecast": "estimators.forecast_table",
    "LSTMForecaster": "estimators.forecaster",
    "TextLSTMClassifier": "estimators.texts",
    "fit": "experiment",
    "predict": "forecast",
    "judge": "judging",
    "LSTM": "nn.lstm",
    "rank_remedies": "ranking",
    "Recipe": "recipe",
    "reduce_capacity": "reduce",
    "RemediesResult": "remedies_result",
    "compare": "report.compare",
    "write_report": "report.run_report",
    "Result": "result",
    "Run": "runs",
    "cross_validate": "studies.study",
    "TextRecipe": "text_recipe",
    "TextResult": "text_result",
    "SeriesModel": "training.fit",
    "fit_series": "training.fit",
    "TextModel": "training.text",
    "fit_text": "training.text",
    "TuneResult": "tune_result",
    "tune": "tuning",
    "Verdict": "verdict_result",
}
_OPTIONAL = ("tokenizers", "datasketch")  # of the extra "text"

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'heldout' has no attribute {name!r}")
    try:
        home = import_module(f"heldout.{_HOMES[name]}")
    except ModuleNotFoundError as error:
        if error.name not in _OPTIONAL:
            raise
        raise import_module("heldout.check").InputError(
            f"{name} needs the package {error.name}: pip install 'heldout[text]'"
        ) from error
    return getattr(home, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
