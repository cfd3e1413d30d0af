/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chain COUNT BYTES WORD: execs itself COUNT times, each time with another argument of BYTES
 * bytes. Says so at the end of the chain, and stays: all of the chain are ancestors of what lives.
 */
#include "hostile.h"

extern char **environ;

int main(int argc, char **argv)
{
	int count = argc >= 4 ? atoi(argv[1]) : 0;
	char left[16], word[128];

	alarm(LONGEST_SECONDS);
	if (count <= 0) {
		puts("there");
		fflush(stdout);
		pause();
		return 0;
	}
	snprintf(left, sizeof(left), "%d", count - 1);
	snprintf(word, sizeof(word), "%s-%d-", argv[3], count);
	char *args[] = {"chain", left, argv[2], argv[3], padded(word, atoi(argv[2])), NULL};

	execve("/proc/self/exe", args, environ);
	perror("execve");
	return 99;
}
