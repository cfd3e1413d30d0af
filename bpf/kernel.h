/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the probe must know about the running kernel: where members of structs are, in
 * which register a system call has what, and numbers from the kernel's headers.
 *
 * Why: the probe is compiled without kernel headers. Everything that differs between
 * kernels is here, and the other headers use these names only.
 *
 * Uses: the -D flags.
 */

/* loader.py searches the whole text of the probe for these macros, to learn what it must
 * look up in the kernel's BTF. A kernel must have each member of EA_OFF. For a member of
 * EA_OPT, or a value of EA_ENUM, that it does not have, the flag is -1. */
#define EA_OFF(struct_, member) EA_OFF_##struct_##__##member
#define EA_OPT(struct_, member) EA_OFF_##struct_##__##member
#define EA_ENUM(enum_, name)    EA_ENUM_##enum_##__##name

#define KERNEL_READ(dst, base, offset) \
	bpf_probe_read_kernel(&(dst), sizeof(dst), (void *)((u64)(base) + (offset)))

/* Hides a value from clang. Without it, clang removes a mask that it can prove to change
 * nothing, but the kernel's verifier needs that mask as a bound. */
#define OPAQUE(n) asm volatile("" : "+r"(n))

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

/* Where struct pt_regs has the arguments and the result of a system call. x86 and arm64
 * keep all of them there since 4.19.
 *   EA_REG_*     of a 64-bit caller, at the entry; EA_REG_RETURN at the return
 *   EA_COMPAT_*  of a 32-bit caller, at the entry
 *   EA_KEPT_*    at the exit: the number of the call, and its first argument. arm64 returns
 *                the result in the register of the first argument, so it keeps that one
 *                in a place of its own. The other arguments are still where they were. */
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
#define EA_KEPT_NUMBER   EA_OPT(pt_regs, orig_ax)
#define EA_KEPT_FIRST    EA_REG_FIRST
#define EA_NR_EXECVEAT   322
#else /* arm64: a 32-bit caller's r0, r1, ... are in the places of x0, x1, ... */
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

/* include/uapi/linux/fcntl.h */
#define EA_AT_FDCWD (-100)
#define EA_AT_EXECVE_CHECK 0x10000

/* Errors that the kernel uses for itself, ERESTARTSYS to ERESTART_RESTARTBLOCK in
 * include/linux/errno.h. Either the kernel runs the system call again after it has handled a
 * signal, or it ends the thread. The caller never sees them. */
#define EA_RESTART_FIRST 512
#define EA_RESTART_LAST  516
#define EA_E2BIG 7
#define EA_MAX_ERRNO 4095

/* include/linux/sched.h, include/linux/sched/signal.h, include/uapi/linux/stat.h */
#define EA_PF_KTHREAD        0x00200000
#define EA_SIGNAL_GROUP_EXIT 4
#define EA_S_ISUID           04000
#define EA_S_ISGID           02000
#define EA_S_IXGRP           00010

/* include/uapi/linux/bpf.h */
#define EA_RB_NO_WAKEUP    1
#define EA_RB_FORCE_WAKEUP 2
#define EA_RB_AVAIL_DATA   0
#define EA_RB_PROD_POS     3
#define EA_RB_HEAD         8 /* bytes that the ring adds to each record */
