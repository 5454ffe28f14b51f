"""What was done to the data, and what exactly was run."""

from typing import Any

from heldout.plots.splits import split_chart
from heldout.plots.values import plural
from heldout.report.blocks import Block, Folded, Points, Section, Table, Text, draw, number
from heldout.report.evidence import OLDER, Evidence, Options, defaults, explanations

_PARTS = ("train", "valid", "test")
_ROLES = {"target": "target", "past": "known up to the present", "future": "known ahead", "static": "static"}


def data(evidence: Evidence) -> Section:
    """What was done to the data: columns, what was missing or held, and the splits in time."""
    found = evidence.scores.get("data")
    blocks: list[Block] = (
        [Text(text=_extent(found)), _columns(found["columns"])]
        if found
        else [Text(text=f"Columns: {OLDER}", kind="note")]
    )
    blocks += noted(evidence)
    blocks += _splits(evidence.scores.get("splits"), (found or {}).get("overview"))
    return Section(title="What was done to the data?", anchor="data", blocks=blocks)


def noted(evidence: Evidence) -> list[Block]:
    """Give what was inferred and decided."""
    notes = evidence.scores.get("notes")
    if not notes:
        return []
    how = f"What was inferred and decided, from training {evidence.terms.rows} where {evidence.terms.rows} decide:"
    return [Text(text=how), Points(items=notes)]


def _extent(found: dict[str, Any]) -> str:
    series = f"{found['n_series']:,} series, " if found["n_series"] > 1 else ""
    rows, span = plural(found["n_rows"], "row"), f"from {_when(found['first'])} to {_when(found['last'])}"
    step = f", a step of one {found['frequency']}" if found.get("has_time", True) else ", without times"
    return f"{series}{rows} {span}{step}."


def _when(value: object) -> str:
    return str(value).replace("T", " ")


def _columns(columns: list[dict[str, Any]]) -> Table:
    rows = [
        [
            column["name"],
            _ROLES.get(column["role"], column["role"]),
            _count(column.get("missing")),
            number(column.get("minimum")),
            number(column.get("maximum")),
            number(column.get("mean")),
            number(column.get("sd")),
            column.get("transform") or "none",
            _count(column.get("held")),
        ]
        for column in columns
    ]
    return Table(
        caption="Columns, over all rows; held: training values beyond the outlier bounds, as inputs only",
        header=["Column", "Role", "Missing", "Least", "Greatest", "Mean", "SD", "Transform", "Held"],
        rows=rows,
        words=(1, 7),
    )


