/* SPDX-License-Identifier: Apache-2.0 */
/*
 * getppid BATCHES CALLS: prints how many nanoseconds the cheapest system call takes. It is the
 * least mean of BATCHES batches of CALLS calls, because a disturbance only makes a batch slower.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static double now_ns(void)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	return at.tv_sec * 1e9 + at.tv_nsec;
}

int main(int argc, char **argv)
{
	int batches = argc == 3 ? atoi(argv[1]) : 0, calls = argc == 3 ? atoi(argv[2]) : 0;
	double least = 0;

	if (batches < 1 || calls < 1) {
		fprintf(stderr, "usage: getppid BATCHES CALLS\n");
		return 2;
	}
	for (int batch = 0; batch < batches; batch++) {
		double begin = now_ns(), mean;

		for (int call = 0; call < calls; call++)
			syscall(SYS_getppid);
		mean = (now_ns() - begin) / calls;
		if (!batch || mean < least)
			least = mean;
	}
	printf("%.2f\n", least);
	return 0;
}
