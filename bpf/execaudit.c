// SPDX-License-Identifier: Apache-2.0
/*
 * The probe: records every exec on the host, with its whole command line.
 *
 * Recorded
 *   Successful execs, at the raw tracepoint sched_process_exec. The arguments are
 *   read from the new image's own memory (mm->arg_start .. arg_end): these are the
 *   bytes that run, and no other thread can change them yet. The tracepoint fires for
 *   every way to exec: execve, execveat, 32-bit callers, programs that the kernel starts.
 *   Failed execs, at the exit of the execve and execveat system calls. The arguments
 *   are read from the caller's memory, by the pointers that the entry hook saved.
 *   The parent and the end of each exec. A map says which exec each process runs. It
 *   is updated at fork, exec and exit. A fork sends no record; the end of a program does.
 *
 * Not recorded
 *   execveat with AT_EXECVE_CHECK: it runs nothing.
 *   Code that is mapped or interpreted without an exec.
 *   With syscall tracepoints: failed execs of 32-bit callers, because the kernel does
 *   not trace compat system calls.
 *   With kprobes: execs that a system call filter (seccomp) refuses, because the probed
 *   function is never entered.
 *   Execs that such a filter kills, traps or answers with 0, because the system call
 *   never exits with an error.
 *   With EA_RETURN_EXECS: programs that the kernel starts itself, and the interpreters
 *   of scripts.
 *
 * loader.py joins this file and its headers into one text, because BCC translates the
 * use of maps (map.lookup() and the like) in its main text only, never in a header that
 * the compiler includes. It passes these -D flags:
 *   EA_RING_PAGES     pages of the ring buffer, a power of two
 *   EA_RING_BYTES     the same in bytes
 *   EA_WAKE_BYTES     the reader is woken when one CPU has written this much
 *   EA_MAX_ARGV       bytes of a command line to keep; EA_UNKNOWN keeps all
 *   EA_CPUS           CPUs that this machine may have
 *   EA_PROCESSES      processes whose lineage can be kept at the same time
 *   EA_FAILED_EXECS   if defined, failed execs are recorded
 *   EA_KPROBES        if defined, system calls are hooked by kprobes on the kernel's
 *                     functions, not by syscall tracepoints
 *   EA_RETURN_EXECS   if defined, raw tracepoints cannot be used: kprobes see successful
 *                     execs too, when the system call returns, and forks and exits
 *   EA_OFF_s__m       offset of member m in struct s, from the kernel's BTF
 *   EA_ENUM_e__n      value of n in enum e, from there too
 *
 * Each header uses those above it, and no others.
 */
#include <uapi/linux/ptrace.h>

#include "execaudit.h"
#include "kernel.h"
#include "maps.h"
#include "ring.h"
#include "kprobes.h"
#include "lineage.h"
#include "cgroup.h"
#include "facts.h"
#include "paths.h"
#include "exec.h"
#include "failed.h"
#include "calls.h"
