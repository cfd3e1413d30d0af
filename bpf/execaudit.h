/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The contract between the probe (execaudit.c and its headers) and Python (wire.py).
 * tests/capture/test_wire.py compiles this file and compares every offset and constant.
 *
 * Each ring buffer record starts with struct ea_head. The first record of an
 * exec (EA_EXEC or EA_FAILED) holds the facts, then its strings one after the
 * other, then the first bytes of the command line. EA_*_MORE records carry the
 * bytes that did not fit. (boot_ns, tid) names the exec in all of them.
 *
 * What a process runs is named by an image key, (boot_ns, pid): the exec that
 * started it. If boot_ns is 0, that exec was before the probe was attached, and the
 * key names what process pid ran then. (0, 0) is unknown.
 *
 * Probe and reader come in one package. The reader checks that by `size`, the length of
 * the fixed part. No struct has implicit padding: padding would leak kernel memory.
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
#define EA_LIMIT 2 /* a failed exec has more arguments than the probe can read */
#define EA_LAST  4 /* no more records of this exec */

/* Stands for a number that is not known. The probe counts the arguments of a failed exec
 * while it reads them, so `total` is known in the last record only (the bytes that were
 * read), and `argc` only if the NULL at the end of argv was reached. `missing` is not
 * known if an argument could not be read. */
#define EA_UNKNOWN 0xffffffff

struct ea_head {
	__u64 boot_ns; /* CLOCK_BOOTTIME when the exec took effect or failed. Exec ids have room for
	                * numbers below 2^60, here and in image keys, and for a tid below 2^22
	                * (PID_MAX_LIMIT) */
	__u32 tid;     /* of the task at boot_ns: after a successful exec it is the thread group id */
	__u32 pid;     /* thread group id */
	__u32 total;   /* bytes of the whole command line, each argument's NUL counted */
	__u32 argc;    /* arguments of the whole command line */
	__u32 offset;  /* position of this record's argv bytes in the command line */
	__u32 len;     /* argv bytes in this record, at its end */
	__u32 missing; /* with EA_FAULT: bytes of the command line lost right after them */
	__u16 size;    /* bytes of the fixed part; the first string begins behind them */
	__u8 type;
	__u8 flags;
	__u32 seq;     /* 0, 1, 2, ... within the exec. Records that the ring refused have a number
	                * too, so a number that is absent is a lost record */
	__u32 pad;
};

/* ea_exec.str_len: the strings in their order. Paths come as components, each NUL-terminated,
 * the last component first; of a cgroup the first component first. */
#define EA_STR_FILENAME 0 /* as given to execve */
#define EA_STR_INTERP   1 /* of a script: its interpreter, as its first line names it */
#define EA_STR_TTY      2 /* the kernel's name of the terminal: pts3 */
#define EA_STR_CGROUP   3 /* a path */
#define EA_STR_CWD      4 /* a path */
#define EA_STR_EXE      5 /* a path */
#define EA_STR_ROOT     6 /* a path: the process's root, where it is not the host's */
#define EA_STR_COUNT    8

/* ea_exec.path_flags, multiplied by the path's own factor */
#define EA_PATH_DELETED     1  /* the file has no name any more */
#define EA_PATH_PSEUDO      2  /* no place in a file system: memfd:x, pipe:[1] */
#define EA_PATH_CUT         4  /* deeper or longer than the probe reads; the components next to the
				* root are missing, of a cgroup those at the other end */
#define EA_PATH_NONE        8  /* there is none (a kernel thread's exe), or it is the host's root */
#define EA_PATH_UNREACHABLE 16 /* its mount is in no tree of mounts: the path begins at its root */
#define EA_PATH_CWD    1
#define EA_PATH_EXE    0x100
#define EA_PATH_CGROUP 0x10000
#define EA_PATH_ROOT   0x1000000

/* ea_exec.gained: privileges that the image's file gave the process and its caller did not have */
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
	/* EA_EXEC: the bytes [cut_from, cut_to) were left out on purpose (--max-argv); both are
	 * `total` when the whole command line is sent. */
	__u32 cut_from;
	__u32 cut_to;
	__u32 auid;       /* EA_UNKNOWN if unset, as session */
	__u32 session;
	__u32 replaces;   /* 1: the parent image ran in this same process; 0: in another */
	/* The user whose share of the ring this is: the owner of the outermost user namespace,
	 * because a user could be many users inside. If that owner is root, or there is no such
	 * namespace, it is the real uid. */
	__u32 account;
	/* From here on, and in the strings, the bytes are the same in each exec of one program by
	 * one user at one place. The reader decodes them once and recognises them by the bytes. */
	__u16 str_len[EA_STR_COUNT];
	__u32 path_flags;
	__u8 gained;
	__u8 pad[3];
	__u64 inode;      /* inode, device and nlink are those of the exe */
	__u32 uid;
	__u32 gid;
	__u32 euid;
	__u32 egid;
	__u32 device;     /* major << 20 | minor */
	__u32 nlink;
	__s32 dirfd;      /* failed execveat: the descriptor of its directory; else AT_FDCWD (-100) */
	__u32 mnt_ns;     /* inode number of its mount namespace; 0: the host's, which is that of pid 1 */
	__u32 traced;     /* thread group id of the process that traces it (ptrace); 0: none */
	__u32 pad_numbers;
	char comm[16];
	char parent_comm[16]; /* of the process ppid */
};

/* The end of a program. In head, boot_ns, tid and pid are those of the end; the reader uses
 * nothing else there but size and type. */
struct ea_exit {
	struct ea_head head;
	__u64 image_ns; /* image key of what the process ran */
	__u32 image_pid;
	__u32 status; /* as wait(2) gives it */
};

/* One per CPU. Only the probe writes it; the recorder reads how much it grew. */
struct ea_loss {
	__u64 execs;   /* execs of which no record could be sent: they are not in the history */
	__u64 records; /* argv records that the ring refused: their exec is in the history, marked lost */
	__u64 exits;   /* ends of programs that could not be sent, by their record or by that of the exec that
			* replaced them */
	__u64 images;  /* processes whose lineage could not be kept */
	__u64 returns; /* execs whose return the kernel did not show to the probe: not in the history */
};

/* The part of `execs` and `exits` above that one account lost, summed over CPUs. The probe counts a
 * loss here first and then above. So the reader must read the totals first: then each loss in them is
 * here too. If all is zero, the element is free. */
#define EA_ACCOUNTS 1024
struct ea_account_loss {
	__u32 account;
	__u32 used; /* 1: the account is known */
	__u64 execs;
	__u64 exits;
};

#endif
