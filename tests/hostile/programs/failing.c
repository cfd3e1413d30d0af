/* SPDX-License-Identifier: Apache-2.0 */
/* failing COUNT BYTES WORD: COUNT execs of a path that does not exist, with one argument of BYTES bytes. */
#include "hostile.h"

extern char **environ;

int main(int argc, char **argv)
{
	int count = argc == 4 ? atoi(argv[1]) : 0;

	alarm(LONGEST_SECONDS);
	char *args[] = {"failing", count ? padded(argv[3], atoi(argv[2])) : "", NULL};

	for (int i = 0; i < count; i++)
		execve("/nonexistent", args, environ);
	printf("%d\n", count);
	return 0;
}
