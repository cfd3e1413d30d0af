/* SPDX-License-Identifier: Apache-2.0 */
/*
 * storm PROGRAM COUNT JOB PADDING: starts PROGRAM COUNT times, one after the other, as
 * fast as it can, each with its own argument "JOB-NUMBER", and PADDING more arguments of
 * 1000 bytes, made of JOB's first letter. Says how many it started.
 */
#define _GNU_SOURCE
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>

#include "truth.h"

extern char **environ;

int main(int argc, char **argv)
{
	int count = argc == 5 ? atoi(argv[2]) : 0, padding = argc == 5 ? atoi(argv[4]) : 0;
	char **args = calloc(padding + 3, sizeof(*args)), label[64], pad[1001] = "";

	args[0] = "noop";
	args[1] = label;
	memset(pad, argc == 5 ? *argv[3] : 0, sizeof(pad) - 1);
	for (int i = 0; i < padding; i++)
		args[2 + i] = pad;
	for (int i = 0; i < count; i++) {
		int status;
		pid_t pid;

		snprintf(label, sizeof(label), "%s-%d", argv[3], i);
		if (posix_spawn(&pid, argv[1], NULL, NULL, args, environ)) {
			fprintf(stderr, "start %d of %s failed\n", i, argv[1]);
			return 99;
		}
		must(waitpid(pid, &status, 0), "waitpid");
		if (status) {
			fprintf(stderr, "start %d of %s ended with %d\n", i, argv[1], status);
			return 99;
		}
	}
	printf("%d\n", count);
	return 0;
}
