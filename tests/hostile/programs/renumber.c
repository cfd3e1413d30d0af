/* SPDX-License-Identifier: Apache-2.0 */
/*
 * renumber PROGRAM ARG...: runs PROGRAM and traces it. At PTRACE_EVENT_EXEC it gives the system call
 * another number, so the kernel does not show the exit of that execve. Then it leaves PROGRAM alone
 * and ends as PROGRAM does.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <signal.h>
#include <stddef.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>

#include "hostile.h"

int main(int argc, char **argv)
{
	int status;

	if (argc < 2)
		return 98;
	alarm(LONGEST_SECONDS);
	pid_t child = must(fork(), "fork");

	if (!child) {
		must(ptrace(PTRACE_TRACEME, 0, 0, 0), "PTRACE_TRACEME");
		raise(SIGSTOP);
		execv(argv[1], argv + 1);
		_exit(99);
	}
	must(waitpid(child, &status, 0), "waitpid");
	must(ptrace(PTRACE_SETOPTIONS, child, 0, PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL), "PTRACE_SETOPTIONS");
	must(ptrace(PTRACE_CONT, child, 0, 0), "PTRACE_CONT");
	must(waitpid(child, &status, 0), "waitpid");
	if (status >> 8 != (SIGTRAP | PTRACE_EVENT_EXEC << 8))
		return 97;
#if defined(__x86_64__)
	must(ptrace(PTRACE_POKEUSER, child, offsetof(struct user_regs_struct, orig_rax), SYS_getpid),
	     "PTRACE_POKEUSER");
#elif defined(__aarch64__)
	int number = SYS_getpid;
	struct iovec one = {&number, sizeof(number)};

	must(ptrace(PTRACE_SETREGSET, child, NT_ARM_SYSTEM_CALL, &one), "PTRACE_SETREGSET");
#else
#error "say where this machine keeps the number of a system call"
#endif
	must(ptrace(PTRACE_DETACH, child, 0, 0), "PTRACE_DETACH");
	must(waitpid(child, &status, 0), "waitpid");
	return WEXITSTATUS(status);
}
