"""Ask a web server that may answer anything, slowly, or not at all. For the main thread."""

from __future__ import annotations

import contextlib
import signal
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from execaudit.errors import ConfigError, ExecauditError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_OK = 200


_FIX = "look whether its address is right, and whether the server is up"


class PostError(ExecauditError):
    """There is no answer."""


class _LateError(BaseException):
    """The time is over. No OSError: a connection tries the next address after one."""


def check_url(url: str) -> None:
    """Raises ConfigError for an address that cannot be asked."""
    try:
        parts = urlsplit(url)
        is_right = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_right = False
    if not is_right:
        raise ConfigError(
            "the address is not one of a web server", fix="give http://HOST/PATH or https://HOST/PATH"
        )
    if "@" in parts.netloc:
        # It is not repeated: it may be a password.
        raise ConfigError("the address has a user", fix="leave it out: nothing is sent but the request")


def post(url: str, body: bytes, *, content: str, answer: str, most: int, seconds: float) -> bytes:  # noqa: PLR0913  # what a request has
    """Returns what a server answers, of the type `answer` and of `most` bytes at most.

    It is not waited for longer than `seconds`, however slow the bytes are. Redirections are not followed.
    Raises PostError.
    """
    import http.client  # noqa: PLC0415  # imports ssl

    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=seconds)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = {"Content-Type": content, "Accept": answer, "Connection": "close"}
    try:
        with _within(seconds), contextlib.closing(connection):
            connection.request("POST", path, body, headers)
            said = connection.getresponse()
            if said.status != _OK:
                raise PostError(f"{parts.hostname} answered with status {said.status}", fix=_FIX)
            given = (said.getheader("Content-Type") or "").partition(";")[0].strip().lower()
            if given != answer:
                raise PostError(f"{parts.hostname} answered something else than {answer}", fix=_FIX)
            raw = said.read(most + 1)
    except _LateError as exc:
        raise PostError(f"{parts.hostname} did not answer within {seconds:g} seconds", fix=_FIX) from exc
    except (OSError, http.client.HTTPException, ValueError) as exc:
        why = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc) or type(exc).__name__
        raise PostError(f"cannot ask {parts.hostname}: {why}", fix=_FIX) from exc
    if len(raw) > most:
        raise PostError(f"{parts.hostname} answered more than {most} bytes", fix=_FIX)
    return raw


@contextlib.contextmanager
def _within(seconds: float) -> Iterator[None]:
    """Raises _LateError in the body after that time."""

    def late(_number: int, _frame: FrameType | None) -> None:
        raise _LateError

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
