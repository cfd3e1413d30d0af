"""The keys of epochs. Each is forgotten when its epoch is sealed, and none leads back to another. Pure.

They are the leaves of a tree (Goldreich, Goldwasser, Micali, 1986): each node gives its two children, by a
keyed hash, and a child does not give its parent. The verification key is the root, so whoever has it gets any
epoch's key in 40 steps. The sealing key is what is left to the right of the last epoch: at most 40 nodes.
"""

from __future__ import annotations

import base64
from hashlib import blake2b
from typing import NamedTuple

from execaudit.errors import StoreError

LEVELS = 40
MOST_EPOCHS = 1 << LEVELS
KEY_BYTES = 32
CHAIN_BYTES = 16
_SUM_BYTES = 3
_LEFT, _RIGHT = b"execaudit.left", b"execaudit.right"
_WORD = "EXECAUDIT-VERIFY-1-"


def _child(node: bytes, bit: int) -> bytes:
    return blake2b(key=node, digest_size=KEY_BYTES, person=_RIGHT if bit else _LEFT).digest()


def authenticated(key: bytes, raw: bytes) -> bytes:
    """Returns the code by which who has an epoch's key vouches for bytes."""
    return blake2b(raw, key=key, digest_size=KEY_BYTES, person=b"execaudit.mac").digest()


class SealingKey:
    """The keys of an epoch and of all later ones."""

    def __init__(self, chain: bytes, epoch: int, nodes: dict[int, bytes]) -> None:
        """`nodes` by level: together they lead to the epochs from `epoch` on, and to no other."""
        self.chain, self.epoch = chain, epoch
        self.nodes = nodes

    @classmethod
    def new(cls, root: VerificationKey) -> SealingKey:
        """Returns the key of all epochs."""
        return cls(root.chain, 0, {LEVELS: root.root})

    def take(self) -> bytes:
        """Returns the key of `epoch`, and goes on to the next: then this one is forgotten."""
        # The lowest node is the one that leads to the epoch.
        level = min(self.nodes)
        node = self.nodes.pop(level)
        while level:
            level -= 1
            self.nodes[level] = _child(node, 1)
            node = _child(node, 0)
        self.epoch += 1
        return node

    def go_to(self, epoch: int) -> None:
        """Forgets the keys of all earlier epochs."""
        while self.epoch < epoch:
            level = min(self.nodes)
            node = self.nodes.pop(level)
            while level and self.epoch + (1 << level) > epoch > self.epoch:
                level -= 1
                if self.epoch + (1 << level) <= epoch:
                    self.epoch += 1 << level
                    node = _child(node, 1)
                else:
                    self.nodes[level] = _child(node, 1)
                    node = _child(node, 0)
            if self.epoch == epoch:
                self.nodes[level] = node
            else:
                self.epoch += 1 << level


class VerificationKey(NamedTuple):
    """What all keys of a chain come from. It is kept elsewhere."""

    chain: bytes
    """Which chain of seals it is for."""
    root: bytes

    def key_of(self, epoch: int) -> bytes:
        """Returns the key of an epoch."""
        node = self.root
        for level in reversed(range(LEVELS)):
            node = _child(node, epoch >> level & 1)
        return node

    def to_text(self) -> str:
        """Returns it as people keep it: capitals, digits and dashes, with a checksum."""
        raw = self.chain + self.root
        text = base64.b32encode(raw + _sum(raw)).decode().rstrip("=")
        return _WORD + "-".join(text[at : at + 6] for at in range(0, len(text), 6))

    @classmethod
    def from_text(cls, text: str) -> VerificationKey:
        """Returns what a text says, without regard to case and blanks. Raises StoreError."""
        plain = "".join(text.split()).upper()
        letters = plain.removeprefix(_WORD).replace("-", "")
        try:
            raw = base64.b32decode(letters + "=" * (-len(letters) % 8))
        except ValueError:  # binascii.Error is one, and what is not ASCII is another
            raw = b""
        rest, check = raw[:-_SUM_BYTES], raw[-_SUM_BYTES:]
        if not plain.startswith(_WORD) or len(rest) != CHAIN_BYTES + KEY_BYTES or check != _sum(rest):
            raise StoreError(
                "this is no verification key, or a character of it is missing or wrong",
                fix=f"give what `seal setup` printed: {_WORD}...",
            )
        return cls(rest[:CHAIN_BYTES], rest[CHAIN_BYTES:])


def _sum(raw: bytes) -> bytes:
    return blake2b(raw, digest_size=_SUM_BYTES, person=b"execaudit.sum").digest()
