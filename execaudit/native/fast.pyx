# cython: language_level=3, wraparound=False, embedsignature=False
"""What is done to each ordinary exec, compiled: from a wire record to an event, to a row and to a line of text.

Each function does what a function in Python does, which is its reference and is used where this module was
not built, such as `Assembler.feed`, `Inserts._rows` and `JsonLines.line`. It returns None for whatever is not
ordinary, and then the function in Python is called. So this module has no rules of its own, and nothing but
speed depends on it. tests/native compares the two.

Records are bytes that an attacker can shape: each length is compared with what is there before it is used.
The layout of a record is that of bpf/execaudit.h, which is included.

It has more than 400 lines, in the order of an exec's path: ring, records to events, events to lines, weights,
rows, numbers of values; then rows to lines, and counts. In one module they share what writes into memory, and call each
other without Python.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_GetItemWithError
from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Realloc
from cpython.object cimport PyObject, PyTypeObject
from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy, memset, strlen

import os

cdef extern from "execaudit.h":
    enum:
        EA_EXEC
        EA_EXIT
        EA_LAST
        EA_UNKNOWN
        EA_STR_FILENAME
        EA_STR_INTERP
        EA_STR_TTY
        EA_STR_CGROUP
        EA_STR_CWD
        EA_STR_EXE
        EA_STR_ROOT
        EA_PATH_CGROUP
        EA_PATH_ROOT

    struct ea_head:
        uint64_t boot_ns
        uint32_t tid
        uint32_t pid
        uint32_t total
        uint32_t argc
        uint32_t len
        uint16_t size
        uint8_t type
        uint8_t flags
        uint32_t seq

    struct ea_exec:
        ea_head head
        uint64_t parent_ns
        uint32_t parent_pid
        uint32_t caller_tid
        uint32_t ppid
        int32_t ret
        uint32_t auid
        uint32_t session
        uint32_t replaces
        uint32_t account
        uint16_t *str_len
        uint32_t path_flags

    struct ea_exit:
        ea_head head
        uint64_t image_ns
        uint32_t image_pid
        uint32_t status

cdef extern from *:
    """
    #include <stddef.h>
    /* A length of 32 bits must fit into a Py_ssize_t. */
    #if SIZEOF_SIZE_T < 8
    #error "only for processors of 64 bits"
    #endif
    #define EA_LAUNCH_AT offsetof(struct ea_exec, str_len)
    #define EA_ONE_PATH 255

    /* A new tuple of a type that derives from tuple; its items are NULL until they are set. */
    static PyObject *new_tuple(PyObject *type, Py_ssize_t size)
    {
        PyObject *made = ((PyTypeObject *)type)->tp_alloc((PyTypeObject *)type, size);
    #if PY_VERSION_HEX >= 0x030E0000
        /* A tuple remembers its hash; -1: not known yet. */
        if (made)
            ((PyTupleObject *)made)->ob_hash = -1;
    #endif
        return made;
    }

    /* The flags of a record in a BPF ring buffer (BPF_RINGBUF_*_BIT). */
    #define RING_BUSY (1U << 31)
    #define RING_DISCARDED (1U << 30)
    #define RING_LENGTH (RING_DISCARDED - 1)

    static uint32_t loaded(const uint32_t *word)
    {
        return __atomic_load_n(word, __ATOMIC_ACQUIRE);
    }

    static void fence(void)
    {
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
    }

    static int subtracted(int64_t from, int64_t what, int64_t *left)
    {
        return __builtin_sub_overflow(from, what, left);
    }

    static PyObject *ascii_text(Py_ssize_t size)
    {
        return PyUnicode_New(size, 127);
    }
    """
    size_t EA_LAUNCH_AT
    uint32_t RING_BUSY, RING_DISCARDED, RING_LENGTH
    uint32_t loaded(const uint32_t *) noexcept
    void fence() noexcept
    bint subtracted(int64_t, int64_t, int64_t *) noexcept
    uint32_t EA_ONE_PATH
    object new_tuple(PyObject *type, Py_ssize_t size)
    object ascii_text(Py_ssize_t size)

cdef extern from "Python.h":
    void PyTuple_SET_ITEM(object, Py_ssize_t, object)
    char *PyUnicode_1BYTE_DATA "(char *)PyUnicode_1BYTE_DATA"(object)
    bint PyUnicode_IS_COMPACT_ASCII(object)
    Py_ssize_t PyUnicode_GET_LENGTH(object)
    bint PyUnicode_CheckExact(object)
    bint PyLong_CheckExact(object)
    long long PyLong_AsLongLongAndOverflow(object, int *) except? -1
    Py_ssize_t PY_SSIZE_T_MAX

cdef enum:
    # An exec id has room for so many bits, and has so many characters: see exec_id.py.
    BOOT_BITS = 28
    TIME_BITS = 60
    TASK_BITS = 22
    ID_LENGTH = 22
    SECOND_LENGTH = 20  # 2026-11-22T14:05:07.
    DATE_LENGTH = 11
    DAY_SECONDS = 86400
    RING_HEAD = 8
    NANOSECONDS = 1000000000
    EVENT_ITEMS = 21
    # See interning.py.
    MOST_REMEMBERED = 1024
    # See backlog.py and line_size.py.
    HOLE_BYTES = 100
    NUL_CHARACTERS = 5
    # See trigram_bitmap.py.
    BITS_BYTES = 16
    # Longer command lines are written in Python.
    MOST_ARGV = 16384
    LONGEST_REMEMBERED = 4096
    # The characters that a byte of argv makes at most: an apostrophe in a word of the command, '\"'\"', and
    # its own in argv.
    MOST_EACH = 16
    # Those of a line beside its texts.
    REST = 1024
    # See rows.py.
    ROW_ITEMS = 16
    SIGNAL = 127
    STATUS_SHIFT = 8
    # What a page is written to at first, and what is kept for the next one.
    ROOM = 1024 * 1024
    MOST_ROOM = 8 * 1024 * 1024
    # What two remembered texts take beside their bytes.
    SHARED_BYTES_EACH = 300
    # Of each field of them, so many short texts are remembered too.
    MOST_VALUES = 2048
    LONGEST_VALUE = 256
    # More may not fit into 64 bits.
    MOST_DIGITS = 18


cdef inline void put(object tuple_, Py_ssize_t at, object value):
    """Sets an item of a new tuple, which takes a reference."""
    Py_INCREF(value)
    PyTuple_SET_ITEM(tuple_, at, value)


def take(window, begin, sent, stop, offset, list records):
    """Appends the records between the positions `begin` and `sent` of a ring: the loop of `ringbuf.Ring.take`.

    `window` is the memory whose first byte has the position `offset`. It stops at a position from `stop` on,
    or before a record that is being written. Returns the position where it stopped.
    """
    cdef Py_buffer memory
    cdef uint64_t at, end, last, size
    cdef uint32_t head, length
    PyObject_GetBuffer(window, &memory, PyBUF_SIMPLE)
    try:
        # These are offsets in the window.
        at, end, last, size = begin - offset, sent - offset, stop - offset, memory.len
        while at < end and at < last and size >= RING_HEAD and at <= size - RING_HEAD:
            head = loaded(<const uint32_t *>(<const char *>memory.buf + at))
            if head & RING_BUSY:
                break
            length = head & RING_LENGTH
            if not head & RING_DISCARDED:
                # No record is longer than the window. If one were, its beginning would count as unreadable.
                records.append(
                    PyBytes_FromStringAndSize(
                        <const char *>memory.buf + at + RING_HEAD, min(<uint64_t>length, size - at - RING_HEAD)
                    )
                )
            at += (length + RING_HEAD + 7) & ~<uint64_t>7
        # The bytes must be read before the caller gives their room back.
        fence()
        return offset + at
    finally:
        PyBuffer_Release(&memory)


cdef class Decoder:
    """Makes events of records: `Assembler.feed` for an exec that is one whole record, and for an end."""

    cdef object _event_type, _exit_type, _key_type, _exec, _boot, _boot_id
    cdef dict _launches, _origins
    cdef object _launch, _origin, _root
    cdef public object host
    # What the exec before had, if that was in the same call: neighbours mostly have the same.
    cdef bytes _last_launch_bytes, _last_origin_bytes
    cdef object _last_launch, _last_origin, _last_parent
    cdef uint32_t[4] _last_origin_numbers
    cdef uint64_t _last_parent_ns
    cdef uint32_t _last_parent_pid

    def __cinit__(self, types, kind, machine, boot, launches, origins, launch, origin, root):
        """`types` are ExecEvent, ExitEvent and ExecKey.

        `launches` and `origins` remember what was decoded; `launch` and `origin` are called with the bytes
        of one that is not in them, and `root` with a pid and a ppid.
        """
        self._event_type, self._exit_type, self._key_type = types
        for each in types:
            if not issubclass(each, tuple):
                raise TypeError("no tuple")
        self._exec = kind
        self.host, self._boot_id = machine.host, machine.boot_id
        self._boot = boot
        self._launches, self._origins = launches, origins
        self._launch, self._origin, self._root = launch, origin, root

    cdef object _key(self, uint64_t boot_ns, uint32_t pid):
        key = new_tuple(<PyObject *>self._key_type, 3)
        put(key, 0, self._boot)
        put(key, 1, boot_ns)
        put(key, 2, pid)
        return key

    def events(self, records, Py_ssize_t first, wall_offset_ns, list events):
        """Appends the events of records, from the one at index `first`, until one is not ordinary.

        Returns the index of that one, for `Assembler.feed` to look at, or the number of records.
        """
        cdef Py_ssize_t at = first
        cdef list those = records if isinstance(records, list) else list(records)
        # What was decoded is forgotten between calls, because users get other names.
        self._last_launch_bytes = self._last_origin_bytes = self._last_parent = None
        while at < len(those):
            record = those[at]
            try:
                event = self._any(record, wall_offset_ns)
            except Exception:
                event = None  # the assembler meets it again, and knows what to do
            if event is None:
                return at
            events.append(event)
            at += 1
        return at

    cdef object _any(self, object record, object wall_offset_ns):
        cdef ea_head head
        cdef const char *raw
        cdef Py_ssize_t size
        if not PyBytes_CheckExact(record):
            return None
        size = PyBytes_GET_SIZE(record)
        if size < <Py_ssize_t>sizeof(ea_head):
            return None
        raw = PyBytes_AS_STRING(record)
        memcpy(&head, raw, sizeof(ea_head))
        if head.type == EA_EXEC:
            return self._event(raw, size, wall_offset_ns)
        if head.type == EA_EXIT:
            return self._end(raw, size, wall_offset_ns)
        return None

    cdef object _end(self, const char *raw, Py_ssize_t size, object wall_offset_ns):
        cdef ea_exit end
        if size < <Py_ssize_t>sizeof(ea_exit):
            return None
        memcpy(&end, raw, sizeof(ea_exit))
        # Of a program that ran before the probe, another function knows the key.
        if not end.image_ns or (end.head.boot_ns | end.image_ns) >> TIME_BITS:
            return None
        if (end.head.pid | end.image_pid) >> TASK_BITS:
            return None
        boot_ns = <object>end.head.boot_ns
        time_ns, key = boot_ns + wall_offset_ns, self._key(end.image_ns, end.image_pid)
        event = new_tuple(<PyObject *>self._exit_type, 5)
        put(event, 0, key)
        put(event, 1, time_ns)
        put(event, 2, boot_ns)
        put(event, 3, end.head.pid)
        put(event, 4, end.status)
        return event

    cdef object _event(self, const char *raw, Py_ssize_t size, object wall_offset_ns):
        cdef ea_exec fixed
        cdef ea_head *head = &fixed.head
        cdef Py_ssize_t tty_at, cwd_at, argv_at
        if size < <Py_ssize_t>sizeof(ea_exec):
            return None
        memcpy(&fixed, raw, sizeof(ea_exec))
        if head.size != sizeof(ea_exec):
            return None
        if head.flags != EA_LAST or head.seq or head.total != head.len or head.argc == EA_UNKNOWN:
            return None
        if (head.boot_ns | fixed.parent_ns) >> TIME_BITS:
            return None
        if (head.tid | head.pid | fixed.parent_pid | fixed.caller_tid) >> TASK_BITS:
            return None
        tty_at = sizeof(ea_exec) + fixed.str_len[EA_STR_FILENAME] + fixed.str_len[EA_STR_INTERP]
        cwd_at = tty_at + fixed.str_len[EA_STR_TTY] + fixed.str_len[EA_STR_CGROUP]
        argv_at = cwd_at + fixed.str_len[EA_STR_CWD] + fixed.str_len[EA_STR_EXE] + fixed.str_len[EA_STR_ROOT]
        if size - argv_at < <Py_ssize_t>head.len:
            return None
        launch = self._launch_in(raw + EA_LAUNCH_AT, tty_at - <Py_ssize_t>EA_LAUNCH_AT, raw + cwd_at, argv_at - cwd_at)
        origin = self._origin_in(&fixed, raw + tty_at, cwd_at - tty_at)
        replaces = fixed.replaces != 0
        if not fixed.parent_ns:
            parent = self._root(fixed.parent_pid, fixed.ppid if replaces else None)
        elif (
            self._last_parent is not None
            and self._last_parent_ns == fixed.parent_ns
            and self._last_parent_pid == fixed.parent_pid
        ):
            parent = self._last_parent
        else:
            parent = self._last_parent = self._key(fixed.parent_ns, fixed.parent_pid)
            self._last_parent_ns, self._last_parent_pid = fixed.parent_ns, fixed.parent_pid
        boot_ns = <object>head.boot_ns
        time_ns = boot_ns + wall_offset_ns
        event = new_tuple(<PyObject *>self._event_type, EVENT_ITEMS)
        put(event, 0, self._exec)
        put(event, 1, self.host)
        put(event, 2, self._boot_id)
        put(event, 3, time_ns)
        put(event, 4, boot_ns)
        put(event, 5, head.pid)
        put(event, 6, fixed.caller_tid)
        put(event, 7, fixed.ppid)
        put(event, 8, PyBytes_FromStringAndSize(raw + argv_at, head.len))
        put(event, 9, head.argc)
        put(event, 10, head.total)
        put(event, 11, ())
        put(event, 12, None)
        put(event, 13, None)
        put(event, 14, launch)
        put(event, 15, origin)
        put(event, 16, parent)
        put(event, 17, replaces)
        put(event, 18, None)
        put(event, 19, fixed.account)
        put(event, 20, ())
        return event


    cdef object _launch_in(self, const char *head, Py_ssize_t head_size, const char *paths, Py_ssize_t paths_size):
        """Returns the launch that two parts of a record have."""
        cdef bytes last = self._last_launch_bytes
        cdef char *joined
        cdef PyObject *known
        if last is not None and PyBytes_GET_SIZE(last) == head_size + paths_size:
            joined = PyBytes_AS_STRING(last)
            if not memcmp(joined, head, head_size) and not memcmp(joined + head_size, paths, paths_size):
                return self._last_launch
        raw = PyBytes_FromStringAndSize(NULL, head_size + paths_size)
        joined = PyBytes_AS_STRING(raw)
        memcpy(joined, head, head_size)
        memcpy(joined + head_size, paths, paths_size)
        known = PyDict_GetItemWithError(self._launches, raw)
        launch = self._launch(raw) if known is NULL else <object>known
        self._last_launch_bytes, self._last_launch = raw, launch
        return launch

    cdef object _origin_in(self, const ea_exec *fixed, const char *texts, Py_ssize_t size):
        """Returns the origin that a record has."""
        cdef uint32_t[4] numbers
        cdef bytes last = self._last_origin_bytes
        cdef PyObject *known
        numbers[0], numbers[1], numbers[2] = fixed.auid, fixed.session, fixed.str_len[EA_STR_TTY]
        numbers[3] = fixed.path_flags // EA_PATH_CGROUP & EA_ONE_PATH
        if (
            last is not None
            and PyBytes_GET_SIZE(last) == size
            and not memcmp(PyBytes_AS_STRING(last), texts, size)
            and not memcmp(numbers, self._last_origin_numbers, sizeof(numbers))
        ):
            return self._last_origin
        raw = PyBytes_FromStringAndSize(texts, size)
        # A RawOrigin, which is equal to this tuple.
        key = (numbers[0], numbers[1], numbers[2], numbers[3], raw)
        known = PyDict_GetItemWithError(self._origins, key)
        origin = self._origin(key) if known is NULL else <object>known
        memcpy(self._last_origin_numbers, numbers, sizeof(numbers))
        self._last_origin_bytes, self._last_origin = raw, origin
        return origin


# How a byte may stand in a word of a command: not at all; as it is; in single quotes. See escaping.shell_quote.
cdef enum:
    ODD
    BARE
    QUOTED

cdef unsigned char[256] STANDS
cdef int _byte
for _byte in range(256):
    STANDS[_byte] = ODD
    if 32 <= _byte < 127:
        STANDS[_byte] = BARE if chr(_byte).isalnum() or chr(_byte) in "_@%+=:,./-" else QUOTED

cdef const char *BASE32 = b"0123456789abcdefghjkmnpqrstvwxyz"


cdef inline char *copied(char *out, const char *text, Py_ssize_t size) noexcept:
    memcpy(out, text, size)
    return out + size


cdef inline char *literal(char *out, const char *text) noexcept:
    """Copies a text without a NUL."""
    return copied(out, text, strlen(text))


cdef inline char *number_written(char *out, uint64_t number) noexcept:
    cdef char[20] digits
    cdef int at = 20
    while True:
        at -= 1
        digits[at] = 48 + number % 10
        number //= 10
        if not number:
            return copied(out, digits + at, 20 - at)


cdef inline char *id_written(char *out, uint64_t boot, uint64_t boot_ns, uint64_t task) noexcept:
    """Writes an exec id: 110 bits, five for each character."""
    # Two halves of 60 and 50 bits.
    cdef uint64_t slow = boot << 32 | boot_ns >> 28, rest = (boot_ns & ((<uint64_t>1 << 28) - 1)) << TASK_BITS | task
    cdef int at
    for at in range(12):
        out[at] = BASE32[slow >> (55 - 5 * at) & 31]
    for at in range(10):
        out[12 + at] = BASE32[rest >> (45 - 5 * at) & 31]
    return out + ID_LENGTH


cdef inline char *quoted_byte(char *out, unsigned char byte) noexcept:
    """Writes a printable character as it stands within a text of JSON."""
    if byte == c'"' or byte == c"\\":
        out[0] = c"\\"
        out += 1
    out[0] = byte
    return out + 1


cdef inline bint is_ascii(object text) noexcept:
    return PyUnicode_CheckExact(text) and PyUnicode_IS_COMPACT_ASCII(text)


cdef inline bint as_number(object number, uint64_t *value):
    """Says whether `number` is an int from 0 to 2**63 - 1, and sets `value` to it."""
    cdef int overflow = 0
    cdef long long got
    if not PyLong_CheckExact(number):
        return False
    got = PyLong_AsLongLongAndOverflow(number, &overflow)
    value[0] = got
    return not overflow and got >= 0


cdef inline bint as_maybe(object number, Maybe *value):
    """Says whether `number` is None or an int from 0 to 2**63 - 1, and sets `value` to it."""
    value.is_known = number is not None
    return number is None or as_number(number, &value.value)


cdef bint as_key(object boot, object boot_ns, object task, uint64_t *key):
    """Says whether these are the numbers of an exec id, and sets the three of `key` to them."""
    return as_number(boot, key) and as_number(boot_ns, key + 1) and as_number(task, key + 2) and has_id(key)


cdef inline bint has_id(const uint64_t *key) noexcept:
    """Says whether the numbers of an exec id are not too large for it."""
    return not key[0] >> BOOT_BITS and not key[1] >> TIME_BITS and not key[2] >> TASK_BITS


cdef bint is_key(object key, uint64_t *numbers):
    """The same for an ExecKey."""
    return (
        isinstance(key, tuple) and PyTuple_GET_SIZE(key) == 3
        and as_key((<tuple>key)[0], (<tuple>key)[1], (<tuple>key)[2], numbers)
    )


cdef struct Piece:
    # A text that is copied. Who fills a Record keeps the object that has it.
    const char *start
    Py_ssize_t size


cdef struct Maybe:
    # A number, if there is one.
    uint64_t value
    bint is_known


cdef struct Record:
    # What a line is made of. The pieces are texts of its format.
    uint64_t[3] id
    uint64_t[3] parent
    uint64_t[3] replaced_by
    bint has_parent
    bint is_replaced
    uint64_t time_ns
    uint64_t pid
    uint64_t tid
    Maybe ppid
    uint64_t argc
    uint64_t argv_bytes
    Maybe exit_code
    Maybe exit_signal
    Maybe duration_ns
    Piece second
    Piece where  # from host to kind
    Piece before  # from uid to what is before argv
    const unsigned char *argv
    Py_ssize_t argv_size
    Piece error
    Piece after  # from what is after errno
    Piece way  # how it ended


cdef inline Piece piece_of(object text) noexcept:
    """Returns an ASCII text."""
    cdef Piece piece
    piece.start, piece.size = PyUnicode_1BYTE_DATA(text), PyUnicode_GET_LENGTH(text)
    return piece


cdef inline char *piece_copied(char *out, Piece piece) noexcept:
    return copied(out, piece.start, piece.size)


cdef inline char *maybe_written(char *out, Maybe number, const char *unknown) noexcept:
    return number_written(out, number.value) if number.is_known else literal(out, unknown)


cdef Py_ssize_t most_written(Record *record) noexcept:
    """Returns how many bytes a line has at most."""
    return (
        REST + record.second.size + record.where.size + record.before.size + record.error.size + record.after.size
        + record.way.size + MOST_EACH * record.argv_size
    )


cdef char *time_written(char *out, Record *record) noexcept:
    cdef uint64_t fraction = record.time_ns % NANOSECONDS
    cdef int at
    out = piece_copied(out, record.second)
    for at in range(9):
        out[8 - at] = 48 + fraction % 10
        fraction //= 10
    return literal(out + 9, b"Z")


cdef char *json_written(char *out, Record *record) noexcept:
    """Writes a line of JSON. Returns NULL if an argument is not of printable ASCII, or the last has no end."""
    out = literal(out, b'{"id":"')
    out = id_written(out, record.id[0], record.id[1], record.id[2])
    if record.has_parent:
        out = literal(out, b'","parent_id":"')
        out = id_written(out, record.parent[0], record.parent[1], record.parent[2])
        out = literal(out, b'","time":"')
    else:
        out = literal(out, b'","parent_id":null,"time":"')
    out = time_written(out, record)
    out = piece_copied(literal(out, b'",'), record.where)
    out = number_written(literal(out, b',"pid":'), record.pid)
    out = number_written(literal(out, b',"tid":'), record.tid)
    out = maybe_written(literal(out, b',"ppid":'), record.ppid, b"null")
    out = piece_copied(literal(out, b","), record.before)
    out = arguments_written(out, record.argv, record.argv_size, record.argc, record.argv_bytes)
    if out is NULL:
        return NULL
    out = piece_copied(literal(out, b',"truncated":null,"argv_missing":null,"redacted":null,"errno":'), record.error)
    out = piece_copied(literal(out, b","), record.after)
    out = piece_copied(literal(out, b',"ended":'), record.way)
    out = maybe_written(literal(out, b',"exit_code":'), record.exit_code, b"null")
    out = maybe_written(literal(out, b',"exit_signal":'), record.exit_signal, b"null")
    out = maybe_written(literal(out, b',"duration_ns":'), record.duration_ns, b"null")
    if not record.is_replaced:
        return literal(out, b',"replaced_by":null}')
    out = literal(out, b',"replaced_by":"')
    out = id_written(out, record.replaced_by[0], record.replaced_by[1], record.replaced_by[2])
    return literal(out, b'"}')


cdef class Room:
    """Bytes that grow; there is room for `least` of them from the beginning."""

    cdef char *_start
    cdef Py_ssize_t _size, _used, least

    def __dealloc__(self):
        PyMem_Free(self._start)

    cdef char *for_more(self, Py_ssize_t most) except NULL:
        """Returns where the next bytes go, with room for `most`."""
        cdef Py_ssize_t wanted
        cdef char *start
        if most < 0 or most > PY_SSIZE_T_MAX // 2 - self._used:
            raise MemoryError
        if self._used + most > self._size:
            wanted = max(self.least, self._used + most + self._used // 2)
            start = <char *>PyMem_Realloc(self._start, wanted)
            if start is NULL:
                raise MemoryError
            self._start, self._size = start, wanted
        return self._start + self._used

    cdef void written_to(self, const char *end) noexcept:
        """Takes what was written; `end` is where it ends."""
        self._used = end - self._start

    cdef int add(self, bytes text) except -1:
        cdef char *out = self.for_more(PyBytes_GET_SIZE(text))
        self.written_to(copied(out, PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text)))
        return 0

    cdef bytes taken(self):
        return PyBytes_FromStringAndSize(self._start, self._used)


cdef str NULL_TEXT = "null"


cdef class Lines:
    """Makes lines of JSON: `JsonLines.line`, for an exec whose arguments are whole, and printable ASCII."""

    cdef object _event_type, _way_type, _failed, _make_shared, _make_where, _make_second, _make_prefix, _make_error, _in_python
    cdef dict _shared, _ways
    cdef Py_ssize_t _most
    # What the last event had.
    cdef object _launch, _origin, _texts, _host, _boot_id, _kind, _where, _second, _prefix
    cdef uint64_t _second_number

    def __cinit__(self, event_type, failed, ways, shared, where, second, prefix, error, in_python, most):
        """`in_python` makes the line of any event. `ways` has the text of each Ended.

        `shared` takes a launch and an origin, and returns the texts of their fields before and after the
        arguments. `most` of them are remembered. `where` returns the text of host, boot id and kind,
        `second` that of a second, `prefix` the number that a boot id has in exec ids, `error` the text of errno.
        """
        self._event_type, self._failed, self._ways, self._make_error = event_type, failed, ways, error
        self._in_python = in_python
        self._make_shared, self._make_where, self._make_second, self._make_prefix = shared, where, second, prefix
        self._shared, self._most = {}, most
        self._way_type = type(next(iter(ways)))
        self._host = self._second = None

    def line(self, event):
        """Returns the line of an event."""
        cdef Room room = Room.__new__(Room)
        if not self._write(event, room):
            return self._in_python(event)
        text = ascii_text(room._used)
        memcpy(PyUnicode_1BYTE_DATA(text), room._start, room._used)
        return text

    def block(self, events, Py_ssize_t first, Py_ssize_t enough):
        """Returns lines of the events from the index `first` on, with line ends, and the index that is next.

        It is that of an event whose line Python has to make, or there are `enough` bytes.
        """
        cdef Room room = Room.__new__(Room)
        cdef Py_ssize_t at = first
        cdef list those = events if isinstance(events, list) else list(events)
        room.least = 2 * enough if 0 < enough < ROOM else 0
        while 0 <= at < len(those) and room._used < enough:
            try:
                if not self._write(those[at], room):
                    break
            except Exception:
                break  # the caller meets it again, and knows what to do
            room.written_to(literal(room.for_more(1), b"\n"))
            at += 1
        return room.taken(), at

    cdef bint _write(self, object event, Room room) except -1:
        """Adds the line of an event. Returns False if Python has to make it."""
        cdef Record record
        cdef char *out
        if type(event) is not self._event_type or PyTuple_GET_SIZE(event) != EVENT_ITEMS:
            return False
        (
            kind, host, boot_id, time_object, boot_ns, pid, tid_object, ppid_object, argv, argc_object, total_object,
            holes, truncated, errno, launch, origin, parent, _, end, _, redacted,
        ) = <tuple>event
        if holes or redacted or truncated is not None or not PyBytes_CheckExact(argv):
            return False
        if not (
            as_number(time_object, &record.time_ns) and as_number(tid_object, &record.tid)
            and as_maybe(ppid_object, &record.ppid)
            and as_number(argc_object, &record.argc) and as_number(total_object, &record.argv_bytes)
        ):
            return False
        # Functions in Python are called here, and while they run another line may be made: so what is remembered
        # is set at once, and is read once. After for_more none is called, until the line is written.
        if self._host is not host or self._boot_id is not boot_id or self._kind is not kind:
            where, prefix = self._make_where(host, boot_id, kind), self._make_prefix(boot_id)
            self._host, self._boot_id, self._kind, self._where, self._prefix = host, boot_id, kind, where, prefix
        else:
            where, prefix = self._where, self._prefix
        if self._second is None or self._second_number != record.time_ns // NANOSECONDS:
            second = self._make_second(record.time_ns // NANOSECONDS)
            self._second, self._second_number = second, record.time_ns // NANOSECONDS
        else:
            second = self._second
        if self._launch is not launch or self._origin is not origin:
            texts = self._shared_texts(launch, origin)
            self._launch, self._origin, self._texts = launch, origin, texts
        else:
            texts = self._texts
        before, after = <tuple?>texts
        error = NULL_TEXT if errno is None else self._make_error(errno)
        way = NULL_TEXT
        record.exit_code.is_known = record.exit_signal.is_known = record.duration_ns.is_known = record.is_replaced = False
        if end is not None:
            if not isinstance(end, tuple) or PyTuple_GET_SIZE(end) != 5:
                return False
            way, code, signal, duration_ns, replaced_by = <tuple>end
            if type(way) is not self._way_type:
                return False
            way = self._ways.get(way)
            if not (
                as_maybe(code, &record.exit_code) and as_maybe(signal, &record.exit_signal)
                and as_maybe(duration_ns, &record.duration_ns)
            ):
                return False
            record.is_replaced = replaced_by is not None
            if record.is_replaced and not is_key(replaced_by, record.replaced_by):
                return False
        record.has_parent = parent is not None
        if record.has_parent and not is_key(parent, record.parent):
            return False
        if not (is_ascii(where) and is_ascii(second) and is_ascii(before) and is_ascii(after)):
            return False
        if not (is_ascii(way) and is_ascii(error)):
            return False
        if PyUnicode_GET_LENGTH(second) != SECOND_LENGTH or not as_number(pid, &record.pid):
            return False
        if not as_key(prefix, boot_ns, tid_object if kind is self._failed else pid, record.id):
            return False
        if not 0 < PyBytes_GET_SIZE(argv) <= MOST_ARGV:
            return False
        record.second, record.where, record.error, record.way = piece_of(second), piece_of(where), piece_of(error), piece_of(way)
        record.before, record.after = piece_of(before), piece_of(after)
        record.argv, record.argv_size = <const unsigned char *>PyBytes_AS_STRING(argv), PyBytes_GET_SIZE(argv)
        out = json_written(room.for_more(most_written(&record)), &record)
        if out is NULL:
            return False
        room.written_to(out)
        return True

    cdef object _shared_texts(self, object launch, object origin):
        cdef PyObject *known
        both = (launch, origin)
        known = PyDict_GetItemWithError(self._shared, both)
        if known is not NULL:
            return <object>known
        texts = self._make_shared(launch, origin)
        # A user may make many launches, with five paths of 4 KB each.
        if len(texts[0]) + len(texts[1]) > LONGEST_REMEMBERED:
            return texts
        if len(self._shared) >= self._most:
            self._shared.clear()
        self._shared[both] = texts
        return texts


cdef char *arguments_written(
    char *out, const unsigned char *argv, Py_ssize_t size, uint64_t argc, uint64_t total
) noexcept:
    """Writes the fields from `argv` to `command`. Returns NULL if an argument is not of printable ASCII."""
    cdef Py_ssize_t at, start
    cdef unsigned char stands
    cdef bint has_equals
    if argv[size - 1]:
        return NULL
    out = literal(out, b',"argv":["')
    for at in range(size - 1):
        if argv[at]:
            out = quoted_byte(out, argv[at])
            if STANDS[argv[at]] == ODD:
                return NULL
        else:
            out = literal(out, b'","')
    out = number_written(literal(out, b'"],"argc":'), argc)
    out = number_written(literal(out, b',"argv_bytes":'), total)
    out = literal(out, b',"command":"')
    start = 0
    for at in range(size):
        if argv[at]:
            continue
        out = word_written(out, argv + start, at - start, start == 0)
        start = at + 1
        if start < size:
            out = literal(out, b" ")
    return literal(out, b'"')


cdef inline bint is_bare(const unsigned char *word, Py_ssize_t size, bint is_first) noexcept:
    """Says whether an argument needs no quotes in a shell."""
    cdef Py_ssize_t at
    for at in range(size):
        # Without quotes a shell would set a variable and not run a program of this name.
        if STANDS[word[at]] != BARE or (is_first and word[at] == c"="):
            return False
    return size > 0


cdef char *word_written(char *out, const unsigned char *word, Py_ssize_t size, bint is_first) noexcept:
    """Writes an argument as a word of a shell, within a text of JSON."""
    cdef Py_ssize_t at
    if is_bare(word, size, is_first):
        return copied(out, <const char *>word, size)
    out = literal(out, b"'")
    for at in range(size):
        if word[at] == c"'":
            out = literal(out, b"'\\\"'\\\"'")
        else:
            out = quoted_byte(out, word[at])
    return literal(out, b"'")


cdef char *csv_written(char *out, Record *record, bint raw) noexcept:
    """Writes a line of CSV, with its end: CsvLines.line. Returns NULL as json_written does."""
    out = id_written(out, record.id[0], record.id[1], record.id[2])
    out = literal(out, b",")
    if record.has_parent:
        out = id_written(out, record.parent[0], record.parent[1], record.parent[2])
    out = time_written(literal(out, b","), record)
    out = piece_copied(literal(out, b","), record.where)
    out = number_written(literal(out, b","), record.pid)
    out = number_written(literal(out, b","), record.tid)
    out = maybe_written(literal(out, b","), record.ppid, b"")
    out = piece_copied(literal(out, b","), record.before)
    out = cells_written(literal(out, b","), record.argv, record.argv_size, record.argc, record.argv_bytes, raw)
    if out is NULL:
        return NULL
    out = piece_copied(literal(out, b",,,,"), record.error)  # after truncated, argv_missing and redacted
    out = piece_copied(literal(out, b","), record.after)
    out = piece_copied(literal(out, b","), record.way)
    out = maybe_written(literal(out, b","), record.exit_code, b"")
    out = maybe_written(literal(out, b","), record.exit_signal, b"")
    out = maybe_written(literal(out, b","), record.duration_ns, b"")
    out = literal(out, b",")
    if record.is_replaced:
        out = id_written(out, record.replaced_by[0], record.replaced_by[1], record.replaced_by[2])
    return literal(out, b",\n")  # before argv_base64


cdef char *cells_written(
    char *out, const unsigned char *argv, Py_ssize_t size, uint64_t argc, uint64_t total, bint raw
) noexcept:
    """Writes the cells from `argv` to `command`. Returns NULL as arguments_written does."""
    cdef Py_ssize_t at, start
    cdef bint has_special = False
    cdef unsigned char first
    if argv[size - 1]:
        return NULL
    out = literal(out, b'"[""')
    for at in range(size - 1):
        if not argv[at]:
            out = literal(out, b'"",""')
        elif argv[at] == c'"':
            has_special = True
            out = literal(out, b'\\""')
        elif argv[at] == c"\\":
            out = literal(out, b"\\\\")
        elif STANDS[argv[at]] == ODD:
            return NULL
        else:
            # Quotes are put around an apostrophe.
            has_special |= argv[at] == c"," or argv[at] == c"'"
            out[0] = argv[at]
            out += 1
    out = number_written(literal(out, b'""]",'), argc)
    out = number_written(literal(out, b","), total)
    out = literal(out, b',"' if has_special else b",")
    start = 0
    for at in range(size):
        if argv[at]:
            continue
        if start:
            out = literal(out, b" ")
            out = cell_word_written(out, argv + start, at - start, is_bare(argv + start, at - start, False))
        else:
            first = argv[0] if is_bare(argv, at, True) else c"'"
            # A spreadsheet may run a cell that begins so.
            if not raw and (first == c"=" or first == c"+" or first == c"-" or first == c"@" or first == c"'"):
                out = literal(out, b"'")
            out = cell_word_written(out, argv, at, is_bare(argv, at, True))
        start = at + 1
    return literal(out, b'"' if has_special else b"")


cdef char *cell_word_written(char *out, const unsigned char *word, Py_ssize_t size, bint bare) noexcept:
    """Writes an argument as a word of a shell, within a cell that has quotes if it needs them."""
    cdef Py_ssize_t at
    if bare:
        return copied(out, <const char *>word, size)
    out = literal(out, b"'")
    for at in range(size):
        if word[at] == c"'":
            out = literal(out, b"'\"\"'\"\"'")
        elif word[at] == c'"':
            out = literal(out, b'""')
        else:
            out[0] = word[at]
            out += 1
    return literal(out, b"'")


cdef class Sums:
    """A backlog.Weight that is being added up."""

    cdef long long execs, argv_bytes, shared_bytes, line_bytes


def weights(events, account_of, of_launch, of_origin, of_arguments):
    """Returns the numbers of `Finished.weights`, as tuples by account.

    `of_launch` and `of_origin` return how many bytes the paths have, and how many characters they take in a line.
    `of_arguments` takes argv and a number of holes and marks, and returns how many characters they take.
    """
    cdef dict sums = {}, lengths = {}
    cdef Sums each
    cdef long long of_last_launch = 0, of_last_origin = 0
    last_launch = last_origin = NOTHING
    cdef PyObject *known
    for event in events:
        if not isinstance(event, tuple):
            raise TypeError("an event is a tuple")
        (
            _, _, _, _, _, _, _, _, argv, _, _, holes, _, _, launch, origin, _, _, _, account, redacted,
        ) = <tuple>event
        if account is None:
            account = account_of(event)
        known = PyDict_GetItemWithError(sums, account)
        if known is NULL:
            each = sums[account] = Sums.__new__(Sums)
        else:
            each = <Sums>known
        # Neighbours mostly have one launch, and one origin.
        if launch is not last_launch:
            of_last_launch = paths_of(each, lengths, launch, of_launch)
            last_launch = launch
        if origin is not last_origin:
            of_last_origin = paths_of(each, lengths, origin, of_origin)
            last_origin = origin
        each.line_bytes += of_last_launch + of_last_origin
        each.execs += 1
        each.argv_bytes += len(argv or b"")
        if holes:
            each.argv_bytes += <long long>HOLE_BYTES * len(holes)
        if PyBytes_CheckExact(argv):
            each.line_bytes += arguments_size(argv, len(holes) + len(redacted), of_arguments)
    return {
        account: ((<Sums>each).execs, (<Sums>each).argv_bytes, (<Sums>each).shared_bytes, (<Sums>each).line_bytes)
        for account, each in sums.items()
    }


cdef long long paths_of(Sums each, dict lengths, object shared, object lengths_of) except -1:
    """Returns how many characters the paths of a launch or an origin take, and adds their bytes once.

    `lengths` has them by identity: equal ones are mostly one object.
    """
    place = <size_t><void *>shared
    cdef PyObject *known = PyDict_GetItemWithError(lengths, place)
    if known is NULL:
        found = lengths[place] = lengths_of(shared)
        each.shared_bytes += <long long>found[0]
    else:
        found = <object>known
    return <long long>found[1]


cdef long long arguments_size(bytes whole, Py_ssize_t holes, object of_arguments) except -1:
    """Returns how many characters arguments take: line_size.of_one."""
    cdef const unsigned char *argv = <const unsigned char *>PyBytes_AS_STRING(whole)
    cdef Py_ssize_t at, size = PyBytes_GET_SIZE(whole)
    cdef long long nuls = 0
    if holes:
        return of_arguments(whole, holes)
    for at in range(size):
        if not argv[at]:
            nuls += 1
        elif STANDS[argv[at]] == ODD or argv[at] == c"'" or argv[at] == c'"' or argv[at] == c"\\":
            return of_arguments(whole, 0)
    return 2 * size + NUL_CHARACTERS * nuls


# See bulk_insert.py.
cdef object NOTHING = -(2**63)
cdef int64_t LEAST = NOTHING


def rows(
    list batch, first_id, dict ends, boot, failed, dict kinds, dict cut_codes, dict clocks, dict execs, dict comms,
    dict launches, dict origins, lines, clock, find, new_comm, new_launch, new_origin, as_json,
):
    """Returns the values for exec and the rows of argv_cut: `Inserts._rows`, for any events.

    The dicts have the ids of what is known, and the functions make those of what is not. `lines` are the
    interning.Lines.
    """
    cdef dict argvs = lines.known
    cdef list values = [], cuts = []
    cdef PyObject *known
    # Neighbours mostly have one launch, and one origin.
    last_launch = last_origin = uid = comm_id = launch_id = origin_id = None
    number = first_id
    for event in batch:
        if not isinstance(event, tuple):
            raise TypeError("an event is a tuple")
        (
            kind, _, _, time_ns, boot_ns, pid, tid, ppid, argv, argc, total, holes, truncated, errno, launch, origin,
            parent, _, _, _, redacted,
        ) = <tuple>event
        cut = NOTHING
        if truncated is not None or argc != arguments_of(argv) or total != len(argv) or redacted:
            cut = cut_codes[truncated]
            cuts.append((number, argc, total, as_json(holes), as_json(redacted) if redacted else None))
        parent_id = None
        if parent is not None:
            known = PyDict_GetItemWithError(execs, parent)
            parent_id = (find(parent) if known is NULL else <object>known) or None
        duration_ns = status = replaced_by = NOTHING
        if kind is not failed:
            key = (boot, boot_ns, pid)
            execs[key] = number
            ended = ends.pop(key, None)
            if ended is not None:
                if not isinstance(ended, tuple):
                    raise TypeError("an end is a tuple")
                if PyTuple_GET_SIZE(ended) == 3:
                    duration_ns, status, replaced_by = <tuple>ended
                    if replaced_by is None:
                        replaced_by = NOTHING
                else:
                    _, _, ended_ns, _, status = <tuple>ended
                    duration_ns = ended_ns - boot_ns
                if status is None:
                    status = NOTHING
        offset_ns = time_ns - boot_ns
        known = PyDict_GetItemWithError(clocks, offset_ns)
        clock_id = clock(offset_ns) if known is NULL else <object>known
        if launch is not last_launch:
            uid, comm = launch.uid, launch.comm
            if comm is None:
                comm_id = None
            else:
                known = PyDict_GetItemWithError(comms, comm)
                comm_id = new_comm(comm) if known is NULL else <object>known
            known = PyDict_GetItemWithError(launches, launch)
            launch_id = new_launch(launch) if known is NULL else <object>known
            last_launch = launch
        if origin is not last_origin:
            known = PyDict_GetItemWithError(origins, origin)
            origin_id = new_origin(origin) if known is NULL else <object>known
            last_origin = origin
        known = PyDict_GetItemWithError(argvs, argv)
        argv_id = learn(lines, argv) if known is NULL else <object>known
        values += (
            number, time_ns, clock_id, kinds[kind], pid, NOTHING if tid == pid else tid, ppid, uid, comm_id, launch_id,
            origin_id, argv_id, NOTHING if errno is None else errno, cut, parent_id, duration_ns, status, replaced_by,
        )
        number = number + 1
    return values, cuts


cdef enum:
    SEALED_NUMBERS = 13
    COLUMNS_OF_EXEC = 18
    # Of a row that the verifier reads.
    COLUMNS_OF_SEALED = 19
    LONGEST_INLINE = 256
    HASH_BYTES = 32
    # See codec.values: a tag, and a number or a length.
    TAG_NULL = 0
    TAG_NUMBER = 1
    TAG_BYTES = 2
    TAG_TEXT = 3
    TAGGED = 9


def exec_hashes(
    list batch, list values, run, dict cut_of, dict launches, dict origins, launch_hash, origin_hash, line, empty
):
    """Returns what is sealed of each exec: `exec_hashes.exec_hashes`.

    The dicts have the hashes of what is known, and the functions make those of what is not. `empty` is the
    hash object of no bytes.
    """
    cdef list made = []
    cdef Py_ssize_t at = 0, size, n
    cdef bytes raw
    cdef int64_t numbers[SEALED_NUMBERS]
    cdef char *to
    cdef PyObject *known
    if len(values) != len(batch) * COLUMNS_OF_EXEC:
        raise ValueError("so many values are not of so many execs")
    for event in batch:
        if not isinstance(event, tuple) or PyTuple_GET_SIZE(event) < 16:
            raise TypeError("an event is a tuple")
        # In the order of codec.EXEC_NUMBERS; `values` has the columns of bulk inserts.
        numbers[0], numbers[1], numbers[2], numbers[3] = values[at], values[at + 1], (<tuple>event)[4], run
        numbers[4], numbers[5] = values[at + 3], values[at + 4]
        value = values[at + 5]
        numbers[6] = numbers[5] if value == NOTHING else value
        value = values[at + 6]
        numbers[7] = LEAST if value is None else value
        numbers[8] = values[at + 12]
        value = values[at + 14]
        numbers[9] = LEAST if value is None else value
        numbers[10], numbers[11], numbers[12] = values[at + 15], values[at + 16], values[at + 17]
        launch_id, origin_id, cut = values[at + 9], values[at + 10], values[at + 13]
        at += COLUMNS_OF_EXEC
        known = PyDict_GetItemWithError(launches, launch_id)
        if known is NULL:
            launch = launches[launch_id] = launch_hash((<tuple>event)[14])
        else:
            launch = <object>known
        known = PyDict_GetItemWithError(origins, origin_id)
        if known is NULL:
            origin = origins[origin_id] = origin_hash((<tuple>event)[15])
        else:
            origin = <object>known
        argv = (<tuple>event)[8]
        if not (PyBytes_CheckExact(launch) and PyBytes_CheckExact(origin)):
            raise TypeError("a hash is bytes")
        if PyBytes_GET_SIZE(launch) != 32 or PyBytes_GET_SIZE(origin) != 32:
            raise ValueError("a hash has 32 bytes")
        if cut == NOTHING and PyBytes_CheckExact(argv) and PyBytes_GET_SIZE(argv) <= LONGEST_INLINE:
            rest, n = argv, 1
        else:
            rest = line(argv, None if cut == NOTHING else (cut, *cut_of[values[at - COLUMNS_OF_EXEC]]))
            n = 0
            if not PyBytes_CheckExact(rest):
                raise TypeError("a line is bytes")
        size = sizeof(numbers) + 64 + n + PyBytes_GET_SIZE(rest)
        raw = PyBytes_FromStringAndSize(NULL, size)
        to = PyBytes_AS_STRING(raw)
        memcpy(to, numbers, sizeof(numbers))
        memcpy(to + sizeof(numbers), PyBytes_AS_STRING(launch), 32)
        memcpy(to + sizeof(numbers) + 32, PyBytes_AS_STRING(origin), 32)
        to[sizeof(numbers) + 64] = 0
        memcpy(to + sizeof(numbers) + 64 + n, PyBytes_AS_STRING(rest), PyBytes_GET_SIZE(rest))
        hashing = empty.copy()
        hashing.update(raw)
        made.append(hashing.digest())
    return made


cdef inline bint as_signed(object number, int64_t *value):
    """Sets `value` to a number or NULL. Returns False for what is neither, or is NULL's own number."""
    cdef int overflow = 0
    if number is None:
        value[0] = LEAST
        return True
    if not PyLong_CheckExact(number):
        return False
    value[0] = PyLong_AsLongLongAndOverflow(number, &overflow)
    return not overflow and value[0] != LEAST


