"""Bring the certificates of a time stamp into the order that DER wants. Pure.

They are a SET OF (RFC 5652, 5.1), which DER sorts by its bytes. Authorities of OpenSSL and others write them
as a chain, and strict readers refuse that. No signature covers their order.
"""

from __future__ import annotations

from typing import NamedTuple

_SEQUENCE, _SET, _INTEGER, _OBJECT, _FIRST = 0x30, 0x31, 0x02, 0x06, 0xA0
_LONG = 0x80


class _Element(NamedTuple):
    """Where an element begins, where its content does, and where it ends."""

    tag: int
    begin: int
    content: int
    end: int


def in_order(reply: bytes) -> bytes:
    """Returns a TimeStampResp with its certificates in order; what is none of these as it is."""
    try:
        certificates = _certificates(reply)
        found = [reply[each.begin : each.end] for each in _elements(reply, certificates)]
    except (IndexError, ValueError):
        return reply
    return reply[: certificates.content] + b"".join(sorted(found)) + reply[certificates.end :]


def _certificates(raw: bytes) -> _Element:
    """Returns SignedData's certificates. Raises IndexError or ValueError if there are none."""
    response = _element(raw, 0, len(raw))
    (_, token) = _expected(raw, response, _SEQUENCE, _SEQUENCE)
    (_, explicit) = _expected(raw, token, _OBJECT, _FIRST)
    (signed,) = _expected(raw, explicit, _SEQUENCE)
    return _expected(raw, signed, _INTEGER, _SET, _SEQUENCE, _FIRST)[3]


def _expected(raw: bytes, within: _Element, *tags: int) -> list[_Element]:
    found = _elements(raw, within)[: len(tags)]
    if [each.tag for each in found] != list(tags):
        raise ValueError("another element was expected")
    return found


def _elements(raw: bytes, within: _Element) -> list[_Element]:
    found, at = [], within.content
    while at < within.end:
        found.append(_element(raw, at, within.end))
        at = found[-1].end
    return found


def _element(raw: bytes, at: int, end: int) -> _Element:
    length, content = raw[at + 1], at + 2
    if length >= _LONG:
        content += length - _LONG
        length = int.from_bytes(raw[at + 2 : content], "big")
    if content + length > end:
        raise ValueError("an element is longer than what it is in")
    return _Element(raw[at], at, content, content + length)
