"""`CapacityResult`: what a walk down the sizes found, as numbers, as a sentence and as JSON."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from heldout.check import InputError
from heldout.plots.tables import html_table
from heldout.studies.beaten import beaten

_WHY = {
    "best": "has the lowest loss",
    "1-SE": "is the smallest within one standard error of the best",
    "simplest": "is the smallest that is not shown to be worse than the best",
}


@dataclass(frozen=True, eq=False)
class CapacityResult:
    """What `heldout.reduce_capacity` found.

    Attributes
    ----------
    path : Path
        The run directory; ``chosen.toml`` in it is a configuration to fit with.
    found : dict
        Its ``scores.json``.
    """

    path: Path
    found: dict[str, Any]

    @property
    def stages(self) -> list[dict[str, Any]]:
        """What was made smaller, in order: ``name``, and ``rows``, one for each size."""
        return list(self.found["stages"])

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The sizes of all stages, each with ``stage``, its values, parameters, losses and what they say."""
        return [{"stage": stage["name"], **row} for stage in self.stages for row in stage["rows"]]

    @property
    def choice(self) -> dict[str, Any]:
        """Options of the chosen size, with its learning rate."""
        row = self.found["outer"]["rows"][0]
        return {**row["values"], "lr": row["lr"]}

    @property
    def start(self) -> dict[str, Any]:
        """Options of the size that the walk began at."""
        return dict(self.found["start"])

    @property
    def sentence(self) -> str:
        """What the tables mean."""
        return str(self.found["sentence"])

    def plot(self, stage: str | None = None) -> Any:
        """Draw loss against size for one stage, with the band of one standard error, the start and the choice.

        Parameters
        ----------
        stage : str, optional
            "num_layers", "hidden_size", "embedding_size" or "depth"; by default that with the most sizes.

        Returns
        -------
        plotly.graph_objects.Figure

        Raises
        ------
        InputError
            If there was no such stage.
        """
        from heldout.plots.capacity import size_chart  # noqa: PLC0415 - plotly is slow to import

        named = {one["name"]: one for one in self.stages}
        if stage is None:
            stage = max(named, key=lambda name: len(named[name]["rows"]))
        if stage not in named:
            raise InputError(f"there was no stage {stage!r}: there are {', '.join(named)}")
        return size_chart(
            named[stage], start=self.start, outer=self.found["outer"]["rows"], rule=self.found["rule"]
        )

    def _repr_html_(self) -> str:
        """One table per stage, one of the folds that judge, and the sentence."""
        *first, last = self.tables()
        return "".join(html_table(*table) for table in first) + html_table(*last, note=self.sentence)

    def tables(self) -> list[tuple[str, list[str], list[list[str]]]]:
        """Give caption, header and rows of the stages and of the folds that judge, as texts."""
        metric = self.found["metric"]
        header = [
            "layers x units", "parameters", "per sample", "lr", "train", "valid", metric, "above the best by", "",
        ]  # fmt: skip
        found = [
            (_CAPTIONS[stage["name"]], header, [_stage_line(row) for row in stage["rows"]])
            for stage in self.stages
        ]
        outer = self.found["outer"]
        lines = [_outer_line(row) for row in outer["rows"]]
        lines += [[one["name"], "", "", f"{one['loss']:.4g}", "", ""] for one in self.found["baselines"]]
        caption = f"Folds that chose nothing: {outer['n_folds']}, {outer['n_moments']:,} moments, {outer['n_seeds']} seed{'s' * (outer['n_seeds'] != 1)}"
        judged = ["", "layers x units", "parameters", metric, "95 % interval", "above the choice by"]
        return [*found, (caption, judged, lines)]

    def to_dict(self) -> dict[str, Any]:
        """Give it as JSON-able values, as in ``scores.json``."""
        return dict(self.found)


_CAPTIONS = {
    "num_layers": "Fewer layers",
    "hidden_size": "Fewer units",
    "embedding_size": "Shorter word vectors",
    "depth": "Shallow against deep at equal weights in the LSTM",
}


