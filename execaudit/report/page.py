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
    from collections.abc import Mapping, Sequence

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
    seals: Sequence[str]
    """What vouches for it, in sentences."""
    about: Sequence[tuple[str, str]]
    data: str
    """JSON that is inert: see columns.inert_json()."""


def render(page: Page) -> bytes:
    """Returns the file."""
    chart_script = f"/*\n{asset('vendor/uPlot.LICENSE')}*/\n{asset('vendor/uPlot.iife.min.js')}"
    chart_style = asset("vendor/uPlot.min.css")
    script = "".join(asset(f"assets/{name}") for name in _SCRIPTS)
    style = asset("assets/report.css")
    ours = {"chart_script": chart_script, "chart_style": chart_style, "script": script, "style": style}
    for text in ours.values():
        # The hash would be that of another text than the browser sees.
        assert not any(word in text.lower() for word in _FORBIDDEN)  # noqa: S101  # they are our own files
    # The data has none of `<`, `>` and `&`.
    return rendered(
        "page.html",
        page._asdict(),
        policy([chart_script, script], [chart_style, style]),
        {**ours, "data": page.data},
    )


def rendered(template: str, values: Mapping[str, object], policy: str, inert: Mapping[str, str]) -> bytes:
    """Returns the file that a template makes. Texts of `inert` stand there as they are, others escaped."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, loader=jinja2.FileSystemLoader(_FOLDER / "assets")
    )
    text = environment.get_template(template).render(
        **{**values, **{name: Markup(each) for name, each in inert.items()}},  # noqa: S704  # ours, or without `<`
        policy=policy,
        version=__version__,
    )
    return text.encode("utf-8", "backslashreplace")


def policy(scripts: Sequence[str], styles: Sequence[str]) -> str:
    """Returns the content security policy: these scripts and styles, and nothing else at all."""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {_sources(scripts)}",
            f"style-src {_sources(styles)}",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )


def asset(name: str) -> str:
    """Returns the text of a file of ours."""
    return (_FOLDER / name).read_text(encoding="utf-8")


def _sources(texts: Sequence[str]) -> str:
    return " ".join(map(_source, texts)) or "'none'"


def _source(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
