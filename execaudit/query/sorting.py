"""Put an answer into the order of a field. Its keys are in memory meanwhile, and not its execs."""

from __future__ import annotations

from dataclasses import replace
from heapq import nsmallest
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from execaudit.arguments import command_line, split_argv
from execaudit.enums import GAINED_WORDS, errno_name
from execaudit.fields import BY_NAME, Form, Part
from execaudit.query.container import container_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from execaudit.event import ExecEvent
    from execaudit.query.filter import Filter
    from execaudit.query.history import History

# Command lines can have megabytes: so many execs are in memory at a time.
_PAGE = 64


def sorted_events(history: History, wanted: Filter, name: str) -> Iterator[ExecEvent]:
    """Yields what is wanted by the values of a field, of equal ones in order of recording; null comes last.

    The limit is that of the order: the first so many. With `reverse` from the largest value on.
    Raises FilterError.
    """
    everything = replace(wanted, limit=None, reverse=False)
    key = _key_of(name)
    known: list[tuple[Any, int]] = []
    unknown: list[int] = []
    for found in history.find(everything):
        value = key(found.event)
        if value is None:
            unknown.append(found.number)
        else:
            known.append((value, found.number))
    most = len(known) + len(unknown) if wanted.limit is None else wanted.limit
    if wanted.reverse:
        # Stable, also from the largest on.
        known.sort(key=lambda each: each[0], reverse=True)
        chosen = known[:most]
    else:
        chosen = nsmallest(most, known) if most < len(known) else sorted(known)
    numbers = [number for _, number in chosen]
    numbers += unknown[: most - len(numbers)]
    for start in range(0, len(numbers), _PAGE):
        yield from (found.event for found in history.fetch(numbers[start : start + _PAGE]))


_SHOWN: dict[Form, Callable[[Any], object]] = {
    Form.WORD: attrgetter("value"),
    Form.GAINED: GAINED_WORDS.__getitem__,
    Form.ERRNO: errno_name,
    Form.CONTAINER: container_id,
}
"""By form, what gives the value that is compared, where it is not the event's."""


def _key_of(name: str) -> Callable[[ExecEvent], Any]:
    """Returns what gives a field's value, None where it is null. Values of one field can be compared."""
    field = BY_NAME[name]
    if name == "command":
        return lambda event: command_line(split_argv(event.argv, event.holes))
    if name == "argv":
        return lambda event: split_argv(event.argv, event.holes).parts
    shown = _SHOWN.get(field.form)
    holder = {Part.LAUNCH: "launch", Part.ORIGIN: "origin", Part.END: "end"}.get(field.part)

    def key(event: ExecEvent) -> Any:  # noqa: ANN401  # the table says what it is
        part = event if holder is None else getattr(event, holder)
        value = getattr(part, field.source, None)
        return value if value is None or shown is None else shown(value)

    return key
