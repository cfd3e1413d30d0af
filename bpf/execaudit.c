// SPDX-License-Identifier: Apache-2.0
/*
 * The probe: every exec on the host, with its whole command line.
 *
 * Traced
 *   Successful execs at the raw tracepoint sched_process_exec, from the new
 *   image's own memory (mm->arg_start .. arg_end). It fires for every way in:
 *   execve, execveat, 32-bit callers, programs that the kernel starts itself.
 *   The bytes there are the ones that run; no other thread can reach them yet.
 *   Failed execs at the exit of the execve and execveat syscalls, from the
 *   caller's memory, by the pointers that the enter hook saved. EA_KPROBES: the
 *   same, where the functions behind these syscalls are entered and returned from.
 *   EA_RETURN_EXECS: successful ones there too, where raw tracepoints cannot be used.
 *   What led to an exec, and how it ended: a map from process to the exec that
 *   it runs is kept at fork, exec and exit. Forks cross to user space in no
 *   other way; exits of programs do.
 *
 * Not traced
 *   execveat with AT_EXECVE_CHECK (it runs nothing), code that is mapped or
 *   interpreted without an exec. With syscall tracepoints, failed execs of 32-bit
 *   callers (the kernel does not trace compat syscalls). With kprobes, what a filter
 *   of system calls (seccomp) refuses: the function is never entered. What such a filter
 *   kills, traps or answers with 0: there is no exit with an error. With EA_RETURN_EXECS,
 *   programs that the kernel starts itself, and interpreters of scripts.
 *
 * Built by execaudit/probe.py, which passes as -D flags:
 *   EA_RING_PAGES   pages of the ring buffer, a power of two
 *   EA_RING_BYTES   the same in bytes
 *   EA_WAKE_BYTES   the reader is woken when one CPU has written this much
 *   EA_MAX_ARGV     bytes of a command line to keep, EA_UNKNOWN for all
 *   EA_PROCESSES    processes whose lineage can be kept at a time
 *   EA_FAILED_EXECS, EA_KPROBES, EA_RETURN_EXECS   if defined: see above
 *   EA_OFF_s__m     offset of member m in struct s, from the kernel's BTF
 *   EA_ENUM_e__n    value of n in enum e, from there too
 */
#include <uapi/linux/ptrace.h>

#include "execaudit.h"

/* probe.py looks for these in this file to know what to resolve. A kernel without a
 * member of EA_OPT, or a value of EA_ENUM, gives -1. */
#define EA_OFF(struct_, member) EA_OFF_##struct_##__##member
#define EA_OPT(struct_, member) EA_OFF_##struct_##__##member
#define EA_ENUM(enum_, name)    EA_ENUM_##enum_##__##name

#if EA_OPT(signal_struct, group_exec_task) >= 0
#define EA_GROUP_EXEC EA_OPT(signal_struct, group_exec_task) /* since 5.16 */
#else
#define EA_GROUP_EXEC EA_OPT(signal_struct, group_exit_task)
#endif

#if EA_OPT(kernfs_node, __parent) >= 0
#define EA_KERNFS_PARENT EA_OPT(kernfs_node, __parent) /* since 6.15 */
#else
#define EA_KERNFS_PARENT EA_OPT(kernfs_node, parent)
#endif

/* What a system call was given, and returned, by its place. Kernels of x86 and of ARM have
 * kept all of it in struct pt_regs since 4.19. */
#if EA_OPT(pt_regs, di) >= 0 /* x86-64 */
#define EA_REG_RETURN    EA_OPT(pt_regs, ax)
#define EA_REG_FIRST     EA_OPT(pt_regs, di)
#define EA_REG_SECOND    EA_OPT(pt_regs, si)
#define EA_REG_THIRD     EA_OPT(pt_regs, dx)
#define EA_REG_FIFTH     EA_OPT(pt_regs, r8)
#define EA_COMPAT_FIRST  EA_OPT(pt_regs, bx)
#define EA_COMPAT_SECOND EA_OPT(pt_regs, cx)
#define EA_COMPAT_THIRD  EA_OPT(pt_regs, dx)
#define EA_COMPAT_FIFTH  EA_OPT(pt_regs, di)
/* At the exit of a call they are still there, and its number; and of one argument the place
 * may have become the result's. */
#define EA_KEPT_NUMBER   EA_OPT(pt_regs, orig_ax)
#define EA_KEPT_FIRST    EA_REG_FIRST
#define EA_NR_EXECVEAT   322
#else /* arm64: x0, x1, ... and r0, r1, ... are the same */
#define EA_REG_RETURN    EA_OPT(pt_regs, regs)
#define EA_REG_FIRST     EA_OPT(pt_regs, regs)
#define EA_REG_SECOND    (EA_OPT(pt_regs, regs) + 8)
#define EA_REG_THIRD     (EA_OPT(pt_regs, regs) + 16)
#define EA_REG_FIFTH     (EA_OPT(pt_regs, regs) + 32)
#define EA_COMPAT_FIRST  EA_REG_FIRST
#define EA_COMPAT_SECOND EA_REG_SECOND
#define EA_COMPAT_THIRD  EA_REG_THIRD
#define EA_COMPAT_FIFTH  EA_REG_FIFTH
#define EA_KEPT_NUMBER   EA_OPT(pt_regs, syscallno)
#define EA_KEPT_FIRST    EA_OPT(pt_regs, orig_x0)
#define EA_NR_EXECVEAT   281
#endif

#if defined(EA_FAILED_EXECS) || defined(EA_RETURN_EXECS)
#define EA_CALLS
#endif

#define EA_AT_FDCWD (-100)
#define EA_AT_EXECVE_CHECK 0x10000
/* The kernel's own errors (ERESTARTSYS to ERESTART_RESTARTBLOCK): the syscall runs again by
 * itself once a signal was handled, or the thread is being ended. No caller ever sees them. */
#define EA_RESTART_FIRST 512
#define EA_RESTART_LAST  516
#define EA_E2BIG 7
#define EA_MAX_ERRNO 4095

/* A record is built in per-CPU memory: the BPF stack has 512 bytes, a per-CPU
 * value may have 32 KiB. Records start within the first EA_LOW bytes; what is
 * read behind that start is at most EA_CHUNK long. Both are powers of two
 * because masking with (power - 1) is the bound every verifier understands. */
#define EA_LOW   16384
#define EA_CHUNK 16384
#define EA_FIRST 8192 /* of the command line, at most, in the first record */
#define EA_PIECE 4096 /* of one argument of a failed exec, at most, in one read */
#define EA_RAW   (EA_LOW + EA_FIRST)

/* include/linux/sched.h, include/linux/sched/signal.h, include/uapi/linux/stat.h */
#define EA_PF_KTHREAD        0x00200000
#define EA_SIGNAL_GROUP_EXIT 4
#define EA_S_ISUID           04000
#define EA_S_ISGID           02000
#define EA_S_IXGRP           00010

#define EA_PATH_MAX 4096 /* the kernel's PATH_MAX */
/* The strings of a first record fit below EA_LOW: two walks of EA_PATH_MAX and a component each,
 * the filename, and these take 15 500 bytes; the walk to the root has what is left. */
#define EA_INTERP_MAX 1024 /* a first line has 256, a line of binfmt_misc 1920 */
#define EA_CGROUP_MAX 1536
#define EA_TTY_MAX    64   /* tty_struct.name */
#define EA_NAME_MAX 256  /* a component with its NUL: NAME_MAX + 1 */
/* Bounds on loops. A tail call goes on where a loop ends, and the kernel allows
 * 33 of them: two for the paths, the others give 31 * 16 * 16383 bytes = 8.1 MB
 * of argv, above the kernel's own limit of 6 MiB for arguments and environment,
 * and for a failed exec, whose arguments are read one by one, 31 * 512 of them. */
