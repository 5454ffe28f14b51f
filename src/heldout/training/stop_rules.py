"""Rules that end training, applied to curves afterwards: where each would have stopped, and at what loss.

Nothing is decided by them here: `heldout.training.stopping` does that while a network trains.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from heldout.check import InputError
from heldout.training.stopping import EarlyStopping

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
_STRIP = 5  # epochs; k in Prechelt's text


@dataclass(frozen=True, kw_only=True)
class Stop:
    """Where a rule would have ended training.

    Attributes
    ----------
    rule : str
        Its name, such as "GL 2".
    stopped : int or None
        Place of the value after which it stops; None where it never does.
    kept : int
        Place of the lowest value until then.
    """

    rule: str
    stopped: int | None
    kept: int


def generalisation_loss(valid: ArrayLike) -> FloatArray:
    """Give by how much each value lies above the lowest so far, in per cent.

    Parameters
    ----------
    valid : array-like of shape (n,)
        Validation losses above 0, in order.

    Returns
    -------
    array of shape (n,)
        GL(t) = 100 (E(t) / min E - 1).

    Raises
    ------
    InputError
        If a loss is not above 0.

    References
    ----------
    Prechelt, "Early Stopping - But When?", in Neural Networks: Tricks of the Trade (1998), section 2.

    Examples
    --------
    >>> generalisation_loss([2.0, 1.0, 1.5])
    array([ 0.,  0., 50.])
    """
    values = _positive(valid)
    return 100 * (values / np.minimum.accumulate(values) - 1)


def training_progress(train: ArrayLike, strip: int = _STRIP) -> FloatArray:
    """Give how much the mean training loss of the latest strip lies above its lowest, in per mille.

    Parameters
    ----------
    train : array-like of shape (n,)
        Training losses above 0, in order.
    strip : int, default 5
        Values in a strip.

    Returns
    -------
    array of shape (n,)
        P_k(t) = 1000 (mean / min - 1) over the last ``strip`` values; NaN before there are as many.

    Raises
    ------
    InputError
        If a loss is not above 0.

    References
    ----------
    Prechelt, "Early Stopping - But When?", in Neural Networks: Tricks of the Trade (1998), section 2.

    Examples
    --------
    >>> training_progress([4.0, 2.0, 2.0], strip=2)
    array([ nan, 500.,   0.])
    """
    values = _positive(train)
    found = np.full(len(values), np.nan)
    if len(values) >= strip:
        strips = np.lib.stride_tricks.sliding_window_view(values, strip)
        found[strip - 1 :] = 1000 * (strips.mean(axis=1) / strips.min(axis=1) - 1)
    return found


def stops(train: ArrayLike | None, valid: ArrayLike) -> list[Stop]:
    """Apply Prechelt's criteria, and patience, to the curves of one fit.

    Parameters
    ----------
    train : array-like of shape (n,), optional
        Training losses; without them PQ and P are left out.
    valid : array-like of shape (n,)
        Validation losses, finite, in order; lower is better. Where one is not above 0, only UP and patience are applied.

    Returns
    -------
    list of Stop
        GL (loss above the lowest by so many per cent), PQ (the same, divided by the progress of training, at the end of a
        strip of 5), P (progress of training below 0.1 per mille), UP (higher than a strip ago at the end of so many strips in
        a row) and patience (so many values without a new lowest).

    References
    ----------
    Prechelt, "Early Stopping - But When?", in Neural Networks: Tricks of the Trade (1998), section 2. Patience is not his.

    Examples
    --------
    >>> stops(None, [3.0, 2.0, 2.1, 2.5])[:3]
    [Stop(rule='GL 1', stopped=2, kept=1), Stop(rule='GL 2', stopped=2, kept=1), Stop(rule='GL 3', stopped=2, kept=1)]
    """
    values = np.asarray(valid, dtype=np.float64)
    met: dict[str, BoolArray] = {}
    if len(values) and values.min() > 0:
        above = generalisation_loss(values)
        met |= {f"GL {least:g}": above > least for least in (1, 2, 3, 5)}
        trained = np.asarray([] if train is None else train, dtype=np.float64)
        if len(trained) and np.isfinite(trained).all() and trained.min() > 0:
            progress = training_progress(trained)
            ends = _strip_ends(len(values))
            met |= {f"PQ {least:g}": ends & (above > least * progress) for least in (0.5, 0.75, 1, 2, 3)}
            met["P 0.1"] = progress < 0.1
    met |= {f"UP {times}": _rose(values, times) for times in (2, 3, 4, 6, 8)}
    found = [_first(name, where, values) for name, where in met.items()]
    return found + [_patience(values, patience) for patience in (3, 5, 10, 20)]


def _first(name: str, met: BoolArray, values: FloatArray) -> Stop:
    stopped = int(met.argmax()) if met.any() else None
    until = len(values) if stopped is None else stopped + 1
    return Stop(rule=name, stopped=stopped, kept=int(values[:until].argmin()))


def _strip_ends(n: int) -> BoolArray:
    return (np.arange(n) + 1) % _STRIP == 0


def _rose(values: FloatArray, times: int) -> BoolArray:
    """Where the last ``times`` strips each ended higher than the one before."""
    met = np.zeros(len(values), dtype=np.bool_)
    for t in np.flatnonzero(_strip_ends(len(values))):
        if t >= times * _STRIP:
            met[t] = (np.diff(values[t - times * _STRIP : t + 1 : _STRIP]) > 0).all()
    return met


def _patience(values: FloatArray, patience: int) -> Stop:
    watch = EarlyStopping(patience=patience)
    for t, value in enumerate(values):
        watch.improved(t, float(value))
        if watch.stop:
            return Stop(rule=f"patience {patience}", stopped=t, kept=watch.best_epoch)
    return Stop(rule=f"patience {patience}", stopped=None, kept=watch.best_epoch)


def _positive(losses: ArrayLike) -> FloatArray:
    values = np.asarray(losses, dtype=np.float64)
    if not (values > 0).all():
        raise InputError(
            f"Prechelt's criteria need losses above 0, got {values[~(values > 0)][0]:g}: a logarithmic score may be below; use patience"
        )
    return values
