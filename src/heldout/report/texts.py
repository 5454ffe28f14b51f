"""What a classifier of texts gets wrong, what it saw, and what augmentation made of it."""

from typing import Any

from heldout.plots.text import calibration_chart, words_chart
from heldout.plots.values import plural, shortened
from heldout.report.blocks import (
    Block,
    Folded,
    Number,
    Numbers,
    Section,
    Table,
    Text,
    draw,
    number,
    percent,
)
from heldout.report.confusion import confusion
from heldout.report.evidence import OLDER, Evidence
from heldout.report.examples import example, variant
from heldout.report.provenance import noted, write

_EXAMPLES = 6  # shown at once; the others are folded
_CLASSES = 40


def errors(evidence: Evidence) -> Section:
    """What it gets wrong: which classes, how sure it is, which texts, and by which words."""
    scores = evidence.scores
    blocks = [
        *_confusion(scores),
        *_calibration(scores.get("calibration")),
        *_hardest(scores.get("hardest")),
        *_words(scores.get("words")),
    ]
    return Section(title="What does it get wrong?", anchor="errors", blocks=blocks)


def _confusion(scores: dict[str, Any]) -> list[Block]:
    counts, classes = scores.get("confusion"), [str(name) for name in scores.get("classes") or []]
    if not counts:
        return [Text(text=f"Which classes it confuses: {OLDER}", kind="note")]
    total = sum(map(sum, counts))
    wrong = total - sum(counts[n][n] for n in range(len(counts)))
    share = f" ({percent(wrong / total, sign=False)})" if wrong else ""
    answer = f"{wrong:,} of {plural(total, 'sealed text')}{share} {'is' if wrong == 1 else 'are'} put into another class than their own."
    return [Text(text=answer, kind="short"), *confusion(classes, counts)]


def _calibration(found: dict[str, Any] | None) -> list[Block]:
    if not found:
        return [Text(text=f"What its confidence is worth: {OLDER}", kind="note")]
    return [
        Text(
            text=f"Temperature scaling divides the logits by {number(found['temperature'])}, a number fitted on validation texts: "
            "it changes how sure the model is, never which class it says. Texts are binned by the confidence in the said class."
        ),
        draw(
            calibration_chart,
            found["before"],
            found["after"],
            ece_before=found.get("ece_before"),
            ece_after=found.get("ece_after"),
        ),
        Folded(summary="Every bin of confidence", blocks=[_bins(found)]),
    ]


def _bins(found: dict[str, Any]) -> Table:
    rows = [
        [
            name,
            percent(one["confidence"], sign=False),
            percent(one["accuracy"], sign=False),
            f"{one['n']:,}",
        ]
        for name, key in (("after", "after"), ("before", "before"))
        for one in found[key]
    ]
    return Table(
        caption="Bins of confidence, before and after temperature scaling",
        header=["Temperature scaling", "Mean confidence", "Right", "Texts"],
        rows=rows,
    )


def _hardest(found: list[dict[str, Any]] | None) -> list[Block]:
    if found is None:
        return [Text(text=f"The hardest texts: {OLDER}", kind="note")]
    if not found:
        return [Text(text="There is no sealed text that it gave a wrong class.")]
    examples: list[Block] = [example(one) for one in found]
    blocks: list[Block] = [
        Text(
            text="The sealed texts that cost most, the worst first (rows count from 0), with the confidence in what was said. Shades tell, by integrated gradients, "
            "which words moved the decision: blue over a straight line for what was said, orange over a wavy line against it; the "
            "stronger, the darker. A label may be wrong too: look."
        ),
        *examples[:_EXAMPLES],
    ]
    if left := examples[_EXAMPLES:]:
        blocks.append(Folded(summary=plural(len(left), "more text"), blocks=left))
    return blocks


def _words(found: dict[str, list[dict[str, Any]]] | None) -> list[Block]:
    if not found:
        return [Text(text=f"The words of each class: {OLDER}", kind="note")]
    return [
        Text(
            text="Over a sample of sealed texts, the words that spoke most for each class. A word here that has nothing to do with the class, "
            "such as a name or a header, is a sign that the data give the answer away."
        ),
        draw(words_chart, found),
        Folded(summary="Every word and its weight", blocks=[_word_table(found)]),
    ]


def _word_table(found: dict[str, list[dict[str, Any]]]) -> Table:
    rows = [
        [shortened(name, 40), shortened(one["word"], 40), number(one["weight"]), f"{one['n']:,}"]
        for name, each in found.items()
        for one in each
    ]
    return Table(
        caption="Mean attribution to the class, and in how many of the sampled texts the word stands",
        header=["Class", "Word", "Weight", "Texts"],
        rows=rows,
        words=(1,),
    )


def texts_seen(evidence: Evidence) -> Section:
    """What it saw: classes, splits, words."""
    scores = evidence.scores
    blocks: list[Block] = [
        *_extent(scores.get("data")),
        *noted(evidence),
        *_splits(scores.get("splits"), scores.get("data") or {}),
        *_vocabulary(scores.get("vocabulary")),
    ]
    return Section(title="What did it see?", anchor="data", blocks=blocks)


