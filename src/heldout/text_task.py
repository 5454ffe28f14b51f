"""`TextTask`: everything about a run on texts that is decided before its first fit."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from heldout.augment.synonyms import read_synonyms
from heldout.augment.translate import check_translation
from heldout.check import InputError
from heldout.config import TextConfig
from heldout.data.text import Vocabulary
from heldout.data.text_splits import TextSplit, split_texts
from heldout.data.text_table import TextData, read_texts
from heldout.result import HELDOUT
from heldout.studies.plan import Job, plan
from heldout.text_recipe import TextRecipe
from heldout.training.text_baselines import standard_text_baselines


@dataclass(frozen=True, kw_only=True, eq=False)
class TextTask:
    """What is fitted where.

    Attributes
    ----------
    config : TextConfig
        As the user gave it.
    data : TextData
        Texts with labels.
    split : TextSplit
        Folds and the sealed test.
    rivals : mapping of str to TextRecipe or baseline
        Compared on the sealed test alone.
    notes : tuple of str
        What was inferred and decided.
    """

    config: TextConfig
    data: TextData
    split: TextSplit
    rivals: Mapping[str, Any]
    notes: tuple[str, ...]

    @classmethod
    def make(
        cls, source: object, config: TextConfig, rivals: Mapping[str, Any], *, test: object = None
    ) -> "TextTask":
        """Read the table and decide.

        Raises
        ------
        InputError
            If the table or the configuration breaks a rule.
        """
        check_files(config)
        return cls.of(read(source, config, test=test), config, rivals)

    @classmethod
    def of(cls, data: TextData, config: TextConfig, rivals: Mapping[str, Any] | None = None) -> "TextTask":
        """Decide on texts that were read already.

        Raises
        ------
        InputError
            If the configuration breaks a rule.
        """
        study = config.study
        split = split_texts(
            data,
            test_size=study.test_size,
            n_folds=study.n_folds,
            valid_size=study.valid_size,
            threshold=study.near_duplicates,
            first_train=study.first_train,
            seed=study.split_seed,
        )
        first = split.folds[0].train
        try:  # before anything is written
            Vocabulary.learn(
                [data.texts[row] for row in first],
                lower=config.recipe.lower,
                min_count=config.recipe.min_count,
            )
        except InputError as error:
            raise InputError(
                f"{error}; words are cut at spaces and marks, so cut texts of languages without spaces first"
            ) from error
        notes = (*data.notes, *split.notes)
        return cls(config=config, data=data, split=split, rivals=rivals or {}, notes=notes)

    @cached_property
    def candidates(self) -> dict[str, Any]:
        """The baselines, and the recipe."""
        return {baseline.name: baseline for baseline in standard_text_baselines()} | {HELDOUT: self.recipe}

    @property
    def recipe(self) -> TextRecipe:
        """With every rate decided."""
        return self.config.recipe.resolved()

    def jobs(self) -> list[Job]:
        """All fits that are compared."""
        study = self.config.study
        seeds = range(study.first_seed, study.first_seed + study.n_seeds)
        folds = self.split.folds
        return plan(self.rivals, folds[-1:], seeds[:1]) + plan(self.candidates, folds, seeds)


def check_files(config: TextConfig) -> None:
    """Raise `InputError` if the recipe names files or programs that are not there.

    Parameters
    ----------
    config : TextConfig
        Of a fit.
    """
    for name, path in config.recipe.files().items():
        if not Path(path).exists():
            raise InputError(f"{name} must name what is there, but {path} is not: correct it or leave it out")
    if config.recipe.back_translation is not None:
        check_translation(config.recipe.back_translation)
    if config.recipe.alpha_sr or config.recipe.alpha_ri:
        read_synonyms(config.recipe.synonyms)


def check_named(config: TextConfig) -> None:
    """Raise `InputError` if no column of texts or of labels is named.

    Parameters
    ----------
    config : TextConfig
        Of a fit.
    """
    for name in ("text", "target"):
        if getattr(config.data, name) is None:
            what = "texts" if name == "text" else "labels"
            raise InputError(f"a fit of texts needs a column of {what}: name it with the option {name}")


def read(source: object, config: TextConfig, *, test: object = None) -> TextData:
    """Read a table of texts, and a test table, as the options say.

    Raises
    ------
    InputError
        If a column is not named, or the table breaks a rule.
    """
    check_named(config)
    return read_texts(source, **(vars(config.data) | ({} if test is None else {"test": test})))
