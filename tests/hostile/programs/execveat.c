/* SPDX-License-Identifier: Apache-2.0 */
/* execveat FOLDER PATH WORD: runs PATH, relative to FOLDER. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/syscall.h>

#include "hostile.h"

int main(int argc, char **argv)
{
	if (argc != 4)
		return 98;
	char *args[] = {"noop", argv[3], NULL}, *none[] = {NULL};
	int folder = must(open(argv[1], O_RDONLY | O_DIRECTORY), "open");

	/* The kernel names the program by the number of the descriptor. */
	folder = must(dup2(folder, 1000), "dup2");
	must(syscall(SYS_execveat, folder, argv[2], args, none, 0), "execveat");
}