#define EA_COMPONENTS 128
#define EA_CGROUPS    64   /* of a cgroup's path, from the root on; a power of two */
#define EA_DEEPER     1024 /* more of them, walked by where the kernel has no way straight up */
#define EA_USER_NAMESPACES 33 /* nested: kernel/user_namespace.c allows as many */
#define EA_CHUNKS     16
#define EA_ARGS       512

/* include/uapi/linux/bpf.h */
#define EA_RB_NO_WAKEUP    1
#define EA_RB_FORCE_WAKEUP 2
#define EA_RB_AVAIL_DATA   0
#define EA_RB_PROD_POS     3
#define EA_RB_HEAD         8 /* what the ring adds to each record */

/* How much of the ring an account may hold, in halves of what is free, and what must stay free
 * for others: see has_room(). Failed execs cost nothing and can be made without end; of a huge
 * command line the pieces may be missing, but not the exec; and there is an end for each exec. */
#define EA_ASK_BYTES      (EA_RING_BYTES / 8)
#define EA_ROOT_WEIGHT    2 /* its programs are the host's: twice as much, and no reserve for others */
#define EA_FAILED_SHARE   1
#define EA_FAILED_RESERVE (EA_RING_BYTES / 4)
#define EA_MORE_SHARE     2
#define EA_MORE_RESERVE   (EA_RING_BYTES / 8)
#define EA_EXEC_SHARE     3
#define EA_EXIT_SHARE     4
#define EA_PROBES 4 /* places for an account's losses to look at */

/* An exec on its way, from one stage to the next. */
struct ea_state {
	char raw[EA_RAW]; /* the record; first, because BCC sends from the start of a value */
	__u64 argv;       /* successful: arg_start; failed: the caller's argv[] */
	__u64 rest;       /* failed: where the argument that is half sent goes on */
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
	__u32 sent;       /* the first record is out: a loss is no longer a loss of the exec */
	__u32 compat;     /* failed: the caller's pointers have 32 bits */
	__u32 account;
	__u32 weight;     /* of the account: see weight_of() */
	__u64 nodes[EA_CGROUPS]; /* scratch of append_cgroup(); last, because it is not cleared */
};

/* What a system call was entered with. */
struct ea_call {
	__u64 filename;
	__u64 argv;
	__u64 mm;
	__s32 dirfd;
	__u32 flags;
	__u32 tid;    /* a successful exec comes back with its leader's */
	__u32 compat; /* argv is an array of 32-bit pointers */
};

/* What a process runs: its image key, and whether it started that itself. */
struct ea_image {
	u64 boot_ns;
	u32 pid;
	u32 own; /* 0: it was forked from the one that did */
};

/* What an account has in the ring. Positions are the ring's own: bytes since it was made. */
struct ea_quota {
	u64 begin;  /* the producer's position when `held` began */
	u64 end;    /* behind what it sent last */
	u64 before; /* bytes that it sent before `begin`, some of which may still be there */
	u64 held;   /* bytes that it sent since */
};

BPF_RINGBUF_OUTPUT(events, EA_RING_PAGES);
/* One for each CPU that there may be; the reader maps them, and needs no system call. */
BPF_F_TABLE("array", u32, struct ea_loss, losses, EA_CPUS, BPF_F_MMAPABLE);
BPF_PERCPU_ARRAY(unwoken, u64, 1);
BPF_TABLE("lru_hash", u32, struct ea_quota, quotas, EA_ACCOUNTS);
/* The reader maps this too. Whose an element is says account_slots: an insertion there is the only
 * way to claim one at once with others that every kernel has. */
BPF_F_TABLE("array", u32, struct ea_account_loss, account_losses, EA_ACCOUNTS, BPF_F_MMAPABLE);
BPF_HASH(account_slots, u32, u32, EA_ACCOUNTS);

/* Keyed by signal_struct, of which a process has one from its fork to the end of its last
 * thread, whichever thread calls execve. Processes that were there before the probe have no
 * entry until they exec. */
BPF_HASH(images, u64, struct ea_image, EA_PROCESSES);
/* The boot clock when all hooks were attached; 0 until then. */
BPF_ARRAY(attached, u64, 1);

#ifdef EA_CALLS
/* Keyed by the task: its address stays the same when a thread takes over its
 * leader's pid. An LRU, so that tasks that die inside the call do not leak. */
BPF_TABLE("lru_hash", u64, struct ea_call, calls, 10240);
#endif
#ifdef EA_KPROBES
/* Whether each call meets both of its hooks: not while they are attached and detached. */
BPF_F_TABLE("array", u32, u32, following, 1, BPF_F_MMAPABLE);
#endif

/* Each hook has its own memory: a preemptible kernel may run one hook on a CPU
 * while another one is half done there (the same hook it skips, and counts). */
BPF_PERCPU_ARRAY(exec_state, struct ea_state, 1);
BPF_PROG_ARRAY(exec_stages, 3);

#define KERNEL_READ(dst, base, offset) \
	bpf_probe_read_kernel(&(dst), sizeof(dst), (void *)((u64)(base) + (offset)))

/* Keeps clang from dropping a mask that it thinks is redundant and the verifier needs. */
#define OPAQUE(n) asm volatile("" : "+r"(n))

/* Adds one to a member of this CPU's losses, whoever interrupts whom there. (BCC does not
 * look for its maps inside macros.) */
#define COUNT_LOSS(member) count_loss(__builtin_offsetof(struct ea_loss, member))

static __always_inline void count_loss(u32 offset)
{
	u32 cpu = bpf_get_smp_processor_id();
	struct ea_loss *loss = losses.lookup(&cpu);

	if (loss)
		__sync_fetch_and_add((u64 *)((u64)loss + offset), 1);
}

/* ---- room in the ring ---------------------------------------------------- */

/* ea_exec.account, from the kernel's own numbers of users: what a user namespace calls them
 * is its owner's to choose. */
static __always_inline u32 account_of(u64 cred)
{
	u64 ns = 0;
	u32 uid = 0, owner = 0;
	s32 level = 0;

	KERNEL_READ(uid, cred, EA_OFF(cred, uid));
	KERNEL_READ(ns, cred, EA_OFF(cred, user_ns));
	KERNEL_READ(level, ns, EA_OFF(user_namespace, level));
	if (!level)
		return uid;
	for (int i = 0; i < EA_USER_NAMESPACES && level > 1; i++) {
		KERNEL_READ(ns, ns, EA_OFF(user_namespace, parent));
		KERNEL_READ(level, ns, EA_OFF(user_namespace, level));
	}
	KERNEL_READ(owner, ns, EA_OFF(user_namespace, owner));
	return owner ? owner : uid;
}

static __always_inline u32 weight_of(u32 account)
{
	return account ? 1 : EA_ROOT_WEIGHT;
}

/* Counts a loss of an account, and then in total. Where all places near its own are taken, in
 * total only. */
static __always_inline void count_account_loss(u32 account, u32 member, u32 total_member)
{
	u32 slot = account & (EA_ACCOUNTS - 1);

	for (int i = 0; i < EA_PROBES; i++) {
		struct ea_account_loss *loss;
		u32 *owner = account_slots.lookup(&slot);

		if (!owner) {
			account_slots.insert(&slot, &account);
			owner = account_slots.lookup(&slot);
		}
		if (owner && *owner == account) {
			loss = account_losses.lookup(&slot);
			if (loss) {
				loss->account = account;
				loss->used = 1;
				__sync_fetch_and_add((u64 *)((u64)loss + member), 1);
			}
			break;
		}
		slot = (slot + 1) & (EA_ACCOUNTS - 1);
	}
	count_loss(total_member);
}

#define COUNT_ACCOUNT_LOSS(account, member)                                              \
	count_account_loss(account, __builtin_offsetof(struct ea_account_loss, member),  \
			   __builtin_offsetof(struct ea_loss, member))

/* BCC has no method for bpf_ringbuf_query(), and gives a map to no function that is not a
 * method. It turns events.ringbuf_reserve(what) into bpf_ringbuf_reserve(map, what, 0) before
 * the compiler sees this macro. The probe reserves nothing. */
#define bpf_ringbuf_reserve(map, what, flags) bpf_ringbuf_query(map, what)

