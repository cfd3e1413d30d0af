/* SPDX-License-Identifier: Apache-2.0 */
/* Tries to start a program in ways that run nothing: see start.h. */
#define _GNU_SOURCE
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/prctl.h>

#include "start.h"

#ifndef AT_EXECVE_CHECK
#define AT_EXECVE_CHECK 0x10000
#endif

/* EXTRA: more files of arguments, separated by commas; one try with each. */
static int each(void)
{
	for (char *file = extra ? strtok(strdup(extra), ",") : NULL; file; file = strtok(NULL, ",")) {
		execve_args();
		load_args(file);
	}
	return execve_args();
}

static int null_argv(void)
{
	args = NULL;
	return execve_args();
}

static int bad_filename(void)
{
	program = (const char *)8;
	return execve_args();
}

static int empty_filename(void)
{
	program = "";
	return execve_args();
}

static int bad_argv(void)
{
	args = (char **)8;
	return execve_args();
}

/* The second argument cannot be read; those around it can. */
static int bad_argument(void)
{
	args[1] = (char *)8;
	return execve_args();
}

/* The second argument runs into memory that cannot be read. */
static int half_readable(void)
{
	size_t page = sysconf(_SC_PAGESIZE), readable = 4 * page;
	char *pages = must(mmap(NULL, readable + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), "mmap");

	must(mprotect(pages + readable, page, PROT_NONE), "mprotect");
	memset(pages, 'x', readable);
	args[1] = pages;
	return execve_args();
}

/* EXTRA: a folder. */
static int at_folder(void)
{
	return raw_execveat(open_as_dirfd(extra), program, 0);
}

static int at_closed_dirfd(void)
{
	return raw_execveat(START_DIRFD, program, 0);
}

static int at_bad_flags(void)
{
	return raw_execveat(AT_FDCWD, program, 0x40000000);
}

static int at_symlink(void)
{
	return raw_execveat(AT_FDCWD, program, AT_SYMLINK_NOFOLLOW);
}

/* A program that somebody has open for writing. */
static int busy(void)
{
	must(open(program, O_WRONLY), program);
	return execve_args();
}

/* EXTRA: a number; so many tries, and nothing said of each. */
static int many(void)
{
	for (int i = atoi(extra); i > 0; i--)
		execve(program, args, environ);
	return 0;
}

/* A filter of system calls refuses in the kernel's place; EXTRA: the errno. 0 makes the
 * call come back as if it had succeeded. */
static int by_filter(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_execve, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | atoi(extra)),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog filter = { sizeof(code) / sizeof(*code), code };

	must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no new privileges");
	must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter), "seccomp");
	announce();
	if (!execve(program, args, environ))
		errno = 0;
	return returned();
}

static void *execve_in_thread(void *unused)
{
	execve_args();
	return NULL;
}

static int in_thread(void)
{
	pthread_t id;

	must(-pthread_create(&id, NULL, execve_in_thread, NULL), "pthread_create");
	return pthread_join(id, NULL);
}

/* Asks whether PROGRAM may be started, and starts nothing. */
static int only_check(void)
{
	return raw_execveat(AT_FDCWD, program, AT_EXECVE_CHECK);
}

static const struct method METHODS[] = {
	{ "null-argv", null_argv },
	{ "each", each },
	{ "bad-filename", bad_filename },
	{ "empty-filename", empty_filename },
	{ "bad-argv", bad_argv },
	{ "bad-argument", bad_argument },
	{ "half-readable", half_readable },
	{ "at-folder", at_folder },
	{ "at-closed-dirfd", at_closed_dirfd },
	{ "at-bad-flags", at_bad_flags },
	{ "at-symlink", at_symlink },
	{ "busy", busy },
	{ "many", many },
	{ "filter", by_filter },
	{ "cold-pages", execve_cold_args },
	{ "in-thread", in_thread },
	{ "check", only_check },
	{ NULL, NULL },
};

int main(int argc, char **argv)
{
	return start_main(argv, METHODS);
}
