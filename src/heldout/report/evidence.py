"""`Evidence`: what a run directory holds, read once, nothing executed."""

import tomllib
from dataclasses import dataclass, fields
from functools import cached_property
from math import isfinite
from pathlib import Path
from typing import Any

import polars as pl

from heldout.check import InputError
from heldout.config import Config, TextConfig
from heldout.plots.terms import SERIES, TEXTS, Terms
from heldout.result import HELDOUT
from heldout.runs import Run
from heldout.studies.ledger import Event, Ledger
from heldout.studies.scale import Scale

Options = dict[str, dict[str, Any]]
OLDER = "This run was written by a version of heldout that did not record this."
_SEARCHES = {
    "capacity": {"stages", "start", "choice", "outer", "sentence", "metric"},
    "remedies": {
        "rows",
        "control",
        "choice",
        "selected",
        "confirmed",
        "outer",
        "power",
        "sentence",
        "metric",
    },
    "verdict": {"verdict", "members", "harm", "gap", "skill", "flags", "sentence", "metric"},
    "tune": {"trials", "start", "choice", "inside", "outside", "outer", "sentence", "metric"},
}
"""What ``scores.json`` of a search holds in any case."""


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A finished fit of a network: who, where, its learning curve, and of series the scale it was scored on."""

    candidate: str
    fold: str
    seed: int
    epochs: list[dict[str, Any]]
    best_epoch: int
    n_parameters: int | None
    scale: Scale | None

    @property
    def label(self) -> str:
        """What a person calls it."""
        return f"{self.fold}, seed {self.seed}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """What a finished run left behind: a fit, or a search for a size or for options.

    Attributes
    ----------
    path : Path
        The run directory.
    about : dict
        ``run.json``.
    scores : dict
        ``scores.json``; parts that an older version did not write are absent.
    given, settled : dict of dict
        The configuration by part, as the user gave it and with everything decided; of a search, with what was chosen.
    predictions : polars.DataFrame or None
        The sealed test, one row per origin, step and target (and series), or per text; None where the file is absent.
    fits : list of Fit
        Of networks, in the order of folds and seeds; empty where the ledger is absent, and of a search.
    looks : list of Event
        At the sealed test, of this run.
    """

    path: Path
    about: dict[str, Any]
    scores: dict[str, Any]
    given: Options
    settled: Options
    predictions: pl.DataFrame | None
    fits: list[Fit]
    looks: list[Event]

    @classmethod
    def read(cls, path: str | Path) -> "Evidence":
        """Read a run directory.

        Parameters
        ----------
        path : path
            What `heldout.fit` or a search wrote.

        Returns
        -------
        Evidence

        Raises
        ------
        InputError
            If there is no run, it is not finished, or a file in it is damaged.
        """
        run = Run(path)
        try:
            scores = run.scores()
        except ValueError as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{run.path / 'scores.json'} is damaged: {error}") from error
        search = scores.get("kind") if isinstance(scores, dict) else None
        if search in _SEARCHES:
            return cls._of_search(run, scores)
        _check_scores(scores, run.path / "scores.json")
        settled = _options(run.path / "config-resolved.toml")
        if not settled.get("data", {}).get("target"):
            raise InputError(
                f"{run.path / 'config-resolved.toml'} is missing or names no target: a report needs the file as the run wrote it"
            )
        fits, looks = _ledger(run.ledger_path)
        return cls(
            path=run.path,
            about=run.about,
            scores=scores,
            given=_options(run.path / "config.toml"),
            settled=settled,
            predictions=_table(run.path / "predictions.parquet"),
            fits=fits,
            looks=looks,
        )

    @classmethod
    def _of_search(cls, run: Run, scores: dict[str, Any]) -> "Evidence":
        missing = _SEARCHES[scores["kind"]] - scores.keys()
        if missing:
            raise InputError(
                f"{run.path / 'scores.json'} has no {', '.join(sorted(missing))} to report: give the command of the run again"
            )
        return cls(
            path=run.path,
            about=run.about,
            scores=_finite(scores),
            given=_options(run.path / "config.toml"),
            settled=_options(run.path / "chosen.toml") or _options(run.path / "config.toml"),
            predictions=None,
            fits=[],
            looks=[],
        )

    @property
    def name(self) -> str:
        """The directory's own name."""
        return self.path.resolve().name

    @property
    def kind(self) -> str:
        """Of what the run is: "series" or "text"."""
        return str(self.scores.get("modality") or self.scores.get("kind", "series"))

    @property
    def search(self) -> str:
        """For what the run searched: "capacity", "tune", "verdict", "remedies", or "" of a fit."""
        found = str(self.scores.get("kind", ""))
        return found if found in _SEARCHES else ""

    @property
    def terms(self) -> Terms:
        """What such a run calls things."""
        return TEXTS if self.kind == "text" else SERIES

    @property
    def targets(self) -> list[str]:
        """What is forecast, or the column of classes."""
        found = (self.settled or self.given).get("data", {}).get("target", [])
        return [found] if isinstance(found, str) else [str(name) for name in found]

    @cached_property
    def rows(self) -> dict[str, dict[str, Any]]:
        """The result's lines by candidate, best first."""
        return {row["name"]: row for row in self.scores["rows"]}

    @property
    def scale(self) -> Scale | None:
        """On what the forecasts were scored; None where no fit tells."""
        return next((fit.scale for fit in self.fits if fit.candidate == HELDOUT), None)