static __always_inline u64 ring_query(u64 what)
{
	return (u64)events.ringbuf_reserve(what);
}

/* Whether n bytes of an account may go into the ring. An account may hold as much as is free,
 * times its share: the more there are that want all, the less each one gets, and something is left
 * for who wants little (Choudhury and Hahne, Dynamic Queue Length Thresholds, 1998). With the
 * shares of successful execs, one user gets 3/5 of the ring, two 3/8 each, three 3/11 each.
 *
 * While an eighth of the ring is in use nobody is asked, and nothing counted: that is nearly always.
 *
 * How much of what an account sent is still there is not known exactly. `held` begins anew when
 * the reader has passed where it began; what was counted until then is kept once more. So it may be
 * taken for too much, but not for too little. */
static __always_inline int has_room(u32 account, u32 weight, u32 n, u32 share, u32 reserve)
{
	u64 used = ring_query(EA_RB_AVAIL_DATA), sent, taken;
	s64 room = EA_RING_BYTES - used;
	struct ea_quota *quota, fresh = {};

	if (used < EA_ASK_BYTES)
		return 1;
	if (room < (s64)n + (s64)reserve * (EA_ROOT_WEIGHT - weight))
		return 0;
	sent = ring_query(EA_RB_PROD_POS);
	taken = sent - used;
	quota = quotas.lookup(&account);
	if (!quota) {
		fresh.begin = fresh.end = sent;
		quotas.update(&account, &fresh);
		return 1;
	}
	if (quota->begin <= taken) {
		/* All bits where something is still there, without a branch for the verifier to follow. */
		u64 some = (u64)((s64)(taken - quota->end) >> 63);

		quota->before = quota->held & some;
		quota->held = 0;
		quota->begin = sent;
	}
	if ((quota->before + quota->held + n) * 2 > (u64)room * share * weight)
		return 0;
	__sync_fetch_and_add(&quota->held, n);
	quota->end = sent + n;
	return 1;
}

/* Flags to send n bytes with. The reader comes by ten times a second and is woken
 * only when the ring is filling: a wake-up per exec would switch the CPU to the
 * reader and back for each, which costs the host a fifth of its speed. */
static __always_inline u64 wake_for(u32 n)
{
	u32 zero = 0;
	u64 *since = unwoken.lookup(&zero);

	if (!since)
		return EA_RB_NO_WAKEUP;
	*since += n;
	if (*since < EA_WAKE_BYTES)
		return EA_RB_NO_WAKEUP;
	*since = 0;
	return EA_RB_FORCE_WAKEUP;
}

/* Sends the first n bytes of raw, if there is room for what it is. */
static __always_inline int send(struct ea_state *s, u32 n, u32 share, u32 reserve)
{
	if (n > EA_RAW || !has_room(s->account, s->weight, n + EA_RB_HEAD, share, reserve))
		return -1;
	return events.ringbuf_output(s, n, wake_for(n));
}

static __always_inline int send_first(struct ea_state *s, u32 share, u32 reserve)
{
	if (send(s, s->pos, share, reserve) < 0) {
		COUNT_ACCOUNT_LOSS(s->account, execs);
		return -1;
	}
	s->sent = 1;
	return 0;
}

static __always_inline int send_more(struct ea_state *s, u32 n, u32 share, u32 reserve)
{
	if (send(s, n, share, reserve) < 0) {
		COUNT_LOSS(records);
		return -1;
	}
	return 0;
}

/* ---- kprobes ------------------------------------------------------------- */

#ifdef EA_KPROBES

static __always_inline u64 register_of(struct pt_regs *ctx, int offset)
{
	return *(u64 *)((char *)ctx + offset);
}

static __always_inline int is_following(void)
{
	u32 zero = 0, *follows = following.lookup(&zero);

	return follows && *follows;
}

/* The kernel follows a bounded number of calls to their return, and lets the others go by
 * without a word: their hook on the return never runs. What was kept at the entry is then
 * still there when the same task calls again, or ends, since it is in one call at a time.
 * (A success drops it at sched_process_exec, so what is left has no record.) */
static __always_inline void count_unreturned(u64 task)
{
	if (calls.lookup(&task) && is_following())
		COUNT_LOSS(returns);
}

#endif

/* ---- lineage ------------------------------------------------------------- */

/* Returns whether a process without an entry was there before the probe, and so has none. */
static __always_inline int is_older(u64 task)
{
	u32 zero = 0;
	u64 *since = attached.lookup(&zero);
	u64 leader = 0, born = 0;

	if (!since || !*since)
		return 1;
	KERNEL_READ(leader, task, EA_OFF(task_struct, group_leader));
	KERNEL_READ(born, leader, EA_OFF(task_struct, start_boottime));
	return born <= *since;
}

/* What a process runs. */
static __always_inline struct ea_image image_of(u64 task, u64 signal)
{
	struct ea_image found = {}, *known = images.lookup(&signal);

	if (known) {
		found = *known;
	} else if (is_older(task)) {
		KERNEL_READ(found.pid, task, EA_OFF(task_struct, tgid));
		found.own = 1;
	}
	return found;
}

static __always_inline void keep_image(u64 signal, struct ea_image *image)
{
	if (images.update(&signal, image))
		COUNT_LOSS(images);
}

static __always_inline int forked(u64 task, u64 child)
{
	u64 signal = 0, child_signal = 0;
	struct ea_image image;

	KERNEL_READ(signal, task, EA_OFF(task_struct, signal));
	KERNEL_READ(child_signal, child, EA_OFF(task_struct, signal));
	if (signal == child_signal)
		return 0; /* a thread */
	image = image_of(task, signal);
	image.own = 0;
	keep_image(child_signal, &image);
	return 0;
}

static __always_inline int ended(u64 task)
{
	u64 signal = 0, leader = 0, cred = 0;
	struct ea_image image, *known;
	struct ea_exit out = {};
	u32 live = 0, flags = 0, account = 0;

#ifdef EA_KPROBES
	count_unreturned(task);
	calls.delete(&task);
#endif
	KERNEL_READ(signal, task, EA_OFF(task_struct, signal));
	KERNEL_READ(live, signal, EA_OFF(signal_struct, live));
	if (live)
		return 0;
	known = images.lookup(&signal);
	image = image_of(task, signal);
	/* The last two threads may both come by here; one of them finds the entry. */
	if (known && images.delete(&signal))
		return 0;
	KERNEL_READ(flags, task, EA_OFF(task_struct, flags));
	if (!image.own || flags & EA_PF_KTHREAD)
		return 0;
	out.head.boot_ns = bpf_ktime_get_boot_ns();
	KERNEL_READ(out.head.pid, task, EA_OFF(task_struct, tgid));
	KERNEL_READ(out.head.tid, task, EA_OFF(task_struct, pid));
	out.head.size = sizeof(out);
	out.head.type = EA_EXIT;
	out.head.flags = EA_LAST;
	out.image_ns = image.boot_ns;
	out.image_pid = image.pid;
	/* As wait_task_zombie() in kernel/exit.c chooses it. */
	flags = 0;
	KERNEL_READ(flags, signal, EA_OFF(signal_struct, flags));
	if (flags & EA_SIGNAL_GROUP_EXIT) {
		KERNEL_READ(out.status, signal, EA_OFF(signal_struct, group_exit_code));
	} else {
		KERNEL_READ(leader, task, EA_OFF(task_struct, group_leader));
		KERNEL_READ(out.status, leader, EA_OFF(task_struct, exit_code));
	}
	if (ring_query(EA_RB_AVAIL_DATA) >= EA_ASK_BYTES) {
		KERNEL_READ(cred, task, EA_OFF(task_struct, cred));
		account = account_of(cred);
	}
	if (!has_room(account, weight_of(account), sizeof(out) + EA_RB_HEAD, EA_EXIT_SHARE, 0) ||
	    events.ringbuf_output(&out, sizeof(out), wake_for(sizeof(out))) < 0)
		COUNT_ACCOUNT_LOSS(account, exits);
	return 0;
}

