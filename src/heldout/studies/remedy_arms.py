"""The control, the remedies that apply, and the recipe of each and of their stacks."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from heldout.base_recipe import BaseRecipe
from heldout.check import InputError
from heldout.studies.remedies import ENSEMBLE, Case, control_options, find_remedies, merged


class RemedyArms:
    """What is compared in a ranking of remedies.

    Parameters
    ----------
    given : BaseRecipe
        As the user gave it.
    control : {"bare", "recipe"}
        As in `heldout.studies.remedies.control_options`.
    names : sequence of str or None
        Remedies; None takes all that apply.
    settle : callable
        Gives the recipe with some options changed, settled.
    n_train : int
        Training samples of the first fold.
    n_seeds : int
        Seeds of each arm: with one there is no ensemble.

    Attributes
    ----------
    control : BaseRecipe
        Settled.
    options : dict of str to dict
        What each remedy changes, the most promising first.
    others : dict of str to str
        Remedies that do not apply, and why.

    Raises
    ------
    InputError
        If no remedy is left, or the options of one are not allowed.

    Examples
    --------
    >>> recipe = BaseRecipe(num_layers=2)
    >>> arms = RemedyArms(recipe, "bare", ["l2", "EMA"], settle=recipe.with_values, n_train=100, n_seeds=1)
    >>> arms.variant({"arm": "EMA", "lr": 0.003}).ema, arms.variant({"arm": "control", "lr": 0.003}).output_dropout
    (0.99, 0.0)
    """

    def __init__(
        self,
        given: BaseRecipe,
        control: str,
        names: Sequence[str] | None,
        *,
        settle: Callable[[Mapping[str, Any]], BaseRecipe],
        n_train: int,
        n_seeds: int,
    ) -> None:
        self.kind, self.settle = control, settle
        self.base = control_options(given, control)
        self.control = settle(self.base)
        case = Case(control=self.control, given=given, n_train=n_train)
        self.options, self.others = find_remedies(case, names)
        if n_seeds == 1 and self.options.pop(ENSEMBLE, None) is not None:
            self.others[ENSEMBLE] = "there is one seed"
        if not self.options:
            raise InputError(
                "no remedy is left to try: name others, set n_seeds to 2 or more, or take control='bare'"
            )
        for name in self.options:
            self.variant({"arm": name, "lr": self.control.lr})

    def values(self, name: str) -> dict[str, Any]:
        """Give the options in which an arm, or a stack of them, differs from the recipe as given."""
        return {**self.base, **merged(name, self.options)}

    def variant(self, values: Mapping[str, Any]) -> BaseRecipe:
        """Give the recipe of an arm at a learning rate: ``arm`` and ``lr`` of ``values``."""
        return self.settle({**self.values(values["arm"]), "lr": values["lr"]})
