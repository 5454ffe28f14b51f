"""What a hyper-parameter that an estimator does not have is called here."""

from dataclasses import fields
from typing import Any

from heldout.check import InputError, did_you_mean
from heldout.recipe import Recipe

# Names of other libraries beside those that a recipe knows.
_OTHER_NAMES = {
    "seed": "random_state",
    "validation_split": "validation_fraction",
    "output_chunk_length": "horizon",
    "forecast_horizon": "horizon",
    "fh": "horizon",
    "h": "horizon",
}


def refuse(cls: Any, name: str, value: Any) -> None:  # noqa: ARG001 - as `keyword_constructor` calls it
    """Say what an argument that is no hyper-parameter of a class is called here.

    Parameters
    ----------
    cls : type
        An estimator.
    name : str
        The argument.
    value : object
        What was given for it.

    Raises
    ------
    InputError
        Always.

    Examples
    --------
    >>> from heldout import LSTMRegressor
    >>> refuse(LSTMRegressor, "shufle", True)
    Traceback (most recent call last):
        ...
    heldout.check.InputError: unknown hyper-parameter 'shufle' (did you mean 'shuffle'?)
    """
    known = cls._get_param_names()
    if _OTHER_NAMES.get(name) in known:
        raise InputError(f"unknown hyper-parameter {name!r}: here it is {_OTHER_NAMES[name]}")
    if name == "label_smoothing":
        raise InputError(f"{name!r} is for classes, {cls.__name__} says numbers: leave it out")
    if name in {item.name for item in fields(Recipe)}:
        raise InputError(f"{name!r} is no hyper-parameter of {cls.__name__}: leave it out")
    raise InputError(Recipe._unknown(name) or f"unknown hyper-parameter {name!r}{did_you_mean(name, known)}")