def sealed_execs(
    list rows, dict clocks, dict launches, dict origins, dict lines, dict comms, dict odd, in_python, empty
):
    """Returns what is sealed of each exec, given its row: `Rows._exec`, which `in_python` is.

    The dicts have what is known, by number, as `rows._Known`; `odd` has the numbers of execs that Python is
    to look at. `empty` is the hash object of no bytes.
    """
    cdef list made = []
    cdef bytes raw
    copy = empty.copy
    for row in rows:
        if type(row) is not tuple or PyTuple_GET_SIZE(row) != COLUMNS_OF_SEALED:
            raise TypeError("a row is a tuple")
        raw = sealed_exec(<tuple>row, clocks, launches, origins, lines, comms, odd)
        if raw is None:
            made.append(in_python(row))
        else:
            hashing = copy()
            hashing.update(raw)
            made.append(hashing.digest())
    return made


cdef bytes sealed_exec(
    tuple row, dict clocks, dict launches, dict origins, dict lines, dict comms, dict odd
):
    """Returns the bytes that are hashed for an exec. None if Python has to look at it."""
    cdef int64_t numbers[SEALED_NUMBERS]
    cdef int64_t offset_ns
    cdef Py_ssize_t n, size
    cdef PyObject *known
    cdef object launch, origin, clock, rest
    cdef bytes raw
    cdef char *to
    (
        number, ts, clock_id, kind, pid, tid, ppid, uid, comm_id, launch_id, origin_id, line_id, errno, truncated, parent,
        duration, status, replaced_by, argv,
    ) = row
    if truncated is not None or PyDict_GetItemWithError(odd, number) is not NULL:
        return None
    known = PyDict_GetItemWithError(clocks, clock_id)
    if known is NULL:
        return None
    clock = <object>known
    known = PyDict_GetItemWithError(launches, launch_id)
    if known is NULL:
        return None
    launch = <object>known
    known = PyDict_GetItemWithError(origins, origin_id)
    if known is NULL:
        return None
    origin = <object>known
    known = PyDict_GetItemWithError(comms, comm_id)
    if known is NULL:
        return None
    comm = <object>known
    if not isinstance(clock, tuple) or PyTuple_GET_SIZE(clock) != 2 or not isinstance(launch, tuple):
        return None
    if PyTuple_GET_SIZE(launch) != 3:
        return None
    launch_hash, of_launch, comm_of_launch = <tuple>launch
    if not (is_hash(launch_hash) and is_hash(origin)) or uid != of_launch or comm != comm_of_launch:
        return None
    offset, run = <tuple>clock
    # In the order of codec.EXEC_NUMBERS.
    if not (
        as_signed(number, numbers) and as_signed(ts, numbers + 1) and as_signed(offset, &offset_ns)
        and as_signed(run, numbers + 3) and as_signed(kind, numbers + 4) and as_signed(pid, numbers + 5)
        and as_signed(pid if tid is None else tid, numbers + 6) and as_signed(ppid, numbers + 7)
        and as_signed(errno, numbers + 8) and as_signed(parent, numbers + 9) and as_signed(duration, numbers + 10)
        and as_signed(status, numbers + 11) and as_signed(replaced_by, numbers + 12)
    ):
        return None
    # These are never NULL, and nobody wants to know what Python makes of it.
    if ts is None or offset is None or run is None or kind is None or pid is None:
        return None
    if subtracted(numbers[1], offset_ns, numbers + 2):
        return None
    n = 1
    rest = argv
    if argv is None:
        known = PyDict_GetItemWithError(lines, line_id)
        if known is NULL:
            return None
        n = 0
        rest = <object>known
    if not PyBytes_CheckExact(rest) or PyBytes_GET_SIZE(rest) > LONGEST_INLINE:
        return None
    size = sizeof(numbers) + 64 + n + PyBytes_GET_SIZE(rest)
    raw = PyBytes_FromStringAndSize(NULL, size)
    to = PyBytes_AS_STRING(raw)
    memcpy(to, numbers, sizeof(numbers))
    memcpy(to + sizeof(numbers), PyBytes_AS_STRING(launch_hash), HASH_BYTES)
    memcpy(to + sizeof(numbers) + HASH_BYTES, PyBytes_AS_STRING(origin), HASH_BYTES)
    to[sizeof(numbers) + 2 * HASH_BYTES] = 0
    memcpy(to + sizeof(numbers) + 2 * HASH_BYTES + n, PyBytes_AS_STRING(rest), PyBytes_GET_SIZE(rest))
    return raw


