import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heldout.check import InputError
from heldout.recipe import Recipe
from heldout.studies.cost import Budget, Costs, duration, parse_budget, sentence, work_of
from heldout.text_recipe import TextRecipe


@pytest.mark.parametrize(
    ("text", "fits", "seconds"),
    [
        ("10min", None, 600), ("2h", None, 7200), ("90s", None, 90), ("1h 30min", None, 5400), ("1h30m", None, 5400),
        ("50 fits", 50, None), ("1 fit", 1, None), ("50", 50, None), (50, 50, None), ("0.5 h", None, 1800),
        ("50 fits, 10min", 50, 600), ("10 minutes and 50 fits", 50, 600), ("50 fits + 10 MIN", 50, 600),
    ],
)  # fmt: skip
def test_a_budget_is_read_as_people_write_it(text, fits, seconds):
    assert parse_budget(text) == Budget(fits=fits, seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "soon", "10 parsecs", "0", 0, -3, "1.5 fits", "5 fits 6 fits", "10 min of", "0s", "mins"]
)
def test_a_budget_that_cannot_be_read_is_refused_with_a_way_out(text):
    with pytest.raises(InputError, match=r"write it as '50 fits', '10min'"):
        parse_budget(text)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 10_000), st.integers(1, 10_000))
def test_a_budget_survives_being_written(fits, minutes):
    said = parse_budget(f"{fits} fits, {minutes} min")
    assert (said.fits, said.seconds) == (fits, 60 * minutes)


def test_a_budget_says_itself():
    assert str(Budget(fits=1, seconds=45)) == "1 fit or 45 s"
    assert str(Budget()) == "no limit"


@pytest.mark.parametrize(
    ("option", "small", "large"),
    [
        ("hidden_size", 8, 256),
        ("num_layers", 1, 3),
        ("max_epochs", 5, 14),
        ("lookback", 20, 200),
        ("batch_size", 256, 8),
    ],
)
def test_more_of_anything_is_more_work(option, small, large):
    few, many = (work_of(Recipe(**{"lookback": 50} | {option: value}), 3000, 4) for value in (small, large))
    assert 0 < few < many


def test_work_knows_segments_samples_words_and_epochs():
    recipe, text = Recipe(lookback=100), TextRecipe()
    assert work_of(Recipe(lookback=100, segment=10), 3000, 4) < work_of(recipe, 3000, 4)
    assert work_of(recipe, 300, 4) < work_of(recipe, 3000, 4) < work_of(recipe, 3000, 400)
    assert work_of(recipe, 3000, 4, epochs=1) < work_of(recipe, 3000, 4, epochs=2)
    assert (
        work_of(text, 1000, 100, n_steps=10) < work_of(text, 1000, 100) < work_of(text, 1000, 100, n_steps=90)
    )
    assert work_of(text, 1000, 100, n_steps=10**6) == work_of(text, 1000, 100, n_steps=256)
    assert work_of(Recipe(lookback=100, patience=None, max_epochs=30), 100, 4) > work_of(
        Recipe(lookback=100, patience=2, max_epochs=30), 100, 4
    )


def test_costs_follow_what_fits_took_here():
    costs = Costs()
    assert not costs.known
    costs.add(1.0, 2.0)
    costs.add(3.0, 6.0)
    assert costs.estimate(5.0) == pytest.approx(10)
    assert costs.total([1.0] * 10, workers=2) == pytest.approx(10)
    assert costs.total([9.0, 1.0], workers=8) == pytest.approx(18)
    assert costs.total([], workers=2) == 0


def test_an_estimate_is_said_in_round_numbers():
    assert sentence(1, 3, 1) == "1 fit, about 3 s on 1 core"
    assert (
        sentence(50, 9000, 2, guess=True)
        == "50 fits, about 2.5 h on 2 cores (a guess until the first are done)"
    )
    assert [duration(x) for x in (0, 89, 90, 5399, 5400)] == ["1 s", "89 s", "2 min", "90 min", "1.5 h"]
