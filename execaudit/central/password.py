"""Read the password of a central database. It is never in a URL or on a command line."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from execaudit.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping

_CREDENTIAL = "password"
_LONGEST = 4096


def password(file: Path | None, environment: Mapping[str, str]) -> str | None:
    """Returns the first line of a file, else of the systemd credential `password`.

    None: there is neither; then the client's library looks for one (PGPASSFILE). Raises StoreError.
    """
    folder = environment.get("CREDENTIALS_DIRECTORY")
    if file is None and folder and (credential := Path(folder) / _CREDENTIAL).exists():
        file = credential
    if file is None:
        return None
    try:
        with file.open("rb") as opened:
            if os.fstat(opened.fileno()).st_mode & stat.S_IROTH and not _is_device(opened.fileno()):
                raise StoreError(f"everybody may read {file}", fix=f"run `chmod o= {file}`")
            content = opened.read(_LONGEST + 1)
    except OSError as exc:
        raise StoreError(f"cannot read the password in {file}: {exc.strerror}", fix="name a file") from exc
    line = content.partition(b"\n")[0].removesuffix(b"\r")
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise StoreError(f"the password in {file} is not UTF-8", fix="write it as text") from exc
    if not text or "\0" in text or len(content) > _LONGEST:
        raise StoreError(f"there is no password in the first line of {file}", fix="write it there")
    return text


def _is_device(number: int) -> bool:
    """Says whether it is a pipe or a terminal, of which others can read nothing."""
    return not stat.S_ISREG(os.fstat(number).st_mode)
