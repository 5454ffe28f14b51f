"""The skill of what is averaged over seeds."""

from dataclasses import replace
from math import inf, nan

import numpy as np

from heldout.data.series import FloatArray
from heldout.studies.compare import Interval, skill


def ensemble_skill(
    together: FloatArray, apart: list[FloatArray], reference: FloatArray, *, blocks: float
) -> Interval:
    """Give the skill of the mean of several seeds against a reference, the noise of samples and of seeds in its interval.

    The interval is that of the seeds one by one (`heldout.studies.compare.skill`), moved to the mean's skill.

    Parameters
    ----------
    together : array of shape (n,)
        Losses of the seeds' mean.
    apart : list of arrays of shape (n,)
        Losses of each seed.
    reference : array of shape (n,)
        Losses of the reference on the same samples.
    blocks : float
        As in `heldout.studies.compare.skill`.

    Returns
    -------
    Interval
        Without a mean where the reference loses nothing: nothing can be a share of it.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> reference = rng.random(100)
    >>> seeds = [0.5 * reference, 0.6 * reference]
    >>> round(ensemble_skill(0.5 * reference, seeds, reference, blocks=inf).mean, 3)
    0.5
    """
    if reference.mean() == 0:
        return Interval(mean=nan, low=-inf, high=inf, se=inf, df=0, level=0.95, p_value=1, enough=False)
    whole = skill(together, reference, blocks=blocks)
    if len(apart) == 1:
        return whole
    each = skill(np.stack(apart), reference, blocks=blocks)
    shift = whole.mean - each.mean
    low, high = each.low + shift, min(each.high + shift, 1.0)
    return replace(each, mean=whole.mean, low=low, high=high, p_value=max(each.p_value, whole.p_value))