def sentence_of(found: Mapping[str, Any]) -> str:
    """Say in a few sentences what a walk found.

    Parameters
    ----------
    found : mapping
        As in ``scores.json``.
    """
    chosen = found["outer"]["rows"][0]
    rows = {row["label"]: row for stage in found["stages"] for row in stage["rows"]}
    per_sample = rows[chosen["label"]]["per_sample"]
    said = (
        f"Of {len(rows)} sizes {chosen['label']} {_WHY[found['rule']]}: {chosen['n_parameters']:,} parameters, {per_sample:.3g} "
        f"for each training sample."
    )
    folds = found["outer"]["n_folds"]
    where = f"On {folds} fold{'s' * (folds != 1)} that chose nothing its {found['metric']} is {chosen['loss']:.4g}"
    start = next((row for row in found["outer"]["rows"] if row["name"] == "start"), None)
    beside = beaten(found)
    if start is None:
        return f"{said} {where}. It is the start: nothing smaller is as good.{beside}"
    return f"{said} {where}, {_against(start, chosen)}. {_inflated(found['optimism'])}{beside}"


def _against(start: Mapping[str, Any], chosen: Mapping[str, Any]) -> str:
    """How the choice compares with the start, which has more or other parameters."""
    found, loss = start["difference"], start["loss"]
    times = start["n_parameters"] / chosen["n_parameters"]
    size = f"the start, {start['label']}" + (f", {times:.3g} times as large" if times > 1.05 else "")
    if not loss:
        return f"beside {loss:.4g} of {size}"
    share = 100 * found["mean"] / loss
    less = f"{abs(share):.1f} % {'below' if share >= 0 else 'above'} that of {size}"
    if found["low"] is None:
        return f"{less} (too few blocks for an interval)"
    shown = "better" if found["low"] > 0 else "worse" if found["high"] < 0 else "no difference is shown"
    ends = f"[{100 * found['low'] / loss:+.1f}, {100 * found['high'] / loss:+.1f}]"
    return f"{less} ({shown}; saved {share:+.1f} % {ends})"


def _inflated(found: Mapping[str, Any]) -> str:
    if found["value"] is None:
        return ""
    said = f"Where it was chosen the gain was {100 * found['inside']:+.1f} %, elsewhere {100 * found['outside']:+.1f} %"
    if found["low"] is None:
        return f"{said}."
    points = f"{100 * found['value']:+.1f} points [{100 * found['low']:+.1f}, {100 * found['high']:+.1f}]"
    if found["low"] > 0:
        return f"{said}: choosing flattered it by {points}."
    return f"{said}, a difference of {points}: that choosing flattered it is not shown."


def _stage_line(row: Mapping[str, Any]) -> list[str]:
    marks = [word for word in ("chosen", "best") if row[word]]
    if row["stopped"]:
        marks.append(f"given up ({row['folds']} folds)")
    return [
        row["label"],
        f"{row['n_parameters']:,}",
        f"{row['per_sample']:.3g}",
        f"{row['lr']:g}",
        _shown(row["train_loss"]),
        _shown(row["valid_loss"]),
        _shown(row["loss"]),
        "-" if row["best"] else f"{_shown(row['difference'])} ± {_shown(row['se'], '.2g')}",
        ", ".join(marks),
    ]


def _outer_line(row: Mapping[str, Any]) -> list[str]:
    ends = "too few blocks" if row["low"] is None else f"{row['low']:.4g} .. {row['high']:.4g}"
    against, found = "-", row["difference"]
    if found is not None:
        against = _shown(found["mean"])
        if found["low"] is not None:
            against += f" [{found['low']:.3g} .. {found['high']:.3g}]"
    return [row["name"], row["label"], f"{row['n_parameters']:,}", _shown(row["loss"]), ends, against]


def _shown(value: float | None, form: str = ".4g") -> str:
    return "-" if value is None else f"{value:{form}}"
