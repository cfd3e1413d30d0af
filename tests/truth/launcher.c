/* SPDX-License-Identifier: Apache-2.0 */
/* Starts a program in one of many ways: see start.h. */
#define _GNU_SOURCE
#include <libgen.h>
#include <pthread.h>
#include <sched.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/wait.h>

#include "start.h"

/* ---- ways to call execve ------------------------------------------------- */

static int by_execveat(void)
{
	char *folder = dirname(strdup(program));

	return raw_execveat(open_as_dirfd(folder), basename(strdup(program)), 0);
}

static int by_fexecve(void)
{
	return raw_execveat(open_as_dirfd(program), "", AT_EMPTY_PATH);
}

static int by_null_argv(void)
{
	args = NULL;
	return execve_args();
}

static int by_memfd(void)
{
	int from = must(open(program, O_RDONLY), program);
	int memfd = must(memfd_create(basename(strdup(program)), MFD_CLOEXEC), "memfd_create");
	struct stat st;

	must(fstat(from, &st), program);
	must(sendfile(memfd, from, NULL, st.st_size), "sendfile");
	return raw_execveat(must(dup2(memfd, START_DIRFD), "dup2"), "", AT_EMPTY_PATH);
}

static int by_deleted_file(void)
{
	open_as_dirfd(program);
	must(unlink(program), program);
	return raw_execveat(START_DIRFD, "", AT_EMPTY_PATH);
}

/* The 32-bit system call from a 64-bit process: pointers must fit 32 bits. */
static int by_int80(void)
{
#ifdef __x86_64__
	size_t count = 0, strings = strlen(program) + 1 + text_len, size;
	unsigned *pointers;
	char *low;
	long result;

	while (args[count])
		count++;
	size = (count + 2) * sizeof(*pointers) + strings;
	pointers = must(mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0), "mmap");
	low = (char *)(pointers + count + 2);
	for (size_t i = 0; i < count; i++)
		pointers[i] = (unsigned)(unsigned long)(low + (args[i] - text));
	memcpy(low, text, text_len);
	strcpy(low + text_len, program);
	announce();
	/* The environment: the empty list that ends the other. */
	__asm__ volatile("int $0x80"
		: "=a"(result)
		: "a"(11), "b"(low + text_len), "c"(pointers), "d"(pointers + count)
		: "memory");
	errno = -result;
	return returned();
#else
	errno = ENOSYS;
	return must(-1, "int80");
#endif
}

/* ---- ways to have a child do it ------------------------------------------ */

static int status_of(pid_t child)
{
	int status;

	must(child, "child");
	must(waitpid(child, &status, __WALL), "waitpid");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 98;
}

static int by_vfork(void)
{
	pid_t child = vfork();

	if (!child) {
		execve_args();
		_exit(97);
	}
	return status_of(child);
}

static int by_posix_spawn(void)
{
	pid_t child = -1;

	posix_spawn(&child, program, NULL, NULL, args, environ);
	return status_of(child);
}

static int exec_in_clone(void *unused)
{
	execve_args();
	_exit(97);
}

static int by_clone(void)
{
	static char stack[1 << 16] __attribute__((aligned(16)));

	return status_of(clone(exec_in_clone, stack + sizeof(stack), CLONE_VM | CLONE_VFORK | SIGCHLD, NULL));
}

/* ---- threads ------------------------------------------------------------- */

static pthread_t thread(void *(*body)(void *), void *arg)
{
	pthread_t id;

	must(-pthread_create(&id, NULL, body, arg), "pthread_create");
	return id;
}

static void *exec_in_thread(void *unused)
{
	execve_args();
	return NULL;
}

static int by_thread(void)
{
	pthread_join(thread(exec_in_thread, NULL), NULL);
	return 0;
}

static int waiting;

/* Not by a barrier of the library: who comes there last need not be woken, and always wins. */
static void *race(void *unused)
{
	for (__atomic_add_fetch(&waiting, 1, __ATOMIC_SEQ_CST); __atomic_load_n(&waiting, __ATOMIC_SEQ_CST) < 2;)
		sched_yield();
	execve_args();
	/* The loser is killed as soon as it gets here; if not, the winner is still at it. */
	return pause(), NULL;
}

static int by_two_threads(void)
{
	thread(race, NULL);
	race(NULL);
	return 96;
}

/* The last argument is left alone: an unterminated one would drag the environment in. */
static void *rewrite_for_ever(void *unused)
{
	size_t last = strlen(args[1]);

	for (int n = 0;; n++)
		for (size_t i = 0; i < last; i += 64)
			((volatile char *)args[1])[i] = "XO"[n & 1];
	return NULL;
}

/* One byte only: whole when the kernel measures the argument and in two when it copies
 * it, or the other way round, must be likely. */
static void *tear_for_ever(void *unused)
{
	volatile char *middle = args[1] + strlen(args[1]) / 2;

	for (int n = 0;; n++)
		*middle = "X\0"[n & 1];
	return NULL;
}

