"""Texts that occur twice: on both sides of a cut, or with two labels."""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from heldout.data.audit.finding import Finding, excerpts, failed, passed
from heldout.data.audit.overlap import Parts
from heldout.data.near_texts import near_duplicates
from heldout.data.series import IntArray
from heldout.data.text_table import TextData
from heldout.plots.values import plural

CHECK = "duplicates across parts"
_SHARE = 0.01
"""Share of the texts that judge from which copies among the training texts are a leak."""
_SHORT = 5  # words: a text of no more says little, and is often said twice
_SIMILAR = 0.7
_MOST_SHORT = 20_000
_LEAST = 50


class Copies(NamedTuple):
    """Numbers of the sets of equal and of nearly equal texts, -1 for texts without words; pairs of short texts that are alike; words of each text."""

    equal: IntArray
    near: IntArray
    alike: IntArray
    n_words: IntArray


def find_copies(texts: Sequence[str], *, quick: bool = False) -> Copies:
    """Give which texts are copies of which.

    Equal are texts that differ in letter case, spaces and marks only. Nearly equal are those of which the runs of three words
    have a Jaccard similarity of .8 (`heldout.data.near_texts.near_duplicates`). Alike are two texts of 5 words or fewer whose runs of five
    letters have one of .7.

    Parameters
    ----------
    texts : sequence of str
        All texts.
    quick : bool, default False
        Look for equal ones only.

    Examples
    --------
    >>> found = find_copies(["A good film, really good.", "a GOOD film -- really good", "bad", ""])
    >>> found.equal, found.near
    (array([ 0,  0,  1, -1]), array([ 0,  0,  1, -1]))
    """
    plain = [re.sub(r"\W+", " ", unicodedata.normalize("NFKC", text).casefold()).strip() for text in texts]
    n_words = np.array([text.count(" ") + bool(text) for text in plain], np.int64)
    number: dict[str, int] = {}
    equal = np.array([number.setdefault(text, len(number)) if text else -1 for text in plain], np.int64)
    if quick:
        return Copies(equal, equal, np.zeros((0, 2), np.int64), n_words)
    near = np.where(n_words > 0, near_duplicates(texts), -1)
    return Copies(equal, near, _alike(plain, n_words), n_words)


def _alike(texts: Sequence[str], n_words: IntArray) -> IntArray:
    short = np.flatnonzero((n_words > 0) & (n_words <= _SHORT))
    if not 1 < len(short) <= _MOST_SHORT:
        return np.zeros((0, 2), np.int64)
    grams = CountVectorizer(analyzer="char_wb", ngram_range=(5, 5), binary=True, dtype=np.int32)
    try:
        table = csr_array(grams.fit_transform([texts[row] for row in short.tolist()]))
    except ValueError:  # no text is that long
        return np.zeros((0, 2), np.int64)
    size = np.asarray(table.sum(axis=1)).ravel()
    found = []
    for start in range(0, len(short), 512):
        both = (table[start : start + 512] @ table.T).tocoo()
        one, other, n = both.row + start, both.col, both.data
        close = (one < other) & (n >= _SIMILAR * (size[one] + size[other] - n))
        found.append(np.stack([short[one[close]], short[other[close]]], axis=1))
    return np.concatenate(found)


def check_duplicates(data: TextData, copies: Copies, parts: Sequence[Parts], *, quick: bool = False) -> Finding:  # fmt: skip
    """Find texts that judge and have an equal, or nearly equal, one among those that train.

    It is a leak where 1 % of the texts that judge in some cut have one. Fewer, or short texts that are alike, which people write twice, are a hint.

    Parameters
    ----------
    data : TextData
        All texts.
    copies : Copies
        See `find_copies`.
    parts : sequence of Parts
        The cuts.
    quick : bool, default False
        Do not fit the linear classifier that tells what the copies are worth: its accuracy on all texts that judge, and on those without a
        copy.
    """
    found = {part.name: _crossing(copies, part) for part in parts}
    share = {part.name: len(found[part.name][0]) / len(part.test) for part in parts if len(part.test)}
    alike = max((len(short) for _, short in found.values()), default=0)
    worst = max(share, key=lambda name: share[name], default="")
    if not worst or not share[worst]:
        text = "No text that judges has an equal or nearly equal one among those that train"
        if not alike:
            return passed(CHECK, f"{text}.")
        rows = next(short for _, short in found.values() if len(short))
        text += f"; {plural(alike, 'short text')} of {_SHORT} words at most {'is' if alike == 1 else 'are'} alike to one"
        return Finding(check=CHECK, status="PASS", message=f"{text}.", kind="hint", rows=tuple(excerpts(data.texts, rows, n_train=data.n_train)), n_rows=alike)  # fmt: skip
    part = next(part for part in parts if part.name == worst)
    rows = found[worst][0]
    figures = {f"share in {name}": value for name, value in share.items()}
    said = f"In {worst} {plural(len(rows), 'text')} of {len(part.test):,} that judge ({100 * share[worst]:.1f} %) have an equal or nearly equal one that trains"
    if not quick:
        figures |= (scores := _adjusted(data, part, rows))
        said += _said(scores)
    leak = share[worst] >= _SHARE
    return failed(
        CHECK,
        f"{said}. Keep them on one side (near_duplicates = 0.8), or remove the copies.",
        excerpts(data.texts, rows.tolist(), n_train=data.n_train),
        kind="leak" if leak else "hint",
        n_rows=len(rows),
        figures=figures,
    )


