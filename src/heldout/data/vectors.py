"""Word vectors that others have learned: read from a large file in one pass, for the words in use only."""

import json
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heldout.check import InputError, visible
from heldout.data.vector_files import BINARY, Float32Array, open_records, parse_vector
from heldout.files import write_atomically
from heldout.plots.values import plural

SPECIAL = ("[PAD]", "[UNK]")
"""How a `heldout.data.text.Vocabulary` begins: what fills a batch up, and what stands for every word not in it."""

_DAMAGE = (OSError, ValueError, TypeError, LookupError, AttributeError, MemoryError, RuntimeError, EOFError)


@dataclass(frozen=True, eq=False, kw_only=True)
class Vectors:
    """The vectors of the words in use; `InputError` where they do not match the words, or a word repeats.

    Parameters
    ----------
    words : tuple of str
        The words that were found, in the order of the file.
    vectors : array of shape (n, d), float32
        One finite vector per word; not to be written to.
    found_words : float
        Share of the words of the vocabulary that have a vector, their own or that of the word in lower case.
    found_tokens : float or None
        The same of the tokens of the text; None if no counts were given.
    source : str
        The file, its format, how many vectors it holds and how many words it repeats.
    components : array of shape (d, d of the file), float64, optional
        The directions that were kept, if the vectors were reduced; scaled if they were whitened.
    variance_kept : float, default 1.0
        Share of the variance of the words in use that lies in these directions.
    whitened : bool, default False
        Whether each number has variance 1 over the words in use.

    Examples
    --------
    >>> values = np.random.default_rng(0).normal(size=(3, 9)).astype(np.float32)
    >>> pets = Vectors(words=("cat", "dog", "emu"), vectors=values, found_words=1.0, found_tokens=None, source="made up")
    >>> pets.coverage(["Cat", "axolotl"], [9, 1]), pets.reduced(2).vectors.shape
    ((0.5, 0.9), (3, 2))
    >>> weights, found, note = pets.matrix(["Cat", "axolotl"], np.random.default_rng(0))
    >>> note
    'of 2 words, 0 have their own vector, 1 that of the word in lower case, and 1 one drawn at random'
    """

    words: tuple[str, ...]
    vectors: Float32Array
    found_words: float
    found_tokens: float | None
    source: str
    components: NDArray[np.float64] | None = None
    variance_kept: float = 1.0
    whitened: bool = False

    def __post_init__(self) -> None:
        if self.vectors.dtype != np.float32 or self.vectors.ndim != 2 or not self.vectors.size:
            raise InputError(f"vectors must be float32 of shape (n, d), from 1 up, got {self.vectors.shape}")
        if len(set(_checked(self.words))) != len(self.words) or len(self.words) != len(self.vectors):
            raise InputError(
                f"words must be {len(self.vectors)} different ones, as vectors, got {len(self.words)}"
            )
        wrong = ~np.isfinite(self.vectors).all(1)
        if wrong.any():
            raise InputError(f"vectors must be finite, but not that of {self.words[int(wrong.argmax())]!r}")
        self.vectors.flags.writeable = False

    @cached_property
    def _row(self) -> dict[str, int]:
        return {word: row for row, word in enumerate(self.words)}

    def coverage(
        self, vocabulary: Sequence[str], counts: Sequence[int] | None = None
    ) -> tuple[float, float | None]:
        """Give the shares of words and of tokens that have a vector, as `found_words` and `found_tokens` do.

        Parameters
        ----------
        vocabulary : sequence of str
            Different words. The first two of a `heldout.data.text.Vocabulary` are no words and have no vector.
        counts : sequence of int, optional
            How often each occurs; without it there is no share of tokens.
        """
        has = np.array([w in self._row or w.lower() in self._row for w in _checked(vocabulary)])
        n_special = len(SPECIAL) * (tuple(vocabulary[:2]) == SPECIAL)
        has[:n_special] = False
        of_words = float(has.sum() / max(len(has) - n_special, 1))
        if counts is None:
            return of_words, None
        n = np.asarray(counts, np.float64)
        if n.shape != has.shape or not (n >= 0).all() or not 0 < n.sum() < np.inf:
            raise InputError(
                f"counts must be {len(has)} from 0 up, one a word, not all 0, got {counts!r:.50}"
            )
        return of_words, float(n[has].sum() / n.sum())

    def matrix(
        self, vocabulary: Sequence[str], rng: np.random.Generator
    ) -> tuple[Float32Array, NDArray[np.bool_], str]:
        """Give a vector for each word of a vocabulary, in its order, also for those that have none.

        A word has its own vector; else that of the word in lower case; else one drawn from a normal distribution, with the
        mean and the standard deviation that each number has over the words in use. Where the first word is "[PAD]", which
        fills batches up, its vector is 0.

        Parameters
        ----------
        vocabulary : sequence of str
            Different words, such as `heldout.data.text.Vocabulary.words`.
        rng : numpy Generator
            Draws the vectors of missing words, in their order; no other vector depends on it.

        Returns
        -------
        weights : array of shape (n_words, d), float32
        found : array of shape (n_words,), bool
            False where the vector was drawn, or is that of "[PAD]".
        note : str
            How many came from where.
        """
        own = np.array([self._row.get(word, -1) for word in _checked(vocabulary)])
        row = np.where(own >= 0, own, [self._row.get(word.lower(), -1) for word in vocabulary])
        found, weights, first = row >= 0, self.vectors[row], int(vocabulary[0] == SPECIAL[0])
        drawn = ~found
        if first:
            weights[0], drawn[0], found[0] = 0.0, False, False
        mean, scale = self.vectors.mean(0, dtype=np.float64), self.vectors.std(0, dtype=np.float64)
        if len(self.words) == 1:  # one vector shows no spread over words; its own numbers do
            scale = np.full_like(mean, np.sqrt(np.square(mean).mean()))
        weights[drawn] = rng.normal(mean, scale, (int(drawn.sum()), len(mean)))
        n_own, n_lower, n_drawn = (int(n[first:].sum()) for n in (own >= 0, row > own, drawn))
        note = f"of {len(row) - first} words, {n_own} have their own vector, {n_lower} that of the word in lower case, "
        return weights, found, note + f"and {n_drawn} one drawn at random"

    def reduced(self, size: int, *, whiten: bool = False, remove_mean: bool = True) -> "Vectors":
        """Give shorter vectors that keep most of the variance about the mean (PCA over the words in use).

        Raises `InputError` where the vectors vary in fewer directions than ``size``, or are whitened. Where they were reduced
        before, the share of variance kept is the product of both.

        Parameters
        ----------
        size : int
            Numbers per vector, from 1 to d and less than n. Fewer leave less to overfit.
        whiten : bool, default False
            Scale each number to variance 1 over the words in use.
        remove_mean : bool, default True
            Subtract the mean vector, which all words share (Mu & Viswanath 2018, arXiv 1702.01417; what else they remove is kept).
        """
        self._check_size(size)
        if self.whitened:
            raise InputError("whitened vectors vary alike in all directions; reduce the vectors of the file")
        mean = self.vectors.mean(0, dtype=np.float64)
        # The triangle of QR has the singular values and right vectors of the whole, which is n/d times as large.
        triangle = np.linalg.qr(self.vectors - mean, mode="r")
        scale, directions = np.linalg.svd(triangle, full_matrices=False)[1:]
        if scale[size - 1] <= scale[0] * max(self.vectors.shape) * np.finfo(np.float32).eps:
            raise InputError(f"vectors must vary in {size} directions, but do in fewer; give a smaller size")
        kept = float(np.square(scale[:size]).sum() / np.square(scale).sum())
        rows = directions[:size]
        # The sign of a direction is arbitrary: its largest number is made positive.
        rows = rows * np.sign(np.take_along_axis(rows, np.abs(rows).argmax(1)[:, None], 1))
        rows = rows * (np.sqrt(len(self.words)) / scale[:size, None] if whiten else 1.0)
        return replace(
            self,
            vectors=((self.vectors - mean * remove_mean) @ rows.T).astype(np.float32),
            components=rows if self.components is None else rows @ self.components,
            variance_kept=kept * self.variance_kept,
            whitened=whiten,
        )

    def _check_size(self, size: int) -> None:
        n, d = len(self.words), self.vectors.shape[1]
        most = min(d, n - 1)
        if not isinstance(size, bool) and isinstance(size, int) and 1 <= size <= most:
            return
        if n == 1:
            raise InputError(
                f"size must be left out where one word alone has a vector, for PCA needs two words, got {size!r}; or give texts with more words that the file holds"
            )
        why, more = f"the vectors of the file hold {plural(d, 'number')} each", "leave it out to keep all"
        if n <= d:
            why, more = (
                f"PCA of the {n:,} words found keeps {plural(most, 'number')} each at most",
                "give texts with more words that the file holds",
            )
        raise InputError(
            f"size must be a whole number in [1, {most}], for {why}, got {size!r}; give a smaller one (in a fit, embedding_size), or {more}"
        )

    def save(self, path: str | Path) -> None:
        """Write an ``.npz`` file of numbers and JSON, whole, or raise `InputError`.

        Parameters
        ----------
        path : path
            The file; an older one is replaced, or as it was if the new one cannot be written.
        """
        path, about = Path(path), {f.name: getattr(self, f.name) for f in fields(self)}
        arrays = {name: about.pop(name) for name in ("vectors", "components") if about[name] is not None}
        arrays["about"] = np.frombuffer(json.dumps(about).encode(), np.uint8)
        # of numbers only, no objects, so no pickle
        write_atomically(path, lambda file: np.savez(file, **arrays))

    @classmethod
    def load(cls, path: str | Path) -> "Vectors":
        """Give what `save` wrote, or raise `InputError` if it is no such file or damaged; nothing in it is executed.

        Parameters
        ----------
        path : path
            The file.
        """
        try:
            with Path(path).open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                about: dict[str, Any] = json.loads(file["about"].tobytes())
                about |= {name: file[name] for name in file.files if name != "about"}
            return cls(**about | {"words": tuple(about["words"])})
        except (*_DAMAGE, zipfile.BadZipFile, zlib.error) as error:
            why = f"but it cannot be read ({visible(str(error).partition(chr(10))[0])}); make it again"
            raise InputError(f"{path} must be vectors saved by heldout, {why}") from error


