/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes down how it was really started, and exits 0.
 *
 * One file per start in TRUTH_DIR, its fields ended by NUL:
 *   pid ppid uid euid gid comm exe cwd
 * and behind them /proc/self/cmdline, to the end of the file. The file appears
 * under its name when it is whole.
 *
 * Nothing is asked of argv or of the environment, which may both be empty. The
 * launcher leaves two directories open (see truth.h): with the host's /proc a
 * witness in a chroot or in a pid namespace still learns its pid as the host
 * sees it. A witness that the kernel started has neither, and opens them by path.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "truth.h"

static int directory(int inherited, const char *path)
{
	if (fcntl(inherited, F_GETFD) >= 0)
		return inherited;
	return must(open(path, O_PATH | O_DIRECTORY), path);
}

/* Returns a whole file of /proc, NUL-terminated: they have no size to ask for. */
static char *slurp(int proc, const char *name, size_t *len)
{
	int fd = must(openat(proc, name, O_RDONLY), name);
	size_t room = 1 << 20;
	char *text = NULL;
	ssize_t n;

	*len = 0;
	do {
		if (!text || *len == room)
			text = realloc(text, (room *= 2) + 1);
		n = must(read(fd, text + *len, room - *len), name);
		*len += n;
	} while (n > 0);
	close(fd);
	text[*len] = 0;
	return text;
}

/* Returns what a link of /proc/self says; empty when it is longer than the kernel can say. */
static const char *link_of(int proc, const char *name)
{
	char *text = calloc(1, 8192);

	if (readlinkat(proc, name, text, 8191) < 0)
		text[0] = 0;
	return text;
}

static unsigned number(const char *status, const char *key, int column)
{
	const char *at = strstr(status, key);
	char *end;
	unsigned value = 0;

	if (!at)
		must(-1, key);
	for (at += strlen(key); column >= 0; column--, at = end)
		value = strtoul(at, &end, 10);
	return value;
}

int main(void)
{
	int proc = directory(TRUTH_PROC_FD, "/proc"), truths = directory(TRUTH_DIR_FD, TRUTH_DIR);
	size_t status_len, comm_len, cmdline_len;
	char *status = slurp(proc, "self/status", &status_len);
	char *comm = slurp(proc, "self/comm", &comm_len);
	char *cmdline = slurp(proc, "self/cmdline", &cmdline_len);
	char name[64], draft[sizeof(name) + 1];
	struct timespec now;
	FILE *file;

	comm[strcspn(comm, "\n")] = 0;
	clock_gettime(CLOCK_MONOTONIC, &now);
	snprintf(name, sizeof(name), "truth-%s-%ld%09ld", link_of(proc, "self"), (long)now.tv_sec, now.tv_nsec);
	snprintf(draft, sizeof(draft), ".%s", name);
	file = fdopen(must(openat(truths, draft, O_WRONLY | O_CREAT | O_EXCL, 0644), draft), "w");
	fprintf(file, "%s%c%u%c", link_of(proc, "self"), 0, number(status, "\nPPid:", 0), 0);
	fprintf(file, "%u%c%u%c", number(status, "\nUid:", 0), 0, number(status, "\nUid:", 1), 0);
	fprintf(file, "%u%c%s%c", number(status, "\nGid:", 0), 0, comm, 0);
	fprintf(file, "%s%c%s%c", link_of(proc, "self/exe"), 0, link_of(proc, "self/cwd"), 0);
	fwrite(cmdline, 1, cmdline_len, file);
	if (fclose(file))
		must(-1, "write");
	must(renameat(truths, draft, truths, name), name);
	return 0;
}
