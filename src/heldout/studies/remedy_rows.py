"""What the arms of a ranking gave, as rows of a result."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from heldout.data.series import FloatArray
from heldout.studies.arms import Measured
from heldout.studies.capacity import finite, interval
from heldout.studies.compare import fold_t, skill, two_way
from heldout.studies.factorial import main_effects
from heldout.studies.gains import judge_gains, keep_stack, shares_saved, tiers, widened
from heldout.studies.remedies import MORE_DATA


def remedy_rows(
    control: Measured, arms: Sequence[Measured], *, delta: float, overlap: float
) -> list[dict[str, Any]]:
    """Give a row for each remedy, the largest gain first.

    Parameters
    ----------
    control : Measured
        What all are held against. `MORE_DATA` alone is the other way round: the control there, held against itself with less.
    arms : sequence of Measured
        Remedies.
    delta, overlap : float
        As in `heldout.studies.gains.judge_gains`.

    Returns
    -------
    list of dict
        ``name``, ``gain``, ``low``, ``high``, ``se``, ``p_value``, ``probability``, ``won``, ``verdict``, ``tier`` (None of
        `MORE_DATA`, which is no arm that could be taken), ``cost`` (seconds over the control's), ``lr``, ``loss``,
        ``train_loss``, ``valid_loss``, ``by_fold``.
    """
    turned = [arm.name == MORE_DATA for arm in arms]
    table = np.stack(
        [
            shares_saved(control.losses[None], arm.losses)[0]
            if back
            else shares_saved(arm.losses[None], control.losses)[0]
            for arm, back in zip(arms, turned, strict=True)
        ]
    )
    ranks = _tiers(control, arms)
    rows = [
        {
            "name": arm.name,
            "gain": gain.interval.mean,
            **{name: finite(getattr(gain.interval, name)) for name in ("low", "high", "se", "p_value")},
            "probability": finite(gain.probability),
            "won": gain.won,
            "verdict": gain.verdict,
            "tier": ranks.get(arm.name),
            "cost": arm.seconds / control.seconds if control.seconds else None,
            **described(arm),
            "by_fold": row.tolist(),
        }
        for arm, gain, row in zip(arms, judge_gains(table, delta=delta, overlap=overlap), table, strict=True)
    ]
    return sorted(rows, key=lambda row: -float(row["gain"]))


def control_row(control: Measured, arms: Sequence[Measured]) -> dict[str, Any]:
    """Give the row of the control."""
    return {"name": control.name, "tier": _tiers(control, arms)[control.name], **described(control)}


def described(arm: Measured) -> dict[str, Any]:
    """Give rate and losses of an arm."""
    return {
        "lr": arm.lr,
        "loss": float(arm.losses.mean()),
        "train_loss": finite(arm.train_loss),
        "valid_loss": finite(arm.valid_loss),
    }


def stack_row(
    names: Sequence[str], runs: Any, cells: Sequence[Measured], control: Measured, *, overlap: float
) -> dict[str, Any]:
    """Give what a factorial of remedies found.

    Parameters
    ----------
    names : sequence of str
        The factors.
    runs : array of shape (n_runs, n_factors), bool
        From `heldout.studies.factorial.two_level_runs`.
    cells : sequence of Measured
        What each run gave.
    control : Measured
        What gains are held against.
    overlap : float
        As in `heldout.studies.gains.widened`.

    Returns
    -------
    dict
        ``n_runs``, ``factors``: ``name``, ``effect``, ``low``, ``high``, ``se``, ``kept`` each.
    """
    gains = widened(shares_saved(np.stack([cell.losses for cell in cells]), control.losses), overlap)
    effects = main_effects(runs, gains)
    factors = []
    for name, effect, keep in zip(names, effects, keep_stack(effects), strict=True):
        said = interval(effect)
        factors.append({"name": name, "effect": said.pop("mean"), **said, "kept": keep})
    return {"n_runs": len(runs), "factors": factors}


def gain_of(arm: Measured, control: Measured, *, overlap: float) -> dict[str, float | None]:
    """Give what one arm gains on the folds that chose it, with an interval that knows of no choice."""
    table = widened(shares_saved(arm.losses[None], control.losses), overlap)
    return interval(fold_t(table[0]))


def confirmed_rows(
    named: Mapping[str, str], losses: Mapping[str, FloatArray], rates: Mapping[str, float], *, blocks: float
) -> list[dict[str, Any]]:
    """Give the rows of the folds that chose nothing.

    Parameters
    ----------
    named : mapping of str to str
        Arms by what they are there for: "control", "single", "stack"; an arm that is there twice has one row, by its first
        role.
    losses : mapping of str to array of shape (n_seeds, n)
        Losses per moment, by arm.
    rates : mapping of str to float
        Learning rates, by arm.
    blocks : float
        As in `heldout.studies.compare.two_way`.

    Returns
    -------
    list of dict
        ``role``, ``name``, ``lr``, ``loss``, ``low``, ``high``; ``saved``: share of the control's loss with its interval, None
        of the control.
    """
    control = losses[named["control"]]
    rows: dict[str, dict[str, Any]] = {}
    for role, name in named.items():
        if name in rows:
            continue
        own = interval(two_way(losses[name], blocks=blocks))
        saved = None if role == "control" else interval(skill(losses[name], control, blocks=blocks))
        rows[name] = {
            "role": role,
            "name": name,
            "lr": rates[name],
            "loss": own["mean"],
            "low": own["low"],
            "high": own["high"],
            "saved": saved,
        }
    return list(rows.values())


def _tiers(control: Measured, arms: Sequence[Measured]) -> dict[str, int]:
    ranked = [control, *(arm for arm in arms if arm.name != MORE_DATA)]
    found = tiers(np.stack([arm.moments for arm in ranked]))
    return {arm.name: int(tier) for arm, tier in zip(ranked, found, strict=True)}
