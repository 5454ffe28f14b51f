"""Sections become one HTML file that needs nothing else and asks nothing of anybody."""

import base64
import gzip
import hashlib
import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from heldout.check import InputError, visible
from heldout.files import write_atomically
from heldout.report.blocks import Chart, Section

# plotly.js with lines and bars only (plotly.js-basic-dist-min on npm, MIT): a quarter of the size, and of the time to open,
# of the whole one that comes with the Python package.
_PLOTLY = "plotly/plotly-basic.min.js.gz"
_UNSAFE = {ord(letter): f"\\u{ord(letter):04x}" for letter in "<>&"}
# Plotly puts the style sheet of its maps into the page unless an element of that id is there; the policy forbids it.
_OWN_STYLE = re.compile(r'getElementById\("([0-9a-f]{40,})"\)')


_FOOTER = "Made by heldout. The file holds all that it shows; nothing in it asks the network for anything."


def write_page(path: str | Path, title: str, sections: list[Section], *, subtitle: str = "") -> Path:
    """Make a page and write it; a file that is no page is never replaced.

    Parameters
    ----------
    path : path
        The file.
    title, sections, subtitle
        As for `render`.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        If it cannot be written, or something else than a page stands there.
    """
    path = Path(path)
    check_page(path)
    write_atomically(path, render(title, sections, subtitle=subtitle, footer=_FOOTER).encode())
    return path


def check_page(path: str | Path) -> None:
    """Refuse a place at which no page can be written: do so before what it shows is computed.

    Raises
    ------
    InputError
        If something else than a page stands there, or there is no such directory.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise InputError(f"cannot write {path}: there is no directory {path.parent}; make it first")
    if path.is_dir():
        raise InputError(f"cannot write {path}: it is a directory; name a file in it")
    if path.exists() and path.stat().st_size:
        with path.open("rb") as file:
            begins = file.read(100).lstrip().lower()
        if not begins.startswith(b"<!doctype html"):
            raise InputError(
                f"{path} holds something else than a page and is not replaced: name another file"
            )


def render(title: str, sections: list[Section], *, subtitle: str = "", footer: str = "") -> str:
    """Make the page.

    Parameters
    ----------
    title : str
        Of the page, plain text.
    sections : list of Section
        In order.
    subtitle, footer : str
        A line below the title, a line at the end.

    Returns
    -------
    str
        HTML. Scripts run by their hash alone, nothing is loaded, no figure's text is read as HTML.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("heldout.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    drawn = [block for section in sections for block in section.blocks if isinstance(block, Chart)]
    numbers = {id(chart): f"figure-{place}" for place, chart in enumerate(drawn, 1)}
    plotly, script, style = _file(_PLOTLY), _file("page.js"), _file("style.css")
    return environment.get_template("page.html.j2").render(
        title=title,
        subtitle=subtitle,
        footer=footer,
        sections=sections,
        figure_id=lambda chart: numbers[id(chart)],
        policy=_policy([plotly, script], [style, ""]),
        figures=Markup(_json([_figure(chart, numbers[id(chart)]) for chart in drawn])),
        taken_ids=sorted(set(_OWN_STYLE.findall(plotly))),
        plotly=Markup(plotly) if drawn else "",
        script=Markup(script),
        style=Markup(style),
    )


def _file(name: str) -> str:
    """A file of this package, without the space around it: a hash is over just what stands between the tags."""
    content = files("heldout.report").joinpath("templates", name).read_bytes()
    return (gzip.decompress(content) if name.endswith(".gz") else content).decode().strip()


def _policy(scripts: list[str], styles: list[str]) -> str:
    """The content-security policy: nothing but what is in the file, and of that only what is known by its hash."""

    def hashes(texts: list[str]) -> str:
        digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts]
        return " ".join(f"'sha256-{digest}'" for digest in digests)

    return "; ".join(
        [
            "default-src 'none'",
            f"script-src {hashes(scripts)}",
            f"style-src {hashes(styles)}",  # "": Plotly fills an empty style sheet by rules, not by text
            "img-src data: blob:",
            "connect-src 'none'",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )


def _figure(chart: Chart, name: str) -> dict[str, Any]:
    return {"id": name, "data": chart.drawn["data"], "layout": chart.drawn["layout"]}


def _json(value: Any) -> str:
    """JSON that can stand within a script element: no letter of it begins a tag or ends a line."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return visible(text).translate(_UNSAFE)


def _visible(value: Any) -> Any:
    """Show what acts unseen; keep a number and its per cent sign on one line."""
    return visible(value).replace(" %", "\u00a0%") if type(value) is str else value
