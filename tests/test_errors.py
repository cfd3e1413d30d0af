"""An error has its two parts apart, is one line together, and can be raised in another process."""

from __future__ import annotations

import json

import pytest

from execaudit import errors
from execaudit.capture.loader import RefusedError
from execaudit.errors import DamagedStoreError, ExecauditError, ProbeError, StoreError


@pytest.mark.parametrize("fix", ["make room: 1 GB", None])
def test_the_text_is_what_happened_and_what_to_do(fix: str | None) -> None:
    """A colon in either part does not matter to who wants them apart."""
    error = StoreError("cannot write /a: b: the disk is full", fix=fix)

    assert (error.what, error.fix) == ("cannot write /a: b: the disk is full", fix)
    assert str(error) == "cannot write /a: b: the disk is full" + ("" if fix is None else ": make room: 1 GB")


@pytest.mark.parametrize(
    "error",
    [
        DamagedStoreError("cannot read x:\n\udcff is damaged", fix="restore a backup: the last"),
        ExecauditError("it failed"),
    ],
)
def test_an_error_is_the_same_in_another_process(error: ExecauditError) -> None:
    """Its class, and both parts, whatever characters are in them."""
    raised = errors.from_json(json.loads(json.dumps(errors.to_json(error))))

    assert type(raised) is type(error)
    assert (raised.what, raised.fix, str(raised)) == (error.what, error.fix, str(error))


def test_a_class_of_another_module_becomes_its_base() -> None:
    """The other process need not have imported it; the exit status is the same."""
    raised = errors.from_json(errors.to_json(RefusedError("the kernel refused", fix="see the log")))

    assert type(raised) is ProbeError
    assert str(raised) == "the kernel refused: see the log"
    assert raised.exit_status == RefusedError.exit_status
