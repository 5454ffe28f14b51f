"""How much more is lost on new rows than on those learned from: optimism, and in time drift."""

from typing import Any

from heldout.plots.curves import optimism_chart
from heldout.plots.values import plural
from heldout.report.blocks import Block, Number, Numbers, Text, between, draw, estimate, number, percent
from heldout.report.evidence import OLDER


def optimism(found: dict[str, Any] | None) -> list[Block]:
    """Give what a run of series measured: optimism and drift apart.

    Parameters
    ----------
    found : dict or None
        ``overfit`` of ``scores.json``.

    Returns
    -------
    list of Block
        A sentence that says why, where it measured none.
    """
    if not found:
        return [Text(text=f"Optimism and drift: {OLDER}", kind="note")]
    if "why_not" in found:
        return [Text(text=f"Optimism and drift: {found['why_not']}", kind="note")]
    return [
        Text(text=_overfit_answer(found["optimism"]), kind="short"),
        Text(
            text="A model loses more on new rows than on those it learned from, for two reasons that are easily confused. Optimism is what it "
            "loses on unseen rows from within its training time: that is overfitting. Drift is what it loses on top of that because "
            "the time is a later one: no regulariser helps against it."
        ),
        draw(optimism_chart, found),
        *_skill_apart(found.get("skill")),
        Text(text=optimism_sentence(found)),
        Text(text=drift_sentence(found)),
        Text(
            text=f"One extra fit, which left {plural(found['blocks'], 'block')} of its training time out: "
            f"{found['n_train']:,} training samples, {found['n_in_period']:,} inside the blocks, {found['n_future']:,} after.",
            kind="note",
        ),
    ]


def _overfit_answer(optimism: dict[str, float | None]) -> str:
    low, high = optimism["low"], optimism["high"]
    if low is None or high is None:
        return "The blocks held out of its training time are too short to tell."
    if low > 0:
        return "Yes: it loses more on unseen rows of its own training time than on those it learned from."
    return "Not shown: the loss on unseen rows of its own training time is not above that on training rows by more than chance."


def _skill_apart(found: dict[str, Any] | None) -> list[Block]:
    """The skill in each part: what makes a time harder for all drops out of it."""
    if not found:
        return []
    train, inside, later = (estimate(**found[name], share=True) for name in ("train", "in_period", "future"))
    text = f"Skill against the last value is the fair reading, since times differ in how hard they are: {train} on training rows, {inside} on unseen rows of the same period, {later} on later rows."
    return [Text(text=text)]


def optimism_sentence(found: dict[str, Any]) -> str:
    """Read the optimism in one sentence."""
    part, share = found["optimism"], _share(found["optimism"], found["train"])
    size = f"loss on unseen rows of the same period is {number(found['in_period'])}, on training rows {number(found['train'])}"
    return f"Optimism {estimate(**part)}: {size}{share}; {_reading(part, 'unseen rows cost more than training rows', 'the interval holds 0, so no overfitting is shown')}."


def drift_sentence(found: dict[str, Any]) -> str:
    """Read the drift in one sentence; the last value, which learns nothing, says how much harder the time itself became."""
    part, naive = found["drift"], found.get("naive")
    size = f"loss on later rows is {number(found['future'])}"
    text = f"Drift {estimate(**part)}: {size}; {_reading(part, 'the later time is harder', 'the interval holds 0, so no drift is shown')}."
    if naive:
        text += f" The last value, which learns nothing, went from {number(naive['in_period'])} to {number(naive['future'])} on the same rows."
    return text


def _share(part: dict[str, float | None], base: float | None) -> str:
    if part["mean"] is None or not base:
        return ""
    return f", a difference of {percent(part['mean'] / base)}"


def _reading(part: dict[str, float | None], above: str, none: str) -> str:
    low, high = part["low"], part["high"]
    if low is None or high is None:
        return "too short to tell from chance"
    if low > 0:
        return above
    return "it is less, not more" if high < 0 else none


def optimism_of_texts(found: dict[str, Any] | None, *, later: bool = False) -> list[Block]:
    """Give what a run of texts measured: the loss on the sealed texts against that on the training texts.

    Parameters
    ----------
    found : dict or None
        ``overfit`` of ``scores.json``: ``train_loss``, ``test_loss``, ``optimism`` (``mean``, ``low``, ``high``).
    later : bool, default False
        Whether the sealed texts are later ones.

    Returns
    -------
    list of Block
        A sentence that says why, where it measured none.
    """
    if not found:
        return [Text(text=f"Training against test loss: {OLDER}", kind="note")]
    if found.get("why_not"):
        return [Text(text=f"Training against test loss: {found['why_not']}", kind="note")]
    part, train, test = found["optimism"], found["train_loss"], found["test_loss"]
    mixed = (
        " The sealed texts are later ones, so part of it may be that times have changed, which no regulariser helps against."
        if later
        else ""
    )
    return [
        Text(text=_answer_of_texts(part), kind="short"),
        Text(
            text="A model loses more on new texts than on those it learned from; how much more is its optimism. The two losses are of the "
            f"final fits, measured alike, without dropout or augmentation.{mixed}"
        ),
        Numbers(
            items=[
                Number(label="Log loss on training texts", value=number(train)),
                Number(label="Log loss on sealed texts", value=number(test), detail=_times(train, test)),
                Number(label="Optimism", value=number(part["mean"]), detail=_interval(part)),
            ]
        ),
    ]


def _answer_of_texts(part: dict[str, float | None]) -> str:
    low, high = part["low"], part["high"]
    if low is None or high is None:
        return "There are too few texts to tell."
    if low > 0:
        return "Yes: it loses more on texts it has never seen than on those it learned from."
    if high < 0:
        return "No: it loses less on texts it has never seen than on those it learned from."
    return "Not shown: the loss on unseen texts is not above that on training texts by more than chance."


def _times(train: float | None, test: float | None) -> str:
    return f"{test / train:.2f} times that on training texts" if train and test is not None else ""


def _interval(part: dict[str, float | None]) -> str:
    ends = between(part["low"], part["high"])
    return f"95 % interval {ends}" if ends else "too few texts for an interval"
