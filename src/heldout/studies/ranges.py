"""The range of an option that is tuned: `Float`, `Int`, `Choice`."""

from dataclasses import dataclass, replace
from typing import Any, Self

from heldout.check import InputError, check_number


@dataclass(frozen=True)
class Float:
    """A number of any size between two.

    Parameters
    ----------
    low, high : float
        Both ends included.
    log : bool, default False
        Draw its logarithm evenly: for what is thought of in factors, such as a learning rate.

    Raises
    ------
    InputError
        If the range is empty, or ``low`` is not above 0 and ``log`` is set.

    Examples
    --------
    >>> Float(1e-4, 1e-2, log=True).holds(0.05), Float(1e-4, 1e-2).holding(0.05)
    (False, Float(low=0.0001, high=0.05, log=False))
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        _check_range(self.low, self.high, log=self.log)

    def holds(self, value: Any) -> bool:
        """Whether a trial may have a value."""
        return _is_number(value) and self.low <= value <= self.high

    def draw(self, trial: Any, name: str) -> float:
        """Give the value that an Optuna trial proposes."""
        return float(trial.suggest_float(name, self.low, self.high, log=self.log))

    def holding(self, value: Any) -> Self:
        """Give a copy, no larger than it must be, that holds a value; itself where the value cannot be within."""
        return _widened(self, value)

    def to_plain(self) -> dict[str, Any]:
        """Give it as JSON and TOML have it."""
        return {"low": self.low, "high": self.high, "log": self.log}

    def ends(self) -> tuple[Any, ...]:
        """Give the values that must be allowed for all to be."""
        return self.low, self.high


@dataclass(frozen=True)
class Int:
    """A whole number between two.

    Parameters
    ----------
    low, high : int
        Both ends included.
    log : bool, default False
        Draw its logarithm evenly.
    step : int, default 1
        From one value to the next, from ``low`` on; 1 where ``log`` is set.

    Raises
    ------
    InputError
        If the range is empty, is not whole, or cannot be drawn so.

    Examples
    --------
    >>> Int(8, 64, log=True).holding(100)
    Int(low=8, high=100, log=True, step=1)
    """

    low: int
    high: int
    log: bool = False
    step: int = 1

    def __post_init__(self) -> None:
        for name, value in {"low": self.low, "high": self.high, "step": self.step}.items():
            if not isinstance(value, int) or isinstance(value, bool):
                raise InputError(f"{name} must be a whole number, got {value!r}")
        check_number("step", self.step, 1, float("inf"), open_high=True)
        _check_range(self.low, self.high, log=self.log)
        if self.log and self.step != 1:
            raise InputError(f"step must be 1 where log is set, got {self.step}: leave one of them out")

    def holds(self, value: Any) -> bool:
        """Whether a trial may have a value."""
        return _is_number(value) and self.low <= value <= self.high and (value - self.low) % self.step == 0

    def draw(self, trial: Any, name: str) -> int:
        """Give the value that an Optuna trial proposes."""
        return int(trial.suggest_int(name, self.low, self._last(), log=self.log, step=self.step))

    def holding(self, value: Any) -> "Int":
        """Give a copy, no larger than it must be, that holds a value; itself where the value cannot be within."""
        aligned = not _is_number(value) or (value - self.low) % self.step == 0
        return _widened(self if aligned else replace(self, step=1), value)

    def to_plain(self) -> dict[str, Any]:
        """Give it as JSON and TOML have it."""
        return {"low": self.low, "high": self.high, "log": self.log, "step": self.step}

    def ends(self) -> tuple[Any, ...]:
        """Give the values that must be allowed for all to be."""
        return self.low, self._last()

    def _last(self) -> int:
        """The highest value that the steps reach."""
        return self.low + (self.high - self.low) // self.step * self.step


@dataclass(frozen=True)
class Choice:
    """One of some values, in no order.

    Parameters
    ----------
    values : tuple
        Two or more different ones, numbers, words or lists, as the TOML file has them.

    Raises
    ------
    InputError
        If there are fewer than two, or one occurs twice.

    Examples
    --------
    >>> Choice((8, 16, 32)).holding(64)
    Choice(values=(8, 16, 32, 64))
    """

    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        if len(self.values) < 2 or len(set(self._words())) < len(self.values):
            raise InputError(f"a choice needs two different values or more, got {list(self.values)}")

    def holds(self, value: Any) -> bool:
        """Whether a trial may have a value."""
        return word(value) in self._words()

    def draw(self, trial: Any, name: str) -> Any:
        """Give the value that an Optuna trial proposes."""
        words = self._words()
        return self.values[words.index(trial.suggest_categorical(name, words))]

    def holding(self, value: Any) -> "Choice":
        """Give a copy that has a value, too."""
        return self if self.holds(value) else Choice((*self.values, value))

    def to_plain(self) -> list[Any]:
        """Give it as JSON and TOML have it."""
        return [list(value) if isinstance(value, tuple) else value for value in self.values]

    def ends(self) -> tuple[Any, ...]:
        """Give the values that must be allowed for all to be."""
        return self.values

    def _words(self) -> list[Any]:
        return [word(value) for value in self.values]


Range = Float | Int | Choice


def _check_range(low: float, high: float, *, log: bool) -> None:
    for name, value in {"low": low, "high": high}.items():
        check_number(name, value, -float("inf"), float("inf"), open_low=True, open_high=True)
    if not isinstance(log, bool):
        raise InputError(f"log must be true or false, got {log!r}")
    if low >= high:
        raise InputError(
            f"low must be below high, got {low:g} and {high:g}: widen the range, or set the value in the recipe"
        )
    if log and low <= 0:
        raise InputError(f"low must be above 0 where log is set, got {low:g}: raise it, or leave log out")


def _widened(entry: Any, value: Any) -> Any:
    if not _is_number(value) or (entry.log and value <= 0):
        return entry
    return replace(entry, low=min(entry.low, value), high=max(entry.high, value))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def word(value: Any) -> Any:
    """Give a value as Optuna takes it: lists as text.

    Parameters
    ----------
    value : object
        Of an option.
    """
    return str(list(value)) if isinstance(value, tuple | list) else value
