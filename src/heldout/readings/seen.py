"""What the curves of one training show, a small function for each statement."""

from collections.abc import Callable

import numpy as np

from heldout.plots.values import number, percent, plural
from heldout.readings.curves import Curves, FloatArray, Numbers, Statement
from heldout.studies.curve_shape import LEAST, second_fall, shape_of

_APART = 3.0  # times; so far apart before anything is learned by heart, losses are on different scales
_LAST = 5
_KEEPS_LAST = {
    "Keras": "Keras keeps the weights of the last epoch unless EarlyStopping was given restore_best_weights=True",
    "Lightning": "Lightning keeps the weights of the last epoch unless the checkpoint is loaded, as with ckpt_path='best'",
    "skorch": "skorch keeps the weights of the last epoch unless a callback was given load_best=True",
}


def seen(curves: Curves) -> list[Statement]:
    """Say what the curves show.

    Parameters
    ----------
    curves : Curves
        Of one training.

    Returns
    -------
    list of Statement
        In order of weight. None of them says that the network is fitted too closely: that a less fitted one would do better on
        new data cannot be seen in the curves of one.

    Examples
    --------
    >>> from heldout.histories import read_history
    >>> losses = [1, 0.6, 0.4, 0.3, 0.3, 0.35, 0.42, 0.5, 0.6, 0.7]
    >>> history = read_history({"loss": [x / 2 for x in losses], "val_loss": losses})
    >>> [one.code for one in seen(Curves(history))][:2]
    ['best-epoch', 'rose-after-best']
    """
    steps: tuple[Callable[[Curves], Statement | None], ...] = (_not_finite, _gaps, _constant, _training_rises)
    if len(curves.at):
        steps = (_best, _end, _first, _hump, _calibration, *steps, _noise, _scales, _gap, _below, _kept)
    return [found for step in steps if (found := step(curves)) is not None]


def _seen(code: str, sentence: str, **numbers: float | int | str | None) -> Statement:
    return Statement(code=code, kind="seen", sentence=sentence, numbers=numbers)


def _best(c: Curves) -> Statement:
    best, last = c.shape.best, len(c.valid) - 1
    said = f"The {c.of_validation} is {c.lowest} at {c.epoch(best)}: {number(c.value(best))}"
    end = "the last that is a number is" if c.ran_away else "the log ends"
    after = f"; {end} there." if best == last else f"; {end} at {c.epoch(last)}, at {number(c.value(last))}."
    return _seen(
        "best-epoch",
        said + after,
        best_epoch=float(c.epochs[best]),
        best=c.value(best),
        last_epoch=float(c.epochs[last]),
        last=c.value(last),
        epochs_after=int(last - best),
    )


def _end(c: Curves) -> Statement | None:
    shape = c.shape
    held: Numbers = {"rise": shape.rise, "allowance": shape.allowance}
    higher = c.sign < 0
    if shape.end == "unknown":
        return _seen(
            "too-few",
            f"With {plural(len(c.valid), 'validation value')} its noise cannot be told ({LEAST} are needed), so a rise or a fall of it may be chance.",
            values=len(c.valid),
            **held,
        )
    if shape.end == "risen":
        return _seen(
            "rose-after-best",
            f"After that it has {'fallen' if higher else 'risen'} by {c.worse_by(shape.rise)} (mean of the last {min(_LAST, len(c.valid) - 1 - shape.best)}), "
            f"more than its scatter explains ({c.worse_by(float(shape.allowance or 0))}).",
            **held,
        )
    if shape.end == "falling" and not c.ran_away:
        return _seen(
            "still-falling",
            f"It was still {'rising' if higher else 'falling'} when the log ends: training ended before the network had learned what it can.",
            **held,
        )
    if shape.best == len(c.valid) - 1 and not c.ran_away:
        return _seen("levelled-off", "It has levelled off: its last values hardly differ.", **held)
    if c.ran_away:
        return None  # `_not_finite` says it
    return _seen(
        "flat-after-best",
        f"From there to the end it moves by no more than its scatter explains ({c.worse_by(shape.rise)} of {c.worse_by(float(shape.allowance or 0))}): that epoch is {c.lowest}, not shown to be the best.",
        **held,
    )


