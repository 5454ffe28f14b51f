"""Do the rows that judge differ from those that train: a classifier is asked to tell them apart.

A difference is drift, no leak and no overfitting: it says that a higher loss on the test need not be the model's fault.
"""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.stats import rankdata, t
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from heldout.check import InputError
from heldout.data.audit.finding import Finding, failed, not_run, passed
from heldout.data.prepare import Prepare
from heldout.data.series import FloatArray, IntArray, SeriesData
from heldout.recipe import Recipe

CHECK = "shift from train to test"
_BLOCKS = 6
_MOST = 6000
_CLEAR = 0.65
"""Area under the ROC curve that the whole interval must be above: less is usual of series."""


def check_shift(data: SeriesData, train: IntArray, test: IntArray, recipe: Recipe) -> Finding:
    """Ask a classifier to tell training rows of a series from sealed ones.

    What it reads of each row is every column as it is prepared (levels, or changes where these are taken). Both parts are cut
    into 6 blocks of time; for each block of one part and its fellow of the other the classifier learns from all other blocks,
    so that neighbours in time do not give the answer. The interval is that of the 6 areas under the ROC curve by t.

    Parameters
    ----------
    data : SeriesData
        The series.
    train, test : arrays of int64
        Origins.
    recipe : Recipe
        Settled.
    """
    names = (*data.targets, *data.past)
    assert recipe.lookback is not None
    try:
        made = Prepare.fit(data, train, recipe.lookback, recipe).apply(data, recipe.lookback)
    except InputError as error:
        return not_run(CHECK, f"The rows cannot be prepared: {error}.", kind="hint")
    table = made.inputs.numpy()[:, : len(names)].astype(np.float64)
    parts = [
        np.sort(part)[np.linspace(0, len(part) - 1, min(len(part), _MOST)).astype(np.int64)]
        for part in (train, test)
    ]
    if min(map(len, parts)) < 10 * _BLOCKS:
        return not_run(CHECK, "There are too few rows to tell a shift by.", kind="hint")
    parts = [part[np.argsort(data.time[part], kind="stable")] for part in parts]
    x = table[np.concatenate(parts)]

    def fit(rows: IntArray, later: IntArray, asked: IntArray) -> FloatArray:
        model = HistGradientBoostingClassifier(max_iter=40, max_depth=3, random_state=0)
        return np.asarray(model.fit(x[rows], later).predict_proba(x[asked])[:, 1])

    areas = _areas([np.array_split(part, _BLOCKS) for part in _places(parts)], fit)
    first, last = (x[part] for part in _places(parts))
    each = {
        name: _area(np.concatenate([first[:, k], last[:, k]]), len(first)) for k, name in enumerate(names)
    }
    most = max(each, key=lambda name: abs(each[name] - 0.5))
    return _judge(areas, f"most in {most!r}", "rows", each)


def check_text_shift(
    texts: Sequence[str], train: IntArray, test: IntArray, rng: np.random.Generator
) -> Finding:
    """Ask a linear classifier of words to tell training texts from those that judge.

    Parameters
    ----------
    texts : sequence of str
        All texts.
    train, test : arrays of int64
        Rows.
    rng : numpy Generator
        Draws at most 6000 of each, and 6 parts for cross-validation.
    """
    parts = [rng.permutation(part)[:_MOST] for part in (train, test)]
    if min(map(len, parts)) < 10 * _BLOCKS:
        return not_run(CHECK, "There are too few texts to tell a shift by.", kind="hint")
    try:
        x = TfidfVectorizer(min_df=2, sublinear_tf=True).fit_transform(
            [texts[row] for row in np.concatenate(parts)]
        )
    except ValueError:  # no word is in two texts
        return not_run(CHECK, "No word is in two texts.", kind="hint")

    def fit(rows: IntArray, later: IntArray, asked: IntArray) -> FloatArray:
        model = LogisticRegression(class_weight="balanced", max_iter=200)
        return np.asarray(model.fit(x[rows], later).decision_function(x[asked]))

    areas = _areas([np.array_split(part, _BLOCKS) for part in _places(parts)], fit)
    return _judge(areas, "by their words", "texts", {})


def _places(parts: Sequence[IntArray]) -> list[IntArray]:
    """Places of the rows of two parts in one table of both."""
    return [np.arange(len(parts[0])), len(parts[0]) + np.arange(len(parts[1]))]


def _areas(
    blocks: Sequence[Sequence[IntArray]], fit: Callable[[IntArray, IntArray, IntArray], FloatArray]
) -> FloatArray:
    """Area under the ROC curve for each block of one part and its fellow of the other."""
    found = []
    for k in range(_BLOCKS):
        rest = [np.concatenate([b for j, b in enumerate(own) if j != k]) for own in blocks]
        later = np.repeat([0, 1], [len(part) for part in rest])
        asked = np.concatenate([own[k] for own in blocks])
        found.append(_area(fit(np.concatenate(rest), later, asked), len(blocks[0][k])))
    return np.array(found)


def _area(z: FloatArray, n_first: int) -> float:
    """Chance that one of the later ones is above one of the first."""
    m = len(z) - n_first
    return float((rankdata(z)[n_first:].sum() - m * (m + 1) / 2) / (m * n_first))


def _judge(areas: FloatArray, where: str, what: str, each: dict[str, float]) -> Finding:
    mean = float(areas.mean())
    half = float(t.ppf(0.975, _BLOCKS - 1) * areas.std(ddof=1) / np.sqrt(_BLOCKS))
    low, high = max(mean - half, 0.0), min(mean + half, 1.0)
    figures = {"auc": mean, "low": low, "high": high, **{f"auc of {name}": v for name, v in each.items()}}
    text = f"a classifier tells them apart with an area of {mean:.2f} [{low:.2f}, {high:.2f}] under the ROC curve (0.5 is chance)"
    if low <= _CLEAR:
        return passed(CHECK, f"No clear shift of the {what} is shown: {text}.", kind="hint", figures=figures)
    return failed(
        CHECK,
        f"The {what} that judge differ from those that train, {where}: {text}. A higher loss there may be drift, which no regulariser cures.",
        kind="hint",
        figures=figures,
    )
