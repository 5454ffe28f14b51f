"""The verdict on a procedure: does it follow its training rows at the cost of new ones, and how sure is that."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Any, TypeGuard

import numpy as np

from heldout.data.series import FloatArray, IntArray
from heldout.studies.compare import Interval, fold_skill
from heldout.studies.equivalence import detectable, needed
from heldout.studies.gains import widened

VERDICTS = ("LEAK-SUSPECT", "OVERFIT", "NO HARMFUL OVERFIT", "INCONCLUSIVE")
_UNSUPPORTED = 0.1  # p value of Hansen's SPA above which a choice among trials is not supported
ONE_SIDED = 0.90
"""Level of the two-sided intervals whose ends are one-sided 95 % bounds."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Arm:
    """One recipe of the comparison, fitted on every fold with every seed.

    Attributes
    ----------
    name : str
        What it is called.
    test, valid, train : array of shape (n_folds, n_seeds)
        Losses on the fold's test, on its validation rows and on its training rows, the last two in the units of what is
        minimised; all in evaluation mode, of the weights that were kept.
    """

    name: str
    test: FloatArray
    valid: FloatArray
    train: FloatArray


@dataclass(frozen=True, kw_only=True)
class Folds:
    """How the folds of a comparison hang together.

    Attributes
    ----------
    forward : bool
        They follow each other in time, each with a refit: what validation rows said until a fold may choose for it. Else
        they are the parts of a cross-validation, and only a fold's own validation rows may.
    overlap : float, default 0
        Test samples over training samples of a fold, where training sets share samples (Nadeau and Bengio); 0 where
        folds are blocks of time.
    """

    forward: bool
    overlap: float = 0.0

    @property
    def method(self) -> str:
        """What an interval over the folds is called."""
        return "t over folds" if self.overlap == 0 else "corrected t over splits (Nadeau and Bengio)"


def share_saved(
    losses: FloatArray, control: FloatArray, folds: Folds, *, level: float = ONE_SIDED
) -> Interval:
    """Give the share of the control's loss that another procedure saves, ``1 - L / L_control``, with Fieller's interval.

    Parameters
    ----------
    losses, control : arrays of shape (n_folds,)
        Mean losses of the same folds; above 0 on average.
    folds : Folds
        How they hang together.
    level : float, default 0.90
        Two-sided confidence, in (0, 1).

    Returns
    -------
    Interval
        Over walk-forward folds `heldout.studies.compare.fold_skill`; for a cross-validation with the folds' spread
        `heldout.studies.gains.widened`.

    Examples
    --------
    >>> a, b = np.array([1.0, 1.1, 0.9, 1.0]), np.array([1.2, 1.3, 1.1, 1.3])
    >>> one, two = (share_saved(a, b, Folds(forward=False, overlap=x)) for x in (0, 0.25))
    >>> round(one.mean, 3), two.low < one.low
    (0.184, True)
    """
    wide = (widened(np.asarray(x, dtype=np.float64), folds.overlap) for x in (losses, control))
    return fold_skill(*wide, level=level)


def choices(valid: FloatArray, folds: Folds) -> IntArray:
    """Choose a member of the family for each fold, by validation losses that its test has no part in.

    Parameters
    ----------
    valid : array of shape (n_members, n_folds)
        Mean validation losses.
    folds : Folds
        With ``forward``, the mean of the folds so far decides, else the fold's own.

    Returns
    -------
    array of shape (n_folds,), int64

    Examples
    --------
    >>> valid = np.array([[1.0, 3.0, 1.0], [2.0, 1.0, 1.5]])
    >>> choices(valid, Folds(forward=True)), choices(valid, Folds(forward=False))
    (array([0, 1, 1]), array([0, 1, 0]))
    """
    if folds.forward:
        valid = np.cumsum(valid, axis=1)
    return np.asarray(valid.argmin(axis=0))


