"""A vocabulary learned in one pass over texts that do not fit into memory."""

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from heldout.check import InputError
from heldout.data.text import SPECIAL, Vocabulary, check_texts

_MOST_WORDS = 1_000_000  # different ones that are counted in memory
_ALL = 2**31 - 1


def learn_in_blocks(
    blocks: Iterable[Sequence[str]],
    folder: Path,
    *,
    lower: bool = True,
    min_count: int = 2,
    max_size: int = 30_000,
    most_words: int = _MOST_WORDS,
) -> Vocabulary:
    """Give what `Vocabulary.learn` gives of all texts, holding a block of them at a time.

    Counts of more different words than memory is meant for are written to files, sorted, and merged in the end: none is lost.

    Parameters
    ----------
    blocks : iterable of sequences of str
        Training texts.
    folder : Path
        For files of counts, which are removed.
    lower, min_count, max_size
        As in `Vocabulary.learn`.
    most_words : int, default 1_000_000
        Different words in memory, beside those of one block.

    Raises
    ------
    InputError
        If no word is left.

    Examples
    --------
    >>> learn_in_blocks([["Good film!"], ["Not a good film."]], Path("."), min_count=2).words
    ('[PAD]', '[UNK]', 'film', 'good')
    """
    counts: Counter[str] = Counter()
    files: list[Path] = []
    n_texts = 0
    try:
        for texts in blocks:
            n_texts += len(texts)
            counts.update(_count(texts, lower=lower))
            if len(counts) > most_words:
                files.append(folder / f"words-{len(files)}.tsv")
                _write(files[-1], counts)
                counts.clear()
        return _merged(files, counts, n_texts, lower=lower, min_count=min_count, max_size=max_size)
    finally:
        for path in files:
            path.unlink(missing_ok=True)


def _count(texts: Sequence[str], *, lower: bool) -> dict[str, int]:
    if not any(text.strip() for text in check_texts(texts)):
        return {}
    try:
        found = Vocabulary.learn(texts, lower=lower, min_count=1, max_size=_ALL)
    except InputError:  # not a word in them
        return {}
    return dict(zip(found.words[len(SPECIAL) :], found.counts[len(SPECIAL) :], strict=True))


def _write(path: Path, counts: Counter[str]) -> None:
    with path.open("w", encoding="utf-8", errors="surrogatepass", newline="\n") as file:
        file.writelines(f"{word}\t{count}\n" for word, count in sorted(counts.items()))


def _read(path: Path) -> Iterator[tuple[str, int]]:
    with path.open(encoding="utf-8", errors="surrogatepass", newline="\n") as file:
        for line in file:
            word, count = line.split("\t")
            yield word, int(count)


def _merged(
    files: list[Path], rest: Counter[str], n_texts: int, *, lower: bool, min_count: int, max_size: int
) -> Vocabulary:
    n_words, n_most = 0, max_size - len(SPECIAL)
    kept: list[tuple[int, _Last]] = []  # a heap, of which the first would go
    parts = [*map(_read, files), iter(sorted(rest.items()))]
    for word, same in groupby(heapq.merge(*parts), key=itemgetter(0)):
        count = sum(number for _, number in same)
        n_words += count
        if count >= min_count:
            (heapq.heappush if len(kept) < n_most else heapq.heappushpop)(kept, (count, _Last(word)))
    if not kept:
        raise InputError(
            f"the training texts must hold a word {min_count} times or more, but {n_texts:,} have none; lower min_count"
        )
    ordered = sorted(kept, reverse=True)
    found = [count for count, _ in ordered]
    words = (*SPECIAL, *(last.word for _, last in ordered))
    return Vocabulary(words, (0, n_words - sum(found), *found), lower)


class _Last:
    """A word that is smaller than those before it in the alphabet: of equally frequent ones the last go first."""

    __slots__ = ("word",)

    def __init__(self, word: str) -> None:
        self.word = word

    def __lt__(self, other: "_Last") -> bool:
        return self.word > other.word