def values(tuple row):
    """Returns the bytes for values of a row: `codec.values`. None if Python has to make them."""
    cdef Py_ssize_t size = 0
    cdef int64_t number = 0
    cdef uint64_t length
    cdef bytes raw
    cdef char *to
    for value in row:
        if value is None:
            size += 1
        elif PyLong_CheckExact(value):
            size += TAGGED
        elif PyBytes_CheckExact(value):
            size += TAGGED + PyBytes_GET_SIZE(value)
        elif is_ascii(value):
            size += TAGGED + PyUnicode_GET_LENGTH(value)
        else:
            return None
    raw = PyBytes_FromStringAndSize(NULL, size)
    to = PyBytes_AS_STRING(raw)
    for value in row:
        if value is None:
            to[0] = TAG_NULL
            to += 1
        elif PyLong_CheckExact(value):
            if not as_signed(value, &number) and number != LEAST:
                return None
            to[0] = TAG_NUMBER
            memcpy(to + 1, &number, sizeof(number))
            to += TAGGED
        elif PyBytes_CheckExact(value):
            to[0], length = TAG_BYTES, PyBytes_GET_SIZE(value)
            memcpy(to + 1, &length, sizeof(length))
            memcpy(to + TAGGED, PyBytes_AS_STRING(value), length)
            to += TAGGED + length
        else:
            to[0], length = TAG_TEXT, PyUnicode_GET_LENGTH(value)
            memcpy(to + 1, &length, sizeof(length))
            memcpy(to + TAGGED, PyUnicode_1BYTE_DATA(value), length)
            to += TAGGED + length
    return raw


