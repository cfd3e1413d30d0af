/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Says who it is, as far as a process can tell, and exits 0. A line each to standard output:
 *   who KEY VALUE
 * VALUE is a number, or a text as hexadecimal digits. Its arguments do not matter, but for
 * its start: they may be a script's.
 *
 * A directory that is left open as TRUTH_PROC_FD is the host's /proc: with it a process in a
 * pid namespace still learns its pid as the host sees it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdarg.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "truth.h"

static int proc;
static char said[1 << 16];
static size_t said_len;

static void say(const char *format, ...)
{
	va_list values;

	va_start(values, format);
	said_len += vsnprintf(said + said_len, sizeof(said) - said_len, format, values);
	va_end(values);
}

static void say_number(const char *key, unsigned long value)
{
	say("who %s %lu\n", key, value);
}

static void say_bytes(const char *key, const char *bytes, size_t len)
{
	say("who %s ", key);
	for (size_t i = 0; i < len; i++)
		say("%02x", (unsigned char)bytes[i]);
	say("\n");
}

/* Reads a file of /proc, NUL-terminated; returns its length, 0 also when it is not there. */
static size_t slurp(const char *name, char *text, size_t room)
{
	int fd = openat(proc, name, O_RDONLY);
	ssize_t n, len = 0;

	while (fd >= 0 && (n = read(fd, text + len, room - 1 - len)) > 0)
		len += n;
	close(fd);
	text[len] = 0;
	return len;
}

static void say_text(const char *key, const char *name)
{
	char text[8192];
	size_t len = slurp(name, text, sizeof(text));

	/* The newline is /proc's. */
	say_bytes(key, text, len && text[len - 1] == '\n' ? len - 1 : len);
}

static void say_login(const char *key, const char *name)
{
	char text[32];

	if (slurp(name, text, sizeof(text)))
		say_number(key, strtoul(text, NULL, 10));
}

static void say_link(const char *key, const char *name)
{
	char path[4096];
	ssize_t len = readlinkat(proc, name, path, sizeof(path));

	say_bytes(key, path, len > 0 ? len : 0);
}

static pid_t field_of_status(const char *key)
{
	char status[8192], *at;

	slurp("self/status", status, sizeof(status));
	at = strstr(status, key);
	return at ? atoi(at + strlen(key)) : -1;
}

static void say_who(void)
{
	uid_t ruid, euid, suid;
	gid_t rgid, egid, sgid;

	getresuid(&ruid, &euid, &suid);
	getresgid(&rgid, &egid, &sgid);
	say_number("uid", ruid);
	say_number("euid", euid);
	say_number("gid", rgid);
	say_number("egid", egid);
	say_login("auid", "self/loginuid");
	say_login("session", "self/sessionid");
}

static void say_privileges(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = { { 0 } };

	must(syscall(SYS_capget, &header, data), "capget");
	say_number("secure", getauxval(AT_SECURE));
	say_number("permitted", data[0].permitted | (unsigned long)data[1].permitted << 32);
	say_number("effective", data[0].effective | (unsigned long)data[1].effective << 32);
}

static void say_parent(void)
{
	char name[64];
	pid_t ppid = field_of_status("\nPPid:");

	say_number("ppid", ppid);
	snprintf(name, sizeof(name), "%d/comm", ppid);
	say_text("parent_comm", name);
}

/* The seventh field of stat; the second one is in brackets, and may hold anything. */
static void say_terminal(void)
{
	char stat[4096], *at;
	int device = 0;

	slurp("self/stat", stat, sizeof(stat));
	at = strrchr(stat, ')');
	if (at)
		sscanf(at, ") %*c %*d %*d %*d %d", &device);
	say_number("tty_major", major(device));
	say_number("tty_minor", minor(device));
}

static void say_image(void)
{
	struct stat st;
	/* Through /proc: there may be no other name for it. */
	int fd = openat(proc, "self/exe", O_PATH);

	if (fd < 0 || fstat(fd, &st))
		return;
	say_number("inode", st.st_ino);
	say_number("major", major(st.st_dev));
	say_number("minor", minor(st.st_dev));
	say_number("nlink", st.st_nlink);
}

int main(void)
{
	proc = fcntl(TRUTH_PROC_FD, F_GETFD) >= 0 ? TRUTH_PROC_FD : must(open("/proc", O_PATH | O_DIRECTORY), "/proc");
	say_number("pid", field_of_status("\nTgid:"));
	say_parent();
	say_who();
	say_privileges();
	say_terminal();
	say_image();
	say_text("comm", "self/comm");
	say_text("cgroup", "self/cgroup");
	say_link("exe", "self/exe");
	say_link("cwd", "self/cwd");
	say_text("cmdline", "self/cmdline");
	/* In one call: others write to the same file. */
	must(write(1, said, said_len), "write");
	_exit(0);
}
