/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What launcher.c and refused.c share: PROGRAM METHOD PROGRAM ARGV [EXTRA] tries to
 * start PROGRAM with the arguments in the file ARGV, each ended by a NUL. What EXTRA is
 * depends on the method.
 *
 * Before each try it prints the number of the thread that calls execve, and after one
 * that came back, the errno: "exec TID\n", "failed ERRNO\n". Ends with the status of
 * what it started, with 0 when the try came back, or with 99 when something else went
 * wrong.
 */
#ifndef START_H
#define START_H

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "truth.h"

/* The directory of an execveat. The tests know it: it shows in the file name. */
#define START_DIRFD 1007

extern char **environ;

struct method {
	const char *name;
	int (*run)(void);
};

static const char *program, *argv_file, *extra;
static char **args; /* what PROGRAM gets */
static char *text;  /* where the arguments lie, one behind the other */
static size_t text_len;

static char *map_text(int fd)
{
	/* Writable for the threads that rewrite it. */
	return must(mmap(NULL, text_len, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0), "mmap");
}

static void load_args(const char *path)
{
	int fd = must(open(path, O_RDONLY), path);
	struct stat st;
	size_t count = 0, at = 0;

	must(fstat(fd, &st), path);
	text_len = st.st_size;
	text = text_len ? map_text(fd) : "";
	for (size_t i = 0; i < text_len; i++)
		count += !text[i];
	args = calloc(count + 1, sizeof(*args));
	for (size_t i = 0; i < count; i++) {
		args[i] = text + at;
		at += strlen(args[i]) + 1;
	}
	close(fd);
}

/* Moves the arguments to pages of a file that nobody has touched or read yet. */
static void make_args_cold(void)
{
	int fd = must(open(argv_file, O_RDWR), argv_file);
	char *old = text;

	must(munmap(old, text_len), "munmap");
	must(fsync(fd), "fsync");
	must(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), "fadvise");
	text = map_text(fd);
	for (char **arg = args; *arg; arg++)
		*arg = text + (*arg - old);
}

static void announce(void)
{
	dprintf(1, "exec %d\n", gettid());
}

static int returned(void)
{
	dprintf(1, "failed %d\n", errno);
	return 0;
}

static int execve_args(void)
{
	announce();
	execve(program, args, environ);
	return returned();
}

static int execve_cold_args(void)
{
	make_args_cold();
	return execve_args();
}

static int raw_execveat(int dirfd, const char *path, int flags)
{
	announce();
	if (!syscall(SYS_execveat, dirfd, path, args, environ, flags))
		errno = 0;
	return returned();
}

static int open_as_dirfd(const char *path)
{
	int fd = must(open(path, O_RDONLY), path);

	return must(dup2(fd, START_DIRFD), "dup2");
}

static void leave_to_the_witness(const char *path, int fd)
{
	must(dup2(must(open(path, O_PATH | O_DIRECTORY), path), fd), path);
}

static int start_main(char **argv, const struct method *methods)
{
	const struct rlimit endless = { RLIM_INFINITY, RLIM_INFINITY };

	if (!argv[1] || !argv[2] || !argv[3]) {
		fprintf(stderr, "usage: %s METHOD PROGRAM ARGV [EXTRA]\n", argv[0]);
		return 99;
	}
	program = argv[2];
	argv_file = argv[3];
	extra = argv[4];
	/* Arguments may take a quarter of the stack's limit, 6 MiB at most. Only root may
	 * raise the limit; the other users' starts are short. */
	setrlimit(RLIMIT_STACK, &endless);
	leave_to_the_witness("/proc", TRUTH_PROC_FD);
	leave_to_the_witness(TRUTH_DIR, TRUTH_DIR_FD);
	load_args(argv_file);
	for (; methods->name; methods++)
		if (!strcmp(argv[1], methods->name))
			return methods->run();
	fprintf(stderr, "no such method: %s\n", argv[1]);
	return 99;
}

#endif
