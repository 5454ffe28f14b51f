"""What the reports of all searches share: the folds that judge, what they stand on, what exactly was run."""

from collections.abc import Mapping
from typing import Any

from heldout.plots.outer import outer_chart
from heldout.plots.values import plural
from heldout.report.blocks import (
    MISSING,
    Block,
    Number,
    Points,
    Section,
    Table,
    Text,
    between,
    draw,
    estimate,
    number,
    percent,
)
from heldout.report.evidence import Evidence
from heldout.report.provenance import recipe
from heldout.studies.cost import duration

METRICS = {"mse": "mean squared error", "mae": "mean absolute error", "log loss": "log loss in nats"}
_ROLES = {"choice": "the choice", "start": "the start", "best": "the best inside"}


def outer_row(evidence: Evidence, name: str) -> dict[str, Any] | None:
    """Give a line of the outer folds, "choice", "start" or "best"; None where there is none: it is the choice itself."""
    rows: list[dict[str, Any]] = evidence.scores["outer"]["rows"]
    return next((row for row in rows if row["name"] == name), None)


def saved(row: Mapping[str, Any] | None) -> tuple[float | None, float | None, float | None]:
    """Give what the choice saves of the loss of a line, and its interval; None where it is not known.

    Parameters
    ----------
    row : mapping or None
        ``loss`` and ``difference``: its loss less the choice's.

    Examples
    --------
    >>> saved({"loss": 2.0, "difference": {"mean": 0.1, "low": 0.05, "high": None}})
    (0.05, 0.025, None)
    """
    found = (row or {}).get("difference")
    if row is None or not found or not row["loss"]:
        return None, None, None
    mean, low, high = (
        None if found.get(end) is None else found[end] / row["loss"] for end in ("mean", "low", "high")
    )
    return mean, low, high


def saving(evidence: Evidence) -> Number:
    """Give what the choice saves of the start's loss on the folds that chose nothing."""
    start = outer_row(evidence, "start")
    if start is None:
        return Number(label="Saved of the start's loss", value=MISSING, detail="the choice is the start")
    mean, low, high = saved(start)
    ends = between(low, high, share=True)
    detail = f"95 % interval {ends}" if ends else "too little for an interval"
    return Number(label="Saved of the start's loss, outer folds", value=percent(mean), detail=detail)


def footing(evidence: Evidence) -> Number:
    """Give what the numbers stand on."""
    scores, outer = evidence.scores, evidence.scores["outer"]
    seeds = "" if not outer.get("n_seeds") else f", {plural(outer['n_seeds'], 'seed')}"
    return Number(
        label="Stands on",
        value=plural(int(scores.get("fits") or scores.get("n_fits") or 0), "fit"),
        detail=f"judged on {plural(outer['n_folds'], 'outer fold')}{seeds}",
    )


def outside(evidence: Evidence, *, more: list[Block]) -> Section:
    """Does the choice hold outside: the folds that chose nothing, as a chart and a table.

    Parameters
    ----------
    evidence : Evidence
        Of a search.
    more : list of Block
        What follows.
    """
    scores, outer = evidence.scores, evidence.scores["outer"]
    later = "later than all that chose" if evidence.kind == "series" else "of texts that chose nothing"
    moments = "" if not outer.get("n_moments") else f", {outer['n_moments']:,} {_moments(evidence)}"
    blocks: list[Block] = [
        Text(
            text=f"Whoever tries much and keeps the best, keeps some luck too. So the choice was judged once more, on "
            f"{plural(outer['n_folds'], 'outer fold')} {later}{moments}. They decided nothing, and neither did the sealed test, which is untouched."
        ),
        draw(outer_chart, outer, scores.get("baselines") or []),
        _outer_table(evidence),
        *more,
    ]
    return Section(title="Does the choice hold outside?", anchor="outside", blocks=blocks)


def _moments(evidence: Evidence) -> str:
    return "moments" if evidence.kind == "series" else "units of texts"


def _outer_table(evidence: Evidence) -> Table:
    scores = evidence.scores
    metric = METRICS.get(scores["metric"], scores["metric"])
    rows = [
        [
            _ROLES.get(row["name"], row["name"]),
            row.get("label") or "",
            "" if row.get("n_parameters") is None else f"{row['n_parameters']:,}",
            estimate(row["loss"], row["low"], row["high"]),
            _to_choice(row),
            estimate(*saved(row), share=True) if row.get("difference") else "",
        ]
        for row in scores["outer"]["rows"]
    ]
    own = outer_row(evidence, "choice") or {}
    rows += [
        [one["name"], "baseline", "", number(one["loss"]), _apart(one, own), _share(one, own)]
        for one in sorted(scores.get("baselines") or [], key=lambda one: float(one["loss"] or 0))
    ]
    return Table(
        caption=f"Outer folds: {metric}; 95 % intervals where there is enough for one",
        header=[
            "What",
            "Network",
            "Parameters",
            "Loss",
            "More than the choice",
            "What the choice saves of it",
        ],
        rows=rows,
        words=(1,),
        strong=(0,),
    )


def _to_choice(row: Mapping[str, Any]) -> str:
    found = row.get("difference")
    return "" if not found else estimate(found["mean"], found["low"], found["high"])


def _apart(one: Mapping[str, Any], own: Mapping[str, Any]) -> str:
    known = one.get("loss") is not None and own.get("loss") is not None
    return number(one["loss"] - own["loss"]) if known else MISSING


def _share(one: Mapping[str, Any], own: Mapping[str, Any]) -> str:
    known = one.get("loss") and own.get("loss") is not None
    return percent(1 - own["loss"] / one["loss"]) if known else MISSING


def standing(evidence: Evidence, counts: list[str]) -> Section:
    """What it stands on: fits, looks, what was left out, what was decided.

    Parameters
    ----------
    evidence : Evidence
        Of a search.
    counts : list of str
        How much was tried, in sentences.
    """
    scores = evidence.scores
    seconds = scores.get("seconds")
    fits = plural(int(scores.get("fits") or scores.get("n_fits") or 0), "fit")
    took = "" if not seconds else f", {duration(float(seconds))} of computing in all"
    blocks: list[Block] = [Points(items=[f"{fits}{took}.", *counts, "The sealed test was not looked at."])]
    left_out = scores.get("left_out") or []
    if left_out:
        blocks += [Text(text="Left out, to keep to the budget:", kind="short"), Points(items=left_out)]
    else:
        blocks.append(Text(text="Nothing was left out."))
    if scores.get("notes"):
        blocks += [Text(text="What was inferred and decided:"), Points(items=scores["notes"])]
    return Section(title="What does it stand on?", anchor="standing", blocks=blocks)


def run_again(evidence: Evidence) -> Section:
    """What exactly was run, and what to do with what was found."""
    about = recipe(evidence)
    chosen = evidence.path / "chosen.toml"
    follows: list[Block] = []
    if chosen.exists():
        follows = [
            Text(
                text="What was found is the file chosen.toml in the run directory: give it to heldout fit with the same table, and the sealed test is scored."
            ),
            Text(text=f"heldout fit TABLE --config {chosen}", kind="code"),
        ]
    return Section(title=about.title, anchor=about.anchor, blocks=[*follows, *about.blocks])
