"""Whether a baseline does as well as what a search chose. Loads nothing: finished runs are read without torch."""

from collections.abc import Mapping
from typing import Any


def beaten(found: Mapping[str, Any]) -> str:
    """Give a sentence on the best baseline, with a space before it, if it loses no more than the choice where nothing was chosen.

    Parameters
    ----------
    found : mapping
        With ``outer`` and ``baselines``, as in ``scores.json`` of a search.

    Examples
    --------
    >>> found = {"metric": "mse", "outer": {"rows": [{"loss": 2.0}]}, "baselines": [{"name": "ridge", "loss": 1.5}]}
    >>> beaten(found)
    ' The LSTM is no better than a baseline there: ridge has 1.5.'
    """
    best = min(found["baselines"], key=lambda one: float(one["loss"]), default=None)
    if best is None or float(f"{best['loss']:.4g}") > float(f"{found['outer']['rows'][0]['loss']:.4g}"):
        return ""
    return f" The LSTM is no better than a baseline there: {best['name']} has {best['loss']:.4g}."
