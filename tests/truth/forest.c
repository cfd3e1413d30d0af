/* SPDX-License-Identifier: Apache-2.0 */
/*
 * forest PATH PPID SEED NODES [BRIEF]: grows a forest of processes, each of them this program
 * again, and writes down who they truly are.
 *
 * A node's PATH names the exec that led to it: that of "a.f0.d1" is "a.f0". Its last part is
 * a letter, which says how it was started (see WAYS), and a number. NODES more nodes grow
 * below it. The first node, whose PATH is one word, lives until all others have ended, gets the
 * orphans, and in the end starts BRIEF parents that are gone before their only child has
 * started anything.
 *
 * Each node writes one line to standard output when it starts:
 *   node PATH PID PPID TID END
 * PPID is 0 when it depends on who is faster; TID is that of the thread that called execve,
 * or 0; END is what the node is about to do: exit-N, signal-N or replaced. Before an exec that
 * fails, the one that tries it writes
 *   fail PATH PID PPID TID
 * PATH being that of the node it would have become.
 *
 * The file has more than 400 lines because it has a dozen ways to start a node, each in some ten
 * lines. All of them use what the process knows of itself and of the next node, and belong to
 * one program: a node starts itself again.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "truth.h"

#define PATH_ROOM 8192
#define AT_ONCE	  24 /* brief parents, each with a child */

extern char **environ;

static const char *path;
static pid_t parent; /* ours, if it surely lives as long as we do; else 0 */
static int budget;   /* nodes that are still to grow below this one */
static uint64_t state;

/* The next node, and its arguments. */
static char next_path[PATH_ROOM], next_ppid[16], next_nodes[16], next_tid[16];
static char *next[] = { "forest", next_path, next_ppid, NULL, next_nodes, next_tid, NULL };
static int next_fails;

static void say(const char *format, ...)
{
	char line[PATH_ROOM + 128];
	va_list values;
	int len;

	va_start(values, format);
	len = vsnprintf(line, sizeof(line), format, values);
	va_end(values);
	/* In one call: others write to the same file. */
	if (write(1, line, len) != len)
		_exit(98);
}

