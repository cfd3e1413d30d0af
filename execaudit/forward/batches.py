"""Make the batches of a history that is shipped, one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from execaudit.central.tables import EXEC, EXIT, GAP, HEAD, HIT, PRUNED, RULE, RUN
from execaudit.database.sealed_streams import Stream as Sealed
from execaudit.enums import GapReason
from execaudit.forward import other_rows
from execaudit.forward.flat import FlatRows
from execaudit.forward.target import Batch, Cursors

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from execaudit.central.tables import Table
    from execaudit.forward.seals import Made, Seals, State
    from execaudit.forward.source import Run, Source
    from execaudit.forward.target import Row, Stream

# So much of command lines in a batch, and one page more.
_MOST_BYTES = 4_000_000
# So often a host at rest says that it is there.
_REST_NS = 15_000_000_000
# All recorders and imports are looked at so often: an import may widen an old one. The newest, each time.
_RUNS_NS = 60_000_000_000
_NEWEST_RUNS = 10
_ARGV, _TS, _PID = (EXEC.names.index(name) for name in ("argv", "ts", "pid"))


class Next(NamedTuple):
    """A batch, and what is to be remembered when it has arrived."""

    batch: Batch
    execs: int
    argv_bytes: int
    upto: int
    """The local number up to which execs have arrived then."""
    last: tuple[int, tuple[int, int]] | None
    """The local number and the signature of its last exec."""
    only_exec: int | None
    """The local number of its exec, if it has only one and nothing else."""
    runs: dict[int, int]
    all_runs_ns: int | None
    """When all runs were looked at; None: they were not."""
    seals: State | None
    """Which seals come next; None: none are among these rows."""

    @property
    def has_history(self) -> bool:
        """Says whether it has more than how the recorder does."""
        return not self.batch.rows.keys() <= {RUN, PRUNED}


class _Execs(NamedTuple):
    """The execs that come next."""

    rows: list[Row]
    gaps: list[Row]
    upto: int
    argv_bytes: int
    last: tuple[int, tuple[int, int]] | None
    lost_ns: int
    """Wall clock until which ends may be missing, because they were pruned too; 0: none is."""


class Batches:
    """Knows what has arrived of a history, and makes what comes next."""

    def __init__(
        self,
        stream: Stream,
        arrived: Cursors | None,
        refused: Collection[int],
        last_ts: int | None = None,
        *,
        seals: Seals,
    ) -> None:
        """Goes on where the stream is, whose last exec has the time `last_ts`.

        `refused`: local numbers of execs that the centre does not take.
        """
        self._seals = seals
        self._stream, self._before, self._refused = stream, arrived, refused
        self._flat = FlatRows(stream.number, stream.shifts)
        self._upto = stream.shifts.exec.on_host(stream.cursors.exec_seq)
        self._last_ts = last_ts
        self._runs: dict[int, int] = {}
        self._all_runs_ns: int | None = None
        self._pruned: Sequence[Row] = ()
        self._head: Sequence[Row] = ()

    @property
    def arrived(self) -> tuple[bytes, int]:
        """The identity of the history, and the local number up to which its execs have arrived."""
        return self._stream.stream_id, self._upto if self._before is not None else 0

    def sent(self, following: Next) -> None:
        """Notes that a batch has arrived."""
        self._stream, self._before = following.batch.stream, following.batch.stream.cursors
        self._upto = following.upto
        self._runs.update(following.runs)
        if following.last is not None:
            self._last_ts = following.last[1][0]
        if following.all_runs_ns is not None:
            self._all_runs_ns = following.all_runs_ns
        self._pruned = following.batch.rows.get(PRUNED) or self._pruned
        self._head = following.batch.rows.get(HEAD) or self._head
        if following.seals is not None:
            self._seals.sent(following.seals)

    def next(self, source: Source, now_ns: int, most: int) -> Next | None:
        """Returns what comes next, with up to `most` rows of a table; None: there is nothing."""
        stream, shifts = self._stream, self._stream.shifts
        # What was sealed before any row is read, was there.
        sealed_upto = source.sealed.upto()
        # Before the execs are read: what is above is left for the next batch. And runs before that: they say
        # until when all is stored, and when these numbers have arrived, so has all until then.
        found, all_runs_ns = self._changed_runs(source, now_ns, most)
        last = source.last()
        execs = self._execs(source, last, most)
        rows: dict[Table, Sequence[Row]] = {EXEC: execs.rows, GAP: execs.gaps}
        cursors = stream.cursors._replace(exec_seq=shifts.exec.at_centre(execs.upto))
        runs: dict[int, int] = {}
        made: Made | None = None
        is_alone = most == 1 and execs.upto > self._upto
        # One exec alone: if it is refused, it is known which.
        if is_alone:
            all_runs_ns = None
        else:
            cursors = self._others(source, rows, cursors, most)
            rows[RUN] = other_rows.runs(stream.number, shifts, found)
            runs = {run.number: hash(run) for run in found}
            if found:
                cursors = cursors._replace(run_id=max(cursors.run_id, *(row[1] for row in rows[RUN])))
            prunings = [*other_rows.prunings(stream.number, shifts, source.pruned())]
            if prunings != self._pruned:
                rows[PRUNED] = prunings
            if sealed_upto is not None and len(found) < most:
                made = self._seals.make(
                    source.sealed, sealed_upto, self._ends(rows, execs.upto, most), now_ns
                )
                rows.update({} if made is None else made.rows)
        now = self._now(source, cursors, last, now_ns, execs.lost_ns)
        is_rest = self._before is not None and abs(now_ns - stream.contact_ns) < _REST_NS
        if (
            is_rest
            and now.live_run == stream.live_run
            and cursors == stream.cursors
            and not any(rows.values())
        ):
            if all_runs_ns is not None:
                self._all_runs_ns = all_runs_ns
            return None
        if not is_alone and (sealed := source.head()) is not None:
            heads = [other_rows.head(stream.number, sealed)]
            rows[HEAD] = [] if heads == self._head else heads
        return Next(
            Batch(now, self._before, {table: found for table, found in rows.items() if found}),
            len(execs.rows), execs.argv_bytes, execs.upto, execs.last, execs.upto if is_alone else None, runs, all_runs_ns,
            None if made is None else made.state,
        )  # fmt: skip

    def _ends(self, rows: Mapping[Table, Sequence[Row]], upto: int, most: int) -> dict[Sealed, int]:
        """Returns the local numbers up to which all rows are shipped, of the streams that have more."""
        ends, shifts = {Sealed.EXEC: upto}, self._stream.shifts
        for sealed, table, numbers, name in (
            (Sealed.EXIT, EXIT, shifts.exit, "id"),
            (Sealed.HIT, HIT, shifts.exec, "seq"),
            (Sealed.RULE, RULE, shifts.rule, "id"),
            (Sealed.GAP, GAP, shifts.gap, "id"),
        ):
            if len(its := rows[table]) >= most:
                ends[sealed] = numbers.on_host(its[-1][table.names.index(name)])
        return ends

    def _execs(self, source: Source, last: int, most: int) -> _Execs:
        """Returns the execs that come next, and gaps for those that cannot be shipped any more."""
        found: list[Row] = []
        gaps: list[Row] = []
        upto, size, missing, last_missing, latest = self._upto, 0, 0, 0, None
        while len(found) < most and size < _MOST_BYTES and upto < last:
            page = source.page(upto, last, most - len(found))
            if page is None:
                # All that there were have been pruned.
                missing, last_missing, upto = missing + last - upto, last, last
                break
            numbers = [row[0] for row in page.rows]
            if numbers[-1] - upto > len(numbers):
                missing += numbers[-1] - upto - len(numbers)
                before = [upto, *numbers[:-1]]
                last_missing = max(n - 1 for n, b in zip(numbers, before, strict=True) if n - b > 1)
            nonsense = [number for number in numbers if number in self._refused]
            if nonsense:
                page = page._replace(rows=[row for row in page.rows if row[0] not in self._refused])
            made = [*self._flat.of(page, nonsense)]
            gaps += self._unstorable(source, nonsense)
            found += made
            size += sum(len(row[_ARGV]) for row in made)
            upto = numbers[-1]
            if made:
                latest = upto, (made[-1][_TS], made[-1][_PID])
        lost_ns = 0
        if missing:
            gap = self._not_forwarded(source, missing, last_missing)
            gaps.append(gap)
            lost_ns = gap[GAP.names.index("ts_to")]
        last_exec = latest if latest is not None and latest[0] == upto else None
        return _Execs(found, gaps, upto, size, last_exec, lost_ns)

    def _unstorable(self, source: Source, numbers: Sequence[int]) -> list[Row]:
        """Returns gaps for execs that make no sense, or that the centre refuses."""
        gaps = []
        for number in numbers:
            row = source.signature("exec", number, number - 1)
            ts = 0 if row is None else row[1][0]
            seq = self._stream.shifts.exec.at_centre(number)
            gaps.append(
                other_rows.gap_of(
                    self._stream.number, seq, self._stream.host, (ts, ts), (GapReason.UNSTORABLE, 1)
                )
            )
        return gaps

    def _not_forwarded(self, source: Source, missing: int, last: int) -> Row:
        """Returns the gap for execs that were pruned before they were shipped; `last` is the last of them."""
        lost = source.lost_after(self._upto)
        start, end = (0, 0) if lost is None else (lost.ts_from, lost.ts_to)
        # A pruning notes the first time that it looked at, which may have been shipped.
        if self._last_ts is not None and start < self._last_ts <= end:
            start = self._last_ts
        seq = self._stream.shifts.exec.at_centre(last)
        return other_rows.gap_of(
            self._stream.number, seq, self._stream.host, (start, end), (GapReason.NOT_FORWARDED, missing)
        )

    def _others(
        self, source: Source, rows: dict[Table, Sequence[Row]], cursors: Cursors, most: int
    ) -> Cursors:
        """Adds the rows of tables that are only appended to. Returns the cursors with them."""
        number, shifts, before = self._stream.number, self._stream.shifts, self._stream.cursors
        ends = source.ends(shifts.exit.on_host(before.exit_id), most)
        hits = source.hits(shifts.exec.on_host(before.hit_seq), most)
        rules = source.rules(shifts.rule.on_host(before.rule_id), most)
        gaps = source.gaps(shifts.gap.on_host(before.gap_id), most)
        rows[EXIT] = other_rows.ends(number, shifts, ends)
        rows[HIT] = other_rows.hits(number, shifts, hits)
        rows[RULE] = other_rows.rules(number, shifts, rules)
        rows[GAP] = [*rows[GAP], *other_rows.gaps(number, shifts, gaps)]
        return cursors._replace(
            exit_id=shifts.exit.at_centre(ends[-1].number) if ends else before.exit_id,
            hit_seq=shifts.exec.at_centre(hits[-1].exec) if hits else before.hit_seq,
            rule_id=shifts.rule.at_centre(rules[-1].number) if rules else before.rule_id,
            gap_id=shifts.gap.at_centre(gaps[-1].number) if gaps else before.gap_id,
        )

    def _changed_runs(self, source: Source, now_ns: int, most: int) -> tuple[list[Run], int | None]:
        """Returns runs that are not as they were shipped, and the time if all were looked at."""
        known = self._runs
        looked_ns = self._all_runs_ns
        newest = source.newest_runs(_NEWEST_RUNS)
        changed = [run for run in newest if known.get(run.number) != hash(run)]
        if looked_ns is not None and abs(now_ns - looked_ns) < _RUNS_NS:
            return changed[:most], None
        after, changed = 0, []
        while runs := source.runs(after, most):
            changed += [run for run in runs if known.get(run.number) != hash(run)]
            after = runs[-1].number
            if len(changed) >= most:
                return changed[:most], None
        return changed, now_ns

    def _now(self, source: Source, cursors: Cursors, last: int, now_ns: int, lost_ns: int) -> Stream:
        """Returns the stream as it is then."""
        shifts, recording, run = self._stream.shifts, source.recording(), source.newest_run()
        host, version = run or (self._stream.host, self._stream.version)
        live_run = None if recording.run_id is None else shifts.run.at_centre(recording.run_id)
        if live_run == self._stream.live_run:
            lost_ns = max(lost_ns, self._stream.lost_ns or 0)
        lost_ns = 0 if live_run is None else max(lost_ns, recording.lost_ns)
        return self._stream._replace(
            host=host,
            version=version,
            contact_ns=now_ns,
            last_seq=shifts.exec.at_centre(last),
            cursors=cursors,
            live_run=live_run,
            lost_ns=lost_ns,
            continued=other_rows.continued(shifts, () if lost_ns else recording.continued),
        )
