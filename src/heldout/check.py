"""Checks of arguments and input, and the one form that every error takes.

An error is one sentence: the rule, the value, where, and the way out.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class InputError(ValueError):
    """The user's data, file or argument breaks a rule; the message says which, where, and what to do."""


class FitError(RuntimeError):
    """A fit could not be finished; the message says which and what may help."""


def check_number(
    name: str, value: float, low: float, high: float, *, open_low: bool = False, open_high: bool = False
) -> None:
    """Raise `InputError` unless ``value`` is a finite number between ``low`` and ``high``.

    Parameters
    ----------
    name : str
        What the user calls the argument.
    value : float
        The value given.
    low, high : float
        The range, both ends included.
    open_low, open_high : bool, default False
        Leave that end out of the range.

    Raises
    ------
    InputError
        If ``value`` is no number, not finite, or out of range.

    Examples
    --------
    >>> check_number("dropout", 0.3, 0, 1, open_high=True)
    >>> check_number("dropout", 1.0, 0, 1, open_high=True)
    Traceback (most recent call last):
        ...
    heldout.check.InputError: dropout must be in [0, 1), got 1.0
    """
    ok = isinstance(value, int | float) and not isinstance(value, bool)
    ok = (
        ok
        and (value > low or (value == low and not open_low))
        and (value < high or (value == high and not open_high))
    )
    if not ok:
        left, right = "(" if open_low else "[", ")" if open_high else "]"
        raise InputError(f"{name} must be in {left}{low:g}, {high:g}{right}, got {value!r}")


def check_choice(name: str, value: object, choices: Iterable[object]) -> None:
    """Raise `InputError`, with the nearest valid choice, unless ``value`` is one of ``choices``.

    Parameters
    ----------
    name : str
        What the user calls the argument.
    value : object
        The value given.
    choices : iterable
        What is allowed.

    Raises
    ------
    InputError
        If ``value`` is not among ``choices``.

    Examples
    --------
    >>> check_choice("scaling", "standart", ["standard", "robust"])
    Traceback (most recent call last):
        ...
    heldout.check.InputError: scaling must be one of 'standard', 'robust', got 'standart' (did you mean 'standard'?)
    """
    choices = list(choices)
    if value not in choices:
        listed = ", ".join(repr(choice) for choice in choices)
        raise InputError(f"{name} must be one of {listed}, got {value!r}{did_you_mean(value, choices)}")


def did_you_mean(value: object, choices: Iterable[object]) -> str:
    """Give `` (did you mean 'x'?)`` for a near miss, or an empty string.

    Parameters
    ----------
    value : object
        What was written.
    choices : iterable
        What is allowed.

    Examples
    --------
    >>> did_you_mean("clsoe", ["open", "close"])
    " (did you mean 'close'?)"
    """
    near = get_close_matches(str(value), [str(choice) for choice in choices], n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


# Control characters, which a terminal obeys, and marks that turn the direction of the text around them.
_UNSEEN = {
    code: f"⟨U+{code:04X}⟩"
    for ends in (
        (0x00, 0x08), (0x0B, 0x1F), (0x7F, 0x9F), (0x061C, 0x061C), (0x200E, 0x200F), (0x2028, 0x202E), (0x2066, 0x2069),
    )
    for code in range(ends[0], ends[1] + 1)
}  # fmt: skip


def visible(text: str) -> str:
    r"""Text in which the characters that act unseen are shown by their code point.

    Parameters
    ----------
    text : str
        A column name, an id, a sentence that holds one. Tabs and line ends stay.

    Examples
    --------
    >>> visible("a\x1b[31mb")
    'a⟨U+001B⟩[31mb'
    """
    return text.translate(_UNSEEN)
