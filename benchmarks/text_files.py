"""The published sets of texts, where they are present: one label and one text per line."""

import gzip
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from heldout.data.text_table import TextData

TEXTS = Path(__file__).parents[1] / ".." / "shared" / "data" / "text"
VECTORS = TEXTS.parent / "embeddings" / "glove.6B.300d.subset.txt.gz"

Labelled = tuple[list[str], list[str]]


def read_labelled(path: Path, separator: str, encoding: str = "utf-8") -> Labelled:
    """Give texts and labels of a file."""
    if not path.exists():
        raise SystemExit(f"the data are not there: {path}")
    lines = gzip.decompress(path.read_bytes()).decode(encoding).rstrip("\n").split("\n")
    pairs = [line.partition(separator) for line in lines]
    return [text for _, _, text in pairs], [label for label, _, _ in pairs]


def joined(parts: Sequence[Labelled]) -> tuple[TextData, list[np.ndarray]]:
    """Give one table of several parts, and the rows of each."""
    texts = [text for part in parts for text in part[0]]
    labels = [label for part in parts for label in part[1]]
    classes = tuple(sorted(set(labels)))
    codes = np.array([classes.index(label) for label in labels])
    ends = np.cumsum([0, *(len(part[0]) for part in parts)])
    rows = [np.arange(first, last) for first, last in pairwise(ends)]
    return TextData(tuple(texts), codes, classes, None, None, len(texts)), rows
