/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A 32-bit program that is refused: refused32 PROGRAM ARG... tries to run PROGRAM with what
 * it got from PROGRAM on, by execve and then by execveat, and ends with the errno. See hop32.c.
 */
__asm__(
	".globl _start\n"
	"_start:\n"
	"	mov (%esp), %eax\n"		/* argc */
	"	lea 8(%esp,%eax,4), %edx\n"	/* behind argv and its NULL: the environment */
	"	lea 8(%esp), %ecx\n"		/* argv + 1 */
	"	mov (%ecx), %ebx\n"
	"	mov $11, %eax\n"		/* execve */
	"	int $0x80\n"
	"	mov %edx, %esi\n"
	"	mov %ecx, %edx\n"
	"	mov (%edx), %ecx\n"
	"	mov $-100, %ebx\n"		/* AT_FDCWD */
	"	mov $0, %edi\n"
	"	mov $358, %eax\n"		/* execveat */
	"	int $0x80\n"
	"	mov %eax, %ebx\n"
	"	neg %ebx\n"
	"	mov $1, %eax\n"			/* exit */
	"	int $0x80\n");
