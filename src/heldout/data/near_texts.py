"""Which texts are nearly equal: in a table, and of very many to one of a few."""

import re
import unicodedata
import zlib
from collections.abc import Iterator, Sequence

import numpy as np
from datasketch import MinHash, MinHashLSH  # type: ignore[import-untyped]  # it has no types
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from heldout.check import check_number
from heldout.data.series import IntArray

_WORDS = 3  # in a shingle
_PERMUTATIONS = 128
_MISSED = 1e-4  # chance that a pair right at the threshold is not found


def near_duplicates(texts: Sequence[str], *, threshold: float = 0.8) -> IntArray:
    """Give each text the number of the set of nearly equal texts that it belongs to.

    Two texts are near if the share of runs of three words that both have, among those that either has, is ``threshold``
    or more; sets are closed under this. Case and punctuation do not count. Texts of one or two words are near if equal;
    those without words are near to none. Candidates come from MinHash and are then compared exactly, so no text is
    taken for a near one falsely; of pairs right at a threshold of .1 or more, one in ten thousand is missed.

    Parameters
    ----------
    texts : sequence of str
        The texts.
    threshold : float, default 0.8
        In (0, 1]. Lowering it keeps more texts together: an honester test, on parts that are less alike.

    Returns
    -------
    array of shape (n_texts,), int64
        Counted from 0 in the order of the first text of each set; the same for the same texts.

    References
    ----------
    Broder 1997, On the resemblance and containment of documents. Lee et al. 2022, arXiv:2107.06499 (why).

    Examples
    --------
    >>> near_duplicates(["Call 555 now to win a prize!", "call 555 now to win a prize", "see you at six"])
    array([0, 0, 1])
    """
    check_number("threshold", threshold, 0, 1, open_low=True)
    shingles = [_shingles(text) for text in texts]
    first: dict[frozenset[int], int] = {}
    pairs = [(first.setdefault(held, row), row) for row, held in enumerate(shingles) if held]
    pairs += _near_pairs({row: held for held, row in first.items()}, threshold)
    return join_sets(len(shingles), np.array(pairs, np.int64).reshape(-1, 2))


def _shingles(text: str) -> frozenset[int]:
    """Hashes of the runs of three words."""
    words = re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold())
    runs = (" ".join(words[k : k + _WORDS]) for k in range(max(len(words) - _WORDS + 1, min(len(words), 1))))
    return frozenset(zlib.crc32(run.encode(errors="replace")) for run in runs)


def _near_pairs(shingles: dict[int, frozenset[int]], threshold: float) -> Iterator[tuple[int, int]]:
    index = MinHashLSH(num_perm=_PERMUTATIONS, params=_bands(threshold))
    hashes = MinHash.generator(shingles.values(), num_perm=_PERMUTATIONS, hashfunc=int)
    for (row, own), found in zip(shingles.items(), hashes, strict=True):
        for other in index.query(found):
            both = len(own & shingles[other])
            if both >= threshold * (len(own) + len(shingles[other]) - both):
                yield other, row
        index.insert(row, found, check_duplication=False)


def _bands(threshold: float) -> tuple[int, int]:
    """Number and width of the bands of hashes: two texts are compared if any band is equal."""
    width = 1
    for wider in range(2, _PERMUTATIONS // 2 + 1):
        if (1 - threshold**wider) ** (_PERMUTATIONS // wider) > _MISSED:
            break
        width = wider
    return _PERMUTATIONS // width, width


def join_sets(n: int, pairs: IntArray) -> IntArray:
    """Number the connected sets of n things, in the order of their first.

    Parameters
    ----------
    n : int
        How many.
    pairs : array of shape (n_pairs, 2), int64
        Those that belong together.
    """
    links = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    labels = connected_components(links, directed=False)[1]
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]


class NearTexts:
    """Some texts, among which others are looked up: near as `near_duplicates` has it, and none is missed.

    Parameters
    ----------
    texts : sequence of str
        Their runs of words are held in memory, 8 bytes each.
    threshold : float, default 0.8
        In (0, 1].

    Examples
    --------
    >>> known = NearTexts(["Call 555 now to win a prize!"])
    >>> known.near("call 555 now to win a prize"), known.near("see you at six")
    (True, False)
    """

    def __init__(self, texts: Sequence[str], threshold: float = 0.8) -> None:
        check_number("threshold", threshold, 0, 1, open_low=True)
        self.threshold = threshold
        shingles = [_shingle_array(text) for text in texts]
        self._sizes = np.array([len(own) for own in shingles], np.int64)
        every = np.concatenate([np.zeros(0, np.uint32), *shingles])
        order = np.argsort(every, kind="stable")
        self._shingles = every[order]
        self._holders = np.repeat(np.arange(len(shingles), dtype=np.int32), self._sizes)[order]

    def near(self, text: str) -> bool:
        """Whether a text is near to one of them.

        Parameters
        ----------
        text : str
            Any.
        """
        own = _shingle_array(text)
        first, stop = (np.searchsorted(self._shingles, own, side) for side in ("left", "right"))
        # A near one holds a share of at least the threshold of the text's own shingles.
        if not len(own) or (stop > first).sum() < self.threshold * len(own):
            return False
        found = [self._holders[a:b] for a, b in zip(first, stop, strict=True)]
        both = np.bincount(np.concatenate(found), minlength=len(self._sizes))
        return bool((both >= self.threshold * (len(own) + self._sizes - both))[both > 0].any())


def _shingle_array(text: str) -> NDArray[np.uint32]:
    own = _shingles(text)
    return np.fromiter(own, np.uint32, len(own))
