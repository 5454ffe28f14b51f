"""`Config` and `TextConfig`: everything a user can say about a run, in one TOML file."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Self

import tomlkit

from heldout.check import InputError, did_you_mean
from heldout.options import Options, documented, option
from heldout.recipe import Recipe
from heldout.text_recipe import TextRecipe


@documented(
    "What the columns of the table are, and what is to be forecast.",
    ">>> DataOptions(target=('close',)).missing\n'error'",
)
@dataclass(frozen=True, kw_only=True)
class DataOptions(Options):  # noqa: D101 - written by `documented`
    target: tuple[str, ...] = option((), "Columns to forecast.")
    time: str | None = option(None, "Column of times; by default the first that holds dates.")
    id: str | None = option(None, "Column that tells several series apart.")
    past: tuple[str, ...] | None = option(
        None, "Covariates known up to the present; by default every other column."
    )
    future: tuple[str, ...] = option((), "Covariates known ahead.")
    static: tuple[str, ...] = option((), "Columns that never change within a series.")
    ignore: tuple[str, ...] = option((), "Columns to leave out.")
    horizon: int | None = option(None, "Steps ahead to forecast; by default from the calendar.", low=1)
    last_step_only: bool = option(False, "Forecast and score the last step of the horizon alone.")
    calendar: bool = option(False, "Add hour, weekday and day of the year as covariates known ahead.")
    missing: str = option(
        "error", "Refuse missing values, or fill them inside the fit.", choices=("error", "fill")
    )
    duplicates: str = option(
        "error", "What a time that occurs twice does.", choices=("error", "mean", "last")
    )
    max_gap: int = option(10, "No window crosses a hole of more than this many steps.", low=1)
    encoding: str = option("utf-8", "How a text file is encoded.")
    layout: str = option(
        "auto",
        "One row per time, or one series per row; 'auto' is wide where no target, time or covariate is named and ids stand before columns that are counted or timed.",
        choices=("auto", "long", "wide"),
    )
    test: str = option(
        "auto",
        "File of rows that follow and are the sealed test; 'auto' takes one beside the table with test for train in its name, 'none' takes none.",
    )


@documented("How the model is judged.", ">>> StudyOptions().test_size\n0.2")
@dataclass(frozen=True, kw_only=True)
class StudyOptions(Options):  # noqa: D101 - written by `documented`
    test_size: float = option(
        0.2,
        "Share of the time span that is sealed and scored once, at the end.",
        low=0,
        high=0.9,
        open_low=True,
    )
    n_folds: int | None = option(
        None,
        "Walk-forward folds before the sealed test; by default 5, fewer on short series.",
        low=0,
        high=1000,
    )
    first_train: float | None = option(
        None,
        "Share of the time before the test that the first fold learns from; by default .5.",
        low=0,
        high=1,
        open_low=True,
        open_high=True,
    )
    valid_size: float = option(
        0.2,
        "Share of a fold's past that decides when training stops.",
        low=0,
        high=1,
        open_low=True,
        open_high=True,
    )
    n_seeds: int = option(
        3,
        "Fits per fold, each from another seed; the final model is the mean of its seeds.",
        low=1,
        high=1000,
    )
    first_seed: int = option(0, "The seeds are this number and the following ones.", low=0)
    metric: str = option("mse", "What is averaged over the test rows.", choices=("mse", "mae"))
    season: int | None = option(
        None, "Rows in a season, for the seasonal baseline; by default found in the training rows.", low=1
    )
    level: float = option(
        0.9,
        "Coverage of the intervals, which are calibrated on the validation rows.",
        low=0,
        high=1,
        open_low=True,
        open_high=True,
    )
    mc_dropout: int = option(
        0, "Passes of Monte Carlo dropout over the sealed test, two at least; 0 leaves it out.", low=0
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mc_dropout == 1:
            raise InputError(
                "mc_dropout needs 2 passes at least, for one has no spread, got 1: 50 are usual, 0 leaves it out"
            )


@dataclass(frozen=True, kw_only=True)
class BaseConfig:
    """What `Config` and `TextConfig` share: three parts, in one TOML file."""

    data: Any = None
    study: Any = None
    recipe: Any = None
    _lists: ClassVar[tuple[str, ...]] = ()

    def with_values(self, values: Mapping[str, Any]) -> Self:
        """Give a copy with some options changed, named ``option`` or ``part.option``.

        Raises
        ------
        InputError
            If there is no such option, or its value is not allowed.
        """
        changed: dict[str, dict[str, Any]] = {item.name: {} for item in fields(self)}
        for name, value in values.items():
            part, option_name = self._find(name)
            if part == "data" and option_name in self._lists and isinstance(value, str):
                value = [value]  # noqa: PLW2901 - one column may be written without brackets
            changed[part][option_name] = value
        parts = {part: getattr(self, part).with_values(new) for part, new in changed.items()}
        return type(self)(**parts)

    def _repr_html_(self) -> str:
        """The options of each part that differ from their defaults."""
        return "".join(getattr(self, item.name)._repr_html_() for item in fields(self))

    @classmethod
    def _find(cls, name: str) -> tuple[str, str]:
        known = {part: [entry.name for entry in kind.describe()] for part, kind in cls._parts().items()}
        part, dot, rest = name.partition(".")
        if dot:
            if part not in known:
                raise InputError(f"unknown part {part!r} in {name!r}: there are {', '.join(known)}")
            return part, rest
        for part, names in known.items():
            if name in names:
                return part, name
        if message := cls._parts()["recipe"]._unknown(name):
            raise InputError(message)
        raise InputError(
            f"unknown option {name!r}{did_you_mean(name, [name for names in known.values() for name in names])}"
        )

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read a TOML file.

        Raises
        ------
        InputError
            If the file is missing or is no TOML, or holds an unknown part or option.
        """
        try:
            values = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"cannot read the configuration {path}: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InputError(f"{path} is not TOML: {error}") from error
        for part in values:
            if part not in cls._parts() or not isinstance(values[part], dict):
                if not isinstance(values[part], dict):
                    raise InputError(
                        f"{path}: {part!r} stands outside the parts: put it under {', '.join(f'[{p}]' for p in cls._parts())}"
                    )
                raise InputError(
                    f"{path}: unknown part [{part}]{did_you_mean(part, cls._parts())}: there are {', '.join(cls._parts())}"
                )
        flat = {
            f"{part}.{name}": value for part, options in values.items() for name, value in options.items()
        }
        return cls().with_values(flat)

    @classmethod
    def _parts(cls) -> dict[str, type[Options]]:
        defaults = cls()
        return {item.name: type(getattr(defaults, item.name)) for item in fields(cls)}

    def to_toml(self, *, comments: bool = False) -> str:
        """Write it as TOML that `read` takes back; with comments, every option is explained and unset ones are shown.

        Parameters
        ----------
        comments : bool, default False
            For people.
        """
        document = tomlkit.document()
        for part, kind in self._parts().items():
            table = tomlkit.table()
            values = getattr(self, part).to_dict()
            for name, _, _, text in kind.describe():
                if comments:
                    table.add(tomlkit.comment(text))
                if values[name] is not None:
                    table.add(name, values[name])
                elif comments:
                    table.add(tomlkit.comment(f"{name} ="))
            document.add(part, table)
        return tomlkit.dumps(document)


