"""The report of a walk down the sizes: which size, what size costs, and what of it holds on folds that chose nothing."""

from typing import Any

from heldout.plots.capacity import DEPTH, size_chart, stage_name, times_as_many
from heldout.plots.values import plural
from heldout.report.blocks import (
    MISSING,
    Block,
    Number,
    Numbers,
    Section,
    Table,
    Text,
    between,
    draw,
    estimate,
    number,
    percent,
)
from heldout.report.chosen import METRICS, footing, outer_row, outside, run_again, saved, saving, standing
from heldout.report.evidence import Evidence

_RULES = {
    "best": "The rule: the lowest mean loss.",
    "1-SE": "The rule: the fewest parameters among the sizes that are not more than one standard error worse than the best. "
    "The standard error is that of the difference on the same folds, so what makes a fold hard for all sizes drops out of it.",
    "simplest": "The rule: the fewest parameters among the sizes that a paired test over the folds does not show to be worse than the best.",
}


def capacity_sections(evidence: Evidence) -> list[Section]:
    """Give the parts of the page.

    Parameters
    ----------
    evidence : Evidence
        Of ``heldout reduce``.

    Returns
    -------
    list of Section
    """
    tried = [row for stage in evidence.scores["stages"] for row in stage["rows"]]
    stopped = sum(bool(row.get("stopped")) for row in tried)
    counts = [
        f"{plural(len({row['label'] for row in tried}), 'size')} looked at on the inner folds, each tuned alike."
    ]
    if stopped:
        counts.append(f"{plural(stopped, 'time')} the race stopped a size that could not win any more.")
    counts.append("The outer folds were looked at once, for the choice, the start and the best.")
    return [
        _verdict(evidence),
        _sizes(evidence),
        outside(evidence, more=_optimism(evidence)),
        standing(evidence, counts),
        run_again(evidence),
    ]


def headline(choice: dict[str, Any], start: dict[str, Any] | None) -> tuple[str, str]:
    """Answer in one line, by the interval of what the choice saves on folds that chose nothing; and whether that is good.

    Parameters
    ----------
    choice : dict
        Its line of the outer folds.
    start : dict or None
        That of the start; None where the choice is the start.

    Examples
    --------
    >>> start = {"n_parameters": 900, "loss": 1.0, "difference": {"mean": 0.1, "low": 0.05, "high": 0.15}}
    >>> headline({"n_parameters": 90}, start)
    ('Smaller, and better on data it has not seen.', 'good')
    """
    if start is None:
        return "The start stays: nothing smaller does as well.", "open"
    what = "Smaller" if choice["n_parameters"] < 0.95 * start["n_parameters"] else "Another shape"
    _, low, high = saved(start)
    if low is None or high is None:
        return f"{what}; too little data outside to tell what that costs.", "open"
    if low > 0:
        return f"{what}, and better on data it has not seen.", "good"
    if high < 0:
        return f"{what}, but worse on data it has not seen.", "bad"
    return f"{what}, and no loss by it is shown on data it has not seen.", "good"


def _verdict(evidence: Evidence) -> Section:
    choice, start = outer_row(evidence, "choice") or {}, outer_row(evidence, "start")
    answer, kind = headline(choice, start)
    times = "" if start is None else _times(choice["n_parameters"], start["n_parameters"])
    ends = between(choice["low"], choice["high"])
    items = [
        Number(
            label="Chosen: layers x units", value=choice["label"], detail=_rate(evidence, choice["label"])
        ),
        Number(label="Parameters", value=f"{choice['n_parameters']:,}", detail=times),
        Number(
            label=f"Loss on the outer folds ({METRICS.get(evidence.scores['metric'], evidence.scores['metric'])})",
            value=number(choice["loss"]),
            detail=f"95 % interval {ends}" if ends else "too little for an interval",
        ),
        saving(evidence),
        footing(evidence),
    ]
    blocks: list[Block] = [
        Text(text=answer, kind=f"lead {kind}"),
        Text(text=evidence.scores["sentence"], kind="answer"),
        Numbers(items=items),
    ]
    return Section(title="What was chosen?", anchor="verdict", blocks=blocks)


