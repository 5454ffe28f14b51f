"""Whether a search was done before: found without loading what would do it again."""

import json
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from heldout.base_recipe import BaseRecipe
from heldout.config import BaseConfig, Config
from heldout.data.layout import read_series
from heldout.studies.cost import parse_budget


def asked(recipe: BaseRecipe, *, budget: str | int | None, **options: Any) -> dict[str, Any]:
    """Give all that decides what a search finds besides its table and its configuration, as JSON has it.

    Parameters
    ----------
    recipe : BaseRecipe
        As the user gave it; files that it names count as they are now.
    budget : str or int or None
        As in `heldout.studies.cost.parse_budget`.
    **options
        More.

    Raises
    ------
    InputError
        If the budget cannot be read.

    Examples
    --------
    >>> asked(BaseRecipe(), budget="50 fits", rule="best")
    {'rule': 'best', 'budget': {'fits': 50, 'seconds': None}, 'files': {}}
    """
    limit = None if budget is None else vars(parse_budget(budget))
    named: Mapping[str, str] = recipe.files() if hasattr(recipe, "files") else {}
    found = {name: Path(path).stat() for name, path in named.items() if Path(path).exists()}
    files = {name: [stat.st_size, stat.st_mtime_ns] for name, stat in found.items()}
    return {**options, "budget": limit, "files": files}


def find_answer(
    purpose: str,
    source: object,
    config: BaseConfig,
    options: Mapping[str, Any],
    *,
    out: str | Path | None = None,
    folder: str | Path = "runs",
    test: object = None,
) -> tuple[Path, dict[str, Any]] | None:
    """Look for a finished run that was asked the same of the same table, with the same software.

    Parameters
    ----------
    purpose : str
        As in `heldout.runs.Run.open`.
    source : path or data frame
        The table; read only where a run has the same configuration.
    config : Config or TextConfig
        As the user gave it.
    options : mapping
        From `asked`; held against ``options`` of ``scores.json``.
    out : path, optional
        The run directory.
    folder : path, default "runs"
        Where directories are numbered.
    test : path or data frame, optional
        Rows that stay sealed.

    Returns
    -------
    tuple of Path and dict, or None
        The run directory and its ``scores.json``.

    Raises
    ------
    InputError
        If the table breaks a rule.
    """
    paths = [Path(out)] if out is not None else sorted(Path(folder).glob(f"*-{purpose}-*"))
    found = [(path, held) for path in paths if (held := _held(path, config, options)) is not None]
    if not found:
        return None
    fingerprint = _read(source, config, test).fingerprint
    same = [(path, scores) for path, (data, scores) in found if data == fingerprint]
    return same[0] if same else None


def _held(path: Path, config: BaseConfig, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """Fingerprint of the table and scores of a finished run of this configuration; None if it is none or is damaged."""
    try:
        if (path / "config.toml").read_text(encoding="utf-8") != config.to_toml():
            return None
        about, scores = (
            json.loads((path / name).read_text(encoding="utf-8")) for name in ("run.json", "scores.json")
        )
        same = scores["options"] == options and _same_software(scores["environment"])
        return (about["data"], scores) if same else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _same_software(environment: Mapping[str, Any]) -> bool:
    """Whether fits would have the same keys: see `heldout.runs.environment`; the kind of CPU is not asked, for that loads torch."""
    here = platform.python_version(), f"{platform.system()} {platform.machine()}"
    packages: Mapping[str, str] = environment["packages"]
    return here == (environment["python"], environment["machine"]) and all(
        version(name) == there for name, there in packages.items()
    )


def _read(source: object, config: BaseConfig, test: object) -> Any:
    more = {} if test is None else {"test": test}
    if isinstance(config, Config):
        return read_series(source, **(vars(config.data) | more))
    from heldout.data.text_table import read_texts  # noqa: PLC0415 - it is slow to import

    return read_texts(source, **(vars(config.data) | more))
