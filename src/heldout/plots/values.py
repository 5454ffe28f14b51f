"""Values and texts as they go into a figure: short, rounded, harmless."""

import html
import re
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from heldout.check import InputError, visible

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
_FEW = 10  # ticks of an axis


def plain(text: object, most: int = 60) -> str:
    """Text from data as Plotly shows it literally: no tag, no entity, no template of it acts.

    Parameters
    ----------
    text : object
        A column name, an id, a class.
    most : int, default 60
        Longer texts are cut to this many characters; both ends stay, for names often differ in the last letters.

    Examples
    --------
    >>> plain("<b>50 %{x}</b>")
    '&lt;b&gt;50 &#37;{x}&lt;/b&gt;'
    """
    return html.escape(shortened(text, most), quote=False).replace("%{", "&#37;{")


def shortened(text: object, most: int = 60) -> str:
    """Text from data in one line, its middle cut out where it is long.

    Parameters
    ----------
    text : object
        A column name, an id, a class.
    most : int, default 60
        Characters that are kept; both ends stay, for names often differ in the last letters.

    Examples
    --------
    >>> shortened("comp.sys.ibm.pc.hardware", 12)
    'comp.s…dware'
    """
    shown = " ".join(visible(str(text)).split())
    if (over := len(shown) - most) <= 0:
        return shown
    head = most // 2
    return f"{shown[:head]}…{shown[head + over + 1 :]}"


def wrapped(text: str, width: int = 44) -> str:
    """Text in lines that fit a phone, as Plotly shows it literally.

    Parameters
    ----------
    text : str
        A title.
    width : int, default 44
        Characters in a line.

    Examples
    --------
    >>> wrapped("a < b and c", width=5)
    'a &lt; b<br>and c'
    """
    return "<br>".join(plain(line, 10 * width) for line in textwrap.wrap(text, width))


def numbers(values: Any) -> FloatArray:
    """Numbers as an array, None as NaN.

    Parameters
    ----------
    values : array-like of shape (n,), or None
        Numbers, some of which may be None; None alone gives an empty array.
    """
    return np.asarray([] if values is None else values, dtype=np.float64).reshape(-1)


def rounded(values: Any, digits: int = 6) -> list[float | None]:
    """Numbers with few digits, as they go into a page; None for what is not finite.

    Parameters
    ----------
    values : array-like of shape (n,)
        Numbers.
    digits : int, default 6
        Significant digits.

    Examples
    --------
    >>> rounded([1 / 3, float("nan"), 123456789], 3)
    [0.333, None, 123000000.0]
    """
    return [float(f"{x:.{digits}g}") if np.isfinite(x) else None for x in numbers(values)]


def times(values: Iterable[Any]) -> list[Any]:
    """Times as Plotly reads them: ISO text, to the day where they are all whole days; row numbers stay numbers.

    Parameters
    ----------
    values : iterable of str, datetime, numpy.datetime64 or int
        Times in order.

    Examples
    --------
    >>> times(["2024-01-01T00:00:00", "2024-01-02T00:00:00"])
    ['2024-01-01', '2024-01-02']
    >>> times([3, 4])
    [3, 4]
    """
    array = np.asarray(values if isinstance(values, np.ndarray) else list(values))
    if array.dtype.kind in "iuf":
        return list(array.tolist())
    if array.dtype.kind == "M":
        return times([str(x) for x in array.astype("datetime64[s]")])
    found = [x if isinstance(x, str) else x.isoformat() for x in array.tolist()]
    midnight = re.compile(r"[T ]00:00(:00(\.0+)?)?(Z|\+00:00)?$")
    if all(midnight.search(x) for x in found):
        return [x[:10] for x in found]
    return found


def even(n: int, most: int) -> IntArray:
    """Give at most ``most`` of the places 0 to n - 1, evenly spread, the first and the last among them.

    Parameters
    ----------
    n : int
        How many there are.
    most : int
        How many may be kept.

    Examples
    --------
    >>> even(9, 3)
    array([0, 4, 8])
    """
    if n <= most:
        return np.arange(n, dtype=np.int64)
    return np.linspace(0, n - 1, most).round().astype(np.int64)


