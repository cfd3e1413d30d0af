/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The path of a process's cgroup.
 *
 * Why: it names the container or the service. A user who may make cgroups below that one
 * must not be able to hide its name.
 *
 * Uses: ea_state of maps.h, kernel.h.
 */

/* Returns the cgroup, or 0 if it is the root of its hierarchy. */
static __always_inline u64 below_root(u64 cgroup)
{
	s32 level = 0;

	KERNEL_READ(level, cgroup, EA_OFF(cgroup, level));
	return level > 0 ? cgroup : 0;
}

static __always_inline u64 cgroup_of_controller(u64 css_set, int controller)
{
	u64 css = 0, cgroup = 0;

	if (controller < 0)
		return 0;
	KERNEL_READ(css, css_set, EA_OFF(css_set, subsys) + 8 * controller);
	KERNEL_READ(cgroup, css, EA_OFF(cgroup_subsys_state, cgroup));
	return below_root(cgroup);
}

/* Returns the directory (kernfs_node) of a cgroup. If the cgroup is more than EA_CGROUPS levels below
 * the root, returns that of its ancestor at level EA_CGROUPS, or 0 if it is too far up to walk. */
static __always_inline u64 node_within(u64 cgroup, s32 level)
{
	u64 node = 0;

#if EA_OPT(cgroup, ancestors) >= 0 /* since 6.1 */
	if (level > EA_CGROUPS)
		KERNEL_READ(cgroup, cgroup, EA_OPT(cgroup, ancestors) + 8 * EA_CGROUPS);
	KERNEL_READ(node, cgroup, EA_OFF(cgroup, kn));
#else
	KERNEL_READ(node, cgroup, EA_OFF(cgroup, kn));
	for (int i = 0; i < EA_DEEPER; i++) {
		if (level - i <= EA_CGROUPS)
			return node;
		KERNEL_READ(node, node, EA_KERNFS_PARENT);
	}
	if (level - EA_DEEPER > EA_CGROUPS)
		return 0;
#endif
	return node;
}

/* Appends the path in the unified hierarchy (v2). If the process is at the root there, as on v1
 * hosts, appends the path in the hierarchy of the pids controller, or else of memory: container
 * engines and systemd make groups in these. The component next to the root comes first. The name of
 * a container is near the root, and groups made below it must not push it out of the record. */
static __always_inline void append_cgroup(struct ea_state *s, u64 task)
{
	struct ea_exec *e = (void *)s->raw;
	u64 set = 0, root = 0, cgroup, node = 0;
	u32 begin = s->pos, pos = s->pos, depth = 0, flags = 0;
	s32 level = 0;

	KERNEL_READ(set, task, EA_OFF(task_struct, cgroups));
	KERNEL_READ(root, set, EA_OFF(css_set, dfl_cgrp));
	if (!root) {
		e->path_flags |= EA_PATH_NONE * EA_PATH_CGROUP;
		return;
	}
	cgroup = below_root(root);
	if (!cgroup)
		cgroup = cgroup_of_controller(set, EA_ENUM(cgroup_subsys_id, pids_cgrp_id));
	if (!cgroup)
		cgroup = cgroup_of_controller(set, EA_ENUM(cgroup_subsys_id, memory_cgrp_id));
	if (!cgroup)
		return;
	KERNEL_READ(level, cgroup, EA_OFF(cgroup, level));
	if (level > EA_CGROUPS)
		flags = EA_PATH_CUT;
	node = node_within(cgroup, level);
	for (int i = 0; i < EA_CGROUPS; i++) {
		u64 above = 0;

		if (node)
			KERNEL_READ(above, node, EA_KERNFS_PARENT);
		if (!above)
			break;
		s->nodes[i] = node;
		depth = i + 1;
		node = above;
	}
	for (int i = 0; i < EA_CGROUPS; i++) {
		u32 next = depth - 1 - i;
		u64 name = 0;
		long n;

		if (i >= depth)
			break;
		if (pos - begin >= EA_CGROUP_MAX - EA_NAME_MAX) {
			flags = EA_PATH_CUT;
			break;
		}
		OPAQUE(next);
		next &= EA_CGROUPS - 1;
		KERNEL_READ(name, s->nodes[next], EA_OFF(kernfs_node, name));
		pos &= EA_LOW - 1;
		OPAQUE(pos);
		pos &= EA_LOW - 1;
		n = bpf_probe_read_kernel_str(&s->raw[pos], EA_NAME_MAX, (void *)name);
		if (n < 0) {
			flags = EA_PATH_CUT;
			break;
		}
		pos += n;
	}
	e->path_flags |= flags * EA_PATH_CGROUP;
	e->str_len[EA_STR_CGROUP] = pos - begin;
	s->pos = pos;
}
