"""The first three answers of a report: does it hold up, against what, did it overfit."""

from typing import Any

from heldout.plots.curves import learning_curves, optimism_chart
from heldout.plots.scores import losses_by_fold, skill_chart
from heldout.plots.values import plural
from heldout.report.blocks import (
    Block,
    Folded,
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
from heldout.report.evidence import Evidence, Fit
from heldout.result import HELDOUT, NAIVE

OLDER = "This run was written by a version of heldout that did not record this."


def verdict(evidence: Evidence) -> Section:
    """Does it hold up: the answer in a line, the sentence behind it, its numbers."""
    scores, own = evidence.scores, evidence.rows[HELDOUT]
    looks = int(scores.get("looks_at_test") or len(evidence.looks))
    best = evidence.rows.get(str(scores.get("best_baseline")), {})
    answer, kind = headline(own["skill_low"], own["skill_high"], best)
    blocks: list[Block] = [
        Text(text=answer, kind=f"lead {kind}"),
        Text(text=scores["sentence"], kind="answer"),
        Numbers(items=[*_skills(evidence), *_footing(evidence, looks)]),
    ]
    if looks > 1:
        blocks.append(
            Text(
                text=f"These sealed rows have been looked at {looks} times. Only the first look is free of choice: "
                "whoever tries until it fits, fits the test. Take the numbers as too good by an unknown amount.",
                kind="warning",
            )
        )
    return Section(title="Does it hold up?", anchor="verdict", blocks=blocks)


def headline(low: float | None, high: float | None, best: dict[str, Any]) -> tuple[str, str]:
    """Answer in one line, by the interval of the skill against the last value; and whether that is good, bad or open.

    Parameters
    ----------
    low, high : float or None
        Ends of the interval; None where the test is too short for one.
    best : dict
        The row of the best baseline, which takes the yes away if it is better; may be empty.
    """
    if low is None or high is None:
        return "Too short a test to tell.", "open"
    if high < 0:
        return "No: it is worse than repeating the last value.", "bad"
    if low <= 0:
        return "Not shown: it may be no better than repeating the last value.", "open"
    end = (best.get("heldout_skill") or {}).get("high")
    if end is not None and end < 0:
        return f"It beats the last value, but {best['name']} is better.", "open"
    return "Yes: it holds up on rows it has never seen.", "good"


def _skills(evidence: Evidence) -> list[Number]:
    own, best = evidence.rows[HELDOUT], evidence.scores.get("best_baseline")
    where = "on the folds" if evidence.scores.get("n_folds") else "here"
    items = [
        Number(
            label="Skill against the last value",
            value=percent(own["skill_vs_naive"]),
            detail=_spread(own["skill_low"], own["skill_high"]),
        )
    ]
    if best in evidence.rows and best != NAIVE:
        against = evidence.rows[best].get("heldout_skill") or {}
        items.append(
            Number(
                label=f"Skill against {best}, the best baseline {where}",
                value=percent(against.get("mean")),
                detail=_spread(against.get("low"), against.get("high")),
            )
        )
    return items


def _footing(evidence: Evidence, looks: int) -> list[Number]:
    scores = evidence.scores
    return [
        Number(
            label="Sealed test", value=f"{scores['test_rows']:,}", detail="samples, scored after all choices"
        ),
        Number(
            label="Stands on",
            value=plural(scores.get("n_seeds") or 1, "seed"),
            detail=f"{plural(scores.get('n_folds') or 0, 'walk-forward fold')}; look {looks} at this test",
        ),
    ]


def _spread(low: float | None, high: float | None) -> str:
    return (
        f"95 % interval {between(low, high, share=True)}"
        if low is not None and high is not None
        else "too short for an interval"
    )


def rivals(evidence: Evidence) -> Section:
    """Against what: every candidate on the same sealed rows, as a chart and a table."""
    scores = evidence.scores
    losses = {name: by_fold for name, by_fold in (scores.get("losses") or {}).items() if any(by_fold)}
    blocks: list[Block] = [
        Text(
            text="Skill is the share of the last value's loss that is saved: 0 is no better, 100 % is perfect."
        ),
        draw(skill_chart, scores["rows"]),
        _candidates(evidence),
    ]
    if losses:
        blocks += [
            Text(text=_on_folds(scores)),
            draw(losses_by_fold, losses),
        ]
    if scores.get("accuracy"):
        blocks += _accuracy(scores["accuracy"])
    return Section(title="Against what?", anchor="rivals", blocks=blocks)


def _candidates(evidence: Evidence) -> Table:
    rows = [
        [
            row["name"],
            "reference"
            if row["name"] == NAIVE
            else estimate(row["skill_vs_naive"], row["skill_low"], row["skill_high"], share=True),
            _beside(row),
            estimate(row["value"], row["low"], row["high"]),
            number(row["folds"]),
        ]
        for row in evidence.rows.values()
    ]
    return Table(
        caption=f"Sealed test, best first: {evidence.scores['metric']}; 95 % intervals where the test is long enough for one",
        header=[
            "Candidate",
            "Skill against the last value",
            "heldout's skill against it",
            "Loss",
            "Loss on the folds",
        ],
        rows=rows,
        strong=tuple(place for place, row in enumerate(rows) if row[0] == HELDOUT),
    )


def _beside(row: dict[str, Any]) -> str:
    found = row.get("heldout_skill")
    if row["name"] == HELDOUT or not found or found["mean"] is None:
        return ""
    return estimate(found["mean"], found["low"], found["high"], share=True)


def _on_folds(scores: dict[str, Any]) -> str:
    found = scores.get("fold_skill_vs_naive")
    text = "Before the seal, everything was fitted again on each walk-forward fold."
    if not found:
        return text
    high = None if found["high"] is None else min(found["high"], 1.0)  # no loss is below 0
    skill = estimate(found["mean"], found["low"], high, share=True)
    return f"{text} Over the folds heldout's skill against the last value is {skill}."


def _accuracy(accuracy: dict[str, Any]) -> list[Block]:
    return [
        Table(
            caption="Accuracy by the definitions of the competition",
            header=["Candidate", "sMAPE, %", "MASE", "OWA"],
            rows=[
                [row["name"], *(number(row.get(name)) for name in ("smape", "mase", "owa"))]
                for row in accuracy["rows"]
            ],
            strong=tuple(place for place, row in enumerate(accuracy["rows"]) if row["name"] == HELDOUT),
        ),
        Text(text=str(accuracy.get("definition", "")), kind="note"),
    ]


def overfit(evidence: Evidence) -> Section:
    """Did it overfit: optimism and drift apart, and the learning curves of every fold."""
    blocks: list[Block] = [*_optimism(evidence.scores.get("overfit"))]
    usual = [fit for fit in evidence.fits if fit.candidate in evidence.rows]
    own = [fit for fit in usual if fit.candidate == HELDOUT]
    if own:
        blocks += [
            Text(
                text="Learning curves, one scale for all: after every epoch the loss of the training rows is measured as that of "
                "the validation rows is, without dropout, penalty or noise. The marked epoch is the one whose weights were kept."
            ),
            draw(learning_curves, curves(own)),
            Text(text=stopping(own)),
            Folded(summary="Every fit", blocks=[_fits(own)]),
        ]
    else:
        blocks.append(
            Text(text="Learning curves: the run's ledger is not there, so there are none.", kind="note")
        )
    for name in dict.fromkeys(fit.candidate for fit in usual if fit.candidate != HELDOUT):
        found = [fit for fit in usual if fit.candidate == name]
        blocks += [
            Text(text=f"For comparison, {name}. {stopping(found)}"),
            draw(learning_curves, curves(found)),
        ]
    return Section(title="Did it overfit?", anchor="overfit", blocks=blocks)


def curves(fits: list[Fit]) -> list[dict[str, Any]]:
    """Give fits as `heldout.plots.curves.learning_curves` takes them."""
    return [{"label": fit.label, "epochs": fit.epochs, "best_epoch": fit.best_epoch} for fit in fits]


def stopping(fits: list[Fit]) -> str:
    """Say in a sentence where training stopped and how far apart the curves were there."""
    stops = sorted(fit.best_epoch for fit in fits)
    where = f"epoch {stops[0]}" if stops[0] == stops[-1] else f"epochs {stops[0]} to {stops[-1]}"
    ratios = [ratio for fit in fits if (ratio := _ratio(fit)) is not None]
    kept = f"The weights of {where} were kept ({plural(len(fits), 'fit')})."
    if not ratios:
        return kept
    low, high = min(ratios), max(ratios)
    apart = f"{low:.2f}" if f"{low:.2f}" == f"{high:.2f}" else f"{low:.2f} to {high:.2f}"
    return (
        f"{kept} There the validation loss is {apart} times the training loss; part of that is memory of the training rows, "
        "part is that the validation rows are later ones."
    )


def _ratio(fit: Fit) -> float | None:
    kept = _kept(fit)
    if kept is None or not kept["train_loss"] or kept["valid_loss"] is None:
        return None
    return float(kept["valid_loss"] / kept["train_loss"])


def _kept(fit: Fit) -> dict[str, Any] | None:
    return next((entry for entry in fit.epochs if entry["epoch"] == fit.best_epoch), None)


def _fits(fits: list[Fit]) -> Table:
    rows = []
    for fit in fits:
        kept = _kept(fit) or {}
        rows.append(
            [
                fit.fold,
                str(fit.seed),
                str(fit.best_epoch),
                str(max(entry["epoch"] for entry in fit.epochs)),
                number(kept.get("train_loss")),
                number(kept.get("valid_loss")),
                "" if fit.n_parameters is None else f"{fit.n_parameters:,}",
            ]
        )
    return Table(
        caption="Losses at the kept epoch, in the scaled units that are minimised",
        header=["Fold", "Seed", "Kept epoch", "Last epoch", "Training loss", "Validation loss", "Parameters"],
        rows=rows,
    )


def _optimism(found: dict[str, Any] | None) -> list[Block]:
    if not found:
        return [Text(text=f"Optimism and drift: {OLDER}", kind="note")]
    if "why_not" in found:
        return [Text(text=f"Optimism and drift: {found['why_not']}", kind="note")]
    return [
        Text(text=_overfit_answer(found["optimism"]), kind="short"),
        Text(
            text="A model loses more on new rows than on those it learned from, for two reasons that are easily confused. Optimism is what it "
            "loses on unseen rows from within its training time: that is overfitting. Drift is what it loses on top of that because "
            "the time is a later one: no regulariser helps against it."
        ),
        draw(optimism_chart, found),
        *_skill_apart(found.get("skill")),
        Text(text=optimism_sentence(found)),
        Text(text=drift_sentence(found)),
        Text(
            text=f"One extra fit, which left {plural(found['blocks'], 'block')} of its training time out: "
            f"{found['n_train']:,} training samples, {found['n_in_period']:,} inside the blocks, {found['n_future']:,} after.",
            kind="note",
        ),
    ]


def _overfit_answer(optimism: dict[str, float | None]) -> str:
    low, high = optimism["low"], optimism["high"]
    if low is None or high is None:
        return "The blocks held out of its training time are too short to tell."
    if low > 0:
        return "Yes: it loses more on unseen rows of its own training time than on those it learned from."
    return "Not shown: the loss on unseen rows of its own training time is not above that on training rows by more than chance."


def _skill_apart(found: dict[str, Any] | None) -> list[Block]:
    """The skill in each part: what makes a time harder for all drops out of it."""
    if not found:
        return []
    train, inside, later = (estimate(**found[name], share=True) for name in ("train", "in_period", "future"))
    text = f"Skill against the last value is the fair reading, since times differ in how hard they are: {train} on training rows, {inside} on unseen rows of the same period, {later} on later rows."
    return [Text(text=text)]


def optimism_sentence(found: dict[str, Any]) -> str:
    """Read the optimism in one sentence."""
    part, share = found["optimism"], _share(found["optimism"], found["train"])
    size = f"loss on unseen rows of the same period is {number(found['in_period'])}, on training rows {number(found['train'])}"
    return f"Optimism {estimate(**part)}: {size}{share}; {_reading(part, 'unseen rows cost more than training rows', 'the interval holds 0, so no overfitting is shown')}."


def drift_sentence(found: dict[str, Any]) -> str:
    """Read the drift in one sentence; the last value, which learns nothing, says how much harder the time itself became."""
    part, naive = found["drift"], found.get("naive")
    size = f"loss on later rows is {number(found['future'])}"
    text = f"Drift {estimate(**part)}: {size}; {_reading(part, 'the later time is harder', 'the interval holds 0, so no drift is shown')}."
    if naive:
        text += f" The last value, which learns nothing, went from {number(naive['in_period'])} to {number(naive['future'])} on the same rows."
    return text


def _share(part: dict[str, float | None], base: float | None) -> str:
    if part["mean"] is None or not base:
        return ""
    return f", a difference of {percent(part['mean'] / base)}"


def _reading(part: dict[str, float | None], above: str, none: str) -> str:
    low, high = part["low"], part["high"]
    if low is None or high is None:
        return "too short to tell from chance"
    if low > 0:
        return above
    return "it is less, not more" if high < 0 else none