cdef inline bint is_hash(object raw):
    return PyBytes_CheckExact(raw) and PyBytes_GET_SIZE(raw) == HASH_BYTES


cdef object arguments_of(object argv):
    """Returns how many NULs there are."""
    if not PyBytes_CheckExact(argv):
        return argv.count(0)
    return count_of_nuls(<const unsigned char *>PyBytes_AS_STRING(argv), PyBytes_GET_SIZE(argv))


def set_buckets(bits, Py_ssize_t block, bytes text):
    """Sets the bits of one of the blocks for all trigrams of a text: `trigram_bitmap.Chunk.add`.

    `bits` has BITS_BYTES for each bucket.
    """
    cdef const unsigned char *at = <const unsigned char *>PyBytes_AS_STRING(text)
    cdef Py_ssize_t left = PyBytes_GET_SIZE(text) - 2
    cdef uint32_t first, second, third, buckets
    cdef uint8_t bit = 1 << (block & 7)
    cdef uint8_t *of_block
    cdef Py_buffer memory
    PyObject_GetBuffer(bits, &memory, PyBUF_WRITABLE)
    try:
        if memory.len < BITS_BYTES or memory.len >> 20 or not 0 <= block < 8 * BITS_BYTES:
            raise ValueError("bits or block")
        buckets = memory.len // BITS_BYTES
        of_block = <uint8_t *>memory.buf + (block >> 3)
        while left > 0:
            first, second, third = searched(at[0]), searched(at[1]), searched(at[2])
            of_block[(first + 31 * second + 225 * third) % buckets * BITS_BYTES] |= bit
            at += 1
            left -= 1
    finally:
        PyBuffer_Release(&memory)


