/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A guest in a boot sector: finds the first NVIDIA device, and writes the time
 * stamp counter into its scratch register 0 and a mark into register 1.
 * So each boot leaves another number, which the picture shows.
 *
 *	gcc -m32 -c guest.S && ld -m elf_i386 -Ttext 0x7c00 --oformat binary guest.o
 */
	.code16
	.globl	_start
_start:	cli
	xorw	%ax, %ax
	movw	%ax, %ds
	lgdtl	gdtr
	movl	%cr0, %eax
	orb	$1, %al
	movl	%eax, %cr0
	ljmp	$8, $flat

	.code32
flat:	movw	$16, %ax
	movw	%ax, %ds
	xorl	%ebx, %ebx
next:	movl	%ebx, %eax		/* bus, device, function */
	shll	$8, %eax
	orl	$0x80000000, %eax
	movw	$0xcf8, %dx
	outl	%eax, %dx
	movl	%eax, %ecx
	movw	$0xcfc, %dx
	inl	%dx, %eax
	cmpw	$0x10de, %ax
	je	found
	incw	%bx
	jmp	next

found:	leal	0x10(%ecx), %eax	/* BAR 0 */
	movw	$0xcf8, %dx
	outl	%eax, %dx
	movw	$0xcfc, %dx
	inl	%dx, %eax
	andb	$0xf0, %al
	movl	%eax, %edi
	rdtsc
	movl	%eax, 0x1000(%edi)
	movl	$0x600d600d, 0x1004(%edi)
stop:	hlt
	jmp	stop

	.balign	8
gdt:	.quad	0
	.quad	0x00cf9a000000ffff
	.quad	0x00cf92000000ffff
gdtr:	.word	. - gdt - 1
	.long	gdt

	.org	510
	.word	0xaa55
