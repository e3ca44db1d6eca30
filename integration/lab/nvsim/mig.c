// SPDX-License-Identifier: GPL-2.0-only
/*
 * GPU instances: what nvidia-smi cuts a GPU into, and MIG-backed vGPUs run in.
 * Each has slices of compute and parts of the memory.
 */
#include <linux/math.h>
#include <linux/minmax.h>
#include <linux/string.h>
#include <linux/sysfs.h>

#include "nvsim.h"

/* A GPU of seven slices has eight parts of memory, others as many as slices. */
static unsigned int parts(const struct nv_board *board)
{
	return board->slices == 7 ? 8 : board->slices;
}

static unsigned int parts_of(const struct nv_board *board, const struct nv_profile *p)
{
	return max(DIV_ROUND_CLOSEST(p->memory * parts(board), board->memory), 1u);
}

/* How many vGPUs of a type an empty instance takes. */
static unsigned int holds(const struct nv_board *board, const struct nv_profile *p,
			  const struct nv_type *type)
{
	if (!p || type->slices != p->slices ||
	    strcmp(strstr(p->name, "gb") + 2, type->attribute))
		return 0;
	if (board->shared)
		return (p->memory << 10) / type->framebuffer;
	return type->framebuffer == p->memory << 10;
}

/* How many it takes beside others than self; all in it are of one size. */
static unsigned int room(struct nv_gpu *gpu, unsigned int id,
			 const struct nv_type *type, const struct nv_vgpu *self)
{
	unsigned int n = holds(gpu->board, gpu->instances[id].profile, type);
	struct nv_vgpu *v;

	list_for_each_entry(v, &gpu->vgpus, node) {
		if (v == self || v->instance != id)
			continue;
		if (!n || v->type->framebuffer != type->framebuffer)
			return 0;
		n--;
	}
	return n;
}

/* The instance to which the next vGPU of a type goes: the first with room. */
unsigned int nv_mig_first(struct nv_gpu *gpu, const struct nv_type *type)
{
	unsigned int id;

	lockdep_assert_held(&gpu->lock);

	for (id = 0; id < NV_INSTANCE_IDS; id++)
		if (room(gpu, id, type, NULL))
			return id;
	return NV_NO_GPU_INSTANCE;
}

/* EINVAL: no such instance. EIO: it is full, or of another kind. */
int nv_mig_move(struct nv_gpu *gpu, struct nv_vgpu *v, unsigned int id)
{
	lockdep_assert_held(&gpu->lock);

	if (v->instance == NV_NO_GPU_INSTANCE || id >= NV_INSTANCE_IDS ||
	    !gpu->instances[id].profile)
		return -EINVAL;
	if (!room(gpu, id, v->type, v))
		return -EIO;
	v->instance = id;
	return 0;
}

/* How many more instances of a profile there can be. */
static unsigned int left(struct nv_gpu *gpu, const struct nv_profile *p)
{
	const struct nv_board *board = gpu->board;
	unsigned int slices = board->slices, memory = parts(board), most = p->most;
	unsigned int id;

	for (id = 0; id < NV_INSTANCE_IDS; id++) {
		const struct nv_profile *have = gpu->instances[id].profile;

		if (!have)
			continue;
		slices -= have->slices;
		memory -= parts_of(board, have);
		most -= have == p;
	}
	return min3(slices / p->slices, memory / parts_of(board, p), most);
}

static const struct nv_profile *find(const struct nv_board *board, const char *name)
{
	unsigned int i;

	for (i = 0; i < board->num_profiles; i++)
		if (!strcmp(board->profiles[i].name, name))
			return &board->profiles[i];
	return NULL;
}

int nv_mig_create(struct nv_gpu *gpu, const char *profile)
{
	const struct nv_profile *p = find(gpu->board, profile);
	unsigned int id;

	lockdep_assert_held(&gpu->lock);

	if (!gpu->board->slices)
		return -EOPNOTSUPP;
	if (!p)
		return -EINVAL;
	if (!gpu->mig)
		return -EPERM;
	if (!left(gpu, p))
		return -ENOSPC;

	/* NVIDIA counts ids by size: from 0 the largest, from 7 the smallest of eight parts */
	id = parts(gpu->board) / parts_of(gpu->board, p) - 1;
	while (gpu->instances[id].profile)
		id++;
	gpu->instances[id].profile = p;
	nv_proc_instance(gpu, id);
	return 0;
}

int nv_mig_destroy(struct nv_gpu *gpu, unsigned int id)
{
	struct nv_vgpu *v;

	lockdep_assert_held(&gpu->lock);

	if (!gpu->mig)
		return -EPERM;
	if (id >= NV_INSTANCE_IDS || !gpu->instances[id].profile)
		return -ENOENT;
	list_for_each_entry(v, &gpu->vgpus, node)
		if (v->instance == id)
			return -EBUSY;
	gpu->instances[id].profile = NULL;
	nv_proc_instance(gpu, id);
	return 0;
}

/* Only while no vGPU is in any. */
void nv_mig_wipe(struct nv_gpu *gpu)
{
	unsigned int id;

	lockdep_assert_held(&gpu->lock);

	for (id = 0; id < NV_INSTANCE_IDS; id++) {
		gpu->instances[id].profile = NULL;
		nv_proc_instance(gpu, id);
	}
}

/* Lines of an id, a profile and the vGPUs in the instance. */
int nv_mig_show(struct nv_gpu *gpu, char *buf)
{
	struct nv_vgpu *v;
	unsigned int id;
	int n = 0;

	lockdep_assert_held(&gpu->lock);

	for (id = 0; id < NV_INSTANCE_IDS; id++) {
		if (!gpu->instances[id].profile)
			continue;
		n += sysfs_emit_at(buf, n, "%u %s", id, gpu->instances[id].profile->name);
		list_for_each_entry(v, &gpu->vgpus, node)
			if (v->instance == id)
				n += sysfs_emit_at(buf, n, " %s", nv_vgpu_name(v));
		n += sysfs_emit_at(buf, n, "\n");
	}
	return n;
}

/* Lines of a profile, how many more of it there can be, and how many at most. */
int nv_mig_show_profiles(struct nv_gpu *gpu, char *buf)
{
	const struct nv_board *board = gpu->board;
	unsigned int i;
	int n = 0;

	lockdep_assert_held(&gpu->lock);

	for (i = 0; i < board->num_profiles; i++)
		n += sysfs_emit_at(buf, n, "%s %u/%u\n", board->profiles[i].name,
				   left(gpu, &board->profiles[i]),
				   board->profiles[i].most);
	return n;
}
