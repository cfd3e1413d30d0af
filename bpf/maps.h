/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The probe's memory: its bounds, the record that is being built, and all maps.
 *
 * Why: BPF programs keep nothing between two calls but what is in maps, and the stages of
 * one exec hand their record on in one. Their sizes and the bounds of loops depend on
 * each other, so they stand side by side.
 *
 * Uses: the -D flags, and the structs of losses in execaudit.h.
 */

/* System calls are hooked. */
#if defined(EA_FAILED_EXECS) || defined(EA_RETURN_EXECS)
#define EA_CALLS
#endif

/* A record is built in a per-CPU map: the BPF stack has 512 bytes, a per-CPU value may
 * have 32 KiB. A string or an argument begins within the first EA_LOW bytes of it, and
 * one read there takes at most EA_CHUNK bytes. Both numbers are powers of two, because
 * every verifier understands a mask with (power - 1) as a bound. */
#define EA_LOW   16384
#define EA_CHUNK 16384
#define EA_FIRST 8192 /* bytes of the command line in the first record, at most */
#define EA_PIECE 4096 /* bytes of one argument of a failed exec in one read, at most */
#define EA_RAW   (EA_LOW + EA_FIRST)

/* Bytes of each string, at most. The filename, the interpreter, the terminal, the cgroup and the
 * working directory take 11 991 bytes. The path of the image gets what is left below EA_LOW, 3 937
 * bytes at least, and the path of the root what is left then. A path that does not fit is marked. */
#define EA_PATH_MAX 4096 /* the kernel's PATH_MAX */
#define EA_FILENAME_MAX (EA_PATH_MAX + 24) /* of execveat the kernel makes /dev/fd/N/PATH */
#define EA_INTERP_MAX 1920 /* the first line of a script has 256, a line of binfmt_misc 1920 */
#define EA_CGROUP_MAX 1536
#define EA_TTY_MAX    64   /* tty_struct.name */
#define EA_NAME_MAX 256  /* a component with its NUL: NAME_MAX + 1 */

/* Bounds of loops. Where a loop ends, a tail call goes on; the kernel allows 33 of them. Two
 * are for the paths. The other 31 send 31 * 16 * 16383 bytes = 8.1 MB of a command line, and
 * the kernel's own limit for arguments and environment is 6 MiB. Arguments of a failed exec are
 * read one by one: 31 * 512 of them. */
#define EA_COMPONENTS 128
#define EA_CGROUPS    64   /* components of a cgroup's path, from the root on; a power of two */
#define EA_DEEPER     1024 /* components below these, where the kernel has no array of ancestors */
#define EA_USER_NAMESPACES 33 /* nested ones: kernel/user_namespace.c allows as many */
#define EA_CHUNKS     16
#define EA_ARGS       512

/* The exec that a hook works on, handed from one stage to the next. */
struct ea_state {
	char raw[EA_RAW]; /* the record; first, because BCC sends from the start of a value */
	__u64 argv;       /* successful: arg_start; failed: the caller's argv[] */
	__u64 rest;       /* failed: where the rest of a half sent argument begins, or 0 */
	__u64 host_dentry; /* the root of pid 1 */
	__u64 host_mnt;
	__u64 root;       /* address of the struct path of the process's root; 0: it is the host's */
	__u64 exe;        /* address of the image's struct path */
	__u32 pos;        /* end of the record so far */
	__u32 off;        /* bytes of the command line so far */
	__u32 total;
	__u32 cut_from;
	__u32 cut_to;
	__u32 argc;
	__u32 sent;       /* the first record is sent: what is lost now is not the whole exec */
	__u32 compat;     /* failed: the caller's pointers have 32 bits */
	__u32 account;
	__u32 weight;     /* of the account: see weight_of() */
	__u64 nodes[EA_CGROUPS]; /* scratch of append_cgroup(); last, because it is not cleared */
};

/* What a system call was given. */
struct ea_call {
	__u64 filename;
	__u64 argv;
	__u64 mm;
	__s32 dirfd;
	__u32 flags;
	__u32 tid;    /* of the caller; a successful exec gives it the tid of the leader */
	__u32 compat; /* argv is an array of 32-bit pointers */
	__u64 began;  /* CLOCK_BOOTTIME at the entry */
};

/* What a process runs: the image key of the exec, and whether that exec was its own. */
struct ea_image {
	u64 boot_ns;
	u32 pid;
	u32 own; /* 0: the process was forked from the one that did the exec */
};

/* What an account has in the ring. Positions are the ring's own: bytes since it was made. */
struct ea_quota {
	u64 begin;  /* position of the producer when `held` was last set to 0 */
	u64 end;    /* position behind the account's last record */
	u64 before; /* bytes that it sent before `begin`, some of which may still be there */
	u64 held;   /* bytes that it sent since `begin` */
};

BPF_RINGBUF_OUTPUT(events, EA_RING_PAGES);
/* One element for each possible CPU. The reader maps them and needs no system call to read. */
BPF_F_TABLE("array", u32, struct ea_loss, losses, EA_CPUS, BPF_F_MMAPABLE);
BPF_PERCPU_ARRAY(unwoken, u64, 1);
BPF_TABLE("lru_hash", u32, struct ea_quota, quotas, EA_ACCOUNTS);
/* The reader maps this too. account_slots says which account an element belongs to: an insertion
 * into a hash is the only atomic claim that every kernel has. */
BPF_F_TABLE("array", u32, struct ea_account_loss, account_losses, EA_ACCOUNTS, BPF_F_MMAPABLE);
BPF_HASH(account_slots, u32, u32, EA_ACCOUNTS);

/* The key is the address of the signal_struct: a process has one from its fork to the end of its
 * last thread, whichever of its threads calls execve. A process that started before the probe
 * has no entry until it execs. */
BPF_HASH(images, u64, struct ea_image, EA_PROCESSES);
/* CLOCK_BOOTTIME when all hooks were attached; 0 until then. */
BPF_ARRAY(attached, u64, 1);

#ifdef EA_CALLS
/* The key is the address of the task: it stays the same when a thread takes over the pid of its
 * leader. The kernel uses the address again when the task is gone, and it does not show each exit of a
 * call: not where a 64-bit caller starts a 32-bit program, nor where a tracer has changed the number
 * of the call. So an entry is deleted at the exit of its call, at a successful exec and at the end of
 * the task, and is used only for a task that was there at its entry. The map is an LRU, so what is
 * left for any other reason does not fill it for ever. */
BPF_TABLE("lru_hash", u64, struct ea_call, calls, 10240);
#endif
#ifdef EA_KPROBES
/* 1 while both hooks of each call are attached; 0 while they are being attached or detached. */
BPF_F_TABLE("array", u32, u32, following, 1, BPF_F_MMAPABLE);
#endif

/* The hooks of successful and of failed execs have memory of their own: a preemptible kernel may
 * run one of them on a CPU while the other is half done there. It does not run the same hook twice
 * there; it skips the second run and counts it. */
BPF_PERCPU_ARRAY(exec_state, struct ea_state, 1);
BPF_PROG_ARRAY(exec_stages, 4);
#ifdef EA_FAILED_EXECS
BPF_PERCPU_ARRAY(fail_state, struct ea_state, 1);
BPF_PROG_ARRAY(fail_stages, 4);
#endif