/* splitmix64, so that a node's life depends on its path and the seed alone. */
static unsigned below(unsigned limit)
{
	uint64_t z = (state += 0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return (z ^ z >> 31) % limit;
}

static void seed_from(const char *text)
{
	for (; *text; text++)
		state = (state ^ (unsigned char)*text) * 0x100000001b3;
}

static int is_root(void)
{
	return !strchr(path, '.');
}

/* ---- the exec itself ------------------------------------------------------ */

static void ppid_is(pid_t pid)
{
	snprintf(next_ppid, sizeof(next_ppid), "%d", pid);
}

/* Never returns: a child that got farther would grow its parent's tree again. Of a process whose
 * leader has ended /proc/self has no exe. */
static void *become_next(void *unused)
{
	char nowhere[] = "/nonexistent/execaudit-forest";

	snprintf(next_tid, sizeof(next_tid), "%d", gettid());
	if (next_fails) {
		say("fail %s %d %s %d\n", next_path, getpid(), next_ppid, gettid());
		execve(nowhere, next, environ);
	}
	execve("/proc/thread-self/exe", next, environ);
	_exit(97);
}

static void become_next_in_thread(void)
{
	pthread_t id;

	if (pthread_create(&id, NULL, become_next, NULL))
		_exit(96);
}

/* ---- ways to start a node ------------------------------------------------- */

static void await(pid_t child)
{
	must(waitpid(must(child, "child"), NULL, __WALL), "waitpid");
}

static void await_any(void)
{
	must(waitpid(-1, NULL, __WALL), "waitpid");
}

static void by_fork(void)
{
	pid_t child;

	ppid_is(getpid());
	child = fork();
	if (!child)
		become_next(NULL);
	await(child);
}

static void by_vfork(void)
{
	pid_t child;

	ppid_is(getpid());
	child = vfork();
	if (!child)
		become_next(NULL);
	await(child);
}

static void by_posix_spawn(void)
{
	pid_t child = -1;

	ppid_is(getpid());
	strcpy(next_tid, "0");
	must(-posix_spawn(&child, "/proc/self/exe", NULL, NULL, next, environ), "posix_spawn");
	await(child);
}

/* The parent neither waits nor lives on for it. */
static void by_fork_and_forget(void)
{
	ppid_is(0);
	if (!must(fork(), "fork"))
		become_next(NULL);
}

static void double_fork(void (*then)(pid_t))
{
	pid_t between = must(fork(), "fork");

	if (between) {
		await(between);
		return;
	}
	between = getpid();
	if (!must(fork(), "fork"))
		then(between);
	_exit(0);
}

static void at_once(pid_t between)
{
	ppid_is(0);
	become_next(NULL);
}

static void as_orphan(pid_t between)
{
	while (getppid() == between)
		usleep(100);
	ppid_is(getppid());
	become_next(NULL);
}

static void as_daemon(pid_t between)
{
	must(setsid(), "setsid");
	must(chdir("/"), "/");
	if (!must(fork(), "fork"))
		at_once(0);
	_exit(0);
}

static void by_double_fork(void)
{
	double_fork(at_once);
}

static void by_reparenting(void)
{
	double_fork(as_orphan);
}

static void by_daemonizing(void)
{
	double_fork(as_daemon);
}

/* Three processes in between that never exec. */
static void by_generations(void)
{
	pid_t child = must(fork(), "fork");

	if (child) {
		await(child);
		return;
	}
	for (int i = 0; i < 2; i++) {
		child = must(fork(), "fork");
		if (child) {
			await(child);
			_exit(0);
		}
	}
	by_fork();
	_exit(0);
}

static void *fork_in_thread(void *way)
{
	((void (*)(void))way)();
	return NULL;
}

static void by_thread_that_forks(void)
{
	pthread_t id;

	must(-pthread_create(&id, NULL, fork_in_thread, below(2) ? by_fork : by_vfork), "pthread_create");
	pthread_join(id, NULL);
}

static void by_exec_in_thread(void)
{
	pid_t child;

	ppid_is(getpid());
	child = fork();
	if (!child) {
		become_next_in_thread();
		for (;;)
			pause();
	}
	await(child);
}

static void *become_next_without_leader(void *unused)
{
	usleep(1000);
	return become_next(NULL);
}

/* The leader has ended when another thread takes its place. */
static void by_exec_without_leader(void)
{
	pthread_t id;
	pid_t child;

	ppid_is(getpid());
	child = fork();
	if (!child) {
		if (pthread_create(&id, NULL, become_next_without_leader, NULL))
			_exit(96);
		syscall(SYS_exit, 0);
	}
	await(child);
}

/* A sibling of ours that we, and not its parent, have started. */
static void by_clone_parent(void)
{
	pid_t child = must(syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0), "clone");
	struct pollfd ended = { .events = POLLIN };

	if (!child) {
		ppid_is(parent ? getppid() : 0);
		become_next(NULL);
	}
	ended.fd = syscall(SYS_pidfd_open, child, 0);
	if (ended.fd < 0) /* it was faster, and somebody has waited for it */
		return;
	poll(&ended, 1, -1);
	close(ended.fd);
}

static void by_replacing(void)
{
	ppid_is(parent);
	become_next(NULL);
}

static void by_replacing_in_thread(void)
{
	ppid_is(parent);
	become_next_in_thread();
	for (;;)
		pause();
}

static const struct way {
	char letter;
	void (*start)(void);
} WAYS[] = {
	{ 'f', by_fork },
	{ 'v', by_vfork },
	{ 'p', by_posix_spawn },
	{ 'i', by_fork_and_forget },
	{ 'd', by_double_fork },
	{ 'o', by_reparenting },
	{ 'D', by_daemonizing },
	{ 'g', by_generations },
	{ 't', by_thread_that_forks },
	{ 'e', by_exec_in_thread },
	{ 'E', by_exec_without_leader },
	{ 'c', by_clone_parent },
};
/* Special ones. */
static const struct way LINK = { 'k', by_fork }, BRIEF = { 'B', by_fork_and_forget },
			REPLACING[] = { { 's', by_replacing }, { 'S', by_replacing_in_thread } };

/* ---- growing -------------------------------------------------------------- */

static int grown;

