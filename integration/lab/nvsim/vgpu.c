// SPDX-License-Identifier: GPL-2.0-only
/* A vGPU's life with its VM: opened, closed, and cleaned up after. */
#include <linux/moduleparam.h>
#include <linux/vmalloc.h>

#include "nvsim.h"

#define LINGER_MAX	600000u

static unsigned int linger_ms;
module_param(linger_ms, uint, 0644);
MODULE_PARM_DESC(linger_ms, "how long the driver cleans up after a VM, in ms");

static bool need_uuid = true;
module_param(need_uuid, bool, 0644);
MODULE_PARM_DESC(need_uuid, "refuse a VM whose command line has no -uuid");

static void ended(struct work_struct *work)
{
	struct nv_vgpu *v = container_of(to_delayed_work(work), struct nv_vgpu, ended);

	mutex_lock(&v->gpu->lock);
	nv_vm_leave(v);
	v->state = NV_IDLE;
	mutex_unlock(&v->gpu->lock);
	wake_up_all(&v->idle);
}

struct nv_vgpu *nv_vgpu_alloc(struct nv_gpu *gpu, struct device *dev)
{
	struct nv_vgpu *v = vfio_alloc_device(nv_vgpu, vdev, dev, &nv_vfio_ops);

	if (IS_ERR(v))
		return v;
	v->gpu = gpu;
	v->placement = NV_NO_PLACEMENT;
	v->instance = NV_NO_GPU_INSTANCE;
	INIT_LIST_HEAD(&v->node);
	INIT_LIST_HEAD(&v->running);
	init_waitqueue_head(&v->idle);
	INIT_DELAYED_WORK(&v->ended, ended);
	mutex_init(&v->lock);
	v->vdev.migration_flags = VFIO_MIGRATION_STOP_COPY;
	v->vdev.mig_ops = &nv_migration_ops;
	return v;
}

/* What the VM's start checks, in the order of what it says about it. */
static int may_start(struct nv_vgpu *v, const struct nv_vm *vm)
{
	unsigned int id;

	if (!v->type)
		return -ENODEV;
	if (v->state != NV_IDLE)
		return -EBUSY;
	if (need_uuid && !vm->uuid[0]) {
		dev_err(v->vdev.dev, "Failed to get VM UUID from QEMU command-line 0x57\n");
		return -EIO;
	}
	if (!nv_params_placement(v, &id))
		return 0;
	if (nv_placement_check(v->gpu, v, v->type, id)) {
		dev_err(v->vdev.dev, "placement id %u refused\n", id);
		return -EIO;
	}
	v->placement = id;
	return 0;
}

int nv_vgpu_open(struct nv_vgpu *v)
{
	u32 *picture = vmalloc_user(NV_PICTURE_SIZE);
	struct nv_vm vm;
	int ret;

	if (!picture)
		return -ENOMEM;
	nv_vm_identify(&vm);

	mutex_lock(&v->gpu->lock);
	ret = may_start(v, &vm);
	if (!ret)
		ret = nv_vm_enter(v, &vm);
	if (!ret)
		v->state = NV_RUNNING;
	mutex_unlock(&v->gpu->lock);
	if (ret) {
		vfree(picture);
		return ret;
	}

	mutex_lock(&v->lock);
	v->picture = picture;
	nv_config_init(v);
	mutex_unlock(&v->lock);
	nv_migration_reset(v);
	return 0;
}

void nv_vgpu_close(struct nv_vgpu *v)
{
	unsigned int linger = min(READ_ONCE(linger_ms), LINGER_MAX);

	nv_migration_reset(v);
	mutex_lock(&v->lock);
	vfree(v->picture);
	v->picture = NULL;
	mutex_unlock(&v->lock);

	mutex_lock(&v->gpu->lock);
	v->state = NV_ENDING;
	mutex_unlock(&v->gpu->lock);
	if (linger)
		schedule_delayed_work(&v->ended, msecs_to_jiffies(linger));
	else
		ended(&v->ended.work);
}

static bool is_idle(struct nv_vgpu *v)
{
	return READ_ONCE(v->state) == NV_IDLE;
}

/* For a vGPU that goes: nobody can open it any more. */
void nv_vgpu_wait_idle(struct nv_vgpu *v)
{
	wait_event(v->idle, is_idle(v));
	flush_delayed_work(&v->ended);
}

/* Jiffies that were left, 0 at the time's end, negative when interrupted. */
long nv_vgpu_wait_idle_timeout(struct nv_vgpu *v, long timeout)
{
	return wait_event_interruptible_timeout(v->idle, is_idle(v), timeout);
}
