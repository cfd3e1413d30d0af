"""Read the report of pytest in a guest."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, NamedTuple

from tests.kernels.guest import GuestFailed

if TYPE_CHECKING:
    from tests.kernels.guest import Answer

_PASSED = "passed"
_SHOWN = 10  # failures; one mistake may cause a thousand
_LONGEST = 3000


class Case(NamedTuple):
    """One test of a guest."""

    name: str
    """The name that pytest shows, without the folder: `test_starts::test_every_start_happened[5-MB]`."""
    result: str
    """`passed`, `failure`, `error` or `skipped`."""
    text: str
    """Why it did not pass."""


class Outcome(NamedTuple):
    """All tests of a guest."""

    answer: Answer
    cases: list[Case]

    def passed(self) -> set[str]:
        """Returns the names of the tests that passed."""
        return {case.name for case in self.cases if case.result == _PASSED}

    def others(self) -> str:
        """Returns a text about the tests that did not pass; empty if all passed."""
        found = [case for case in self.cases if case.result != _PASSED]
        texts = [f"{case.name}: {case.result}\n{case.text[-_LONGEST:]}" for case in found[:_SHOWN]]
        names = [case.name for case in found[_SHOWN:]]
        return "\n\n".join([*texts, *(["and:\n" + "\n".join(names)] if names else [])])


def read(answer: Answer) -> Outcome:
    """Reads the report of pytest. Raises GuestFailed if there is none."""
    try:
        suites = ET.parse(answer.folder / "junit.xml").getroot()
    except (OSError, ET.ParseError) as error:
        output = (answer.folder / "output").read_text(errors="backslashreplace")
        raise GuestFailed(f"no report of the guest's tests ({error}):\n{output[-_LONGEST:]}") from error
    return Outcome(answer, [_case(element) for element in suites.iter("testcase")])


def _case(element: ET.Element) -> Case:
    name = f"{element.get('classname', '').rpartition('.')[2]}::{element.get('name')}"
    for result in ("error", "failure", "skipped"):
        found = element.find(result)
        if found is not None:
            return Case(name, result, found.text or found.get("message") or "")
    return Case(name, _PASSED, "")
