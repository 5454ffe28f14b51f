"""Is it on? Every regulariser that a recipe asks for is shown to change what training does."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from heldout.base_recipe import BaseRecipe
from heldout.check import InputError
from heldout.data.series import FloatArray

_OFF: Mapping[str, Any] = {"window_slice": 1.0}
_KNOBS = (
    "input_dropout", "recurrent_dropout", "output_dropout", "weight_dropout", "zoneout", "dense_dropout",
    "embedding_dropout", "word_dropout", "weight_decay", "l1", "l2", "dense_l2", "max_norm", "activation_penalty",
    "temporal_penalty", "label_smoothing", "ema", "jitter", "random_scaling", "magnitude_warp", "time_warp",
    "window_slice", "mixup", "alpha_sr", "alpha_ri", "alpha_rs", "p_rd", "alpha_nn", "alpha_aeda", "p_unk",
)  # fmt: skip
_MAY_WAIT = ("max_norm",)  # acts only on weights that have grown
FEW_STEPS: Mapping[str, Any] = {
    "max_epochs": 1,
    "patience": "none",
    "restore_best": False,
    "valid_samples": 32,
}
"""Options of a fit that only shows whether something acts."""


def audit_knobs(recipe: BaseRecipe, weights: Callable[[BaseRecipe], FloatArray]) -> list[dict[str, Any]]:
    """Turn every regulariser of a recipe off, one at a time, and see that training ends elsewhere.

    Parameters
    ----------
    recipe : BaseRecipe
        Resolved.
    weights : callable
        Trains a recipe for a few steps, always on the same rows with the same seed, and gives its weights as one vector.

    Returns
    -------
    list of dict
        ``name``, ``value``, ``change``: the norm of the difference of the weights over their norm. Of ``max_norm`` it is 0
        as long as no row of weights has grown that long.

    Raises
    ------
    InputError
        If one changes nothing.

    Examples
    --------
    >>> def weights(recipe):
    ...     return np.array([1.0, recipe.output_dropout])
    >>> audit_knobs(BaseRecipe(regularization=0, output_dropout=0.3).resolved(), weights)
    [{'name': 'output_dropout', 'value': 0.3, 'change': 0.287}]
    >>> audit_knobs(BaseRecipe(regularization=0, output_dropout=0.3, l1=0.1).resolved(), weights)
    Traceback (most recent call last):
        ...
    heldout.check.InputError: l1=0.1 changes nothing in training, of weights or of outputs: remove it, or what keeps it from acting
    """
    asked = {
        name: getattr(recipe, name)
        for name in _KNOBS
        if hasattr(recipe, name) and getattr(recipe, name) != _OFF.get(name, 0.0)
    }
    if not asked:
        return []
    on, found = weights(recipe), []
    for name, value in asked.items():
        off = weights(recipe.with_values({name: _OFF.get(name, 0.0)}))
        change = float(np.linalg.norm(on - off) / max(float(np.linalg.norm(on)), 1e-300))
        if change == 0.0 and name not in _MAY_WAIT:
            raise InputError(
                f"{name}={value:g} changes nothing in training, of weights or of outputs: remove it, or what keeps it from acting"
            )
        found.append({"name": name, "value": value, "change": round(change, 3 if change > 0.01 else 9)})
    return found
