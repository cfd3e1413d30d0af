/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seccomp errno|errno0|trace|trap|kill|strict PROGRAM WORD [CHILDREN]: calls execve where a filter
 * forbids it. A call that returns leaves errno as the exit status. With CHILDREN, so many forked
 * processes make the same call before it does.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "hostile.h"

static unsigned verdict(const char *name)
{
	static const struct {
		const char *name;
		unsigned verdict;
	} verdicts[] = {
		{"errno", SECCOMP_RET_ERRNO | EPERM}, {"errno0", SECCOMP_RET_ERRNO},
		{"trace", SECCOMP_RET_TRACE}, {"trap", SECCOMP_RET_TRAP}, {"kill", SECCOMP_RET_KILL_PROCESS},
	};

	for (unsigned i = 0; i < sizeof(verdicts) / sizeof(*verdicts); i++)
		if (!strcmp(name, verdicts[i].name))
			return verdicts[i].verdict;
	exit(98);
}

int main(int argc, char **argv)
{
	if (argc != 4 && argc != 5)
		return 98;
	alarm(LONGEST_SECONDS);
	must(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), "prctl"); /* no core of what is killed */
	char *args[] = {argv[2], argv[3], NULL};

	if (!strcmp(argv[1], "strict")) {
		must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT), "prctl");
	} else {
		struct sock_filter filter[] = {
			BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
			BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_execve, 0, 1),
			BPF_STMT(BPF_RET | BPF_K, verdict(argv[1])),
			BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		};
		struct sock_fprog program = {sizeof(filter) / sizeof(*filter), filter};

		must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl");
		must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), "prctl");
	}
	for (int i = argc == 5 ? atoi(argv[4]) : 0; i > 0 && must(fork(), "fork"); i--)
		if (i == 1)
			while (wait(NULL) > 0)
				;
	long result = syscall(SYS_execve, argv[2], args, NULL);

	syscall(SYS_exit, result ? errno : 0);
}
