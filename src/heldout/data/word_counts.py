"""A vocabulary learned in one pass over texts that do not fit into memory."""

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from heldout.data.text import Vocabulary, check_texts, count_words

_MOST_WORDS = 1_000_000  # different ones that are counted in memory


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
            counts.update(count_words(check_texts(texts), lower=lower))
            if len(counts) > most_words:
                files.append(folder / f"words-{len(files)}.tsv")
                _write(files[-1], counts)
                counts.clear()
        parts = [*map(_read, files), iter(sorted(counts.items()))]
        merged = (
            (word, sum(count for _, count in same))
            for word, same in groupby(heapq.merge(*parts), key=itemgetter(0))
        )
        how = {"n_texts": n_texts, "min_count": min_count, "max_size": max_size}
        return Vocabulary.of_counts(merged, lower=lower, **how)
    finally:
        for path in files:
            path.unlink(missing_ok=True)


def _write(path: Path, counts: Counter[str]) -> None:
    with path.open("w", encoding="utf-8", errors="surrogatepass", newline="\n") as file:
        file.writelines(f"{word}\t{count}\n" for word, count in sorted(counts.items()))


def _read(path: Path) -> Iterator[tuple[str, int]]:
    with path.open(encoding="utf-8", errors="surrogatepass", newline="\n") as file:
        for line in file:
            word, count = line.split("\t")
            yield word, int(count)
