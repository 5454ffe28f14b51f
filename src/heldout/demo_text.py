"""The texts of the demo: what installed packages say of their functions; the task is to tell which package says it."""

import ast
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from hashlib import sha256
from importlib.util import find_spec
from itertools import islice
from math import inf
from pathlib import Path

import polars as pl

from heldout.check import InputError, check_number
from heldout.config import TextConfig
from heldout.experiment import fit
from heldout.listener import Listener
from heldout.result import HELDOUT
from heldout.studies.engine import Engine
from heldout.text_result import TextResult

PACKAGES = ("numpy", "scipy", "sklearn", "torch", "pandas", "polars")
LEAST_WORDS = 4
SETTINGS: dict[str, object] = {"n_folds": 3, "n_seeds": 2}
_ALIASES = ("np", "sp", "pd", "pl", "scikit")  # as words; the names of the packages, as any part of a word
_ELSEWHERE = {
    "tests", "test", "testing", "conftest", "externals", "vendor", "third_party", "setup", "array_api_compat",
    "distutils",
}  # fmt: skip
_PRIVATE_BUT_READ = {"_core"}  # numpy's own functions
_SIGNATURE = re.compile(r"[\w.]+\(")
_HEADING = re.compile(
    r"\n\s*[-=~^]{3,}|^(Args?|Arguments|Parameters|Returns|Examples?|Notes?):|^:\w+( \w+)*:(?!`)"
)
_MARKUP = tuple(
    (re.compile(pattern), new)
    for pattern, new in (
        (r":[\w:+-]+:`([^`<]+?)\s*<[^`]*>`", r"\1"),  # :ref:`name <target>`
        (r":[\w:+-]+:`~(?:[^`]*\.)?([^`]*)`", r"\1"),  # :class:`~where.name`, of which the name is shown
        (r":[\w:+-]+:`!?([^`]*)`", r"\1"),
        (r"`([^`<]+?)\s*<[^`]*>`_+", r"\1"),  # `name <address>`_
        (r"\s*\[[\w.]+\]_", ""),  # a footnote
        (r"`+([^`]*)`+_*", r"\1"),
        (r"\*\*([^*\s](?:[^*]*[^*\s])?)\*\*", r"\1"),
        (r"\*([^*\s](?:[^*]*[^*\s])?)\*", r"\1"),
        (r"\s+", " "),
    )
)  # fmt: skip
_END = re.compile(r"(?<!\be\.g)(?<!\bi\.e)(?<!\bcf)(?<!\bvs)(?<!\betc)(?<!\b[A-Z])[.!?](?=\s|$)")


def docstring_texts(
    packages: Sequence[str] = PACKAGES, *, n_per_package: int = 900, n_per_module: int = 25
) -> pl.DataFrame:
    """Give first sentences of the docstrings of installed packages, with the package for a label.

    Nothing is imported or executed: the ``.py`` files are parsed. Folders of tests, of others' code and private ones are
    passed over, and so is every name that begins with an underscore. The label does not stand in a text: a sentence that
    holds the name of any of the packages, or a usual alias (``np``), is left out. To mask the name, or to leave out a
    package's own sentences alone, would show by the gap what the label is, or is not.

    Parameters
    ----------
    packages : sequence of str, default `PACKAGES`
        Names to import; those that are not installed are left out, and two must be there.
    n_per_package : int, default 900
        Texts of a package at most, so that no class is much larger than another. Modules are taken in an order that
        depends on their names alone, until there are enough.
    n_per_module : int, default 25
        Texts of a module at most, its first ones, so that no module is much of a class.

    Returns
    -------
    polars.DataFrame
        ``text``, of `LEAST_WORDS` words at least, none twice; ``package``; ``module``, which a split is to keep on one side.

    Raises
    ------
    InputError
        If fewer than two of the packages are installed, or a number is not positive.

    Examples
    --------
    >>> table = docstring_texts(("numpy", "polars"), n_per_package=20)
    >>> table.columns, table["package"].value_counts(sort=True)["count"].to_list()
    (['text', 'package', 'module'], [20, 20])
    """
    check_number("n_per_package", n_per_package, 1, inf)
    check_number("n_per_module", n_per_module, 1, inf)
    folders = {name: folder for name in packages if (folder := _folder(name))}
    if len(folders) < 2:
        raise InputError(
            f"the texts must be of two packages at least, but of {', '.join(packages)} there is installed: {', '.join(folders) or 'none'}"
        )
    names = _names(packages)
    rows = [
        {"text": text, "package": package, "module": module}
        for package, folder in folders.items()
        for module, text in islice(_texts(folder, n_per_module, names), n_per_package)
    ]
    of_several = Counter(row["text"].lower() for row in rows)
    return pl.DataFrame([row for row in rows if of_several[row["text"].lower()] == 1])


