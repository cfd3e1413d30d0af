/* SPDX-License-Identifier: Apache-2.0 */
/* at_once TIMES PROGRAM ARG...: runs PROGRAM that often side by side. */
#include <sys/wait.h>

#include "hostile.h"

int main(int argc, char **argv)
{
	if (argc < 3)
		return 98;
	alarm(LONGEST_SECONDS);
	for (int i = 0; i < atoi(argv[1]); i++)
		if (!must(fork(), "fork")) {
			execv(argv[2], argv + 2);
			_exit(99);
		}
	while (wait(NULL) > 0)
		;
}
