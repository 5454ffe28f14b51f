"""All checks of a series, in order."""

from collections.abc import Callable, Sequence

import numpy as np

from heldout.data.audit.faults import (
    check_constant,
    check_gaps,
    check_outliers,
    check_repeated_times,
    check_size,
    check_unit_root,
)
from heldout.data.audit.finding import Finding
from heldout.data.audit.lookahead import check_lookahead
from heldout.data.audit.overlap import Parts, check_overlap, parts_of
from heldout.data.audit.probe import check_delay, check_too_good, probe
from heldout.data.audit.repeats import check_repeats
from heldout.data.audit.scaled import check_ramps, check_scaling, check_static
from heldout.data.audit.shift import check_shift
from heldout.data.audit.truncation import check_preparation, check_seen
from heldout.data.series import SeriesData
from heldout.data.splits import Fold
from heldout.recipe import Recipe


def audit_series(
    data: SeriesData,
    recipe: Recipe,
    folds: Sequence[Fold],
    *,
    parts: Sequence[Parts] | None = None,
    choices: Sequence[Callable[[SeriesData], object]] = (),
    quick: bool = False,
    rng: np.random.Generator,
) -> list[Finding]:
    """Give what every check of a series finds.

    Parameters
    ----------
    data : SeriesData
        The series.
    recipe : Recipe
        Settled.
    folds : sequence of Fold
        The last has the sealed test.
    parts : sequence of Parts, optional
        A split made elsewhere, looked at instead of the folds.
    choices : sequence of callable
        What else is decided on the first fold's training rows, as in `check_seen`.
    quick : bool, default False
        Leave out what takes more than a moment: cutting rows off, shift, delay, too good.
    rng : numpy Generator
        Draws rows to look at.
    """
    lookback = recipe.lookback
    assert lookback is not None
    train, valid, test = (part.rows(data, lookback) for part in (folds[-1].train, folds[-1].valid, folds[-1].test))  # fmt: skip
    first = folds[0].train.rows(data, lookback)
    before_test = data.time <= data.time[test].min()
    cuts = parts_of(folds, data, lookback) if parts is None else parts
    findings = [
        check_seen(data, [first, train], recipe, choices),
        check_overlap(data, cuts, lookback),
        check_lookahead(data, quick=quick),
        check_scaling(data, before_test),
        check_static(data, before_test),
        check_repeats(data, before_test),
    ]
    if not quick:
        found = [probe(data, train, valid, target) for target in data.targets]
        findings.insert(0, check_preparation(data, train, recipe, rng=rng))
        findings += [
            check_shift(data, np.concatenate([train, valid]), test, recipe),
            check_too_good(data, found),
            check_delay(found[0], has_covariates=bool(data.past or data.future)),
        ]
    return [
        *findings,
        check_gaps(data),
        check_repeated_times(data.notes),
        check_constant(data, before_test),
        check_ramps(data),
        check_outliers(data),
        check_unit_root(data, first, recipe),
        check_size(len(train), len(test)),
    ]
