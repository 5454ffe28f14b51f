"""The confusion matrix as a table that can be read without its colours."""

from math import ceil

from heldout.plots.values import shortened
from heldout.report.blocks import MISSING, Block, Cell, Matrix, Table, Text, percent

_SHADES = 8
_FAINTEST = 0.05  # share of a class: where all errors are rarer, none of them is dark
_MOST_CLASSES, _UPRIGHT = 30, 7
_PAIRS = 10


def confusion(classes: list[str], counts: list[list[int]]) -> list[Block]:
    """Give the matrix, and of more than two classes the commonest errors.

    Parameters
    ----------
    classes : list of str
        Names, in the order of ``counts``.
    counts : list of list of int
        ``counts[i][j]``: texts of class i that were said to be of class j.

    Returns
    -------
    list of Block
        Of more than 30 classes the errors only.
    """
    blocks: list[Block] = []
    if len(classes) <= _MOST_CLASSES:
        blocks.append(_matrix(classes, counts))
        blocks.append(
            Text(
                text="Rows are true classes, columns what was said: a row holds shares of its class, in %, and counts below them. Blue is right; orange, "
                f"on a scale of its own up to {percent(_darkest(counts), sign=False)}, is wrong.",
                kind="note",
            )
        )
    else:
        text = f"A matrix of {len(classes)} classes would not fit: here are the commonest errors."
        blocks.append(Text(text=text, kind="note"))
    pairs = commonest(classes, counts)
    if len(classes) > 2 and pairs:
        blocks.append(
            Table(
                caption="The commonest errors",
                header=["True class", "Said", "Texts", "Of the class"],
                rows=[[name, said, f"{n:,}", percent(part, sign=False)] for name, said, n, part in pairs],
                words=(1,),
            )
        )
    return blocks


def commonest(classes: list[str], counts: list[list[int]]) -> list[tuple[str, str, int, float]]:
    """Give the ten commonest errors: true class, what was said, how many, and their share of the class.

    Parameters
    ----------
    classes : list of str
        Names.
    counts : list of list of int
        As of `confusion`.

    Examples
    --------
    >>> commonest(["ham", "spam"], [[8, 2], [0, 5]])
    [('ham', 'spam', 2, 0.2)]
    """
    found = [
        (shortened(classes[i]), shortened(classes[j]), n, n / sum(row))
        for i, row in enumerate(counts)
        for j, n in enumerate(row)
        if i != j and n
    ]
    return sorted(found, key=lambda pair: -pair[2])[:_PAIRS]


def _matrix(classes: list[str], counts: list[list[int]]) -> Matrix:
    many = len(classes) >= _UPRIGHT
    totals, columns = [sum(row) for row in counts], [sum(column) for column in zip(*counts, strict=True)]
    darkest = _darkest(counts)
    return Matrix(
        caption="What was said of the sealed texts of each class, in % of the class",
        names=[shortened(name, 40) for name in classes],
        columns=[shortened(name, 24 if many else 40) for name in classes],
        cells=[
            [_cell(n, total, darkest, right=i == j, whole=many) for j, n in enumerate(row)]
            for i, (row, total) in enumerate(zip(counts, totals, strict=True))
        ],
        totals=[f"{total:,}" for total in totals],
        right=[_share(counts[j][j] / n, whole=many) if n else MISSING for j, n in enumerate(columns)],
        upright=many,
    )


def _darkest(counts: list[list[int]]) -> float:
    """The share that the darkest orange stands for."""
    shares = [n / sum(row) for i, row in enumerate(counts) for j, n in enumerate(row) if i != j and n]
    return max([_FAINTEST, *shares])


def _cell(n: int, total: int, darkest: float, *, right: bool, whole: bool) -> Cell:
    if not n:
        return Cell(share="", count="0")
    part = n / total
    level = ceil(_SHADES * (part if right else part / darkest))
    return Cell(
        share=_share(part, whole=whole),
        count=f"{n:,}",
        shade=f"{'right' if right else 'wrong'}-{min(level, _SHADES)}",
    )


def _share(part: float, *, whole: bool) -> str:
    """A share in per cent; of many classes short."""
    if not whole:
        return percent(part, sign=False)
    return f"{100 * part:.0f}" if part >= 0.005 else "<1"
