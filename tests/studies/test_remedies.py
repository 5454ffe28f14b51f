"""The remedies: each changes what it is called after, none is on in the control, and a stack never contradicts itself."""

from dataclasses import fields
from functools import lru_cache
from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heldout.base_recipe import BaseRecipe
from heldout.check import InputError
from heldout.recipe import Recipe
from heldout.studies.remedies import (
    ENSEMBLE,
    MORE_DATA,
    NAMES,
    NO_RECIPE,
    Case,
    control_options,
    find_remedies,
    joined,
    merged,
    stackable,
)
from heldout.studies.remedy_arms import RemedyArms
from heldout.studies.remedy_effort import efforts
from heldout.text_recipe import TextRecipe

SERIES = Recipe(
    hidden_size=64, num_layers=2, lookback=10, transform="none", output_dropout=0.5, l1=0.1, jitter=0.1
)
TEXTS = TextRecipe(vectors="words.txt", embedding_size=64, p_unk=0.2, pretrain_epochs=2)


def bare(recipe):
    return recipe.with_values(control_options(recipe, "bare")).resolved()


@lru_cache
def found_for(recipe, *names):
    case = Case(control=bare(recipe), given=recipe, n_train=400)
    return find_remedies(case, names or None)


@pytest.mark.parametrize("recipe", [SERIES, TEXTS], ids=["series", "texts"])
def test_nothing_against_overfitting_is_left_in_the_control(recipe):
    control = bare(recipe)
    rates = [item.name for item in fields(control) if item.metadata["dial"] is not None]
    assert all(getattr(control, name) == 0 for name in rates)
    for name in ("l1", "l2", "dense_l2", "max_norm", "ema", "label_smoothing", "mixup"):
        assert getattr(control, name) == 0
    assert (control.patience, control.restore_best, control.shortcut) == (None, False, "none")
    for name in ("hidden_size", "num_layers", "max_epochs", "batch_size", "clip_norm"):
        assert getattr(control, name) == getattr(recipe, name)


def test_series_and_texts_have_every_remedy_that_there_is_for_them():
    of_series, of_texts = ({*found, *others} for found, others in map(found_for, (SERIES, TEXTS)))
    assert {*NAMES} == of_series | of_texts
    assert of_series - of_texts == {"window normalisation", "jitter", "random scaling"}
    assert of_texts - of_series == {
        "pretrained vectors", "EDA", "AEDA", "word dropout", "label smoothing", "smaller embedding", "unknown words",
        "back translation",
    }  # fmt: skip


@pytest.mark.parametrize("recipe", [SERIES, TEXTS], ids=["series", "texts"])
def test_a_remedy_changes_the_control_and_all_that_it_changes_is_allowed(recipe):
    control = bare(recipe)
    for name, options in found_for(recipe)[0].items():
        changed = control.with_values(options)
        assert (changed != control) == (name != ENSEMBLE), name


def test_the_recipe_as_it_is_has_some_already():
    recipe = Recipe(lookback=10, transform="none")
    found, others = find_remedies(Case(control=recipe.resolved(), given=recipe, n_train=100))
    assert {name for name, why in others.items() if why == "the control has it"} == {
        "early stopping", "linear shortcut", "output dropout", "weight dropout", "weight decay", "window normalisation",
    }  # fmt: skip
    assert "input dropout" in found
    assert others["fewer layers"] == "the control has one layer"


def test_what_is_missing_is_said():
    others = of_texts(TextRecipe(), "pretrained vectors", "back translation", "AEDA")
    assert "set vectors=" in others["pretrained vectors"]
    assert "set back_translation=" in others["back translation"]
    recipe = TextRecipe(back_translation="apertium:nosuch")
    assert "Apertium" in of_texts(recipe, "back translation", "AEDA")["back translation"]
    assert "WordNet" in of_texts(TextRecipe(synonyms="no/such/folder"), "EDA", "AEDA")["EDA"]


def of_texts(recipe, *names):
    return find_remedies(Case(control=bare(recipe), given=recipe, n_train=100), names)[1]


def test_variants_of_texts_cost_no_more_steps():
    recipe = TextRecipe(max_epochs=30, n_aug=2, min_original=0.2)
    assert found_for(recipe, "AEDA")[0]["AEDA"]["max_epochs"] == 10
    many = TextRecipe(max_epochs=30, n_aug=16, min_original=0.5)
    assert (
        found_for(many, "AEDA")[0]["AEDA"]["max_epochs"] == 15
    )  # at least half of an epoch's texts are as they were


def test_less_data_takes_as_many_steps():
    assert found_for(Recipe(max_epochs=30))[0][MORE_DATA] == {"max_epochs": 50}


def test_only_those_named_are_tried_and_a_name_that_is_none_is_refused():
    case = Case(control=bare(SERIES), given=SERIES, n_train=100)
    assert list(find_remedies(case, ["EMA", "l2", "EMA"])[0]) == ["EMA", "l2"]
    with pytest.raises(InputError, match=r"a remedy must be one of .*got 'ema'"):
        find_remedies(case, ["ema"])
    with pytest.raises(InputError, match="EDA is nothing for series"):
        find_remedies(case, ["EDA"])  # of texts only
    with pytest.raises(InputError, match="no remedy is left"):
        find_remedies(Case(control=BaseRecipe(), given=BaseRecipe(), n_train=9), ["early stopping"])


@given(st.permutations(NAMES), st.integers(1, 7), st.sampled_from([SERIES, TEXTS]))
def test_a_stack_never_sets_an_option_twice_and_is_made_of_recipes(names, most, recipe):
    options = found_for(recipe)[0]
    stack = stackable([name for name in names if name in options], options, most)
    assert len(stack) <= most
    assert not {*NO_RECIPE} & {*stack}
    for one, other in combinations(stack, 2):
        shared = options[one].keys() & options[other].keys()
        assert all(options[one][key] == options[other][key] for key in shared)
    assert not {"window normalisation", "linear shortcut"} <= {*stack}
    both = merged(joined(stack), options)
    assert both == {key: value for name in stack for key, value in options[name].items()}
    bare(recipe).with_values(both)


def test_the_stack_of_nothing_is_the_control():
    assert joined([]) == "control"
    assert merged("control", {}) == {}


def test_with_one_seed_there_is_no_ensemble():
    arms = RemedyArms(SERIES, "bare", None, settle=SERIES.with_values, n_train=99, n_seeds=1)
    assert arms.others[ENSEMBLE] == "there is one seed"
    with pytest.raises(InputError, match="set n_seeds to 2 or more"):
        RemedyArms(SERIES, "bare", [ENSEMBLE], settle=SERIES.with_values, n_train=99, n_seeds=1)


@given(st.integers(1, 6), st.integers(1, len(NAMES)))
def test_every_effort_does_less_than_the_one_before_and_says_what(n_seeds, n):
    found = efforts(n_seeds, NAMES[:n])
    costs = [(e.n_rates, e.n_seeds, e.n_judges, e.n_factors, len(e.names)) for e in found]
    assert all(all(b <= a for a, b in zip(*pair, strict=True)) for pair in pairwise(costs))
    assert len({*costs}) == len(costs)
    assert found[0].left_out == ()
    assert all(len(e.left_out) == len({text.split(":")[0] for text in e.left_out}) > 0 for e in found[1:])
    assert all(e.names == tuple(x for x in NAMES[:n] if x in e.names) for e in found)
