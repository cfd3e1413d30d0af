/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The system calls execve and execveat: the hooks at their entry and at their exit.
 *
 * Why: what a failed exec was given can be read at the entry; whether it failed is known
 * at the exit. Without raw tracepoints, successful execs are seen at the exit too.
 *
 * Uses: all above: exec_returned() of exec.h, exec_failed() of failed.h.
 */

#ifdef EA_CALLS

/* Keeps what a system call was given until it exits. */
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
	call.began = bpf_ktime_get_boot_ns();
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

/* Returns an argument of the system call. The function that is probed has only one argument: the
 * address of the caller's registers. */
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

/* In a 32-bit call, the upper halves of the registers mean nothing. */
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

/* The records of the syscall tracepoints (events/syscalls/sys_*_execve/format in tracefs). */
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

/* As task_pt_regs() of x86-64 does: the registers are at the end of the kernel stack, which has
 * 16 KiB. arm64 before 5.15 gets here too, but has no pt_regs.ss (-1) and may have another size of
 * stack, so the address is wrong there. recover_call() then finds no number of a call that fits,
 * and leaves filename and arguments unknown. This is not tried on arm64. */
static __always_inline u64 kept_registers(u64 task)
{
	u64 stack = 0;

	KERNEL_READ(stack, task, EA_OFF(task_struct, stack));
	return stack + 16384 - (EA_OPT(pt_regs, ss) + 8);
}

#endif

/* Fills in what a system call was given, at its exit. When a system call filter (seccomp) refuses a
 * call, the hook at the entry does not run, but the caller's registers still hold the arguments. They
 * are right where `call` is of another call of this task, too. If the number there is not that of this
 * call, the registers are others, and nothing is filled in. */
static __always_inline void recover_call(struct ea_sys_exit *ctx, u64 task, struct ea_call *call)
{
	u64 regs = kept_registers(task), filename = 0, argv = 0, dirfd = 0, flags = 0;
	s32 number = -1, expected = ctx->nr;

	KERNEL_READ(number, regs, EA_KEPT_NUMBER);
	if (number != expected)
		return;
	if (number == EA_NR_EXECVEAT) {
		KERNEL_READ(dirfd, regs, EA_KEPT_FIRST);
		KERNEL_READ(filename, regs, EA_REG_SECOND);
		KERNEL_READ(argv, regs, EA_REG_THIRD);
		KERNEL_READ(flags, regs, EA_REG_FIFTH);
		call->dirfd = dirfd;
		call->flags = flags;
	} else {
		KERNEL_READ(filename, regs, EA_KEPT_FIRST);
		KERNEL_READ(argv, regs, EA_REG_SECOND);
		call->dirfd = EA_AT_FDCWD;
		call->flags = 0;
	}
	/* Of this call, the entry hook knows the mm that the pointers are for. An exec that fails after
	 * the point of no return has another one now. */
	if (call->mm && call->filename == filename && call->argv == argv)
		return;
	call->filename = filename;
	call->argv = argv;
	KERNEL_READ(call->mm, task, EA_OFF(task_struct, mm));
}

#endif

/* Takes what is kept of the call that a task is in. Returns 0 if nothing is, or if it is of an earlier
 * task at the same address: that one was there at the entry, and this one began later. (A thread that
 * takes over the pid of its leader takes over the leader's earlier beginning.) */
static __always_inline int take_call(u64 task, struct ea_call *call)
{
	struct ea_call *kept = calls.lookup(&task);
	u64 born = 0;
	int known;

	if (!kept)
		return 0;
	KERNEL_READ(born, task, EA_OFF(task_struct, start_boottime));
	known = born <= kept->began;
	if (known)
		*call = *kept;
	calls.delete(&task);
	return known;
}

int on_exit(struct EA_EXIT_CONTEXT *ctx)
{
	u64 task = bpf_get_current_task();
	struct ea_call call = {};
	int known = take_call(task, &call);
	s64 ret = EA_RESULT(ctx);

#if defined(EA_FAILED_EXECS) && !defined(EA_KPROBES)
	if (ret < 0)
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
	/* The call entered before the hooks were attached, or they are being detached: it does not
	 * belong to this recording. */
	if (!known && !is_following())
		return 0;
#endif
	if (ret < 0)
		exec_failed(ctx, task, &call, ret);
#endif
	return 0;
}

#endif
