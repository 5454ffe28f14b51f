"""Runs side by side: the same table, what differs in them, and the paired difference where their sealed rows match."""

from collections import Counter
from dataclasses import dataclass
from math import inf, isfinite
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from heldout.check import InputError
from heldout.plots.values import plural
from heldout.report.blocks import number, percent
from heldout.report.evidence import Evidence
from heldout.report.losses import by_moment, scored_units, text_lines, with_losses
from heldout.report.provenance import write
from heldout.studies import design
from heldout.studies.compare import Interval, skill
from heldout.studies.multiple import holm
from heldout.studies.scale import Scale

_SAME = 1e-5  # relative: truths that went through a transform and back
_OTHER = "_other"
_EQUAL = 5e-4  # a share that rounds to 0.0 % is none, however narrow its interval
VERSION = "version of "
_KEYS = ("origin", "time", "step", "target")
_VALUES = ("truth", "forecast")


@dataclass(frozen=True, kw_only=True)
class Paired:
    """Two runs on the sealed rows that both have.

    Attributes
    ----------
    first, other : str
        The runs.
    lines, moments : int
        Forecasts compared, and origins that they were made at; of texts both are their number.
    compared : str
        The same in words.
    unit : str
        What the losses are.
    losses : tuple of float
        Mean loss of the first and of the other.
    difference : Compared or None
        Loss of the other less that of the first, and by which test; None where nothing matches.
    skill : Interval or None
        Share of the first's loss that the other saves.
    why_not : str
        Why there is no comparison; empty where there is one.
    """

    first: str
    other: str
    lines: int = 0
    moments: int = 0
    compared: str = ""
    unit: str = ""
    losses: tuple[float, float] = (float("nan"), float("nan"))
    difference: design.Compared | None = None
    skill: Interval | None = None
    why_not: str = ""

    @property
    def sentence(self) -> str:
        """What it means."""
        if self.difference is None:
            return f"{self.other} and {self.first} cannot be compared row by row: {self.why_not}."
        theirs, own = self.losses
        saved = "" if self.skill is None else f", {percent(-self.skill.mean)}"
        return (
            f"On {self.compared}, {self.other} loses {number(own)} and "
            f"{self.first} {number(theirs)} ({self.unit}{saved}): {_reading(self.difference, max(self.losses))}."
        )

    def to_dict(self) -> dict[str, Any]:
        """Give it as JSON-able values."""
        return {
            "first": self.first,
            "other": self.other,
            "lines": self.lines,
            "moments": self.moments,
            "unit": self.unit,
            "losses": [_finite(loss) for loss in self.losses],
            "difference": _ends(self.difference),
            "method": None if self.difference is None else self.difference.method,
            "p_value": None if self.difference is None else self.difference.p_value,
            "skill": _ends(self.skill),
            "sentence": self.sentence,
        }


def _reading(found: design.Compared, largest: float) -> str:
    if abs(found.mean) <= _EQUAL * largest:
        return "they are equal"
    if not found.enough:
        return f"a difference of {number(found.mean)} that cannot be told from chance: {found.why_not}"
    ends = f"[{number(found.low)}, {number(found.high)}]"
    spread = f"a difference of {number(found.mean)} {ends} ({found.method})"
    if found.low > 0:
        return f"{spread}, it is worse"
    return f"{spread}, it is better" if found.high < 0 else f"{spread}, no difference is shown"


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """Runs side by side.

    Attributes
    ----------
    names : list of str
        What the runs are called here.
    runs : list of Evidence
        What they left behind.
    pairs : list of Paired
        Each run but the first against the first.
    differences : list of list of str
        What is not the same in all: its name, and its value in each run.
    """

    names: list[str]
    runs: list[Evidence]
    pairs: list[Paired]
    differences: list[list[str]]

    @property
    def candidates(self) -> list[str]:
        """Of any run, in the order of the first, then of the next."""
        return list(dict.fromkeys(name for run in self.runs for name in run.rows))

    @property
    def corrected(self) -> list[float | None]:
        """Per pair the p value of "no difference", by Holm for the number of pairs; None where nothing is compared."""
        p_values = [pair.difference.p_value for pair in self.pairs if pair.difference is not None]
        found = iter(holm(p_values).tolist() if p_values else [])
        return [None if pair.difference is None else next(found) for pair in self.pairs]

    def to_dict(self) -> dict[str, Any]:
        """Give it as JSON-able values."""
        return {
            "runs": [
                {
                    "name": name,
                    "path": str(run.path),
                    "metric": run.scores["metric"],
                    "test_rows": run.scores["test_rows"],
                    "sentence": run.scores["sentence"],
                    "looks_at_test": run.scores.get("looks_at_test"),
                    "rows": run.scores["rows"],
                }
                for name, run in zip(self.names, self.runs, strict=True)
            ],
            "pairs": [
                pair.to_dict() | {"p_value_holm": p}
                for pair, p in zip(self.pairs, self.corrected, strict=True)
            ],
            "differences": [
                {"what": what, **dict(zip(self.names, values, strict=True))}
                for what, *values in self.differences
            ],
        }


