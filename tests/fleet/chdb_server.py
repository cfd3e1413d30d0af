"""A modern ClickHouse that speaks the native protocol: chdb's engine, which has no network, behind a socket.

`python -m tests.fleet.chdb_server PORT FOLDER` serves on 127.0.0.1 until it is ended. So the program's own
client reaches the SQL of a modern server. There is one engine in a process, for one statement at a time. It
knows no users, and no cluster.
"""

from __future__ import annotations

import re
import socketserver
import struct
import sys
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from clickhouse_driver.bufferedreader import BufferedReader, BufferedSocketReader
from clickhouse_driver.bufferedwriter import BufferedSocketWriter
from clickhouse_driver.protocol import ClientPacketTypes, ServerPacketTypes
from clickhouse_driver.reader import read_binary_str, read_binary_uint8
from clickhouse_driver.streams.native import BlockInputStream, BlockOutputStream
from clickhouse_driver.varint import read_varint

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

# The first revision whose settings are texts; later ones have more in their packets.
_REVISION = 54429
_BLOCK_INFO = b"\x01\x00\x02\xff\xff\xff\xff\x00"
_INSERT = re.compile(r"\s*INSERT\s+INTO\s+([\w.`]+)\s*\(([^)]*)\)\s*VALUES\s*", re.IGNORECASE)
_ERROR = re.compile(r"Code: (\d+)\. ")


def varint(number: int) -> bytes:
    """Returns a number as the protocol has it."""
    made = bytearray()
    while number > 0x7F:
        made.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*made, number])


def text(value: str) -> bytes:
    """Returns a text as the protocol has it."""
    return varint(len(value.encode())) + value.encode()


def _context(revision: int) -> SimpleNamespace:
    """Returns what the client's own reader of blocks asks for."""
    return SimpleNamespace(
        server_info=SimpleNamespace(used_revision=revision, get_timezone=lambda: "UTC"),
        client_settings={"use_numpy": False, "strings_as_bytes": True, "strings_encoding": "utf-8"},
    )


class _Bytes(BufferedReader):  # type: ignore[misc]  # the driver has no types
    """Reads from memory, and knows where it is."""

    def __init__(self, content: bytes) -> None:
        super().__init__(0)
        self.buffer = bytearray(content)
        self.current_buffer_size = len(content)

    def read_into_buffer(self) -> None:
        """There is no more."""
        raise EOFError


def blocks(content: bytes) -> Iterator[bytes]:
    """Yields each block of a text in the format Native."""
    reader = _Bytes(content)
    stream = BlockInputStream(reader, _context(0))
    while (begin := reader.position) < len(content):
        stream.read()
        yield content[begin : reader.position]


class Engine:
    """The engine, for one statement at a time."""

    def __init__(self, folder: str) -> None:
        from chdb.session import Session  # noqa: PLC0415  # takes a second

        self._session = Session(folder)
        self._lock = threading.Lock()

    def run(self, statement: str, database: str, settings: dict[str, str]) -> bytes:
        """Returns the answer in the format Native. Raises RuntimeError."""
        with self._lock:
            self._begin(database, settings)
            try:
                answer = self._session.query(statement, "Native")
                return bytes(answer.bytes())
            finally:
                self._end(settings)

    def insert(self, statement: str, content: bytes, database: str, settings: dict[str, str]) -> None:
        """Inserts what is in the format Native. Raises RuntimeError."""
        with self._lock:
            self._begin(database, settings)
            try:
                inserter = self._session.send_insert(statement, "Native")
                inserter.append(content)
                inserter.finish()
            finally:
                self._end(settings)

    def _begin(self, database: str, settings: dict[str, str]) -> None:
        name = database.replace("`", "\\`")
        self._session.query(f"USE `{name}`")
        for name, value in settings.items():
            self._session.query(f"SET {name} = '{value}'")

    def _end(self, settings: dict[str, str]) -> None:
        for name in settings:
            self._session.query(f"SET {name} = DEFAULT")


