"""The less-fitted family: recipes that follow the training rows less than a given one, against which it is judged."""

from dataclasses import fields
from typing import Any

from heldout.base_recipe import BaseRecipe

STRONGER = 4
"""Factor on everything that regularises."""
_DIAL_FROM_NOTHING = 2.0
_PENALTIES = ("l1", "l2", "activation_penalty", "temporal_penalty")
_PATIENCE = 8
_MOST_RATE = 0.8  # as of rates that the dial sets


def less_fitted(recipe: BaseRecipe) -> dict[str, dict[str, Any]]:
    """Give what would fit the training rows less: the members of the family, as options that change.

    Parameters
    ----------
    recipe : BaseRecipe
        As the user gave it: rates that are left to the dial are None.

    Returns
    -------
    dict of str to dict
        "stopped early": the weights of the epoch with the smallest validation loss, where the recipe keeps the last ones.
        "fewer units": half of them, where it has 2 or more. "regularised more": the dial and every penalty times four (a
        dial at 0 goes to 2), where anything is left to raise. "all of these": together, where they are two or more.

    Notes
    -----
    The members are those of Mitchell's definition: a procedure overfits if another of the same family fits the training
    rows less and new rows better. Baselines of other kinds do not belong to it.

    References
    ----------
    Mitchell 1997, Machine Learning, section 3.7.

    Examples
    --------
    >>> found = less_fitted(BaseRecipe(hidden_size=128, regularization=0, patience=None, restore_best=False))
    >>> list(found)
    ['stopped early', 'fewer units', 'regularised more', 'all of these']
    >>> found["all of these"]
    {'patience': 8, 'restore_best': True, 'hidden_size': 64, 'regularization': 2.0}
    >>> list(less_fitted(BaseRecipe()))
    ['fewer units', 'regularised more', 'all of these']
    """
    found: dict[str, dict[str, Any]] = {}
    if recipe.patience is None or not recipe.restore_best:
        found["stopped early"] = {"patience": recipe.patience or _PATIENCE, "restore_best": True}
    if recipe.hidden_size > 1:
        found["fewer units"] = {"hidden_size": recipe.hidden_size // 2}
    if raised := _raised(recipe):
        found["regularised more"] = raised
    if len(found) > 1:
        found["all of these"] = {name: value for one in found.values() for name, value in one.items()}
    return found


def _raised(recipe: BaseRecipe) -> dict[str, Any]:
    """The dial, the rates that the user set himself, and the penalties, as far as they can be raised."""
    options = {field.name: field.metadata for field in fields(recipe)}
    dial = min(STRONGER * recipe.regularization, options["regularization"]["high"]) or _DIAL_FROM_NOTHING
    found: dict[str, Any] = {"regularization": dial}
    for name, about in options.items():
        value = getattr(recipe, name)
        if about["dial"] is not None and value is not None:
            found[name] = min(max(STRONGER * value, dial * about["dial"]), _MOST_RATE)
    found |= {name: STRONGER * getattr(recipe, name) for name in _PENALTIES}
    return {name: value for name, value in found.items() if value > getattr(recipe, name)}
