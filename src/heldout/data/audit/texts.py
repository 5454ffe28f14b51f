"""All checks of texts, in order, and those that are about words and labels."""

from collections.abc import Mapping, Sequence

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer

from heldout.check import InputError
from heldout.data.audit.duplicates import check_conflicts, check_duplicates, check_files, find_copies
from heldout.data.audit.faults import check_size
from heldout.data.audit.finding import Finding, excerpts, failed, not_run, passed
from heldout.data.audit.overlap import Parts, check_groups
from heldout.data.audit.shift import check_text_shift
from heldout.data.series import IntArray
from heldout.data.text import SPECIAL, Vocabulary
from heldout.data.text_splits import TextFold
from heldout.data.text_table import TextData
from heldout.plots.values import plural, shortened
from heldout.text_recipe import TextRecipe

PRECISION, RECALL = 0.99, 0.9
"""How surely one word tells a class, and how often it does, from which it gives the label away."""
_LEAST = 20  # texts of a class
_SORTED = -8.0  # standard deviations
_QUICK = 400_000  # characters that a quick audit reads for words


def audit_texts(
    data: TextData,
    recipe: TextRecipe,
    folds: Sequence[TextFold],
    *,
    parts: Sequence[Parts] | None = None,
    quick: bool = False,
    rng: np.random.Generator,
) -> list[Finding]:
    """Give what every check of texts finds.

    Parameters
    ----------
    data : TextData
        Texts with labels.
    recipe : TextRecipe
        ``lower`` and ``min_count`` are read.
    folds : sequence of TextFold
        The last has the sealed test.
    parts : sequence of Parts, optional
        A split made elsewhere, looked at instead of the folds.
    quick : bool, default False
        Leave out what takes more than a moment: near copies, shift.
    rng : numpy Generator
        Draws texts to look at.
    """
    cuts = text_parts(folds) if parts is None else list(parts)
    copies = find_copies(data.texts, quick=quick)
    final = folds[-1]
    findings = [
        check_vocabulary(data, _some(data, final.train, quick=quick), recipe),
        check_order(data, cuts),
        check_groups(
            data.group, cuts, show=lambda rows: excerpts(data.texts, rows.tolist(), n_train=data.n_train)
        ),
        check_giveaway(data, _some(data, np.arange(len(data)), quick=quick)),
        check_duplicates(data, copies, cuts, quick=quick),
    ]
    if not quick:
        train = np.concatenate([final.train, final.valid])
        findings.append(check_text_shift(data.texts, train, final.test, rng))
    return [
        *findings,
        check_files(data, copies),
        check_conflicts(data, copies),
        check_empty(data),
        check_sorted(data),
        check_balance(data),
        check_size(len(final.train), len(final.test), what="text"),
    ]


def _some(data: TextData, rows: IntArray, *, quick: bool) -> IntArray:
    """All rows, or evenly spread ones of about 400 000 characters."""
    if not quick or not len(rows):
        return rows
    few = rows[np.linspace(0, len(rows) - 1, min(len(rows), 200)).astype(np.int64)]
    each = sum(len(data.texts[row]) for row in few) / len(few)
    n = max(200, min(len(rows), int(_QUICK / max(each, 1))))
    return rows[np.linspace(0, len(rows) - 1, min(n, len(rows))).astype(np.int64)]


def text_parts(folds: Sequence[TextFold]) -> list[Parts]:
    """Give the rows of each fold, those that stop the training among those that train.

    Parameters
    ----------
    folds : sequence of TextFold
        As `heldout.data.text_splits.split_texts` cuts them.
    """
    found = []
    for fold in folds:
        found.append(Parts(name=f"{fold.name}, stopping", train=fold.train, test=fold.valid))
        found.append(Parts(name=fold.name, train=np.concatenate([fold.train, fold.valid]), test=fold.test))
    return found


def check_vocabulary(data: TextData, train: IntArray, recipe: TextRecipe) -> Finding:
    """Learn the vocabulary as the fit does and look whether it holds a word that no training text has.

    Parameters
    ----------
    data : TextData
        All texts.
    train : array of int64
        Rows that train.
    recipe : TextRecipe
        ``lower`` and ``min_count`` are read.
    """
    check = "what the vocabulary saw"
    learned = [data.texts[row] for row in train]
    try:
        words = Vocabulary.learn(learned, lower=recipe.lower, min_count=recipe.min_count)
    except InputError:  # of a few texts, none may be there twice
        return not_run(check, f"No word is in the texts looked at {recipe.min_count} times.")
    used = words.encode(learned, max_length=None).ids
    unseen = np.setdiff1d(np.arange(len(SPECIAL), len(words)), used)
    text = f"{len(words) - len(SPECIAL):,} words are learned from {plural(len(learned), 'text')}"
    if not len(unseen):
        return passed(check, f"{text}; each occurs in them.", figures={"seen": len(learned)})
    return failed(check, f"{text}, but some occur in none of them: please report this as a bug.", [repr(words.words[k]) for k in unseen])  # fmt: skip


