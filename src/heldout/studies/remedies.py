"""The remedies against overfitting: what each changes in a recipe, where it does not apply, and the control without any of them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from heldout.augment.synonyms import read_synonyms
from heldout.augment.translate import check_translation
from heldout.base_recipe import BaseRecipe
from heldout.check import InputError, check_choice
from heldout.data.transforms import choose_window_norm, is_differenced
from heldout.recipe import Recipe
from heldout.text_recipe import WAYS, TextRecipe

ENSEMBLE, MORE_DATA = "seed ensemble", "more data"
NO_RECIPE = (ENSEMBLE, MORE_DATA)
"""Remedies that are no recipe: the mean of the seeds, and what the last part of the training rows has brought."""
LEFT_WITHOUT = 0.6
"""Share of the training rows of the control without `MORE_DATA`."""
CONTROLS = ("bare", "recipe")
"""Nothing against overfitting, or the user's recipe."""
_PATIENCE = 8
_FEW_TEXTS = 5000  # EDA, table 3: below it .05 of the words are changed, above .1
_HAS = "the control has it"
_APART = (("window normalisation", "linear shortcut"), ("window normalisation", "random scaling"))
_WORKED_ON = " + "


@dataclass(frozen=True, kw_only=True)
class Case:
    """For what a remedy is looked for.

    Attributes
    ----------
    control : BaseRecipe
        Settled.
    given : BaseRecipe
        As the user gave it: files and programs that it names.
    n_train : int
        Training samples of the first fold.
    """

    control: BaseRecipe
    given: BaseRecipe
    n_train: int


Found = Mapping[str, Any] | str | None
"""Options that change; or why it does not apply; or None where such a recipe has no such thing."""


def control_options(recipe: BaseRecipe, control: str) -> dict[str, Any]:
    """Give the options that make the control of a recipe.

    Parameters
    ----------
    recipe : BaseRecipe
        As the user gave it.
    control : {"bare", "recipe"}
        "bare" turns everything off that is against overfitting, and trains for ``max_epochs``: its size, its window, its
        batches and the clipping of gradients stay. "recipe" changes nothing.

    Examples
    --------
    >>> bare = Recipe(hidden_size=128, output_dropout=0.5, l1=0.1)
    >>> bare = bare.with_values(control_options(bare, "bare"))
    >>> bare.hidden_size, bare.output_dropout, bare.l1, bare.patience, bare.restore_best, bare.shortcut
    (128, 0.0, 0.0, None, False, 'none')
    """
    check_choice("control", control, CONTROLS)
    if control == "recipe":
        return {}
    rates = [item.name for item in fields(recipe) if item.metadata["dial"] is not None]
    off = ["l1", "l2", "dense_l2", "max_norm", "activation_penalty", "temporal_penalty", "label_smoothing", "ema", "mixup"]  # fmt: skip
    off += ["min_delta", "jitter", "random_scaling", *WAYS]
    found: dict[str, Any] = dict.fromkeys(["regularization", *rates, *off], 0.0)
    found |= {"patience": None, "restore_best": False, "start_from_epoch": 0, "shortcut": "none"}
    found |= {"vectors": None, "back_translation": None, "pretrain_epochs": 0, "whiten": False}
    found |= {"window_norm": "none"}
    return {name: value for name, value in found.items() if hasattr(recipe, name)}