#ifdef EA_RETURN_EXECS

/* wake_up_new_task(child): the forking task goes from the raw tracepoint right to it. */
int on_fork(struct pt_regs *ctx)
{
	return forked(bpf_get_current_task(), register_of(ctx, EA_REG_FIRST));
}

/* exit_fs(task): just before or behind the raw tracepoint. A fork that fails calls it for the
 * child too, whose process is then not over: its signal->live is not 0. */
int on_process_exit(struct pt_regs *ctx)
{
	return ended(register_of(ctx, EA_REG_FIRST));
}

#else

/* args: the forking task, its child */
int on_fork(struct bpf_raw_tracepoint_args *ctx)
{
	return forked(ctx->args[0], ctx->args[1]);
}

/* args: task */
int on_process_exit(struct bpf_raw_tracepoint_args *ctx)
{
	return ended(ctx->args[0]);
}

#endif

/* ---- facts --------------------------------------------------------------- */

/* Appends a kernel string of at most `most` bytes, its NUL counted. */
static __always_inline void append_text(struct ea_state *s, u32 which, u64 text, u32 most)
{
	struct ea_exec *e = (void *)s->raw;
	u32 pos = s->pos;
	long n;

	OPAQUE(pos);
	pos &= EA_LOW - 1;
	n = bpf_probe_read_kernel_str(&s->raw[pos], most, (void *)text);
	if (n <= 0)
		return;
	e->str_len[which] = n;
	s->pos = pos + n;
}

/* Reads a string of the process, and returns its length, the NUL counted. Before 6.13 the
 * kernel says 0 of an empty one, and writes nothing. */
static __always_inline long read_user_text(char *to, u32 most, u64 text)
{
	long n;

	*to = 0;
	n = bpf_probe_read_user_str(to, most, (void *)text);
	return n ? n : 1;
}

/* Reads the first of the strings out of the memory of the process. */
static __always_inline void read_filename(struct ea_state *s, u64 text)
{
	struct ea_exec *e = (void *)s->raw;
	long n = read_user_text(&s->raw[sizeof(*e)], EA_PATH_MAX, text);

	if (n < 0)
		return;
	e->str_len[EA_STR_FILENAME] = n;
	s->pos = sizeof(*e) + n;
}

static __always_inline void append_tty(struct ea_state *s, u64 signal)
{
	u64 tty = 0;

	KERNEL_READ(tty, signal, EA_OFF(signal_struct, tty));
	if (tty)
		append_text(s, EA_STR_TTY, tty + EA_OFF(tty_struct, name), EA_TTY_MAX);
}

/* A cgroup, or 0 if it is the root of its hierarchy. */
static __always_inline u64 below_root(u64 cgroup)
{
	s32 level = 0;

	KERNEL_READ(level, cgroup, EA_OFF(cgroup, level));
	return level > 0 ? cgroup : 0;
}

static __always_inline u64 cgroup_of_controller(u64 css_set, int controller)
{
	u64 css = 0, cgroup = 0;

	if (controller < 0)
		return 0;
	KERNEL_READ(css, css_set, EA_OFF(css_set, subsys) + 8 * controller);
	KERNEL_READ(cgroup, css, EA_OFF(cgroup_subsys_state, cgroup));
	return below_root(cgroup);
}

/* Returns the directory of a cgroup, or, where there are more than EA_CGROUPS from the root on,
 * of the one above it that is the last of so many; 0 if that is too far. */
static __always_inline u64 node_within(u64 cgroup, s32 level)
{
	u64 node = 0;

#if EA_OPT(cgroup, ancestors) >= 0 /* since 6.1 */
	if (level > EA_CGROUPS)
		KERNEL_READ(cgroup, cgroup, EA_OPT(cgroup, ancestors) + 8 * EA_CGROUPS);
	KERNEL_READ(node, cgroup, EA_OFF(cgroup, kn));
#else
	KERNEL_READ(node, cgroup, EA_OFF(cgroup, kn));
	for (int i = 0; i < EA_DEEPER; i++) {
		if (level - i <= EA_CGROUPS)
			return node;
		KERNEL_READ(node, node, EA_KERNFS_PARENT);
	}
	if (level - EA_DEEPER > EA_CGROUPS)
		return 0;
#endif
	return node;
}

/* The unified hierarchy's; where that is not in use, the controllers' that container engines
 * and systemd of v1 hosts make groups of. The root end comes first, because that is where a
 * container's name is: who makes groups below it must not push it out. */
static __always_inline void append_cgroup(struct ea_state *s, u64 task)
{
	struct ea_exec *e = (void *)s->raw;
	u64 set = 0, root = 0, cgroup, node = 0;
	u32 begin = s->pos, pos = s->pos, depth = 0, flags = 0;
	s32 level = 0;

	KERNEL_READ(set, task, EA_OFF(task_struct, cgroups));
	KERNEL_READ(root, set, EA_OFF(css_set, dfl_cgrp));
	if (!root) {
		e->path_flags |= EA_PATH_NONE * EA_PATH_CGROUP;
		return;
	}
	cgroup = below_root(root);
	if (!cgroup)
		cgroup = cgroup_of_controller(set, EA_ENUM(cgroup_subsys_id, pids_cgrp_id));
	if (!cgroup)
		cgroup = cgroup_of_controller(set, EA_ENUM(cgroup_subsys_id, memory_cgrp_id));
	if (!cgroup)
		return;
	KERNEL_READ(level, cgroup, EA_OFF(cgroup, level));
	if (level > EA_CGROUPS)
		flags = EA_PATH_CUT;
	node = node_within(cgroup, level);
	for (int i = 0; i < EA_CGROUPS; i++) {
		u64 above = 0;

		if (node)
			KERNEL_READ(above, node, EA_KERNFS_PARENT);
		if (!above)
			break;
		s->nodes[i] = node;
		depth = i + 1;
		node = above;
	}
	for (int i = 0; i < EA_CGROUPS; i++) {
		u32 next = depth - 1 - i;
		u64 name = 0;
		long n;

		if (i >= depth)
			break;
		if (pos - begin >= EA_CGROUP_MAX - EA_NAME_MAX) {
			flags = EA_PATH_CUT;
			break;
		}
		OPAQUE(next);
		next &= EA_CGROUPS - 1;
		KERNEL_READ(name, s->nodes[next], EA_OFF(kernfs_node, name));
		pos &= EA_LOW - 1;
		OPAQUE(pos);
		pos &= EA_LOW - 1;
		n = bpf_probe_read_kernel_str(&s->raw[pos], EA_NAME_MAX, (void *)name);
		if (n < 0) {
			flags = EA_PATH_CUT;
			break;
		}
		pos += n;
	}
	e->path_flags |= flags * EA_PATH_CGROUP;
	e->str_len[EA_STR_CGROUP] = pos - begin;
	s->pos = pos;
}

/* The file that runs, and what it gave the process (bprm_fill_uid in fs/exec.c,
 * cap_bprm_creds_from_file in security/commoncap.c). The kernel opened the file for this exec:
 * what opened it (f_cred) are the credentials that the caller had before. */
