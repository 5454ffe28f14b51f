"""Successive halving on fits that are made up: who goes on, who is spared what, and that nothing is done twice."""

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heldout.check import FitError
from heldout.recipe import Recipe
from heldout.studies.ledger import Finished
from heldout.studies.rungs import Bench, Trial, bracket_sizes, climb, rung_epochs

EPOCHS = (1, 3, 9)


class Fake:
    """Fits whose losses are a table: trial x fold x epochs."""

    def __init__(self, loss, *, n_folds=5, ends=lambda trial, fold: 99, epochs=EPOCHS):
        self.loss, self.ends, self.jobs, self.forgotten = loss, ends, [], []
        self.bench = Bench(
            folds=[SimpleNamespace(name=f"fold {k}", place=k) for k in range(n_folds)],
            seed=7,
            epochs=epochs,
            fit=self.fit,
            metric="mse",
            moments=lambda finished: finished.arrays["loss"],
            forget=self.forgotten.append,
        )

    def fit(self, jobs):
        return [self.one(job) for job in jobs]

    def one(self, job):
        self.jobs.append(job)
        number = 0 if job.candidate == "start" else int(job.candidate.removeprefix("trial "))
        until = job.until or self.bench.epochs[-1]
        loss = self.loss(number, job.fold.place, until)
        if loss is None:
            return Finished(name=job.name, spec={}, scores={"failed": "a NaN in epoch 3", "stopped": True})
        stopped = job.until is None or until >= self.ends(number, job.fold.place)
        scores = {"mse": loss, "stopped": stopped}
        return Finished(name=job.name, spec={}, scores=scores, arrays={"loss": np.full(4, loss)})

    def fits(self):
        return Counter((job.candidate, job.until) for job in self.jobs)


def make_trials(n, first=0):
    return [
        Trial(number=k, values={"lr": k}, recipe=Recipe(lr=1e-3 * (k + 1))) for k in range(first, first + n)
    ]


def run(fake, n=9, **options):
    trials = make_trials(n)
    climb(trials, fake.bench, start=trials[0], **options)
    return trials