cdef inline uint32_t searched(unsigned char byte) noexcept:
    """Returns a byte as a search sees it."""
    return byte if byte else c" "


cdef extern from *:
    """
    struct ea_number {
        uint64_t id, check;
    };
    """
    struct ea_number:
        uint64_t id
        uint64_t check


cdef class Numbers:
    """The ids of rows, by two hashes: `interning.Numbers`."""

    cdef ea_number *_numbers
    cdef uint8_t *_is_sure
    cdef Py_ssize_t _count

    def __cinit__(self, Py_ssize_t count):
        if count < 2 or count % 2:
            raise ValueError("an even number is needed")
        self._count = count
        self._numbers = <ea_number *>PyMem_Calloc(count, sizeof(ea_number))
        self._is_sure = <uint8_t *>PyMem_Calloc(count, 1)
        if self._numbers is NULL or self._is_sure is NULL:
            raise MemoryError

    def __dealloc__(self):
        PyMem_Free(self._numbers)
        PyMem_Free(self._is_sure)

    def doubt(self):
        """From now on, a row that is known so far may be gone."""
        memset(self._is_sure, 0, self._count)

    def find(self, raw, row, read):
        """Returns the id of a row; None if it is not here. `read` is called with the id of one in doubt."""
        cdef uint64_t number = self._find(self._first(raw), check_of(raw), row, read)
        return number if number else None

    cdef bint _has(self, Py_ssize_t first, uint64_t check) noexcept:
        return self._numbers[first].check == check or self._numbers[first + 1].check == check

    cdef uint64_t _find(self, Py_ssize_t first, uint64_t check, row, read) except? 0:
        cdef Py_ssize_t at
        for at in range(first, first + 2):
            if self._numbers[at].check != check or not self._numbers[at].id:
                continue
            if self._is_sure[at] or read(self._numbers[at].id) == row:
                self._is_sure[at] = 1
                if at != first:
                    self._swap(first)
                return self._numbers[first].id
        return 0

    def add(self, raw, uint64_t number):
        """Takes the id of a row that is not here."""
        self._add(self._first(raw), check_of(raw), number)

    cdef void _add(self, Py_ssize_t first, uint64_t check, uint64_t number) noexcept:
        self._swap(first)
        self._numbers[first].id = number
        self._numbers[first].check = check
        self._is_sure[first] = 1

    cdef Py_ssize_t _first(self, raw) except -1:
        return <Py_ssize_t>(<uint64_t>hash(raw) % <uint64_t>self._count) & ~<Py_ssize_t>1

    cdef void _swap(self, Py_ssize_t first) noexcept:
        cdef ea_number number = self._numbers[first]
        cdef uint8_t is_sure = self._is_sure[first]
        self._numbers[first] = self._numbers[first + 1]
        self._is_sure[first] = self._is_sure[first + 1]
        self._numbers[first + 1] = number
        self._is_sure[first + 1] = is_sure


