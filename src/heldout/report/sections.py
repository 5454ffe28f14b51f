"""The first three answers of a report: does it hold up, against what, did it overfit."""

from typing import Any

from heldout.plots.curves import learning_curves
from heldout.plots.scores import losses_by_fold, skill_chart
from heldout.plots.terms import SERIES, Terms
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
    share,
)
from heldout.report.evidence import Evidence, Fit
from heldout.report.optimism import optimism, optimism_of_texts
from heldout.result import HELDOUT


def verdict(evidence: Evidence) -> Section:
    """Does it hold up: the answer in a line, the sentence behind it, its numbers."""
    scores, own = evidence.scores, evidence.rows[HELDOUT]
    looks = int(scores.get("looks_at_test") or len(evidence.looks))
    best = evidence.rows.get(str(scores.get("best_baseline")), {})
    answer, kind = headline(own["skill_low"], own["skill_high"], best, evidence.terms)
    blocks: list[Block] = [
        Text(text=answer, kind=f"lead {kind}"),
        Text(text=scores["sentence"], kind="answer"),
        Numbers(items=[*_skills(evidence), *_right(own), *_footing(evidence, looks)]),
    ]
    if looks > 1:
        blocks.append(
            Text(
                text=f"These sealed {evidence.terms.rows} have been looked at {looks} times. Only the first look is free of choice: "
                "whoever tries until it fits, fits the test. Take the numbers as too good by an unknown amount.",
                kind="warning",
            )
        )
    return Section(title="Does it hold up?", anchor="verdict", blocks=blocks)


def headline(
    low: float | None, high: float | None, best: dict[str, Any], terms: Terms = SERIES
) -> tuple[str, str]:
    """Answer in one line, by the interval of the skill against the reference; and whether that is good, bad or open.

    Parameters
    ----------
    low, high : float or None
        Ends of the interval; None where the test is too short for one.
    best : dict
        The row of the best baseline, which takes the yes away if it is better; may be empty.
    terms : Terms, default SERIES
        What things are called.
    """
    if low is None or high is None:
        return "Too short a test to tell.", "open"
    if high < 0:
        return f"No: it is worse than {terms.repeating}.", "bad"
    if low <= 0:
        return f"Not shown: it may be no better than {terms.repeating}.", "open"
    beside = best.get("heldout_skill") or {}
    least, most = beside.get("low"), beside.get("high")
    if most is not None and most < 0:
        return f"It beats {terms.reference}, but {best['name']} is better.", "open"
    answer = f"Yes: it holds up on {terms.rows} it has never seen"
    if not terms.beside_best or best.get("name") in (None, terms.base):
        return f"{answer}.", "good"
    if least is not None and least > 0:
        return f"{answer}, and beats {best['name']}.", "good"
    return f"{answer}; that it beats {best['name']} is not shown.", "good"


def _skills(evidence: Evidence) -> list[Number]:
    own, best = evidence.rows[HELDOUT], evidence.scores.get("best_baseline")
    where = "on the folds" if evidence.scores.get("n_folds") else "here"
    items = [
        Number(
            label=f"Skill against {evidence.terms.reference}",
            value=percent(own["skill_vs_naive"]),
            detail=_spread(own["skill_low"], own["skill_high"]),
        )
    ]
    if best in evidence.rows and best != evidence.terms.base:
        against = evidence.rows[best].get("heldout_skill") or {}
        items.append(
            Number(
                label=f"Skill against {best}, the best baseline {where}",
                value=percent(against.get("mean")),
                detail=_spread(against.get("low"), against.get("high")),
            )
        )
    return items


def _right(own: dict[str, Any]) -> list[Number]:
    """How many texts it got right; of forecasts there is no such number."""
    if own.get("accuracy") is None:
        return []
    ends = ("accuracy", "accuracy_low", "accuracy_high")
    value, _, spread = share(*(own.get(name) for name in ends)).partition(" [")
    return [
        Number(label="Accuracy", value=value, detail=f"95 % interval [{spread}" if spread else ""),
        Number(
            label="Macro-F1",
            value=percent(own.get("macro_f1"), sign=False),
            detail="every class counts the same",
        ),
    ]