def envelope(time: Sequence[Any], values: ArrayLike, most: int = 500) -> dict[str, list[Any]]:
    """The least and the greatest value of each of at most ``most`` equal stretches: a long series drawn small.

    Parameters
    ----------
    time : sequence of shape (n,)
        Times in order.
    values : array-like of shape (n,)
        Numbers; those not finite are left out.
    most : int, default 500
        Stretches.

    Returns
    -------
    dict of str to list
        ``time`` (the first of the stretch), ``low``, ``high``.

    Examples
    --------
    >>> envelope([0, 1, 2, 3], [5, 7, 1, 2], most=2)
    {'time': [0, 2], 'low': [5.0, 1.0], 'high': [7.0, 2.0]}
    """
    y = numbers(values)
    starts = np.unique(np.linspace(0, len(y), min(most, len(y)) + 1)[:-1].astype(np.int64))
    shown = times([time[start] for start in starts])
    if not len(y):
        return {"time": [], "low": [], "high": []}
    low = np.minimum.reduceat(np.where(np.isfinite(y), y, np.inf), starts)
    high = np.maximum.reduceat(np.where(np.isfinite(y), y, -np.inf), starts)
    return {"time": shown, "low": rounded(low), "high": rounded(high)}


def number(value: float | None, digits: int = 4) -> str:
    """A number as a person reads it.

    Parameters
    ----------
    value : float or None
        Any number.
    digits : int, default 4
        Significant digits; from 10,000 all those before the point.

    Examples
    --------
    >>> number(0.012345), number(-1234567.8), number(None)
    ('0.01235', '−1,234,568', 'none')
    """
    if value is None or not np.isfinite(value):
        return "none"
    text = f"{value:,.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:.{digits}g}"
    return text.replace("-", "−")


def percent(share: float | None, *, sign: bool = True) -> str:
    """A share as per cent.

    Parameters
    ----------
    share : float or None
        1 is 100 %.
    sign : bool, default True
        With + or −.

    Examples
    --------
    >>> percent(-0.0123), percent(0.9, sign=False)
    ('−1.2 %', '90 %')
    """
    if share is None or not np.isfinite(share):
        return "none"
    value = 100 * share
    if abs(value) < 0.05:
        return "0 %"
    text = (
        f"{value:.3g}"
        if abs(value) >= 1e9
        else f"{value:,.0f}"
        if abs(value) >= 1000 or (not sign and round(value, 1).is_integer())
        else f"{value:.1f}"
    )
    text = f"+{text}" if sign and not text.startswith("-") else text
    return f"{text} %".replace("-", "−")


def plural(count: int, what: str) -> str:
    """Write a count.

    Parameters
    ----------
    count : int
        How many.
    what : str
        Of what, in the singular.

    Examples
    --------
    >>> plural(1, "seed"), plural(1200, "row")
    ('1 seed', '1,200 rows')
    """
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def whole_ticks(values: Sequence[Any]) -> dict[str, int]:
    """Options of an axis that counts: on a short one Plotly would write halves.

    Parameters
    ----------
    values : sequence of int, or of times
        What the axis shows; where these are times nothing is changed.

    Examples
    --------
    >>> whole_ticks([1, 2, 3]), whole_ticks(range(100)), whole_ticks(["2024-01-01"])
    ({'dtick': 1}, {}, {})
    """
    counts = len(values) > 0 and not isinstance(values[0], str)
    return {"dtick": 1} if counts and max(values) - min(values) < _FEW else {}


def log_axis(low: float, high: float) -> dict[str, Any]:
    """Options of a logarithmic axis whose ticks are whole numbers; Plotly's own say 5 for 0.5.

    Parameters
    ----------
    low, high : float
        Above 0, a decade or more apart.

    Examples
    --------
    >>> log_axis(0.04, 1.1)["ticktext"]
    ['0.05', '0.1', '0.2', '0.5', '1']
    """
    first, last = int(np.floor(np.log10(low))), int(np.ceil(np.log10(high)))
    within = [
        float(f"{m}e{k}")
        for k in range(first, last + 1)
        for m in (1, 2, 5)
        if low <= float(f"{m}e{k}") <= high
    ]
    if len(within) > _FEW:
        decades = [x for x in within if f"{x:e}".startswith("1.000000e")]
        within = decades[:: -(-len(decades) // _FEW)]
    return {"type": "log", "tickvals": within, "ticktext": [number(x) for x in within]}


def span(low: float | None, high: float | None, show: Any = number) -> str:
    """An interval in brackets, or an empty text where an end is missing.

    Parameters
    ----------
    low, high : float or None
        Its ends.
    show : callable, default `number`
        Writes an end.

    Examples
    --------
    >>> span(0.1, None), span(1, 2)
    ('', '[1, 2]')
    """
    return "" if low is None or high is None else f"[{show(low)}, {show(high)}]"


def check_equal_lengths(**lists: Any) -> int:
    """Give the common length of lists that belong together.

    Parameters
    ----------
    **lists : sequence or None
        By name; None is left out.

    Raises
    ------
    InputError
        If they differ.
    """
    sizes = {name: len(values) for name, values in lists.items() if values is not None}
    if len(set(sizes.values())) > 1:
        told = ", ".join(f"{name} has {size}" for name, size in sizes.items())
        raise InputError(f"lists of one figure must be equally long, but {told}")
    return next(iter(sizes.values()), 0)
