/* SPDX-License-Identifier: Apache-2.0 */
/*
 * silentfs FOLDER FILE: mounts a file system on FOLDER that has FILE, read-only, as "program",
 * prints "mounted" and serves it until it is killed. Stopped, it is a file system that does not
 * answer. Speaks the protocol of /dev/fuse itself: Documentation/filesystems/fuse.rst.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "truth.h"

#define PROGRAM 2

static int fuse, file;
static struct stat st;

static struct fuse_attr attr_of(uint64_t node)
{
	struct fuse_attr attr = { .ino = node, .nlink = 1, .blksize = 4096 };

	attr.mode = node == PROGRAM ? S_IFREG | 0755 : S_IFDIR | 0755;
	attr.size = node == PROGRAM ? st.st_size : 0;
	return attr;
}

static void answer(uint64_t unique, int error, const void *data, size_t len)
{
	struct fuse_out_header head = { .len = sizeof(head) + len, .error = -error, .unique = unique };
	struct iovec parts[] = { { &head, sizeof(head) }, { (void *)data, len } };

	/* It fails where the caller was interrupted: nobody waits any more. */
	if (writev(fuse, parts, len ? 2 : 1) < 0 && errno != ENOENT)
		must(-1, "answer");
}

static void serve(struct fuse_in_header *in, void *args)
{
	struct fuse_init_out init = { .major = FUSE_KERNEL_VERSION, .minor = 31, .max_write = 4096 };
	/* Nothing of it stays valid: each question comes here. */
	struct fuse_entry_out entry = { .nodeid = PROGRAM, .attr = attr_of(PROGRAM) };
	struct fuse_attr_out attr = { .attr = attr_of(in->nodeid) };
	struct fuse_open_out opened = { 0 };
	struct fuse_read_in *read = args;
	static char content[1 << 20];

	switch (in->opcode) {
	case FUSE_INIT:
		return answer(in->unique, 0, &init, sizeof(init));
	case FUSE_LOOKUP:
		if (strcmp(args, "program"))
			return answer(in->unique, ENOENT, NULL, 0);
		return answer(in->unique, 0, &entry, sizeof(entry));
	case FUSE_GETATTR:
		return answer(in->unique, 0, &attr, sizeof(attr));
	case FUSE_OPEN:
		return answer(in->unique, 0, &opened, sizeof(opened));
	case FUSE_READ:
		return answer(in->unique, 0, content,
			      must(pread(file, content, read->size, read->offset), "pread"));
	case FUSE_FLUSH:
	case FUSE_RELEASE:
		return answer(in->unique, 0, NULL, 0);
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
		return;
	default:
		return answer(in->unique, ENOSYS, NULL, 0);
	}
}

int main(int argc, char **argv)
{
	static char request[1 << 20] __attribute__((aligned(8)));
	char options[128];

	fuse = must(open("/dev/fuse", O_RDWR), "/dev/fuse");
	file = must(open(argv[2], O_RDONLY), argv[2]);
	must(fstat(file, &st), argv[2]);
	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", fuse);
	must(mount("silent", argv[1], "fuse.silent", MS_RDONLY | MS_NOSUID | MS_NODEV, options), argv[1]);
	puts("mounted");
	fflush(stdout);
	while (read(fuse, request, sizeof(request)) > 0)
		serve((void *)request, request + sizeof(struct fuse_in_header));
	return 0; /* it was unmounted */
}
