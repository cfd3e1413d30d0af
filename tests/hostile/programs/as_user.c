/* SPDX-License-Identifier: Apache-2.0 */
/* as_user REAL EFFECTIVE PROGRAM ARG...: execs PROGRAM with those user ids; -1 leaves one as it is. */
#define _GNU_SOURCE
#include "hostile.h"

extern char **environ;

int main(int argc, char **argv)
{
	if (argc < 4)
		return 98;
	alarm(LONGEST_SECONDS);
	must(setresuid(atoi(argv[1]), atoi(argv[2]), -1), "setresuid");
	execve(argv[3], argv + 3, environ);
	perror("execve");
	return 99;
}
