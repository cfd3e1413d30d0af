/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tracer GIVEN RUN: starts a shell with the script GIVEN, and writes RUN over it while the shell
 * stands at PTRACE_EVENT_EXEC. Both have the same length.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <signal.h>
#include <sys/procfs.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>

#include "hostile.h"

static unsigned long stack_of(pid_t pid)
{
	struct user_regs_struct registers;
	struct iovec all = {&registers, sizeof(registers)};

	must(ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &all), "PTRACE_GETREGSET");
#if defined(__x86_64__)
	return registers.rsp;
#elif defined(__aarch64__)
	return registers.sp;
#else
#error "say where this machine keeps its stack pointer"
#endif
}

int main(int argc, char **argv)
{
	int status;

	if (argc != 3 || strlen(argv[1]) != strlen(argv[2]))
		return 98;
	alarm(LONGEST_SECONDS);
	pid_t child = must(fork(), "fork");

	if (!child) {
		must(ptrace(PTRACE_TRACEME, 0, 0, 0), "PTRACE_TRACEME");
		raise(SIGSTOP);
		execl("/bin/sh", "sh", "-c", argv[1], NULL);
		_exit(99);
	}
	must(waitpid(child, &status, 0), "waitpid");
	must(ptrace(PTRACE_SETOPTIONS, child, 0, PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL), "PTRACE_SETOPTIONS");
	must(ptrace(PTRACE_CONT, child, 0, 0), "PTRACE_CONT");
	must(waitpid(child, &status, 0), "waitpid");
	if (status >> 8 != (SIGTRAP | PTRACE_EVENT_EXEC << 8))
		return 97;

	unsigned long start[4]; /* argc, argv[0], argv[1], argv[2] */
	struct iovec here = {start, sizeof(start)}, there = {(void *)stack_of(child), sizeof(start)};

	must(process_vm_readv(child, &here, 1, &there, 1, 0), "process_vm_readv");
	here = (struct iovec){argv[2], strlen(argv[2])};
	there = (struct iovec){(void *)start[3], strlen(argv[2])};
	must(process_vm_writev(child, &here, 1, &there, 1, 0), "process_vm_writev");
	must(ptrace(PTRACE_DETACH, child, 0, 0), "PTRACE_DETACH");
	must(waitpid(child, &status, 0), "waitpid");
	printf("%d\n", getpid());
	return WEXITSTATUS(status);
}
