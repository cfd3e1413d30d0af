"""Verify a sealed history: `python3 tools/verify_history.py DATABASE [KEY]`.

Written from docs/seals.md alone, and slow. Prints the first problem of each segment. Exit status: 0 proved (without
KEY: unbroken), 4 not. Leaves out what no hash has: `seg`, `exec.uid`, `exec.comm_id`, triggers, views and `meta`.
"""
import base64, hashlib, itertools, pathlib, sqlite3, struct, sys

NOTHING, NULL, MOST_LOST, MOST_ROWS, EXEC, RUN, RULE, HIT = bytes(32), -(2**63), 1000, 2**22, 1, 3, 6, 7
CLOCK = "(SELECT {} FROM clock WHERE clock.id = clock_id)"
STREAMS = {  # 1, execs, have their own way
    1: ("exec", "id"), 2: ("exit", "id, exec_id, duration_ns, status, replaced_by"),
    3: ("run", "id, boot_id, host, version"), 4: ("gap", "id, run_id, ts_from, ts_to, reason, count, exits, uid"),
    5: ("stray_exit", f"id, {CLOCK.format('run_id')}, {CLOCK.format('offset_ns')}, ts, pid, duration_ns, status"),
    6: ("rule", "id, uuid, title, level, tags, file"), 7: ("hit", "exec_id, rule_id, left_out"), 8: ("argv_grams", "id, bits"),
    9: ("seal_change", "id, exec_id, parent_was, parent_now, line_was, line_now"),
    10: ("seal_act", "id, at_ns, reason, execs, pruned, parts")}
# The columns of a launch and an origin; after a colon, the dictionary that the number leads to.
LAUNCH = ("uid euid gid user:user comm:comm filename:path exe:path cwd:path parent_comm:comm interpreter:path"
          " inode device nlink privileged root:path mnt_ns traced egid").split()
ORIGIN = "auid session login_user:user tty cgroup:path".split()

def need(is_right, text):
    if not is_right: raise ValueError(text)
def hashed(name, raw=b"", key=b""):
    return hashlib.blake2b(raw, digest_size=32, key=key, person=b"execaudit." + name).digest()
def values(row):
    def one(value):
        if value is None or isinstance(value, int):
            return b"\0" if value is None else struct.pack("<Bq", 1, value)
        raw = value if isinstance(value, bytes) else value.encode("utf-8", "surrogateescape")
        return struct.pack("<BQ", 2 if isinstance(value, bytes) else 3, len(raw)) + raw
    return b"".join(map(one, row))
def line_of(argv, cut):
    plain = b"\0" + argv if cut is None else b"\1" + values(cut) + argv
    return plain if len(argv) <= 256 else b"\2" + hashed(b"line", plain)
def exec_hash(numbers, launch, origin, line):
    packed = struct.pack("<13q", *(NULL if number is None else max(number, NULL + 1) for number in numbers))
    return hashed(b"exec", packed + hashed(b"group", values(launch)) + hashed(b"group", values(origin)) + line)

