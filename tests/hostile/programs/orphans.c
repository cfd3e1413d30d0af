/* SPDX-License-Identifier: Apache-2.0 */
/*
 * orphans COUNT WIDTH PROGRAM WORD: COUNT processes, at most WIDTH of them at a time, each of
 * which forks one that execs PROGRAM, and is gone before that one.
 */
#include <sys/prctl.h>
#include <sys/wait.h>

#include "hostile.h"

extern char **environ;

int main(int argc, char **argv)
{
	int count = argc == 5 ? atoi(argv[1]) : 0, width = argc == 5 ? atoi(argv[2]) : 0, alive = 0;

	alarm(LONGEST_SECONDS);
	must(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl"); /* orphans end here, and are waited for */
	for (int i = 0; i < count; i++) {
		pid_t child = must(fork(), "fork");

		if (!child) {
			if (must(fork(), "fork"))
				_exit(0);
			char *args[] = {"orphan", argv[4], NULL};

			execve(argv[3], args, environ);
			_exit(99);
		}
		for (alive += 2; alive >= width; alive--)
			must(wait(NULL), "wait");
	}
	while (wait(NULL) > 0)
		;
	printf("%d\n", count);
	return 0;
}
