/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef NVSIM_H
#define NVSIM_H

#include <linux/list.h>
#include <linux/mdev.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/vfio.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "nvbus.h"

#define NV_PARAMS_MAX		1024
#define NV_NAME_MAX		128
#define NV_UUID_MAX		48
#define NV_INSTANCE_IDS		16		/* a GPU of seven slices counts up to 13 */
#define NV_NO_PLACEMENT		0xffff		/* as NVML's invalid placement id */
#define NV_NO_GPU_INSTANCE	0xffffffff	/* as NVML's invalid instance id */

#define NV_SCRATCH_REGS		16
#define NV_CONFIG_SIZE		256
#define NV_BAR0_SIZE		(16u << 20)

#define NV_WIDTH		640
#define NV_HEIGHT		480
#define NV_PICTURE_SIZE		PAGE_ALIGN(NV_WIDTH * NV_HEIGHT * sizeof(u32))

struct nv_type {
	u16 id;
	const char *name;
	char series;		/* Q, B, A or C */
	u8 heads;
	u8 frl;
	u32 framebuffer;	/* MiB */
	const char *resolution;
	u8 max_instance;
	u8 slices;		/* of a GPU instance; 0: not MIG-backed */
	const char *attribute;	/* that the instance's profile must have: "", "+me" */
};

/* A kind of GPU instance, by nvidia-smi's name: "1g.24gb+gfx". */
struct nv_profile {
	const char *name;
	u8 slices;
	u8 memory;		/* GiB */
	u8 most;		/* that a GPU can have */
};

struct nv_board {
	u16 device;
	const char *model;
	u8 memory;		/* GiB */
	bool sriov;
	u8 slices;		/* in MIG mode; 0: no MIG */
	bool shared;		/* vGPUs share the time of a GPU instance */
	const struct nv_profile *profiles;
	unsigned int num_profiles;
	enum nvbus_framework framework;
	u32 boot0;		/* what BAR0 reads at 0: the chip */
	const struct nv_type *types;
	unsigned int num_types;
};

struct nv_gpu_instance {
	const struct nv_profile *profile;	/* NULL: there is none */
	struct proc_dir_entry *proc;
};

struct nv_parent;

/* A physical GPU: the books of what runs on it. */
struct nv_gpu {
	struct pci_dev *pdev;
	const struct nv_board *board;
	enum nvbus_framework framework;
	bool old;
	int minor;
	struct proc_dir_entry *proc;
	struct proc_dir_entry *capabilities;
	struct proc_dir_entry *mig_proc;	/* in capabilities: the GPU instances */
	struct nv_parent *parent;	/* legacy boards: the PF has the types */

	struct mutex lock;		/* of all below, and of its vGPUs' books */
	struct list_head vgpus;
	bool mig;
	bool mixed;
	bool held;			/* knob: a client holds the GPU */
	bool sriov_fail;		/* knob: VFs cannot be made */
	bool unbind_locked;
	struct nv_gpu_instance instances[NV_INSTANCE_IDS];
};

enum nv_state {
	NV_IDLE,
	NV_RUNNING,	/* a VM has it open */
	NV_ENDING,	/* the VM is gone, the driver still cleans up */
};

/* What the guest sees and what migrates. */
struct nv_device_state {
	u8 config[NV_CONFIG_SIZE];
	__le32 scratch[NV_SCRATCH_REGS];
};

struct nv_migration_file;

/* A vGPU: one mdev, or one VF that may have a type. */
struct nv_vgpu {
	struct vfio_device vdev;	/* first, as vfio_alloc_device asks */
	struct nv_gpu *gpu;

	/* under gpu->lock */
	const struct nv_type *type;	/* NULL: a VF without a vGPU */
	struct list_head node;		/* in gpu->vgpus, while it has a type */
	enum nv_state state;
	struct list_head running;	/* in the list of vm.c, while not idle */
	char vm_name[NV_NAME_MAX];
	char vm_uuid[NV_UUID_MAX];
	char params[NV_PARAMS_MAX + 1];
	unsigned int placement;
	unsigned int instance;		/* id of the GPU instance */

	wait_queue_head_t idle;
	struct delayed_work ended;

	struct mutex lock;		/* of the device that the guest sees */
	struct nv_device_state dev;
	bool repaint;
	u32 *picture;			/* while open */
	enum vfio_device_mig_state mig_state;
	struct nv_migration_file *mig_file;
};

static inline const char *nv_vgpu_name(struct nv_vgpu *v)
{
	return dev_name(v->vdev.dev);
}