def _extent(found: dict[str, Any] | None) -> list[Block]:
    if not found:
        return [Text(text=f"Texts and classes: {OLDER}", kind="note")]
    twins = found.get("n_duplicates")
    near = (
        f" {plural(twins, 'text')} nearly repeat another; those stand on one side of every split."
        if twins
        else ""
    )
    rows = [
        [shortened(one["name"]), f"{one['n']:,}", *(percent(one.get(f"share_{part}"), sign=False) for part in ("train", "test"))]
        for one in found["classes"][:_CLASSES]
    ]  # fmt: skip
    left = len(found["classes"]) - len(rows)
    more = f"; {left:,} more are left out" if left else ""
    table = Table(
        caption=f"Classes, and the share of each in training and sealed texts{more}",
        header=["Class", "Texts", "Of training texts", "Of sealed texts"],
        rows=rows,
    )
    text = (
        f"{plural(found['n_rows'], 'text')}, of which {found['n_train']:,} train. Half of them have {number(found['words_median'])} words or "
        f"fewer, 95 % have {number(found['words_p95'])} or fewer.{near}"
    )
    return [Text(text=text), table]


def _splits(found: list[dict[str, Any]] | None, about: dict[str, Any]) -> list[Block]:
    if not found:
        return [Text(text=f"Splits: {OLDER}", kind="note")]
    how = "Every class has the same share in all parts, as far as it goes"
    if about.get("has_time"):
        how = "Texts that test are later than those that train"
    if about.get("has_group"):
        how += ", and no group is on two sides"
    parts = ("train", "valid", "test")
    rows = [[split["name"], *(f"{split[part]:,}" for part in parts)] for split in found]
    return [
        Text(
            text=f"{how}. Validation texts decide when training stops, how much the network counts beside the linear model and what temperature is taken; the last split's test is sealed: it was "
            "scored once, after every choice was made."
        ),
        Table(
            caption="Splits, in texts",
            header=["Split", "Training", "Validation", "Test"],
            rows=rows,
            strong=(len(rows) - 1,),
        ),
    ]


def _vocabulary(found: dict[str, Any] | None) -> list[Block]:
    if not found:
        return [Text(text=f"Vocabulary: {OLDER}", kind="note")]
    unknown, cut = found["share_unknown_test"], found["share_texts_cut"]
    items = [
        Number(
            label="Words it knows",
            value=f"{found['size']:,}",
            detail=f"of {found['n_train_words']:,} in the training texts; the others are read as unknown",
        ),
        Number(
            label="Unknown words in sealed texts",
            value=percent(unknown, sign=False),
            detail=f"{percent(found['share_unknown_train'], sign=False)} in training texts",
        ),
        Number(
            label="Texts that were cut",
            value=percent(cut, sign=False),
            detail=f"at {plural(found['max_length'], 'word')}; {percent(found['share_words_cut'], sign=False)} of all words were cut off",
        ),
    ]
    return [Numbers(items=items), *_vectors(found.get("vectors"))]


def _vectors(found: dict[str, Any] | None) -> list[Block]:
    if not found:
        return [Text(text="Word vectors were learned from the training texts alone.")]
    kept = found.get("kept_variance")
    cut = "" if kept is None else f", which keep {percent(kept, sign=False)} of their variance"
    return [
        Text(
            text=f"Word vectors start from {found['source']}, in {plural(found['size'], 'dimension')}{cut}. They cover "
            f"{percent(found['share_words'], sign=False)} of the words it knows and {percent(found['share_tokens'], sign=False)} of the running "
            "text; the others start at random."
        )
    ]


def augmentation(evidence: Evidence) -> Section:
    """What augmentation made: how much, by which operations, and pairs to look at."""
    found = evidence.scores.get("augmentation")
    title, anchor = "What did augmentation make?", "augmentation"
    if not found:
        text = "Nothing: every epoch saw the training texts as they are."
        return Section(title=title, anchor=anchor, blocks=[Text(text=text)])
    counts, told = found.get("counts") or {}, _OUTCOMES
    blocks: list[Block] = [
        Text(
            text="Variants are made of training texts only, afresh in each epoch. Read the pairs: a variant whose label no longer holds "
            "teaches the model something false."
        ),
        Numbers(
            items=[
                Number(label=told.get(name, name.capitalize()), value=f"{n:,}", detail=_of_drawn(name, n, counts))
                for name, n in counts.items()
            ]
        ),
    ]  # fmt: skip
    if options := found.get("options"):
        rows = [[name, write(value)] for name, value in options.items()]
        table = Table(
            caption="Options of the augmentation", header=["Option", "Value"], rows=rows, words=(1,)
        )
        blocks.append(table)
    return Section(title=title, anchor=anchor, blocks=[*blocks, *_pairs(found.get("pairs") or [])])


_OUTCOMES = {
    "drawn": "Variants drawn",
    "unchanged": "Left out: unchanged",
    "held out": "Left out: like a validation text",
    "label lost": "Left out: label lost",
}


def _of_drawn(name: str, n: int, counts: dict[str, int]) -> str:
    drawn = counts.get("drawn")
    return f"{percent(n / drawn, sign=False)} of those drawn" if drawn and name != "drawn" else ""


def _pairs(found: list[dict[str, str]]) -> list[Block]:
    if not found:
        return []
    shown: list[Block] = [variant(place, pair) for place, pair in enumerate(found, 1)]
    blocks: list[Block] = [
        Text(text="Variants as they were drawn; what is not in the original stands over a dotted line:"),
        *shown[:_EXAMPLES],
    ]
    if left := shown[_EXAMPLES:]:
        blocks.append(Folded(summary=plural(len(left), "more pair"), blocks=left))
    return blocks