def _crossing(copies: Copies, part: Parts) -> tuple[IntArray, IntArray]:
    """Rows that judge with a copy among those that train; and short ones with one alike."""
    copied = np.zeros(len(copies.equal), bool)
    for sets in (copies.equal, copies.near):
        known = sets[part.train]
        copied[part.test] |= np.isin(sets[part.test], known[known >= 0])
    trains, judges = (np.isin(np.arange(len(copied)), rows) for rows in (part.train, part.test))
    one, other = copies.alike.T
    short = np.unique(np.concatenate([other[judges[other] & trains[one]], one[judges[one] & trains[other]]]))
    return part.test[copied[part.test]], short[~copied[short]]


def _adjusted(data: TextData, part: Parts, copied: IntArray) -> dict[str, float]:
    """Accuracy of a linear classifier on all texts that judge, and without the copies."""
    if data.labels is None or len(np.unique(data.labels[part.train])) < 2:
        return {}
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    model = LogisticRegression(max_iter=300, C=10)
    try:
        model.fit(words.fit_transform([data.texts[row] for row in part.train]), data.labels[part.train])
    except ValueError:  # no word in any text
        return {}
    said = model.predict(words.transform([data.texts[row] for row in part.test]))
    right = said == data.labels[part.test]
    alone = ~np.isin(part.test, copied)
    if not alone.any():
        return {}
    return {"accuracy": float(right.mean()), "accuracy_without_copies": float(right[alone].mean())}


def _said(scores: dict[str, float]) -> str:
    if not scores:
        return ""
    return f": a linear classifier is right on {100 * scores['accuracy']:.1f} % of all and on {100 * scores['accuracy_without_copies']:.1f} % of the others"


def check_files(data: TextData, copies: Copies) -> Finding:
    """Find texts of a test table that stand in the training table, too.

    Parameters
    ----------
    data : TextData
        All texts, those of the test table last.
    copies : Copies
        See `find_copies`.
    """
    check = "duplicates between the tables"
    if data.n_train == len(data):
        return Finding(check=check, status="NOT RUN", message="There is one table.", kind="fault")
    rows = np.arange(len(data))
    copied, _ = _crossing(copies, Parts(name="", train=rows[: data.n_train], test=rows[data.n_train :]))
    if not len(copied):
        return passed(check, "No text of the test table stands in the training table.", kind="fault")
    return failed(
        check,
        f"{plural(len(copied), 'text')} of the test table stand in the training table, too, or nearly so: heldout leaves these training texts out, other "
        "tools do not.",
        excerpts(data.texts, copied.tolist(), n_train=data.n_train),
        kind="fault",
        n_rows=len(copied),
    )


def check_conflicts(data: TextData, copies: Copies) -> Finding:
    """Find equal texts that have different labels: what no model can get right.

    Parameters
    ----------
    data : TextData
        All texts.
    copies : Copies
        See `find_copies`.
    """
    check = "equal texts with different labels"
    assert data.labels is not None
    held: dict[int, Counter[int]] = {}
    for number, label in zip(copies.equal.tolist(), data.labels.tolist(), strict=True):
        if number >= 0:
            held.setdefault(number, Counter())[label] += 1
    torn = {number: count for number, count in held.items() if len(count) > 1}
    if not torn:
        return passed(check, "Equal texts have equal labels.", kind="fault")
    lost = sum(count.total() - max(count.values()) for count in torn.values())
    rows = np.flatnonzero(np.isin(copies.equal, list(torn)))
    rows = rows[np.argsort(copies.equal[rows], kind="stable")]
    return failed(
        check,
        f"{plural(len(torn), 'text')} {'occurs' if len(torn) == 1 else 'occur'} with different labels ({len(rows):,} rows): no model can get more than "
        f"{100 * (1 - lost / len(data)):.2f} % of all rows right. Correct or remove them.",
        [
            f"{shown} [{data.classes[data.labels[row]]}]"
            for shown, row in zip(
                excerpts(data.texts, rows.tolist(), n_train=data.n_train), rows.tolist(), strict=False
            )
        ],
        kind="hint" if lost < _SHARE * len(data) else "fault",
        n_rows=len(rows),
        figures={"irreducible_error": lost / len(data)},
    )