static __always_inline void fill_image(struct ea_exec *e, u64 exe_file, u64 cred)
{
	u64 inode = 0, super = 0, permitted = 0, ambient = 0, ns = 0, before = 0, permitted_before = 0;
	u32 owner = 0, group = 0, egid = 0, euid_before = 0, egid_before = 0;
	s32 level = 0;
	u16 mode = 0;

	KERNEL_READ(inode, exe_file, EA_OFF(file, f_inode));
	KERNEL_READ(e->inode, inode, EA_OFF(inode, i_ino));
	KERNEL_READ(e->nlink, inode, EA_OFF(inode, i_nlink));
	KERNEL_READ(super, inode, EA_OFF(inode, i_sb));
	KERNEL_READ(e->device, super, EA_OFF(super_block, s_dev));
	if (e->head.type != EA_EXEC)
		return;
	KERNEL_READ(mode, inode, EA_OFF(inode, i_mode));
	KERNEL_READ(owner, inode, EA_OFF(inode, i_uid));
	KERNEL_READ(group, inode, EA_OFF(inode, i_gid));
	KERNEL_READ(egid, cred, EA_OFF(cred, egid));
	KERNEL_READ(before, exe_file, EA_OFF(file, f_cred));
	KERNEL_READ(euid_before, before, EA_OFF(cred, euid));
	KERNEL_READ(egid_before, before, EA_OFF(cred, egid));
	KERNEL_READ(permitted_before, before, EA_OFF(cred, cap_permitted));
	if (mode & EA_S_ISUID && e->euid == owner && euid_before != owner)
		e->gained |= EA_GAINED_SETUID;
	if (mode & EA_S_ISGID && mode & EA_S_IXGRP && egid == group && egid_before != group)
		e->gained |= EA_GAINED_SETGID;
	/* Without root, what is permitted after an exec is ambient, or came with the file. */
	KERNEL_READ(ns, cred, EA_OFF(cred, user_ns));
	KERNEL_READ(level, ns, EA_OFF(user_namespace, level));
	KERNEL_READ(permitted, cred, EA_OFF(cred, cap_permitted));
	KERNEL_READ(ambient, cred, EA_OFF(cred, cap_ambient));
	if (!level && e->uid && e->euid && permitted & ~ambient & ~permitted_before)
		e->gained |= EA_GAINED_CAPABILITIES;
}

/* Where the process is, as seen from where pid 1 is: root, mount namespace. */
static __always_inline void fill_place(struct ea_state *s, u64 task)
{
	struct ea_exec *e = (void *)s->raw;
	u64 pid = 0, ns = 0, init = 0, fs = 0, proxy = 0, mnt_ns = 0, host_ns = 0, dentry = 0, mnt = 0;

	/* numbers[0] is the pid in the initial namespace, whichever the process is in. */
	KERNEL_READ(pid, task, EA_OFF(task_struct, thread_pid));
	KERNEL_READ(ns, pid, EA_OFF(pid, numbers) + EA_OFF(upid, ns));
	KERNEL_READ(init, ns, EA_OFF(pid_namespace, child_reaper));
	KERNEL_READ(fs, init, EA_OFF(task_struct, fs));
	KERNEL_READ(s->host_dentry, fs, EA_OFF(fs_struct, root) + EA_OFF(path, dentry));
	KERNEL_READ(s->host_mnt, fs, EA_OFF(fs_struct, root) + EA_OFF(path, mnt));
	KERNEL_READ(proxy, init, EA_OFF(task_struct, nsproxy));
	KERNEL_READ(host_ns, proxy, EA_OFF(nsproxy, mnt_ns));

	KERNEL_READ(proxy, task, EA_OFF(task_struct, nsproxy));
	KERNEL_READ(mnt_ns, proxy, EA_OFF(nsproxy, mnt_ns));
	if (mnt_ns != host_ns)
		KERNEL_READ(e->mnt_ns, mnt_ns, EA_OFF(mnt_namespace, ns) + EA_OFF(ns_common, inum));
	KERNEL_READ(fs, task, EA_OFF(task_struct, fs));
	KERNEL_READ(dentry, fs, EA_OFF(fs_struct, root) + EA_OFF(path, dentry));
	KERNEL_READ(mnt, fs, EA_OFF(fs_struct, root) + EA_OFF(path, mnt));
	if (dentry != s->host_dentry || mnt != s->host_mnt)
		s->root = fs + EA_OFF(fs_struct, root);
}

/* Who traces the process and could rewrite what it is about to run. */
static __always_inline void fill_tracer(struct ea_exec *e, u64 task)
{
	u64 tracer = 0;
	u32 flags = 0;

	KERNEL_READ(flags, task, EA_OFF(task_struct, ptrace));
	if (!flags)
		return;
	KERNEL_READ(tracer, task, EA_OFF(task_struct, parent));
	KERNEL_READ(e->traced, tracer, EA_OFF(task_struct, tgid));
}

/* The facts that both kinds of exec share. */
static __always_inline void fill_facts(struct ea_state *s, u8 type)
{
	struct ea_exec *e = (void *)s->raw;
	u64 task = bpf_get_current_task();
	u64 pid_tgid = bpf_get_current_pid_tgid();
	u64 uid_gid = bpf_get_current_uid_gid();
	u64 parent = 0, cred = 0, mm = 0, exe_file = 0, signal = 0;
	struct ea_image image;

	__builtin_memset(e, 0, sizeof(*e));
	e->head.boot_ns = bpf_ktime_get_boot_ns();
	e->head.tid = pid_tgid;
	e->head.pid = pid_tgid >> 32;
	e->head.size = sizeof(*e);
	e->head.type = type;
	e->caller_tid = pid_tgid;
	KERNEL_READ(parent, task, EA_OFF(task_struct, real_parent));
	KERNEL_READ(e->ppid, parent, EA_OFF(task_struct, tgid));
	KERNEL_READ(parent, parent, EA_OFF(task_struct, group_leader));
	KERNEL_READ(e->parent_comm, parent, EA_OFF(task_struct, comm));
	KERNEL_READ(signal, task, EA_OFF(task_struct, signal));
	image = image_of(task, signal);
	e->parent_ns = image.boot_ns;
	e->parent_pid = image.pid;
	e->uid = uid_gid;
	e->gid = uid_gid >> 32;
	KERNEL_READ(cred, task, EA_OFF(task_struct, cred));
	KERNEL_READ(e->euid, cred, EA_OFF(cred, euid));
	e->dirfd = EA_AT_FDCWD;
	e->auid = e->session = EA_UNKNOWN;
#if EA_OPT(task_struct, loginuid) >= 0
	KERNEL_READ(e->auid, task, EA_OPT(task_struct, loginuid));
	KERNEL_READ(e->session, task, EA_OPT(task_struct, sessionid));
#endif
	bpf_get_current_comm(&e->comm, sizeof(e->comm));

	__builtin_memset((char *)s + EA_RAW, 0, __builtin_offsetof(struct ea_state, nodes) - EA_RAW);
	s->pos = sizeof(*e);
	s->account = e->account = account_of(cred);
	s->weight = weight_of(s->account);
	fill_place(s, task);
	fill_tracer(e, task);
	KERNEL_READ(mm, task, EA_OFF(task_struct, mm));
	KERNEL_READ(exe_file, mm, EA_OFF(mm_struct, exe_file));
	if (exe_file) {
		s->exe = exe_file + EA_OFF(file, f_path);
		fill_image(e, exe_file, cred);
	}
	if (type == EA_EXEC) {
		e->replaces = image.own;
		image.boot_ns = e->head.boot_ns;
		image.pid = e->head.pid;
		image.own = 1;
		keep_image(signal, &image);
	}
}

/* The texts that follow the filename, in the order of their numbers. */
static __always_inline void append_origin(struct ea_state *s)
{
	u64 task = bpf_get_current_task(), signal = 0;

	KERNEL_READ(signal, task, EA_OFF(task_struct, signal));
	append_tty(s, signal);
	append_cgroup(s, task);
}

/* Says whether a mount is in nobody's tree: unmounted while in use, or not yet mounted
 * (open_tree). A mount of the kernel's own, such as that of pipes, has an error for a pointer. */
static __always_inline int is_detached(u64 mount)
{
	u64 ns = 0;
	u32 number = 0;

	KERNEL_READ(ns, mount, EA_OFF(mount, mnt_ns));
	if (!ns)
		return 1;
	if ((s64)ns < 0 && (s64)ns >= -EA_MAX_ERRNO)
		return 0;
	KERNEL_READ(number, ns, EA_OFF(mnt_namespace, ns) + EA_OFF(ns_common, inum));
	return !number || number == (u32)EA_ENUM(init_ns_ino, MNT_NS_ANON_INO);
}

