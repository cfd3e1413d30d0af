/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which exec each process runs, and the end of each exec: the hooks at fork and exit.
 *
 * Why: a record names the exec that led to it, and a pid cannot do that, because the
 * kernel uses pids again. The entry of a process is copied to its child at fork, replaced
 * at exec, and deleted when the last thread ends.
 *
 * Uses: maps.h (images, attached, calls), ring.h, kprobes.h.
 */

/* Returns whether a process started before the probe was attached. Such a process has no entry;
 * any other process without one has lost it. */
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

/* Returns what a process runs: boot_ns is 0 if its exec was before the probe, and all of it is 0 if
 * it is not known. */
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
#endif
#ifdef EA_CALLS
	/* A lookup takes no lock, a deletion does. Few threads end inside a call. */
	if (calls.lookup(&task))
		calls.delete(&task);
#endif
	KERNEL_READ(signal, task, EA_OFF(task_struct, signal));
	KERNEL_READ(live, signal, EA_OFF(signal_struct, live));
	if (live)
		return 0;
	known = images.lookup(&signal);
	image = image_of(task, signal);
	/* The last two threads may both get here. Only one of them can delete the entry. */
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
	/* The status that wait_task_zombie() in kernel/exit.c would report. */
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

/* At wake_up_new_task(child). The parent calls it right after the raw tracepoint of the fork. */
int on_fork(struct pt_regs *ctx)
{
	return forked(bpf_get_current_task(), register_of(ctx, EA_REG_FIRST));
}

/* At exit_fs(task), just before or after the raw tracepoint of the exit. A fork that fails calls it
 * for the child too; then signal->live is not 0, and ended() leaves the process alone. */
int on_process_exit(struct pt_regs *ctx)
{
	return ended(register_of(ctx, EA_REG_FIRST));
}

#else

/* At the raw tracepoint sched_process_fork. Arguments: the parent's task, the child's. */
int on_fork(struct bpf_raw_tracepoint_args *ctx)
{
	return forked(ctx->args[0], ctx->args[1]);
}

/* At the raw tracepoint sched_process_exit. Argument: the task. */
int on_process_exit(struct bpf_raw_tracepoint_args *ctx)
{
	return ended(ctx->args[0]);
}

#endif