def find_remedies(
    case: Case, names: Iterable[str] | None = None
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Give the remedies for a recipe, the most promising first, and those that do not apply.

    Parameters
    ----------
    case : Case
        Control and recipe.
    names : iterable of str, optional
        Only these.

    Returns
    -------
    remedies : dict of str to dict
        Options that change; none of `ENSEMBLE` and `MORE_DATA`.
    others : dict of str to str
        Why not.

    Raises
    ------
    InputError
        If there is no remedy of a name, or none is left.

    Notes
    -----
    Strengths are usual ones for small networks: those of the papers where these are for small data, less where they are for
    large language models. They are not tuned; the learning rate is.

    Examples
    --------
    >>> recipe = Recipe(num_layers=2, transform="none").resolved()
    >>> found, others = find_remedies(Case(control=recipe, given=recipe, n_train=1000))
    >>> found["fewer layers"], found["l2"], others["early stopping"]
    ({'num_layers': 1}, {'l2': 0.0001}, 'the control has it')
    """
    wanted = NAMES if names is None else tuple(dict.fromkeys(names))
    for name in wanted:
        check_choice("a remedy", name, NAMES)
    every = {name: of(case) for name, of in _REMEDIES.items() if name in wanted}
    if names is not None and (strange := [name for name, found in every.items() if found is None]):
        what = "texts" if isinstance(case.given, TextRecipe) else "series"
        raise InputError(f"{', '.join(strange)} is nothing for {what}: leave it out")
    remedies = {name: dict(found) for name, found in every.items() if isinstance(found, Mapping)}
    if not remedies:
        raise InputError("no remedy is left to try: name others, or take control='bare'")
    return remedies, {name: found for name, found in every.items() if isinstance(found, str)}


def stackable(names: Sequence[str], options: Mapping[str, Mapping[str, Any]], most: int) -> list[str]:
    """Give the first remedies that can be combined: that set no option to different values, and do not undo each other.

    Parameters
    ----------
    names : sequence of str
        In order of preference.
    options : mapping
        What each changes.
    most : int
        How many at most.

    Examples
    --------
    >>> options = {"EMA": {"ema": 0.99}, "seed ensemble": {}, "l1": {"l1": 1e-4}}
    >>> stackable(["seed ensemble", "l1", "EMA"], options, 7)
    ['l1', 'EMA']
    """
    found: list[str] = []
    for name in names:
        if (
            name not in NO_RECIPE
            and len(found) < most
            and all(_together(name, other, options) for other in found)
        ):
            found.append(name)
    return found


def joined(names: Iterable[str]) -> str:
    """Give the name of a stack: of none "control"."""
    return _WORKED_ON.join(names) or "control"


def merged(name: str, options: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Give what a stack, by the name that `joined` gave it, changes."""
    parts = [] if name == "control" else name.split(_WORKED_ON)
    return {key: value for part in parts for key, value in options[part].items()}


def _together(one: str, other: str, options: Mapping[str, Mapping[str, Any]]) -> bool:
    if any({one, other} == set(pair) for pair in _APART):
        return False
    shared = options[one].keys() & options[other].keys()
    return all(options[one][key] == options[other][key] for key in shared)


def _set(**values: Any) -> Callable[[Case], Found]:
    """A remedy that sets options, where the recipe knows them and the control has them off."""

    def find(case: Case) -> Found:
        if not all(hasattr(case.control, name) for name in values):
            return None
        return _HAS if all(getattr(case.control, name) for name in values) else values

    return find


def _augment(**values: Any) -> Callable[[Case], Found]:
    """One that adds variants of the texts; epochs are fewer, so that all arms take as many steps."""

    def find(case: Case) -> Found:
        found, recipe = _set(**values)(case), case.control
        if isinstance(found, str) or found is None or not isinstance(recipe, TextRecipe):
            return found
        each = 1 if "back_translation" in values else recipe.n_aug
        times = min(1 + each, 1 / recipe.min_original) if recipe.min_original else 1 + each
        return {**found, "max_epochs": max(1, round(recipe.max_epochs / times))}

    return find


def _early_stopping(case: Case) -> Found:
    if case.control.patience is not None and case.control.restore_best:
        return _HAS
    return {"patience": case.given.patience or _PATIENCE, "restore_best": True}


def _fewer_layers(case: Case) -> Found:
    return {"num_layers": 1} if case.control.num_layers > 1 else "the control has one layer"


def _fewer_units(case: Case) -> Found:
    units = case.control.hidden_size // 4
    return {"hidden_size": units} if units >= 2 else "a quarter of the control's units is under 2"


def _smaller_embedding(case: Case) -> Found:
    if not isinstance(case.control, TextRecipe):
        return None
    size = case.control.embedding_size // 4
    return {"embedding_size": size} if size >= 4 else "a quarter of the control's word vectors is under 4"


def _linear(case: Case) -> Found:
    if case.control.__dict__.get("shortcut", "none") != "none":
        return _HAS
    return {"shortcut": "tfidf"} if isinstance(case.control, TextRecipe) else {"shortcut": "ridge"}


def _window_norm(case: Case) -> Found:
    recipe = case.control
    if not isinstance(recipe, Recipe):
        return None
    if is_differenced(recipe.transform):
        return "the target's differences have no level"
    if recipe.window_norm != "none":
        return _HAS
    return {"window_norm": "auto"}


def _random_scaling(case: Case) -> Found:
    recipe = case.control
    if (
        isinstance(recipe, Recipe)
        and choose_window_norm(recipe, (recipe.transform,), recipe.lookback or 1) == "standard"
    ):
        return "standardised windows have one scale"
    return _set(random_scaling=0.1)(case)


def _mixup(case: Case) -> Found:
    return _set(mixup=0.2 if isinstance(case.control, TextRecipe) else 2.0)(case)


def _label_smoothing(case: Case) -> Found:
    return _set(label_smoothing=0.1)(case) if case.control.loss == "cross_entropy" else None


def _weight_decay(case: Case) -> Found:
    if case.control.optimizer != "adamw":
        return f"decay of weights needs optimizer='adamw', the recipe has {case.control.optimizer!r}"
    return _set(weight_decay=0.1)(case)


def _eda(case: Case) -> Found:
    if not isinstance(case.given, TextRecipe):
        return None
    try:
        read_synonyms(case.given.synonyms)
    except InputError as error:
        return str(error)
    share = 0.05 if case.n_train < _FEW_TEXTS else 0.1
    return _augment(alpha_sr=share, alpha_ri=share, alpha_rs=share, p_rd=share)(case)


def _back_translation(case: Case) -> Found:
    if not isinstance(case.given, TextRecipe):
        return None
    spec = case.given.back_translation
    if spec is None:
        return "the recipe names no translator: set back_translation="
    try:
        check_translation(spec)
    except InputError as error:
        return str(error)
    return _augment(back_translation=spec)(case)


def _vectors(case: Case) -> Found:
    if not isinstance(case.given, TextRecipe):
        return None
    if case.given.vectors is None:
        return "the recipe names no file of word vectors: set vectors="
    return _set(vectors=case.given.vectors)(case)


def _more_data(case: Case) -> Found:
    return {"max_epochs": round(case.control.max_epochs / LEFT_WITHOUT)}


def _none(case: Case) -> Found:  # noqa: ARG001 - as the others
    return {}


# The most promising first: what a small budget leaves out is cut from the end.
_REMEDIES: Mapping[str, Callable[[Case], Found]] = {
    "early stopping": _early_stopping,
    "linear shortcut": _linear,
    "fewer units": _fewer_units,
    ENSEMBLE: _none,
    "output dropout": _set(output_dropout=0.3),
    "pretrained vectors": _vectors,
    "input dropout": _set(input_dropout=0.2),
    "recurrent dropout": _set(recurrent_dropout=0.2),
    "window normalisation": _window_norm,
    "EMA": _set(ema=0.99),
    "weight decay": _weight_decay,
    "mixup": _mixup,
    "EDA": _eda,
    "AEDA": _augment(alpha_aeda=0.3),
    MORE_DATA: _more_data,
    "weight dropout": _set(weight_dropout=0.2),
    "word dropout": _set(embedding_dropout=0.1),
    "fewer layers": _fewer_layers,
    "label smoothing": _label_smoothing,
    "jitter": _set(jitter=0.03),
    "l2": _set(l2=1e-4),
    "l1": _set(l1=1e-4),
    "zoneout": _set(zoneout=0.1),
    "activation penalty": _set(activation_penalty=0.8),
    "temporal penalty": _set(temporal_penalty=0.4),
    "max-norm": _set(max_norm=1.0),
    "random scaling": _random_scaling,
    "smaller embedding": _smaller_embedding,
    "unknown words": _augment(p_unk=0.1),
    "back translation": _back_translation,
}
NAMES = tuple(_REMEDIES)
"""Every remedy, the most promising first."""
