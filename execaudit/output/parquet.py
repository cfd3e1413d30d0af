"""Write execs and gaps as Parquet, with pyarrow, in constant memory.

Times are timestamps with nanoseconds in UTC, inodes unsigned numbers, lists are lists, and texts that repeat
are dictionaries. Source of the types: https://arrow.apache.org/docs/python/api/datatypes.html
"""

from __future__ import annotations

import io
from typing import IO, TYPE_CHECKING, Any

from execaudit import __version__
from execaudit.errors import ExecauditError
from execaudit.escaping import name_text
from execaudit.fields import BY_NAME, FIELDS, GAP_FIELDS, Form
from execaudit.output.json_lines import json_text
from execaudit.output.record import to_record
from execaudit.times import utc_ns

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from types import TracebackType

    from execaudit.event import ExecEvent
    from execaudit.fields import Field

# A row group: so many rows, or rows of so many bytes of command lines.
_MOST_ROWS = 32_768
_MOST_BYTES = 4 * 1024 * 1024
# These differ from exec to exec: a dictionary would only take room.
_UNIQUE = frozenset({"command", "argv_base64"})


class _Counted(io.RawIOBase):
    """A file that cannot seek, and counts. It is not closed with the writer's."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self._file = file
        self.bytes = 0

    def writable(self) -> bool:
        return True

    def write(self, text: Any) -> int:  # noqa: ANN401  # a buffer of pyarrow's
        size = self._file.write(text)
        self.bytes += size
        return size

    def tell(self) -> int:
        return self.bytes


class Parquet:
    """A file of execs, or of gaps. Closed without an exception, it is complete."""

    def __init__(
        self,
        file: IO[bytes],
        names: Sequence[str] | None = None,
        *,
        gaps: bool = False,
        seals: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """`names` of the record; None: all. The file's metadata has `seals`: records of what vouches for it.

        Raises ExecauditError if pyarrow is not installed.
        """
        try:
            import pyarrow as pa  # noqa: PLC0415  # an extra, and heavy
            from pyarrow import parquet  # noqa: PLC0415
        except ImportError as exc:
            raise ExecauditError(
                "Parquet needs pyarrow, which is not installed here",
                fix="`pip install 'execaudit[parquet]'`, or in a checkout `sudo make install EXTRAS=parquet`",
            ) from exc
        self._arrow = pa
        table = GAP_FIELDS if gaps else FIELDS if names is None else [BY_NAME[name] for name in names]
        schema = [pa.field(field.name, _type(pa, field), nullable=field.null is not None) for field in table]
        self._fields = table
        self._schema = pa.schema(
            schema, metadata={"execaudit": __version__, "execaudit.seals": json_text(seals)}
        )
        self._rows: list[list[object]] = []
        self._argv_bytes = 0
        self._file = _Counted(file)
        self._writer = parquet.ParquetWriter(pa.PythonFile(self._file, "w"), self._schema, compression="zstd")

    @property
    def bytes(self) -> int:
        """How many were written."""
        return self._file.bytes

    def add(self, events: Iterable[ExecEvent]) -> None:
        """Adds execs."""
        for event in events:
            record: Mapping[str, Any] = to_record(event)
            self._rows.append([_value(field, record.get(field.name)) for field in self._fields])
            self._argv_bytes += len(event.argv)
            if len(self._rows) >= _MOST_ROWS or self._argv_bytes >= _MOST_BYTES:
                self._flush()

    def add_gaps(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Adds gaps, from their records."""
        self._rows += [[_value(field, record[field.name]) for field in self._fields] for record in records]

    def _flush(self) -> None:
        if not self._rows:
            return
        columns = zip(*self._rows, strict=True)
        arrays = [self._array(column, kind) for column, kind in zip(columns, self._schema.types, strict=True)]
        self._rows, self._argv_bytes = [], 0
        self._writer.write_batch(self._arrow.record_batch(arrays, schema=self._schema))

    def _array(self, column: Sequence[object], kind: Any) -> Any:  # noqa: ANN401  # pyarrow has no types
        try:
            return self._arrow.array(column, type=kind)
        except UnicodeEncodeError:
            # A name of a host that is no UTF-8.
            texts = [name_text(value) if isinstance(value, str) else value for value in column]
            return self._arrow.array(texts, type=kind)

    def __enter__(self) -> Parquet:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._flush()
            self._writer.close()


def _type(pa: Any, field: Field) -> Any:  # noqa: ANN401  # a module and a type of pyarrow, which may be missing
    types = {
        Form.NUMBER: pa.int64(),
        Form.UNSIGNED_64: pa.uint64(),
        Form.TIME: pa.timestamp("ns", "UTC"),
        Form.TEXTS: pa.list_(pa.string()),
        Form.PAIRS: pa.list_(pa.list_(pa.int64())),
        Form.ID: pa.string(),
    }
    usual = pa.string() if field.name in _UNIQUE else pa.dictionary(pa.int32(), pa.string())
    return types.get(field.form, usual)


def _value(field: Field, value: Any) -> object:  # noqa: ANN401  # the table says what it is
    """Returns what pyarrow takes, for a value of the record."""
    if value is None:
        return None
    if field.form is Form.TIME:
        return utc_ns(value)
    return int(value) if field.form is Form.UNSIGNED_64 else value
