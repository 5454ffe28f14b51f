"""`Judged`: the finished fits behind a verdict, read as numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from heldout.base_recipe import BaseRecipe
from heldout.data.series import FloatArray
from heldout.search import Search
from heldout.studies.compare import Interval
from heldout.studies.evidence import SHARES, learning_curve, memorisation, signal_p_value
from heldout.studies.interval import undecided
from heldout.studies.ledger import Finished
from heldout.studies.plan import Job
from heldout.studies.plan import plan as plan_of
from heldout.studies.verdict import VERDICTS, Arm, Folds, ends, find_verdict, flags_of, gap_of, share_saved

CONTROL = "as given"
"""The recipe that is judged."""
_LINEAR_TEXT = "tfidf"
LINEAR = "linear part alone"
"""The ridge regression on the window, as the shortcut of a network that is not trained."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """The fits of a verdict, by the name of their job.

    Attributes
    ----------
    search : Search
        What they are fits of.
    folds : sequence of folds
        That judge.
    design : Folds
        How these hang together.
    seeds : sequence of int
        Of the recipes.
    recipes : mapping of str to BaseRecipe
        `CONTROL`, the family in order, and of series `LINEAR`.
    fits : mapping of str to Finished
        All of them.
    inside, shuffled, curve : list of Job
        Fits with held blocks, to shuffled labels, and to a part of the training rows.
    """

    search: Search
    folds: Sequence[Any]
    design: Folds
    seeds: Sequence[int]
    recipes: Mapping[str, BaseRecipe]
    fits: Mapping[str, Finished]
    inside: Sequence[Job]
    shuffled: Sequence[Job]
    curve: Sequence[Job]

    def scores(self, delta: float, selection: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Compare, and say what it means.

        Parameters
        ----------
        delta : float
            The smallest harm that matters.
        selection : mapping, optional
            ``spa``, ``pbo`` and ``trials`` of the search that chose the recipe.

        Returns
        -------
        dict
            See `heldout.studies.verdict.find_verdict`; with flags, evidence and the losses of each fold.
        """
        gap, gaps = self._gaps()
        control, family = self.control, list(self.family)
        found = find_verdict(control, family, self.design, delta=delta, gap=gap)
        facts = gaps | self._skill() | {"train": float(control.train.mean()), "harm": found["harm"]}
        facts |= self._raw_harm() | {"selection": selection, "linear": self._linear()}
        flags = flags_of(facts, verdict=found["verdict"], delta=delta)
        by_fold = {
            arm.name: {part: getattr(arm, part).mean(axis=1).tolist() for part in ("test", "valid", "train")}
            for arm in (control, *family)
        }
        counts = {"n_folds": len(self.folds), "n_seeds": len(self.seeds)}
        about = {
            "kind": "verdict",
            "modality": self.search.modality,
            "metric": self.search.metric,
            "delta": delta,
        }
        loss = {"loss": float(control.test.mean()), "by_fold": by_fold}
        return about | found | facts | {"flags": flags} | loss | counts | self._shuffled() | self._curve()

    @cached_property
    def control(self) -> Arm:
        """What is judged."""
        return self._arm(CONTROL)

    @cached_property
    def family(self) -> tuple[Arm, ...]:
        """What it is held against."""
        fitted = {name for name in self.recipes if self._of(name, self.folds[0])}
        return tuple(self._arm(name) for name in self.recipes if name in fitted - {CONTROL, LINEAR})

    def _of(self, name: str, fold: Any) -> list[Finished]:
        """Fits of one candidate on one fold, seed by seed."""
        model = self.recipes.get(name, self.search.baselines.get(name))
        jobs = plan_of({name: model}, [fold], self.seeds)
        return [self.fits[job.name] for job in jobs if job.name in self.fits]

    def _arm(self, name: str) -> Arm:
        fits = [self._of(name, fold) for fold in self.folds]
        test, valid, train = (
            np.array([[fit.scores[part] for fit in row] for row in fits], float)
            for part in (self.search.metric, "valid_loss", "train_loss")
        )
        return Arm(name=name, test=test, valid=valid, train=train)

    def _gaps(self) -> tuple[Interval, dict[str, Any]]:
        """Optimism, and drift where there is time."""
        fits = [self.fits[job.name] for job in self.inside]
        if fits:
            seen, held, future = (
                np.array([np.mean(fit.arrays[f"{part}loss"]) for fit in fits])
                for part in ("train_", "held_", "")
            )
            gap, drift = gap_of(held, seen, self.design), gap_of(future, held, self.design)
            return gap, {"gap": ends(gap), "drift": ends(drift), "inside_folds": len(fits)}
        if self.search.modality == "series":
            return undecided(0.0), {"gap": None, "drift": None, "inside_folds": 0}
        rows = [self._of(CONTROL, fold) for fold in self.folds]
        seen = np.array([np.mean([fit.arrays["train_loss"].mean() for fit in row]) for row in rows])
        gap = gap_of(self.control.test.mean(axis=1), seen, self.design)
        return gap, {"gap": ends(gap), "drift": None, "inside_folds": len(rows)}

    def _skill(self) -> dict[str, Any]:
        """Against the baseline that is best on these folds: a choice in its favour."""
        losses = {
            name: np.array([self._loss(self._of(name, fold)[0]) for fold in self.folds])
            for name in self.search.baselines
        }
        best = min(losses, key=lambda name: float(losses[name].mean()))
        found = share_saved(self.control.test.mean(axis=1), losses[best], self.design)
        table = [{"name": name, "loss": float(values.mean())} for name, values in losses.items()]
        return {"skill": ends(found), "baseline": best, "baselines": table}

    def _linear(self) -> dict[str, float] | None:
        """Training losses of a linear model and, measured alike, of what is judged."""
        if LINEAR in self.recipes:
            losses = [self._of(LINEAR, fold)[0].scores["train_loss"] for fold in self.folds]
            return {"own": float(self.control.train.mean()), "linear": float(np.mean(losses))}
        if _LINEAR_TEXT not in self.search.baselines:
            return None
        own, linear = (
            float(
                np.mean(
                    [fit.arrays["train_loss"].mean() for fold in self.folds for fit in self._of(name, fold)]
                )
            )
            for name in (CONTROL, _LINEAR_TEXT)
        )
        return {"own": own, "linear": linear}

    def _raw_harm(self) -> dict[str, Any]:
        """The harm before temperature scaling, where there is one, by the member with the smallest validation loss."""
        if self.search.modality != "text" or not self.family:
            return {}
        best = min(self.family, key=lambda arm: float(arm.valid.mean()))
        own, other = (
            np.array([np.mean([self._raw(fit) for fit in self._of(name, fold)]) for fold in self.folds])
            for name in (CONTROL, best.name)
        )
        return {"raw_harm": ends(share_saved(other, own, self.design))}

    def _raw(self, fit: Finished) -> float:
        return float(self.search.context.losses(fit.arrays["raw"], fit.arrays["row"]).mean())

    def _loss(self, fit: Finished) -> float:
        return float(fit.scores[self.search.metric])

    def _shuffled(self) -> dict[str, Any]:
        """What a fit makes of labels that belong to other samples."""
        fits = [self.fits[job.name] for job in self.shuffled]
        if not fits:
            return {"memorisation": None, "signal": None}
        real = self._of(CONTROL, self.folds[-1])[0]
        train = [fit.scores["train_loss"] for fit in fits]
        share = memorisation(real.scores["train_loss"], train, fits[0].scores["constant_loss"])
        p_value = signal_p_value(self._loss(real), [self._loss(fit) for fit in fits])
        return {"memorisation": share, "signal": {"p_value": p_value, "draws": len(fits)}}

    def _curve(self) -> dict[str, Any]:
        """The learning curve, over the last folds."""
        if not self.curve:
            return {"curve": None}
        n_parts = len(SHARES) - 1  # the whole is fitted already
        n_folds = len(self.curve) // n_parts
        parts = [self.fits[job.name] for job in self.curve]
        rows = [
            [*parts[n_parts * place : n_parts * (place + 1)], self._of(CONTROL, fold)[0]]
            for place, fold in enumerate(self.folds[-n_folds:])
        ]
        losses = np.array([[self._loss(fit) for fit in row] for row in rows])
        n: FloatArray = np.array([[fit.scores["n_train"] for fit in row] for row in rows]).mean(axis=0)
        return {"curve": learning_curve(n, losses)}


def withheld(search: Search, delta: float) -> dict[str, Any]:
    """Give what is said where the audit found a leak: that nothing else can be.

    Parameters
    ----------
    search : Search
        What would have been fitted.
    delta : float
        The smallest harm that matters.
    """
    unknown = ("harm", "gap", "drift", "skill", "baseline", "memorisation", "signal", "curve", "protocol")
    return {
        "kind": "verdict",
        "modality": search.modality,
        "metric": search.metric,
        "delta": delta,
        "verdict": VERDICTS[0],
        "why": "the audit found a leak, and no loss on these rows can be trusted before it is closed",
        **dict.fromkeys(unknown),
        "members": [],
        "flags": {},
        "knobs": [],
        "fits": 0,
        "seconds": 0.0,
        "left_out": [],
        "notes": list(search.notes[:-1]),
    }