def read_vectors(
    path: str | Path, vocabulary: Sequence[str], *, counts: Sequence[int] | None = None
) -> Vectors:
    r"""Give the vectors that a file holds for the words of a vocabulary and, where one is missing, for its lower case.

    The file is read once, a block at a time; memory grows with the vocabulary only. Text with or without a header line
    (GloVe, word2vec, fastText ``.vec``) and word2vec binary, plain or gzip, are told apart by content. Words are compared as
    they stand; of a word that repeats, the first vector counts; numbers of words not in use are not looked at. A file that
    `Vectors.save` wrote is read too.

    Parameters
    ----------
    path : path
        The file.
    vocabulary : sequence of str
        Different words, of training texts only.
    counts : sequence of int, optional
        How often each occurs, for the share of tokens found.

    Raises
    ------
    InputError
        If the file cannot be read or is damaged, a line or number is wrong, or it holds none of the words.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "glove.txt")
    ...     _ = file.write_text("the 0.1 0.2\ncat 0.3 0.4\n")
    ...     read_vectors(file, ["cat", "axolotl"]).source
    'glove.txt: text, 2 vectors of size 2'
    """
    path, used = Path(path), _checked(vocabulary)
    if path.suffix == ".npz" or _is_saved(path):
        vectors = _in_use(Vectors.load(path), used, path)
    else:
        vectors = _from_records(path, used)
    found_words, found_tokens = vectors.coverage(used, counts)
    return replace(vectors, found_words=found_words, found_tokens=found_tokens)