/* Appends the components of a struct path, the last one first, up to the host's root or that
 * of the mount namespace, as /proc shows it from outside (prepend_path in fs/d_path.c): from
 * the root of a mount it goes on at the mountpoint, and a chroot does not end it. */
static __always_inline void walk(struct ea_state *s, u32 which, u64 path, u32 shift)
{
	struct ea_exec *e = (void *)s->raw;
	u32 begin = s->pos, pos = s->pos, flags = EA_PATH_CUT;
	u64 dentry = 0, mnt = 0, parent = 0, pprev = 0;

	if (path)
		KERNEL_READ(dentry, path, EA_OFF(path, dentry));
	if (!dentry) {
		e->path_flags |= EA_PATH_NONE * shift;
		return;
	}
	KERNEL_READ(mnt, path, EA_OFF(path, mnt));
	KERNEL_READ(parent, dentry, EA_OFF(dentry, d_parent));
	KERNEL_READ(pprev, dentry, EA_OFF(dentry, d_hash) + EA_OFF(hlist_bl_node, pprev));
	/* d_unlinked(): not in the hash, and not the root of anything. */
	if (!pprev && parent != dentry)
		e->path_flags |= EA_PATH_DELETED * shift;

	for (int i = 0; i < EA_COMPONENTS; i++) {
		u64 mnt_root = 0, name = 0;
		long n;

		if (dentry == s->host_dentry && mnt == s->host_mnt) {
			flags = 0;
			break;
		}
		KERNEL_READ(mnt_root, mnt, EA_OFF(vfsmount, mnt_root));
		if (dentry == mnt_root) {
			u64 mount = mnt - EA_OFF(mount, mnt), above = 0;

			KERNEL_READ(above, mount, EA_OFF(mount, mnt_parent));
			if (above == mount || !above) {
				flags = is_detached(mount) ? EA_PATH_UNREACHABLE : 0;
				break;
			}
			KERNEL_READ(dentry, mount, EA_OFF(mount, mnt_mountpoint));
			mnt = above + EA_OFF(mount, mnt);
			continue;
		}
		KERNEL_READ(name, dentry, EA_OFF(dentry, d_name) + EA_OFF(qstr, name));
		KERNEL_READ(parent, dentry, EA_OFF(dentry, d_parent));
		/* The root of a file system, of which the mount shows a folder: moved out of there. */
		if (parent == dentry && i) {
			flags = EA_PATH_UNREACHABLE;
			break;
		}
		pos &= EA_LOW - 1;
		OPAQUE(pos);
		pos &= EA_LOW - 1;
		n = bpf_probe_read_kernel_str(&s->raw[pos], EA_NAME_MAX, (void *)name);
		if (n < 0)
			break;
		pos += n;
		if (parent == dentry) {
			flags = EA_PATH_PSEUDO;
			break;
		}
		dentry = parent;
		if (pos - begin >= EA_PATH_MAX || pos >= EA_LOW - EA_NAME_MAX)
			break;
	}
	e->path_flags |= flags * shift;
	e->str_len[which] = pos - begin;
	s->pos = pos;
}

/* Appends the process's root, unless it is the host's, or the same folder at the top of
 * another mount namespace. */
static __always_inline void walk_root(struct ea_state *s)
{
	struct ea_exec *e = (void *)s->raw;
	u64 dentry = 0;

	if (s->root) {
		walk(s, EA_STR_ROOT, s->root, EA_PATH_ROOT);
		KERNEL_READ(dentry, s->root, EA_OFF(path, dentry));
		if (e->str_len[EA_STR_ROOT] || dentry != s->host_dentry)
			return;
	}
	e->path_flags |= EA_PATH_NONE * EA_PATH_ROOT;
}

static __always_inline void walk_cwd(struct ea_state *s)
{
	u64 fs = 0;

	KERNEL_READ(fs, bpf_get_current_task(), EA_OFF(task_struct, fs));
	walk(s, EA_STR_CWD, fs + EA_OFF(fs_struct, pwd), EA_PATH_CWD);
}

/* ---- successful execs ---------------------------------------------------- */

#define EXEC_STAGE_CWD  0
#define EXEC_STAGE_EXE  1
#define EXEC_STAGE_MORE 2

static __always_inline struct ea_state *exec_mine(void)
{
	u32 zero = 0;

	return exec_state.lookup(&zero);
}

/* The new image's facts and the range of its command line. */
static __always_inline void fill_exec(struct ea_state *s, u32 caller_tid)
{
	struct ea_exec *e = (void *)s->raw;
	u64 mm = 0, arg_end = 0;

	fill_facts(s, EA_EXEC);
	e->caller_tid = caller_tid;
	KERNEL_READ(mm, bpf_get_current_task(), EA_OFF(task_struct, mm));
	KERNEL_READ(s->argv, mm, EA_OFF(mm_struct, arg_start));
	KERNEL_READ(arg_end, mm, EA_OFF(mm_struct, arg_end));
	s->total = arg_end - s->argv;
	e->head.total = s->total;
	s->cut_from = s->cut_to = s->total;
	if (s->total > (u32)EA_MAX_ARGV) {
		/* The head and the tail: padding must not push the payload out of sight. */
		s->cut_from = EA_MAX_ARGV - EA_MAX_ARGV / 2;
		s->cut_to = s->total - EA_MAX_ARGV / 2;
	}
	e->cut_from = s->cut_from;
	e->cut_to = s->cut_to;
	if (!s->cut_from)
		s->off = s->cut_to; /* nothing is to be kept */
}

#ifndef EA_RETURN_EXECS

/* args: task, old pid of the thread that called, struct linux_binprm */
int on_exec(struct bpf_raw_tracepoint_args *ctx)
{
	struct ea_state *s = exec_mine();
	struct ea_exec *e;
	u64 bprm = ctx->args[2], name = 0, interp = 0;

	if (!s)
		return 0;
#ifdef EA_KPROBES
	u64 task = bpf_get_current_task();

	calls.delete(&task);
#endif
	e = (void *)s->raw;
	fill_exec(s, ctx->args[1]);
	KERNEL_READ(e->head.argc, bprm, EA_OFF(linux_binprm, argc));
	KERNEL_READ(name, bprm, EA_OFF(linux_binprm, filename));
	append_text(s, EA_STR_FILENAME, name, EA_PATH_MAX);
	/* The same text, not a copy, when the file itself is what runs. */
	KERNEL_READ(interp, bprm, EA_OFF(linux_binprm, interp));
	if (interp != name)
		append_text(s, EA_STR_INTERP, interp, EA_INTERP_MAX);
	append_origin(s);
	exec_stages.call(ctx, EXEC_STAGE_CWD);
	COUNT_LOSS(execs);
	return 0;
}

#else

/* The system call has returned 0: the new image is there, and has not run yet. Of its stack
 * the kernel writes the filename first, so that it stands right behind the environment
 * (fs/exec.c), and argc last (create_elf_tables in fs/binfmt_elf.c). */
static __always_inline void exec_returned(struct pt_regs *ctx, u32 caller_tid)
{
	struct ea_state *s = exec_mine();
	struct ea_exec *e;
	u64 mm = 0, env_end = 0, stack = 0;

	if (!s)
		return;
	e = (void *)s->raw;
	fill_exec(s, caller_tid);
	KERNEL_READ(mm, bpf_get_current_task(), EA_OFF(task_struct, mm));
	KERNEL_READ(stack, mm, EA_OFF(mm_struct, start_stack));
	if (bpf_probe_read_user(&e->head.argc, sizeof(e->head.argc), (void *)stack) < 0)
		e->head.argc = EA_UNKNOWN;
	KERNEL_READ(env_end, mm, EA_OFF(mm_struct, env_end));
	read_filename(s, env_end);
	append_origin(s);
	exec_stages.call(ctx, EXEC_STAGE_CWD);
	COUNT_LOSS(execs);
}

#endif

int on_exec_cwd(void *ctx)
{
	struct ea_state *s = exec_mine();

	if (!s)
		return 0;
	walk_cwd(s);
	exec_stages.call(ctx, EXEC_STAGE_EXE);
	COUNT_LOSS(execs);
	return 0;
}