def compare(*runs: str | Path) -> Comparison:
    """Put finished runs side by side.

    Where two runs have sealed rows in common, with the same truth, their losses are compared row by row: the difference
    has the interval that `heldout.studies.design.compare` holds valid: over blocks of time, over texts, or over the series
    of one moment. The runs' own scale is taken if it is the same, else the targets' own units.

    Parameters
    ----------
    *runs : path
        Two or more run directories; each is compared with the first.

    Returns
    -------
    Comparison

    Raises
    ------
    InputError
        If there are fewer than two, one is given twice, or one is no finished run, or a search.
    """
    paths = [Path(run).resolve() for run in runs]
    if len(paths) < 2:
        raise InputError(f"a comparison needs two runs or more, got {len(paths)}")
    if twice := [path for path, count in Counter(paths).items() if count > 1]:
        raise InputError(f"{twice[0]} is given twice: name each run once")
    found = [Evidence.read(run) for run in runs]
    if searches := [run.path for run in found if run.search]:
        raise InputError(
            f"{searches[0]} is a search, which scores no sealed test: compare runs of heldout fit, as with its chosen.toml"
        )
    shared = {name for name, count in Counter(run.name for run in found).items() if count > 1}
    names = [str(run.path) if run.name in shared else run.name for run in found]
    first, *others = zip(names, found, strict=True)
    return Comparison(
        names=names,
        runs=found,
        pairs=[pair(first, other) for other in others],
        differences=differences(found),
    )


def pair(first: tuple[str, Evidence], other: tuple[str, Evidence]) -> Paired:
    """Compare two runs, each a name and what it left behind, on the sealed rows that both have."""
    (name, one), (other_name, two) = first, other
    try:
        lines, unit = _lines(one, two)
    except InputError as error:
        return Paired(first=name, other=other_name, why_not=str(error))
    losses = by_moment(lines, "loss", f"loss{_OTHER}")
    a, b = losses["loss"].to_numpy(), losses[f"loss{_OTHER}"].to_numpy()
    moments, texts = lines["origin"].n_unique(), one.kind == "text"
    apart = moments == 1 or texts
    forecasts = f"{plural(len(lines), 'sealed forecast')} that both made at {plural(moments, 'moment')}"
    return Paired(
        first=name,
        other=other_name,
        lines=len(lines),
        moments=moments,
        compared=f"{plural(len(lines), 'sealed text')} that both put into classes" if texts else forecasts,
        unit=unit,
        losses=(float(a.mean()), float(b.mean())),
        difference=design.compare(b - a, design="independent" if apart else "span"),
        skill=skill(b, a, blocks=inf if apart else 8) if a.mean() > 0 else None,
    )


