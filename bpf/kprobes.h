/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What hooks by kprobes need: arguments and results in registers, and the count of
 * calls whose return the kernel did not show.
 *
 * Why: these helpers serve the hooks of lineage.h and calls.h alike.
 *
 * Uses: maps.h (calls, following), and COUNT_LOSS of ring.h.
 */

#ifdef EA_KPROBES

/* offset: one of EA_REG_*. */
static __always_inline u64 register_of(struct pt_regs *ctx, int offset)
{
	return *(u64 *)((char *)ctx + offset);
}

static __always_inline int is_following(void)
{
	u32 zero = 0, *follows = following.lookup(&zero);

	return follows && *follows;
}

/* Counts a call that did not reach the hook on its return. The kernel follows only a bounded number
 * of calls to their return (maxactive), and does not say which calls it left out. A task is in one
 * call at a time. So if the entry of a call is still there when its task calls again or ends, that
 * call was left out. A successful exec deletes its entry at sched_process_exec, so what is left
 * here has no record. */
static __always_inline void count_unreturned(u64 task)
{
	if (calls.lookup(&task) && is_following())
		COUNT_LOSS(returns);
}

#endif
