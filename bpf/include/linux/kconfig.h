/* BCC's helpers.h looks at this one option only. */
#pragma once
#define CONFIG_BPF_SYSCALL 1
