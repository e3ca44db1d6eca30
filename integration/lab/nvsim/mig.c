// SPDX-License-Identifier: GPL-2.0-only
/* GPU instances: what nvidia-smi cuts a GPU into, and MIG-backed vGPUs run on. */
#include <linux/string.h>
#include <linux/sysfs.h>

#include "nvsim.h"

#define COMPUTE_SLICES	7
#define MEMORY_SLICES	8

struct nv_gpu_instance *nv_mig_free_instance(struct nv_gpu *gpu,
					     const struct nv_type *type)
{
	unsigned int i;

	lockdep_assert_held(&gpu->lock);

	for (i = 0; i < gpu->num_instances; i++) {
		struct nv_gpu_instance *gi = &gpu->instances[i];

		if (!gi->user && gi->slices == type->slices && gi->me == type->me)
			return gi;
	}
	return NULL;
}

unsigned int nv_mig_instance_id(struct nv_gpu *gpu, const struct nv_vgpu *v)
{
	return v->instance ? v->instance - gpu->instances + 1 : NV_NO_GPU_INSTANCE;
}

/* Another free instance, of the vGPU's kind, for one that does not run. */
int nv_mig_move(struct nv_gpu *gpu, struct nv_vgpu *v, unsigned int id)
{
	struct nv_gpu_instance *gi;

	lockdep_assert_held(&gpu->lock);

	if (!v->instance || !id || id > gpu->num_instances)
		return -EINVAL;
	gi = &gpu->instances[id - 1];
	if (gi == v->instance)
		return 0;
	if (gi->user || gi->slices != v->type->slices || gi->me != v->type->me)
		return -EIO;
	v->instance->user = NULL;
	gi->user = v;
	v->instance = gi;
	return 0;
}

void nv_mig_wipe(struct nv_gpu *gpu)
{
	lockdep_assert_held(&gpu->lock);
	gpu->num_instances = 0;
	nv_proc_instances(gpu);
}

static unsigned int memory_slices(unsigned int slices)
{
	switch (slices) {
	case 1:
	case 2:
		return slices;
	case 3:
	case 4:
		return 4;
	case 7:
		return 8;
	}
	return 0;
}

static int parse_instance(char *word, struct nv_gpu_instance *gi)
{
	char *plus = strchr(word, '+');

	memset(gi, 0, sizeof(*gi));
	if (plus) {
		*plus = '\0';
		if (strcmp(plus + 1, "me"))
			return -EINVAL;
		gi->me = true;
	}
	if (kstrtou8(word, 10, &gi->slices) || !memory_slices(gi->slices))
		return -EINVAL;
	return gi->me && gi->slices != 1 ? -EINVAL : 0;
}

/* Text: slices of each, such as "3 2 1 1+me"; "0" removes all. */
int nv_mig_parse(struct nv_gpu *gpu, const char *text)
{
	struct nv_gpu_instance gi[NV_GPU_INSTANCES];
	unsigned int num = 0, compute = 0, memory = 0, me = 0;
	char copy[64], *rest, *word;

	lockdep_assert_held(&gpu->lock);

	if (!gpu->mig)
		return -EPERM;
	if (!list_empty(&gpu->vgpus))
		return -EBUSY;
	if (strscpy(copy, text) < 0)
		return -EINVAL;

	rest = strim(copy);
	if (!strcmp(rest, "0"))
		rest = NULL;
	while ((word = strsep(&rest, " "))) {
		if (num == NV_GPU_INSTANCES || parse_instance(word, &gi[num]))
			return -EINVAL;
		compute += gi[num].slices;
		memory += memory_slices(gi[num].slices);
		me += gi[num].me;
		num++;
	}
	if (compute > COMPUTE_SLICES || memory > MEMORY_SLICES || me > 1)
		return -EIO;

	memcpy(gpu->instances, gi, num * sizeof(*gi));
	gpu->num_instances = num;
	nv_proc_instances(gpu);
	return 0;
}

int nv_mig_show(struct nv_gpu *gpu, char *buf)
{
	unsigned int i;
	int n = 0;

	lockdep_assert_held(&gpu->lock);

	for (i = 0; i < gpu->num_instances; i++) {
		struct nv_gpu_instance *gi = &gpu->instances[i];

		n += sysfs_emit_at(buf, n, "%u: %u%s %s\n", i + 1, gi->slices,
				   gi->me ? "+me" : "",
				   gi->user ? nv_vgpu_name(gi->user) : "free");
	}
	return n;
}
