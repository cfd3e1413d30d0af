"""Tell systemd the state of the service (sd_notify(3)): one datagram, so no library is needed.

This never waits: while systemd does not read, states are dropped. retry() sends the last dropped state that
must arrive again.
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
    # The recorder goes on if the service manager is gone.
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        try:
            channel.sendto(state.encode(), socket.MSG_DONTWAIT, address)
        except BlockingIOError:
            if must_arrive:
                _unsent[:] = [state]


def retry() -> None:
    """Sends again the last state that must arrive and was dropped, if there is one."""
    if _unsent:
        notify(_unsent.pop(), must_arrive=True)
