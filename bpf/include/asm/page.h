/* BCC includes it for the types of its helpers; the probe never uses PAGE_SIZE. */
#pragma once
#define PAGE_SIZE 4096
