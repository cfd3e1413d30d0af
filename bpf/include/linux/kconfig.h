/* The only option that BCC's helpers.h tests. */
#pragma once
#define CONFIG_BPF_SYSCALL 1
