/* SPDX-License-Identifier: Apache-2.0 */
/* staying: says "there", and stays until it is ended. */
#include "hostile.h"

int main(void)
{
	alarm(LONGEST_SECONDS);
	puts("there");
	fflush(stdout);
	pause();
	return 0;
}