def check_order(data: TextData, parts: Sequence[Parts]) -> Finding:
    """Find texts that train and are later than some that judge.

    Parameters
    ----------
    data : TextData
        All texts.
    parts : sequence of Parts
        The cuts.
    """
    check = "order of time"
    if data.time is None:
        return not_run(
            check, "No column of times is named: if the classifier is for texts to come, name it with --time."
        )
    bad = []
    for part in parts:
        if not part.name.endswith("stopping"):
            bad.append(part.train[data.time[part.train] > data.time[part.test].min()])
    rows = np.unique(np.concatenate([np.zeros(0, np.int64), *bad]))
    if not len(rows):
        return passed(check, "No text that trains is later than one that judges.")
    return failed(
        check,
        f"{plural(len(rows), 'text')} that train are later than some that judge: cut in the order of time.",
        excerpts(data.texts, rows.tolist(), n_train=data.n_train),
        n_rows=len(rows),
    )


def check_giveaway(data: TextData, rows: IntArray) -> Finding:
    """Find single words that tell a class almost surely: labels, ids or headers left in the texts.

    It fails where 99 % of the texts with a word are of one class and 90 % of that class have the word, of classes of 20 texts or more.

    Parameters
    ----------
    data : TextData
        Texts with labels.
    rows : array of int64
        Those to read.

    Notes
    -----
    A FAIL does not prove a mistake: a class may be defined by a word. A PASS does not prove that there is no trace of the label: it may be spread over
    many words, or stand in marks.
    """
    check = "words that give the label away"
    assert data.labels is not None
    try:
        words = CountVectorizer(binary=True, min_df=_LEAST // 2, token_pattern=r"(?u)\S+", dtype=np.int64)
        table = words.fit_transform([data.texts[row] for row in rows])
    except ValueError:  # no word is that frequent
        return not_run(check, f"No word is in {_LEAST // 2} texts.")
    labels = data.labels[rows]
    counts = np.bincount(labels, minlength=len(data.classes))
    held = np.stack(
        [np.asarray(table[labels == c].sum(axis=0)).ravel() for c in range(len(counts))]
    )  # (classes, words)
    with np.errstate(invalid="ignore"):
        precision, recall = held / held.sum(axis=0), held / np.maximum(counts, 1)[:, None]
    told = (precision >= PRECISION) & (recall >= RECALL) & (counts >= _LEAST)[:, None]
    sure = np.where((counts >= _LEAST)[:, None], np.minimum(precision, recall), 0.0)
    named = words.get_feature_names_out()
    if not told.any():
        c, word = np.unravel_index(int(sure.argmax()), sure.shape)
        text = f"No word tells a class almost surely; nearest is {shortened(named[word], 20)!r} for {shortened(data.classes[c], 20)!r}"
        return passed(check, f"{text} ({100 * precision[c, word]:.0f} % of texts with it, {100 * recall[c, word]:.0f} % of the class).")  # fmt: skip
    said = [
        f"{shortened(named[w], 30)!r}: {100 * precision[c, w]:.1f} % of texts with it are {shortened(data.classes[c], 30)!r}, {100 * recall[c, w]:.1f} % of "
        "these have it"
        for c, w in np.argwhere(told)
    ]
    return failed(
        check,
        f"One word tells the label: {said[0]}. If it was added with the label (a header, an id, the label itself), remove it from the texts.",
        said,
    )


def check_empty(data: TextData) -> Finding:
    """Find texts without letters or digits, and whether being empty tells the class.

    Parameters
    ----------
    data : TextData
        Texts with labels.
    """
    check = "texts without words"
    assert data.labels is not None
    rows = np.array([k for k, text in enumerate(data.texts) if not any(map(str.isalnum, text))], np.int64)
    if not len(rows):
        return passed(check, "Every text has a word.", kind="hint")
    counts = np.bincount(data.labels[rows], minlength=len(data.classes))
    most = int(counts.argmax())
    usual = float((data.labels == most).mean())
    tells = len(rows) >= _LEAST and counts[most] / len(rows) > max(0.95, (1 + usual) / 2)
    of = f", and {100 * counts[most] / len(rows):.0f} % of them are {shortened(data.classes[most], 30)!r} against {100 * usual:.0f} % of all: that a text is missing tells its class"
    return failed(
        check,
        f"{plural(len(rows), 'text')} {'has' if len(rows) == 1 else 'have'} no word{of if tells else ''}. Fill them in or remove them.",
        [f"row {row}" for row in rows],
        kind="fault" if tells or len(rows) > 0.01 * len(data) else "hint",
    )


def check_sorted(data: TextData) -> Finding:
    """Find tables whose rows are sorted by label, in full or in stretches.

    The number of places where the label changes from one row to the next is held against what a random order gives; fewer by 8
    standard deviations are a sign of sorting.

    Parameters
    ----------
    data : TextData
        Texts with labels.
    """
    check = "rows sorted by label"
    assert data.labels is not None
    n = data.n_train
    labels = data.labels[:n]
    same = float(((np.bincount(labels) / n) ** 2).sum())
    changes, expected = int((np.diff(labels) != 0).sum()), (n - 1) * (1 - same)
    z = (changes - expected) / np.sqrt(max((n - 1) * same * (1 - same), 1e-12))
    text = (
        f"The label changes {changes:,} times from row to row, {expected:,.0f} are expected of a random order"
    )
    if z > _SORTED:
        return passed(check, f"{text}.", kind="hint", figures={"z": float(z)})
    way_out = "" if data.time is None else " The texts have times, so what is to be told changes with time."
    return failed(
        check,
        f"{text}: never cut this table by row number, as a validation_split of the last rows does; heldout draws its parts.{way_out}",
        kind="hint",
        figures={"z": float(z)},
    )


def check_balance(data: TextData) -> Finding:
    """Find classes that are rare.

    Parameters
    ----------
    data : TextData
        Texts with labels.
    """
    check = "balance of classes"
    assert data.labels is not None
    counts = np.bincount(data.labels, minlength=len(data.classes))
    shares = counts / len(data)
    rare = [c for c in range(len(counts)) if shares[c] < 0.1 / len(counts) or counts[c] < _LEAST]
    figures = dict(zip(data.classes, map(float, shares), strict=True))
    if not rare:
        text = f"The rarest of {len(counts)} classes has {100 * shares.min():.1f} % of the texts."
        return passed(check, text, kind="hint", figures=figures)
    rows = [f"{shortened(data.classes[c], 40)!r}: {plural(int(counts[c]), 'text')}" for c in rare]
    return failed(
        check,
        f"{len(rare)} of {len(counts)} classes {'is' if len(rare) == 1 else 'are'} rare ({rows[0]}): accuracy hides them; look at macro-F1 and at each class.",
        rows,
        kind="hint",
        figures=figures,
    )


def check_unnamed_groups(columns: Mapping[str, Sequence[object]], labels: IntArray) -> Finding:
    """Find columns whose value tells the label of a row by the other rows of the same value, and that are not named as groups.

    Held against the rows that are not alone with their value: the share whose label is the most frequent one of the others. It fails
    where half of the errors of always saying the most frequent class are saved in ten groups or more.

    Parameters
    ----------
    columns : mapping of str to sequence
        Columns of the table that play no part.
    labels : array of int64
        Of each row.
    """
    check = "groups that are not named"
    bad = {name: told for name, values in columns.items() if (told := _told(values, labels)) is not None}
    if not bad:
        return passed(check, f"No other column groups texts of one label ({len(columns)} looked at).", kind="hint")  # fmt: skip
    rows = [
        f"column {name!r}: tells the label of {100 * told:.0f} % of the rows" for name, told in bad.items()
    ]
    return failed(
        check,
        f"{rows[0]} by other rows of the same value: if it says of whom or what a text is, name it with --group, or the score says how well they are recognised.",
        rows,
        kind="hint",
        figures=bad,
    )


def _told(values: Sequence[object], labels: IntArray) -> float | None:
    _, own, sizes = np.unique([str(v) for v in values], return_inverse=True, return_counts=True)
    if (sizes > 1).sum() < 10 or (sizes[own] > 1).mean() < 0.2:
        return None
    held = np.zeros((len(sizes), int(labels.max()) + 1))
    np.add.at(held, (own, labels), 1)
    others = held[own]
    others[np.arange(len(labels)), labels] -= 1
    several = sizes[own] > 1
    told = float((others.argmax(axis=1) == labels)[several].mean())
    usual = float(np.bincount(labels[several]).max() / several.sum())
    return told if told > usual + 0.5 * (1 - usual) else None
