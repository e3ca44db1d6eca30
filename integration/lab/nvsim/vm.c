// SPDX-License-Identifier: GPL-2.0-only
/*
 * The VM that opens a vGPU: its name and UUID, and what it may have.
 *
 * NVIDIA's plugin reads the UUID from QEMU's command line; so is it here, and
 * the name from the same place (-name guest=).
 */
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "nvsim.h"

#define CMDLINE_MAX	(256 << 10)
#define VGPUS_MAX	16

static LIST_HEAD(running);
static DEFINE_MUTEX(running_lock);

/* The arguments of the current process, each ended by a NUL. */
static char *command_line(size_t *size)
{
	unsigned long start, end;
	char *text;

	if (!current->mm)
		return NULL;
	spin_lock(&current->mm->arg_lock);
	start = current->mm->arg_start;
	end = current->mm->arg_end;
	spin_unlock(&current->mm->arg_lock);

	*size = min_t(size_t, end - start, CMDLINE_MAX);
	text = kvmalloc(*size + 1, GFP_KERNEL);
	if (text && copy_from_user(text, (void __user *)start, *size)) {
		kvfree(text);
		return NULL;
	}
	if (text)
		text[*size] = '\0';
	return text;
}

/* The guest's name of QEMU's option, in which a comma is written twice. */
static void copy_name(char *to, const char *value)
{
	char *end = to + NV_NAME_MAX - 1;

	if (!strncmp(value, "guest=", 6))
		value += 6;
	while (*value && to < end) {
		if (*value == ',' && *++value != ',')
			break;
		*to++ = *value++;
	}
	*to = '\0';
}

/* Reads the opener, so it must be called in its context, without locks. */
void nv_vm_identify(struct nv_vm *vm)
{
	size_t size, at, len;
	char comm[TASK_COMM_LEN];
	const char *option = "";
	char *text = command_line(&size);

	get_task_comm(comm, current);
	strscpy(vm->name, comm);
	vm->uuid[0] = '\0';
	if (!text)
		return;
	for (at = 0; at < size; at += len + 1) {
		const char *word = text + at;

		len = strlen(word);
		if (!strcmp(option, "-name"))
			copy_name(vm->name, word);
		else if (!strcmp(option, "-uuid"))
			strscpy(vm->uuid, word);
		option = word;
	}
	kvfree(text);
}

/* Whether a VM that has one may have the other too. */
static bool go_together(const struct nv_vgpu *a, const struct nv_vgpu *b)
{
	const struct nv_board *board = b->gpu->board;

	if (a->gpu->board != board || a->type->series != b->type->series)
		return false;
	if (board->sriov)
		return true;
	/* before Ampere: only a board's largest Q and C */
	return a->type->framebuffer == board->memory << 10 &&
	       b->type->framebuffer == board->memory << 10 &&
	       (b->type->series == 'Q' || b->type->series == 'C');
}

int nv_vm_enter(struct nv_vgpu *v, const struct nv_vm *vm)
{
	unsigned int n = 0;
	struct nv_vgpu *o;
	int ret = 0;

	lockdep_assert_held(&v->gpu->lock);

	mutex_lock(&running_lock);
	list_for_each_entry(o, &running, running) {
		if (!vm->uuid[0] || strcmp(o->vm_uuid, vm->uuid))
			continue;
		if (++n >= VGPUS_MAX || !go_together(o, v))
			ret = -EIO;
	}
	if (!ret) {
		strscpy(v->vm_name, vm->name);
		strscpy(v->vm_uuid, vm->uuid);
		list_add_tail(&v->running, &running);
	}
	mutex_unlock(&running_lock);
	return ret;
}

void nv_vm_leave(struct nv_vgpu *v)
{
	mutex_lock(&running_lock);
	list_del_init(&v->running);
	v->vm_name[0] = '\0';
	v->vm_uuid[0] = '\0';
	mutex_unlock(&running_lock);
}
