// SPDX-License-Identifier: GPL-2.0-only
/* Which vGPUs fit on a GPU together. */
#include "nvsim.h"

static unsigned int count(struct nv_gpu *gpu)
{
	return list_count_nodes(&gpu->vgpus);
}

/* On a GPU in equal-size mode the first vGPU decides for the others. */
static bool agrees(struct nv_gpu *gpu, const struct nv_type *type)
{
	struct nv_vgpu *first = list_first_entry_or_null(&gpu->vgpus,
							 struct nv_vgpu, node);

	if (!first)
		return true;
	if (gpu->old)
		return first->type == type;
	return first->type->framebuffer == type->framebuffer;
}

bool nv_gpu_creatable(struct nv_gpu *gpu, const struct nv_type *type)
{
	lockdep_assert_held(&gpu->lock);

	if (gpu->mig != !!type->slices)
		return false;
	if (gpu->mig)
		return nv_mig_first(gpu, type) != NV_NO_GPU_INSTANCE;
	if (gpu->mixed)
		return nv_placement_first(gpu, type) != NV_NO_PLACEMENT;
	return agrees(gpu, type) && count(gpu) < type->max_instance;
}

/* What a legacy board's type still has. */
unsigned int nv_gpu_available(struct nv_gpu *gpu, const struct nv_type *type)
{
	if (!nv_gpu_creatable(gpu, type))
		return 0;
	return type->max_instance - count(gpu);
}

int nv_gpu_admit(struct nv_gpu *gpu, struct nv_vgpu *v, const struct nv_type *type)
{
	if (!nv_gpu_creatable(gpu, type))
		return -EIO;
	if (gpu->mig)
		v->instance = nv_mig_first(gpu, type);
	else if (gpu->mixed)
		v->placement = nv_placement_first(gpu, type);
	v->type = type;
	list_add_tail(&v->node, &gpu->vgpus);
	return 0;
}

void nv_gpu_dismiss(struct nv_vgpu *v)
{
	lockdep_assert_held(&v->gpu->lock);

	list_del_init(&v->node);
	v->instance = NV_NO_GPU_INSTANCE;
	v->type = NULL;
	v->params[0] = '\0';
	v->placement = NV_NO_PLACEMENT;
}

/* Whether a VM runs on the GPU, or one's remains. */
bool nv_gpu_in_use(struct nv_gpu *gpu)
{
	struct nv_vgpu *v;

	lockdep_assert_held(&gpu->lock);

	list_for_each_entry(v, &gpu->vgpus, node)
		if (v->state != NV_IDLE)
			return true;
	return false;
}
