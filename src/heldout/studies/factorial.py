"""Fractional factorials: which of several changes help, from far fewer runs than there are combinations."""

import numpy as np
from numpy.typing import NDArray

from heldout.check import InputError
from heldout.data.series import FloatArray
from heldout.studies.compare import Interval, fold_t

MOST_FACTORS = 7
"""Factors that 8 runs can tell apart."""


def two_level_runs(n_factors: int) -> NDArray[np.bool_]:
    """Give the runs of a two-level design: which of the factors are on in each.

    Parameters
    ----------
    n_factors : int
        From 1 to 7.

    Returns
    -------
    array of shape (n_runs, n_factors), bool
        The first run has everything off. 2 runs for 1 factor, all 4 for 2; of 3 factors the half (4 runs), of 4 the half (8),
        of 5, 6 and 7 a quarter, an eighth and a sixteenth (8). Each factor is on in half of the runs, and so is each of any
        two where the other is on.

    Raises
    ------
    InputError
        If there are more factors or none.

    Notes
    -----
    With 3 and with 5 to 7 factors the design has resolution III: an effect stands for itself plus the interactions of
    some pairs of the others. Where pairs work together in a way of their own, an effect can be wrong; a stack that is built
    by it must be measured as a whole.

    References
    ----------
    Box, Hunter and Hunter 2005, Statistics for Experimenters, 2nd ed., chapter 6. Of the fractions the one with the run
    where all is off is taken, which here is the control.

    Examples
    --------
    >>> two_level_runs(3).astype(int)
    array([[0, 0, 0],
           [0, 1, 1],
           [1, 0, 1],
           [1, 1, 0]])
    """
    if not 1 <= n_factors <= MOST_FACTORS:
        raise InputError(
            f"a design of 8 runs takes 1 to {MOST_FACTORS} factors, got {n_factors}: leave some out"
        )
    n_base = min(n_factors, 2 if n_factors <= 3 else 3)
    base = np.array(np.meshgrid(*[[-1, 1]] * n_base, indexing="ij")).reshape(n_base, -1)
    columns = list(base)
    if n_base == 2:
        columns.append(-base[0] * base[1])
    if n_base == 3:
        a, b, c = base
        columns += [a * b * c, -a * b, -a * c, -b * c]
    return np.asarray(np.stack(columns[:n_factors], axis=1) > 0)


def main_effects(runs: NDArray[np.bool_], gains: FloatArray, *, level: float = 0.95) -> list[Interval]:
    """Give the effect of each factor: the mean gain of the runs that have it less that of the others, paired by fold.

    Parameters
    ----------
    runs : array of shape (n_runs, n_factors), bool
        From `two_level_runs`.
    gains : array of shape (n_runs, n_folds)
        What each run gains over the control in each fold.
    level : float, default 0.95
        Confidence, in (0, 1).

    Returns
    -------
    list of Interval
        t over the folds; one per factor. Every run counts for every effect.

    Raises
    ------
    InputError
        If there are not as many rows of gains as runs, or one is missing.

    Examples
    --------
    >>> runs = two_level_runs(3)
    >>> gains = runs @ np.array([[0.03, 0.04], [0.0, 0.0], [-0.01, -0.01]])
    >>> [round(effect.mean, 3) + 0 for effect in main_effects(runs, gains)]
    [0.035, 0.0, -0.01]
    """
    table = np.asarray(gains, dtype=np.float64)
    if table.ndim != 2 or len(table) != len(runs):
        raise InputError(f"gains must have a row for each of {len(runs)} runs, got shape {table.shape}")
    signs = np.where(runs, 1.0, -1.0)
    effects = 2 * signs.T @ table / len(runs)  # (n_factors, n_folds)
    return [fold_t(row, level=level) for row in effects]
