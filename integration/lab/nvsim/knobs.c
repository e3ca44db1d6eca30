// SPDX-License-Identifier: GPL-2.0-only
/*
 * nvsim/ of a PF: what nvidia-smi would set, and faults. NVIDIA has no such
 * folder.
 */
#include <linux/kstrtox.h>
#include <linux/sysfs.h>

#include "nvsim.h"

static ssize_t show_bool(struct device *dev, char *buf, size_t field)
{
	struct nv_gpu *gpu = dev_get_drvdata(dev);
	bool *b = (void *)gpu + field;

	return sysfs_emit(buf, "%d\n", *b);
}

/* A GPU's mode changes only while it has no vGPU. */
static ssize_t store_bool(struct device *dev, const char *buf, size_t count,
			  size_t field, bool is_mode)
{
	struct nv_gpu *gpu = dev_get_drvdata(dev);
	bool *b = (void *)gpu + field, val;
	int ret = kstrtobool(buf, &val);

	if (ret)
		return ret;
	mutex_lock(&gpu->lock);
	if (b == &gpu->mig && !gpu->board->slices)
		ret = -EOPNOTSUPP;
	else if (is_mode && !list_empty(&gpu->vgpus))
		ret = -EBUSY;
	else if (b == &gpu->mixed && val && (!gpu->board->sriov || gpu->mig))
		ret = -EOPNOTSUPP;
	else
		*b = val;
	if (!ret && b == &gpu->mig)
		nv_mig_wipe(gpu);
	mutex_unlock(&gpu->lock);
	return ret ?: count;
}

#define BOOL_ATTR(field, is_mode) \
static ssize_t field##_show(struct device *dev, struct device_attribute *attr, \
			    char *buf) \
{ \
	return show_bool(dev, buf, offsetof(struct nv_gpu, field)); \
} \
static ssize_t field##_store(struct device *dev, struct device_attribute *attr, \
			     const char *buf, size_t count) \
{ \
	return store_bool(dev, buf, count, offsetof(struct nv_gpu, field), \
			  is_mode); \
} \
static DEVICE_ATTR_RW(field)

BOOL_ATTR(mig, true);
BOOL_ATTR(mixed, true);
BOOL_ATTR(held, false);
BOOL_ATTR(sriov_fail, false);

static ssize_t gpu_instances_show(struct device *dev,
				  struct device_attribute *attr, char *buf)
{
	struct nv_gpu *gpu = dev_get_drvdata(dev);
	ssize_t n;

	mutex_lock(&gpu->lock);
	n = nv_mig_show(gpu, buf);
	mutex_unlock(&gpu->lock);
	return n;
}

static ssize_t gpu_instances_store(struct device *dev,
				   struct device_attribute *attr,
				   const char *buf, size_t count)
{
	struct nv_gpu *gpu = dev_get_drvdata(dev);
	char word[24];
	unsigned int id;
	int ret;

	if (sscanf(buf, "%23s", word) != 1)
		return -EINVAL;
	if (word[0] == '-') {
		ret = kstrtouint(word + 1, 10, &id);
		if (ret)
			return ret;
	}
	mutex_lock(&gpu->lock);
	ret = word[0] == '-' ? nv_mig_destroy(gpu, id) : nv_mig_create(gpu, word);
	mutex_unlock(&gpu->lock);
	return ret ?: count;
}
static DEVICE_ATTR_RW(gpu_instances);

static ssize_t gpu_instance_profiles_show(struct device *dev,
					  struct device_attribute *attr, char *buf)
{
	struct nv_gpu *gpu = dev_get_drvdata(dev);
	ssize_t n;

	mutex_lock(&gpu->lock);
	n = nv_mig_show_profiles(gpu, buf);
	mutex_unlock(&gpu->lock);
	return n;
}
static DEVICE_ATTR_RO(gpu_instance_profiles);

static struct attribute *knobs_attrs[] = {
	&dev_attr_mig.attr,
	&dev_attr_mixed.attr,
	&dev_attr_held.attr,
	&dev_attr_sriov_fail.attr,
	&dev_attr_gpu_instances.attr,
	&dev_attr_gpu_instance_profiles.attr,
	NULL,
};

static bool knobs_group_visible(struct kobject *kobj)
{
	return !to_pci_dev(kobj_to_dev(kobj))->is_virtfn;
}
DEFINE_SIMPLE_SYSFS_GROUP_VISIBLE(knobs);

const struct attribute_group nv_knobs_group = {
	.name = "nvsim",
	.is_visible = SYSFS_GROUP_VISIBLE(knobs),
	.attrs = knobs_attrs,
};
