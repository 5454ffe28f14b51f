"""What several seeds say together: the mean of their forecasts, or of their probabilities, scored as one fit."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.special import logsumexp

from heldout.studies.ledger import Finished
from heldout.studies.study import Context


def mean_of_seeds(context: Any, fits: Sequence[Finished]) -> Finished:
    """Give the fit whose forecast is the mean of several fits' forecasts, with its losses.

    Parameters
    ----------
    context : Context or TextContext
        The study of the fits.
    fits : sequence of Finished
        Of one recipe on one fold, a seed each.

    Returns
    -------
    Finished
        The first one's with ``arrays`` of the mean: of series ``forecast`` and ``loss``; of texts ``log_proba``, the logarithm
        of the mean probability, and ``loss``.

    Notes
    -----
    By convexity its loss is never above the mean of the seeds' losses.

    Examples
    --------
    >>> import polars as pl
    >>> from pathlib import Path
    >>> from heldout.data.layout import read_series
    >>> from heldout.studies.scale import Scale
    >>> data = read_series(pl.DataFrame({"y": np.arange(20.0) % 3}), target="y", horizon=1)
    >>> scale = Scale(transforms=("none",), units=(1.0,))
    >>> context = Context(data=data, scale=scale, lookback=2, checkpoints=Path())
    >>> rows, truth = np.array([5]), data.values[6, 0]
    >>> fits = [
    ...     Finished(name="", spec={}, scores={}, arrays={"origin": rows, "forecast": np.full((1, 1, 1), truth + off)})
    ...     for off in (-1.0, 1.0)
    ... ]
    >>> mean_of_seeds(context, fits).arrays["loss"].tolist()
    [0.0]
    """
    arrays = dict(fits[0].arrays)
    if isinstance(context, Context):
        arrays["forecast"] = np.mean([fit.arrays["forecast"] for fit in fits], axis=0)
        truth = context.windows().ahead(arrays["origin"])
        arrays["loss"] = context.scale.losses(arrays["forecast"], truth)
    else:
        every = np.stack([fit.arrays["log_proba"] for fit in fits])
        arrays["log_proba"] = logsumexp(every, axis=0) - np.log(len(fits))
        arrays["loss"] = context.losses(arrays["log_proba"], arrays["row"])
    return replace(fits[0], arrays=arrays)
