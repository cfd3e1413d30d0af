/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Paths: working directory, image and root of a process, as components.
 *
 * Why: BPF has no helper for a whole path that all these hooks may call, so the probe
 * walks from the last component up, as the kernel's own d_path does.
 *
 * Uses: maps.h, facts.h (fill_place has set the host's root).
 */

/* Returns whether a mount is in no tree of mounts: it was unmounted while in use, or is not yet
 * mounted (open_tree). An internal mount of the kernel, such as that of pipes, has an error code in
 * place of the pointer to its namespace, and is not detached. */
static __always_inline int is_detached(u64 mount)
{
	u64 ns = 0;
	u32 number = 0;

	KERNEL_READ(ns, mount, EA_OFF(mount, mnt_ns));
	if (!ns)
		return 1;
	if ((s64)ns < 0 && (s64)ns >= -EA_MAX_ERRNO)
		return 0;
	KERNEL_READ(number, ns, EA_OFF(mnt_namespace, ns) + EA_OFF(ns_common, inum));
	return !number || number == (u32)EA_ENUM(init_ns_ino, MNT_NS_ANON_INO);
}

/* Appends the components of a struct path, the last one first, up to the host's root or to the root
 * of the mount namespace. This is the path that /proc shows from outside (prepend_path in
 * fs/d_path.c): at the root of a mount the walk goes on at its mountpoint, and a chroot does not
 * end it. `shift` is the path's factor in path_flags. */
static __always_inline void walk(struct ea_state *s, u32 which, u64 path, u32 shift)
{
	struct ea_exec *e = (void *)s->raw;
	u32 begin = s->pos, pos = s->pos, flags = EA_PATH_CUT;
	u64 dentry = 0, mnt = 0, parent = 0, pprev = 0;

	if (path)
		KERNEL_READ(dentry, path, EA_OFF(path, dentry));
	if (!dentry) {
		e->path_flags |= EA_PATH_NONE * shift;
		return;
	}
	KERNEL_READ(mnt, path, EA_OFF(path, mnt));
	KERNEL_READ(parent, dentry, EA_OFF(dentry, d_parent));
	KERNEL_READ(pprev, dentry, EA_OFF(dentry, d_hash) + EA_OFF(hlist_bl_node, pprev));
	/* As d_unlinked() says: not in the hash, and not a root. */
	if (!pprev && parent != dentry)
		e->path_flags |= EA_PATH_DELETED * shift;

	for (int i = 0; i < EA_COMPONENTS; i++) {
		u64 mnt_root = 0, name = 0;
		long n;

		if (dentry == s->host_dentry && mnt == s->host_mnt) {
			flags = 0;
			break;
		}
		KERNEL_READ(mnt_root, mnt, EA_OFF(vfsmount, mnt_root));
		if (dentry == mnt_root) {
			u64 mount = mnt - EA_OFF(mount, mnt), above = 0;

			KERNEL_READ(above, mount, EA_OFF(mount, mnt_parent));
			if (above == mount || !above) {
				flags = is_detached(mount) ? EA_PATH_UNREACHABLE : 0;
				break;
			}
			KERNEL_READ(dentry, mount, EA_OFF(mount, mnt_mountpoint));
			mnt = above + EA_OFF(mount, mnt);
			continue;
		}
		KERNEL_READ(name, dentry, EA_OFF(dentry, d_name) + EA_OFF(qstr, name));
		KERNEL_READ(parent, dentry, EA_OFF(dentry, d_parent));
		/* The root of the file system, above the root of this mount: the mount shows only a
		 * folder (bind mount), and the file was moved out of that. */
		if (parent == dentry && i) {
			flags = EA_PATH_UNREACHABLE;
			break;
		}
		pos &= EA_LOW - 1;
		OPAQUE(pos);
		pos &= EA_LOW - 1;
		n = bpf_probe_read_kernel_str(&s->raw[pos], EA_NAME_MAX, (void *)name);
		if (n < 0)
			break;
		pos += n;
		if (parent == dentry) {
			flags = EA_PATH_PSEUDO;
			break;
		}
		dentry = parent;
		if (pos - begin >= EA_PATH_MAX || pos >= EA_LOW - EA_NAME_MAX)
			break;
	}
	e->path_flags |= flags * shift;
	e->str_len[which] = pos - begin;
	s->pos = pos;
}

/* Appends the root of the process. Appends nothing if it is the host's root, or the same folder at
 * the top of another mount namespace. */
static __always_inline void walk_root(struct ea_state *s)
{
	struct ea_exec *e = (void *)s->raw;
	u64 dentry = 0;

	if (s->root && s->pos >= EA_LOW - EA_NAME_MAX) {
		e->path_flags |= EA_PATH_CUT * EA_PATH_ROOT;
		return;
	}
	if (s->root) {
		walk(s, EA_STR_ROOT, s->root, EA_PATH_ROOT);
		KERNEL_READ(dentry, s->root, EA_OFF(path, dentry));
		if (e->str_len[EA_STR_ROOT] || dentry != s->host_dentry)
			return;
	}
	e->path_flags |= EA_PATH_NONE * EA_PATH_ROOT;
}

static __always_inline void walk_cwd(struct ea_state *s)
{
	u64 fs = 0;

	KERNEL_READ(fs, bpf_get_current_task(), EA_OFF(task_struct, fs));
	walk(s, EA_STR_CWD, fs + EA_OFF(fs_struct, pwd), EA_PATH_CWD);
}
