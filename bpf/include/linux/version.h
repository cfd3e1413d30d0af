/* BCC wants a version. Any number will do: kernels since 5.0 do not compare it, not even
 * for kprobes, and the probe does not use it. */
#pragma once
#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + (c))
#define LINUX_VERSION_CODE KERNEL_VERSION(5, 8, 0)