def root(count, leaves, gone):
    """`leaves`: the hashes of the rows that are there; `gone`: those of others, by level and place."""
    leaves, height = iter(leaves), next(level for level in range(9) if 8**level >= count)
    def node(level, at):
        if level == 0 or (level, at) in gone:
            return gone[level, at] if (level, at) in gone else next(leaves)
        return hashed(b"node", b"".join([node(level - 1, child) for child in range(at * 8, min(at * 8 + 8, -(-count // 8 ** (level - 1))))]))
    made = node(height, 0) if count else hashed(b"node")
    need(next(leaves, None) is None, "there are more rows than were sealed")
    return made
def leb(raw, at_end=None):
    """Takes a number from an iterator of bytes."""
    number = 0
    for shift, byte in zip(range(0, 70, 7), raw):
        number |= (byte & 127) << shift
        if byte < 128: return number
    return at_end  # None: what follows fails
def zigzag(raw):
    return -(number + 1 >> 1) if (number := leb(raw)) & 1 else number >> 1

def entries(raw, epoch, time, ends):
    """Yields bytes, epoch, time (us), runs and [(stream, first, last, rows)] of each entry; moves `ends`."""
    rest, begin = iter(raw), 0
    while (skipped := leb(rest, -1)) >= 0:
        epoch, time, runs, added = epoch + 1 + skipped, time + zigzag(rest), {}, []
        for _ in range(leb(rest)):
            run, started = leb(rest), time * 1000 + zigzag(rest)
            runs[run] = (started, *(time * 1000 + zigzag(rest) if leb(rest) else None for _ in range(2)))
        for _ in range(leb(rest)):
            stream, first, span = leb(rest), zigzag(rest), leb(rest)
            first, rows = ends[stream] + 1 + first, span - zigzag(rest)
            need(first > ends[stream] and span and 0 <= rows <= min(span if stream != HIT else MOST_ROWS, MOST_ROWS), "an entry is out of order")
            ends[stream] = first + span - 1
            added.append((stream, first, ends[stream], rows))
        yield raw[begin : (end := len(raw) - rest.__length_hint__())], epoch, time, runs, added
        begin = end
def key_of(node, epoch):
    for level in range(39, -1, -1): node = hashed(b"right" if epoch >> level & 1 else b"left", key=node)
    return node
def parse_key(text):
    letters = "".join(text.split()).upper().removeprefix("EXECAUDIT-VERIFY-1-").replace("-", "")
    raw = base64.b32decode(letters + "=" * (-len(letters) % 8))
    need(hashlib.blake2b(raw[:48], digest_size=3, person=b"execaudit.sum").digest() == raw[48:], "this is no verification key")
    return raw[:16], raw[16:48]
def act_parts(raw):
    raw = iter(raw)
    left = {(leb(raw), leb(raw)): bytes(itertools.islice(raw, 32)) for _ in range(leb(raw))}
    return left, [(first := leb(raw), first + leb(raw)) for _ in range(leb(raw))]
def gone_of(one, segment, stream):
    """Returns the hashes of deleted rows by entry, each by level and place. Raises ValueError if no act has them."""
    raw, act = one("SELECT parts, (SELECT parts FROM seal_act WHERE id = act_id) FROM seal_gone WHERE (seal_id, stream) = (?, ?)", segment, stream) or (b"", None)
    gone, rest = {}, iter(raw)
    need(not raw or act_parts(act)[0].get((segment, stream)) == hashed(b"gone", raw), "seal_gone is not what a pruning left")
    while (entry := leb(rest, -1)) >= 0:
        place = leb(rest), leb(rest)
        gone.setdefault(entry, {})[place] = bytes(itertools.islice(rest, 32))
    return gone

def exec_of(db, one, number):
    """Returns the hash of an exec as it was before prunings changed it."""
    def group(table, columns, number):
        names = [f"{name}_id, (SELECT v FROM {into} WHERE id = {name}_id)" if into else f"NULL, {name}" for name, _, into in (column.partition(":") for column in columns)]
        row = one(f"SELECT {', '.join(names)} FROM {table} WHERE id = ?", number) if number is not None else (None,) * 2 * len(columns)
        need(None not in (value for at, value in zip(row[::2], row[1::2]) if at is not None), f"{table} leads nowhere")
        return row[1::2]
    ts, kind, pid, tid, ppid, errno, parent, *end, clock, launch, origin, truncated, argv = one(
        "SELECT ts, kind, pid, ifnull(tid, pid), ppid, errno, parent_id, duration_ns, status, replaced_by, clock_id, launch_id,"
        " origin_id, truncated, argv_id FROM exec WHERE id = ?", number)
    offset, run = one("SELECT offset_ns, run_id FROM clock WHERE id = ?", clock)
    cut = one("SELECT argc, argv_bytes, holes, redacted FROM argv_cut WHERE exec_id = ?", number)
    line = line_of(one("SELECT v FROM argv WHERE id = ?", argv)[0], None if truncated is None else (truncated, *cut))
    need((truncated is None) == (cut is None), "argv_cut does not agree with exec")
    sql, long = "SELECT parent_was, parent_now, line_was, line_now FROM seal_change WHERE exec_id = ? ORDER BY id DESC", b"\2"
    for parent_was, parent_now, line_was, line_now in db.execute(sql, (number,)).fetchall():  # from the last to the first
        if line_was is not None and line_now is not None:
            need(line == line_now and truncated == 0, "a line is not as a pruning left it")
            line = long = line_was
        else:
            need(parent_was is not None and parent == parent_now and (parent or 0) < parent_was
                 and not one("SELECT 1 FROM exec WHERE id = ?", parent_was), "a parent is not as a pruning left it")
            parent = parent_was
    need(long[:1] == b"\2", "a line was cut, and by no pruning")
    return exec_hash((number, ts, ts - offset, run, kind, pid, tid, ppid, errno, parent, *end), group("launch", LAUNCH, launch), group("origin", ORIGIN, origin), line)

def check_segment(db, one, key, row, before, ends, totals):
    """Raises an error for the first problem. `before`: hash, code, chain, and epoch and time of the last entry (None: not known)."""
    number, chain, epoch, time, *_, raw, streams, row_hash, row_code = row
    digest, code, chain_before, last_epoch, last_time = before
    is_new, chain_row = chain != chain_before, one("SELECT id, chain, is_keyed, reason, begun_ns FROM seal_chain WHERE id = ?", chain)
    need(last_time in (None, time) and (last_epoch in (None, epoch) or is_new), "it does not follow the one before: something was cut off")
    digest = hashed(b"segm", digest + values([number, *chain_row, epoch, time, *ends.values()]))
    code, sealed, made = NOTHING if is_new or code is None else code, dict(ends), {}
    totals["parts"] += sum(map(bool, (gone := {each: gone_of(one, number, each) for each in STREAMS if ends[each] < row[3 + each]}).values()))
    for at, (part, now, now_us, runs, added) in enumerate(entries(raw, epoch, time, ends)):
        is_first = at == 0 and is_new and chain_row[2]
        boots = [one("SELECT boot_id FROM run WHERE id <= ? ORDER BY id DESC LIMIT 1", first - less)
                 for stream, first, *_ in added if stream == RUN for less in (0, 1)]
        most = 0 if is_first or not boots or boots[0] == boots[1] else MOST_LOST
        need(now - epoch - 1 <= most and not (is_first and now), "epochs were cut off")
        roots, epoch = [], now
        for stream, first, end, rows in added:
            (table, columns), parts = STREAMS[stream], gone[stream].get(at, {})
            name = columns.split(",")[0]
            need(not one(f"SELECT 1 FROM {table} WHERE {name} > ? AND {name} < ?", sealed[stream], first), f"{table} has rows that nobody sealed")
            need(not parts or stream not in {RUN, RULE}, f"{table} lacks rows that no pruning deletes")
            found = db.execute(f"SELECT {columns} FROM {table} WHERE {name} BETWEEN ? AND ? ORDER BY 1, {min(2, len(columns.split()))}", (first, end))
            leaves = [exec_of(db, one, each[0]) if stream == EXEC else hashed(b"row", values(each)) for each in found.fetchall()]
            totals["gone"] += rows - len(leaves) if stream == EXEC else 0
            roots.append(root(rows, leaves, parts))
            made[stream], sealed[stream] = hashed(b"stream", made.get(stream, NOTHING) + roots[-1]), end
        digest = hashed(b"entry", digest + values([part]) + b"".join(roots))
        code = hashed(b"mac", code + digest, key_of(key[1], epoch)) if key else None
        for run in (run for run in runs if not one("SELECT 1 FROM run WHERE id = ? AND version GLOB 'import *'", run)):
            old, totals["newest"] = totals["runs"].get(run, runs[run]), max(run, totals["newest"])
            need(run == totals["newest"] and old[0] == runs[run][0] and (old[1] is None or old == runs[run]), f"run {run} was over")
        totals["runs"], totals["last"] = totals["runs"] | runs, (epoch, now_us)
    need((digest, (*ends.values(),)) == (row_hash, row[4:14]) and streams == b"".join(bytes([each]) + made[each] for each in sorted(made)),
         "something was changed: its rows do not have its hash")
    need((not key or (chain_row[1], code) == (key[0], row_code)) if chain_row[2] else row_code is None, "its code is not of this key")

def problems(db, key):
    """Returns what is wrong. Nothing: the history is proved."""
    db.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
    db.execute("BEGIN")
    one, said, totals = lambda sql, *given: db.execute(sql, given).fetchone(), [], {"gone": 0, "newest": 0, "runs": {}, "parts": 0}
    ends, before, number = {stream: -(stream == 8) for stream in STREAMS}, (NOTHING, NOTHING, None, -1, 0), 0
    numbers = {stream: (table, columns.split(",")[0]) for stream, (table, columns) in STREAMS.items()}
    stripped = one("SELECT parts FROM seal_act WHERE reason = 'stripped' ORDER BY id DESC LIMIT 1")
    for row in db.execute("SELECT * FROM seal ORDER BY id").fetchall():
        totals["last"] = None, None
        try:
            need(number in (0, row[0] - 1), "segments before it are missing")
            if row[14]:
                check_segment(db, one, key, row, before, dict(ends), totals)
                continue
            totals["gone"] += max(row[4] - ends[EXEC], 0)
            need(stripped and any(low <= row[0] <= high for low, high in act_parts(stripped[0])[1]), "it has no entries, and no pruning says why")
            need(not any(one(f"SELECT 1 FROM {table} WHERE {name} BETWEEN ? AND ?", ends[stream] + 1, row[3 + stream])
                         for stream, (table, name) in numbers.items()), "there are rows where a pruning left none")
        except (ArithmeticError, ValueError, TypeError, LookupError, RuntimeError, struct.error, StopIteration) as exc:
            said.append(f"segment {row[0]}: {exc if isinstance(exc, ValueError) else 'rows are missing, or it cannot be read'}")
        finally:
            number, ends, before = row[0], dict(zip(STREAMS, row[4:14])), (row[16], row[17], row[1], *totals["last"])
    said += [f"{table}: it has rows that nobody sealed" for stream, (table, name) in numbers.items()
             if one(f"SELECT 1 FROM {table} WHERE {name} > ? OR {name} < ?", ends[stream], stream != 8)]
    pruned = db.execute("SELECT id, at_ns, top, ts_from, ts_to, execs, reason, finished FROM pruned ORDER BY id").fetchall()
    act, keyed = (one(f"SELECT {what} ORDER BY id DESC LIMIT 1") for what in ("pruned FROM seal_act", "is_keyed FROM seal_chain"))
    return said + [text for is_wrong, text in (
        ((act or pruned) and (act or [b""])[0] != hashed(b"pruned", b"".join(map(values, pruned))), "pruned: not as it was sealed"),
        ({run: (*times,) for run, *times in db.execute("SELECT id, started_ns, stopped_ns, seen_ns FROM run")} != totals["runs"], "run: not as sealed"),
        (totals["gone"] > sum(row[5] for row in pruned), "exec: more rows are gone than were pruned"),
        (one("SELECT 1 FROM argv_cut WHERE exec_id NOT IN (SELECT id FROM exec)") or one("SELECT count(*) FROM seal_gone")[0] != totals["parts"],
         "argv_cut or seal_gone: it has rows of nothing"),
        (one("SELECT 1 FROM seal_chain WHERE id NOT IN (SELECT chain_id FROM seal)"), "seal_chain: one seals nothing"),
        (not keyed or not keyed[0], "the last seal has no key: at most the history is unbroken"),
    ) if is_wrong]

if __name__ == "__main__":
    found = problems(sqlite3.connect(f"{pathlib.Path(sys.argv[1]).absolute().as_uri()}?mode=ro", uri=True, isolation_level=None), parse_key(sys.argv[2]) if sys.argv[2:] else None)
    print(*found, "not proved" if found else "proved" if sys.argv[2:] else "unbroken; without the key nobody knows who wrote it", sep="\n")
    sys.exit(4 if found else 0)
