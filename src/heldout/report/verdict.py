"""The report of a verdict: the word, what it rests on, what else has to be said, and what more data would be worth."""

from typing import Any

from heldout.data.audit.finding import Finding
from heldout.plots.values import plural
from heldout.plots.verdict import data_chart, family_chart
from heldout.report.audit import audit_blocks
from heldout.report.blocks import (
    MISSING,
    Block,
    Number,
    Numbers,
    Points,
    Section,
    Table,
    Text,
    draw,
    estimate,
    number,
    percent,
)
from heldout.report.chosen import METRICS, run_again, standing
from heldout.report.evidence import Evidence

_MEANING = {
    "LEAK-SUSPECT": ("Something leaks: no verdict before it is closed.", "bad"),
    "OVERFIT": ("It overfits: what follows the training rows less does better on new ones.", "bad"),
    "NO HARMFUL OVERFIT": ("It does not overfit to any harm that matters.", "good"),
    "INCONCLUSIVE": ("These rows cannot tell whether it overfits.", "open"),
}


def verdict_sections(evidence: Evidence) -> list[Section]:
    """Give the parts of the page.

    Parameters
    ----------
    evidence : Evidence
        Of ``heldout judge``.

    Returns
    -------
    list of Section
    """
    audited = Section(
        title="Is there a leak?",
        anchor="audit",
        blocks=audit_blocks(tuple(map(Finding.from_dict, evidence.scores["audit"]))),
    )
    if evidence.scores["verdict"] == "LEAK-SUSPECT":
        return [_verdict(evidence), audited, run_again(evidence)]
    return [
        _verdict(evidence),
        audited,
        _family(evidence),
        _evidence(evidence),
        standing(evidence, _counts(evidence)),
        run_again(evidence),
    ]


def _verdict(evidence: Evidence) -> Section:
    scores = evidence.scores
    answer, kind = _MEANING[scores["verdict"]]
    lead: list[Block] = [
        Text(text=f"{scores['verdict']}. {answer}", kind=f"lead {kind}"),
        Text(text=scores["sentence"], kind="answer"),
    ]
    if scores["verdict"] == "LEAK-SUSPECT":
        return Section(title="Does it overfit?", anchor="verdict", blocks=lead)
    blocks: list[Block] = [
        *lead,
        Numbers(
            items=[
                Number(
                    label="Harm: what the chosen simpler recipe saves",
                    value=percent((scores["harm"] or {}).get("mean")),
                    detail=_bounds(scores["harm"]),
                ),
                Number(
                    label="Optimism: new rows of the same period",
                    value=percent((scores["gap"] or {}).get("mean")),
                    detail=_bounds(scores["gap"]),
                ),
                Number(
                    label=f"Skill against {scores['baseline']}",
                    value=percent(scores["skill"]["mean"]),
                    detail=_bounds(scores["skill"]),
                ),
                Number(
                    label="Stands on",
                    value=plural(scores["n_folds"], "fold"),
                    detail=f"{plural(scores['n_seeds'], 'seed')}, {plural(scores['fits'], 'fit')}",
                ),
            ]
        ),
    ]
    if scores["flags"]:
        blocks += [Text(text="What else has to be said:", kind="short")]
        blocks += [Points(items=[f"{name}: {why}." for name, why in scores["flags"].items()])]
    return Section(title="Does it overfit?", anchor="verdict", blocks=blocks)


def _bounds(found: dict[str, Any] | None) -> str:
    if found is None:
        return "not measured"
    if found["low"] is None:
        return "too few folds for an interval"
    if found["high"] is None:
        return f"at least {percent(found['low'])}, a 95 % bound"
    return f"90 % interval {percent(found['low'])} to {percent(found['high'])}: each end is a 95 % bound"


def _family(evidence: Evidence) -> Section:
    scores = evidence.scores
    rows = [["as given", number(scores["train"]), number(scores["loss"]), "", ""]]
    for one in scores["members"]:
        test = scores["by_fold"][one["name"]]["test"]
        rows.append(
            [
                one["name"],
                number(one["train"]),
                number(sum(test) / len(test)),
                estimate(*(one["saved"][end] for end in ("mean", "low", "high")), share=True),
                f"in {one['chosen']} of {plural(scores['n_folds'], 'fold')}"
                if one["admissible"]
                else "follows the training rows more: not admitted",
            ]
        )
    table = Table(
        caption=f"The family: training loss, {METRICS.get(scores['metric'], scores['metric'])} on new rows, and what is saved of it (90 % intervals)",
        header=["Recipe", "Training loss", "Loss on new rows", "Saved", "Chosen by validation rows"],
        rows=rows,
        words=(4,),
        strong=(0,),
    )
    blocks: list[Block] = [
        Text(
            text="A procedure overfits if another one of its family follows the training rows less and new rows better. So the recipe was "
            "fitted beside such ones, on the same folds with the same seeds. For each fold the validation rows known by then chose one, "
            f"and the fold's test rows, which chose nothing, say what that saves. Less than {scores['delta']:.1%} of the loss does not matter."
        ),
        draw(family_chart, scores["members"], scores["harm"], delta=scores["delta"]),
        table,
    ]
    return Section(title="What would follow the training rows less?", anchor="family", blocks=blocks)


def _evidence(evidence: Evidence) -> Section:
    scores = evidence.scores
    signal, share = scores.get("signal"), scores.get("memorisation")
    rows = [
        [
            "Optimism",
            _told(scores["gap"]),
            "loss on new rows of the same period, above that on the training rows",
        ],
        ["Drift", _told(scores["drift"]), "loss on later rows, above that on new rows of the same period"],
        [
            "Skill",
            _told(scores["skill"]),
            f"of the loss of {scores['baseline']}, the baseline that is best on these folds",
        ],
        [
            "Memorised",
            MISSING if share is None else percent(share, sign=False),
            "of the fit to the training rows is had with shuffled labels too: about 0 is good, 1 is all",
        ],
        [
            "Signal",
            MISSING if signal is None else f"p = {signal['p_value']:.2g}",
            "of 'there is nothing to learn', by fits to shuffled labels"
            + ("" if signal is None else f" ({plural(signal['draws'], 'draw')})"),
        ],
    ]
    blocks: list[Block] = [
        Table(
            caption="Beside the verdict", header=["What", "How much", "What it says"], rows=rows, words=(2,)
        )
    ]
    if scores.get("curve"):
        blocks.append(draw(data_chart, scores["curve"], metric=scores["metric"]))
    if scores["knobs"]:
        blocks.append(
            Table(
                caption="Regularisers that are on: how far a few steps of training end from where they end without it",
                header=["Option", "Value", "Change of the weights"],
                rows=[
                    [one["name"], number(one["value"]), percent(one["change"], sign=False)]
                    for one in scores["knobs"]
                ],
            )
        )
    return Section(title="What else do the rows say?", anchor="evidence", blocks=blocks)


def _told(found: dict[str, Any] | None) -> str:
    if found is None:
        return MISSING
    if found["low"] is not None and found["high"] is None:
        return f"{percent(found['mean'])} (at least {percent(found['low'])})"
    return estimate(found["mean"], found["low"], found["high"], share=True)


def _counts(evidence: Evidence) -> list[str]:
    scores = evidence.scores
    return [
        f"Intervals: {scores['method']}, {plural(scores['n_folds'], 'fold')}, seeds averaged.",
        f"What was compared was written down before any fold was scored: protocol.json, SHA-256 {scores['protocol'][:16]}….",
    ]
