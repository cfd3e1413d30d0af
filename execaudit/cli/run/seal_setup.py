"""What `execaudit seal setup` does."""

from __future__ import annotations

import io
import os
import secrets
import stat
import sys
from typing import TYPE_CHECKING

import click

from execaudit.cli.run.progress import Progress
from execaudit.database import files
from execaudit.database.writer_lock import lock_file
from execaudit.errors import StoreError
from execaudit.escaping import printable
from execaudit.output import ansi
from execaudit.seal.key_file import KeyFile, path_of
from execaudit.seal.keys import CHAIN_BYTES, KEY_BYTES, SealingKey, VerificationKey
from execaudit.store.sealing import Sealer
from execaudit.system import privileges

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

    from execaudit.cli.context import State


def run(state: State, *, is_new: bool, has_qr: bool) -> None:
    """Makes the sealing key, prints the verification key, and begins the chain.

    `is_new`: another key may be there. `has_qr`: on a terminal, the key is shown as a QR code too. Raises
    StoreError.
    """
    path = state.database_to_write()
    if not path.exists() or not path.stat().st_size:
        _make_history(path)
    with state.local():
        pass  # raises what is wrong with the history
    file = KeyFile(path_of(path))
    if file.exists() and not is_new:
        raise StoreError(
            f"there is a sealing key already: {path_of(path)}",
            fix="`execaudit seal status` says since when; --new-key begins a chain with another key",
        )
    if not os.access(path_of(path).parent, os.W_OK | os.X_OK):
        raise StoreError(
            f"you may not write {path_of(path)}", fix="run it as root, or as the owner of the file"
        )
    with files.opened_beside_recorder(path) as connection:
        _begin(connection, path, file, has_qr=has_qr)


def _make_history(path: Path) -> None:
    """Makes a history before the first recorder, which may be the service's."""
    from execaudit.store.writer import Store  # noqa: PLC0415  # imports SQLAlchemy

    with Progress(lines=True) as progress:
        Store(path, progress=progress.say_upgrade).close()
    owner = privileges.owner_of(path.absolute().parent)
    if owner is not None and os.geteuid() == 0:
        for each in (path, lock_file(path)):
            os.chown(each, owner.uid, owner.gid)
        # As the service makes it. Who keeps the key in a file has a narrow umask.
        path.chmod(0o640)


def _begin(connection: sqlite3.Connection, path: Path, file: KeyFile, *, has_qr: bool) -> None:
    key = VerificationKey(secrets.token_bytes(CHAIN_BYTES), secrets.token_bytes(KEY_BYTES))
    sealer = Sealer(path)
    with Progress(lines=True) as progress:
        sealer.seal_old(connection, progress.say_upgrade)
    # First the key is known elsewhere: one that nobody has would make a history that nobody can verify.
    _show(key, has_qr=has_qr)
    with sealer.transaction(connection, always=True):
        file.replace(SealingKey.new(key), owner=path.stat())
    sealed = sealer.newest()
    if sealed is None:
        raise AssertionError("an entry was written")
    _say(f"sealed from now on; the first head is {sealed.head}")
    _say("keep the verification key on another machine: it is not stored here, and is not shown again")
    if stat.S_ISREG(os.fstat(sys.stdout.fileno()).st_mode):
        _say("warning: it is in a file now: whoever reads that can forge seals; take it off this host")


def _show(key: VerificationKey, *, has_qr: bool) -> None:
    """Prints the verification key. Raises OSError."""
    text = key.to_text()
    click.echo(text)
    if has_qr and sys.stdout.isatty():
        _show_qr(text)
    sys.stdout.flush()


def _show_qr(text: str) -> None:
    try:
        import segno  # noqa: PLC0415  # of an extra
    except ImportError:
        _say(
            "for a QR code of it, `pip install 'execaudit[qr]'`, or in a checkout `sudo make install EXTRAS=qr`"
        )
        return
    drawn = io.StringIO()
    code = segno.make_qr(text)
    try:
        code.terminal(drawn, compact=True)
        drawn.getvalue().encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        code.terminal(sys.stdout)
        return
    # Cameras want a dark code on a bright ground, whatever the terminal's colours are.
    has_colour = "NO_COLOR" not in os.environ
    for line in drawn.getvalue().splitlines():
        click.echo(ansi.painted(line, ansi.QR if has_colour else ""))


def _say(message: str) -> None:
    click.echo(printable(message), err=True)
