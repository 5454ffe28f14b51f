"""Faults of a table of series: gaps, columns that say nothing, outliers, unit roots, too few rows."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from heldout.data.audit.finding import Finding, failed, passed, places
from heldout.data.series import IntArray, SeriesData
from heldout.data.transforms import choose_transforms, is_differenced, robust_bounds
from heldout.plots.values import plural
from heldout.recipe import Recipe

_OUTLIER = 20.0  # robust standard deviations
_FEW_TRAIN, _FEW_TEST = 100, 30


def check_gaps(data: SeriesData) -> Finding:
    """Find missing values and missing times.

    Parameters
    ----------
    data : SeriesData
        The series.
    """
    missing = np.isnan(data.values)
    inside = np.diff(data.series_of_row) == 0
    # A market is closed on holidays, two running at most.
    usual = 3 if data.frequency.unit == "business day" else 1
    holes = np.flatnonzero(inside & (np.diff(data.position) > usual)) + 1
    uneven = len(holes) / max(1, int(inside.sum()))
    rows = np.union1d(np.flatnonzero(missing.any(axis=1)), holes)
    if not len(rows):
        return passed("gaps", "No value and no time is missing.", kind="fault")
    each = {name: int(n) for name, n in zip(data.columns, missing.sum(axis=0), strict=True) if n}
    said = [f"{plural(n, 'value')} of {name!r} missing" for name, n in each.items()]
    if len(holes):
        said.append(f"{plural(len(holes), 'hole')} in time ({100 * uneven:.1f} % of the steps)")
    return failed(
        "gaps",
        f"{'; '.join(said[:4])}: heldout fills forward only, tells the network, and lets no window cross a hole of more than max_gap steps.",
        places(data, rows),
        kind="hint" if missing.mean() < 0.05 and uneven < 0.05 else "fault",
        n_rows=len(rows),
        figures={**each, "holes": len(holes)},
    )


def check_repeated_times(notes: Sequence[str]) -> Finding:
    """Find times that occur twice in a series, by what reading the table noted.

    Parameters
    ----------
    notes : sequence of str
        `SeriesData.notes`.
    """
    said = [note for note in notes if "repeat a time of their series" in note]
    if not said:
        return passed("repeated times", "Every time occurs once in its series.", kind="fault")
    n = int(said[0].split()[0].replace(",", ""))
    return failed(
        "repeated times",
        f"{said[0]} for this audit: a fit refuses such a table unless duplicates = 'mean' or 'last' is set; are several series mixed (--id)?",
        kind="fault",
        n_rows=n,
    )


def check_constant(data: SeriesData, before_test: NDArray[np.bool_]) -> Finding:
    """Find columns that do not vary in the rows before the test, and copies of a target.

    Parameters
    ----------
    data : SeriesData
        The series.
    before_test : array of shape (n_rows,), bool
        Rows before the first label of the sealed test.
    """
    check, said = "columns that say nothing", []
    early = data.values[before_test]
    for name, column in zip(data.columns, early.T, strict=True):
        known = column[~np.isnan(column)]
        if not len(known) or np.ptp(known) == 0:
            said.append(f"column {name!r} is constant before the test")
    for name in data.past:
        said += [
            f"column {name!r} is the target {target!r}, perhaps in other units: it adds nothing to it"
            for target in data.targets
            if _is_copy(early, data.columns.index(name), data.columns.index(target))
        ]
    if not said:
        return passed(check, "Every column varies, and none is a copy of a target.", kind="fault")
    return failed(check, f"{said[0]}: leave it out with --ignore.", said, kind="fault")


def _is_copy(values: NDArray[np.float64], one: int, other: int) -> bool:
    pair = values[:, [one, other]]
    pair = pair[~np.isnan(pair).any(axis=1)]
    if len(pair) < 10 or (pair == pair[0]).all(axis=0).any():
        return False
    return bool(1 - abs(float(np.corrcoef(pair[:, 0], pair[:, 1])[0, 1])) < 1e-12)


def check_outliers(data: SeriesData) -> Finding:
    """Find values far outside: more than 20 robust standard deviations from the median of their column and series.

    Parameters
    ----------
    data : SeriesData
        The series.
    """
    far = np.zeros(data.n_rows, bool)
    each = {}
    for number, name in enumerate(data.columns):
        x = data.values[:, number]
        out = np.zeros(len(x), bool)
        for s in range(len(data.ids)):
            block = slice(int(data.offsets[s]), int(data.offsets[s + 1]))
            known = x[block][~np.isnan(x[block])]
            if len(known):
                low, high = robust_bounds(known, _OUTLIER)
                out[block] = (x[block] < low) | (x[block] > high)
        if out.any():
            each[name] = int(out.sum())
            far |= out
    if not each:
        return passed("outliers", f"No value is {_OUTLIER:g} robust standard deviations from its median.", kind="hint")  # fmt: skip
    names = ", ".join(f"{n} in {name!r}" for name, n in list(each.items())[:4])
    return failed(
        "outliers",
        f"Values {_OUTLIER:g} robust standard deviations and more from the median ({names}): are they errors, or a mark for missing? Inputs are held at "
        "the option outliers; labels are not.",
        places(data, np.flatnonzero(far)),
        kind="hint",
        n_rows=int(far.sum()),
        figures=each,
    )


def check_unit_root(data: SeriesData, train: IntArray, recipe: Recipe) -> Finding:
    """Find targets with a unit root that are forecast in levels because the recipe says so.

    Parameters
    ----------
    data : SeriesData
        The series.
    train : array of int64
        Origins of the first fold's training samples.
    recipe : Recipe
        Settled.
    """
    assert recipe.lookback is not None
    found, reasons = choose_transforms(data, train, recipe.lookback, "auto")
    roots = [
        why
        for name, why in zip(found[: len(data.targets)], reasons, strict=True)
        if is_differenced(name) and not is_differenced(recipe.transform)
    ]
    check = "unit root"
    if not roots:
        return passed(check, f"Targets are forecast as the tests ask for: {'; '.join(reasons[:3])}.", kind="hint")  # fmt: skip
    return failed(
        check,
        f"The level wanders and transform = {recipe.transform!r} leaves it so ({roots[0]}): a score of levels flatters every model; set "
        "transform = 'difference' or 'log_return'.",
        roots,
        kind="hint",
    )


def check_size(n_train: int, n_test: int, *, what: str = "window") -> Finding:
    """Find data that are too few for any claim.

    Parameters
    ----------
    n_train, n_test : int
        Samples that train, and sealed ones.
    what : str, default "window"
        What a sample is called.

    Examples
    --------
    >>> check_size(5000, 800).status, check_size(40, 8).status
    ('PASS', 'FAIL')
    """
    figures = {"train": n_train, "test": n_test}
    text = f"{plural(n_train, what)} train and {plural(n_test, what)} judge"
    if n_train >= _FEW_TRAIN and n_test >= _FEW_TEST:
        return passed("size", f"{text}.", kind="hint", figures=figures)
    return failed(
        "size",
        f"{text}: with fewer than {_FEW_TRAIN} and {_FEW_TEST}, no difference between models can be shown; a ridge regression or the last value may be all "
        "that such data carry.",
        kind="hint",
        figures=figures,
    )