static void start(const struct way *way, int nodes)
{
	size_t len = snprintf(next_path, sizeof(next_path), "%s.%c%d", path, way->letter, grown++);

	if (len >= sizeof(next_path))
		exit(95);
	snprintf(next_nodes, sizeof(next_nodes), "%d", nodes);
	next_fails = !below(6);
	way->start();
}

static const struct way *any_way(void)
{
	const struct way *way = &WAYS[below(sizeof(WAYS) / sizeof(*WAYS))];

	/* The first node's siblings are none of its business. */
	return is_root() && way->start == by_clone_parent ? WAYS : way;
}

static void fork_for_nothing(void)
{
	for (unsigned i = below(3); i > 0; i--) {
		pid_t child = must(fork(), "fork");

		if (!child)
			_exit(0);
		await(child);
	}
}

/* Starts what grows below this node, but for `kept` nodes. */
static void grow(int kept)
{
	while (budget > kept) {
		int room = budget - kept, nodes = below(3) ? 1 + below(room) : room;

		fork_for_nothing();
		start(any_way(), nodes - 1);
		budget -= nodes;
	}
}

static void reap_all(void)
{
	while (waitpid(-1, NULL, __WALL) > 0 || errno == EINTR)
		;
}

static void start_brief_parents(int count)
{
	int alive = 0;

	for (; count > 0; count--) {
		start(&BRIEF, 1);
		/* It and its child. */
		for (alive += 2; alive > 2 * AT_ONCE; alive--)
			await_any();
	}
}

static void *exit_group_here(void *status)
{
	syscall(SYS_exit_group, *(int *)status);
	return NULL;
}

static void end_in_thread(int status)
{
	pthread_t id;

	must(-pthread_create(&id, NULL, exit_group_here, &status), "pthread_create");
	pthread_join(id, NULL);
}

static void live(char letter)
{
	static const int SIGNALS[] = { SIGKILL, SIGTERM, SIGSEGV, SIGUSR1, SIGABRT, SIGXFSZ };
	int replaced = budget && !below(3), kept = replaced ? 1 + below(budget) : 0;
	int status = below(256), signal = below(5) ? 0 : SIGNALS[below(6)], in_thread = !below(6);
	char end[32];

	if (letter == LINK.letter || letter == BRIEF.letter)
		replaced = kept = 0;
	snprintf(end, sizeof(end), signal ? "signal-%d" : "exit-%d", signal ? signal : status);
	say("node %s %d %d %s %s\n", path, getpid(), parent, next_tid, replaced ? "replaced" : end);
	if (letter == LINK.letter && budget)
		start(&LINK, budget - 1);
	else if (letter == BRIEF.letter)
		start(&WAYS[below(2) ? 3 : 4], 0);
	else
		grow(kept);
	if (replaced)
		start(&REPLACING[below(2)], kept - 1);
	if (signal) {
		kill(getpid(), signal);
		pause();
	}
	if (in_thread)
		end_in_thread(status);
	_exit(status);
}

int main(int argc, char **argv)
{
	const struct rlimit none = { 0, 0 };
	const char *last;

	if (argc < 5) {
		fprintf(stderr, "usage: %s PATH PPID SEED NODES [BRIEF]\n", argv[0]);
		return 99;
	}
	path = argv[1];
	parent = atoi(argv[2]);
	next[3] = argv[3];
	budget = atoi(argv[4]);
	seed_from(argv[3]);
	seed_from(path);
	if (is_root()) {
		int chain = budget / 10, brief = argc > 5 ? atoi(argv[5]) : 0;

		must(prctl(PR_SET_CHILD_SUBREAPER, 1), "subreaper");
		must(setrlimit(RLIMIT_CORE, &none), "no core files");
		strcpy(next_tid, "0");
		say("node %s %d 0 0 exit-0\n", path, getpid());
		if (chain)
			start(&LINK, chain - 1);
		budget -= chain;
		grow(0);
		reap_all();
		start_brief_parents(brief);
		reap_all();
		return 0;
	}
	if (parent && getppid() != parent) {
		fprintf(stderr, "%s: %d was to be the parent, not %d\n", path, parent, getppid());
		return 99;
	}
	snprintf(next_tid, sizeof(next_tid), "%s", argc > 5 ? argv[5] : "0");
	last = strrchr(path, '.') + 1;
	live(*last);
}
