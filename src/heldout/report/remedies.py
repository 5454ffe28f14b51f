"""The report of a ranking of remedies: what the best is worth on rows that chose nothing, then what each gains alone."""

from typing import Any

from heldout.plots.remedies import forest_chart
from heldout.plots.values import plural
from heldout.remedies_result import headline
from heldout.report.blocks import (
    MISSING,
    Block,
    Number,
    Numbers,
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
from heldout.report.chosen import METRICS, footing, run_again, standing
from heldout.report.evidence import Evidence

_ROLES = {"control": "the control", "single": "the best alone", "stack": "the stack"}


def remedies_sections(evidence: Evidence) -> list[Section]:
    """Give the parts of the page.

    Parameters
    ----------
    evidence : Evidence
        Of ``heldout remedies``.

    Returns
    -------
    list of Section
    """
    scores = evidence.scores
    counts = [
        f"{plural(len(scores['rows']), 'remedy').replace('remedys', 'remedies')} held against the control on the inner folds, each tuned alike.",
        f"Before the start: {scores['power']['said']}.",
        "The outer folds were looked at once.",
    ]
    return [
        _verdict(evidence),
        _alone(evidence),
        *_together(evidence),
        _confirmed(evidence),
        standing(evidence, counts),
        run_again(evidence),
    ]


def _verdict(evidence: Evidence) -> Section:
    scores = evidence.scores
    confirmed, selected = scores["confirmed"] or {}, scores["selected"]
    ends = between(confirmed.get("low"), confirmed.get("high"), share=True)
    items = [
        Number(
            label="Confirmed: saved of the control's loss",
            value=percent(confirmed.get("mean")),
            detail=f"95 % interval {ends}" if ends else "no interval",
        ),
        Number(
            label="Selected: saved where it was chosen",
            value=percent(selected["mean"]),
            detail="the better of several: flattered by the choice",
        ),
        Number(
            label="Smallest gain that these folds show",
            value=_smallest(scores["power"]["smallest"]),
            detail="in 4 of 5 cases, by the first fits",
        ),
        footing(evidence),
    ]
    blocks: list[Block] = [
        Text(text=f"{headline(scores)}.", kind=f"lead {_kind(confirmed)}"),
        Text(text=scores["sentence"].removeprefix(f"{headline(scores)}. "), kind="answer"),
        Numbers(items=items),
    ]
    return Section(title="What helps?", anchor="verdict", blocks=blocks)


def _smallest(value: float | None) -> str:
    return "none" if value is not None and value >= 1 else percent(value, sign=False)


def _kind(confirmed: dict[str, Any]) -> str:
    low, high = confirmed.get("low"), confirmed.get("high")
    if low is None or high is None:
        return "open"
    return "good" if low > 0 else "bad" if high < 0 else "open"


def _alone(evidence: Evidence) -> Section:
    scores = evidence.scores
    blocks: list[Block] = [
        Text(
            text="Each remedy alone against the control, on the same folds with the same seeds and the same learning rates to choose from. The intervals "
            "hold for all remedies at once. Remedies of one tier cannot be told apart, whatever their order."
        ),
        draw(forest_chart, scores),
        _table(scores),
        Text(
            text=f"HELPS MATERIALLY: all of the interval is above {percent(scores['delta'], sign=False)}; HELPS: above 0; NO MATERIAL EFFECT: within "
            f"{percent(scores['delta'], sign=False)} either way; HARMS: below 0; UNDECIDED: none of these. P is that of a gain that matters, of each remedy looked at alone.",
            kind="note",
        ),
    ]
    if scores["others"]:
        blocks += [
            Text(text="Not tried:", kind="short"),
            Points(items=[f"{one['name']}: {one['why']}" for one in scores["others"]]),
        ]
    return Section(title="What does each do alone?", anchor="alone", blocks=blocks)


def _table(scores: dict[str, Any]) -> Table:
    tuned = len(scores["rates"]) > 1
    rows = [
        [
            row["name"],
            row["verdict"],
            MISSING if row["tier"] is None else str(row["tier"]),
            percent(row["gain"]),
            between(row["low"], row["high"], share=True) or MISSING,
            MISSING if row["probability"] is None else f"{row['probability']:.2f}",
            f"{row['won']} of {scores['n_folds']}",
            MISSING if row["cost"] is None else f"{row['cost']:.1f} x",
            number(row["loss"]),
            number(row["train_loss"]),
            *([number(row["lr"])] if tuned else []),
        ]
        for row in scores["rows"]
    ]
    own = scores["control"]
    rows.append(
        ["control", "", str(own["tier"]), "", "", "", "", "1.0 x", number(own["loss"]), number(own["train_loss"]), *([number(own["lr"])] if tuned else [])]
    )  # fmt: skip
    chosen = scores["choice"]["name"].split(" + ")
    return Table(
        caption=f"Remedies: share of the control's {METRICS.get(scores['metric'], scores['metric'])} that each saves",
        header=[
            "Remedy", "Class", "Tier", "Saved", "95 %, all at once", f"P(> {percent(scores['delta'], sign=False)})", "Folds won",
            "Time", "Test loss", "Training loss", *(["Learning rate"] if tuned else []),
        ],
        rows=rows,
        words=(1,),
        strong=tuple(place for place, row in enumerate(rows) if row[0] in chosen),
    )  # fmt: skip


def _together(evidence: Evidence) -> list[Section]:
    stack = evidence.scores["stack"]
    if stack is None:
        return []
    blocks: list[Block] = [
        Text(
            text=f"The most promising remedies in {stack['n_runs']} combinations, in which each is on half of the time: so every fit says something of each of them. "
            "The stack is what has an effect larger than its standard error. That two remedies work together in a way of their own is not looked for."
        )
    ]
    if stack["factors"]:
        rows = [
            [
                one["name"],
                estimate(one["effect"], one["low"], one["high"], share=True),
                "yes" if one["kept"] else "no",
            ]
            for one in stack["factors"]
        ]
        kept = tuple(place for place, one in enumerate(stack["factors"]) if one["kept"])
        blocks.append(
            Table(
                caption="Effect of each in company, with 95 % intervals",
                header=["Remedy", "Saved", "In the stack"],
                rows=rows,
                words=(2,),
                strong=kept,
            )
        )
    if stack.get("why"):
        blocks.append(Text(text=f"No stack: {stack['why']}."))
    return [Section(title="What helps together?", anchor="together", blocks=blocks)]


def _confirmed(evidence: Evidence) -> Section:
    scores, outer = evidence.scores, evidence.scores["outer"]
    later = "later than all that chose" if evidence.kind == "series" else "of texts that chose nothing"
    rows = []
    for row in outer["rows"]:
        saved = row["saved"] or {}
        rows.append(
            [
                _ROLES[row["role"]],
                "" if row["role"] == "control" else row["name"],
                estimate(row["loss"], row["low"], row["high"]),
                estimate(saved.get("mean"), saved.get("low"), saved.get("high"), share=True) if saved else "",
            ]
        )
    rows += [[one["name"], "baseline", number(one["loss"]), ""] for one in scores["baselines"]]
    blocks: list[Block] = [
        Text(
            text=f"Whoever tries much and keeps the best, keeps some luck too. So the choice was measured once more, on {plural(outer['n_folds'], 'outer fold')} "
            f"{later}, with {plural(outer['n_seeds'], 'seed')}. They decided nothing, and neither did the sealed test, which is untouched."
        ),
        Table(
            caption=f"Outer folds: {METRICS.get(scores['metric'], scores['metric'])}; 95 % intervals where there is enough for one",
            header=["What", "Remedies", "Loss", "Saved of the control's"],
            rows=rows,
            words=(1,),
            strong=tuple(
                place for place, row in enumerate(outer["rows"]) if row["name"] == scores["choice"]["name"]
            ),
        ),
    ]
    return Section(title="Does it hold outside?", anchor="outside", blocks=blocks)