def find_verdict(
    control: Arm, family: Sequence[Arm], folds: Folds, *, delta: float, gap: Interval
) -> dict[str, Any]:
    """Judge a procedure against those of its family that follow the training rows less.

    1. OVERFIT: the member that the validation rows choose has, on test rows that chose nothing, a loss that is lower by
       more than ``delta``, by a one-sided bound at 95 %, and the procedure's loss on new rows of its own period is above
       that on its training rows by the same bound.
    2. NO HARMFUL OVERFIT: no admissible member, nor the chosen one, saves as much as ``delta``, each by such a bound.
    3. INCONCLUSIVE: neither.

    Parameters
    ----------
    control : Arm
        The procedure.
    family : sequence of Arm
        From `heldout.studies.family.less_fitted`; admissible are those with a training loss no lower than the control's.
    folds : Folds
        How the folds hang together.
    delta : float
        The smallest harm that matters, as a share of the control's loss.
    gap : Interval
        Optimism: what is lost on new rows of the same period, at level .90.

    Returns
    -------
    dict
        ``verdict``, ``why`` (a clause), ``harm`` (share of the loss that the chosen member saves: mean, low, high),
        ``members`` (``name``, ``admissible``, ``train``, ``saved``, ``chosen``: in how many folds), ``detectable`` (the
        smallest harm seen in 4 of 5 cases), ``folds_needed`` to see a harm of ``delta``, ``method``.

    Notes
    -----
    Statement 2 is about all members at once, but needs no correction for their number: it is made only where each of them
    is shown to save less than ``delta``, and then one that is not must have passed a test at 5 % (Berger 1982, the
    intersection-union principle).

    References
    ----------
    Mitchell 1997, Machine Learning, section 3.7, for the definition. Cawley and Talbot 2010, JMLR 11, for choosing and
    testing on different rows.
    """
    own = control.test.mean(axis=1)
    admissible = [arm.train.mean() >= control.train.mean() for arm in family]
    allowed = [arm for arm, good in zip(family, admissible, strict=True) if good]
    harm, taken = None, np.zeros(len(allowed), int)
    if allowed:
        chosen = choices(np.stack([arm.valid.mean(axis=1) for arm in allowed]), folds)
        taken = np.bincount(chosen, minlength=len(allowed))
        losses = np.stack([arm.test.mean(axis=1) for arm in allowed])[chosen, np.arange(len(own))]
        harm = share_saved(losses, own, folds)
    saved = {arm.name: share_saved(arm.test.mean(axis=1), own, folds) for arm in family}
    count = dict(zip((arm.name for arm in allowed), taken.tolist(), strict=True))
    bounds = [saved[arm.name].high for arm in allowed] + [inf if harm is None else harm.high]
    verdict, why = _decide(harm, bounds, gap, delta, [arm.name for arm in allowed])
    return {
        "verdict": verdict,
        "why": why,
        "harm": None if harm is None else ends(harm),
        "members": [
            {
                "name": arm.name,
                "admissible": bool(good),
                "train": float(arm.train.mean()),
                "saved": ends(saved[arm.name]),
                "chosen": count.get(arm.name, 0),
            }
            for arm, good in zip(family, admissible, strict=True)
        ],
        "detectable": None if harm is None or not harm.enough else detectable(harm),
        "folds_needed": None if harm is None else needed(harm, delta, len(own)),
        "method": folds.method,
    }


def _decide(
    harm: Interval | None, bounds: Sequence[float], gap: Interval, delta: float, names: Sequence[str]
) -> tuple[str, str]:
    _, overfit, harmless, inconclusive = VERDICTS
    if harm is None:
        why = "no member of the family follows the training rows less, so there is nothing to hold it against"
        return inconclusive, why
    why = f"following the training rows less would save {_range(harm)} of the loss on new rows"
    if harm.low > delta and gap.low > 0:
        return overfit, why
    if max(bounds) < delta:
        why = f"of what follows the training rows less ({', '.join(names)}) nothing saves {delta:.2%} of the loss on new rows"
        return harmless, why
    if harm.low > delta:
        why += ", but that the loss is higher on new rows of the same period is not shown"
    return inconclusive, why


def _range(found: Interval) -> str:
    if not found.enough:
        return f"{found.mean:+.1%} (too few folds for an interval)"
    return f"{found.mean:+.1%} [{found.low:+.1%}, {found.high:+.1%}]"


def ends(found: Interval) -> dict[str, float | None]:
    """Give mean and ends of an interval; None where there is none, and for an upper end without bound."""
    low, high = (found.low, found.high) if found.enough else (None, None)
    return {"mean": found.mean, "low": low, "high": None if high == inf else high}