/* How many bytes the next record takes, `most` at most: up to the cut, or to the end. */
static __always_inline u32 next_span(struct ea_state *s, u32 most)
{
	u32 n = (s->off < s->cut_from ? s->cut_from : s->total) - s->off;

	return n < most ? n : most;
}

/* Goes on behind n bytes, and behind the cut. Returns EA_LAST where nothing is left. */
static __always_inline u8 advance(struct ea_state *s, u32 n)
{
	s->off += n;
	if (s->off == s->cut_from)
		s->off = s->cut_to;
	return s->off < s->total ? 0 : EA_LAST;
}

int on_exec_exe(void *ctx)
{
	struct ea_state *s = exec_mine();
	struct ea_exec *e;
	u32 n, pos;
	u64 from;

	if (!s)
		return 0;
	e = (void *)s->raw;
	walk(s, EA_STR_EXE, s->exe, EA_PATH_EXE);
	walk_root(s);
	n = next_span(s, EA_FIRST - 1);
	from = s->argv + s->off;
	e->head.offset = s->off;
	e->head.flags = advance(s, n);
	pos = s->pos;
	OPAQUE(n);
	n &= EA_FIRST - 1;
	OPAQUE(pos);
	pos &= EA_LOW - 1;
	if (bpf_probe_read_user(&s->raw[pos], n, (void *)from) < 0) {
		e->head.flags |= EA_FAULT;
		e->head.missing = n;
	} else {
		e->head.len = n;
		s->pos = pos + n;
	}
	if (send_first(s, EA_EXEC_SHARE, 0) < 0 || e->head.flags & EA_LAST)
		return 0;
	exec_stages.call(ctx, EXEC_STAGE_MORE);
	COUNT_LOSS(records);
	return 0;
}

int on_exec_more(void *ctx)
{
	struct ea_state *s = exec_mine();
	struct ea_head *h;

	if (!s)
		return 0;
	h = (void *)s->raw;
	h->type = EA_EXEC_MORE;
	h->size = sizeof(*h);
	for (int i = 0; i < EA_CHUNKS; i++) {
		u32 n = next_span(s, EA_CHUNK - 1);

		h->seq++;
		h->offset = s->off;
		h->flags = advance(s, n);
		h->missing = 0;
		OPAQUE(n);
		n &= EA_CHUNK - 1;
		if (bpf_probe_read_user(&s->raw[sizeof(*h)], n, (void *)(s->argv + h->offset)) < 0) {
			h->flags |= EA_FAULT;
			h->missing = n;
			n = 0;
		}
		h->len = n;
		/* Refused: the next ones may still find room, and each byte counts. */
		send_more(s, sizeof(*h) + n, EA_MORE_SHARE, EA_MORE_RESERVE);
		if (h->flags & EA_LAST)
			return 0;
	}
	exec_stages.call(ctx, EXEC_STAGE_MORE);
	COUNT_LOSS(records);
	return 0;
}

/* ---- calls --------------------------------------------------------------- */

#ifdef EA_CALLS

static __always_inline int enter(u64 filename, u64 argv, s32 dirfd, u32 flags, u32 compat)
{
	u64 task = bpf_get_current_task();
	struct ea_call call = {};

	call.filename = filename;
	call.argv = argv;
	call.dirfd = dirfd;
	call.flags = flags;
	call.tid = bpf_get_current_pid_tgid();
	call.compat = compat;
	KERNEL_READ(call.mm, task, EA_OFF(task_struct, mm));
#ifdef EA_KPROBES
	count_unreturned(task);
#endif
	calls.update(&task, &call);
	return 0;
}

#ifdef EA_KPROBES

#define EA_EXIT_CONTEXT pt_regs
#define EA_RESULT(ctx)  register_of(ctx, EA_REG_RETURN)

/* The function's only argument is the address of the caller's registers. */
static __always_inline u64 given(struct pt_regs *ctx, int offset)
{
	u64 value = 0;

	KERNEL_READ(value, register_of(ctx, EA_REG_FIRST), offset);
	return value;
}

int on_enter_execve(struct pt_regs *ctx)
{
	return enter(given(ctx, EA_REG_FIRST), given(ctx, EA_REG_SECOND), EA_AT_FDCWD, 0, 0);
}

int on_enter_execveat(struct pt_regs *ctx)
{
	return enter(given(ctx, EA_REG_SECOND), given(ctx, EA_REG_THIRD), given(ctx, EA_REG_FIRST),
		     given(ctx, EA_REG_FIFTH), 0);
}

/* Of 32-bit calls the upper halves of the registers mean nothing. */
int on_enter_compat_execve(struct pt_regs *ctx)
{
	return enter((u32)given(ctx, EA_COMPAT_FIRST), (u32)given(ctx, EA_COMPAT_SECOND), EA_AT_FDCWD, 0, 1);
}

int on_enter_compat_execveat(struct pt_regs *ctx)
{
	return enter((u32)given(ctx, EA_COMPAT_SECOND), (u32)given(ctx, EA_COMPAT_THIRD),
		     given(ctx, EA_COMPAT_FIRST), given(ctx, EA_COMPAT_FIFTH), 1);
}

#else

#define EA_EXIT_CONTEXT ea_sys_exit
#define EA_RESULT(ctx)  ((ctx)->ret)

/* The syscall tracepoints' records (events/syscalls/sys_*_execve/format). */
struct ea_sys_enter {
	u64 common;
	s64 nr;
	u64 args[6];
};

struct ea_sys_exit {
	u64 common;
	s64 nr;
	s64 ret;
};

int on_enter_execve(struct ea_sys_enter *ctx)
{
	return enter(ctx->args[0], ctx->args[1], EA_AT_FDCWD, 0, 0);
}

int on_enter_execveat(struct ea_sys_enter *ctx)
{
	return enter(ctx->args[1], ctx->args[2], ctx->args[0], ctx->args[4], 0);
}

#endif

#if defined(EA_FAILED_EXECS) && !defined(EA_KPROBES)

#if EA_ENUM(bpf_func_id, BPF_FUNC_task_pt_regs) >= 0 /* since 5.15 */

static void *(*const ea_current)(void) = (void *)EA_ENUM(bpf_func_id, BPF_FUNC_get_current_task_btf);
static void *(*const ea_registers)(void *task) = (void *)EA_ENUM(bpf_func_id, BPF_FUNC_task_pt_regs);

static __always_inline u64 kept_registers(u64 task)
{
	return (u64)ea_registers(ea_current());
}

#else

/* task_pt_regs() of x86: at the end of the stack, which has 16 KiB. */
static __always_inline u64 kept_registers(u64 task)
{
	u64 stack = 0;

	KERNEL_READ(stack, task, EA_OFF(task_struct, stack));
	return stack + 16384 - (EA_OPT(pt_regs, ss) + 8);
}

#endif

/* Where a filter of system calls (seccomp) refuses a call, the hook on the entry is not reached.
 * At its exit the kernel still has what it was given. */
static __always_inline void recover_call(struct ea_sys_exit *ctx, u64 task, struct ea_call *call)
{
	u64 regs = kept_registers(task), dirfd = 0, flags = 0;
	s32 number = -1, expected = ctx->nr;

	KERNEL_READ(number, regs, EA_KEPT_NUMBER);
	if (number != expected)
		return;
	if (number == EA_NR_EXECVEAT) {
		KERNEL_READ(dirfd, regs, EA_KEPT_FIRST);
		KERNEL_READ(call->filename, regs, EA_REG_SECOND);
		KERNEL_READ(call->argv, regs, EA_REG_THIRD);
		KERNEL_READ(flags, regs, EA_REG_FIFTH);
		call->dirfd = dirfd;
		call->flags = flags;
	} else {
		KERNEL_READ(call->filename, regs, EA_KEPT_FIRST);
		KERNEL_READ(call->argv, regs, EA_REG_SECOND);
		call->dirfd = EA_AT_FDCWD;
	}
	KERNEL_READ(call->mm, task, EA_OFF(task_struct, mm));
}