# See interning.py.
cdef bytes SECOND = os.urandom(16)


cdef uint64_t check_of(raw) except? 0:
    """Returns the second hash."""
    return <uint64_t>hash(SECOND + raw)


def learn(texts, value):
    """Returns the id of a value that `texts` does not know: `interning.Texts.learn`."""
    if not PyBytes_CheckExact(value):
        return texts.learn(value)
    cdef Numbers numbers = <Numbers?>texts._numbers
    cdef Py_ssize_t first
    cdef uint64_t check, found = 0
    cdef PyObject *known = PyDict_GetItemWithError(<dict?>texts._older, value)
    if known is not NULL:
        number = <object>known
    else:
        if PyBytes_GET_SIZE(value) > MOST_REMEMBERED:
            return texts._learn_long(value)
        first, check = numbers._first(value), check_of(value)
        if numbers._has(first, check):
            found = numbers._find(first, check, (value,), texts._read)
        if found:
            number = <object>found
        else:
            number = texts._next
            texts._next = number + 1
            (<list?>texts._new).extend((number, value))
            numbers._add(first, check, number)
    (<dict?>texts.known)[value] = number
    texts._text_bytes += PyBytes_GET_SIZE(value)
    return number


cdef class Page:
    """What the rows of a page refer to, and the clock of the last of them."""

    cdef dict clocks, launches, origins, lines, keys, ends
    cdef object run_id, lost_ns, continued
    cdef bint has_clock
    cdef uint64_t clock_id, boot
    cdef long long offset_ns
    cdef object clock_run
    cdef tuple wheres
    # The text of the last row's second; of what day it has the date, if that is known.
    cdef char[20] second
    cdef bint has_day
    cdef uint64_t day

    def __cinit__(self, known, recording):
        self.clocks, self.launches, self.origins = known.clocks, known.launches, known.origins
        self.lines, self.keys, self.ends = known.lines, known.keys, known.ends
        self.run_id, self.lost_ns, self.continued = recording
        self.has_clock = self.has_day = False

    cdef void set_second(self, uint64_t second) noexcept:
        """Sets the text of a second; that of its day is there."""
        two_digits(self.second + DATE_LENGTH, second // 3600 % 24)
        two_digits(self.second + DATE_LENGTH + 3, second // 60 % 60)
        two_digits(self.second + DATE_LENGTH + 6, second % 60)
        self.second[DATE_LENGTH + 2] = self.second[DATE_LENGTH + 5] = c":"
        self.second[DATE_LENGTH + 8] = c"."

    cdef bint find_key(self, object number, uint64_t *key, bint *is_there) except -1:
        """Sets `key` to the numbers of an exec's id, and whether it is known. Returns False if Python has to."""
        cdef PyObject *found = NULL if number is None else PyDict_GetItemWithError(self.keys, number)
        is_there[0] = found is not NULL
        if found is NULL:
            return True
        numbers = <object>found
        if not isinstance(numbers, tuple) or PyTuple_GET_SIZE(numbers) != 2:
            return False
        key[0] = self.boot
        return as_number((<tuple>numbers)[0], key + 1) and as_number((<tuple>numbers)[1], key + 2) and has_id(key)


cdef inline void two_digits(char *out, uint64_t number) noexcept:
    out[0] = 48 + number // 10
    out[1] = 48 + number % 10


cdef inline Piece bytes_piece(bytes text) noexcept:
    cdef Piece piece
    piece.start, piece.size = PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text)
    return piece


cdef class Field:
    """A field of a launch, or of an origin."""

    cdef bint of_origin
    cdef Py_ssize_t at
    cdef object make
    cdef dict known

    cdef bytes text(self, tuple launch, tuple origin):
        cdef PyObject *found
        value = origin[self.at] if self.of_origin else launch[self.at]
        found = PyDict_GetItemWithError(self.known, value)
        if found is not NULL:
            return <bytes>found
        made = <bytes?>self.make(value)
        if PyBytes_GET_SIZE(made) <= LONGEST_VALUE:
            if len(self.known) >= MOST_VALUES:
                self.known.clear()
            self.known[value] = made
        return made


cdef list fields_of(given):
    cdef list fields = []
    cdef Field field
    for of_origin, at, make in given:
        field = Field.__new__(Field)
        field.of_origin, field.at, field.make, field.known = of_origin, at, make, {}
        fields.append(field)
    return fields


cdef bytes joined(list fields, tuple launch, tuple origin):
    cdef list texts = []
    for field in fields:
        texts.append((<Field>field).text(launch, origin))
    return b",".join(texts)


cdef class Pages:
    """Makes the lines of rows, CSV or JSON: for a row whose arguments are whole, and printable ASCII.

    Texts are bytes, in an encoding that has ASCII in it.
    """

    cdef bint _is_json, _raw
    cdef object _in_python, _make_clock, _make_day, _make_error
    cdef list _before, _after
    cdef Room _room
    cdef dict _shared
    cdef Py_ssize_t _shared_bytes, _most_shared
    cdef uint64_t _failed
    cdef bytes _exited, _signaled, _replaced, _running, _unknown, _nothing

    def __cinit__(self, is_json, raw, failed, ways, nothing, before, after, clock, day, error, in_python, most):
        """`failed` is the number of Kind.FAILED. `ways` are the texts of exited, signaled, replaced, running, unknown.

        `nothing` is the text of an unknown value. `before` and `after` are the fields of launches and origins
        before and after the arguments, in order: whether it is of the origin, its place there, and what makes
        the text of its value. `most` bytes of these texts are remembered. `clock` takes a rows.Clock, and
        returns the number of its boot in exec ids, and the texts from host to kind, for each kind. `day`
        returns the text of a date, with a T, `error` that of errno. `in_python` makes the line of any row.
        """
        self._is_json, self._raw, self._failed, self._nothing = is_json, raw, failed, nothing
        self._exited, self._signaled, self._replaced, self._running, self._unknown = ways
        self._before, self._after = fields_of(before), fields_of(after)
        self._make_clock, self._make_day, self._make_error = clock, day, error
        self._in_python = in_python
        self._shared, self._shared_bytes, self._most_shared = {}, 0, most

    def text(self, rows, known, recording):
        """Returns the lines of rows whose ids were looked up. Raises what `in_python` raises."""
        cdef Room room = self._room
        cdef Page page = Page.__new__(Page, known, recording)
        # Nobody else gets it meanwhile, such as a function that is called and makes other lines.
        self._room = None
        if room is None:
            room = Room.__new__(Room)
            room.least = ROOM
        room._used = 0
        for row in rows:
            if not self._add(room, page, row):
                room.add(<bytes?>self._in_python(row, known, recording))
        text = room.taken()
        if room._size <= MOST_ROOM:
            self._room = room
        return text

    cdef bint _add(self, Room room, Page page, object row) except -1:
        """Adds the line of a row. Returns False if Python has to make it."""
        cdef Record record
        cdef uint64_t kind = 0, clock_id = 0
        cdef PyObject *found
        cdef bytes where, date, before, after, error, way, line
        cdef char *out
        if type(row) is not tuple or PyTuple_GET_SIZE(row) != ROW_ITEMS:
            return False
        (
            number, time_ns, clock_number, kind_number, pid, tid, ppid, launch_id, origin_id, argv_id, errno, truncated,
            parent_id, duration_ns, status, replaced_by,
        ) = <tuple>row
        if truncated is not None:
            return False
        if not (
            as_number(time_ns, &record.time_ns) and as_number(clock_number, &clock_id) and as_number(kind_number, &kind)
            and as_number(pid, &record.pid) and as_maybe(ppid, &record.ppid)
        ):
            return False
        record.tid = record.pid
        if tid is not None and not as_number(tid, &record.tid):
            return False
        found = PyDict_GetItemWithError(page.lines, argv_id)
        if found is NULL or not PyBytes_CheckExact(<object>found):
            return False
        line = <bytes>found
        if not 0 < PyBytes_GET_SIZE(line) <= MOST_ARGV:
            return False
        # Functions in Python are called from here on until for_more, and none after that. The texts that they
        # return are kept by the names here, until the line is written.
        if not (page.has_clock and page.clock_id == clock_id) and not self._set_clock(page, clock_number, clock_id):
            return False
        if kind >= <uint64_t>PyTuple_GET_SIZE(page.wheres):
            return False
        where = <bytes?>page.wheres[<Py_ssize_t>kind]
        texts = self._shared_texts(page, launch_id, origin_id)
        if texts is None:
            return False
        before, after = <tuple?>texts
        if not (page.has_day and page.day == record.time_ns // NANOSECONDS // DAY_SECONDS):
            page.day = record.time_ns // NANOSECONDS // DAY_SECONDS
            date = <bytes?>self._make_day(page.day)
            page.has_day = PyBytes_GET_SIZE(date) == DATE_LENGTH
            if not page.has_day:
                return False
            memcpy(page.second, PyBytes_AS_STRING(date), DATE_LENGTH)
        page.set_second(record.time_ns // NANOSECONDS)
        error = self._nothing if errno is None else <bytes?>self._make_error(errno)
        # It cannot overflow: the time is not negative, and the offset not later.
        if page.offset_ns > <long long>record.time_ns:
            return False
        record.id[0], record.id[1] = page.boot, record.time_ns - <uint64_t>page.offset_ns
        record.id[2] = record.tid if kind == self._failed else record.pid
        if not has_id(record.id):
            return False
        if not page.find_key(parent_id, record.parent, &record.has_parent):
            return False
        if duration_ns is None:
            found = PyDict_GetItemWithError(page.ends, number)
            if found is not NULL:
                duration_ns, status, replaced_by = <object>found
        record.exit_code.is_known = record.exit_signal.is_known = record.is_replaced = False
        if not as_maybe(duration_ns, &record.duration_ns):
            return False
        if duration_ns is not None:
            if status is None:
                way = self._replaced
                if not page.find_key(replaced_by, record.replaced_by, &record.is_replaced):
                    return False
            elif not as_number(status, &record.exit_signal.value):
                return False
            else:
                record.exit_code.value = record.exit_signal.value >> STATUS_SHIFT
                record.exit_signal.value &= SIGNAL
                record.exit_signal.is_known = record.exit_signal.value != 0
                record.exit_code.is_known = not record.exit_signal.is_known
                way = self._signaled if record.exit_signal.is_known else self._exited
        elif kind == self._failed:
            way = self._nothing
        elif (page.clock_run == page.run_id and time_ns >= page.lost_ns) or number in page.continued:
            way = self._running
        else:
            way = self._unknown
        record.where, record.error, record.way = bytes_piece(where), bytes_piece(error), bytes_piece(way)
        record.second.start, record.second.size = page.second, SECOND_LENGTH
        record.before, record.after = bytes_piece(before), bytes_piece(after)
        record.argv, record.argv_size = <const unsigned char *>PyBytes_AS_STRING(line), PyBytes_GET_SIZE(line)
        record.argc, record.argv_bytes = count_of_nuls(record.argv, record.argv_size), record.argv_size
        out = room.for_more(most_written(&record))
        if self._is_json:
            out = json_written(out, &record)
            if out is not NULL:
                out = literal(out, b"\n")
        else:
            out = csv_written(out, &record, self._raw)
        if out is NULL:
            return False
        room.written_to(out)
        return True

    cdef bint _set_clock(self, Page page, object number, uint64_t clock_id) except -1:
        cdef PyObject *found = PyDict_GetItemWithError(page.clocks, number)
        cdef int overflow = 0
        if found is NULL:
            return False
        clock = <object>found
        if not isinstance(clock, tuple) or PyTuple_GET_SIZE(clock) != 4:
            return False
        offset_ns, run, _, _ = <tuple>clock
        if not PyLong_CheckExact(offset_ns):
            return False
        page.has_clock = False
        page.offset_ns = PyLong_AsLongLongAndOverflow(offset_ns, &overflow)
        prefix, wheres = <tuple?>self._make_clock(clock)
        if overflow or not as_number(prefix, &page.boot):
            return False
        page.clock_run, page.wheres, page.clock_id = run, <tuple?>wheres, clock_id
        page.has_clock = True
        return True

    cdef object _shared_texts(self, Page page, object launch_id, object origin_id):
        """Returns two texts; None if the launch or the origin is not known."""
        cdef PyObject *launch
        cdef PyObject *origin
        cdef PyObject *known
        cdef Py_ssize_t size
        cdef bytes before, after
        both = (launch_id, origin_id)
        known = PyDict_GetItemWithError(self._shared, both)
        if known is not NULL:
            return <object>known
        launch = PyDict_GetItemWithError(page.launches, launch_id)
        origin = PyDict_GetItemWithError(page.origins, origin_id)
        if launch is NULL or origin is NULL:
            return None
        its_launch, its_origin = <object>launch, <object>origin
        if not isinstance(its_launch, tuple) or not isinstance(its_origin, tuple):
            raise TypeError("no tuple")
        before = joined(self._before, <tuple>its_launch, <tuple>its_origin)
        after = joined(self._after, <tuple>its_launch, <tuple>its_origin)
        texts = (before, after)
        size = PyBytes_GET_SIZE(before) + PyBytes_GET_SIZE(after) + SHARED_BYTES_EACH
        # A user may make many launches, with five paths of 4 KB each.
        if self._shared_bytes > self._most_shared:
            self._shared, self._shared_bytes = {}, 0
        self._shared[both] = texts
        self._shared_bytes += size
        return texts


cdef uint64_t count_of_nuls(const unsigned char *argv, Py_ssize_t size) noexcept:
    cdef uint64_t count = 0
    cdef const unsigned char *at = argv
    cdef const unsigned char *end = argv + size
    while at < end:
        at = <const unsigned char *>memchr(at, 0, end - at)
        if at is NULL:
            break
        count += 1
        at += 1
    return count


cdef struct ea_tally:
    uint64_t number
    uint64_t count


cdef class Tally:
    """How often there was each number."""

    cdef ea_tally *_places
    cdef Py_ssize_t _bits, _used

    def __cinit__(self):
        self._bits, self._used = 10, 0
        self._places = <ea_tally *>PyMem_Calloc(<Py_ssize_t>1 << self._bits, sizeof(ea_tally))
        if self._places is NULL:
            raise MemoryError

    def __dealloc__(self):
        PyMem_Free(self._places)

    cdef inline ea_tally *_place(self, uint64_t number) noexcept:
        """Returns where a number is, or is to be. There is always a free place."""
        # Fibonacci hashing: numbers that follow each other are spread.
        cdef uint64_t at = number * <uint64_t>0x9E3779B97F4A7C15 >> (64 - self._bits)
        while self._places[at].count and self._places[at].number != number:
            at = (at + 1) & ((<uint64_t>1 << self._bits) - 1)
        return self._places + at

    cdef int add(self, uint64_t number, uint64_t count) except -1:
        cdef ea_tally *place = self._place(number)
        if not place.count:
            self._used += 1
            place.number = number
        place.count += count
        if self._used > <Py_ssize_t>1 << (self._bits - 1):
            self._grow()
        return 0

    cdef int _grow(self) except -1:
        cdef ea_tally *old = self._places
        cdef Py_ssize_t at, size = <Py_ssize_t>1 << self._bits
        cdef ea_tally *new = <ea_tally *>PyMem_Calloc(2 * size, sizeof(ea_tally))
        if new is NULL:
            raise MemoryError
        self._places, self._bits = new, self._bits + 1
        for at in range(size):
            if old[at].count:
                self._place(old[at].number)[0] = old[at]
        PyMem_Free(old)
        return 0

    cdef dict all(self):
        cdef Py_ssize_t at
        return {
            self._places[at].number: self._places[at].count
            for at in range(<Py_ssize_t>1 << self._bits) if self._places[at].count
        }


def counted(text):
    """Returns how often each number is in a text of numbers with commas between: `tally.counted`.

    None if Python has to do it.
    """
    cdef Tally tally
    cdef const char *at
    cdef const char *end
    cdef const char *start
    cdef uint64_t number
    if not is_ascii(text):
        return None
    tally = Tally.__new__(Tally)
    at = PyUnicode_1BYTE_DATA(text)
    end = at + PyUnicode_GET_LENGTH(text)
    while True:
        start, number = at, 0
        while at < end and c"0" <= at[0] and at[0] <= c"9" and at - start < MOST_DIGITS:
            number = 10 * number + <uint64_t>(at[0] - c"0")
            at += 1
        # Nothing, or more than one digit of which the first is 0.
        if at == start or (start[0] == c"0" and at - start > 1):
            return None
        tally.add(number, 1)
        if at == end:
            return tally.all()
        if at[0] != c",":
            return None
        at += 1
