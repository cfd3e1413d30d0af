"""Tell systemd about the service (sd_notify(3)): one datagram, so no library is needed.

Never waits: while systemd does not read, states are dropped. Of those that must arrive, retry() sends the
last one again.
"""

from __future__ import annotations

import contextlib
import os
import socket

_unsent: list[str] = []


def notify(state: str, *, must_arrive: bool = False) -> None:
    """Sends a state such as `READY=1`; does nothing outside of a service."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    # A manager that is gone must not take the recorder with it.
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        try:
            channel.sendto(state.encode(), socket.MSG_DONTWAIT, address)
        except BlockingIOError:
            if must_arrive:
                _unsent[:] = [state]


def retry() -> None:
    """Sends the state again that must arrive and could not be sent."""
    if _unsent:
        notify(_unsent.pop(), must_arrive=True)