/* board.c */
const struct nv_board *nv_board_find(u16 device);
const struct nv_type *nv_type_find(const struct nv_board *board, unsigned int id);

/* gpu.c: with gpu->lock held */
bool nv_gpu_creatable(struct nv_gpu *gpu, const struct nv_type *type);
unsigned int nv_gpu_available(struct nv_gpu *gpu, const struct nv_type *type);
int nv_gpu_admit(struct nv_gpu *gpu, struct nv_vgpu *v, const struct nv_type *type);
void nv_gpu_dismiss(struct nv_vgpu *v);
bool nv_gpu_in_use(struct nv_gpu *gpu);

/* placement.c: with gpu->lock held */
unsigned int nv_placement_first(struct nv_gpu *gpu, const struct nv_type *type);
int nv_placement_check(struct nv_gpu *gpu, const struct nv_vgpu *v,
		       const struct nv_type *type, unsigned int id);

/* mig.c: with gpu->lock held */
unsigned int nv_mig_first(struct nv_gpu *gpu, const struct nv_type *type);
int nv_mig_move(struct nv_gpu *gpu, struct nv_vgpu *v, unsigned int id);
int nv_mig_create(struct nv_gpu *gpu, const char *profile);
int nv_mig_destroy(struct nv_gpu *gpu, unsigned int id);
void nv_mig_wipe(struct nv_gpu *gpu);
int nv_mig_show(struct nv_gpu *gpu, char *buf);
int nv_mig_show_profiles(struct nv_gpu *gpu, char *buf);

/* sriov.c */
int nv_sriov_configure(struct pci_dev *pdev, int num_vfs);

/* proc.c */
int nv_proc_init(void);
void nv_proc_exit(void);
int nv_proc_add(struct nv_gpu *gpu);
void nv_proc_remove(struct nv_gpu *gpu);
void nv_proc_instance(struct nv_gpu *gpu, unsigned int id);	/* with gpu->lock held */

/* driver.c: the GPU of a PF or of its VF */
struct nv_gpu *nv_gpu_of(struct pci_dev *pdev);

/* knobs.c, vf.c, params.c */
extern const struct attribute_group nv_knobs_group;
extern const struct attribute_group nv_vf_group;
extern struct device_attribute dev_attr_vgpu_params;

/* mdev.c */
extern struct mdev_driver nv_mdev_driver;
struct nv_parent *nv_parent_add(struct nv_gpu *gpu, struct pci_dev *pdev);
void nv_parent_remove(struct nv_parent *parent);

/* vf.c */
int nv_vf_add(struct nv_gpu *gpu, struct pci_dev *pdev);
void nv_vf_remove(struct pci_dev *pdev);

/* vgpu.c */
struct nv_vgpu *nv_vgpu_alloc(struct nv_gpu *gpu, struct device *dev);
int nv_vgpu_open(struct nv_vgpu *v);
void nv_vgpu_close(struct nv_vgpu *v);
void nv_vgpu_wait_idle(struct nv_vgpu *v);
long nv_vgpu_wait_idle_timeout(struct nv_vgpu *v, long jiffies);

/* vm.c: with gpu->lock held, but for the identification */
struct nv_vm {
	char name[NV_NAME_MAX];
	char uuid[NV_UUID_MAX];
};

void nv_vm_identify(struct nv_vm *vm);
int nv_vm_enter(struct nv_vgpu *v, const struct nv_vm *vm);
void nv_vm_leave(struct nv_vgpu *v);

/* params.c: with gpu->lock held */
bool nv_params_placement(const struct nv_vgpu *v, unsigned int *id);

/* vfio.c */
extern const struct vfio_device_ops nv_vfio_ops;

/* pciconf.c: with v->lock held */
void nv_config_init(struct nv_vgpu *v);
void nv_config_write(struct nv_vgpu *v, unsigned int off, const u8 *val, unsigned int n);

/* display.c */
long nv_display_query(struct nv_vgpu *v, void __user *arg);
int nv_display_mmap(struct nv_vgpu *v, struct vm_area_struct *vma);

/* picture.c: with v->lock held */
void nv_picture_paint(struct nv_vgpu *v);

/* font.c */
#define NV_GLYPH_WIDTH	5
#define NV_GLYPH_HEIGHT	7
const u8 *nv_glyph(char c);

/* migration.c */
extern const struct vfio_migration_ops nv_migration_ops;
void nv_migration_reset(struct nv_vgpu *v);

#endif