def leading_words(path: str | Path, n: int) -> list[str]:
    """Give the first words of a file of vectors, which are the most frequent ones in the usual files.

    Parameters
    ----------
    path : path
        What `read_vectors` reads.
    n : int
        How many, at most.
    """
    path = Path(path)
    if path.suffix == ".npz" or _is_saved(path):
        return list(Vectors.load(path).words[:n])
    records = islice(open_records(path)[3], n)
    return [word.decode(errors="replace") for _, word, _ in records]


def _is_saved(path: Path) -> bool:
    """Whether it is an archive as `Vectors.save` writes it, whatever its name; others hold a file to unpack."""
    try:
        with zipfile.ZipFile(path) as archive:
            return "about.npy" in archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return False


def _in_use(saved: Vectors, used: list[str], path: Path) -> Vectors:
    held = saved._row
    needed = {form for word in used if (form := word if word in held else word.lower()) in held}
    if not needed:
        raise _none_of(used, path)
    words = tuple(word for word in saved.words if word in needed)
    rows = saved.vectors[[held[word] for word in words]]
    return replace(saved, words=words, vectors=rows, source=f"{path.name}, made of {saved.source}")


def _none_of(used: list[str], path: Path) -> InputError:
    return InputError(
        f"{path} has none of {plural(len(used), 'word')} such as {used[-1]!r}; look at its language"
    )


def _from_records(path: Path, used: list[str]) -> Vectors:
    kind, size, announced, records = open_records(path)
    wanted = {form.encode(errors="surrogatepass"): form for word in used for form in (word, word.lower())}
    rows, taken = np.empty((len(wanted), size), np.float32), dict[str, int]()
    n_read, n_repeated, unit = 0, 0, "vector" if kind == BINARY else "line"
    for place, word, numbers in records:
        n_read += 1
        form = wanted.get(word)
        if form in taken:
            n_repeated += 1
        elif form is not None:
            rows[len(taken)] = parse_vector(numbers, f"{unit} {place} of {path}", binary=kind == BINARY)
            taken[form] = len(taken)
    needed = {word if word in taken else word.lower() for word in used}
    words = tuple(form for form in taken if form in needed)
    if not words:
        raise _none_of(used, path)
    rows.resize((len(taken), size), refcheck=False)  # in place: a copy would double the memory
    if len(words) < len(taken):
        rows = rows[[taken[word] for word in words]]
    source = f"{path.name}: {kind}, {n_read} vectors of size {size}"
    source += "" if announced in (None, n_read) else f" where its first line says {announced}"
    source += f", {n_repeated} repeated words left out" if n_repeated else ""
    return Vectors(words=words, vectors=rows, found_words=1.0, found_tokens=None, source=source)


def _checked(words: Sequence[str]) -> list[str]:
    checked = [] if isinstance(words, str) else list(words)
    if not checked or not all(isinstance(word, str) for word in checked):
        raise InputError(f"words must be a list of at least one text, got {words!r:.60}")
    return checked
