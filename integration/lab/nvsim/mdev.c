// SPDX-License-Identifier: GPL-2.0-only
/* vGPUs as mediated devices, whose parent is the GPU or one of its VFs. */
#include <linux/module.h>
#include <linux/slab.h>

#include "nvsim.h"

struct nv_mdev_type {
	struct mdev_type type;
	const struct nv_type *row;
	char sysfs_name[8];
};

struct nv_parent {
	struct mdev_parent parent;
	struct nv_gpu *gpu;
	bool is_vf;
	bool taken;		/* a VF has its one vGPU; under gpu->lock */
	struct mdev_type **list;
	struct nv_mdev_type types[];
};

static struct nv_parent *to_parent(struct mdev_type *mtype)
{
	return container_of(mtype->parent, struct nv_parent, parent);
}

static const struct nv_type *to_row(struct mdev_type *mtype)
{
	return container_of(mtype, struct nv_mdev_type, type)->row;
}

static unsigned int available(struct mdev_type *mtype)
{
	struct nv_parent *p = to_parent(mtype);
	unsigned int n;

	mutex_lock(&p->gpu->lock);
	if (p->is_vf)
		n = !p->taken && nv_gpu_creatable(p->gpu, to_row(mtype));
	else
		n = nv_gpu_available(p->gpu, to_row(mtype));
	mutex_unlock(&p->gpu->lock);
	return n;
}

static ssize_t description(struct mdev_type *mtype, char *buf)
{
	const struct nv_type *t = to_row(mtype);

	return sysfs_emit(buf, "num_heads=%u, frl_config=%u, framebuffer=%uM, max_resolution=%s, max_instance=%u\n",
			  t->heads, t->frl, t->framebuffer, t->resolution,
			  t->max_instance);
}

static int admit(struct nv_parent *p, struct nv_vgpu *v, const struct nv_type *type)
{
	int ret;

	mutex_lock(&p->gpu->lock);
	ret = p->is_vf && p->taken ? -EIO : nv_gpu_admit(p->gpu, v, type);
	if (!ret)
		p->taken = true;
	mutex_unlock(&p->gpu->lock);
	return ret;
}

static void dismiss(struct nv_parent *p, struct nv_vgpu *v)
{
	mutex_lock(&p->gpu->lock);
	nv_gpu_dismiss(v);
	p->taken = false;
	mutex_unlock(&p->gpu->lock);
}

static int probe(struct mdev_device *mdev)
{
	struct nv_parent *p = to_parent(mdev->type);
	struct nv_vgpu *v = nv_vgpu_alloc(p->gpu, &mdev->dev);
	int ret;

	if (IS_ERR(v))
		return PTR_ERR(v);
	ret = admit(p, v, to_row(mdev->type));
	if (ret)
		goto put;
	dev_set_drvdata(&mdev->dev, v);
	ret = vfio_register_emulated_iommu_dev(&v->vdev);
	if (ret)
		goto dismiss;
	return 0;
dismiss:
	dismiss(p, v);
put:
	vfio_put_device(&v->vdev);
	return ret;
}

static void remove(struct mdev_device *mdev)
{
	struct nv_vgpu *v = dev_get_drvdata(&mdev->dev);

	/* Blocks while a VM has it open, and then until all is cleaned up. */
	vfio_unregister_group_dev(&v->vdev);
	nv_vgpu_wait_idle(v);
	dismiss(to_parent(mdev->type), v);
	vfio_put_device(&v->vdev);
}

static ssize_t vm_name_show(struct device *dev, struct device_attribute *attr,
			    char *buf)
{
	struct nv_vgpu *v = dev_get_drvdata(dev);
	ssize_t n;

	mutex_lock(&v->gpu->lock);
	n = sysfs_emit(buf, "%s\n", v->vm_name);
	mutex_unlock(&v->gpu->lock);
	return n;
}
static DEVICE_ATTR_RO(vm_name);

static struct attribute *mdev_attrs[] = {
	&dev_attr_vgpu_params.attr,
	&dev_attr_vm_name.attr,
	NULL,
};

static const struct attribute_group mdev_group = {
	.name = "nvidia",
	.attrs = mdev_attrs,
};

static const struct attribute_group *mdev_groups[] = {
	&mdev_group,
	NULL,
};

struct mdev_driver nv_mdev_driver = {
	.device_api = VFIO_DEVICE_API_PCI_STRING,
	.probe = probe,
	.remove = remove,
	.get_available = available,
	.show_description = description,
	.driver = {
		.name = "nvidia-vgpu-vfio",
		.owner = THIS_MODULE,
		.mod_name = KBUILD_MODNAME,
		.dev_groups = mdev_groups,
	},
};

struct nv_parent *nv_parent_add(struct nv_gpu *gpu, struct pci_dev *pdev)
{
	unsigned int i, n = gpu->board->num_types;
	struct nv_parent *p;
	int ret = -ENOMEM;

	p = kzalloc(struct_size(p, types, n), GFP_KERNEL);
	if (!p)
		return ERR_PTR(ret);
	p->gpu = gpu;
	p->is_vf = pdev->is_virtfn;
	p->list = kcalloc(n, sizeof(*p->list), GFP_KERNEL);
	if (!p->list)
		goto free;
	for (i = 0; i < n; i++) {
		struct nv_mdev_type *t = &p->types[i];

		t->row = &gpu->board->types[i];
		snprintf(t->sysfs_name, sizeof(t->sysfs_name), "%u", t->row->id);
		t->type.sysfs_name = t->sysfs_name;
		t->type.pretty_name = t->row->name;
		p->list[i] = &t->type;
	}
	ret = mdev_register_parent(&p->parent, &pdev->dev, &nv_mdev_driver,
				   p->list, n);
	if (!ret)
		return p;
free:
	kfree(p->list);
	kfree(p);
	return ERR_PTR(ret);
}

void nv_parent_remove(struct nv_parent *p)
{
	mdev_unregister_parent(&p->parent);
	kfree(p->list);
	kfree(p);
}
