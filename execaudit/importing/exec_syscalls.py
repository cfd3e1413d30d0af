"""The numbers of execve and execveat, by architecture as audit names it. Pure.

An architecture is its ELF machine (linux/elf-em.h), with a bit for 64 bits and one for little endian
(AUDIT_ARCH_* in linux/audit.h). The numbers are those of the kernel's tables of system calls.
"""

from __future__ import annotations

_64, _LITTLE = 0x80000000, 0x40000000
_X32 = 0x40000000
# The generic table (include/uapi/asm-generic/unistd.h), of architectures that are newer than it.
_GENERIC = frozenset({221, 281})
_NUMBERS: dict[int, frozenset[int]] = {
    62 | _64 | _LITTLE: frozenset({59, 322, _X32 | 520, _X32 | 545}),  # x86_64, and x32
    3 | _LITTLE: frozenset({11, 358}),  # i386
    183 | _64 | _LITTLE: _GENERIC,  # aarch64
    40 | _LITTLE: frozenset({11, 387}),  # arm
    40: frozenset({11, 387}),
    243 | _64 | _LITTLE: _GENERIC,  # riscv64
    243 | _LITTLE: _GENERIC,
    258 | _64 | _LITTLE: _GENERIC,  # loongarch64
    21 | _64: frozenset({11, 362}),  # ppc64
    21 | _64 | _LITTLE: frozenset({11, 362}),
    20: frozenset({11, 362}),
    22 | _64: frozenset({11, 354}),  # s390x
    22: frozenset({11, 354}),
    43 | _64: frozenset({59, 350}),  # sparc64
    2: frozenset({59, 350}),
    8: frozenset({4011, 4356}),  # mips, o32
    8 | _LITTLE: frozenset({4011, 4356}),
    8 | _64: frozenset({5057, 5316}),  # n64
    8 | _64 | _LITTLE: frozenset({5057, 5316}),
    15: frozenset({11, 342}),  # parisc
    15 | _64: frozenset({11, 342}),
    4: frozenset({11, 355}),  # m68k
}
_NAMES = frozenset({b"execve", b"execveat"})


def is_exec(arch: bytes | None, number: bytes | None, name: bytes | None) -> bool | None:
    """Says whether a system call is an exec, given what a record has of it; None: not known.

    `name` is what auditd wrote, if the log is enriched, or `ausearch`.
    """
    if name is not None:
        return name in _NAMES
    if number is not None and number in _NAMES:
        return True
    try:
        known = _NUMBERS.get(int(arch or b"", 16))
        return None if known is None else int(number or b"") in known
    except ValueError:
        return None
