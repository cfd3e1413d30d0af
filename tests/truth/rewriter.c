/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rewriter SHELL: traces a shell that it starts with a harmless script, and replaces the script
 * when the kernel has the new program in place and nothing of it has run yet. What then runs
 * prints "another".
 */
#define _GNU_SOURCE
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "truth.h"

static const char GIVEN[] = "echo harmless; : rewritten", RUN[] = "echo another";

/* argc is on top of the new stack, and the pointers to the arguments behind it. */
static unsigned long third_argument(pid_t child, unsigned long stack_pointer)
{
	unsigned long stack[4];
	struct iovec local = { stack, sizeof(stack) }, remote = { (void *)stack_pointer, sizeof(stack) };

	must(process_vm_readv(child, &local, 1, &remote, 1, 0), "process_vm_readv");
	return stack[3];
}

static unsigned long stack_pointer_of(pid_t child)
{
	char path[64], text[512];
	FILE *file;
	unsigned long sp;

	snprintf(path, sizeof(path), "/proc/%d/stat", child);
	file = fopen(path, "r");
	must(file ? 0 : -1, path);
	must(fgets(text, sizeof(text), file) ? 0 : -1, path);
	fclose(file);
	/* kstkesp, field 29 of proc_pid_stat(5), is shown of no running process: start_stack is. */
	must(sscanf(strrchr(text, ')'),
		    ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %*u %*u"
		    " %*d %*u %*u %*u %lu", &sp) == 1 ? 0 : -1, "stat");
	return sp;
}

int main(int argc, char **argv)
{
	struct iovec local = { (void *)RUN, sizeof(RUN) }, remote = { 0, sizeof(RUN) };
	int status;
	pid_t child = must(fork(), "fork");

	if (!child) {
		must(ptrace(PTRACE_TRACEME, 0, 0, 0), "traceme");
		raise(SIGSTOP);
		execl(argv[1], "sh", "-c", GIVEN, NULL);
		_exit(99);
	}
	must(waitpid(child, &status, 0), "waitpid");
	must(ptrace(PTRACE_SETOPTIONS, child, 0, PTRACE_O_TRACEEXEC), "options");
	must(ptrace(PTRACE_CONT, child, 0, 0), "cont");
	must(waitpid(child, &status, 0), "waitpid");
	if (status >> 8 != (SIGTRAP | PTRACE_EVENT_EXEC << 8))
		return 98;
	remote.iov_base = (void *)third_argument(child, stack_pointer_of(child));
	must(process_vm_writev(child, &local, 1, &remote, 1, 0), "process_vm_writev");
	must(ptrace(PTRACE_DETACH, child, 0, 0), "detach");
	must(waitpid(child, &status, 0), "waitpid");
	return WEXITSTATUS(status);
}