def _first(c: Curves) -> Statement | None:
    if c.shape.best or len(c.valid) < 2:
        return None
    return _seen(
        "first-is-best",
        f"No later value is better than the first: the learning rate is too high, the {c.of_validation} is measured otherwise than the training one, or there is nothing to learn.",
        values=len(c.valid),
    )


def _hump(c: Curves) -> Statement | None:
    found = second_fall(c.valid)
    if found is None:
        return None
    first, top, second = found
    return _seen(
        "second-fall",
        f"It falls twice: to {number(c.value(first))} at {c.epoch(first)}, up to {number(c.value(top))} at {c.epoch(top)}, and to {number(c.value(second))} at {c.epoch(second)}, "
        "as after a cut of the learning rate or in a double descent. A stop rule of little patience ends at the first low.",
        first=float(c.epochs[first]),
        top=float(c.epochs[top]),
        second=float(c.epochs[second]),
    )


def _calibration(c: Curves) -> Statement | None:
    """The loss rises while decisions get better: probabilities grow too sure."""
    if c.history.score is None or c.sign < 0 or c.shape.end != "risen":
        return None
    name, every = c.history.score
    score = every[c.at]
    if not np.isfinite(score).all():
        return None
    best = c.shape.best
    there = float(score[max(best - 2, 0) : best + 3].mean())
    last = float(score[best + 1 :][-_LAST:].mean())
    scatter = (shape_of(-score).noise or 0.0) * 2 / np.sqrt(_LAST)
    if last < there - scatter:
        return None
    held = "still rose" if last > there + scatter else "held"
    return _seen(
        "loss-and-score-part",
        f"While the {c.of_validation} rose, the validation {name} {held} ({number(there)} around {c.epoch(best)}, {number(last)} at the end): decisions "
        "did not get worse, so it is likely that their probabilities grew too sure. A temperature, fitted after training, can mend that.",
        score=name,
        around_best=there,
        at_end=last,
    )


def _noise(c: Curves) -> Statement | None:
    noise = c.shape.noise
    if not noise:
        return None
    alike = int((c.valid <= c.valid[c.shape.best] + noise).sum())
    return _seen(
        "noise",
        f"From one value to the next it scatters by ±{number(noise, 2)} ({c.worse_by(noise)} of the {c.lowest}); {plural(alike, 'epoch')} of {len(c.valid)} {'lies' if alike == 1 else 'lie'} within that of the {c.lowest}.",
        noise=noise,
        alike=alike,
    )


def _ratios(c: Curves) -> FloatArray:
    """Validation over training loss, where both are above 0; NaN elsewhere."""
    with np.errstate(all="ignore"):
        return np.where((c.train > 0) & (c.valid > 0), c.valid / c.train, np.nan)


def _scales(c: Curves) -> Statement | None:
    ratios = _ratios(c)
    if c.sign < 0 or not 0 < ratios[0] < np.inf or 1 / _APART < ratios[0] < _APART:
        return None
    times, of = (
        (ratios[0], "that of training") if ratios[0] > 1 else (1 / ratios[0], "smaller than that of training")
    )
    return _seen(
        "scales-differ",
        f"At the first {c.history.axis} the {c.of_validation} is {number(float(times), 3)} times {of}, before anything can be learned by heart: the two are on different scales "
        "(a sum beside a mean, scaled beside unscaled units, a penalty added to one), so the gap between them says nothing.",
        ratio=float(ratios[0]),
    )


def _gap(c: Curves) -> Statement | None:
    best = c.shape.best
    if not np.isfinite(c.train[best]) or _scales(c) is not None or c.valid[best] <= c.train[best]:
        return None
    gap = float(c.valid[best] - c.train[best])
    ratio = float(_ratios(c)[best])
    told = percent(ratio - 1, sign=False) if np.isfinite(ratio) and c.sign > 0 else number(gap)
    return _seen(
        "gap",
        f"At {c.epoch(best)} the validation value is {told} worse than the training value. Every fitted network has such a gap; by itself it is no harm.",
        gap=gap,
        ratio=ratio if np.isfinite(ratio) else None,
    )