@dataclass(frozen=True, kw_only=True)
class Config(BaseConfig):
    """The three parts of a run: ``[data]``, ``[study]`` and ``[recipe]`` of the TOML file.

    Parameters
    ----------
    data : DataOptions
        Columns and task.
    study : StudyOptions
        Splits, seeds, score.
    recipe : Recipe
        Hyper-parameters.

    Examples
    --------
    >>> config = Config().with_values({"target": "close", "hidden_size": 16, "study.n_folds": 3})
    >>> config.data.target, config.recipe.hidden_size, config.study.n_folds
    (('close',), 16, 3)
    """

    data: DataOptions = field(default_factory=DataOptions)
    study: StudyOptions = field(default_factory=StudyOptions)
    recipe: Recipe = field(default_factory=Recipe)
    _lists: ClassVar[tuple[str, ...]] = ("target", "past", "future", "static", "ignore")


@documented(
    "What the columns of a table of texts are.",
    ">>> TextOptions(text='review', target='label').encoding\n'utf-8'",
)
@dataclass(frozen=True, kw_only=True)
class TextOptions(Options):  # noqa: D101 - written by `documented`
    text: str | None = option(None, "Column of texts.")
    target: str | None = option(None, "Column of labels.")
    group: str | None = option(
        None, "Column of authors, threads, sources: what must not be on both sides of a split."
    )
    time: str | None = option(None, "Column of times: then the latest texts are the sealed test.")
    test: str | None = option(
        None, "File of rows that are the sealed test; by default a part of the table is."
    )
    encoding: str = option("utf-8", "How a text file is encoded.")


@documented("How a model of texts is judged.", ">>> TextStudyOptions().n_folds\n5")
@dataclass(frozen=True, kw_only=True)
class TextStudyOptions(Options):  # noqa: D101 - written by `documented`
    test_size: float = option(
        0.2, "Share of the texts that is sealed and scored once, at the end.", low=0, high=0.9, open_low=True
    )
    n_folds: int = option(5, "Folds before the sealed test; 0 for none.", low=0, high=1000)
    first_train: float = option(
        0.5,
        "With times, share of the texts before the test that the first fold learns from.",
        low=0,
        high=1,
        open_low=True,
        open_high=True,
    )
    valid_size: float = option(
        0.15,
        "Share of a fold's other texts that decides when training stops.",
        low=0,
        high=0.9,
        open_low=True,
    )
    near_duplicates: float | None = option(
        0.8,
        "Texts that share this much of their runs of three words stay on one side of a split; None looks at groups alone.",
        low=0,
        high=1,
        open_low=True,
    )
    n_seeds: int = option(
        3,
        "Fits per fold, each from another seed; the final model is the mean of its seeds.",
        low=1,
        high=1000,
    )
    first_seed: int = option(0, "The seeds are this number and the following ones.", low=0)
    split_seed: int = option(0, "Draws the split where there are no times.", low=0)


@dataclass(frozen=True, kw_only=True)
class TextConfig(BaseConfig):
    """The three parts of a run on texts: ``[data]``, ``[study]`` and ``[recipe]`` of the TOML file.

    Parameters
    ----------
    data : TextOptions
        Columns.
    study : TextStudyOptions
        Splits and seeds.
    recipe : TextRecipe
        Hyper-parameters.

    Examples
    --------
    >>> config = TextConfig().with_values({"text": "review", "target": "label", "n_seeds": 1})
    >>> config.data.text, config.study.n_seeds, config.recipe.bidirectional
    ('review', 1, True)
    """

    data: TextOptions = field(default_factory=TextOptions)
    study: TextStudyOptions = field(default_factory=TextStudyOptions)
    recipe: TextRecipe = field(default_factory=TextRecipe)