#endif

#ifdef EA_FAILED_EXECS

BPF_PERCPU_ARRAY(fail_state, struct ea_state, 1);
BPF_PROG_ARRAY(fail_stages, 4);

#define FAIL_STAGE_CWD  0
#define FAIL_STAGE_EXE  1
#define FAIL_STAGE_ARGV 2
#define FAIL_STAGE_COMPAT_ARGV 3

static __always_inline struct ea_state *fail_mine(void)
{
	u32 zero = 0;

	return fail_state.lookup(&zero);
}

/* Returns whether a thread is being ended because another one execs or ends the process.
 * Killed while the kernel copies its arguments, its own exec gets E2BIG, which no one sees. */
static __always_inline int is_being_ended(u64 task)
{
	u64 signal = 0, execs = 0;
	u32 flags = 0;

	KERNEL_READ(signal, task, EA_OFF(task_struct, signal));
	KERNEL_READ(flags, signal, EA_OFF(signal_struct, flags));
	KERNEL_READ(execs, signal, EA_GROUP_EXEC);
	return execs || flags & EA_SIGNAL_GROUP_EXIT;
}

/* call: what the call was entered with; 0 in mm if nobody saw that. */
static __always_inline void exec_failed(void *ctx, u64 task, struct ea_call *call, s64 ret)
{
	struct ea_state *s = fail_mine();
	struct ea_exec *e;
	u64 mm = 0;

	if (!s)
		return;
	e = (void *)s->raw;
	if (ret <= -EA_RESTART_FIRST && ret >= -EA_RESTART_LAST)
		return;
	if (ret == -EA_E2BIG && is_being_ended(task))
		return;
	fill_facts(s, EA_FAILED);
	e->ret = ret;
	e->head.total = EA_UNKNOWN;
	e->head.argc = EA_UNKNOWN;
	KERNEL_READ(mm, task, EA_OFF(task_struct, mm));
	/* An exec that fails past its point of no return has a new, empty image: the
	 * caller's pointers mean nothing there. */
	if (mm == call->mm) {
		s->argv = call->argv;
		s->compat = call->compat;
		e->dirfd = call->dirfd;
		read_filename(s, call->filename);
		/* A NULL argv is an empty one. */
		if (!s->argv)
			e->head.argc = 0;
	}
	append_origin(s);
	fail_stages.call(ctx, FAIL_STAGE_CWD);
	COUNT_LOSS(execs);
}

#endif

int on_exit(struct EA_EXIT_CONTEXT *ctx)
{
	u64 task = bpf_get_current_task();
	struct ea_call *known = calls.lookup(&task), call = {};
	s64 ret = EA_RESULT(ctx);

	if (known) {
		call = *known;
		calls.delete(&task);
	}
#if defined(EA_FAILED_EXECS) && !defined(EA_KPROBES)
	if (!known && ret < 0)
		recover_call(ctx, task, &call);
#endif
	if (call.flags & EA_AT_EXECVE_CHECK)
		return 0;
#ifdef EA_RETURN_EXECS
	if (!ret)
		exec_returned(ctx, known ? call.tid : (u32)bpf_get_current_pid_tgid());
#endif
#ifdef EA_FAILED_EXECS
#ifdef EA_KPROBES
	/* It was on its way when the hooks came, or they are going: it is not of this recording. */
	if (!known && !is_following())
		return 0;
#endif
	if (ret < 0)
		exec_failed(ctx, task, &call, ret);
#endif
	return 0;
}

#endif

/* ---- failed execs -------------------------------------------------------- */

#ifdef EA_FAILED_EXECS

int on_exit_cwd(void *ctx)
{
	struct ea_state *s = fail_mine();

	if (!s)
		return 0;
	walk_cwd(s);
	fail_stages.call(ctx, FAIL_STAGE_EXE);
	COUNT_LOSS(execs);
	return 0;
}

int on_exit_exe(void *ctx)
{
	struct ea_state *s = fail_mine();
	struct ea_head *h;

	if (!s)
		return 0;
	h = (void *)s->raw;
	walk(s, EA_STR_EXE, s->exe, EA_PATH_EXE);
	walk_root(s);
	if (s->argv) {
		fail_stages.call(ctx, s->compat ? FAIL_STAGE_COMPAT_ARGV : FAIL_STAGE_ARGV);
		COUNT_LOSS(execs);
		return 0;
	}
	if (h->argc == EA_UNKNOWN) {
		h->flags = EA_FAULT;
		h->missing = EA_UNKNOWN;
	}
	h->total = 0;
	h->flags |= EA_LAST;
	send_first(s, EA_FAILED_SHARE, EA_FAILED_RESERVE);
	return 0;
}

/* Sends the record that is being built and begins the next one. Returns -1 if it is the first and was
 * refused: who calls this in a loop counts that behind it, or the verifier takes too long. */
static __always_inline int flush(struct ea_state *s)
{
	struct ea_head *h = (void *)s->raw;

	if (send(s, s->pos, EA_FAILED_SHARE, EA_FAILED_RESERVE) < 0) {
		if (!s->sent)
			return -1;
		COUNT_LOSS(records);
	}
	s->sent = 1;
	h->type = EA_FAILED_MORE;
	h->seq++;
	h->size = sizeof(*h);
	h->flags = 0;
	h->missing = 0;
	h->offset = s->off;
	h->len = 0;
	s->pos = sizeof(*h);
	return 0;
}

/* One argument, or a piece of a long one, each time round. The kernel does not
 * say how many there are; the walk does, when it meets the NULL at the end. The width of
 * the pointers is known to the compiler: the verifier would follow both all the way. */
static __always_inline int walk_argv(void *ctx, u32 width, u32 stage)
{
	struct ea_state *s = fail_mine();
	struct ea_head *h;

	if (!s)
		return 0;
	h = (void *)s->raw;
	for (int i = 0; i < EA_ARGS; i++) {
		u64 from = s->rest;
		u32 pos, end = 0;
		long n;

		if (!from) {
			n = bpf_probe_read_user(&from, width, (void *)(s->argv + width * (u64)s->argc));
			if (n < 0) {
				h->flags |= EA_FAULT;
				h->missing = EA_UNKNOWN;
			} else if (!from) {
				h->argc = s->argc;
			}
			end = !from;
		}
		if (end) {
			h->total = s->off;
			h->flags |= EA_LAST;
		}
		/* What cannot be read stands behind the bytes of a record, so the record ends. */
		if (end || h->flags || s->pos >= EA_LOW) {
			if (flush(s) < 0)
				goto lost;
			if (end)
				return 0;
		}
		pos = s->pos;
		OPAQUE(pos);
		pos &= EA_LOW - 1;
		n = read_user_text(&s->raw[pos], EA_PIECE, from);
		if (n < 0) {
			/* Its length is unknown; the arguments after it may be readable. */
			h->flags |= EA_FAULT;
			h->missing = EA_UNKNOWN;
			s->rest = 0;
			s->argc++;
			continue;
		}
		if (n == EA_PIECE) {
			/* Full: it may go on. The NUL that the helper put is not the argument's. */
			n = EA_PIECE - 1;
			s->rest = from + n;
		} else {
			s->rest = 0;
			s->argc++;
		}
		s->pos = pos + n;
		s->off += n;
		h->len += n;
	}
	fail_stages.call(ctx, stage);
	h->flags |= EA_LIMIT | EA_LAST;
	h->total = s->off;
	if (flush(s) == 0)
		return 0;
lost:
	COUNT_ACCOUNT_LOSS(s->account, execs);
	return 0;
}

int on_exit_argv(void *ctx)
{
	return walk_argv(ctx, sizeof(u64), FAIL_STAGE_ARGV);
}

#ifdef EA_KPROBES
int on_exit_compat_argv(void *ctx)
{
	return walk_argv(ctx, sizeof(u32), FAIL_STAGE_COMPAT_ARGV);
}
#endif

#endif
