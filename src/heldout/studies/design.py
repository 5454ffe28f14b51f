"""Which test is valid for the losses at hand, and its interval: one place that decides."""

from dataclasses import asdict, dataclass
from math import inf

import numpy as np
from numpy.typing import ArrayLike

from heldout.check import InputError, check_choice
from heldout.data.series import FloatArray
from heldout.studies.compare import FEWEST_SERIES, LEAST_VALUES, Interval, fold_t, two_way
from heldout.studies.resampled import group_sums, nadeau_bengio

DESIGNS = ("folds", "span", "independent", "resamples")
"""How losses can have come about; see `compare`."""


@dataclass(frozen=True, kw_only=True)
class Compared(Interval):
    """A mean difference with its interval, and by which method.

    Parameters
    ----------
    method : str
        The test that was taken, in words.
    why_not : str
        Why no test is valid here, where ``enough`` is False; else empty.
    """

    method: str
    why_not: str = ""


def compare(
    differences: ArrayLike,
    *,
    design: str,
    groups: ArrayLike | None = None,
    n_train: int | None = None,
    n_test: int | None = None,
    level: float = 0.95,
) -> Compared:
    """Give the mean of paired loss differences with the interval that is valid for how they came about.

    - ``folds``: walk-forward validation, a refit in each fold. t over the fold means, in which the noise of the seed is; 5
      folds or more for a claim, each long against the memory of the losses.
    - ``span``: models trained once, scored along one span of time. t over blocks of time; with several seeds, over blocks
      of time and seeds.
    - ``independent``: models trained once, scored on samples without an order: texts, or the series of a panel at one
      moment. t over samples, or over groups of samples that are alike; with several seeds, over both.
    - ``resamples``: models trained anew on random splits of independent samples, repeated k-fold among them. Nadeau's and
      Bengio's corrected t.

    Parameters
    ----------
    differences : array of shape (n,) or (n_seeds, n)
        Loss less loss of the control, paired: n folds, moments in time order, samples, or splits. Of ``folds`` and
        ``resamples`` seeds are averaged.
    design : {"folds", "span", "independent", "resamples"}
        How they came about.
    groups : array of shape (n,), optional
        Of ``independent``: samples of one group are alike.
    n_train, n_test : int, optional
        Of ``resamples``, where they are needed: samples in the two parts of a split.
    level : float, default 0.95
        Confidence, in (0, 1).

    Returns
    -------
    Compared
        Where no test is valid ``enough`` is False, the interval infinite, and ``why_not`` says why: a single fold or split,
        under 100 moments, moments whose memory leaves no 4 independent blocks, under 20 independent samples.

    Raises
    ------
    InputError
        If an argument is out of range, missing, or not of this design.

    Notes
    -----
    With one seed, ``span`` and ``independent`` speak of these trained models; with several, of training them so.
    The test of Diebold and Mariano, the bootstrap and McNemar's test are never taken: the first fails under memory
    (`heldout.studies.forecasts`), the others hold no better than t (`heldout.studies.resampled`).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> found = compare(0.2 + rng.normal(size=(5, 800)), design="span")
    >>> found.method, found.low > 0
    ('t over blocks of time and seeds', True)
    >>> walk = np.cumsum(rng.normal(size=60))
    >>> compare(walk, design="span").why_not
    'under 100 moments, their memory cannot be told from chance, and there are 60'
    """
    check_choice("design", design, DESIGNS)
    for name, value, owner in (
        ("groups", groups, "independent"),
        ("n_train", n_train, "resamples"),
        ("n_test", n_test, "resamples"),
    ):
        if value is not None and design != owner:
            raise InputError(f"{name} is for design={owner!r}, got design={design!r}: leave it out")
    table = _table(differences)
    if design == "folds":
        return _told(fold_t(table.mean(axis=0), level=level), "t over folds", "there is a single fold")
    if design == "resamples":
        if n_train is None or n_test is None:
            raise InputError(
                "design='resamples' needs n_train and n_test: splits that share samples are no new evidence"
            )
        found = nadeau_bengio(table.mean(axis=0), n_train, n_test, level=level)
        return _told(found, "corrected t over splits (Nadeau and Bengio)", "there is a single split")
    seeds = " and seeds" if len(table) > 1 else ""
    if design == "span":
        return _told(two_way(table, level=level), f"t over blocks of time{seeds}", _short(table.shape[1]))
    table = _by_group(table, groups)
    units = "samples" if groups is None else "groups"
    why = f"under {FEWEST_SERIES} {units}, their spread cannot be told, and there are {table.shape[1]}"
    return _told(two_way(table, blocks=inf, level=level), f"t over {units}{seeds}", why)


def _told(found: Interval, method: str, why_not: str) -> Compared:
    return Compared(**asdict(found), method=method, why_not="" if found.enough else why_not)


def _short(n: int) -> str:
    if n < LEAST_VALUES:
        return f"under {LEAST_VALUES} moments, their memory cannot be told from chance, and there are {n}"
    return f"losses remember so long that no 4 independent blocks fit into {n} moments"


def _by_group(table: FloatArray, groups: ArrayLike | None) -> FloatArray:
    """One number per group and seed whose mean is that of all samples and whose spread is that of the groups.

    A group's samples add up, so large groups count more; the part of a sum that is due to its group's size is taken out.
    """
    sums, sizes = group_sums(table, groups)
    mean = table.mean(axis=1, keepdims=True)
    return np.asarray((sums - mean * sizes) / sizes.mean() + mean)


def _table(differences: ArrayLike) -> FloatArray:
    table = np.atleast_2d(np.asarray(differences, dtype=np.float64))
    if table.ndim != 2 or table.size == 0:
        raise InputError(
            f"differences must have the shape (n,) or (n_seeds, n), with at least one value, got {table.shape}"
        )
    if bad := int((~np.isfinite(table)).sum()):
        raise InputError(
            f"differences must be finite, got {bad} missing or infinite values; drop them in pairs"
        )
    return table
