"""Options: fields of a dataclass that are declared, typed, ranged and documented in one place."""

import inspect
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields, replace
from inspect import Parameter, Signature
from typing import Any, NamedTuple, Self, get_args, get_origin

from heldout.check import InputError, check_choice, check_number, did_you_mean
from heldout.plots.tables import html_table


def option(
    default: Any,
    doc: str,
    *,
    low: float | None = None,
    high: float = float("inf"),
    open_low: bool = False,
    open_high: bool = False,
    choices: tuple[str, ...] = (),
    dial: float | None = None,
) -> Any:
    """Declare a field of an `Options` class.

    Parameters
    ----------
    default : object
        Its default; None means that something else decides.
    doc : str
        What it does, one sentence.
    low, high : float, optional
        Range of a number, or of each number of a tuple.
    open_low, open_high : bool, default False
        Leave that end out.
    choices : tuple of str, optional
        Allowed words.
    dial : float, optional
        Value at ``regularization = 1`` where the user leaves it at None.
    """
    rule = {"low": low, "high": high, "open_low": open_low, "open_high": open_high, "choices": choices}
    return field(default=default, metadata={"doc": doc, "dial": dial, **rule})


def another_default(cls: type["Options"], name: str, default: Any) -> Any:
    """Declare a field again as a base class has it, with a default of its own."""
    item = next(item for item in fields(cls) if item.name == name)
    return field(default=default, metadata=item.metadata)


class Description(NamedTuple):
    """A field as a person is told of it: name, type, default, explanation with what is allowed."""

    name: str
    kind: str
    default: Any
    text: str