def _count(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def _splits(found: list[dict[str, Any]] | None, overview: list[dict[str, Any]] | None) -> list[Block]:
    if not found:
        return [Text(text=f"Splits: {OLDER}", kind="note")]
    rows = [[split["name"], *(cell for part in _PARTS for cell in _part(split.get(part)))] for split in found]
    header = [
        "Split",
        *(name for part in ("Training", "Validation", "Test") for name in (f"{part}: origins", "samples")),
    ]
    return [
        Text(
            text="Time runs to the right. A model never sees a row to the right of its training and validation parts; between two parts the "
            "samples whose labels reach over the border are purged. The last test is sealed: it was scored once, after every choice was made."
        ),
        draw(split_chart, found, overview),
        Folded(
            summary="Where each part begins and ends",
            blocks=[Table(caption="Splits", header=header, rows=rows, words=(1, 3, 5))],
        ),
    ]


def _part(part: dict[str, Any] | None) -> list[str]:
    return (
        ["–", "–"]
        if not part
        else [f"{_when(part['first_origin'])} to {_when(part['last_origin'])}", f"{part['n']:,}"]
    )


def recipe(evidence: Evidence) -> Section:
    """What exactly was run: options, seeds, versions, looks, and the command that repeats it."""
    changed = changes(evidence.given, evidence.settled, evidence.kind)
    blocks: list[Block] = [*_command(evidence), *_seeds(evidence)]
    if changed:
        blocks.append(
            Table(
                caption="Options that are not at their default",
                header=["Option", "Value", "Default", "Set by", "What it does"],
                rows=changed,
                words=(1, 2, 3, 4),
            )
        )
    elif evidence.settled:
        blocks.append(Text(text="Every option is at its default."))
    if evidence.settled:
        blocks.append(Folded(summary="Every option", blocks=[_every(evidence.settled, evidence.kind)]))
    blocks += [*_looks(evidence), *_versions(evidence)]
    return Section(title="What exactly was run?", anchor="run", blocks=blocks)


def _command(evidence: Evidence) -> list[Block]:
    command = evidence.scores.get("command")
    if not command:
        return [
            Text(
                text="No command is recorded: the run was started from Python, or by an older version. config.toml in the run directory holds its configuration."
            )
        ]
    return [Text(text="The command that repeats it:"), Text(text=command, kind="code")]


def _seeds(evidence: Evidence) -> list[Block]:
    study = evidence.settled.get("study", {})
    count, first = evidence.scores.get("n_seeds"), study.get("first_seed")
    if not count or first is None:
        return []
    seeds = f"Seed {first}" if count == 1 else f"Seeds {first} to {first + count - 1}"
    return [
        Text(
            text=f"{seeds}; the final model is the mean of {plural(count, 'fit')}."
            if count > 1
            else f"{seeds}."
        )
    ]


def changes(given: Options, settled: Options, kind: str = "series") -> list[list[str]]:
    """Give the options whose value is not the default: name, value, default, who set it, what it does.

    Parameters
    ----------
    given, settled : dict of dict
        The configuration by part, as the user gave it and with everything decided.
    kind : {"series", "text"}
        Of the run.

    Returns
    -------
    list of list of str
    """
    usual, dialled, told = defaults(kind), defaults(kind, dialled=True), explanations(kind)
    rows: list[list[str]] = []
    for part, name, value in _flat(settled):
        default = usual.get(part, {}).get(name)
        if value in (default, dialled.get(part, {}).get(name)):
            continue
        own = given.get(part, {}).get(name, default) != default
        rows.append(
            [name, write(value), write(default), "you" if own else "heldout", told.get((part, name), "")]
        )
    return sorted(rows, key=lambda row: row[3] != "you")


def _every(settled: Options, kind: str) -> Table:
    told = explanations(kind)
    return Table(
        caption="Every option of the run, as settled",
        header=["Option", "Value", "What it does"],
        rows=[[name, write(value), told.get((part, name), "")] for part, name, value in _flat(settled)],
        words=(1, 2),
    )


def _flat(options: Options) -> list[tuple[str, str, Any]]:
    return [(part, name, value) for part, values in options.items() for name, value in values.items()]


def write(value: Any) -> str:
    """Write an option's value as a person reads it.

    Examples
    --------
    >>> write(None), write(["close"]), write(0.1), write(True)
    ('not set', 'close', '0.1', 'yes')
    """
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(write(item) for item in value) or "none"
    return str(value)


def _looks(evidence: Evidence) -> list[Block]:
    looks = evidence.scores.get("looks_at_test")
    if not looks:
        return []
    times = [look.when[:16].replace("T", " ") for look in evidence.looks]
    own = f" This run's own: {', '.join(times)} (UTC)." if times else ""
    others = (
        " Looks of other runs beside this one at the same rows are counted too." if looks > len(times) else ""
    )
    return [Text(text=f"Looks at the sealed test: {looks}.{own}{others}")]


def _versions(evidence: Evidence) -> list[Block]:
    found = evidence.scores.get("environment") or evidence.about.get("environment") or {}
    packages = found.get("packages", {})
    rows = [[name, str(found[name])] for name in ("python", "machine", "cpu") if name in found]
    rows += [[name, str(version)] for name, version in packages.items()]
    rows += [[name, str(evidence.about[name])] for name in ("identity", "data") if name in evidence.about]
    if not rows:
        return []
    return [
        Folded(
            summary="Versions and fingerprints",
            blocks=[
                Table(
                    caption="What the result may depend on besides its inputs; hashes of configuration and data",
                    header=["What", "Value"],
                    rows=rows,
                    words=(1,),
                )
            ],
        )
    ]
