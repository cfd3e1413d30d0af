/* SPDX-License-Identifier: Apache-2.0 */
/* What all programs of this folder do. */
#ifndef HOSTILE_H
#define HOSTILE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../truth/truth.h"

/* A test that was killed cannot end its programs; exec keeps the alarm. */
#define LONGEST_SECONDS 120

/* Returns a text of that many bytes. It begins with a word, so no two words have equal texts. */
static inline char *padded(const char *word, size_t bytes)
{
	char *text = calloc(1, bytes + strlen(word) + 1);

	strcpy(text, word);
	if (bytes > strlen(word))
		memset(text + strlen(word), 'x', bytes - strlen(word));
	return text;
}

#endif
