"""Which words may be changed, and into what: lists of words to protect, synonyms from WordNet, neighbours from vectors.

The last two are mappings from a word to its substitutes, the form that `heldout.augment.text` takes. WordNet is read from its
own dictionary files (wndb(5WN)), once; the table made of them is kept in the user's cache folder.
"""

import hashlib
import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heldout.check import InputError, check_number
from heldout.files import write_atomically


def _listed(text: str) -> frozenset[str]:
    return frozenset(text.split())


_VERBS = _listed("do does did is are was were ca could wo would should has have had ai")  # that take n't
NEGATIONS = _listed(
    "no not nor never none nobody nothing nowhere neither without cannot hardly barely scarcely seldom rarely lack lacks lacking nt t"
) | {verb + end for verb in _VERBS for end in ("nt", "n")}
"""Words that turn a statement round, also with the apostrophe left out (do + nt) or as what stands before it (do + n)."""
INTENSIFIERS = _listed(
    "very too so really extremely absolutely completely totally utterly highly quite rather fairly pretty somewhat slightly almost "
    "nearly only just even more most less least much few little enough far better best worse worst"
)
"""Words that set how strongly something is said."""
NUMBERS = _listed(
    "zero one two three four five six seven eight nine ten eleven twelve twenty thirty forty fifty sixty seventy eighty ninety "
    "hundred thousand million billion half first second third once twice"
)
"""Numbers in words; anything that holds a digit is a number too."""
STOP_WORDS = NEGATIONS | _listed(
    "a an the this that these those i me my mine myself we us our ours ourselves you your yours yourself he him his himself she her hers "
    "herself it its itself they them their theirs themselves who whom whose which what where when why how am is are was were be been "
    "being have has had having do does did doing done will would shall should can could may might must and or but if because as until "
    "while than then though although of at by for with about against between into through during before after above below to from up "
    "down in out on off over under again here there all any both each every other some such own same now also s"
)
"""Words of grammar, which synonym replacement and random insertion pass over."""
WORDNET = Path("/usr/share/wordnet")
"""Where Debian's package ``wordnet-base`` puts the dictionary."""
_PARTS = ("noun", "verb", "adj", "adv")
_FORMAT = "1"  # of the cached table; a new one is built when it changes
_ENDINGS = {  # part of speech: ending of the word, ending of the base form (morphy(7WN))
    0: (("s", ""), ("ses", "s"), ("ves", "f"), ("xes", "x"), ("zes", "z"), ("ches", "ch"), ("shes", "sh"), ("men", "man"), ("ies", "y")),
    1: (("s", ""), ("ies", "y"), ("es", "e"), ("es", ""), ("ed", "e"), ("ed", ""), ("ing", "e"), ("ing", "")),
    2: (("er", ""), ("est", ""), ("er", "e"), ("est", "e")),
}  # fmt: skip

_Entry = tuple[int, int, str]  # number of the sense, part of speech, synonym
_Table = dict[str, NDArray[Any]]


@lru_cache(maxsize=1 << 16)
def is_protected(word: str) -> bool:
    """Whether a word is a negation, an intensifier or a number, in any case and with marks around it.

    Parameters
    ----------
    word : str
        One word.

    Examples
    --------
    >>> [is_protected(word) for word in ("Not,", "didn't", "n't", "very", "19.99", "film")]
    [True, True, True, True, True, False]
    """
    if any(character.isdigit() for character in word):
        return True
    plain = word.lower().replace("’", "'").strip(".,;:?!\"'()[]")
    return plain.endswith("n't") or plain in NEGATIONS or plain in INTENSIFIERS or plain in NUMBERS


