"""Checks of arguments and input, and the one form that every error takes.

An error is one sentence: the rule, the value, where, and the way out.
"""

from collections.abc import Iterable
from difflib import SequenceMatcher


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
    """Give `` (did you mean 'x'?)`` for a near miss of a choice or of a part of its name, or an empty string.

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
    >>> did_you_mean("hiden", ["whiten", "hidden_size"])
    " (did you mean 'hidden_size'?)"
    """
    matcher = SequenceMatcher(b=str(value))
    scored = [(_likeness(matcher, str(choice)), str(choice)) for choice in choices]
    score, near = max(scored, default=(0.0, ""))
    return f" (did you mean {near!r}?)" if score else ""


def _likeness(matcher: SequenceMatcher[str], choice: str) -> float:
    """How like what was written a choice is, from 0 to 1; being like a part of its name counts a little less."""
    parts = filter(None, choice.split("_"))
    return max(_ratio(matcher, choice, 0.6), *(0.9 * _ratio(matcher, part, 0.8) for part in parts), 0.0)


def _ratio(matcher: SequenceMatcher[str], name: str, least: float) -> float:
    matcher.set_seq1(name)
    # The first two are cheap, and never below the third.
    if min(matcher.real_quick_ratio(), matcher.quick_ratio()) < least:
        return 0.0
    ratio = matcher.ratio()
    return ratio if ratio >= least else 0.0


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
