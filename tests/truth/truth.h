/* SPDX-License-Identifier: Apache-2.0 */
/* What the launcher leaves to the witness, and how both give up. */
#ifndef TRUTH_H
#define TRUTH_H

#include <stdio.h>
#include <stdlib.h>

/* Inherited directories. High numbers, so that nobody else's descriptor is mistaken for
 * them, and below 1024, the usual limit. */
#define TRUTH_PROC_FD 1008
#define TRUTH_DIR_FD  1009

#define must(result, what) ({ \
	__typeof__(result) result_ = (result); \
	if ((long)result_ < 0) { \
		perror(what); \
		exit(99); \
	} \
	result_; \
})

#endif
