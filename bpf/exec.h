/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Successful execs: the hook, and the stages that build and send the records.
 *
 * Why stages: one program may have only so many instructions, and the kernel's verifier
 * must follow all of them. The hook and each stage end with a tail call to the next: facts,
 * cwd, exe and first piece of the command line, further pieces. A tail call that works
 * does not return, so what stands behind it counts the loss.
 *
 * Uses: all above.
 */

/* Places in exec_stages; loader.py fills them in this order. */
#define EXEC_STAGE_CWD  0
#define EXEC_STAGE_EXE  1
#define EXEC_STAGE_MORE 2
#define EXEC_STAGE_RETURNED 3 /* with EA_RETURN_EXECS */

static __always_inline struct ea_state *exec_mine(void)
{
	u32 zero = 0;

	return exec_state.lookup(&zero);
}

/* Fills in the facts of the new image, and which bytes of its command line to send. */
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
		/* Head and tail are kept: an attacker could put padding before or behind what matters. */
		s->cut_from = EA_MAX_ARGV - EA_MAX_ARGV / 2;
		s->cut_to = s->total - EA_MAX_ARGV / 2;
	}
	e->cut_from = s->cut_from;
	e->cut_to = s->cut_to;
	if (!s->cut_from)
		s->off = s->cut_to; /* nothing is to be kept */
}

#ifndef EA_RETURN_EXECS

/* At the raw tracepoint sched_process_exec. Arguments: the task, the pid that the calling thread had
 * before, struct linux_binprm. */
int on_exec(struct bpf_raw_tracepoint_args *ctx)
{
	struct ea_state *s = exec_mine();
	struct ea_exec *e;
	u64 bprm = ctx->args[2], name = 0, interp = 0;

#ifdef EA_CALLS
	u64 task = bpf_get_current_task();

	calls.delete(&task);
#endif
	if (!s)
		return 0;
	e = (void *)s->raw;
	fill_exec(s, ctx->args[1]);
	KERNEL_READ(e->head.argc, bprm, EA_OFF(linux_binprm, argc));
	KERNEL_READ(name, bprm, EA_OFF(linux_binprm, filename));
	append_text(s, EA_STR_FILENAME, name, EA_FILENAME_MAX);
	/* If the file is no script, both pointers are the same. */
	KERNEL_READ(interp, bprm, EA_OFF(linux_binprm, interp));
	if (interp != name)
		append_text(s, EA_STR_INTERP, interp, EA_INTERP_MAX);
	append_origin(s);
	exec_stages.call(ctx, EXEC_STAGE_CWD);
	COUNT_LOSS(execs);
	return 0;
}

#else

/* At the return of a system call with 0, from on_exit() of calls.h, which has failed execs as well: the
 * verifier of Linux 5.10 does not follow both in one program. */
static __always_inline void exec_returned(struct pt_regs *ctx, u32 caller_tid)
{
	struct ea_state *s = exec_mine();
	struct ea_exec *e;

	if (!s)
		return;
	e = (void *)s->raw;
	e->caller_tid = caller_tid;
	exec_stages.call(ctx, EXEC_STAGE_RETURNED);
	COUNT_LOSS(execs);
}

/* The new image is complete and has not run yet. The kernel fills its stack from the top down: it
 * writes the filename first, so the filename is right behind the environment (fs/exec.c), and argc
 * last, at the stack pointer (create_elf_tables in fs/binfmt_elf.c). */
int on_exec_returned(struct pt_regs *ctx)
{
	struct ea_state *s = exec_mine();
	struct ea_exec *e;
	u64 mm = 0, env_end = 0, stack = 0;

	if (!s)
		return 0;
	e = (void *)s->raw;
	fill_exec(s, e->caller_tid);
	KERNEL_READ(mm, bpf_get_current_task(), EA_OFF(task_struct, mm));
	KERNEL_READ(stack, mm, EA_OFF(mm_struct, start_stack));
	if (bpf_probe_read_user(&e->head.argc, sizeof(e->head.argc), (void *)stack) < 0)
		e->head.argc = EA_UNKNOWN;
	KERNEL_READ(env_end, mm, EA_OFF(mm_struct, env_end));
	read_filename(s, env_end);
	append_origin(s);
	exec_stages.call(ctx, EXEC_STAGE_CWD);
	COUNT_LOSS(execs);
	return 0;
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

/* Returns how many bytes the next record takes: up to the cut or the end, `most` at most. */
static __always_inline u32 next_span(struct ea_state *s, u32 most)
{
	u32 n = (s->off < s->cut_from ? s->cut_from : s->total) - s->off;

	return n < most ? n : most;
}

/* Moves on by n bytes, and over the cut if it begins there. Returns EA_LAST if nothing is left. */
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
	if (send_first(s, EA_EXEC_SHARE, 0) < 0) {
		/* Nothing else says that the program which it replaced has ended. */
		if (e->replaces)
			COUNT_ACCOUNT_LOSS(s->account, exits);
		return 0;
	}
	if (e->head.flags & EA_LAST)
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
		/* If the ring has no room, go on: a later piece may find room. */
		send_more(s, sizeof(*h) + n, EA_MORE_SHARE, EA_MORE_RESERVE);
		if (h->flags & EA_LAST)
			return 0;
	}
	exec_stages.call(ctx, EXEC_STAGE_MORE);
	COUNT_LOSS(records);
	return 0;
}
