"""A time stamp authority on loopback: `openssl ts` behind Python's web server, honest or not."""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
import json
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NAME = "CN=Test TSA"
_CONFIG = """
[tsa]
default_tsa = this
[this]
serial = {serial}
default_policy = 1.2.3.4.1
digests = sha256, sha512
ess_cert_id_alg = sha256
"""
_DAY = dt.timedelta(days=1)
_SERIALS = itertools.count(1)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


class Tsa:
    """An authority, with a CA of its own. `days`: how long its certificate is valid; may be over already.

    `with_chain`: it also sends its CA's certificate.
    """

    def __init__(self, folder: Path, *, days: int = 2, with_chain: bool = False) -> None:
        folder.mkdir(exist_ok=True)
        self.authority = folder / "ca.pem"
        self.certificate, self._key, self._config = folder / "tsa.pem", folder / "tsa.key", folder / "tsa.cnf"
        chain = f"certs = {self.authority}\n" if with_chain else ""
        self._config.write_text(_CONFIG.format(serial=folder / "serial") + chain)
        now = dt.datetime.now(dt.timezone.utc)
        ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        ca = (
            x509.CertificateBuilder(_name("Test CA"), _name("Test CA"), ca_key.public_key(), next(_SERIALS))
            .not_valid_before(now - 30 * _DAY)
            .not_valid_after(now + 30 * _DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(ca_key, hashes.SHA256())
        )
        certificate = (
            x509.CertificateBuilder(ca.subject, _name("Test TSA"), key.public_key(), next(_SERIALS))
            .not_valid_before(now - 20 * _DAY)
            .not_valid_after(now + days * _DAY)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True)
            .sign(ca_key, hashes.SHA256())
        )
        self.authority.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
        self.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        self._key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )

    def reply(self, query: bytes) -> bytes:
        """Returns an honest answer to a request."""
        asked, given = (self._config.with_name(f"{next(_SERIALS)}.{end}") for end in ("tsq", "tsr"))
        asked.write_bytes(query)
        subprocess.run(
            ["openssl", "ts", "-reply", "-config", self._config, "-queryfile", asked, "-signer", self.certificate,
             "-inkey", self._key, "-sha256", "-out", given],
            check=True, capture_output=True,
        )  # fmt: skip
        return given.read_bytes()

    def reply_to(self, data: bytes, *words: str) -> bytes:
        """Returns an answer to somebody else's request, for other data or without its nonce."""
        query = self._config.with_name(f"{next(_SERIALS)}.tsq")
        file = query.with_suffix(".data")
        file.write_bytes(data)
        subprocess.run(
            ["openssl", "ts", "-query", "-data", file, "-sha256", "-cert", *words, "-out", query],
            check=True, capture_output=True,
        )  # fmt: skip
        return self.reply(query.read_bytes())


class Server:
    """Serves what `answer` returns of each request; `send` writes it to the socket."""

    def __init__(self, answer: Callable[[bytes], bytes]) -> None:
        self.answer = answer
        self.kind = "application/timestamp-reply"
        self.status = 200
        self.send: Callable[[Callable[[bytes], object], bytes], object] = lambda write, reply: write(reply)
        self.asked: list[bytes] = []
        self.url = ""

    @contextlib.contextmanager
    def serving(self, port: int = 0) -> Iterator[str]:
        """Listens; gives the address."""
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:  # http.server's
                query = self.rfile.read(int(self.headers["Content-Length"]))
                server.asked.append(query)
                reply = server.answer(query)
                with contextlib.suppress(OSError):
                    self.send_response(server.status)
                    self.send_header("Content-Type", server.kind)
                    if server.status in {301, 307}:
                        self.send_header("Location", "/elsewhere")
                    self.end_headers()
                    server.send(self.wfile.write, reply)

            def log_message(self, *_: object) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", port), Handler) as http:
            http.daemon_threads = True
            thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05})
            thread.start()
            self.url = f"http://127.0.0.1:{http.server_port}/tsr"
            try:
                yield self.url
            finally:
                http.shutdown()
                thread.join()


def configured(folder: Path, server: Server, tsa: Tsa, **more: str) -> Path:
    """Returns a configuration that names the server."""
    config = folder / "config.toml"
    lines = {"timestamp": server.url, "timestamp_authority": str(tsa.authority), **more}
    config.write_text("[seal]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in lines.items()))
    return config
