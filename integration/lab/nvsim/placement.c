// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where in a GPU's framebuffer a vGPU lies. An id counts GiB.
 *
 * In mixed-size mode a 40 GiB board has NVIDIA's published ids. All else is
 * synthesised: multiples of the type's size.
 */
#include "nvsim.h"

struct row {
	u8 size;	/* GiB */
	u8 num;
	u8 ids[8];
};

static const struct row mixed40[] = {
	{ 40, 1, { 0 } },
	{ 20, 2, { 0, 20 } },
	{ 10, 4, { 0, 10, 20, 30 } },
	{ 8, 4, { 0, 12, 20, 32 } },
	{ 5, 8, { 0, 5, 10, 15, 20, 25, 30, 35 } },
	{ 4, 8, { 0, 6, 10, 16, 20, 26, 30, 36 } },
};

static unsigned int size_of(const struct nv_type *type)
{
	return max(type->framebuffer >> 10, 1u);
}

static const struct row *published(struct nv_gpu *gpu, unsigned int size)
{
	int i;

	if (!gpu->mixed || gpu->board->memory != 40)
		return NULL;
	for (i = 0; i < ARRAY_SIZE(mixed40); i++)
		if (mixed40[i].size == size)
			return &mixed40[i];
	return NULL;
}

/* The n-th id that the type may have, or NV_NO_PLACEMENT past the last. */
static unsigned int nth(struct nv_gpu *gpu, const struct nv_type *type, unsigned int n)
{
	const struct row *row = published(gpu, size_of(type));

	if (row)
		return n < row->num ? row->ids[n] : NV_NO_PLACEMENT;
	return n < type->max_instance ? n * size_of(type) : NV_NO_PLACEMENT;
}

static bool is_free(struct nv_gpu *gpu, const struct nv_vgpu *self,
		    const struct nv_type *type, unsigned int id)
{
	struct nv_vgpu *v;

	list_for_each_entry(v, &gpu->vgpus, node) {
		if (v == self || v->placement == NV_NO_PLACEMENT)
			continue;
		if (id < v->placement + size_of(v->type) &&
		    v->placement < id + size_of(type))
			return false;
	}
	return true;
}

unsigned int nv_placement_first(struct nv_gpu *gpu, const struct nv_type *type)
{
	unsigned int n, id;

	lockdep_assert_held(&gpu->lock);

	for (n = 0; (id = nth(gpu, type, n)) != NV_NO_PLACEMENT; n++)
		if (is_free(gpu, NULL, type, id))
			return id;
	return NV_NO_PLACEMENT;
}

/* EINVAL: not an id of this type. EIO: another vGPU lies there. */
int nv_placement_check(struct nv_gpu *gpu, const struct nv_vgpu *v,
		       const struct nv_type *type, unsigned int want)
{
	unsigned int n, id;

	lockdep_assert_held(&gpu->lock);

	for (n = 0; (id = nth(gpu, type, n)) != NV_NO_PLACEMENT; n++)
		if (id == want)
			return is_free(gpu, v, type, id) ? 0 : -EIO;
	return -EINVAL;
}