def _times(chosen: int, start: int) -> str:
    if chosen < start:
        return f"the start has {start:,}, {times_as_many(start / chosen)} as many"
    return "as many as the start" if chosen == start else f"the start has {start:,}"


def _rate(evidence: Evidence, label: str) -> str:
    """Learning rate, and parameters per training sample, of a size."""
    rows = {row["label"]: row for stage in evidence.scores["stages"] for row in stage["rows"]}
    row = rows.get(label)
    if row is None:
        return ""
    each = (
        f"{number(row['per_sample'])} parameters per training sample"
        if row.get("per_sample") is not None
        else ""
    )
    rate = f"learning rate {number(row['lr'])}" if row.get("lr") is not None else ""
    return ", ".join(filter(None, [rate, each]))


def _sizes(evidence: Evidence) -> Section:
    """What size costs: every stage as a figure and a table."""
    scores = evidence.scores
    outer = {row["label"]: row for row in scores["outer"]["rows"]}
    blocks: list[Block] = [
        Text(
            text="Every size was trained on the same inner folds with the same seeds and the same learning rates to choose from. Above, in each figure, "
            "the loss on the test part of these folds; below, the loss on the rows it learned from and on those that stopped its training. "
            "Where the two lines below part, the network learns by heart."
        ),
        Text(text=_RULES.get(scores.get("rule", ""), "")),
    ]
    for place, stage in enumerate(scores["stages"], 1):
        start, rows = scores["start"], list(outer.values())
        step = (
            f"Step {place}: {stage_name(stage['name'])}"
            if len(scores["stages"]) > 1
            else _only(stage["name"])
        )
        blocks += [
            Text(text=step, kind="short"),
            draw(size_chart, stage, start=start, outer=rows, rule=scores.get("rule", "")),
            _table(stage),
        ]
    return Section(title="What does size cost?", anchor="sizes", blocks=blocks)


def _only(name: str) -> str:
    return "Shallow against deep" if name == DEPTH else stage_name(name).capitalize()


def _table(stage: dict[str, Any]) -> Table:
    rows, strong = [], []
    for place, row in enumerate(stage["rows"]):
        if row.get("chosen"):
            strong.append(place)
        rows.append(
            [
                _said(row),
                f"{row['n_parameters']:,}",
                number(row.get("per_sample")),
                number(row.get("loss")),
                MISSING if row.get("best") else number(row.get("difference")),
                MISSING if row.get("best") else number(row.get("se")),
                number(row.get("train_loss")),
                number(row.get("valid_loss")),
                number(row.get("lr")),
                f"{row['folds']} x {row['seeds']}",
            ]
        )
    return Table(
        caption=f"Sizes tried, {stage_name(stage['name'])}: means over folds and seeds; differences and their standard errors (SE) are paired",
        header=[
            "Size",
            "Parameters",
            "Per training sample",
            "Test loss",
            "More than the best",
            "SE",
            "Training loss",
            "Validation loss",
            "Learning rate",
            "Folds x seeds",
        ],
        rows=rows,
        strong=tuple(strong),
    )


def _said(row: dict[str, Any]) -> str:
    marks = [word for word in ("chosen", "best") if row.get(word)]
    if row.get("stopped"):
        marks.append("stopped by the race")
    return f"{row['label']}: {', '.join(marks)}" if marks else str(row["label"])


def _optimism(evidence: Evidence) -> list[Block]:
    """What choosing flattered."""
    found = evidence.scores.get("optimism") or {}
    if outer_row(evidence, "start") is None or found.get("value") is None:
        return []
    inside, out = percent(found["inside"]), percent(found["outside"])
    spread = estimate(found["value"], found.get("low"), found.get("high"), share=True)
    return [
        Text(text=_flattered(found), kind="short"),
        Text(
            text=f"Against the start the choice saved {inside} of the loss on the folds that chose it and {out} on those that did not: "
            f"an optimism of {spread}. The number to quote is the second one."
        ),
    ]


def _flattered(found: dict[str, Any]) -> str:
    low, high = found.get("low"), found.get("high")
    if low is None or high is None:
        return "How much choosing flattered the choice cannot be told from so few folds."
    if low > 0:
        return "Choosing flattered the choice: it gains less outside than where it was chosen."
    return "That choosing flattered the choice is not shown."
