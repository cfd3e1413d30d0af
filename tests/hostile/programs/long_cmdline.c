/* SPDX-License-Identifier: Apache-2.0 */
/*
 * long_cmdline MEGABYTES: has the kernel take so much of its memory for its arguments, as any user
 * may with PR_SET_MM_MAP: /proc/PID/cmdline is then that long. The memory is not touched, so it
 * costs nothing. Says "there", and stays.
 */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <sys/prctl.h>

#include "hostile.h"

/* The fields of /proc/PID/stat, see proc_pid_stat(5), without the two before the state. */
enum { START_CODE = 26, END_CODE, START_STACK, START_DATA = 45, END_DATA, START_BRK, ENV_START = 50, ENV_END };

int main(int argc, char **argv)
{
	size_t size = argc == 2 ? strtoul(argv[1], NULL, 10) << 20 : 0;
	unsigned long fields[ENV_END + 1] = {0};
	char stat[4096] = "";

	alarm(LONGEST_SECONDS);
	FILE *file = fopen("/proc/self/stat", "r");

	if (!file || !fread(stat, 1, sizeof(stat) - 1, file))
		return 98;
	char *word = strtok(strrchr(stat, ')') + 1, " ");

	for (int field = 3; word && field <= ENV_END; field++, word = strtok(NULL, " "))
		fields[field] = strtoul(word, NULL, 10);

	char *area = mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (area == MAP_FAILED)
		return 97;
	struct prctl_mm_map map = {
		.start_code = fields[START_CODE], .end_code = fields[END_CODE],
		.start_data = fields[START_DATA], .end_data = fields[END_DATA],
		.start_brk = fields[START_BRK], .brk = (unsigned long)sbrk(0), .start_stack = fields[START_STACK],
		.arg_start = (unsigned long)area, .arg_end = (unsigned long)area + size - 1,
		.env_start = fields[ENV_START], .env_end = fields[ENV_END], .exe_fd = -1,
	};

	must(prctl(PR_SET_MM, PR_SET_MM_MAP, &map, sizeof(map), 0), "PR_SET_MM_MAP");
	puts("there");
	fflush(stdout);
	pause();
	return 0;
}
