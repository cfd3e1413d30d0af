"""Verify a sealed history: `python3 tools/verify_history.py DATABASE [KEY or @FILE]`.

Written from docs/seals.md alone, for Python 3.11, without code of execaudit; simple and slow. Prints the first problem
of each segment. Exit status: 0 proved (without KEY: unbroken), 4 not. Leaves out what no hash has: the time index
(`seg`), `exec.uid` and `exec.comm_id`, triggers, views and `meta`. `execaudit verify` looks at these too.
"""

# ruff: noqa: ANN001, ANN201, ANN202, C901, D103, E401, E501, PLR0912, PLR0914, PLR2004, S608, T201
# mypy: ignore-errors
# fmt: off
# (No types, and more than one thing a line: it is to be read beside the page, and to stay short.)

import base64, hashlib, itertools, pathlib, sqlite3, struct, sys

NOTHING, NULL, MOST_LOST, MOST_ROWS = bytes(32), -(2**63), 1000, 2**22
CLOCK = "(SELECT {} FROM clock WHERE clock.id = clock_id)"
STREAMS = {  # 1, execs, have their own way
    1: ("exec", "id"), 2: ("exit", "id, exec_id, duration_ns, status, replaced_by"), 3: ("run", "id, boot_id, host, version"),
    4: ("gap", "id, run_id, ts_from, ts_to, reason, count, exits, uid"),
    5: ("stray_exit", f"id, {CLOCK.format('run_id')}, {CLOCK.format('offset_ns')}, ts, pid, duration_ns, status"),
    6: ("rule", "id, uuid, title, level, tags, file"), 7: ("hit", "exec_id, rule_id, left_out"), 8: ("argv_grams", "id, bits"),
    9: ("seal_change", "id, exec_id, parent_was, parent_now, line_was, line_now"),
    10: ("seal_act", "id, at_ns, reason, execs, pruned, parts"),
}
EXEC, RUN, RULE, HIT = 1, 3, 6, 7
# The columns of a launch and an origin; after a colon the dictionary that the number leads to.
LAUNCH = ("uid euid gid user_id:user comm_id:comm filename_id:path exe_id:path cwd_id:path parent_comm_id:comm"
          " interpreter_id:path inode device nlink privileged root_id:path mnt_ns traced egid").split()
ORIGIN = "auid session login_user_id:user tty cgroup_id:path".split()

def hashed(name, raw=b"", key=b""):
    return hashlib.blake2b(raw, digest_size=32, key=key, person=b"execaudit." + name).digest()

def values(row):
    made = b""
    for value in row:
        if isinstance(value, str):
            value = value.encode("utf-8", "surrogateescape")
            made += struct.pack("<BQ", 3, len(value)) + value
        elif isinstance(value, bytes):
            made += struct.pack("<BQ", 2, len(value)) + value
        else:
            made += b"\0" if value is None else struct.pack("<Bq", 1, value)
    return made

def line_of(argv, cut):
    plain = b"\0" + argv if cut is None else b"\1" + values(cut) + argv
    return plain if len(argv) <= 256 else b"\2" + hashed(b"line", plain)

def exec_hash(numbers, launch, origin, line):
    numbers = struct.pack("<13q", *(NULL if number is None else number for number in numbers))
    return hashed(b"exec", numbers + hashed(b"group", values(launch)) + hashed(b"group", values(origin)) + line)

