"""Say which execs each probe would record on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from execaudit.capture import kprobes
from execaudit.capture.probe_options import SUCCESS, ProbeKind, ProbeOptions, resolve
from execaudit.errors import ProbeError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_KINDS = (ProbeKind.TRACEPOINT, ProbeKind.KPROBE)


@dataclass(frozen=True)
class ProbeCoverage:
    """One probe: whether it can be used, and which execs it would record (none if it cannot be used)."""

    probe: str
    usable: bool
    automatic: bool
    """`--probe auto` chooses it."""
    reason: str | None
    """Why it cannot be used."""
    successful: bool
    from_kernel: bool
    interpreters: bool
    failed: bool
    failed_32_bit: bool
    filtered: bool
    """Seccomp answers the call with an error. The kernel then does not reach the entry of the call."""
    filtered_otherwise: bool
    """Seccomp kills or traps the caller, or answers with 0. No probe sees these."""


_WORDS = {
    "successful": "successful execs",
    "from_kernel": "programs that the kernel starts",
    "interpreters": "interpreters of scripts",
    "failed": "failed execs",
    "failed_32_bit": "failed execs of 32-bit programs",
    "filtered": "execs that seccomp answers with an error",
    "filtered_otherwise": "execs that it kills, traps, answers with 0",
}


def look(tracefs: Path, symbols: Path) -> list[ProbeCoverage]:
    """Returns the coverage of each probe, from what tracefs and /proc/kallsyms say about the kernel."""
    automatic = _reason(ProbeOptions(), tracefs) is None and resolve(ProbeOptions(), tracefs).kind
    return [_coverage(kind, tracefs, symbols, automatic=kind is automatic) for kind in _KINDS]


def _coverage(kind: ProbeKind, tracefs: Path, symbols: Path, *, automatic: bool) -> ProbeCoverage:
    reason, functions = _reason(ProbeOptions(kind), tracefs), set()
    uses_functions = kind is ProbeKind.KPROBE
    if uses_functions and reason is None:
        try:
            functions = {entry.program for entry in kprobes.entries(symbols)}
        except ProbeError as exc:
            reason = exc.what
    usable = reason is None
    has_exec = (tracefs / "events" / SUCCESS).is_dir()
    return ProbeCoverage(
        kind.value,
        usable,
        automatic and usable,
        reason,
        successful=usable,
        from_kernel=usable and has_exec,
        interpreters=usable and has_exec,
        failed=usable,
        failed_32_bit=b"on_enter_compat_execve" in functions,
        filtered=usable and not uses_functions,
        filtered_otherwise=False,
    )


def _reason(options: ProbeOptions, tracefs: Path) -> str | None:
    try:
        resolve(options, tracefs)
    except ProbeError as exc:
        return exc.what
    return None


def as_text(coverages: Sequence[ProbeCoverage]) -> Iterator[str]:
    """Yields a table for a person: a line for each thing, a column for each probe."""
    width = max(map(len, _WORDS.values()))
    column = max(len(coverage.probe) for coverage in coverages)
    yield f"{'':<{width}}  " + "  ".join(f"{coverage.probe:<{column}}" for coverage in coverages).rstrip()
    for name, words in _WORDS.items():
        cells = (
            "yes" if getattr(coverage, name) else "no" if coverage.usable else "-" for coverage in coverages
        )
        yield f"{words:<{width}}  " + "  ".join(f"{cell:<{column}}" for cell in cells).rstrip()
    for coverage in coverages:
        if coverage.automatic:
            yield f"`--probe auto` takes {coverage.probe}"
        if coverage.reason is not None:
            yield f"{coverage.probe}: {coverage.reason}"
