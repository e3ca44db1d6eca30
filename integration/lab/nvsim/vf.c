// SPDX-License-Identifier: GPL-2.0-only
/*
 * vGPUs without mdev: a VF is the VFIO device, and its nvidia/ folder gives
 * it a type.
 */
#include <linux/kstrtox.h>
#include <linux/sysfs.h>

#include "nvsim.h"

#define ENDING_TIMEOUT	(5 * HZ)

int nv_vf_add(struct nv_gpu *gpu, struct pci_dev *pdev)
{
	struct nv_vgpu *v = nv_vgpu_alloc(gpu, &pdev->dev);
	int ret;

	if (IS_ERR(v))
		return PTR_ERR(v);
	pci_set_drvdata(pdev, v);
	ret = vfio_register_emulated_iommu_dev(&v->vdev);
	if (ret)
		vfio_put_device(&v->vdev);
	return ret;
}

void nv_vf_remove(struct pci_dev *pdev)
{
	struct nv_vgpu *v = pci_get_drvdata(pdev);

	/* Blocks while a VM has it open. */
	vfio_unregister_group_dev(&v->vdev);
	nv_vgpu_wait_idle(v);
	mutex_lock(&v->gpu->lock);
	if (v->type)
		nv_gpu_dismiss(v);
	mutex_unlock(&v->gpu->lock);
	vfio_put_device(&v->vdev);
}

static ssize_t creatable_vgpu_types_show(struct device *dev,
					 struct device_attribute *attr, char *buf)
{
	struct nv_vgpu *v = dev_get_drvdata(dev);
	const struct nv_board *board = v->gpu->board;
	int n = sysfs_emit(buf, "ID    : vGPU Name\n");
	unsigned int i;

	mutex_lock(&v->gpu->lock);
	for (i = 0; i < board->num_types && !v->type; i++)
		if (nv_gpu_creatable(v->gpu, &board->types[i]))
			n += sysfs_emit_at(buf, n, "%-5d : %s\n",
					   board->types[i].id,
					   board->types[i].name);
	mutex_unlock(&v->gpu->lock);
	return n;
}
static DEVICE_ATTR_RO(creatable_vgpu_types);

static ssize_t current_vgpu_type_show(struct device *dev,
				      struct device_attribute *attr, char *buf)
{
	struct nv_vgpu *v = dev_get_drvdata(dev);
	int id;

	mutex_lock(&v->gpu->lock);
	id = v->type ? v->type->id : 0;
	mutex_unlock(&v->gpu->lock);
	return sysfs_emit(buf, "%d\n", id);
}

static int set_type(struct nv_vgpu *v, unsigned int id)
{
	const struct nv_type *type;

	if (v->type)
		return -EPERM;
	type = nv_type_find(v->gpu->board, id);
	return type ? nv_gpu_admit(v->gpu, v, type) : -EIO;
}

static int clear_type(struct nv_vgpu *v)
{
	if (!v->type || v->state == NV_RUNNING)
		return -EPERM;
	if (v->state == NV_ENDING)
		return -EBUSY;
	nv_gpu_dismiss(v);
	return 0;
}

static ssize_t current_vgpu_type_store(struct device *dev,
				       struct device_attribute *attr,
				       const char *buf, size_t count)
{
	struct nv_vgpu *v = dev_get_drvdata(dev);
	unsigned int id;
	int ret = kstrtouint(buf, 0, &id);

	if (ret)
		return ret;
	mutex_lock(&v->gpu->lock);
	ret = id ? set_type(v, id) : clear_type(v);
	mutex_unlock(&v->gpu->lock);
	if (ret != -EBUSY)
		return ret ?: count;

	/* give the plugin that is still ending its time, and try again */
	if (nv_vgpu_wait_idle_timeout(v, ENDING_TIMEOUT) < 0)
		return -EINTR;
	mutex_lock(&v->gpu->lock);
	ret = clear_type(v);
	mutex_unlock(&v->gpu->lock);
	return ret ?: count;
}
static DEVICE_ATTR_RW(current_vgpu_type);

static ssize_t placement_id_show(struct device *dev,
				 struct device_attribute *attr, char *buf)
{
	struct nv_vgpu *v = dev_get_drvdata(dev);
	ssize_t n = -ENXIO;

	mutex_lock(&v->gpu->lock);
	if (v->type)
		n = sysfs_emit(buf, "%u\n", v->placement);
	mutex_unlock(&v->gpu->lock);
	return n;
}

static ssize_t placement_id_store(struct device *dev,
				  struct device_attribute *attr,
				  const char *buf, size_t count)
{
	struct nv_vgpu *v = dev_get_drvdata(dev);
	unsigned int id;
	int ret = kstrtouint(buf, 0, &id);

	if (ret)
		return ret;
	mutex_lock(&v->gpu->lock);
	if (!v->type)
		ret = -ENXIO;
	else if (v->state != NV_IDLE)
		ret = -EPERM;
	else
		ret = nv_placement_check(v->gpu, v, v->type, id);
	if (!ret)
		v->placement = id;
	mutex_unlock(&v->gpu->lock);
	return ret ?: count;
}
static DEVICE_ATTR_RW(placement_id);

static ssize_t gpu_instance_id_show(struct device *dev,
				    struct device_attribute *attr, char *buf)
{
	struct nv_vgpu *v = dev_get_drvdata(dev);
	ssize_t n = -ENXIO;

	mutex_lock(&v->gpu->lock);
	if (v->type)
		n = sysfs_emit(buf, "%u\n", v->instance);
	mutex_unlock(&v->gpu->lock);
	return n;
}

static ssize_t gpu_instance_id_store(struct device *dev,
				     struct device_attribute *attr,
				     const char *buf, size_t count)
{
	struct nv_vgpu *v = dev_get_drvdata(dev);
	unsigned int id;
	int ret = kstrtouint(buf, 0, &id);

	if (ret)
		return ret;
	mutex_lock(&v->gpu->lock);
	if (!v->type)
		ret = -ENXIO;
	else if (v->state != NV_IDLE)
		ret = -EPERM;
	else
		ret = nv_mig_move(v->gpu, v, id);
	mutex_unlock(&v->gpu->lock);
	return ret ?: count;
}
static DEVICE_ATTR_RW(gpu_instance_id);

static struct attribute *vf_attrs[] = {
	&dev_attr_creatable_vgpu_types.attr,
	&dev_attr_current_vgpu_type.attr,
	&dev_attr_vgpu_params.attr,
	&dev_attr_placement_id.attr,
	&dev_attr_gpu_instance_id.attr,
	NULL,
};

static bool vf_group_visible(struct kobject *kobj)
{
	struct pci_dev *pdev = to_pci_dev(kobj_to_dev(kobj));

	return pdev->is_virtfn && nv_gpu_of(pdev)->framework == NVBUS_VFIO;
}
DEFINE_SIMPLE_SYSFS_GROUP_VISIBLE(vf);

const struct attribute_group nv_vf_group = {
	.name = "nvidia",
	.is_visible = SYSFS_GROUP_VISIBLE(vf),
	.attrs = vf_attrs,
};