class Synonyms(Mapping[str, tuple[str, ...]]):
    """Synonyms of single words: a mapping that finds inflected forms too.

    ``synonyms["movies"]`` gives what stands for "movie", in its base form, as EDA's code does through NLTK. Iteration
    and length are over the words listed, without the forms found by their endings.

    Parameters
    ----------
    words : sequence of str
        Words that have synonyms, lower-case.
    offsets : array of shape (n_words + 1,), int64
        Where the entries of each word begin and end.
    synonyms : sequence of str
        The entries. One of several words is joined by spaces.
    senses : array of shape (n_entries,), uint8
        From 1, the most frequent sense of the word as this part of speech.
    parts : array of shape (n_entries,), uint8
        Part of speech: 0 noun, 1 verb, 2 adjective, 3 adverb.
    max_senses : int, optional
        Synonyms of later senses are left out. The default is all senses, as in EDA; fewer are closer in meaning.

    Examples
    --------
    >>> table = Synonyms(["film"], np.array([0, 2]), ["movie", "shoot"], np.uint8([1, 1]), np.uint8([0, 1]))
    >>> table["film"], table["filmed"], table.get("sky")
    (('movie', 'shoot'), ('shoot',), None)
    """

    def __init__(
        self,
        words: Sequence[str],
        offsets: NDArray[np.int64],
        synonyms: Sequence[str],
        senses: NDArray[np.uint8],
        parts: NDArray[np.uint8],
        *,
        max_senses: int | None = None,
    ) -> None:
        if max_senses is not None:
            check_number("max_senses", max_senses, 1, 255)
        self._place = {word: place for place, word in enumerate(words)}
        self._offsets, self._synonyms = offsets.tolist(), synonyms
        self._senses, self._parts = senses.tolist(), parts.tolist()
        self._max_senses = max_senses or 255

    def __getitem__(self, word: str) -> tuple[str, ...]:
        word = word.lower()
        found = dict.fromkeys(self._entries(word))
        for part, endings in _ENDINGS.items():
            for ending, base in endings:
                if word.endswith(ending):
                    found |= dict.fromkeys(self._entries(word.removesuffix(ending) + base, part))
        found.pop(word, None)
        if not found:
            raise KeyError(word)
        return tuple(found)

    def _entries(self, word: str, part: int | None = None) -> Iterator[str]:
        place = self._place.get(word)
        if place is None:
            return
        for entry in range(self._offsets[place], self._offsets[place + 1]):
            if self._senses[entry] <= self._max_senses and part in (None, self._parts[entry]):
                yield self._synonyms[entry]

    def __iter__(self) -> Iterator[str]:
        return iter(self._place)

    def __len__(self) -> int:
        return len(self._place)


def read_synonyms(folder: str | Path | None = None, *, max_senses: int | None = None) -> Synonyms:
    """Synonyms of English words from the dictionary files of Princeton WordNet.

    Words of the same synset are synonyms, whatever the part of speech, nearest senses first. Underscores and hyphens in
    a synonym become spaces: it is several words. The table is built once per dictionary and kept in
    ``$XDG_CACHE_HOME/heldout`` (``~/.cache/heldout``); where that cannot be written, it is built at each call.

    Parameters
    ----------
    folder : path, optional
        Holds ``index.noun``, ``data.noun`` and so on (verb, adj, adv; the ``.exc`` files of irregular forms are read if
        there). Default: where Debian's ``wordnet-base`` puts them, ``/usr/share/wordnet``.
    max_senses : int, optional
        Take only so many senses per word and part of speech, the most frequent ones, at least 1.

    Returns
    -------
    Synonyms
        A mapping from word to synonyms.

    Raises
    ------
    InputError
        If there is no dictionary, or it is damaged.

    References
    ----------
    Miller 1995, "WordNet: a lexical database for English", Communications of the ACM 38(11).
    """
    folder = WORDNET if folder is None else Path(folder)
    parts = [part for part in _PARTS if (folder / f"index.{part}").is_file()]
    if not parts:
        raise InputError(
            f"synonyms must come from a WordNet dictionary, but {folder} holds no index.noun, index.verb, index.adj or index.adv; install it with "
            "'apt install wordnet-base', name a folder that holds it, or augment without one: AEDA (alpha_aeda) or neighbours by vectors (alpha_nn)"
        )
    cached = _cache_file(folder, parts)
    table = _load(cached)
    if table is None:
        table = _pack(_read_entries(folder, parts))
        _save(cached, table)
    words, synonyms = (bytes(table[name]).decode().split("\n") for name in ("words", "synonyms"))
    return Synonyms(words, table["offsets"], synonyms, table["senses"], table["parts"], max_senses=max_senses)


