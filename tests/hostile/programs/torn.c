/* SPDX-License-Identifier: Apache-2.0 */
/*
 * torn COUNT WORD: COUNT execs of a path that does not exist. Behind WORD, each second of their 15 800
 * arguments is at an address where nothing is.
 */
#include "hostile.h"

#define ARGUMENTS 15800

extern char **environ;

int main(int argc, char **argv)
{
	static char *args[ARGUMENTS + 1];
	int count = argc == 3 ? atoi(argv[1]) : 0;

	alarm(LONGEST_SECONDS);
	args[0] = "torn";
	args[1] = argc == 3 ? argv[2] : "";
	for (int i = 2; i < ARGUMENTS; i++)
		args[i] = i % 2 ? (char *)16 : "a";
	for (int i = 0; i < count; i++)
		execve("/nonexistent", args, environ);
	printf("%d\n", count);
	return 0;
}
