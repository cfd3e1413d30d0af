"""How the recorder starts the process that runs detection rules. It is apart: the recorder needs no more."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from execaudit.daemon.settings import HuntSettings

_CODE = (
    "import json, sys; given = json.loads(sys.argv[1]); sys.path[:] = given['path'];"
    " from execaudit.cli.run.hunter import main; main(given)"
)


def command(database: Path, wanted: HuntSettings, is_careful: bool) -> list[str]:  # noqa: FBT001  # Hunting calls it
    """Returns the command line: our Python, with our modules and no others."""
    given = {
        "path": sys.path,
        "db": str(database.absolute()),
        "rules": [str(Path(path).absolute()) for path in wanted.rules],
        "level": wanted.level,
        "parent": os.getpid(),
        "stride": 1 if is_careful else None,
    }
    return [sys.executable, "-I", "-c", _CODE, json.dumps(given)]