def defaults(kind: str = "series", *, dialled: bool = False) -> Options:
    """Give every option's default, by part.

    Parameters
    ----------
    kind : {"series", "text"}
        Of the run.
    dialled : bool, default False
        With the rates that the dial sets at its default.
    """
    parts = _parts(kind)
    if dialled:
        parts["recipe"] = parts["recipe"].resolved()
    return {name: part.to_dict() for name, part in parts.items()}


def explanations(kind: str = "series") -> dict[tuple[str, str], str]:
    """Give what every option of a kind of run does, by part and name."""
    return {(name, item.name): item.text for name, part in _parts(kind).items() for item in part.describe()}


def _parts(kind: str) -> dict[str, Any]:
    """The parts of a configuration, all at their defaults."""
    config = TextConfig() if kind == "text" else Config()
    return {item.name: getattr(config, item.name) for item in fields(config)}


def _finite(value: Any) -> Any:
    """None for what is not finite, as the ends of an interval that the data do not allow."""
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def _check_scores(scores: Any, path: Path) -> None:
    if not isinstance(scores, dict) or not {"rows", "sentence", "metric", "test_rows"} <= scores.keys():
        raise InputError(f"{path} has no rows to report: give the command of the run again")
    if all(row.get("name") != HELDOUT for row in scores["rows"]):
        raise InputError(f"{path} has no row of {HELDOUT}: a report needs the file as the run wrote it")


def _options(path: Path) -> Options:
    """Read a configuration as it stands: another version's options are shown, not refused."""
    if not path.exists():
        return {}
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is damaged: {error}") from error
    return {part: values for part, values in found.items() if isinstance(values, dict)}


def _table(path: Path) -> pl.DataFrame | None:
    if not path.exists():
        return None
    try:
        return pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(f"{path} is damaged: {error}") from error


def _ledger(path: Path) -> tuple[list[Fit], list[Event]]:
    """The fits of networks, and the looks."""
    if not path.exists():
        return [], []
    fits = []
    with Ledger(path, readonly=True) as ledger:
        keys = [event.key for event in ledger.events() if event.what == "finished" and "seed" in event.detail]
        for key in dict.fromkeys(keys):
            found = ledger.get(key)
            if found is None or not found.history:
                continue
            spec = found.spec
            fits.append(
                Fit(
                    candidate=spec["candidate"],
                    fold=spec["fold"]["name"],
                    seed=spec["seed"],
                    epochs=found.history,
                    best_epoch=found.scores["best_epoch"],
                    n_parameters=found.scores.get("n_parameters"),
                    scale=_scale(spec["scale"]) if spec.get("scale") else None,
                )
            )
        looks = ledger.looks()
    return sorted(fits, key=_order), looks


def _order(fit: Fit) -> tuple[bool, bool, int, str, int]:
    """The main recipe first, folds in order, the final one last, then seeds."""
    digits = "".join(letter for letter in fit.fold if letter.isdigit())
    return fit.candidate != HELDOUT, fit.fold == "final", int(digits or 0), fit.candidate, fit.seed


def _scale(values: dict[str, Any]) -> Scale:
    return Scale(**{name: _tuples(value) for name, value in values.items()})


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
