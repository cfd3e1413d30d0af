"""The host gets another name while the recorder runs."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING

from tests.commands import EXECAUDIT, NO_FAILED, PATIENCE, await_found, found, line_of, recorder

if TYPE_CHECKING:
    from pathlib import Path


def test_a_new_name_is_read_after_sighup(tmp_path: Path) -> None:
    """What ran before keeps the old one, in the history as in the log."""
    before, after = (shutil.copy("/bin/true", tmp_path / name) for name in ("before", "after"))
    in_namespace = ("unshare", "--uts", "sh", "-c", 'hostname first && exec "$@"', "sh", *EXECAUDIT)
    database = tmp_path / "x.db"
    with recorder("--db", database, "record", NO_FAILED, "--quiet", before=in_namespace) as process:
        subprocess.run([before], check=True)
        await_found(database, "--exe", before)
        subprocess.run(["nsenter", "--uts", f"--target={process.pid}", "hostname", "second"], check=True)
        process.send_signal(signal.SIGHUP)
        while json.loads(line_of(process.stderr)).get("event") != "host_renamed":
            pass
        subprocess.run([after], check=True)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE)

    assert 0 == process.returncode, err
    assert ["first", "second"] == [
        row["host"] for name in (before, after) for row in found(database, "--exe", name)
    ]
