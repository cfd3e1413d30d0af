/* BCC includes this file for the types of its helpers. The probe does not use PAGE_SIZE. */
#pragma once
#define PAGE_SIZE 4096
