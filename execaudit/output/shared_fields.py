"""The fields that many execs share, as texts that are made once: by the table of fields. Pure.

What a launch has and what an origin has stand in turns in a record. So each of them is remembered as
its texts, one for each unbroken run of its fields, and a line puts the runs in order.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING

from execaudit.fields import FIELDS, Part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from execaudit.fields import Field, Launch, Origin

    _Texts = tuple[str, ...]
    _Values = Launch | Origin

_RUNS = [(part, [*fields]) for part, fields in groupby(FIELDS, key=lambda field: field.part)]
_LAUNCH_RUNS, _ORIGIN_RUNS = (
    [fields for part, fields in _RUNS if part is wanted] for wanted in (Part.LAUNCH, Part.ORIGIN)
)


def _in_order(fields: Iterable[Field]) -> Callable[[_Texts], _Texts]:
    """Returns what takes the texts of these fields' runs, in their order, from those of launch and origin."""
    runs = [*_LAUNCH_RUNS, *_ORIGIN_RUNS]
    places = [runs.index([*each]) for _, each in groupby(fields, key=lambda field: field.part)]
    if len(places) > 1:
        return itemgetter(*places)  # no other way is as fast
    return lambda texts: (texts[places[0]],)


# All but cgroup and container_id stand before the arguments.
_SHARED = [field for field in FIELDS if field.part in (Part.LAUNCH, Part.ORIGIN)]
_ARGV_AT = next(number for number, field in enumerate(FIELDS) if field.part is Part.ARGUMENTS)
before_arguments = _in_order(field for field in _SHARED if field in FIELDS[:_ARGV_AT])
"""Takes the texts of launch and origin; returns those that stand before argv."""
after_arguments = _in_order(field for field in _SHARED if field in FIELDS[_ARGV_AT:])
"""The same for what stands after errno."""


class SharedFields:
    """Makes texts of launches and origins, and remembers them."""

    def __init__(self, text: Callable[[Field, object], str], remembered: int) -> None:
        """`text` makes that of one field and what it has in the event; `remembered` of each are kept."""
        self._text = text
        self.launch = lru_cache(remembered)(self._launch)
        """Returns the texts of a launch's runs."""
        self.origin = lru_cache(remembered)(self._origin)
        """Returns the texts of an origin's runs."""

    def _launch(self, launch: Launch) -> _Texts:
        return self._texts(launch, _LAUNCH_RUNS)

    def _origin(self, origin: Origin) -> _Texts:
        return self._texts(origin, _ORIGIN_RUNS)

    def _texts(self, values: _Values, runs: list[list[Field]]) -> _Texts:
        return tuple(
            [",".join([self._text(field, getattr(values, field.source)) for field in run]) for run in runs]
        )
