/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dead_fuse PROGRAM FOLDER: mounts a file system on FOLDER whose only file is a copy of PROGRAM
 * (which says "there" and stays), runs that, and answers nothing from then on. Who asks for
 * anything of the file system waits until this process is ended. For a mount namespace of its own.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "hostile.h"

#define FILE_NODE 2
#define MOST_READ (128 * 1024)

static char *content;
static size_t size;
static int device;

static void answer(const struct fuse_in_header *request, int error, const void *data, size_t length)
{
	struct fuse_out_header head = {sizeof(head) + (error ? 0 : length), -error, request->unique};
	struct iovec parts[] = {{&head, sizeof(head)}, {(void *)data, error ? 0 : length}};

	if (writev(device, parts, 2) < 0 && errno != ENOENT) /* the caller was interrupted */
		must(-1, "answer");
}

static struct fuse_attr attributes(uint64_t node)
{
	return node == FILE_NODE
		? (struct fuse_attr){.ino = node, .size = size, .mode = S_IFREG | 0555, .nlink = 1, .blksize = 4096}
		: (struct fuse_attr){.ino = node, .mode = S_IFDIR | 0555, .nlink = 2, .blksize = 4096};
}

static void serve(void)
{
	static char request[MOST_READ + 4096];
	struct fuse_in_header *in = (void *)request;
	void *body = request + sizeof(*in);

	must(read(device, request, sizeof(request)), "read");
	switch (in->opcode) {
	case FUSE_INIT: {
		struct fuse_init_out out = {.major = 7, .minor = 31, .max_write = MOST_READ, .max_readahead = MOST_READ};

		return answer(in, 0, &out, sizeof(out));
	}
	case FUSE_LOOKUP: {
		struct fuse_entry_out out = {.nodeid = FILE_NODE, .attr = attributes(FILE_NODE)};

		return answer(in, strcmp(body, "program") ? ENOENT : 0, &out, sizeof(out));
	}
	case FUSE_GETATTR: {
		struct fuse_attr_out out = {.attr = attributes(in->nodeid)};

		return answer(in, 0, &out, sizeof(out));
	}
	case FUSE_OPEN: {
		struct fuse_open_out out = {.open_flags = FOPEN_KEEP_CACHE};

		return answer(in, 0, &out, sizeof(out));
	}
	case FUSE_READ: {
		struct fuse_read_in *wanted = body;
		size_t rest = wanted->offset < size ? size - wanted->offset : 0;

		return answer(in, 0, content + wanted->offset, rest < wanted->size ? rest : wanted->size);
	}
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
		return; /* these have no answer */
	default:
		return answer(in, ENOSYS, NULL, 0);
	}
}

int main(int argc, char **argv)
{
	char options[128], said[16];
	int pipes[2];
	struct stat found;

	if (argc != 3)
		return 98;
	alarm(LONGEST_SECONDS);
	int file = must(open(argv[1], O_RDONLY), argv[1]);

	must(fstat(file, &found), "fstat");
	size = found.st_size;
	content = must(malloc(size), "malloc");
	if (must(read(file, content, size), "read") != (ssize_t)size)
		return 97;
	device = must(open("/dev/fuse", O_RDWR | O_CLOEXEC), "/dev/fuse");
	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", device);
	must(mount("dead", argv[2], "fuse", MS_NOSUID | MS_NODEV, options), "mount");
	must(pipe2(pipes, O_CLOEXEC), "pipe2");
	if (!must(fork(), "fork")) {
		dup2(pipes[1], STDOUT_FILENO);
		must(chdir(argv[2]), "chdir");
		execl("program", "program", argv[2], NULL);
		_exit(99);
	}
	close(pipes[1]);

	struct pollfd both[] = {{device, POLLIN, 0}, {pipes[0], POLLIN, 0}};

	while (!both[1].revents) {
		must(poll(both, 2, -1), "poll");
		if (both[0].revents & POLLIN)
			serve();
	}
	if (must(read(pipes[0], said, sizeof(said)), "read") <= 0)
		return 96;
	puts("there");
	fflush(stdout);
	pause();
	return 0;
}
