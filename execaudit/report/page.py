"""Make the page: one HTML file that needs nothing else, and may load nothing else."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import jinja2
from markupsafe import Markup

from execaudit import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from execaudit.report.summary import Summary

_FOLDER = Path(__file__).parent
# Top-level names of each are known in those after it.
_SCRIPTS = (
    "data.js",
    "texts.js",
    "filters.js",
    "rows.js",
    "tree.js",
    "table.js",
    "details.js",
    "timeline.js",
    "main.js",
)
_FORBIDDEN = ("<!--", "<script", "</script", "</style")


class Marked(NamedTuple):
    """A row of the table of marked execs. All texts are safe to show."""

    row: int
    time: str
    user: str
    pid: int
    status: str
    is_wrong: bool
    command: str
    id: str


class Page(NamedTuple):
    """What stands on the page. All texts are safe to show, but may have characters that HTML escapes."""

    title: str
    author: str | None
    made: str
    """A time in UTC."""
    summary: Summary
    warnings: Sequence[str]
    notes: Sequence[str]
    marked: Sequence[Marked]
    missing: Sequence[str]
    about: Sequence[tuple[str, str]]
    data: str
    """JSON that is inert: see columns.inert_json()."""


def render(page: Page) -> bytes:
    """Returns the file."""
    chart_script = f"/*\n{_asset('vendor/uPlot.LICENSE')}*/\n{_asset('vendor/uPlot.iife.min.js')}"
    chart_style = _asset("vendor/uPlot.min.css")
    script = "".join(_asset(f"assets/{name}") for name in _SCRIPTS)
    style = _asset("assets/report.css")
    for text in (chart_script, chart_style, script, style):
        # The hash would be that of another text than the browser sees.
        assert not any(word in text.lower() for word in _FORBIDDEN)  # noqa: S101  # they are our own files
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, loader=jinja2.FileSystemLoader(_FOLDER / "assets")
    )
    text = environment.get_template("page.html").render(
        **{**page._asdict(), "data": Markup(page.data)},  # noqa: S704  # it has none of `<`, `>` and `&`
        policy=policy([chart_script, script], [chart_style, style]),
        version=__version__,
        chart_script=Markup(chart_script),  # noqa: S704  # as above
        chart_style=Markup(chart_style),  # noqa: S704
        script=Markup(script),  # noqa: S704
        style=Markup(style),  # noqa: S704
    )
    return text.encode("utf-8", "backslashreplace")


def policy(scripts: Sequence[str], styles: Sequence[str]) -> str:
    """Returns the content security policy: these scripts and styles, and nothing else at all."""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {' '.join(map(_source, scripts))}",
            f"style-src {' '.join(map(_source, styles))}",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )


def _source(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _asset(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")
