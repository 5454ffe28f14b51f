"""The way through the sizes, and what a budget leaves out of it."""

from hypothesis import given
from hypothesis import strategies as some

from heldout.studies.walk import efforts, stage_sizes, stages

starts = some.fixed_dictionaries(
    {"num_layers": some.integers(1, 4), "hidden_size": some.integers(1, 200)},
    optional={"embedding_size": some.integers(1, 300)},
)


@given(starts)
def test_a_walk_makes_one_option_smaller_at_a_time_and_begins_at_the_start(start):
    for name in stages("walk", start):
        sizes = stage_sizes(name, start)
        assert sizes[0] == start
        values = [size[name] for size in sizes]
        assert values == sorted(set(values), reverse=True)
        assert all({**size, name: start[name]} == start for size in sizes)
        thin = stage_sizes(name, start, thin=True)
        assert (thin[0], thin[-1]) == (sizes[0], sizes[-1])


@given(starts)
def test_what_is_as_small_as_can_be_is_passed_over(start):
    expected = [
        name
        for name, least in (("num_layers", 2), ("hidden_size", 4), ("embedding_size", 16))
        if start.get(name, 0) >= least
    ]
    assert stages("walk", start) == expected
    assert stages("depth", start) == ["depth"]


@given(some.integers(1, 6))
def test_a_budget_leaves_out_seeds_then_a_rate_then_sizes_and_says_so(n_seeds):
    found = efforts(n_seeds)
    assert found[0].left_out == ()
    assert (found[0].n_seeds, found[0].n_rates, found[0].thin, found[0].n_judges) == (
        n_seeds,
        3,
        False,
        n_seeds,
    )
    amounts = [(one.n_judges, not one.thin, one.n_rates, one.n_seeds) for one in found]
    assert amounts == sorted(amounts, reverse=True)
    assert (found[-1].n_judges, found[-1].n_seeds, found[-1].n_rates, found[-1].thin) == (1, 1, 2, True)
    for one in found:
        told = " ".join(one.left_out)
        assert (f"{one.n_seeds} instead of {n_seeds}" in told) == (one.n_seeds < n_seeds)
        assert ("learning rate" in told) == (one.n_rates < 3)
        assert ("every other size" in told) == one.thin
        assert ("judged with 1" in told) == (one.n_judges < n_seeds)
