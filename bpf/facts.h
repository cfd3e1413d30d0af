/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The facts of an exec, successful or failed: ids, users, image, place, tracer, and the
 * texts before the paths.
 *
 * Why: both kinds of exec share them, in one order, as execaudit.h lays them out.
 *
 * Uses: maps.h, ring.h (account_of), lineage.h (image_of, keep_image), cgroup.h.
 */

/* Appends a kernel string, `most` bytes of it at most, its NUL counted. */
static __always_inline void append_text(struct ea_state *s, u32 which, u64 text, u32 most)
{
	struct ea_exec *e = (void *)s->raw;
	u32 pos = s->pos;
	long n;

	OPAQUE(pos);
	pos &= EA_LOW - 1;
	n = bpf_probe_read_kernel_str(&s->raw[pos], most, (void *)text);
	if (n <= 0)
		return;
	e->str_len[which] = n;
	s->pos = pos + n;
}

/* Reads a string from the memory of the process. Returns its length, the NUL counted, or a negative
 * error. Kernels before 6.13 return 0 for an empty string and write nothing. */
static __always_inline long read_user_text(char *to, u32 most, u64 text)
{
	long n;

	*to = 0;
	n = bpf_probe_read_user_str(to, most, (void *)text);
	return n ? n : 1;
}

/* Reads the filename, the first of the strings, from the memory of the process. */
static __always_inline void read_filename(struct ea_state *s, u64 text)
{
	struct ea_exec *e = (void *)s->raw;
	long n = read_user_text(&s->raw[sizeof(*e)], EA_FILENAME_MAX, text);

	if (n < 0)
		return;
	e->str_len[EA_STR_FILENAME] = n;
	s->pos = sizeof(*e) + n;
}

static __always_inline void append_tty(struct ea_state *s, u64 signal)
{
	u64 tty = 0;

	KERNEL_READ(tty, signal, EA_OFF(signal_struct, tty));
	if (tty)
		append_text(s, EA_STR_TTY, tty + EA_OFF(tty_struct, name), EA_TTY_MAX);
}

/* Fills in which file runs, and what privileges it gave the process (bprm_fill_uid in fs/exec.c,
 * cap_bprm_creds_from_file in security/commoncap.c). The kernel opened the file for this exec, so
 * the credentials that opened it (f_cred) are those that the caller had before the exec. */
static __always_inline void fill_image(struct ea_exec *e, u64 exe_file, u64 cred)
{
	u64 inode = 0, super = 0, permitted = 0, ambient = 0, ns = 0, before = 0, permitted_before = 0;
	u32 owner = 0, group = 0, euid_before = 0, egid_before = 0;
	s32 level = 0;
	u16 mode = 0;

	KERNEL_READ(inode, exe_file, EA_OFF(file, f_inode));
	KERNEL_READ(e->inode, inode, EA_OFF(inode, i_ino));
	KERNEL_READ(e->nlink, inode, EA_OFF(inode, i_nlink));
	KERNEL_READ(super, inode, EA_OFF(inode, i_sb));
	KERNEL_READ(e->device, super, EA_OFF(super_block, s_dev));
	if (e->head.type != EA_EXEC)
		return;
	KERNEL_READ(mode, inode, EA_OFF(inode, i_mode));
	KERNEL_READ(owner, inode, EA_OFF(inode, i_uid));
	KERNEL_READ(group, inode, EA_OFF(inode, i_gid));
	KERNEL_READ(before, exe_file, EA_OFF(file, f_cred));
	KERNEL_READ(euid_before, before, EA_OFF(cred, euid));
	KERNEL_READ(egid_before, before, EA_OFF(cred, egid));
	KERNEL_READ(permitted_before, before, EA_OFF(cred, cap_permitted));
	if (mode & EA_S_ISUID && e->euid == owner && euid_before != owner)
		e->gained |= EA_GAINED_SETUID;
	if (mode & EA_S_ISGID && mode & EA_S_IXGRP && e->egid == group && egid_before != group)
		e->gained |= EA_GAINED_SETGID;
	/* A process that is not root has only ambient capabilities after an exec, and those that the
	 * file gave it. */
	KERNEL_READ(ns, cred, EA_OFF(cred, user_ns));
	KERNEL_READ(level, ns, EA_OFF(user_namespace, level));
	KERNEL_READ(permitted, cred, EA_OFF(cred, cap_permitted));
	KERNEL_READ(ambient, cred, EA_OFF(cred, cap_ambient));
	if (!level && e->uid && e->euid && permitted & ~ambient & ~permitted_before)
		e->gained |= EA_GAINED_CAPABILITIES;
}

/* Finds the host's root, which is that of pid 1. Fills in the root and the mount namespace of the
 * process if they are not those of pid 1. */
