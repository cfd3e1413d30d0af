/* SPDX-License-Identifier: Apache-2.0 */
/*
 * acts ACT...: does what it is told, one thing after the other, and says when. The acts in
 * brackets are words of their own: fork [ name x exec /bin/true ] exit 3
 *
 *   fork [ ACTS ]    a child does them and exits with 0; waits for it
 *   leave [ ACTS ]   the same, and does not wait
 *   sibling [ ACTS ] the same, in a child of our own parent
 *   again [ ACTS ]   as fork, and the child gets the pid of the one that was last waited for
 *   traced [ ACTS ]  as fork, and a third process traces the child
 *   thread [ ACTS ]  another thread does them; joins it
 *   alone [ ACTS ]   another thread does them; ours, the first, ends with status 3
 *   reap             waits for all children that are left
 *   orphan           waits until whoever forked us has gone
 *   await PATH       waits until it is there
 *   touch PATH       makes it
 *   write PATH TEXT
 *   name TEXT        names the thread
 *   title TEXT       writes it over our own arguments, and zeros behind it
 *   host-proc        leaves /proc open for introspect, see truth.h
 *   setsid
 *   become UID GID
 *   no-new-privileges
 *   exec PATH ARG... with all the rest, up to the bracket that ends it; argv[0] is PATH
 *   fail PATH ARG    the same with one argument, and goes on when it has failed
 *   exit N           exit_group
 *   end-thread N     exit, of this thread alone
 *   raise SIGNAL
 *
 * What it says, a line each, with the pid and the boot clock in nanoseconds:
 *   main PID NS           it has been started
 *   execve PID NS         it is about to call execve
 *   end PID NS STATUS     it is about to end, and what wait should return
 *   waited PID NS STATUS  a child has ended: what wait returned
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/sched.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "truth.h"

extern char **environ;

static char *title, *title_end; /* where the kernel put our arguments */
static pid_t forked_by, last_waited;

static void say(const char *what, pid_t pid, int status)
{
	struct timespec now;
	char line[128];
	int len;

	clock_gettime(CLOCK_BOOTTIME, &now);
	len = snprintf(line, sizeof(line), "%s %d %ld%09ld %d\n", what, pid, (long)now.tv_sec, now.tv_nsec, status);
	/* In one call: others write to the same file. */
	must(write(1, line, len), "say");
}

static _Noreturn void misuse(const char *word)
{
	fprintf(stderr, "acts: what about %s?\n", word ? word : "the end");
	_exit(99);
}

/* ---- words ---------------------------------------------------------------- */

static int closes(char **at)
{
	return !*at || !strcmp(*at, "]");
}

/* Returns the bracket, or the end, that these words run up to. */
static char **close_of(char **at)
{
	for (int depth = 0; *at && (depth || strcmp(*at, "]")); at++)
		depth += !strcmp(*at, "[") - !strcmp(*at, "]");
	return at;
}

/* ---- processes ------------------------------------------------------------ */

static char **act(char **at);

static _Noreturn void act_and_exit(char **at, pid_t parent)
{
	forked_by = parent;
	act(at);
	_exit(0);
}

static void await_child(pid_t child)
{
	int status;

	must(waitpid(must(child, "child"), &status, __WALL), "waitpid");
	say("waited", child, status);
	last_waited = child;
}

static void reap(void)
{
	pid_t child;
	int status;

	while ((child = wait(&status)) > 0)
		say("waited", child, status);
}

static void fork_acts(char **at)
{
	pid_t self = getpid(), child = must(fork(), "fork");

	if (!child)
		act_and_exit(at, self);
	await_child(child);
}

static void leave_acts(char **at)
{
	pid_t self = getpid();

	if (!must(fork(), "fork"))
		act_and_exit(at, self);
}

static void sibling_acts(char **at)
{
	if (!must(syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0), "clone"))
		act_and_exit(at, getppid());
}

static void again_acts(char **at)
{
	pid_t self = getpid(), child;
	struct clone_args how = { .exit_signal = SIGCHLD, .set_tid = (uintptr_t)&last_waited, .set_tid_size = 1 };

	/* It may have been taken already. */
	while ((child = syscall(SYS_clone3, &how, sizeof(how))) < 0 && errno == EEXIST)
		usleep(1000);
	if (!must(child, "clone3"))
		act_and_exit(at, self);
	await_child(child);
}

static void trace_to_its_end(pid_t child, int ready)
{
	int status;

	must(ptrace(PTRACE_SEIZE, child, 0, 0), "seize");
	must(write(ready, "", 1), "ready");
	while (waitpid(child, &status, __WALL) == child && WIFSTOPPED(status))
		ptrace(PTRACE_CONT, child, 0, 0);
	_exit(0);
}

static void traced_acts(char **at)
{
	pid_t self = getpid(), child, tracer;
	int ready[2];
	char byte;

	must(pipe2(ready, O_CLOEXEC), "pipe");
	child = must(fork(), "fork");
	if (!child) {
		must(read(ready[0], &byte, 1), "ready");
		act_and_exit(at, self);
	}
	tracer = must(fork(), "fork");
	if (!tracer)
		trace_to_its_end(child, ready[1]);
	await_child(child);
	must(waitpid(tracer, NULL, 0), "tracer");
	close(ready[0]);
	close(ready[1]);
}

/* ---- threads -------------------------------------------------------------- */

static void *act_in_thread(void *at)
{
	act(at);
	return NULL;
}

static pthread_t thread_acts(char **at)
{
	pthread_t id;

	must(-pthread_create(&id, NULL, act_in_thread, at), "pthread_create");
	return id;
}