def root(count, leaves, gone):
    """`leaves`: the hashes of the rows that are there; `gone`: those of others, by level and place."""
    leaves, height = iter(leaves), next(level for level in range(9) if 8**level >= count)
    def node(level, at):
        if (level, at) in gone:
            return gone[level, at]
        if level == 0:
            return next(leaves)
        below = range(at * 8, min(at * 8 + 8, -(-count // 8 ** (level - 1))))
        return hashed(b"node", b"".join([node(level - 1, child) for child in below]))
    made = node(height, 0) if count else hashed(b"node")
    if next(leaves, None) is not None:
        raise ValueError("rows were added")
    return made

def leb(raw, at_end=None):
    """Takes a number from an iterator of bytes."""
    number = 0
    for shift, byte in zip(range(0, 70, 7), raw):
        number |= (byte & 127) << shift
        if byte < 128:
            return number
    if at_end is None:
        raise ValueError("a number has no end")
    return at_end

def zigzag(raw):
    number = leb(raw)
    return -(number + 1 >> 1) if number & 1 else number >> 1

def entries(raw, epoch, time, ends):
    """Yields bytes, epoch, time (us), runs and [(stream, first, last, rows)] of each entry; moves `ends`."""
    rest = iter(raw)
    while (skipped := leb(rest, -1)) >= 0:
        epoch, time, runs, added = epoch + 1 + skipped, time + zigzag(rest), {}, []
        for _ in range(leb(rest)):
            run, started = leb(rest), time * 1000 + zigzag(rest)
            runs[run] = (started, *(time * 1000 + zigzag(rest) if leb(rest) else None for _ in range(2)))
        for _ in range(leb(rest)):
            stream, first = leb(rest), zigzag(rest)
            first, span = ends[stream] + 1 + first, leb(rest)
            rows = span - zigzag(rest)
            if first <= ends[stream] or span < 1 or not 0 <= rows <= (MOST_ROWS if stream == HIT else min(span, MOST_ROWS)):
                raise ValueError("an entry is out of order")
            ends[stream] = first + span - 1
            added.append((stream, first, ends[stream], rows))
        left = rest.__length_hint__()
        yield raw[: len(raw) - left], epoch, time, runs, added
        raw, rest = raw[len(raw) - left :], iter(raw[len(raw) - left :])

def key_of(node, epoch):
    for level in range(39, -1, -1):
        node = hashed(b"right" if epoch >> level & 1 else b"left", key=node)
    return node

def parse_key(text):
    letters = "".join(text.split()).upper().removeprefix("EXECAUDIT-VERIFY-1-").replace("-", "")
    raw = base64.b32decode(letters + "=" * (-len(letters) % 8))
    if len(raw) != 51 or hashlib.blake2b(raw[:48], digest_size=3, person=b"execaudit.sum").digest() != raw[48:]:
        raise SystemExit("this is no verification key")
    return raw[:16], raw[16:48]

def act_parts(raw):
    raw = iter(raw)
    left = {(leb(raw), leb(raw)): bytes(itertools.islice(raw, 32)) for _ in range(leb(raw))}
    return left, [(first := leb(raw), first + leb(raw)) for _ in range(leb(raw))]

def gone_of(one, segment, stream):
    """Returns the hashes of deleted rows by entry, each by level and place. Raises ValueError if no act has them."""
    row = one("SELECT act_id, parts FROM seal_gone WHERE seal_id = ? AND stream = ?", segment, stream)
    gone, raw = {}, iter(row[1] if row else b"")
    if row and act_parts(one("SELECT parts FROM seal_act WHERE id = ?", row[0])[0])[0].get((segment, stream)) != hashed(b"gone", row[1]):
        raise ValueError("seal_gone is not what a pruning left")
    while (entry := leb(raw, -1)) >= 0:
        level, at = leb(raw), leb(raw)
        gone.setdefault(entry, {})[level, at] = bytes(itertools.islice(raw, 32))
    return gone

def exec_of(db, one, number):
    """Returns the hash of an exec as it was before prunings changed it."""
    def group(table, columns, number):
        if number is None:
            return [None] * len(columns)
        names = [column.split(":") for column in columns]
        row = one(f"SELECT {', '.join(name for name, *_ in names)} FROM {table} WHERE id = ?", number)
        return [one(f"SELECT v FROM {into[0]} WHERE id = ?", value)[0] if into and value is not None else value
                for value, (_, *into) in zip(row, names)]
    ts, kind, pid, tid, ppid, errno, parent, *end, clock, launch, origin, truncated, argv = one(
        "SELECT ts, kind, pid, ifnull(tid, pid), ppid, errno, parent_id, duration_ns, status, replaced_by, clock_id, launch_id,"
        " origin_id, truncated, argv_id FROM exec WHERE id = ?", number)
    offset, run = one("SELECT offset_ns, run_id FROM clock WHERE id = ?", clock)
    cut = one("SELECT argc, argv_bytes, holes, redacted FROM argv_cut WHERE exec_id = ?", number)
    line = line_of(one("SELECT v FROM argv WHERE id = ?", argv)[0], None if truncated is None else (truncated, *cut))
    changes = db.execute("SELECT parent_was, parent_now, line_was, line_now FROM seal_change WHERE exec_id = ? ORDER BY id DESC", (number,))
    long = b"\2"
    for parent_was, parent_now, line_was, line_now in changes.fetchall():  # from the last to the first
        if line_was is not None and line_now is not None:
            if line != line_now or truncated != 0:
                raise ValueError("a line is not as a pruning left it")
            line = long = line_was
        elif parent_was is None or parent != parent_now or (parent or 0) >= parent_was or one("SELECT 1 FROM exec WHERE id = ?", parent_was):
            raise ValueError("a parent is not as a pruning left it")
        else:
            parent = parent_was
    if (truncated is None) is not (cut is None) or long[:1] != b"\2":
        raise ValueError("a line was cut, and by no pruning")
    numbers = (number, ts, ts - offset, run, kind, pid, tid, ppid, errno, parent, *end)
    return exec_hash(numbers, group("launch", LAUNCH, launch), group("origin", ORIGIN, origin), line)

def check_segment(db, one, key, row, before, ends, totals):
    """Raises an error for the first problem. `before`: hash, code, chain, and epoch and time of the last entry (None: not known)."""
    number, chain, epoch, time, *_, raw, streams, row_hash, row_code = row
    digest, code, chain_before, *last = before
    chain_row = one("SELECT id, chain, is_keyed, reason, begun_ns FROM seal_chain WHERE id = ?", chain)
    is_new = chain != chain_before
    if (last[1] is None and not is_new) or (last[1] is not None and (last[1] != time or not is_new and last[0] != epoch)):
        raise ValueError("it does not follow the segment before: something was cut off")
    digest = hashed(b"segm", digest + values([number, *chain_row, epoch, time, *ends.values()]))
    code, begin, made, gone = NOTHING if is_new or code is None else code, dict(ends), {}, {}
    for at, (part, now, now_us, runs, added) in enumerate(entries(raw, epoch, time, ends)):
        boots = [one("SELECT boot_id FROM run WHERE id <= ? ORDER BY id DESC LIMIT 1", first - less)
                 for stream, first, *_ in added if stream == RUN for less in (0, 1)][:2]
        is_first = at == 0 and is_new and chain_row[2]
        if (is_first and (epoch >= 0 or now != 0)) or now - epoch - 1 > (MOST_LOST if boots and boots[0] != boots[1] and not is_first else 0):
            raise ValueError("epochs were cut off")
        roots, epoch = b"", now
        for stream, first, end, rows in added:
            table, columns = STREAMS[stream]
            name, gone[stream] = columns.split(",")[0], gone[stream] if stream in gone else gone_of(one, number, stream)
            if one(f"SELECT 1 FROM {table} WHERE {name} > ? AND {name} < ?", begin[stream], first):
                raise ValueError(f"rows were added to {table}")
            begin[stream], parts = end, gone[stream].get(at, {})
            if parts and stream in {RUN, RULE}:
                raise ValueError(f"no pruning deletes rows of {table}")
            found = db.execute(f"SELECT {columns} FROM {table} WHERE {name} BETWEEN ? AND ? ORDER BY 1, 2", (first, end)) if stream != EXEC else \
                db.execute("SELECT id FROM exec WHERE id BETWEEN ? AND ? ORDER BY 1", (first, end))
            leaves = [exec_of(db, one, *each) if stream == EXEC else hashed(b"row", values(each)) for each in found.fetchall()]
            totals["gone"] += rows - len(leaves) if stream == EXEC else 0
            try:
                roots += (tree := root(rows, leaves, parts))
            except StopIteration:
                raise ValueError(f"rows of {table} are missing") from None
            made[stream] = hashed(b"stream", made.get(stream, NOTHING) + tree)
        digest = hashed(b"entry", digest + values([part]) + roots)
        code = hashed(b"mac", code + digest, key_of(key[1], epoch)) if key else None
        totals["runs"] |= runs
        totals["last"] = epoch, now_us
    if digest != row_hash or streams != b"".join(bytes([each]) + made[each] for each in sorted(made)) or tuple(ends.values()) != row[4:14]:
        raise ValueError("it has other hashes than its rows: something was changed")
    if (row_code is not None) if not chain_row[2] else (key and (chain_row[1] != key[0] or code != row_code)):
        raise ValueError("its code is not of this key")

def verify(path, key, say):
    """Says each problem. Returns whether the history is proved."""
    db = sqlite3.connect(f"{pathlib.Path(path).absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    db.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
    db.execute("BEGIN")
    one, said = lambda sql, *given: db.execute(sql, given).fetchone(), []
    ends, before, totals, number = dict.fromkeys(STREAMS, 0), (NOTHING, NOTHING, None, -1, 0), {"gone": 0, "runs": {}}, 0
    act = one("SELECT parts FROM seal_act WHERE reason = 'stripped' ORDER BY id DESC LIMIT 1")
    stripped = act_parts(act[0])[1] if act else []
    for row in db.execute("SELECT * FROM seal ORDER BY id").fetchall():
        totals["last"] = None, None
        try:
            if row[0] != number + 1 and number:
                raise ValueError("segments before it are missing")
            if row[14]:
                check_segment(db, one, key, row, before, dict(ends), totals)
            elif not any(low <= row[0] <= high for low, high in stripped):
                raise ValueError("it has no entries, and no pruning says why")
            elif any(one(f"SELECT 1 FROM {table} WHERE {columns.split(',')[0]} BETWEEN ? AND ?", ends[stream] + 1, end)
                     for (stream, (table, columns)), end in zip(STREAMS.items(), row[4:14])):
                raise ValueError("there are rows of which it says that they were pruned")
            else:
                totals["gone"] += max(row[4] - ends[EXEC], 0)
        except (ValueError, TypeError, IndexError, KeyError, OverflowError, struct.error, StopIteration) as exc:
            said.append(f"segment {row[0]}: {exc}")
        number, ends, before = row[0], dict(zip(STREAMS, row[4:14])), (row[16], row[17], row[1], *totals["last"])
    for stream, (table, columns) in STREAMS.items():
        if one(f"SELECT 1 FROM {table} WHERE {columns.split(',')[0]} > ? OR {columns.split(',')[0]} < ?", ends[stream], stream != 8):
            said.append(f"{table}: there are rows that nobody sealed")
    for run, *times in db.execute("SELECT id, started_ns, stopped_ns, seen_ns FROM run").fetchall():
        if totals["runs"].get(run) != tuple(times):
            said.append(f"run {run}: its times are not those that were sealed last")
    pruned = db.execute("SELECT id, at_ns, top, ts_from, ts_to, execs, reason, finished FROM pruned ORDER BY id").fetchall()
    act = one("SELECT pruned FROM seal_act ORDER BY id DESC LIMIT 1")
    if (act[0] if act else b"") != (hashed(b"pruned", b"".join(map(values, pruned))) if act or pruned else b""):
        said.append("pruned: it is not what the last pruning sealed")
    if totals["gone"] > sum(row[5] for row in pruned):
        said.append("exec: more rows are gone than were pruned")
    if one("SELECT 1 FROM argv_cut WHERE exec_id NOT IN (SELECT id FROM exec)"):
        said.append("argv_cut: there are rows that no exec has")
    if one("SELECT 1 FROM seal_chain WHERE id NOT IN (SELECT chain_id FROM seal)"):
        said.append("seal_chain: there is a chain that seals nothing")
    last = one("SELECT is_keyed FROM seal_chain ORDER BY id DESC LIMIT 1")
    if not last or not last[0]:
        said.append("it is not sealed with a key: at most it is unbroken")
    for text in said:
        say(text)
    return not said

if __name__ == "__main__":
    text = sys.argv[2] if len(sys.argv) > 2 else ""
    text = pathlib.Path(text[1:]).read_text() if text.startswith("@") else text
    is_proved = verify(sys.argv[1], parse_key(text) if text else None, print)
    print("not proved" if not is_proved else "proved" if text else "unbroken; without the key nobody knows who wrote it")
    sys.exit(0 if is_proved else 4)
