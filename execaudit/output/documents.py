"""Make the lines of pages of rows in the formats of others: ECS, OCSF and traces. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from execaudit.output import ecs, ocsf, trace
from execaudit.output.format import Format
from execaudit.output.json_lines import json_text
from execaudit.query import find

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from execaudit.event import ExecEvent, Nanoseconds
    from execaudit.query.find import Page

FORMATS = frozenset({Format.ECS, Format.OCSF, Format.TRACE})


class Documents:
    """Makes the text of one answer, in JSON: ASCII without control characters."""

    keys = False
    """Of relatives, more is needed than the keys: whether an exec replaced its parent."""

    def __init__(self, fmt: Format, epoch_ns: Nanoseconds, seals: Sequence[Mapping[str, Any]] = ()) -> None:
        """`fmt` is one of FORMATS. A trace counts its times from `epoch_ns` on. `seals` are records."""
        self._of_exec: Callable[[ExecEvent], Iterable[dict[str, Any]]]
        self._of_gap: Callable[[Mapping[str, Any]], dict[str, Any]]
        self.head, self.tail, self._before, self._after = b"", b"", "", "\n"
        if fmt is Format.ECS:
            self._of_exec, self._of_gap = ecs.documents, ecs.gap_document
            self.tail = self._text(map(ecs.seal_document, seals))
        elif fmt is Format.OCSF:
            self._of_exec, self._of_gap = ocsf.events, ocsf.gap_event
            self.tail = self._text(map(ocsf.seal_event, seals))
        else:
            self._of_exec = lambda event: trace.events(event, epoch_ns)
            self._of_gap = lambda gap: trace.gap_event(gap, epoch_ns)
            self.head, self.tail = trace.head(epoch_ns, seals).encode("ascii"), trace.TAIL.encode("ascii")
            self._before, self._after = ",\n", ""

    def encoded(self, page: Page) -> bytes:
        """Returns the text of a page. Raises DamagedStoreError for an exec that makes no sense."""
        return self._text(
            document for found in find.found_of(page) for document in self._of_exec(found.event)
        )

    def gaps(self, records: Iterable[Mapping[str, Any]]) -> bytes:
        """Returns the text of gaps, from their records."""
        return self._text(map(self._of_gap, records))

    def _text(self, documents: Iterable[dict[str, Any]]) -> bytes:
        before, after = self._before, self._after
        return "".join(f"{before}{json_text(document)}{after}" for document in documents).encode("ascii")