def _read_entries(folder: Path, parts: list[str]) -> dict[str, list[_Entry]]:
    """The synonyms of all single words."""
    entries: dict[str, list[_Entry]] = {}
    for part in parts:
        number = _PARTS.index(part)
        synsets = _read_synsets(folder / f"data.{part}")
        of_part: dict[str, list[_Entry]] = {}
        for word, offsets in _read_index(folder / f"index.{part}"):
            lacking = [offset for offset in offsets if offset not in synsets]
            if lacking:
                raise InputError(
                    f"{folder}: index.{part} must name synsets of data.{part}, but {word!r} names {lacking[0]!r}, which is "
                    "not there; take both files from the same version of WordNet"
                )
            of_part[word] = [
                (min(sense, 255), number, synonym)
                for sense, offset in enumerate(offsets, 1)
                for synonym in synsets[offset]
                if synonym != word
            ]
        for word, base in _read_exceptions(folder / f"{part}.exc"):  # a form may be its own base: offspring
            more = [entry for entry in of_part.get(base, ()) if entry[2] != word]
            of_part[word] = [*of_part.get(word, ()), *more]
        for word, found in of_part.items():
            entries.setdefault(word, []).extend(found)
    return {word: sorted(found, key=lambda e: e[:2]) for word, found in entries.items() if found}


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The fields of each line that is no part of the licence above the dictionary."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            for number, line in enumerate(file, 1):
                if line.strip() and not line.startswith("  "):
                    yield number, line.partition(" | ")[0].split()
    except OSError as error:
        raise InputError(
            f"{path}: a WordNet dictionary must have this file, but it cannot be read: {error.strerror}; "
            "install it anew with 'apt install wordnet-base'"
        ) from error


def _damaged(path: Path, line: int, form: str) -> InputError:
    return InputError(
        f"{path}: a line must be of the form '{form}', but line {line} is not; install the dictionary anew with 'apt install wordnet-base'"
    )


def _read_synsets(path: Path) -> dict[str, list[str]]:
    """The words of each synset, by its offset."""
    synsets = {}
    for line, fields in _lines(path):
        try:
            count = int(fields[3], 16)
            words = [fields[4 + 2 * i] for i in range(count)]
        except (IndexError, ValueError) as error:
            raise _damaged(path, line, "offset file type count word id ...") from error
        # An adjective may end in a mark of where it stands: ready_to_hand(p).
        synsets[fields[0]] = [
            word.partition("(")[0].replace("_", " ").replace("-", " ").strip().lower() for word in words
        ]
    return synsets


