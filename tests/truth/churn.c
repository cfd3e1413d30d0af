/* SPDX-License-Identifier: Apache-2.0 */
/*
 * churn STOP LINES: keeps processes being born and dying until the file STOP is there, and
 * ends when the last of them has.
 *
 * Each of LINES lines of descent goes on by itself: churn STOP LINE N is its Nth exec, and
 * leads to exactly one N + 1, in a child, in a child of a child, or in the same process.
 * Each writes to standard output when it starts:
 *   LINE N PID NS
 * NS being the boot clock.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "truth.h"

extern char **environ;

static char **self;
static char number[16];

static void *go_on(void *unused)
{
	char *next[] = { self[0], self[1], self[2], number, NULL };

	execve("/proc/self/exe", next, environ);
	_exit(97);
}

static void go_on_in_thread(void)
{
	pthread_t id;

	must(-pthread_create(&id, NULL, go_on, NULL), "pthread_create");
	for (;;)
		pause();
}

/* Returns in the parent alone. */
static void go_on_in_child(int generations)
{
	pid_t child = must(generations ? fork() : vfork(), "fork");

	if (child)
		return;
	if (generations > 1) {
		go_on_in_child(generations - 1);
		_exit(0);
	}
	go_on(NULL);
}

static void start_line(const char *stop, int line)
{
	char name[16], *first[] = { self[0], (char *)stop, name, "0", NULL };

	snprintf(name, sizeof(name), "%d", line);
	if (must(fork(), "fork"))
		return;
	execve("/proc/self/exe", first, environ);
	_exit(97);
}

static int root(const char *stop, int lines)
{
	must(prctl(PR_SET_CHILD_SUBREAPER, 1), "subreaper");
	while (lines > 0)
		start_line(stop, lines--);
	while (wait(NULL) > 0 || errno == EINTR)
		;
	return 0;
}

static void say(int n)
{
	struct timespec now;
	char line[128];
	int len;

	clock_gettime(CLOCK_BOOTTIME, &now);
	len = snprintf(line, sizeof(line), "%s %d %d %ld%09ld\n", self[2], n, getpid(), (long)now.tv_sec, now.tv_nsec);
	must(write(1, line, len), "write");
}

int main(int argc, char **argv)
{
	int n;

	self = argv;
	if (argc == 3)
		return root(argv[1], atoi(argv[2]));
	if (argc != 4) {
		fprintf(stderr, "usage: %s STOP LINES\n", argv[0]);
		return 99;
	}
	n = atoi(argv[3]);
	snprintf(number, sizeof(number), "%d", n + 1);
	say(n);
	if (!access(argv[1], F_OK))
		return 0;
	/* Each way comes after each other one at times. */
	switch ((n * n + n / 7) % 7) {
	case 0:
	case 1:
		go_on(NULL);
	case 2:
		go_on_in_thread();
	case 3:
		go_on_in_child(0);
		break;
	case 4:
		go_on_in_child(1);
		usleep(5000);
		break;
	case 5:
		go_on_in_child(1);
		break;
	default:
		go_on_in_child(3);
		usleep(1000);
	}
	return 0;
}
