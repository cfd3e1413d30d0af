/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Failed execs: the stages that build and send their records.
 *
 * Why apart from exec.h: there is no new image. The arguments are in the memory of the
 * caller, behind an array of pointers of unknown length, so they are read one by one.
 *
 * Uses: all above but exec.h.
 */

#ifdef EA_FAILED_EXECS

/* Places in fail_stages; loader.py fills them in this order. */
#define FAIL_STAGE_CWD  0
#define FAIL_STAGE_EXE  1
#define FAIL_STAGE_ARGV 2
#define FAIL_STAGE_COMPAT_ARGV 3

static __always_inline struct ea_state *fail_mine(void)
{
	u32 zero = 0;

	return fail_state.lookup(&zero);
}

/* Returns whether a thread is being ended because another thread execs or ends the process. If that
 * happens while the kernel copies the thread's arguments, its own exec gets E2BIG, but nobody sees
 * that result. */
static __always_inline int is_being_ended(u64 task)
{
	u64 signal = 0, execs = 0;
	u32 flags = 0;

	KERNEL_READ(signal, task, EA_OFF(task_struct, signal));
	KERNEL_READ(flags, signal, EA_OFF(signal_struct, flags));
	KERNEL_READ(execs, signal, EA_GROUP_EXEC);
	return execs || flags & EA_SIGNAL_GROUP_EXIT;
}

/* Starts the record of a failed exec. `call` is what the system call was given; its mm is 0 if that
 * is not known. */
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
	/* An exec that fails after the point of no return has a new, empty image. The pointers of
	 * the caller mean nothing there. */
	if (mm == call->mm) {
		s->argv = call->argv;
		s->compat = call->compat;
		e->dirfd = call->dirfd;
		read_filename(s, call->filename);
		/* The kernel takes a NULL argv as an empty one. */
		if (!s->argv)
			e->head.argc = 0;
	}
	append_origin(s);
	fail_stages.call(ctx, FAIL_STAGE_CWD);
	COUNT_LOSS(execs);
}

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

/* Sends the record that is being built and begins the next one. Returns -1 if the ring refused it and
 * it was the first. The caller counts that loss, outside of its loop: inside, the verifier would
 * take too long. */
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

/* Reads one argument, or one piece of a long one, in each round of the loop. The kernel does not say
 * how many arguments there are; the loop counts them until it meets the NULL at the end. `width`, the
 * size of a pointer, is a constant for the compiler: with a variable, the verifier would have to
 * follow the whole loop for both sizes. */
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
		/* `missing` is about the bytes right after a record's own. So a record ends where
		 * something could not be read. */
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
			/* The length of this argument is unknown. The next ones may be readable. */
			h->flags |= EA_FAULT;
			h->missing = EA_UNKNOWN;
			s->rest = 0;
			s->argc++;
			continue;
		}
		if (n == EA_PIECE) {
			/* The buffer is full, so the argument may be longer. The NUL at the end is the
			 * helper's, not the argument's. */
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