def _below(c: Curves) -> Statement | None:
    both = np.isfinite(c.train)
    better = both & (c.valid < c.train)
    n = int(both.sum())
    if n < 2 or better.sum() < 0.5 * n or _scales(c) is not None:
        return None
    said = f"The {c.of_validation} is better than the training value at {int(better.sum())} of {n} {c.history.axis}s. "
    after = (c.train[:-1] + c.train[1:]) / 2  # a mean over the epoch is half an epoch behind
    still = int((c.valid[:-1] < after).sum())
    if c.history.evaluated:
        why = "Both were measured alike, so the validation rows are the easier ones."
    elif n >= _LAST and still < 0.5 * (n - 1):
        why = "If the training value is the mean over an epoch, while the weights still changed, that explains it: half an epoch later it is no longer so."
    else:
        why = "Dropout, augmentation and penalties that act in training only, or validation rows that are easier (or known already), can do that."
    return _seen("valid-below-train", said + why, epochs=int(better.sum()), of=n, after_half_an_epoch=still)


def _kept(c: Curves) -> Statement | None:
    kept, best = c.history.kept, float(c.epochs[c.shape.best])
    if kept is not None:
        which = f"the {c.lowest} one" if kept == best else f"not the {c.lowest} one"
        return _seen(
            "kept",
            f"The weights of {c.history.axis} {number(float(kept))} were kept, {which}.",
            kept=float(kept),
        )
    loses = float(c.valid[-1] - c.valid[c.shape.best])
    if c.history.source not in _KEEPS_LAST or not (loses or c.ran_away):
        return None
    if c.ran_away:
        return _seen("kept-unknown", f"{_KEEPS_LAST[c.history.source]}: at the last one nothing is a number.")
    return _seen(
        "kept-unknown",
        f"{_KEEPS_LAST[c.history.source]}: the last one is {c.worse_by(loses)} worse than the {c.lowest}.",
        loses=loses,
    )


def _not_finite(c: Curves) -> Statement | None:
    for name, values in (("training", c.history.train), ("validation", c.history.valid)):
        wrong = np.flatnonzero(np.isinf(values))
        if len(wrong):
            return _seen(
                "not-a-number",
                f"The {name} {c.history.metric} is no number at {len(wrong)} of {len(values)} {c.history.axis}s, first at {number(float(c.history.epochs[wrong[0]]))}: "
                "the weights have run away (or a row holds no number).",
                first=float(c.history.epochs[wrong[0]]),
                epochs=len(wrong),
            )
    return None


def _gaps(c: Curves) -> Statement | None:
    missing = int(np.isnan(c.history.valid).sum())
    if not missing or not len(c.at):
        return None
    return _seen(
        "not-everywhere",
        f"{plural(missing, c.history.axis)} of {len(c.history.valid)} have no {c.of_validation} in the log; the others are used.",
        missing=missing,
    )


def _constant(c: Curves) -> Statement | None:
    for name, values in (("training", c.history.train), ("validation", c.history.valid)):
        known = values[np.isfinite(values)]
        if len(known) >= 3 and np.ptp(known) <= 1e-6 * np.abs(known).max():
            return _seen(
                "constant",
                f"The {name} {c.history.metric} does not change ({number(float(known[0]))} throughout): nothing is learned, or what is logged is not this curve.",
                value=float(known[0]),
            )
    return None


def _training_rises(c: Curves) -> Statement | None:
    known = np.isfinite(c.history.train)
    if known.sum() < LEAST:
        return None
    values = c.sign * c.history.train[known]
    shape = shape_of(values)
    if shape.end != "risen":
        return None
    return _seen(
        "training-rises",
        f"The training {c.history.metric} itself is worse at the end than at {c.history.axis} {number(float(c.history.epochs[known][shape.best]))}: the learning rate is too high for it, "
        "or the task was made harder on the way (stronger augmentation, another part of the data).",
        rise=shape.rise,
    )
