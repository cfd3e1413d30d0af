"""What stands between a client and a server: TLS with a throw-away authority, and a wire that can be cut."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import subprocess
import threading
from typing import TYPE_CHECKING

from tests.fleet.servers import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_PIECE = 65536
# A client of PostgreSQL asks with this whether the server has TLS, and gets one letter.
_SSL_REQUEST = bytes.fromhex("0000000804d2162f")


def _openssl(*words: str | Path) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True)


class Authority:
    """An authority for certificates, that nobody trusts who does not read its file."""

    def __init__(self, folder: Path) -> None:
        self.certificate, self._key = folder / "ca.crt", folder / "ca.key"
        self._folder = folder
        _openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc", "-days", "2",
            "-subj", "/CN=throw-away", "-keyout", self._key, "-out", self.certificate,
        )  # fmt: skip

    def context_for(self, name: str) -> ssl.SSLContext:
        """Returns what a server with that name needs for TLS."""
        certificate, key = self._folder / f"{name}.crt", self._folder / f"{name}.key"
        _openssl(
            "req", "-x509", "-CA", self.certificate, "-CAkey", self._key, "-newkey", "ec", "-pkeyopt",
            "ec_paramgen_curve:prime256v1", "-noenc", "-days", "2", "-subj", f"/CN={name}",
            "-addext", f"subjectAltName=DNS:{name}", "-addext", "basicConstraints=critical,CA:FALSE",
            "-keyout", key, "-out", certificate,
        )  # fmt: skip
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        return context


class Proxy:
    """Listens on a port of its own, and passes on what client and server say.

    `tls` is spoken with the client. `watch` is called with each piece that the client (True) or the server
    (False) sends, before it is passed on; if it returns False, both connections are cut instead.
    """

    def __init__(
        self,
        port: int,
        *,
        tls: ssl.SSLContext | None = None,
        is_postgres: bool = False,
        watch: Callable[[bool, bytes], bool] | None = None,
    ) -> None:
        self.target = port
        """The port of the server, of connections that come from now on."""
        self._tls = tls
        self._is_postgres = is_postgres
        self.watch = watch
        self._listener = socket.create_server((LOOPBACK, 0))
        self.port: int = self._listener.getsockname()[1]
        self._is_closed = False
        self._threads: list[threading.Thread] = []

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # closed
            if self._is_closed:
                client.close()
                return
            thread = threading.Thread(target=self._pass_on, args=(client,))
            thread.start()
            self._threads.append(thread)

    def _pass_on(self, client: socket.socket) -> None:
        # Whatever goes wrong ends this connection alone.
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            stack.enter_context(client)
            if self._tls is not None:
                client = stack.enter_context(self._in_tls(client, self._tls))
            server = stack.enter_context(socket.create_connection((LOOPBACK, self.target)))
            while not self._is_closed and self._passed(client, server):
                pass

    def _in_tls(self, client: socket.socket, tls: ssl.SSLContext) -> socket.socket:
        client.settimeout(10)
        if self._is_postgres:
            assert client.recv(len(_SSL_REQUEST)) == _SSL_REQUEST
            client.sendall(b"S")
        return tls.wrap_socket(client, server_side=True)

    def _passed(self, client: socket.socket, server: socket.socket) -> bool:
        """Passes on one piece. Returns False when the connection is at its end."""
        waiting = isinstance(client, ssl.SSLSocket) and client.pending() > 0
        ready = [client] if waiting else select.select([client, server], [], [], 0.1)[0]
        for each in ready:
            piece = each.recv(_PIECE)
            if not piece or (self.watch is not None and not self.watch(each is client, piece)):
                return False
            (server if each is client else client).sendall(piece)
        return True

    @contextlib.contextmanager
    def serving(self) -> Iterator[int]:
        """Serves during the body. Gives the port."""
        thread = threading.Thread(target=self._serve)
        thread.start()
        try:
            yield self.port
        finally:
            self._is_closed = True
            # Only a connection wakes up accept().
            with contextlib.suppress(OSError):
                socket.create_connection((LOOPBACK, self.port)).close()
            thread.join()
            self._listener.close()
            for each in self._threads:
                each.join()