def _read_index(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Each single word with the offsets of its synsets, the most frequent sense first."""
    for line, fields in _lines(path):
        try:
            count = int(fields[2])
            offsets = fields[-count:]
            if count < 1 or len(fields) != 6 + int(fields[3]) + count:
                raise ValueError
        except (IndexError, ValueError) as error:
            raise _damaged(path, line, "word part count pointers ... offset ...") from error
        if "_" not in fields[0]:
            yield fields[0].lower(), offsets


def _read_exceptions(path: Path) -> Iterator[tuple[str, str]]:
    """Irregular forms and their base forms, if the file is there."""
    if path.is_file():
        for _, fields in _lines(path):
            if "_" not in fields[0]:
                yield from ((fields[0], base) for base in fields[1:])


def _cache_file(folder: Path, parts: list[str]) -> Path:
    """Where the table of this state of the dictionary is kept."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    caches = Path(home) if Path(home).is_absolute() else Path.home() / ".cache"
    names = [f"{kind}.{part}" for part in parts for kind in ("index", "data")]
    key = [_FORMAT, str(folder.resolve())]
    for path in (folder / name for name in (*names, *(f"{part}.exc" for part in parts))):
        if path.is_file():
            state = path.stat()
            key.append(f"{path.name} {state.st_size} {state.st_mtime_ns}")
    digest = hashlib.sha256("\n".join(key).encode()).hexdigest()[:16]
    return caches / "heldout" / f"wordnet-{digest}.npz"


def _pack(entries: dict[str, list[_Entry]]) -> _Table:
    """The table as flat arrays: text as one run of UTF-8."""
    words = sorted(entries)
    flat = [entry for word in words for entry in entries[word]]
    return {
        "words": np.frombuffer("\n".join(words).encode(), np.uint8),
        "offsets": np.cumsum([0, *(len(entries[word]) for word in words)]),
        "synonyms": np.frombuffer("\n".join(entry[2] for entry in flat).encode(), np.uint8),
        "senses": np.array([entry[0] for entry in flat], np.uint8),
        "parts": np.array([entry[1] for entry in flat], np.uint8),
    }


def _load(path: Path) -> _Table | None:
    """The cached table, or None where there is none or it is damaged."""
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            return {name: file[name] for name in ("words", "offsets", "synonyms", "senses", "parts")}
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile):
        return None


def _save(path: Path, table: _Table) -> None:
    """Keep the table; a cache that cannot be written is done without."""
    with suppress(OSError, InputError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, lambda file: np.savez_compressed(file, allow_pickle=False, **table))


def nearest_words(
    words: Sequence[str],
    vectors: NDArray[np.floating],
    *,
    max_candidates: int = 50,
    min_cosine: float = 0.8,
) -> dict[str, tuple[str, ...]]:
    """The words whose vectors point the same way, nearest first: substitutes where no dictionary is at hand.

    Vectors learned from context alone hold opposites close ("good", "bad"): keep the threshold high, and the filter of
    labels on (`heldout.augment.text.Guard`).

    Parameters
    ----------
    words : sequence of str
        The vocabulary in use, each word once.
    vectors : array of shape (n_words, n_dimensions)
        Their vectors, finite. A word whose vector is zero has no neighbours.
    max_candidates : int, default 50
        Neighbours per word, at most.
    min_cosine : float, default 0.8
        Least cosine of a neighbour, in (0, 1].

    Returns
    -------
    dict from str to tuple of str
        Only words that have neighbours. Those that differ in case alone are none.

    Raises
    ------
    InputError
        If an option is out of range, or the vectors do not fit the words or are not finite.

    References
    ----------
    Morris et al. 2020, "TextAttack", arXiv 2005.05909 (50 candidates, cosine .8).

    Examples
    --------
    >>> nearest_words(["film", "movie", "sky"], np.array([[1.0, 0.1], [1.0, 0.0], [0.0, 1.0]]))
    {'film': ('movie',), 'movie': ('film',)}
    """
    check_number("max_candidates", max_candidates, 1, 10_000)
    check_number("min_cosine", min_cosine, 0, 1, open_low=True)
    vectors = np.asarray(vectors)
    if vectors.ndim != 2 or len(vectors) != len(words):
        raise InputError(
            f"vectors must have one row per word, got shape {vectors.shape} for {len(words)} words"
        )
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(bad):
        raise InputError(
            f"vectors must be finite, but that of {words[bad[0]]!r} (row {bad[0]}) is not; leave the word out"
        )
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = (vectors / np.where(length > 0, length, 1)).astype(np.float32)
    near: dict[str, tuple[str, ...]] = {}
    for start in range(0, len(words), 512):  # blocks: n x n cosines would not fit for a large vocabulary
        for row, cosine in enumerate(unit[start : start + 512] @ unit.T, start):
            enough = np.flatnonzero(cosine >= min_cosine)
            others = enough[np.argsort(-cosine[enough], kind="stable")].tolist()
            names = [words[other] for other in others if words[other].lower() != words[row].lower()]
            if names:
                near[words[row]] = tuple(names[: int(max_candidates)])
    return near