class _Client(socketserver.BaseRequestHandler):
    """Serves one client."""

    server: _Server
    request: socket.socket

    def handle(self) -> None:
        """Serves until the client is gone."""
        self._in = BufferedSocketReader(self.request, 1 << 20)
        try:
            self._hello()
            while True:
                self._packet(read_varint(self._in))
        except (EOFError, OSError):
            return

    def _send(self, *pieces: bytes) -> None:
        self.request.sendall(b"".join(pieces))

    def _hello(self) -> None:
        assert read_varint(self._in) == ClientPacketTypes.HELLO
        read_binary_str(self._in)
        for _ in range(3):
            read_varint(self._in)
        self._database = read_binary_str(self._in) or "default"
        read_binary_str(self._in)
        read_binary_str(self._in)
        version = self.server.version
        self._send(
            varint(ServerPacketTypes.HELLO), text("ClickHouse"), varint(version[0]), varint(version[1]),
            varint(_REVISION), text("UTC"), text("chdb"), varint(version[2]),
        )  # fmt: skip

    def _packet(self, kind: int) -> None:
        if kind == ClientPacketTypes.PING:
            self._send(varint(ServerPacketTypes.PONG))
        elif kind == ClientPacketTypes.QUERY:
            try:
                self._query()
            except RuntimeError as exc:
                self._failed(str(exc))
        elif kind != ClientPacketTypes.CANCEL:
            raise OSError(f"packet {kind}")

    def _failed(self, said: str) -> None:
        code = _ERROR.search(said)
        self._send(
            varint(ServerPacketTypes.EXCEPTION), struct.pack("<i", int(code[1]) if code else 1002),
            text("DB::Exception"), text(said), text(""), b"\0",
        )  # fmt: skip

    def _query(self) -> None:
        statement, settings = self._question()
        assert not self._data().columns_with_types  # external tables are not served
        found = _INSERT.fullmatch(statement)
        if found is not None:
            self._insert(found[1], found[2], settings)
        else:
            for block in blocks(self.server.engine.run(statement, self._database, settings)):
                self._send(varint(ServerPacketTypes.DATA), text(""), _BLOCK_INFO, block)
        self._send(varint(ServerPacketTypes.END_OF_STREAM))

    def _question(self) -> tuple[str, dict[str, str]]:
        """Reads the rest of a packet with a statement. Returns it, and its settings."""
        read_binary_str(self._in)  # the id
        read_binary_uint8(self._in)
        for _ in range(3):
            read_binary_str(self._in)
        read_binary_uint8(self._in)
        for _ in range(3):
            read_binary_str(self._in)
        for _ in range(3):
            read_varint(self._in)
        read_binary_str(self._in)
        read_varint(self._in)
        settings = {}
        while name := read_binary_str(self._in):
            read_binary_uint8(self._in)
            settings[name] = read_binary_str(self._in)
        read_varint(self._in)
        assert read_varint(self._in) == 0  # compression is not served
        return read_binary_str(self._in), settings

    def _data(self) -> Any:  # noqa: ANN401  # the driver has no types
        """Reads a packet with a block of data."""
        kind = read_varint(self._in)
        if kind != ClientPacketTypes.DATA:
            raise OSError(f"packet {kind}, not data")
        read_binary_str(self._in)
        return BlockInputStream(self._in, _context(_REVISION)).read()

    def _insert(self, table: str, columns: str, settings: dict[str, str]) -> None:
        described = self.server.engine.run(f"DESCRIBE TABLE {table}", self._database, {})
        types: dict[str, str] = {}
        for block in blocks(described):
            rows = BlockInputStream(_Bytes(block), _context(0)).read()
            types.update((name.decode(), kind.decode()) for name, kind in zip(*rows.data[:2], strict=True))
        names = [name.strip(" `\n") for name in columns.split(",")]
        missing = [name for name in names if name not in types]
        if missing:
            raise RuntimeError(f"Code: 16. DB::Exception: No such column {missing[0]}")
        header = b"".join(text(name) + text(types[name]) for name in names)
        head = varint(len(names)) + varint(0) + header
        self._send(varint(ServerPacketTypes.DATA), text(""), _BLOCK_INFO, head)
        content = bytearray()
        while raw := self._raw_block():
            content += raw
        self.server.engine.insert(
            f"INSERT INTO {table} ({columns})", bytes(content), self._database, settings
        )

    def _raw_block(self) -> bytes:
        """Reads a packet with a block, and returns the block in the format Native: nothing for the last."""
        block = self._data()
        if not block.columns_with_types:
            return b""
        # The driver writes over the columns.
        block.data = [list(column) for column in block.data]
        content = bytearray()
        writer = BufferedSocketWriter(SimpleNamespace(sendall=content.extend), 1 << 16)
        BlockOutputStream(writer, _context(0)).write(block)
        return bytes(content)


class _Server(socketserver.ThreadingTCPServer):
    """Serves clients, a thread each."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, port: int, engine: Engine) -> None:
        super().__init__(("127.0.0.1", port), _Client)
        self.engine = engine
        import chdb  # noqa: PLC0415  # as in Engine

        self.version = [int(word) for word in chdb.engine_version.split(".")[:3]]


def main() -> None:
    """Serves on the port and with the folder that the command line names."""
    with _Server(int(sys.argv[1]), Engine(sys.argv[2])) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