def _lines(one: Evidence, two: Evidence) -> tuple[pl.DataFrame, str]:
    """The loss of both, line by line, and what it is; raises with the reason where there are none."""
    if one.kind != two.kind:
        raise InputError("one puts texts into classes, the other forecasts")
    if one.kind == "text":
        return text_lines(one.predictions, two.predictions), "log loss"
    matched = _match(one, two)
    assert one.predictions is not None
    a, b = one.scale, two.scale
    if a is not None and b is not None and vars(a) == vars(b):
        metric, unit = a.metric, a.name
        units = scored_units(one.predictions, a, one.targets)
    else:
        metric = a.metric if a is not None else "mse"
        units, where = _own_units(matched)
        name = Scale(transforms=("none",), units=(1.0,), metric=metric).name
        unknown = " and ".join(run.name for run in (one, two) if run.scale is None)
        why = (
            f"the scale of {unknown} is not known" if unknown else "the runs were scored on different scales"
        )
        unit = f"{name} {where}, as {why}"
    mine = with_losses(matched, units, metric)
    theirs = with_losses(matched.with_columns(pl.col(f"forecast{_OTHER}").alias("forecast")), units, metric)
    lines = mine.with_columns(theirs["loss"].alias(f"loss{_OTHER}"))
    if not (lines["loss"].is_finite() & lines[f"loss{_OTHER}"].is_finite()).all():
        raise InputError("a forecast has no logarithm, in which the runs were scored")
    return lines, unit


def _match(one: Evidence, two: Evidence) -> pl.DataFrame:
    """The lines that both have, the other's columns beside."""
    a, b = one.predictions, two.predictions
    if a is None or b is None:
        raise InputError("one of them holds no predictions.parquet")
    if one.targets != two.targets:
        raise InputError(f"one forecasts {', '.join(one.targets)}, the other {', '.join(two.targets)}")
    keys = [name for name in ("series", *_KEYS) if name in a.columns or name in b.columns]
    if any(a.schema.get(name) != b.schema.get(name) for name in keys):
        raise InputError("one has series or times where the other has none")
    matched = a.join(b.select(*keys, *_VALUES), on=keys, how="inner", suffix=_OTHER, maintain_order="left")
    if matched.is_empty():
        raise InputError("no sealed row is in both")
    truth, again = matched["truth"].to_numpy(), matched[f"truth{_OTHER}"].to_numpy()
    near = _SAME * float(np.abs(truth).mean())
    if differ := int((~np.isclose(truth, again, rtol=_SAME, atol=near)).sum()):
        raise InputError(
            f"the truth differs in {differ:,} of the {len(matched):,} sealed rows that both have, so the data are not the same"
        )
    return matched


def _own_units(matched: pl.DataFrame) -> tuple[pl.DataFrame, str]:
    """Errors as they are, for one target of one series; else divided by the standard deviation of the truth."""
    keys = [name for name in ("series", "target") if name in matched.columns]
    units = matched.group_by(keys, maintain_order=True).agg(pl.col("truth").std(ddof=0).alias("unit"))
    spread = pl.when(pl.col("unit") > 0).then(pl.col("unit")).otherwise(1.0)
    alone = len(units) == 1
    units = units.with_columns(unit=pl.lit(1.0) if alone else spread, log=pl.lit(value=False))
    return units, "in the target's own units" if alone else "in standard deviations of the truth"


def differences(runs: list[Evidence]) -> list[list[str]]:
    """Give what is not the same in all runs: options, data, test, versions.

    Parameters
    ----------
    runs : list of Evidence
        Two or more.

    Returns
    -------
    list of list of str
        Each the name and the value in each run.
    """
    told = [_facts(run) for run in runs]
    names = dict.fromkeys(name for facts in told for name in facts)
    rows = [[name, *(facts.get(name, "–") for facts in told)] for name in names]
    return [row for row in rows if len(set(row[1:])) > 1]


def _facts(run: Evidence) -> dict[str, str]:
    facts = {name: write(value) for part in run.settled.values() for name, value in part.items()}
    facts["data (fingerprint)"] = str(run.about.get("data", "–"))[:12]
    facts["samples in the sealed test"] = f"{run.scores['test_rows']:,}"
    environment = run.scores.get("environment") or run.about.get("environment") or {}
    facts |= {f"{VERSION}{name}": str(version) for name, version in environment.get("packages", {}).items()}
    return facts


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None


def _ends(found: Interval | None) -> dict[str, float | None] | None:
    return (
        None
        if found is None
        else {"mean": _finite(found.mean), "low": _finite(found.low), "high": _finite(found.high)}
    )
