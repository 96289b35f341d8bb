/* The functions of <string.h> that kernels use, for builds without a C library; see memory.c. */
#ifndef KT_FREESTANDING_STRING_H
#define KT_FREESTANDING_STRING_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

void *memcpy(void *to, const void *from, size_t count);
void *memset(void *to, int value, size_t count);
void *memmove(void *to, const void *from, size_t count);

#ifdef __cplusplus
}
#endif

#endif
