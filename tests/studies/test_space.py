"""Spaces: what may be tuned, what is refused, and that the recipe itself is always among the default's values."""

import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heldout.check import InputError
from heldout.recipe import Recipe
from heldout.studies.proposals import Proposals
from heldout.studies.ranges import Choice, Float, Int
from heldout.studies.space import Space, default_space
from heldout.text_recipe import TextRecipe

FLOATS = st.tuples(st.floats(1e-6, 1), st.floats(1.5, 9), st.booleans()).map(lambda x: Float(*x))
INTS = st.tuples(st.integers(1, 9), st.integers(10, 90), st.integers(1, 5)).map(
    lambda x: Int(*x[:2], step=x[2])
)
LOG_INTS = st.tuples(st.integers(1, 9), st.integers(10, 90)).map(lambda x: Int(*x, log=True))
CHOICES = st.lists(st.integers(1, 99), min_size=2, unique=True).map(lambda x: Choice(tuple(x)))
SPACES = st.fixed_dictionaries(
    {"l1": FLOATS, "hidden_size": INTS | LOG_INTS | CHOICES, "batch_size": CHOICES | INTS}
).map(Space)


@given(SPACES)
def test_a_space_comes_back_from_what_json_holds(space):
    assert dict(Space(space.to_dict())) == dict(space)


@settings(max_examples=15, deadline=None)
@given(SPACES, st.integers(0, 99))
def test_what_is_proposed_lies_in_the_space(space, seed):
    for values in Proposals(space, seed=seed).ask(4):
        assert space.holds(values)


@settings(max_examples=20, deadline=None)
@given(
    st.floats(1e-6, 9),
    st.integers(1, 300),
    st.integers(1, 99),
    st.sampled_from(["adamw", "sgd"]),
    st.floats(0, 0.9),
)
def test_the_default_space_holds_the_recipe_that_it_is_made_for(lr, hidden_size, lookback, optimizer, rate):
    common = {"lr": lr, "hidden_size": hidden_size, "optimizer": optimizer, "output_dropout": rate}
    for recipe in (Recipe(lookback=lookback, **common), TextRecipe(**common)):
        settled = recipe.resolved()
        space = default_space(settled)
        assert space.holds(space.of(settled))
        space.check(settled.with_values)
        assert ("weight_decay" in space) == (optimizer == "adamw")
        if "lookback" in space:
            assert max(space["lookback"].values) == lookback


@given(FLOATS | INTS | LOG_INTS | CHOICES, st.integers(1, 200))
def test_a_range_that_is_widened_holds_the_value_and_all_it_held(entry, value):
    wide = entry.holding(value)
    assert wide.holds(value)
    assert all(wide.holds(end) for end in entry.ends())
    if entry.holds(value):
        assert wide == entry


def test_a_file_says_what_is_tuned(tmp_path):
    path = tmp_path / "space.toml"
    path.write_text(
        "[space]\nlr = {low = 1e-4, high = 1e-2, log = true}\nhidden_size = [8, 16, 32]\n"
        'regularization = {low = 0, high = 2}\nlookback = {low = 10, high = 60, step = 10}\npatience = [4, "none"]\n'
        'pooling = [["last"], ["mean", "max"]]\n'
    )
    space = Space.read(path)
    assert space["lr"] == Float(1e-4, 1e-2, log=True)
    assert space["hidden_size"] == Choice((8, 16, 32))
    assert isinstance(space["regularization"], Float)  # the option is no whole number, whatever the ends are
    assert space["lookback"] == Int(10, 60, step=10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        proposed = Proposals(space, seed=0).ask(10)
    assert {values["pooling"] for values in proposed} == {("last",), ("mean", "max")}
    values = TextRecipe(patience=None).to_dict() | {"lookback": 20}
    assert space.of(Recipe(lookback=20, patience=None))["patience"] == "none"
    assert values["patience"] == "none"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"lrr": [1, 2]}, "unknown option 'lrr'.*'lr'.*a space names options of the recipe"),
        ({"units": [1, 2]}, "here it is hidden_size"),
        ({"max_epochs": [1, 2]}, "max_epochs cannot be tuned, for the rungs"),
        ({"transform": ["log", "none"]}, "transform cannot be tuned, for the scale of the losses"),
        ({"lr": {"low": 0.1, "high": 0.01}}, r"lr: low must be below high, got 0.1 and 0.01: widen"),
        (
            {"lr": {"low": 0, "high": 1, "log": True}},
            "lr: low must be above 0 where log is set, got 0: raise it",
        ),
        ({"lr": {"low": 0.1, "hi": 1}}, "lr: a range is"),
        ({"lr": {"low": 0.1, "high": 1, "step": 1}}, "lr: a range here has low, high, log, got 'step'"),
        ({"lr": 0.1}, "lr: a range is .* or a list of choices, got 0.1"),
        ({"lr": [0.1]}, "lr: a choice needs two different values"),
        ({"lr": [0.1, 0.1]}, "lr: a choice needs two different values"),
        ({"lr": {"low": "a", "high": 1}}, "lr: low must be in"),
        ({"lr": {"low": 0.1, "high": 1, "log": 1}}, "lr: log must be true or false"),
        ({"hidden_size": {"low": 1.5, "high": 8}}, "hidden_size: low must be a whole number, got 1.5"),
        ({"hidden_size": {"low": 2, "high": 8, "log": True, "step": 2}}, "step must be 1 where log is set"),
        ({}, "a space needs one option at least"),
    ],
)
def test_a_mistake_in_a_space_is_told_with_the_way_out(entry, message):
    with pytest.raises(InputError, match=message):
        Space(entry)


def test_values_that_the_recipe_does_not_allow_are_refused():
    recipe = Recipe(lookback=20)
    with pytest.raises(
        InputError, match=r"the space asks for output_dropout=1\.5, but output_dropout must be in"
    ):
        Space({"output_dropout": {"low": 0, "high": 1.5}}).check(recipe.with_values)
    with pytest.raises(InputError, match="the space asks for alpha_aeda=0, but unknown option 'alpha_aeda'"):
        Space({"alpha_aeda": [0, 0.1]}).check(recipe.with_values)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot read the space"),
        ("space = 3", "must hold the one part"),
        ("[recipe]\nlr = 1", r"must hold the one part \[space\], got recipe"),
        ("lr ==", "is not TOML"),
        ("[space]\nlr = 1", "space.toml: lr: a range is"),
    ],
)
def test_a_file_that_holds_no_space_is_refused(tmp_path, text, message):
    path = tmp_path / "space.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=message):
        Space.read(path)