def _footing(evidence: Evidence, looks: int) -> list[Number]:
    scores = evidence.scores
    return [
        Number(
            label="Sealed test",
            value=f"{scores['test_rows']:,}",
            detail=f"{evidence.terms.samples}, scored after all choices",
        ),
        Number(
            label="Stands on",
            value=plural(scores.get("n_seeds") or 1, "seed"),
            detail=f"{plural(scores.get('n_folds') or 0, evidence.terms.fold)}; look {looks} at this test",
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
    scores, terms = evidence.scores, evidence.terms
    losses = {name: by_fold for name, by_fold in (scores.get("losses") or {}).items() if any(by_fold)}
    blocks: list[Block] = [
        Text(
            text=f"Skill is the share of {terms.reference}'s loss that is saved: 0 is no better, 100 % is perfect."
        ),
        draw(skill_chart, scores["rows"], terms=terms),
        _candidates(evidence),
        *_judged(evidence),
    ]
    if losses:
        blocks += [
            Text(text=_on_folds(scores, terms)),
            draw(losses_by_fold, losses, terms=terms),
        ]
    if scores.get("accuracy"):
        blocks += _accuracy(scores["accuracy"])
    return Section(title="Against what?", anchor="rivals", blocks=blocks)


def _candidates(evidence: Evidence) -> Table:
    rows = [
        [
            row["name"],
            "reference"
            if row["name"] == evidence.terms.base
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
            f"Skill against {evidence.terms.reference}",
            "heldout's skill against it",
            "Loss",
            "Loss on the folds",
        ],
        rows=rows,
        strong=tuple(place for place, row in enumerate(rows) if row[0] == HELDOUT),
    )


def _judged(evidence: Evidence) -> list[Block]:
    """What each candidate gets right, of texts."""
    found = list(evidence.rows.values())
    if all(row.get("accuracy") is None for row in found):
        return []
    rows = [
        [
            row["name"],
            share(row.get("accuracy"), row.get("accuracy_low"), row.get("accuracy_high")),
            *(percent(row.get(name), sign=False) for name in ("macro_f1", "balanced_accuracy", "ece")),
        ]
        for row in found
    ]
    before = evidence.rows[HELDOUT].get("ece_before")
    scaled = (
        ""
        if before is None
        else f" That of heldout was {percent(before, sign=False)} before temperature scaling."
    )
    return [
        Table(
            caption="Sealed test: how much of it each candidate gets right; 95 % intervals",
            header=["Candidate", "Accuracy", "Macro-F1", "Balanced accuracy", "Calibration error"],
            rows=rows,
            strong=tuple(place for place, row in enumerate(rows) if row[0] == HELDOUT),
        ),
        Text(
            text="Macro-F1 and balanced accuracy (the mean share of each class that is found) count every class the same, however rare. "
            f"The calibration error is how far confidence is from the share that is right, on average.{scaled}",
            kind="note",
        ),
    ]


def _beside(row: dict[str, Any]) -> str:
    found = row.get("heldout_skill")
    if row["name"] == HELDOUT or not found or found["mean"] is None:
        return ""
    return estimate(found["mean"], found["low"], found["high"], share=True)


def _on_folds(scores: dict[str, Any], terms: Terms) -> str:
    found = scores.get("fold_skill_vs_naive")
    text = f"Before the seal, everything was fitted again on each {terms.fold}."
    if not found:
        return text
    high = None if found["high"] is None else min(found["high"], 1.0)  # no loss is below 0
    skill = estimate(found["mean"], found["low"], high, share=True)
    return f"{text} Over the folds heldout's skill against {terms.reference} is {skill}."


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
    """Did it overfit: what new rows cost more, and the learning curves of every fold."""
    found, terms = evidence.scores.get("overfit"), evidence.terms
    later = bool((evidence.scores.get("data") or {}).get("has_time"))
    blocks = optimism_of_texts(found, later=later) if evidence.kind == "text" else optimism(found)
    usual = [fit for fit in evidence.fits if fit.candidate in evidence.rows]
    own = [fit for fit in usual if fit.candidate == HELDOUT]
    if own:
        blocks += [
            Text(
                text=f"Learning curves, one scale for all: after every epoch the loss of the training {terms.rows} is measured as that of "
                f"the validation {terms.rows} is, without dropout, penalty or noise. The marked epoch is the one whose weights were kept."
            ),
            draw(learning_curves, curves(own), terms=terms),
            Text(text=stopping(own, terms)),
            Folded(summary="Every fit", blocks=[_fits(own, terms)]),
        ]
    else:
        blocks.append(
            Text(text="Learning curves: the run's ledger is not there, so there are none.", kind="note")
        )
    for name in dict.fromkeys(fit.candidate for fit in usual if fit.candidate != HELDOUT):
        others = [fit for fit in usual if fit.candidate == name]
        blocks += [
            Text(text=f"For comparison, {name}. {stopping(others, terms)}"),
            draw(learning_curves, curves(others), terms=terms),
        ]
    return Section(title="Did it overfit?", anchor="overfit", blocks=blocks)


def curves(fits: list[Fit]) -> list[dict[str, Any]]:
    """Give fits as `heldout.plots.curves.learning_curves` takes them."""
    return [{"label": fit.label, "epochs": fit.epochs, "best_epoch": fit.best_epoch} for fit in fits]


def stopping(fits: list[Fit], terms: Terms = SERIES) -> str:
    """Say in a sentence where training stopped and how far apart the curves were there."""
    stops = sorted(fit.best_epoch for fit in fits)
    where = f"epoch {stops[0]}" if stops[0] == stops[-1] else f"epochs {stops[0]} to {stops[-1]}"
    ratios = [ratio for fit in fits if (ratio := _ratio(fit)) is not None]
    kept = f"The weights of {where} were kept ({plural(len(fits), 'fit')})."
    if not ratios:
        return kept
    low, high = min(ratios), max(ratios)
    apart = f"{low:.2f}" if f"{low:.2f}" == f"{high:.2f}" else f"{low:.2f} to {high:.2f}"
    why = (
        f"part of that is memory of the training rows, part is {terms.unfamiliar}"
        if terms.unfamiliar
        else f"what is above 1 is memory of the training {terms.rows}"
    )
    return f"{kept} There the validation loss is {apart} times the training loss; {why}."


def _ratio(fit: Fit) -> float | None:
    kept = _kept(fit)
    if kept is None or not kept["train_loss"] or kept["valid_loss"] is None:
        return None
    return float(kept["valid_loss"] / kept["train_loss"])


def _kept(fit: Fit) -> dict[str, Any] | None:
    return next((entry for entry in fit.epochs if entry["epoch"] == fit.best_epoch), None)


def _fits(fits: list[Fit], terms: Terms) -> Table:
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
        caption=f"Losses at the kept epoch, {terms.loss_unit}",
        header=["Fold", "Seed", "Kept epoch", "Last epoch", "Training loss", "Validation loss", "Parameters"],
        rows=rows,
    )
