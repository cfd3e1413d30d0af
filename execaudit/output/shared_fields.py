"""Make the texts of the fields that many execs share once, from the table of fields. Pure.

In a record, fields of the launch and of the origin alternate. So for each launch, and for each origin, there
is one text for each run of adjacent fields, and a line puts the texts of the runs in order.
"""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from execaudit.fields import FIELDS, Launch, Origin, Part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from execaudit.fields import Field

    _Texts = tuple[str, ...]
    _Text = Callable[[Any], str]

# Longer texts are made anew each time. A launch may have five paths of 4 KB, and a user may make many.
_LONGEST_REMEMBERED = 2048

_RUNS = [(part, [*fields]) for part, fields in groupby(FIELDS, key=lambda field: field.part)]
_LAUNCH_RUNS, _ORIGIN_RUNS = (
    [fields for part, fields in _RUNS if part is wanted] for wanted in (Part.LAUNCH, Part.ORIGIN)
)


def _in_order(fields: Iterable[Field]) -> Callable[[_Texts], _Texts]:
    """Returns a function that takes the texts of all runs, and returns those of these fields, in order."""
    runs = [*_LAUNCH_RUNS, *_ORIGIN_RUNS]
    places = [runs.index([*each]) for _, each in groupby(fields, key=lambda field: field.part)]
    if len(places) > 1:
        return itemgetter(*places)  # the fastest way
    return lambda texts: (texts[places[0]],)


# In a record, all of them but cgroup and container_id are before the arguments.
_SHARED = [field for field in FIELDS if field.part in (Part.LAUNCH, Part.ORIGIN)]
_ARGV_AT = next(number for number, field in enumerate(FIELDS) if field.part is Part.ARGUMENTS)
BEFORE = [field for field in _SHARED if field in FIELDS[:_ARGV_AT]]
"""The fields before argv, in order."""
AFTER = [field for field in _SHARED if field in FIELDS[_ARGV_AT:]]
"""The fields after errno."""
# They take the texts of a launch and an origin, and return those of these fields.
_before_arguments, _after_arguments = _in_order(BEFORE), _in_order(AFTER)


class Remembered(dict[object, tuple[str, ...]]):
    """Texts by the values that they are made of. Of those that are not there, `make` makes them.

    It is a dict because a look into it must take no call of Python. It forgets all when there are too many.
    """

    def __init__(self, make: Callable[[Any], _Texts], most: int) -> None:
        super().__init__()
        self._make, self._most = make, most

    def __missing__(self, values: object) -> _Texts:
        texts = self._make(values)
        if sum(map(len, texts)) <= _LONGEST_REMEMBERED:
            if len(self) >= self._most:
                self.clear()
            self[values] = texts
        return texts


class SharedFields:
    """Makes texts of launches and origins, and remembers them."""

    def __init__(self, text_of: Callable[[Field], _Text], remembered: int) -> None:
        """`text_of` returns what makes the text of a field of its value; so many of each are remembered."""
        launch_runs, origin_runs = (
            [[(place_of(field), text_of(field)) for field in run] for run in runs]
            for runs in (_LAUNCH_RUNS, _ORIGIN_RUNS)
        )
        self.launches = Remembered(lambda launch: _texts(launch, launch_runs), remembered)
        self.origins = Remembered(lambda origin: _texts(origin, origin_runs), remembered)
        self.launch: Callable[[Launch], _Texts] = self.launches.__getitem__
        """Returns the texts of a launch's runs."""
        self.origin: Callable[[Origin], _Texts] = self.origins.__getitem__
        """Returns the texts of an origin's runs."""

    def around(self, launch: Launch, origin: Origin) -> tuple[str, str]:
        """Returns the text of the fields before the arguments, and of those after errno."""
        runs = self.launch(launch) + self.origin(origin)
        return ",".join(_before_arguments(runs)), ",".join(_after_arguments(runs))


def place_of(field: Field) -> int:
    """Returns the place of a field in its launch or origin."""
    return (Launch if field.part is Part.LAUNCH else Origin)._fields.index(field.source)


def _texts(values: tuple[Any, ...], runs: list[list[tuple[int, _Text]]]) -> _Texts:
    return tuple([",".join([text(values[at]) for at, text in run]) for run in runs])
