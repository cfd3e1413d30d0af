/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A 32-bit program that replaces itself: hop32 PROGRAM ARG... runs PROGRAM with
 * what it got from PROGRAM on. Without a C library, which few 64-bit machines have
 * for 32 bits. On entry the stack holds argc, argv[0], ..., NULL, environment, NULL.
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
	"	mov $99, %ebx\n"
	"	mov $1, %eax\n"			/* exit */
	"	int $0x80\n");
