"""What the choice among many trials is worth: its gain, the part of it that luck would give, and how often such picks fail."""

from collections.abc import Mapping, Sequence
from math import inf
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from heldout.data.series import FloatArray
from heldout.studies.capacity import finite, interval
from heldout.studies.compare import fold_skill, skill, two_way
from heldout.studies.lucky import deflated, effective_trials, overfitting_probability, trial_noise
from heldout.studies.multiple import spa
from heldout.studies.rungs import RACED_AFTER, Trial

_MOST_BLOCKS, _FEWEST_BLOCKS = 16, 4  # of time, for the probability of overfitting


def gain(losses: ArrayLike, start: ArrayLike, *, blocks: float | None = None) -> dict[str, float | None]:
    """Give the share of the start's loss that is saved.

    Parameters
    ----------
    losses, start : array of shape (n_folds,) or (n_seeds, n_moments)
        Of the choice and of the start.
    blocks : float, optional
        As in `heldout.studies.compare.skill`, for moments; without it they are folds.

    Returns
    -------
    dict
        ``gain``, ``low``, ``high`` (95 %) and ``se``; None where one is not known; all 0 where both are the same.

    Examples
    --------
    >>> round(gain([0.9, 0.8, 0.85], [1.0, 1.0, 1.0])["gain"], 6)
    0.15
    """
    names = ("gain", "low", "high", "se")
    own, reference = np.asarray(losses, dtype=np.float64), np.asarray(start, dtype=np.float64)
    if np.array_equal(own, reference):
        return dict.fromkeys(names, 0.0)
    if reference.mean() <= 0:
        return dict.fromkeys(names)
    found = fold_skill(own, reference) if blocks is None else skill(own, reference, blocks=blocks)
    said = interval(found)
    return {name: said["mean" if name == "gain" else name] for name in names}


def luck(trials: Sequence[Trial], complete: Sequence[Trial], choice: Trial) -> dict[str, float] | None:
    """Give what the best of the trials that were looked at seems to gain by luck alone, and the choice's gain less it.

    Parameters
    ----------
    trials : sequence of Trial
        All; the first is the start. What they lose at the first rung on the first folds, which all are fitted on, says how many
        independent ones they are worth.
    complete : sequence of Trial
        Those trained to the end, which say how much chance adds to one.
    choice : Trial
        The best of these.

    Returns
    -------
    dict or None
        ``gain``, ``deflated``, ``p_value`` (`heldout.studies.lucky.deflated`), ``effective_trials``, as shares of the start's loss;
        None with fewer than two complete trials or folds.
    """
    start = trials[0]
    n_folds = len(start.losses[-1])
    scale = float(start.losses[-1].mean())
    if len(complete) < 2 or n_folds < 2 or scale <= 0:
        return None
    folds = range(min(RACED_AFTER, n_folds))
    looked = [trial.first for trial in trials if all(place in trial.first for place in folds)]
    n = effective_trials([np.concatenate([first[place] for place in folds]) for first in looked])
    noise = trial_noise([trial.losses[-1] for trial in complete]) / scale
    own = gain(choice.losses[-1], start.losses[-1])
    se = inf if own["se"] is None else own["se"]
    found = deflated(own["gain"] or 0.0, se, n=n, sd=noise, df=n_folds - 1)
    return {
        "gain": found.lucky,
        "deflated": found.value,
        "p_value": found.p_value,
        "effective_trials": n,
    }


def overfitting(complete: Sequence[Trial]) -> dict[str, Any] | None:
    """Give how often the best on half of the moments is below the middle on the others.

    Parameters
    ----------
    complete : sequence of Trial
        Those trained to the end.

    Returns
    -------
    dict or None
        ``value``, ``low``, ``high``, ``n_configs``, ``n_blocks`` of `heldout.studies.lucky.overfitting_probability`; None with fewer
        than two trials or too few moments.
    """
    table = [np.concatenate([trial.last[place] for place in sorted(trial.last)]) for trial in complete]
    n_blocks = min(_MOST_BLOCKS, len(table[0]) // 4 * 2)
    if len(table) < 2 or n_blocks < _FEWEST_BLOCKS:
        return None
    found = overfitting_probability(np.array(table), n_blocks=n_blocks)
    return {name: getattr(found, name) for name in ("value", "low", "high", "n_configs", "n_blocks")}


def support(complete: Sequence[Trial], start: Trial) -> float | None:
    """Give the p value of "no trial is better than the start", for the best of them all.

    Parameters
    ----------
    complete : sequence of Trial
        Those trained to the end.
    start : Trial
        The recipe as it was given.

    Returns
    -------
    float or None
        Of `heldout.studies.multiple.spa`, over the moments of the folds that chose; None where the start is not among the
        complete trials, or alone.
    """
    table = {
        trial.number: np.concatenate([trial.last[place] for place in sorted(trial.last)])
        for trial in complete
    }
    control = table.pop(start.number, None)
    return None if control is None or not table else spa(control, list(table.values()))


def trial_row(trial: Trial, start: Trial, epochs: Sequence[int]) -> dict[str, Any]:
    """Give a trial as JSON has it.

    Parameters
    ----------
    trial, start : Trial
        It, and the one that it is held against.
    epochs : sequence of int
        Of the rungs.

    Returns
    -------
    dict
        ``se`` is the standard error of its difference from the start at the same rung, None for the start.
    """
    reached = max(trial.rung, 0)
    return {
        "number": trial.number,
        "values": trial.values,
        "rung": reached,
        "epochs": epochs[reached],
        "folds": int(np.isfinite(trial.losses[-1]).sum()) if trial.losses else 0,
        "loss": finite(trial.loss),
        "se": None if trial is start else trial.against(start),
        "state": trial.state,
        "why": trial.why,
    }


def judged_rows(
    choice: Trial,
    start: Trial,
    losses: Mapping[str, FloatArray],
    n_parameters: Mapping[str, int | None],
    *,
    blocks: float,
) -> list[dict[str, Any]]:
    """Give the rows of the folds that judge: the choice, and the start where it is another.

    Parameters
    ----------
    choice, start : Trial
        What is judged.
    losses : mapping of str to array of shape (n_seeds, n_moments)
        By the trials' names.
    n_parameters : mapping of str to int
        The same.
    blocks : float
        As in `heldout.studies.compare.two_way`.

    Returns
    -------
    list of dict
        ``difference`` is the loss less the choice's, paired; None for the choice.
    """
    rows = []
    for name, trial in {"choice": choice, "start": start}.items():
        if trial is choice and name != "choice":
            continue
        ends = interval(two_way(losses[trial.name], blocks=blocks))
        difference = losses[trial.name] - losses[choice.name]
        rows.append(
            {
                "name": name,
                "values": trial.values,
                "label": trial.name,
                "n_parameters": n_parameters[trial.name],
                "loss": ends["mean"],
                "low": ends["low"],
                "high": ends["high"],
                "difference": None if trial is choice else interval(two_way(difference, blocks=blocks)),
            }
        )
    return rows