static int beside(void *(*body)(void *))
{
	/* Both threads ahead of what else this machine does: they must really meet. */
	sched_setscheduler(0, SCHED_RR, &(struct sched_param){ .sched_priority = 1 });
	thread(body, NULL);
	usleep(2000); /* it is at work by then */
	return execve_args();
}

static int by_rewritten(void)
{
	return beside(rewrite_for_ever);
}

static int by_torn(void)
{
	return beside(tear_for_ever);
}

/* ---- other places -------------------------------------------------------- */

/* The same process replaces itself by itself first. */
static int by_chain(void)
{
	announce();
	execl("/proc/self/exe", "launcher", "execve", program, argv_file, NULL);
	return returned();
}

static int by_pid_namespace(void)
{
	pid_t child;

	must(unshare(CLONE_NEWPID), "unshare");
	child = must(fork(), "fork");
	if (!child) {
		execve_args();
		_exit(97);
	}
	return status_of(child);
}

static int by_user_namespace(void)
{
	must(unshare(CLONE_NEWUSER), "unshare");
	return execve_args();
}

/* EXTRA: the new root; PROGRAM is a path inside it, and so is /inside. */
static int by_chroot(void)
{
	must(chroot(extra), extra);
	must(chdir("/inside"), "/inside");
	return execve_args();
}

/* The new root's path is no part of what lies outside of it. */
static int by_chroot_from_outside(void)
{
	must(chroot(extra), extra);
	return execve_args();
}

/* Mounts an empty file system that only this process sees on EXTRA, an empty folder;
 * returns a new folder in it. */
static char *private_folder(const char *name)
{
	char *path = NULL;

	must(unshare(CLONE_NEWNS), "unshare");
	must(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), "make / private");
	must(mount("truth", extra, "tmpfs", 0, NULL), extra);
	must(asprintf(&path, "%s/%s", extra, name), "asprintf");
	must(mkdir(path, 0755), path);
	return path;
}

/* Has the program started from this folder, by its own name and in it. */
static int execve_in(const char *folder)
{
	char *path = NULL;

	must(asprintf(&path, "%s/%s", folder, basename(strdup(program))), "asprintf");
	must(chdir(folder), folder);
	program = path;
	return execve_args();
}

static int by_bind_mount(void)
{
	char *bound = private_folder("bound");

	must(mount(dirname(strdup(program)), bound, NULL, MS_BIND, NULL), bound);
	return execve_in(bound);
}

/* As in most containers: an overlay file system. */
static int by_overlay(void)
{
	char *merged = private_folder("merged"), *options = NULL;

	must(chdir(extra), extra);
	must(mkdir("upper", 0755), "upper");
	must(mkdir("work", 0755), "work");
	must(asprintf(&options, "lowerdir=%s,upperdir=upper,workdir=work", dirname(strdup(program))), "asprintf");
	must(mount("truth", merged, "overlay", 0, options), "overlay");
	return execve_in(merged);
}

/* In a folder of a file system that has no place in the tree any more. */
static int by_detached_mount(void)
{
	char *folder = private_folder("folder");

	must(chdir(folder), folder);
	must(umount2(extra, MNT_DETACH), extra);
	return execve_args();
}

/* EXTRA: a folder, which is not there any more when the program runs in it. */
static int by_deleted_cwd(void)
{
	must(mkdir(extra, 0755), extra);
	must(chdir(extra), extra);
	must(rmdir(extra), extra);
	return execve_args();
}

/* EXTRA: a number; goes into as many folders with long names, one in the other: farther
 * than a path can say. */
static int by_long_cwd(void)
{
	char name[201] = "";

	memset(name, 'd', sizeof(name) - 1);
	for (int i = atoi(extra); i > 0; i--) {
		must(mkdir(name, 0755), name);
		must(chdir(name), name);
	}
	return execve_args();
}

static const struct method METHODS[] = {
	{ "execve", execve_args },
	{ "null-argv", by_null_argv },
	{ "execveat", by_execveat },
	{ "fexecve", by_fexecve },
	{ "memfd", by_memfd },
	{ "deleted-file", by_deleted_file },
	{ "int80", by_int80 },
	{ "cold-pages", execve_cold_args },
	{ "vfork", by_vfork },
	{ "posix-spawn", by_posix_spawn },
	{ "clone", by_clone },
	{ "thread", by_thread },
	{ "two-threads", by_two_threads },
	{ "rewritten", by_rewritten },
	{ "torn", by_torn },
	{ "chain", by_chain },
	{ "pid-namespace", by_pid_namespace },
	{ "user-namespace", by_user_namespace },
	{ "chroot", by_chroot },
	{ "chroot-from-outside", by_chroot_from_outside },
	{ "bind-mount", by_bind_mount },
	{ "overlay", by_overlay },
	{ "detached-mount", by_detached_mount },
	{ "deleted-cwd", by_deleted_cwd },
	{ "long-cwd", by_long_cwd },
	{ NULL, NULL },
};

int main(int argc, char **argv)
{
	return start_main(argv, METHODS);
}
