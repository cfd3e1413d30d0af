/* BCC's helpers name this struct. The probe reads its members by their BTF offsets, never
 * by this layout (see EA_REG_FIRST in kernel.h). */
#pragma once
struct pt_regs {
	unsigned long r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax, ip, cs, flags, sp, ss;
};
