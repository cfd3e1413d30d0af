"""A bundle of what the real recorder wrote is proved, with the key that `seal setup` printed."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

from tests.commands import NO_FAILED, execaudit
from tests.live.recording import recording

if TYPE_CHECKING:
    from pathlib import Path

_SCRIPT = (
    "for word in a b c; do /bin/echo $word; done; sh -c 'exit 3'; /bin/true $(printf '\\377'); /nowhere/x"
)


def test_what_was_recorded_is_proved_elsewhere(tmp_path: Path) -> None:
    """While the recorder runs, and after it; each record of a program, of its parents, and of its end."""
    folder = tmp_path / "written"
    folder.mkdir()
    db, key = folder / "history.db", tmp_path / "key"
    key.write_bytes(execaudit("--db", db, "seal", "setup").out)

    def bundle(name: str, *filters: str) -> dict[str, Any]:
        path = tmp_path / name
        made = execaudit("--db", db, "export", "--bundle", path, *filters)
        assert made.status == 0, made.err
        done = execaudit("verify", path, "--format=json", f"--key=@{key}")
        assert done.status == 0, (done.out[:2000], done.err)
        found: dict[str, Any] = json.loads(done.out)
        return found

    with recording(folder, NO_FAILED) as recorded:
        for _ in range(20):
            subprocess.run(["sh", "-c", _SCRIPT], check=False, capture_output=True)
        meanwhile = bundle("meanwhile.zip")
    after, some = bundle("after.zip"), bundle("some.zip", "--exit-code=3")

    assert meanwhile["authentic"] is True
    assert after["authentic"] is True
    assert after["records"] == len(recorded.rows()) > meanwhile["records"] >= 0
    assert 20 <= some["records"] < after["records"]
    assert some["loose"] == 0