@dataclass(frozen=True, kw_only=True)
class Options:
    """Base of frozen dataclasses whose fields are made by `option`: checked when made, read from and given as plain values."""

    def __post_init__(self) -> None:
        for item in fields(self):
            _check_field(item, getattr(self, item.name))

    def to_dict(self) -> dict[str, Any]:
        """Give the fields as plain values for TOML and JSON; `from_dict` takes them back."""
        return {item.name: _to_plain(item, getattr(self, item.name)) for item in fields(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Make one from plain values; lists become tuples, and "none" is None where a field's default is not (TOML has no null).

        Raises
        ------
        InputError
            If a name is unknown or a value is not allowed.
        """
        known = {item.name: item for item in fields(cls)}
        for name in values:
            if name not in known:
                raise InputError(cls._unknown(name) or f"unknown option {name!r}{did_you_mean(name, known)}")
        return cls(**{name: _from_plain(known[name], value) for name, value in values.items()})

    @classmethod
    def _unknown(cls, name: str) -> str:  # noqa: ARG003 - for subclasses
        """What to say of a name of another library; empty for any other."""
        return ""

    def with_values(self, values: Mapping[str, Any]) -> Self:
        """Give a copy with some fields changed, checked as `from_dict` does."""
        return type(self).from_dict({**self.to_dict(), **values})

    def _repr_html_(self) -> str:
        """The options that differ from their defaults, and all of them folded."""
        given = [(*item, getattr(self, item.name)) for item in self.describe()]
        name, header = type(self).__name__, ["option", "value", "default", "what it does"]
        rows = [[name, value, default, text] for name, _, default, text, value in given]
        changed = [row for row in rows if row[1] != row[2]]
        return (
            html_table(
                f"{name}: {len(changed)} of {len(rows)} options differ from their defaults", header, changed
            )
            + f"<details><summary>All options</summary>{html_table(name, header, rows)}</details>"
        )

    @classmethod
    def describe(cls) -> list[Description]:
        """Give every field, in order."""
        return [Description(item.name, _kind(item), item.default, _explain(item)) for item in fields(cls)]

    def dialled(self, strength: float) -> Self:
        """Give a copy in which fields left at None have their dial's value times ``strength``, at most 0.8."""
        left = [
            item
            for item in fields(self)
            if item.metadata["dial"] is not None and getattr(self, item.name) is None
        ]
        return replace(self, **{item.name: min(strength * item.metadata["dial"], 0.8) for item in left})


def documented(summary: str, example: str) -> Any:
    """Give a class decorator that writes the docstring from the fields.

    Parameters
    ----------
    summary : str
        First line.
    example : str
        Doctest lines.
    """

    def write(cls: type[Options]) -> type[Options]:
        lines = [summary, "", *_parameter_lines(cls.describe())]
        lines += [
            "",
            "Raises",
            "------",
            "InputError",
            "    If a value has the wrong type or is out of its range.",
        ]
        cls.__doc__ = "\n".join([*lines, "", "Examples", "--------", example])
        return cls

    return write


def keyword_constructor(
    items: Sequence[Description], refuse: Callable[[type, str, Any], None], *, n_positional: int = 0
) -> Any:
    """Give a class decorator that writes a constructor which keeps flat keyword arguments as attributes.

    Their section of the docstring is put behind the first line of the class's own.

    Parameters
    ----------
    items : sequence of Description
        The arguments, in order.
    refuse : callable
        Called with the class, name and value of an argument that is none of these; raises.
    n_positional : int, default 0
        How many of them, the first ones, may be given without their name.
    """
    defaults = {item.name: item.default for item in items}
    signature = Signature(
        [
            Parameter("self", Parameter.POSITIONAL_OR_KEYWORD),
            *(
                Parameter(
                    name,
                    Parameter.POSITIONAL_OR_KEYWORD if number < n_positional else Parameter.KEYWORD_ONLY,
                    default=default,
                )
                for number, (name, default) in enumerate(defaults.items())
            ),
        ]
    )

    def write(cls: Any) -> Any:
        def __init__(self: Any, *given: Any, **params: Any) -> None:  # noqa: N807 - it becomes the method of that name
            for name in params.keys() - defaults.keys():
                refuse(cls, name, params[name])
            params = signature.bind(self, *given, **params).arguments
            for name, default in defaults.items():
                setattr(self, name, params.get(name, default))

        __init__.__signature__ = signature  # type: ignore[attr-defined]
        cls.__init__ = __init__
        summary, _, rest = inspect.cleandoc(cls.__doc__).partition("\n\n")
        cls.__doc__ = "\n".join([summary, "", *_parameter_lines(items), "", rest])
        return cls

    return write


def _parameter_lines(items: Sequence[Description]) -> list[str]:
    lines = ["Parameters", "----------"]
    for name, kind, default, text in items:
        lines.append(f"{name} : {kind}, default {default!r}")
        lines += textwrap.wrap(text, 100, initial_indent="    ", subsequent_indent="    ")
    return lines


def _to_plain(item: Field[Any], value: Any) -> Any:
    if value is None and item.default is not None:
        return "none"
    return list(value) if isinstance(value, tuple) else value


def _from_plain(item: Field[Any], value: Any) -> Any:
    if value == "none" and type(None) in _types(item) and str not in _types(item):
        return None
    return tuple(value) if isinstance(value, list) else value


def _types(item: Field[Any]) -> list[type]:
    if get_origin(item.type) is tuple:
        return [tuple]
    return [get_origin(kind) or kind for kind in get_args(item.type) or (item.type,)]


def _check_field(item: Field[Any], value: Any) -> None:
    """Hold a value against the declaration of its field."""
    rule, types = item.metadata, _types(item)
    if value is None and type(None) in types:
        return
    expected = types[0]
    accepted = (int, float) if expected is float else (expected,)
    if not isinstance(value, accepted) or (isinstance(value, bool) and expected is not bool):
        raise InputError(f"{item.name} must be {expected.__name__}, got {value!r}")
    if rule["choices"]:
        for word in value if isinstance(value, tuple) else (value,):
            check_choice(item.name, word, rule["choices"])
    if rule["low"] is not None:
        for number in value if isinstance(value, tuple) else (value,):
            open_high = rule["open_high"] or rule["high"] == float("inf")
            check_number(
                item.name, number, rule["low"], rule["high"], open_low=rule["open_low"], open_high=open_high
            )


def _explain(item: Field[Any]) -> str:
    rule = item.metadata
    text = str(rule["doc"])
    if rule["choices"]:
        text += f" One of {', '.join(rule['choices'])}."
    elif rule["low"] is not None and rule["high"] != float("inf"):
        text += f" In {'(' if rule['open_low'] else '['}{rule['low']:g}, {rule['high']:g}{')' if rule['open_high'] else ']'}."
    if rule["dial"] is not None:
        text += f" By the dial: {rule['dial']:g} x regularization."
    return text


def _kind(item: Field[Any]) -> str:
    return item.type.__name__ if isinstance(item.type, type) and not get_args(item.type) else str(item.type)
