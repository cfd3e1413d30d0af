/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The contract between the probe (execaudit.c) and Python (execaudit/wire.py).
 * tests/capture/test_wire.py compiles this file and compares every offset and constant.
 *
 * Each ring buffer record starts with struct ea_head. The first record of an
 * exec (EA_EXEC or EA_FAILED) holds the facts, then its strings one after the
 * other, then the first bytes of the command line. EA_*_MORE records carry the
 * bytes that did not fit. (boot_ns, tid) names the exec in all of them.
 *
 * What a process runs is named by an image key, (boot_ns, pid): the exec that
 * started it. A boot_ns of 0 names what process pid ran when the probe was
 * attached, whose exec nobody saw. (0, 0) is unknown.
 *
 * Probe and reader are of one package, and `size` says that they are: how long the
 * fixed part is. There is no implicit padding anywhere: padding would leak kernel memory.
 */
#ifndef EXECAUDIT_H
#define EXECAUDIT_H

/* ea_head.type */
#define EA_EXEC        1 /* a successful exec */
#define EA_FAILED      2 /* execve or execveat returned an error */
#define EA_EXEC_MORE   3 /* more of the command line of an EA_EXEC */
#define EA_FAILED_MORE 4 /* more of the command line of an EA_FAILED */
#define EA_EXIT        5 /* struct ea_exit: the last thread of a process is gone */

/* ea_head.flags */
#define EA_FAULT 1 /* the kernel could not read `missing` bytes after this record's */
#define EA_LIMIT 2 /* the walk over a failed exec's argv stopped at the probe's own limit */
#define EA_LAST  4 /* no more records of this exec */

/* Failed execs are counted by walking the caller's argv. `total` is this until the
 * walk is over, and then, in the last record, the bytes it saw; `argc` is this
 * unless the walk met the NULL at the end. `missing` is this when the length of an
 * unreadable argument is unknown. */
#define EA_UNKNOWN 0xffffffff

struct ea_head {
	__u64 boot_ns; /* CLOCK_BOOTTIME when the exec took effect or failed; below 2^60, as in image keys:
	                * exec ids have no more room, nor for a task of PID_MAX_LIMIT (2^22) or above */
	__u32 tid;     /* the task then: after a successful exec, its thread group id */
	__u32 pid;     /* thread group id */
	__u32 total;   /* bytes of the whole command line, each argument's NUL counted */
	__u32 argc;    /* arguments of the whole command line */
	__u32 offset;  /* where this record's argv bytes stand in the command line */
	__u32 len;     /* argv bytes in this record, at its end */
	__u32 missing; /* with EA_FAULT: bytes of the command line lost right after them */
	__u16 size;    /* bytes of the fixed part: where the first string begins */
	__u8 type;
	__u8 flags;
	__u32 seq;     /* 0, 1, 2, ... within the exec, refused records counted: what is not
	                * there was lost */
	__u32 pad;
};

/* ea_exec.str_len: the strings in their order. Paths come as components, each NUL-terminated,
 * the last component first; of a cgroup the first component first. */
#define EA_STR_FILENAME 0 /* as given to execve */
#define EA_STR_INTERP   1 /* of a script: its interpreter, as its first line names it */
#define EA_STR_TTY      2 /* the kernel's name of it: pts3 */
#define EA_STR_CGROUP   3 /* a path */
#define EA_STR_CWD      4 /* a path */
#define EA_STR_EXE      5 /* a path */
#define EA_STR_ROOT     6 /* a path: the process's root, where it is not the host's */
#define EA_STR_COUNT    8

/* ea_exec.path_flags, multiplied by the path's own factor */
#define EA_PATH_DELETED     1  /* the file has no name any more */
#define EA_PATH_PSEUDO      2  /* no place in a file system: memfd:x, pipe:[1] */
#define EA_PATH_CUT         4  /* deeper or longer than the walk goes; the root end is missing,
				* of a cgroup the other end */
#define EA_PATH_NONE        8  /* there is none (a kernel thread's exe), or it is the host's root */
#define EA_PATH_UNREACHABLE 16 /* its mount is in no tree: the path is from that mount's root */
#define EA_PATH_CWD    1
#define EA_PATH_EXE    0x100
#define EA_PATH_CGROUP 0x10000
#define EA_PATH_ROOT   0x1000000

/* ea_exec.gained: what the image's file gave the process that its caller did not have */
#define EA_GAINED_SETUID       1
#define EA_GAINED_SETGID       2
#define EA_GAINED_CAPABILITIES 4

struct ea_exec {
	struct ea_head head;
	/* Of this exec alone. */
	__u64 parent_ns;  /* image key of what the process ran before, or was forked from */
	__u32 parent_pid;
	__u32 caller_tid; /* the thread that called execve */
	__u32 ppid;
	__s32 ret;        /* 0, or the negative errno */
	/* EA_EXEC: bytes left out on purpose (--max-argv), from .. to; both are
	 * `total` when the whole command line is sent. */
	__u32 cut_from;
	__u32 cut_to;
	__u32 auid;       /* EA_UNKNOWN: unset; session too */
	__u32 session;
	__u32 replaces;   /* the parent image ran in this very process */
	/* Who answers for what the process does to others: the owner of its outermost user
	 * namespace, so that a user cannot be many; where that is root, or there is none, its real uid. */
	__u32 account;
	/* From here on, the same bytes in each exec of one program by one user at one place:
	 * the reader looks at them once, and knows them again. The strings go with them. */
	__u16 str_len[EA_STR_COUNT];
	__u32 path_flags;
	__u8 gained;
	__u8 pad[3];
	__u64 inode;      /* of the exe, as device and nlink */
	__u32 uid;
	__u32 gid;
	__u32 euid;
	__u32 device;     /* major << 20 | minor */
	__u32 nlink;
	__s32 dirfd;      /* failed execveat: its directory; else AT_FDCWD (-100) */
	__u32 mnt_ns;     /* inode number of its mount namespace; 0: the host's, which is that of pid 1 */
	__u32 traced;     /* thread group id of the process that traces it (ptrace); 0: none */
	char comm[16];
	char parent_comm[16]; /* of the process ppid */
};

/* head: boot_ns, tid and pid of the end; nothing else there is used. */
struct ea_exit {
	struct ea_head head;
	__u64 image_ns; /* image key of what the process ran */
	__u32 image_pid;
	__u32 status; /* as wait(2) gives it */
};

/* One per CPU. Only the probe writes it; the recorder looks at differences. */
struct ea_loss {
	__u64 execs;   /* execs of which no record could be sent: not in the history at all */
	__u64 records; /* argv records refused: their exec is in the history, marked lost */
	__u64 exits;   /* ends of programs that could not be sent */
	__u64 images;  /* processes of which the lineage could not be kept */
	__u64 returns; /* execs whose end the kernel did not show to the probe: like `execs` */
};

/* Of one account, summed over CPUs: what of `execs` and `exits` above was its. Counted there
 * before it is counted above, so the reader looks above first. Of all zeros: free. */
#define EA_ACCOUNTS 1024
struct ea_account_loss {
	__u32 account;
	__u32 used; /* 1: the account is known */
	__u64 execs;
	__u64 exits;
};

#endif
