"""`Space`: which options of a recipe are tuned, and from where to where."""

import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from types import UnionType
from typing import Any, Self, get_args

from heldout.base_recipe import BaseRecipe
from heldout.check import InputError, did_you_mean
from heldout.recipe import Recipe
from heldout.studies.ranges import Choice, Float, Int, Range, word
from heldout.text_recipe import TextRecipe

# What may not differ between trials, and why.
_FIXED = {
    "max_epochs": "the rungs of a trial are parts of it",
    "start_from_epoch": "a rung may end before it",
    "restore_best": "a rung goes on from the best weights",
    "transform": "the scale of the losses hangs on it",
    "scale_by": "the scale of the losses hangs on it",
}
_OTHER_LENGTHS = (0.25, 0.5, 1.0)
_OTHER_SIZES = (0.25, 0.5, 1.0, 2.0)


class Space(Mapping[str, Range]):
    """Which options are tuned and from where to where.

    Parameters
    ----------
    ranges : mapping of str to Float, Int, Choice, dict or list
        By the name of the option; a dict has ``low``, ``high`` and perhaps ``log`` and ``step``, a list holds choices.

    Raises
    ------
    InputError
        If an option is unknown or may not be tuned, or its range is none.

    Examples
    --------
    >>> space = Space({"lr": {"low": 1e-4, "high": 1e-2, "log": True}, "hidden_size": [8, 16, 32]})
    >>> space["lr"], space["hidden_size"]
    (Float(low=0.0001, high=0.01, log=True), Choice(values=(8, 16, 32)))
    >>> space.to_dict()["hidden_size"]
    [8, 16, 32]
    """

    def __init__(self, ranges: Mapping[str, Any]) -> None:
        if not ranges:
            raise InputError("a space needs one option at least, got none: name what is to be tuned")
        self._ranges = {name: _read_range(name, value) for name, value in ranges.items()}

    def __getitem__(self, name: str) -> Range:
        return self._ranges[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._ranges)

    def __len__(self) -> int:
        return len(self._ranges)

    def __repr__(self) -> str:
        return f"Space({self._ranges})"

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read the part ``[space]`` of a TOML file.

        Parameters
        ----------
        path : path
            The file: ``lr = {low = 1e-4, high = 1e-2, log = true}``, ``hidden_size = [8, 16, 32]``.

        Raises
        ------
        InputError
            If the file is missing, is no TOML or has no such part, or as above.
        """
        try:
            values = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"cannot read the space {path}: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InputError(f"{path} is not TOML: {error}") from error
        if list(values) != ["space"] or not isinstance(values["space"], dict):
            raise InputError(
                f"{path} must hold the one part [space], got {', '.join(values) or 'nothing'}: put the options under [space]"
            )
        try:
            return cls(values["space"])
        except InputError as error:
            raise InputError(f"{path}: {error}") from None

    def to_dict(self) -> dict[str, Any]:
        """Give it as JSON and TOML have it; `Space` takes it back."""
        return {name: entry.to_plain() for name, entry in self._ranges.items()}

    def draw(self, trial: Any) -> dict[str, Any]:
        """Give the values that an Optuna trial proposes.

        Parameters
        ----------
        trial : optuna.trial.Trial
            From `optuna.study.Study.ask`.
        """
        return {name: entry.draw(trial, name) for name, entry in self._ranges.items()}

    def words(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Give values as Optuna has them.

        Parameters
        ----------
        values : mapping
            By option.
        """
        return {name: word(values[name]) for name in self._ranges}

    def of(self, recipe: BaseRecipe) -> dict[str, Any]:
        """Give the values that a recipe has of these options."""
        values = recipe.to_dict()
        return {name: "none" if values[name] is None else values[name] for name in self._ranges}

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether a trial may have some values.

        Parameters
        ----------
        values : mapping
            By option, as `of` gives them.
        """
        return all(entry.holds(values[name]) for name, entry in self._ranges.items())

    def holding(self, values: Mapping[str, Any]) -> "Space":
        """Give a copy, no larger than it must be, in which a trial may have some values.

        Parameters
        ----------
        values : mapping
            By option, as `of` gives them.
        """
        return Space({name: entry.holding(values[name]) for name, entry in self._ranges.items()})

    def check(self, variant: Callable[[Mapping[str, Any]], BaseRecipe]) -> None:
        """Make sure that every option may have every value.

        Parameters
        ----------
        variant : callable
            Gives a recipe with some options changed.

        Raises
        ------
        InputError
            If there is no such option in the recipe, or a value is not allowed.
        """
        for name, entry in self._ranges.items():
            for value in entry.ends():
                try:
                    variant({name: value})
                except InputError as error:
                    raise InputError(f"the space asks for {name}={value!r}, but {error}") from None


def default_space(recipe: BaseRecipe) -> Space:
    """Give what is tuned where the user does not say: the dial and its parts, the learning rate, sizes, augmentation.

    Every range holds the recipe's own value. A rate that has a range of its own no longer follows the dial.

    Parameters
    ----------
    recipe : BaseRecipe
        Settled: what trials differ from. ``lookback`` and the sizes are its own and parts of them.

    Returns
    -------
    Space

    Examples
    --------
    >>> space = default_space(Recipe(lookback=48).resolved())
    >>> space["lookback"], space["lr"]
    (Choice(values=(12, 24, 48)), Float(low=0.0001, high=0.01, log=True))
    """
    ranges: dict[str, Range] = {
        "regularization": Float(0.0, 3.0),
        "input_dropout": Float(0.0, 0.4),
        "recurrent_dropout": Float(0.0, 0.5),
        "output_dropout": Float(0.0, 0.6),
        "l1": Choice((0.0, 1e-6, 1e-5, 1e-4)),
        "l2": Choice((0.0, 1e-5, 1e-4, 1e-3)),
        "lr": Float(1e-4, 1e-2, log=True),
        "batch_size": Choice((16, 32, 64, 128)),
        "hidden_size": _sizes(recipe.hidden_size, _OTHER_SIZES, least=4),
    }
    if recipe.optimizer == "adamw":
        ranges["weight_decay"] = Float(0.0, 0.3)
    if isinstance(recipe, TextRecipe):
        ranges |= {
            "embedding_dropout": Float(0.0, 0.4),
            "alpha_aeda": Choice((0.0, 0.1, 0.3)),
            "p_unk": Choice((0.0, 0.05, 0.15)),
        }
    if isinstance(recipe, Recipe):
        ranges["jitter"] = Float(0.0, 0.1)
        if recipe.lookback is not None and recipe.lookback >= 8:
            ranges["lookback"] = _sizes(recipe.lookback, _OTHER_LENGTHS, least=2)
    space = Space(ranges)
    return space.holding(space.of(recipe))


def _sizes(own: int, shares: tuple[float, ...], *, least: int) -> Choice:
    """A whole number, and parts and multiples of it."""
    found = sorted({max(least, round(own * share)) for share in shares} | {own})
    return Choice(tuple(found if len(found) > 1 else [own, 2 * own]))


def _read_range(name: str, value: Any) -> Range:
    known = {item.name: item for kind in (TextRecipe, Recipe) for item in fields(kind)}
    if name not in known:
        message = BaseRecipe._unknown(name) or f"unknown option {name!r}{did_you_mean(name, known)}"
        raise InputError(f"{message}; a space names options of the recipe")
    if name in _FIXED:
        raise InputError(f"{name} cannot be tuned, for {_FIXED[name]}: set it in the recipe")
    if isinstance(value, Range):
        return value
    whole = int in (
        get_args(known[name].type) if isinstance(known[name].type, UnionType) else (known[name].type,)
    )
    try:
        return _parse(value, whole=whole)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None


def _parse(value: Any, *, whole: bool) -> Range:
    if isinstance(value, list | tuple):
        return Choice(tuple(tuple(item) if isinstance(item, list) else item for item in value))
    if not isinstance(value, Mapping) or not {"low", "high"} <= value.keys():
        raise InputError(
            f"a range is {{low = ..., high = ...}} or a list of choices, got {value!r}: write one of these"
        )
    kind: type[Float] | type[Int] = Int if whole else Float
    allowed = [item.name for item in fields(kind)]
    for key in value:
        if key not in allowed:
            raise InputError(
                f"a range here has {', '.join(allowed)}, got {key!r}{did_you_mean(key, allowed)}"
            )
    return kind(**value)