/* ---- ourselves ------------------------------------------------------------ */

static void retitle(const char *text)
{
	memset(title, 0, title_end - title);
	memcpy(title, text, strnlen(text, title_end - title - 1));
}

static void become(unsigned uid, unsigned gid)
{
	must(setgroups(0, NULL), "setgroups");
	must(setresgid(gid, gid, gid), "setresgid");
	must(setresuid(uid, uid, uid), "setresuid");
}

static void write_file(const char *path, const char *text)
{
	int fd = must(open(path, O_WRONLY | O_CREAT, 0644), path);

	must(write(fd, text, strlen(text)), path);
	close(fd);
}

static void exec_words(char **at)
{
	size_t count = close_of(at) - at;
	char **args = calloc(count + 1, sizeof(*args));

	memcpy(args, at, count * sizeof(*args));
	say("execve", getpid(), 0);
	execve(args[0], args, environ);
}

static void fail(const char *path, char *arg)
{
	char *args[] = { (char *)path, arg, NULL };

	if (!execve(path, args, environ))
		misuse(path);
}

static void end_by(int signal)
{
	const struct rlimit none = { 0, 0 };

	must(setrlimit(RLIMIT_CORE, &none), "no core file");
	say("end", getpid(), signal);
	kill(getpid(), signal);
	for (;;)
		pause();
}

/* ---- acts ----------------------------------------------------------------- */

static const struct block {
	const char *name;
	void (*run)(char **);
} BLOCKS[] = {
	{ "fork", fork_acts },	 { "leave", leave_acts },   { "sibling", sibling_acts },
	{ "again", again_acts }, { "traced", traced_acts }, { NULL, NULL },
};

/* Does one act of `count` words behind its name, or of none; returns whether it knew it. */
static int do_one(const char *name, int count, char **word)
{
	if (!strcmp(name, "orphan"))
		while (getppid() == forked_by)
			usleep(100);
	else if (!strcmp(name, "no-new-privileges"))
		must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), name);
	else if (!strcmp(name, "reap"))
		reap();
	else if (!strcmp(name, "host-proc"))
		must(dup2(must(open("/proc", O_PATH | O_DIRECTORY), name), TRUTH_PROC_FD), name);
	else if (!strcmp(name, "setsid"))
		must(setsid(), name);
	else if (!count)
		return 0;
	else if (!strcmp(name, "await"))
		/* Twenty who look each millisecond leave an emulated machine no time for the recorder. */
		while (access(word[0], F_OK))
			usleep(20000);
	else if (!strcmp(name, "touch"))
		write_file(word[0], "");
	else if (!strcmp(name, "name"))
		must(prctl(PR_SET_NAME, word[0]), name);
	else if (!strcmp(name, "title"))
		retitle(word[0]);
	else if (!strcmp(name, "exit")) {
		say("end", getpid(), (atoi(word[0]) & 255) << 8);
		_exit(atoi(word[0]));
	} else if (!strcmp(name, "end-thread"))
		syscall(SYS_exit, atoi(word[0]));
	else if (!strcmp(name, "raise"))
		end_by(atoi(word[0]));
	else if (count < 2)
		return 0;
	else if (!strcmp(name, "write"))
		write_file(word[0], word[1]);
	else if (!strcmp(name, "become"))
		become(atoi(word[0]), atoi(word[1]));
	else if (!strcmp(name, "fail"))
		fail(word[0], word[1]);
	else
		return 0;
	return 1;
}

static int words_of(const char *name)
{
	static const char *NONE[] = { "no-new-privileges", "orphan", "reap", "host-proc", "setsid" }, *TWO[] = { "write", "become", "fail" };

	for (int i = 0; i < sizeof(NONE) / sizeof(*NONE); i++)
		if (!strcmp(name, NONE[i]))
			return 0;
	for (int i = 0; i < sizeof(TWO) / sizeof(*TWO); i++)
		if (!strcmp(name, TWO[i]))
			return 2;
	return 1;
}

/* Does an act with brackets; returns the last of them, or NULL: it is none. */
static char **do_block(const char *name, char **acts)
{
	const struct block *block = BLOCKS;

	while (block->name && strcmp(name, block->name))
		block++;
	if (block->name)
		block->run(acts);
	else if (!strcmp(name, "thread"))
		pthread_join(thread_acts(acts), NULL);
	else if (!strcmp(name, "alone")) {
		thread_acts(acts);
		syscall(SYS_exit, 3);
	} else
		return NULL;
	return close_of(acts);
}

/* Does acts up to the bracket that ends them; returns it, or the end. */
static char **act(char **at)
{
	while (!closes(at)) {
		char *name = *at++, **end;

		if (!strcmp(name, "exec")) {
			exec_words(at);
			perror(*at);
			_exit(99);
		}
		if (!closes(at) && !strcmp(*at, "[")) {
			end = do_block(name, at + 1);
			if (!end || !*end)
				misuse(name);
			at = end + 1;
		} else {
			if (!do_one(name, close_of(at) - at, at))
				misuse(name);
			at += words_of(name);
		}
	}
	return at;
}

int main(int argc, char **argv)
{
	say("main", getpid(), 0);
	title = argv[0];
	/* A title may overwrite what is still to be done. */
	for (char **at = argv; *at; *at = strdup(*at), at++)
		title_end = *at + strlen(*at) + 1;
	act(argv + 1);
	say("end", getpid(), 0);
	/* Not exit: standard output may be somebody's pipe that is closed. */
	_exit(0);
}