static __always_inline void fill_place(struct ea_state *s, u64 task)
{
	struct ea_exec *e = (void *)s->raw;
	u64 pid = 0, ns = 0, init = 0, fs = 0, proxy = 0, mnt_ns = 0, host_ns = 0, dentry = 0, mnt = 0;

	/* numbers[0] is for the initial pid namespace, whichever namespace the process is in. */
	KERNEL_READ(pid, task, EA_OFF(task_struct, thread_pid));
	KERNEL_READ(ns, pid, EA_OFF(pid, numbers) + EA_OFF(upid, ns));
	KERNEL_READ(init, ns, EA_OFF(pid_namespace, child_reaper));
	KERNEL_READ(fs, init, EA_OFF(task_struct, fs));
	KERNEL_READ(s->host_dentry, fs, EA_OFF(fs_struct, root) + EA_OFF(path, dentry));
	KERNEL_READ(s->host_mnt, fs, EA_OFF(fs_struct, root) + EA_OFF(path, mnt));
	KERNEL_READ(proxy, init, EA_OFF(task_struct, nsproxy));
	KERNEL_READ(host_ns, proxy, EA_OFF(nsproxy, mnt_ns));

	KERNEL_READ(proxy, task, EA_OFF(task_struct, nsproxy));
	KERNEL_READ(mnt_ns, proxy, EA_OFF(nsproxy, mnt_ns));
	if (mnt_ns != host_ns)
		KERNEL_READ(e->mnt_ns, mnt_ns, EA_OFF(mnt_namespace, ns) + EA_OFF(ns_common, inum));
	KERNEL_READ(fs, task, EA_OFF(task_struct, fs));
	KERNEL_READ(dentry, fs, EA_OFF(fs_struct, root) + EA_OFF(path, dentry));
	KERNEL_READ(mnt, fs, EA_OFF(fs_struct, root) + EA_OFF(path, mnt));
	if (dentry != s->host_dentry || mnt != s->host_mnt)
		s->root = fs + EA_OFF(fs_struct, root);
}

/* Fills in the process that traces this one: a tracer can change what is about to run. */
static __always_inline void fill_tracer(struct ea_exec *e, u64 task)
{
	u64 tracer = 0;
	u32 flags = 0;

	KERNEL_READ(flags, task, EA_OFF(task_struct, ptrace));
	if (!flags)
		return;
	KERNEL_READ(tracer, task, EA_OFF(task_struct, parent));
	KERNEL_READ(e->traced, tracer, EA_OFF(task_struct, tgid));
}

/* Starts a record of `type` and fills in its facts. A successful exec is from here on what the
 * process runs. */
static __always_inline void fill_facts(struct ea_state *s, u8 type)
{
	struct ea_exec *e = (void *)s->raw;
	u64 task = bpf_get_current_task();
	u64 pid_tgid = bpf_get_current_pid_tgid();
	u64 uid_gid = bpf_get_current_uid_gid();
	u64 parent = 0, cred = 0, mm = 0, exe_file = 0, signal = 0;
	struct ea_image image;

	__builtin_memset(e, 0, sizeof(*e));
	e->head.boot_ns = bpf_ktime_get_boot_ns();
	e->head.tid = pid_tgid;
	e->head.pid = pid_tgid >> 32;
	e->head.size = sizeof(*e);
	e->head.type = type;
	e->caller_tid = pid_tgid;
	KERNEL_READ(parent, task, EA_OFF(task_struct, real_parent));
	KERNEL_READ(e->ppid, parent, EA_OFF(task_struct, tgid));
	KERNEL_READ(parent, parent, EA_OFF(task_struct, group_leader));
	KERNEL_READ(e->parent_comm, parent, EA_OFF(task_struct, comm));
	KERNEL_READ(signal, task, EA_OFF(task_struct, signal));
	image = image_of(task, signal);
	e->parent_ns = image.boot_ns;
	e->parent_pid = image.pid;
	e->uid = uid_gid;
	e->gid = uid_gid >> 32;
	KERNEL_READ(cred, task, EA_OFF(task_struct, cred));
	KERNEL_READ(e->euid, cred, EA_OFF(cred, euid));
	KERNEL_READ(e->egid, cred, EA_OFF(cred, egid));
	e->dirfd = EA_AT_FDCWD;
	e->auid = e->session = EA_UNKNOWN;
#if EA_OPT(task_struct, loginuid) >= 0
	KERNEL_READ(e->auid, task, EA_OPT(task_struct, loginuid));
	KERNEL_READ(e->session, task, EA_OPT(task_struct, sessionid));
#endif
	bpf_get_current_comm(&e->comm, sizeof(e->comm));

	__builtin_memset((char *)s + EA_RAW, 0, __builtin_offsetof(struct ea_state, nodes) - EA_RAW);
	s->pos = sizeof(*e);
	s->account = e->account = account_of(cred);
	s->weight = weight_of(s->account);
	fill_place(s, task);
	fill_tracer(e, task);
	KERNEL_READ(mm, task, EA_OFF(task_struct, mm));
	KERNEL_READ(exe_file, mm, EA_OFF(mm_struct, exe_file));
	if (exe_file) {
		s->exe = exe_file + EA_OFF(file, f_path);
		fill_image(e, exe_file, cred);
	}
	if (type == EA_EXEC) {
		e->replaces = image.own;
		image.boot_ns = e->head.boot_ns;
		image.pid = e->head.pid;
		image.own = 1;
		keep_image(signal, &image);
	}
}

/* Appends the terminal and the cgroup. Strings must be appended in the order of their numbers. */
static __always_inline void append_origin(struct ea_state *s)
{
	u64 task = bpf_get_current_task(), signal = 0;

	KERNEL_READ(signal, task, EA_OFF(task_struct, signal));
	append_tty(s, signal);
	append_cgroup(s, task);
}