def test_a_third_goes_on_at_each_rung_and_the_start_always():
    fake = Fake(lambda trial, fold, until: 1.0 - 0.1 * trial + 0.01 * fold, n_folds=2)
    trials = run(fake)
    assert [trial.state for trial in trials] == ["complete", *["stopped"] * 7, "complete"]
    assert [trial.rung for trial in trials] == [2, 0, 0, 0, 0, 0, 1, 1, 2]
    assert fake.fits()["trial 8", None] == fake.fits()["trial 8", 3] == fake.fits()["start", None] == 2
    assert len(fake.jobs) == 2 * sum(bracket_sizes(9, 3, start=True)) == 30
    assert trials[7].why == "not among the best 1 at epoch 3"
    assert {job.seed for job in fake.jobs} == {7}
    # What will not go on leaves nothing behind: 7 trials of 2 folds.
    assert len(fake.forgotten) == 14
    assert all(job.until is None for job in fake.forgotten)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(2, 12),
    st.integers(1, 4),
    st.sampled_from([(1, 3, 9), (1, 2), (4,)]),
    st.integers(0, 2**32 - 1),
)
def test_it_finds_what_a_slow_search_by_hand_finds(n, n_folds, epochs, seed):
    table = np.random.default_rng(seed).random((n, n_folds, 10))
    fake = Fake(lambda trial, fold, until: table[trial, fold, until], n_folds=n_folds, epochs=epochs)
    trials = run(fake, n)
    if any(trial.state == "raced out" for trial in trials):
        assert n_folds == 4
        return
    alive = list(range(1, n))
    for rung, epoch in enumerate(epochs):
        if rung:
            keep = -(-n // 3**rung)
            alive = sorted(sorted(alive, key=lambda k: table[k, :, before].mean())[:keep])
        before = epoch
    assert [trial.number for trial in trials if trial.state == "complete"] == [0, *alive]
    for trial in trials:
        assert trial.loss == pytest.approx(table[trial.number, :, epochs[trial.rung]].mean())
    assert len(fake.jobs) <= n_folds * sum(bracket_sizes(n, len(epochs), start=True))


def test_a_fit_that_early_stopping_ended_is_not_done_again():
    fake = Fake(
        lambda trial, fold, until: 1.0 - 0.1 * trial,
        n_folds=2,
        ends=lambda trial, fold: 1 if trial == 8 else 99,
    )
    trials = run(fake)
    assert fake.fits()["trial 8", 1] == 2
    assert ("trial 8", 3) not in fake.fits()
    assert trials[8].state == "complete"
    assert trials[8].loss == pytest.approx(0.2)


def test_a_trial_that_is_cut_off_after_it_ended_is_complete():
    fake = Fake(
        lambda trial, fold, until: 1.0 + 0.1 * trial,
        n_folds=2,
        ends=lambda trial, fold: 1 if trial == 8 else 99,
    )
    trials = run(fake)
    assert (trials[8].state, trials[8].rung) == ("complete", 0)
    assert trials[7].state == "stopped"


def test_a_failed_fit_fails_its_trial_and_no_other():
    fake = Fake(lambda trial, fold, until: None if (trial, fold) == (4, 1) else 1.0 + 0.1 * trial, n_folds=2)
    trials = run(fake)
    assert (trials[4].state, trials[4].why) == ("failed", "a NaN in epoch 3")
    assert trials[4].against(trials[0]) is None
    assert trials[1].state == "complete"
    with pytest.raises(FitError, match=r"the recipe as it is cannot be fitted.*a NaN in epoch 3"):
        run(Fake(lambda trial, fold, until: None if trial == 0 else 1.0, n_folds=4))


def test_an_infinite_loss_is_a_failure():
    trials = run(Fake(lambda trial, fold, until: np.inf if trial == 4 else 1.0, n_folds=2))
    assert trials[4].state == "failed"
    assert "its loss is not finite" in trials[4].why


def test_trials_that_are_clearly_worse_get_no_more_folds_and_a_loss_that_compares():
    noise = np.random.default_rng(0).normal(scale=0.01, size=(9, 5))
    hard = np.array([0.0, 1.0, 2.0, 30.0, 40.0])  # later folds are harder
    fake = Fake(lambda trial, fold, until: 5 + trial + hard[fold] + noise[trial, fold])
    trials = run(fake)
    raced = [trial for trial in trials if trial.state == "raced out" and trial.rung == 0]
    assert {trial.number for trial in raced} >= {5, 6, 7, 8}
    for trial in raced:
        assert fake.fits()[trial.name, 1] == 3
        assert np.isnan(trial.losses[0]).sum() == 2
        assert trial.loss == pytest.approx(5 + trial.number + hard.mean(), abs=0.05)
        assert trial.against(trials[0]) < 0.1
    # As many as go on are never stopped within the rung.
    assert not {1, 2, 3} & {trial.number for trial in raced}


def test_a_later_bracket_is_held_against_the_start_of_the_first():
    fake = Fake(lambda trial, fold, until: 1.0 + 0.001 * fold * (trial + 1) - 0.01 * trial, n_folds=3)
    first = run(fake, 2)
    before = len(fake.jobs)
    later = make_trials(3, first=2)
    climb(later, fake.bench, start=first[0])
    assert all(job.candidate != "start" for job in fake.jobs[before:])
    assert [trial.state for trial in later] == ["stopped", "stopped", "complete"]
    assert later[2].against(first[0]) == pytest.approx(np.std([0.0, 0.004, 0.008], ddof=1) / 3**0.5)


def test_less_room_lets_fewer_go_on():
    asked = []

    def room(rung, wanted):
        asked.append((rung, wanted))
        return 1

    trials = run(Fake(lambda trial, fold, until: 1.0 + trial, n_folds=2), room=room)
    assert asked == [(1, 3), (2, 1)]
    assert [trial.number for trial in trials if trial.rung > 0] == [0, 1]


@given(st.integers(0, 500))
def test_rungs_rise_to_the_last_epoch(max_epochs):
    epochs = rung_epochs(max_epochs)
    assert epochs[-1] == max_epochs
    assert sorted(set(epochs)) == list(epochs)
    assert len(epochs) <= 3


def test_a_copy_takes_the_fate_of_the_first():
    trials = run(Fake(lambda trial, fold, until: 1.0 - 0.1 * trial, n_folds=2))
    copy = make_trials(1, first=9)[0]
    copy.copy_from(trials[3])
    assert (copy.state, copy.loss, copy.rung) == (trials[3].state, trials[3].loss, 0)
    assert copy.why.startswith("the same as trial 3: not among")
