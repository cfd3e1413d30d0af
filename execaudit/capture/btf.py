"""Look up struct member offsets and enum values of the running kernel in its BTF, with libbpf.

Every machine with BCC has libbpf, because libbcc is linked with it. The numbers below are those of the
format (Documentation/bpf/btf.rst in the kernel's source).
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from execaudit.errors import ProbeError

_BTF = Path("/sys/kernel/btf/vmlinux")
_KIND_STRUCT, _KIND_UNION, _KIND_ENUM = 4, 5, 6
# typedef, volatile, const, restrict, type_tag: a name or a qualifier of another type.
_QUALIFIERS = frozenset({8, 9, 10, 11, 18})


class _Type(ctypes.Structure):
    _fields_ = (
        ("name_off", ctypes.c_uint32),
        ("info", ctypes.c_uint32),
        ("size_or_type", ctypes.c_uint32),
    )


class _Enumerator(ctypes.Structure):
    _fields_ = (("name_off", ctypes.c_uint32), ("value", ctypes.c_int32))


class _Member(ctypes.Structure):
    _fields_ = (
        ("name_off", ctypes.c_uint32),
        ("type", ctypes.c_uint32),
        ("offset", ctypes.c_uint32),
    )


def load_libbpf() -> ctypes.CDLL:
    """Returns libbpf. Its functions keep the GIL, because to get it back would take longer than they do.

    Raises ProbeError when it is not installed.
    """
    for name in ("libbpf.so.1", "libbpf.so.0"):
        try:
            lib = ctypes.PyDLL(name, use_errno=True)
        except OSError:
            continue
        lib.libbpf_set_print(None)  # no warnings on stderr: this module raises an error for each
        return lib
    raise ProbeError("libbpf is not installed", fix="run `apt-get install python3-bpfcc`, which brings it")


class KernelTypes:
    """The types of the running kernel."""

    def __init__(self) -> None:
        """Raises ProbeError when the kernel has no BTF."""
        lib = load_libbpf()
        lib.btf__load_vmlinux_btf.restype = ctypes.c_void_p
        lib.btf__find_by_name_kind.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint32)
        lib.btf__find_by_name_kind.restype = ctypes.c_int32
        lib.btf__type_by_id.argtypes = (ctypes.c_void_p, ctypes.c_uint32)
        lib.btf__type_by_id.restype = ctypes.c_void_p
        lib.btf__name_by_offset.argtypes = (ctypes.c_void_p, ctypes.c_uint32)
        lib.btf__name_by_offset.restype = ctypes.c_char_p
        lib.btf__free.argtypes = (ctypes.c_void_p,)
        self._lib = lib
        self._btf = lib.btf__load_vmlinux_btf()
        # libbpf before 1.0 returns a small negative number as a pointer.
        if not self._btf or self._btf > 2**64 - 4096:
            if _BTF.exists():
                why = os.strerror(ctypes.get_errno())
                raise ProbeError(
                    f"the kernel's types in {_BTF} cannot be read: {why}",
                    fix="run it with `sudo`, or start execaudit.service",
                )
            raise ProbeError(
                f"this kernel has no BTF ({_BTF})", fix="boot one built with CONFIG_DEBUG_INFO_BTF=y"
            )

    def __enter__(self) -> KernelTypes:
        return self

    def __exit__(self, *_exc: object) -> None:
        # libbpf's copy is about 10 MB.
        self._lib.btf__free(self._btf)

    def offset(self, struct: str, member: str) -> int | None:
        """Returns the offset of a member in bytes, looking into anonymous structs and unions.

        None when this kernel has no such struct, or the struct no such member.
        """
        type_id = self._lib.btf__find_by_name_kind(self._btf, struct.encode(), _KIND_STRUCT)
        return self._search(type_id, member) if type_id > 0 else None

    def enumerator(self, enum: str, name: str) -> int | None:
        """Returns the value of a name in an enum (of 32 bits), or None when there is none."""
        type_id = self._lib.btf__find_by_name_kind(self._btf, enum.encode(), _KIND_ENUM)
        if type_id <= 0:
            return None
        address = self._lib.btf__type_by_id(self._btf, type_id)
        for index in range(_Type.from_address(address).info & 0xFFFF):
            value = _Enumerator.from_address(
                address + ctypes.sizeof(_Type) + index * ctypes.sizeof(_Enumerator)
            )
            if self._lib.btf__name_by_offset(self._btf, value.name_off).decode() == name:
                return int(value.value)
        return None

    def _search(self, type_id: int, wanted: str) -> int | None:
        address = self._lib.btf__type_by_id(self._btf, type_id)
        struct = _Type.from_address(address)
        has_bitfields = struct.info >> 31
        for index in range(struct.info & 0xFFFF):
            member = _Member.from_address(address + ctypes.sizeof(_Type) + index * ctypes.sizeof(_Member))
            bits = int(member.offset & 0xFFFFFF if has_bitfields else member.offset)
            name = self._lib.btf__name_by_offset(self._btf, member.name_off).decode()
            if name == wanted:
                return bits // 8
            if not name:
                inner_id = self._anonymous(member.type)
                inner = self._search(inner_id, wanted) if inner_id else None
                if inner is not None:
                    return bits // 8 + inner
        return None

    def _anonymous(self, type_id: int) -> int | None:
        """Returns the struct or union that a member without a name has as its type, or None."""
        while True:
            found = _Type.from_address(self._lib.btf__type_by_id(self._btf, type_id))
            kind = found.info >> 24 & 0x1F
            if kind in (_KIND_STRUCT, _KIND_UNION):
                return type_id
            if kind not in _QUALIFIERS:
                return None
            type_id = int(found.size_or_type)
