// SPDX-License-Identifier: GPL-2.0-only
/* vgpu_params: text for the VM's plugin, kept as it was written. */
#include <linux/string.h>
#include <linux/sysfs.h>

#include "nvsim.h"

#define PLACEMENT_KEY "vgpu-placement-id="

static ssize_t vgpu_params_show(struct device *dev,
				struct device_attribute *attr, char *buf)
{
	struct nv_vgpu *v = dev_get_drvdata(dev);
	ssize_t n = -ENXIO;

	mutex_lock(&v->gpu->lock);
	if (v->type)
		n = sysfs_emit(buf, "%s\n", v->params);
	mutex_unlock(&v->gpu->lock);
	return n;
}

static int set_params(struct nv_vgpu *v, const char *buf, size_t count)
{
	if (!v->type)
		return -ENXIO;
	if (v->state != NV_IDLE)
		return -EPERM;

	/* the last character goes, for it should be a newline */
	memcpy(v->params, buf, count - 1);
	v->params[count - 1] = '\0';
	if (!strcmp(v->params, " "))
		v->params[0] = '\0';
	return 0;
}

static ssize_t vgpu_params_store(struct device *dev,
				 struct device_attribute *attr,
				 const char *buf, size_t count)
{
	struct nv_vgpu *v = dev_get_drvdata(dev);
	int ret;

	if (!count)
		return 0;
	if (count > NV_PARAMS_MAX)
		return -E2BIG;
	mutex_lock(&v->gpu->lock);
	ret = set_params(v, buf, count);
	mutex_unlock(&v->gpu->lock);
	return ret ?: count;
}
DEVICE_ATTR_RW(vgpu_params);

/* The placement that the parameters ask for, if they do. */
bool nv_params_placement(const struct nv_vgpu *v, unsigned int *id)
{
	const char *p = strstr(v->params, PLACEMENT_KEY);

	lockdep_assert_held(&v->gpu->lock);

	if (!p)
		return false;
	if (sscanf(p, PLACEMENT_KEY "%u", id) != 1)
		*id = NV_NO_PLACEMENT;
	return true;
}
