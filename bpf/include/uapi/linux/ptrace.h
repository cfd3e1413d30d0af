/* BCC's helpers name struct pt_regs; the tracepoint programs never look inside. */
#pragma once
struct pt_regs {
	unsigned long r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax, ip, cs, flags, sp, ss;
};
