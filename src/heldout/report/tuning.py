"""The report of a search over options: whether it paid, how much of its gain is luck, and what was tried."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from heldout.check import InputError
from heldout.plots.trials import history_chart, importance_chart, parallel_chart, slice_chart
from heldout.plots.tuning import gains_chart
from heldout.plots.values import plural
from heldout.report.blocks import (
    MISSING,
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
from heldout.report.chosen import footing, outside, run_again, standing
from heldout.report.evidence import OLDER, Evidence
from heldout.report.provenance import write
from heldout.studies.cost import Budget
from heldout.studies.proposals import load_study
from heldout.tune_result import EXPORT

_TOP = 10  # trials that are shown unasked
_ENDED = ("complete", "stopped", "raced out", "failed")


def tuning_sections(evidence: Evidence) -> list[Section]:
    """Give the parts of the page.

    Parameters
    ----------
    evidence : Evidence
        Of ``heldout tune``.

    Returns
    -------
    list of Section
    """
    scores = evidence.scores
    counts = [f"{plural(_n_trials(evidence), 'trial')} looked at on the inner folds; {_ways(evidence)}."]
    budget = {name: value for name, value in (scores.get("budget") or {}).items() if value is not None}
    if budget:
        counts.append(f"The budget was {_budget(budget)}.")
    counts.append("The outer folds were looked at once, for the choice and the start.")
    return [
        _verdict(evidence),
        _luck(evidence),
        outside(evidence, more=[]),
        _tried(evidence),
        standing(evidence, counts),
        run_again(evidence),
    ]


def _n_trials(evidence: Evidence) -> int:
    return int(evidence.scores.get("n_trials") or len(evidence.scores["trials"]))


def _ways(evidence: Evidence) -> str:
    """How the trials ended."""
    states = [trial["state"] for trial in evidence.scores["trials"]]
    return (
        ", ".join(f"{states.count(state)} {state}" for state in _ENDED if state in states) or "none finished"
    )


def _budget(found: dict[str, Any]) -> str:
    return str(Budget(fits=found.get("fits"), seconds=found.get("seconds")))


def headline(outside: dict[str, Any], *, same: bool) -> tuple[str, str]:
    """Answer in one line, by the interval of the gain on folds that chose nothing; and whether that is good, bad or open.

    Parameters
    ----------
    outside : dict
        ``gain``, ``low``, ``high``.
    same : bool
        Whether the start was chosen.

    Examples
    --------
    >>> headline({"gain": 0.05, "low": 0.02, "high": 0.08}, same=False)
    ('Yes: the choice loses less on data it has not seen.', 'good')
    """
    if same:
        return "No: no trial was better than the start, which stays.", "open"
    low, high = outside.get("low"), outside.get("high")
    if low is None or high is None:
        return "Too little data outside to tell.", "open"
    if low > 0:
        return "Yes: the choice loses less on data it has not seen.", "good"
    if high < 0:
        return "No: the choice is worse than the start on data it has not seen.", "bad"
    return "Not shown: on data it has not seen the choice may be no better than the start.", "open"


def _verdict(evidence: Evidence) -> Section:
    scores = evidence.scores
    answer, kind = headline(scores["outside"], same=scores["choice"] == scores["start"])
    lucky, pbo = scores.get("lucky") or {}, scores.get("pbo") or {}
    items = [
        _gain("Saved outside: folds that chose nothing", scores["outside"]),
        _gain("Saved inside: folds that chose", scores["inside"]),
    ]
    if lucky.get("gain") is not None:
        trials = lucky.get("effective_trials")
        count = f"the best of {_n_trials(evidence)} trials" + (
            f", worth {number(round(trials, 1))}" if trials else ""
        )
        items.append(Number(label="What luck alone would show", value=percent(lucky["gain"]), detail=count))
    if pbo.get("value") is not None:
        items.append(
            Number(
                label="Chance that choosing misled",
                value=percent(pbo["value"], sign=False),
                detail=_spread(pbo),
            )
        )
    items.append(footing(evidence))
    blocks: list[Block] = [
        Text(text=answer, kind=f"lead {kind}"),
        Text(text=scores["sentence"], kind="answer"),
        Numbers(items=items),
        _changed(evidence),
    ]
    return Section(title="Did tuning pay?", anchor="verdict", blocks=blocks)


def _gain(label: str, found: dict[str, Any]) -> Number:
    ends = between(found.get("low"), found.get("high"), share=True)
    return Number(
        label=label,
        value=percent(found.get("gain")),
        detail=f"95 % interval {ends}" if ends else "too few folds for an interval",
    )


def _spread(pbo: dict[str, Any]) -> str:
    ends = between(pbo.get("low"), pbo.get("high"), share=True).replace("+", "")
    return f"PBO, between {ends}" if ends else "PBO"


def _changed(evidence: Evidence) -> Block:
    start, choice, space = (evidence.scores.get(name) or {} for name in ("start", "choice", "space"))
    names = [name for name in dict.fromkeys([*space, *choice]) if name in choice or name in start]
    rows = [
        [name, _value(choice.get(name)), _value(start.get(name)), _room(space.get(name))] for name in names
    ]
    if not rows:
        return Text(text=f"Options: {OLDER}", kind="note")
    differ = tuple(n for n, name in enumerate(names) if choice.get(name) != start.get(name))
    return Table(
        caption="What was chosen; bold where it is not the start's",
        header=["Option", "Choice", "Start", "Tried"],
        rows=rows,
        words=(3,),
        strong=differ,
    )


def _value(value: Any) -> str:
    return number(value) if isinstance(value, float) else write(value)


def _room(found: Any) -> str:
    """What values an option was given."""
    if isinstance(found, list):
        return ", ".join(_value(one) for one in found)
    if not isinstance(found, dict):
        return "" if found is None else write(found)
    step = f", in steps of {number(found['step'])}" if found.get("step") else ""
    return f"{number(found.get('low'))} to {number(found.get('high'))}{', by ratio' if found.get('log') else ''}{step}"


def _luck(evidence: Evidence) -> Section:
    scores = evidence.scores
    lucky, pbo, optimism = (scores.get(name) or {} for name in ("lucky", "pbo", "optimism"))
    blocks: list[Block] = [
        Text(
            text="The best of many trials is in part the luckiest: its gain on the folds that chose it is too good. Two things say by how much. "
            "One is what the luckiest would show if no trial were better than another; the other is what is left on folds that chose nothing."
        ),
        draw(gains_chart, scores["inside"], scores["outside"], lucky),
    ]
    if optimism.get("value") is not None:
        spread = estimate(optimism["value"], optimism.get("low"), optimism.get("high"), share=True)
        blocks.append(Text(text=f"Optimism of the search, gain inside less gain outside: {spread}."))
    if lucky.get("gain") is not None:
        blocks.append(Text(text=_lucky(lucky, _n_trials(evidence))))
    blocks.append(
        Text(text=_pbo(pbo))
        if pbo
        else Text(
            text="The probability of backtest overfitting was not measured: it needs several finished trials.",
            kind="note",
        )
    )
    return Section(title="How much of it is luck?", anchor="luck", blocks=blocks)


def _lucky(found: dict[str, Any], n_trials: int) -> str:
    trials = found.get("effective_trials")
    worth = "" if not trials else f", which are so alike that they count as {number(round(trials, 1))},"
    text = f"The luckiest of {plural(n_trials, 'trial')}{worth} would show {percent(found['gain'])} if none were better than the start."
    if found.get("deflated") is None:
        return text
    p_value = found.get("p_value")
    chance = "" if p_value is None else f" (p = {p_value:.2g})" if p_value >= 0.001 else " (p below 0.001)"
    shown = (
        "more than luck would explain" if p_value is not None and p_value < 0.05 else "which luck may explain"
    )
    return f"{text} Inside, {percent(found['deflated'])} is left of the gain after that{chance}: {shown}."


def _pbo(found: dict[str, Any]) -> str:
    if found.get("value") is None:
        return "The probability of backtest overfitting could not be measured."
    ends = between(found.get("low"), found.get("high"), share=True).replace("+", "")
    spread = f", 95 % interval {ends}" if ends else ""
    of = (
        f"{plural(found['n_configs'], 'finished trial')} over {plural(found['n_blocks'], 'block')}"
        if found.get("n_configs")
        else "trials"
    )
    return (
        f"Probability of backtest overfitting (PBO): {percent(found['value'], sign=False)}{spread}. It is how often the best of {of} on one half of the data "
        "is below the middle of all on the other half: 0 % is a choice that holds, 50 % is a choice that says nothing."
    )


def _tried(evidence: Evidence) -> Section:
    scores = evidence.scores
    blocks: list[Block] = [*_plots(evidence.path / EXPORT)]
    ranked = sorted(
        (trial for trial in scores["trials"] if trial["loss"] is not None and trial["state"] == "complete"),
        key=lambda trial: trial["loss"],
    )
    if ranked:
        many = len(ranked) > _TOP
        caption = f"The best {_TOP} of {len(ranked)} complete trials" if many else "Complete trials"
        blocks.append(_trials(evidence, ranked[:_TOP], f"{caption}, by loss on the inner folds"))
    if scores.get("rungs"):
        blocks.append(_rungs(scores))
    every = _trials(evidence, scores["trials"], "Every trial, in the order in which they were asked for")
    blocks.append(Folded(summary="Every trial", blocks=[every]))
    return Section(title="What was tried?", anchor="tried", blocks=blocks)


def _trials(evidence: Evidence, trials: list[dict[str, Any]], caption: str) -> Table:
    names = list(evidence.scores.get("space") or {}) or sorted(
        {name for trial in trials for name in trial["values"]}
    )
    rows = [
        [
            str(trial["number"]),
            number(trial["loss"]),
            number(trial.get("se")),
            *(_value(trial["values"][name]) if name in trial["values"] else MISSING for name in names),
            str(trial["epochs"]),
            str(trial["folds"]),
            f"{trial['state']}{': ' if trial.get('why') else ''}{trial.get('why') or ''}",
        ]
        for trial in trials
    ]
    chosen = evidence.scores.get("chosen")
    return Table(
        caption=caption,
        header=[
            "Trial",
            "Loss",
            "SE to the start",
            *names,
            "Epochs",
            "Folds",
            "How it ended",
        ],
        rows=rows,
        words=(len(names) + 5,),
        strong=tuple(n for n, trial in enumerate(trials) if trial["number"] == chosen),
    )


def _rungs(scores: dict[str, Any]) -> Table:
    """How many trials got how far."""
    rungs, trials = scores["rungs"], scores["trials"]
    rows = []
    for place, epochs in enumerate(rungs):
        here = [trial for trial in trials if trial["rung"] == place]
        reached = sum(trial["rung"] >= place for trial in trials)
        ends = [sum(trial["state"] == state for trial in here) for state in _ENDED]
        rows.append([f"to epoch {epochs}", str(reached), *map(str, ends)])
    return Table(
        caption="Rungs: after each, the worse trials are stopped, and the others go on from where they were",
        header=[
            "Rung",
            "Trials that came here",
            "Complete here",
            "Stopped here",
            "Raced out here",
            "Failed here",
        ],
        rows=rows,
    )


def _plots(path: Path) -> list[Block]:
    """Optuna's plots, or a sentence that says why there are none."""
    try:
        _check_file(path)
        study = load_study(path)
    except InputError as error:
        return [Text(text=f"Optuna's plots are not here: {error}. Then write the report again.", kind="note")]
    text = f"Optuna's plots of the search. The study itself is {path.name} in the run directory, which optuna-dashboard opens."
    made = (history_chart, importance_chart, slice_chart, parallel_chart)
    return [Text(text=text), *(draw(make, study) for make in made)]


def _check_file(path: Path) -> None:
    """A file that is there but is no study must not end the report."""
    if not path.is_file():
        return
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as file:
            file.execute("SELECT study_name FROM studies JOIN trials USING (study_id)").fetchone()
    except sqlite3.Error as error:
        raise InputError(
            f"{path.name} is damaged: delete it and give the command of the run again"
        ) from error
