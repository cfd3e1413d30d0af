/* Raw tracepoint and tracepoint programs are not tied to a version (only old
 * kprobe programs were), so any number does; the probe never looks at it. */
#pragma once
#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + (c))
#define LINUX_VERSION_CODE KERNEL_VERSION(5, 8, 0)
