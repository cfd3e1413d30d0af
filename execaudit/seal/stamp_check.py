"""Ask for a time stamp of a head (RFC 3161), and check what was answered. Needs the extra `timestamp`."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from execaudit.errors import ConfigError, ExecauditError, StoreError
from execaudit.seal import der_order, stamps
from execaudit.seal.chain import Head
from execaudit.seal.segment_check import Problem
from execaudit.seal.stamps import LARGEST_REPLY, Stamp

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

    from cryptography.x509 import Certificate
    from rfc3161_client import TimeStampResponse

_LARGEST_FILE = 1_000_000
_LONGEST_NAME = 200
# Of PyO3: a fault of the library in Rust. It is no Exception, so that nobody takes it for one by chance.
_FAULT = "PanicException"


class Stamped(NamedTuple):
    """A time stamp of a history."""

    number: int
    stamp: Stamp
    head: Head
    is_valid: bool | None
    """The authority vouches for it. None: that was not checked."""


_ASK_ANOTHER = "look at [seal] timestamp and timestamp_authority, or ask another authority"


class StampError(ExecauditError):
    """An answer is no valid time stamp."""


class MissingLibraryError(ConfigError):
    """The extra is not installed."""

    def __init__(self) -> None:
        super().__init__(
            "time stamps need the package rfc3161-client",
            fix="`pip install 'execaudit[timestamp]'`, or in a checkout `sudo make install EXTRAS=timestamp`",
        )


def request(head: str) -> tuple[bytes, int]:
    """Returns the request for a stamp of a head, a TimeStampReq, and its nonce.

    What is stamped is the SHA-256 of the head as text. The nonce is random, so that no answer is an old one.
    Raises MissingLibraryError.
    """
    try:
        from rfc3161_client import TimestampRequestBuilder  # noqa: PLC0415  # of an extra
        from rfc3161_client.base import HashAlgorithm  # noqa: PLC0415  # as above
    except ImportError as exc:
        raise MissingLibraryError from exc
    made = TimestampRequestBuilder().data(head.encode()).hash_algorithm(HashAlgorithm.SHA256).build()
    if made.nonce is None:
        raise AssertionError("the builder makes one")
    return made.as_bytes(), made.nonce


def authorities(path: Path) -> list[Certificate]:
    """Returns the certificates of a PEM file: of those who certify the time stamp authority.

    Raises ConfigError, MissingLibraryError.
    """
    try:
        from cryptography import x509  # noqa: PLC0415  # of an extra
    except ImportError as exc:
        raise MissingLibraryError from exc
    fix = "give a PEM file with the certificate of the time stamp authority's CA"
    try:
        with path.open("rb") as file:
            raw = file.read(_LARGEST_FILE)
        return x509.load_pem_x509_certificates(raw)
    except OSError as exc:
        raise ConfigError(f"cannot read the certificates {path}: {exc.strerror}", fix=fix) from exc
    except ValueError as exc:
        raise ConfigError(f"{path} has no certificates", fix=fix) from exc


def checked(head: str, reply: bytes, trusted: list[Certificate], *, nonce: int | None = None) -> Stamp:
    """Returns the stamp of a head that an authority gave, whose certificate must lead to one of `trusted`.

    Its certificates must have been valid when it stamped. Raises StampError.
    """
    if len(reply) > LARGEST_REPLY:
        raise StampError(f"the answer has more than {LARGEST_REPLY} bytes", fix=_ASK_ANOTHER)
    try:
        return _checked(head, reply, trusted, nonce)
    except Exception as exc:
        raise StampError(
            f"the answer is no valid time stamp: {exc or type(exc).__name__}", fix=_ASK_ANOTHER
        ) from exc
    except BaseException as exc:
        if type(exc).__name__ != _FAULT:
            raise
        raise StampError("the answer is no valid time stamp: it cannot be read", fix=_ASK_ANOTHER) from exc


def _checked(head: str, reply: bytes, trusted: list[Certificate], nonce: int | None) -> Stamp:
    from rfc3161_client import VerifierBuilder, decode_timestamp_response  # noqa: PLC0415  # of an extra

    answer = decode_timestamp_response(der_order.in_order(reply))
    if answer.status != 0:
        raise ValueError(f"it was refused, status {answer.status} {' '.join(answer.status_string)}".strip())
    VerifierBuilder(roots=trusted, nonce=nonce).build().verify_message(answer, head.encode())
    at = answer.tst_info.gen_time
    at_ns = round(at.timestamp() * 1_000_000) * 1000
    return Stamp(head, at_ns, _signer(answer)[:_LONGEST_NAME], reply)


def _signer(answer: TimeStampResponse) -> str:
    """Returns the name of who signed an answer, which was verified."""
    from cryptography import x509  # noqa: PLC0415  # of an extra

    (by,) = answer.signed_data.signer_infos
    for raw in answer.signed_data.certificates:
        certificate = x509.load_der_x509_certificate(raw)
        if (certificate.issuer, certificate.serial_number) == (by.issuer, by.serial_number):
            return certificate.subject.rfc4514_string()
    return by.issuer.rfc4514_string()


def check_all(
    connection: sqlite3.Connection, trusted: list[Certificate] | None, since_ns: int | None
) -> tuple[list[Stamped], list[Problem]]:
    """Returns the stamps of a history, and those of them that are not what an authority gave.

    Whether the heads are in the chain is another question. With `trusted` None, only their heads are read.
    """
    found, problems = [], []
    for number, stamp in stamps.stored(connection, since_ns):
        try:
            head = Head.from_text(stamp.head)
            is_same = trusted is None or checked(stamp.head, stamp.reply, trusted) == stamp
        except StampError:
            found.append(Stamped(number, stamp, head, is_valid=False))
            problems.append(Problem("forged", stamps.TABLE, number, number, None, None))
        except StoreError:
            problems.append(Problem("changed", stamps.TABLE, number, number, None, None))
        else:
            found.append(Stamped(number, stamp, head, None if trusted is None else is_same))
            if not is_same:
                problems.append(Problem("changed", stamps.TABLE, number, number, None, None))
    return found, problems