def gap_of(outside: FloatArray, inside: FloatArray, folds: Folds) -> Interval:
    """Give how much higher the loss is on new rows than on those seen, ``L_new / L_seen - 1``.

    Parameters
    ----------
    outside, inside : arrays of shape (n_folds,)
        Mean losses of the same fits on new rows and on rows that they have seen.
    folds : Folds
        How the folds hang together.

    Returns
    -------
    Interval
        At level .90. The upper end is infinite where the loss on rows seen is so near 0 that no ratio is too large.
        ``enough`` is False where the folds are too few.

    Examples
    --------
    >>> found = gap_of(np.array([1.2, 1.3, 1.1, 1.25]), np.array([1.0, 1.1, 0.9, 1.0]), Folds(forward=True))
    >>> round(found.mean, 4), found.low > 0
    (0.2125, True)
    """
    saved = share_saved(
        inside, outside, folds
    )  # the larger loss below: it is well above 0 where that inside may not be

    def turned(share: float) -> float:
        return share / (1 - share) if share < 1 else inf

    mean, low, high = map(turned, (saved.mean, saved.low, saved.high))
    return replace(saved, mean=mean, low=low, high=high, se=saved.se / (1 - saved.mean) ** 2)


def flags_of(facts: Mapping[str, Any], *, verdict: str, delta: float) -> dict[str, str]:
    """Give what else has to be said beside the verdict, by name, each with its reason.

    Parameters
    ----------
    facts : mapping
        ``skill`` (ends of the skill against the best baseline, and ``baseline``, its name), ``gap`` and ``drift`` (ends),
        ``linear`` (training losses, measured alike, of the procedure, ``own``, and of a linear model, ``linear``), ``raw_harm`` and
        ``harm`` (ends; before and after temperature scaling), ``selection`` (``spa``, a p value, ``pbo`` and ``trials``, of the
        search that chose the recipe). What is missing or None is not held against anything.
    verdict : str
        One of `VERDICTS`.
    delta : float
        The smallest effect that matters.

    Returns
    -------
    dict of str to str

    Examples
    --------
    >>> facts = {"skill": {"mean": 0.01, "low": -0.02, "high": 0.04}, "baseline": "ridge"}
    >>> flags_of(facts, verdict="INCONCLUSIVE", delta=0.01)
    {'NO-SKILL': 'a skill against ridge is not shown: +1.0% [-2.0%, +4.0%]'}
    """
    found: dict[str, str] = {}
    skill, gap, drift = (facts.get(name) for name in ("skill", "gap", "drift"))
    seen = facts.get("linear")
    if skill is not None and (skill["low"] is None or skill["low"] <= 0):
        found["NO-SKILL"] = f"a skill against {facts['baseline']} is not shown: {_said(skill)}"
        if seen is not None and seen["own"] < (1 - delta) * seen["linear"]:
            found["OVER-CAPACITY"] = (
                "without skill on new rows it follows the training rows more closely than a linear model "
                f"({seen['own']:.4g} against {seen['linear']:.4g})"
            )
    if _known(gap) and _known(drift) and gap["high"] is not None and drift["low"] > gap["high"]:
        found["DRIFT"] = (
            f"the later period costs {_said(drift)}, more than that rows are new ({_said(gap)}): the data have changed"
        )
    raw, harm = facts.get("raw_harm"), facts.get("harm")
    if _known(raw) and raw["low"] > delta and not (_known(harm) and harm["low"] > delta):
        found["CALIBRATION-OVERFIT"] = (
            f"before temperature scaling the harm is {_said(raw)}, after it is not shown: it is too sure of itself, its "
            "ranking is not worse"
        )
    selection = facts.get("selection")
    if selection is not None and selection["spa"] > _UNSUPPORTED:
        pbo = "not known" if selection["pbo"] is None else f"{selection['pbo']:.0%}"
        found["SELECTION-NOT-SUPPORTED"] = (
            f"that any of the {selection['trials']} trials which it was chosen from is better than their start is not shown "
            f"(SPA, p = {selection['spa']:.2f}; probability of overfitting {pbo})"
        )
    if verdict == VERDICTS[2] and _known(gap) and gap["low"] > max(0.1, 10 * delta):
        found["LARGE BENIGN GAP"] = f"the loss is {_said(gap)} higher on new rows, and that harms nothing"
    if seen is not None and seen["own"] >= seen["linear"]:
        found["UNDERFIT"] = (
            f"a linear model follows the training rows as closely ({seen['linear']:.4g} against {seen['own']:.4g})"
        )
    return found


def _known(found: Mapping[str, Any] | None) -> TypeGuard[Mapping[str, Any]]:
    return found is not None and found["low"] is not None


def _said(found: Mapping[str, Any]) -> str:
    if found["low"] is None:
        return f"{found['mean']:+.1%} (too few folds for an interval)"
    if found["high"] is None:
        return f"{found['mean']:+.1%} [at least {found['low']:+.1%}]"
    return f"{found['mean']:+.1%} [{found['low']:+.1%}, {found['high']:+.1%}]"