def run(
    *, out: str | Path | None = None, engine: Engine | None = None, listener: Listener | None = None
) -> TextResult:
    """Run the demo: a classifier of the texts of `docstring_texts`, with no module on both sides of a split.

    Parameters
    ----------
    out, engine, listener
        As in `heldout.experiment.fit`.

    Returns
    -------
    TextResult
        Rows ``heldout``, ``tfidf``, ``nbsvm`` and ``majority``.
    """
    columns = {"text": "text", "target": "package", "group": "module"}
    config = TextConfig().with_values(columns | SETTINGS)
    result = fit(
        docstring_texts(), config, out=out, engine=engine, listener=listener, command="heldout demo text"
    )
    assert isinstance(result, TextResult)
    return result


def meaning(result: TextResult) -> str:
    """Say in one sentence what the table shows.

    Parameters
    ----------
    result : TextResult
        What `run` gave.
    """
    right = {row.name: f"{100 * row.accuracy:.0f} %" for row in result.rows}
    return (
        f"From one sentence, with no module on both sides of a split, heldout names the right one of {len(result.classes)} packages "
        f"for {right[HELDOUT]} of the texts, TF-IDF with logistic regression for {right['tfidf']}, "
        f"the most frequent package for {right['majority']}."
    )


def _folder(package: str) -> Path | None:
    spec = find_spec(package)
    places = spec.submodule_search_locations if spec else None
    return Path(next(iter(places))) if places else None


def _names(packages: Sequence[str]) -> re.Pattern[str]:
    """What must not stand in a text."""
    inside = "|".join(map(re.escape, packages))
    return re.compile(rf"{inside}|\b(?:{'|'.join(_ALIASES)})\b", re.IGNORECASE)


def _texts(folder: Path, n_per_module: int, names: re.Pattern[str]) -> Iterator[tuple[str, str]]:
    """Module and text, each text once."""
    seen: set[str] = set()
    for module, file in _modules(folder):
        n = 0
        for docstring in _docstrings(file):
            text = first_sentence(docstring)
            if len(text.split()) < LEAST_WORDS or text.lower() in seen or names.search(text):
                continue
            seen.add(text.lower())
            yield module, text
            n += 1
            if n == n_per_module:
                break


def _modules(folder: Path) -> list[tuple[str, Path]]:
    """The modules that are read, by name, in an order that is as good as drawn and always the same."""
    found = []
    for file in folder.rglob("*.py"):
        parts = file.relative_to(folder).with_suffix("").parts
        private = any(part.startswith("_") and part not in _PRIVATE_BUT_READ for part in parts[:-1])
        if not private and not _ELSEWHERE & set(parts):
            found.append((".".join((folder.name, *parts)).removesuffix(".__init__"), file))
    return sorted(found, key=lambda entry: sha256(entry[0].encode()).digest())


def _docstrings(file: Path) -> Iterator[str]:
    """The docstrings of public functions, classes and methods, and those that are added to names written in C."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of invalid escapes in the file
            tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return  # a template, or for another Python: there are others
    yield from _of_body(tree.body)


def _of_body(body: Sequence[ast.stmt]) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            if not node.name.startswith("_"):
                yield ast.get_docstring(node, clean=False) or ""
                yield from _of_body(node.body if isinstance(node, ast.ClassDef) else ())
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            yield _added(node.value)


def _added(call: ast.Call) -> str:
    """The docstring of ``add_newdoc(module, name, docstring)`` or ``add_docstr(object, docstring)``."""
    called = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if called not in ("add_newdoc", "add_docstr", "add_docstr_all"):
        return ""
    node = call.args[-1] if call.args else None
    if isinstance(node, ast.Tuple):  # name of a method and its docstring
        node = node.elts[-1]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):  # "...".format(...)
        node = node.func.value
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def first_sentence(docstring: str) -> str:
    r"""Give the first sentence of a docstring as plain text; empty if it begins with no sentence.

    Parameters
    ----------
    docstring : str
        In reStructuredText. A signature before the first sentence is passed over.

    Examples
    --------
    >>> first_sentence("clip(a, b)\n\nLimit the values of :class:`~where.Array`, e.g.\nof ``a`` [1]_. Slow.")
    'Limit the values of Array, e.g. of a'
    """
    paragraphs = (part for part in re.split(r"\n\s*\n", docstring.strip()) if not _SIGNATURE.match(part))
    text = next(paragraphs, "").strip()
    if text.startswith(("..", ">>>", "{", "-", "=")) or _HEADING.search(text):
        return ""  # a directive, an example, a field, a heading
    for pattern, new in _MARKUP:
        text = pattern.sub(new, text)
    end = _END.search(text)
    return text[: end.start() if end else None].strip()
