"""What a person sees while fits run."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from heldout.progress import Display
from heldout.recipe import Recipe
from heldout.studies.cost import work_of
from heldout.studies.ledger import Finished
from heldout.studies.plan import Job

RECIPE = Recipe(lookback=20).resolved()


def job(units, fold="fold 1"):
    model = replace(RECIPE, hidden_size=units)
    return Job(candidate=f"1 x {units}", fold=SimpleNamespace(name=fold), model=model)


def done(seconds, n_train=1000):
    return Finished(name="", spec={}, scores={"mse": 1.0, "n_train": n_train}, seconds=seconds)


def test_the_time_left_is_told_from_the_first_fit_on_for_sizes_that_were_not_fitted_yet():
    small, large = job(8), job(256)
    with Display(workers=1, quiet=True) as display:
        display.begin([small, large])
        assert display._left() == ""
        display.finished(small, done(10.0), was_there=False)
        ratio = work_of(large.model, 1000, 8) / work_of(small.model, 1000, 8)
        assert ratio > 2
        assert display.costs.estimate(display._work(large)) == pytest.approx(10 * ratio)
        assert display._left().startswith("about ")


def test_what_was_done_before_says_nothing_of_the_time():
    first, second = job(8), job(8, "fold 2")
    with Display(workers=1, quiet=True) as display:
        display.begin([first, second])
        display.finished(first, done(10.0), was_there=True)
        assert display._left() == ""


def test_a_plan_that_grows_is_announced_once(capfd):
    with Display(workers=2) as display:
        display.begin([job(8)])
        display.begin([job(8), job(16)])
        display.finished(job(8), done(1.0), was_there=False)
    said = capfd.readouterr().err
    assert said.count("fits on 2 workers") == 1
    assert "[1/2] 1 x 8, fold 1, seed 0" in said
