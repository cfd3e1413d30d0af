"""Make reports, and read what a program finds in them."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

from tests.commands import execaudit

if TYPE_CHECKING:
    from pathlib import Path

    from tests.commands import Finished

_EMPTY = {"meta", "input", "br", "link", "img"}


class Page(HTMLParser):
    """The elements of a page, as HTML has them: what stands in a script is text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.contents: list[tuple[str, dict[str, str | None], str]] = []
        """Of each script and style, what stands in it."""
        self.shown = ""
        """All other text."""
        self._open: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Notes an element."""
        self.elements.append((tag, dict(attrs)))
        if tag not in _EMPTY:
            self._open.append((tag, dict(attrs)))
            if tag in {"script", "style"}:
                self.contents.append((tag, dict(attrs), ""))

    def handle_endtag(self, tag: str) -> None:
        """Notes its end: each that is open is ended, in order."""
        assert tag == self._open.pop()[0]

    def handle_data(self, data: str) -> None:
        """Notes a text."""
        if self._open and self._open[-1][0] in {"script", "style"}:
            name, attributes, text = self.contents[-1]
            self.contents[-1] = (name, attributes, text + data)
        else:
            self.shown += data

    @property
    def is_whole(self) -> bool:
        """Says whether every element ended."""
        return not self._open

    @property
    def data_line(self) -> str:
        """The line that has the data."""
        (text,) = [text for _, attributes, text in self.contents if attributes.get("id") == "data"]
        return text.strip("\n")

    @property
    def data(self) -> dict[str, Any]:
        """The data."""
        found: dict[str, Any] = json.loads(self.data_line)
        return found

    def records(self) -> list[dict[str, Any]]:
        """Returns the record of each exec in the data, those that led to others included."""
        data = self.data
        rows = [
            {name: _value(data["columns"][name], row) for name in data["names"]}
            for row in range(data["rows"])
        ]
        ids = [row["id"] for row in rows]
        for row in rows:
            for name in ("parent_id", "replaced_by"):
                row[name] = ids[row[name]] if isinstance(row[name], int) else row[name]
            if row["argv"] == 0:
                row["argv"] = row["command"].split(" ")
            if row["argv_base64"] is None:
                del row["argv_base64"]
        return rows

    def column(self, name: str) -> list[Any]:
        """Returns the values of a column."""
        return [_value(self.data["columns"][name], row) for row in range(self.data["rows"])]


def _value(column: dict[str, Any], row: int) -> Any:  # noqa: ANN401  # of JSON
    if "all" in column:
        return column["all"]
    return column["each"][row] if "each" in column else column["values"][column["at"][row]]


def report(database: Path, out: Path, *options: str | bytes) -> tuple[Page, Finished]:
    """Makes a report. Returns the page, and what the command said."""
    done = execaudit("--db", database, "report", *options, "-o", out)
    assert done.status == 0, done.err
    return Page(out.read_text(encoding="utf-8")), done
