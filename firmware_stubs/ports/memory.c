/* memcpy, memset and memmove for images that are linked without a C library: a compiler may call
 * them on its own. Compiled with -fno-builtin, so that no loop here becomes a call of itself. */
#include <stdint.h>

#include "freestanding/string.h"

#define WORD_MASK 3U

void *memcpy(void *to, const void *from, size_t count) {
    uint8_t *t = (uint8_t *)to;
    const uint8_t *f = (const uint8_t *)from;
    if ((((uintptr_t)t | (uintptr_t)f) & WORD_MASK) == 0) {
        for (; count >= 4; count -= 4, t += 4, f += 4) {
            *(uint32_t *)(void *)t = *(const uint32_t *)(const void *)f;
        }
    }
    while (count-- > 0) {
        *t++ = *f++;
    }
    return to;
}

void *memset(void *to, int value, size_t count) {
    uint8_t *t = (uint8_t *)to;
    const uint32_t word = (uint8_t)value * 0x01010101U;
    for (; count > 0 && ((uintptr_t)t & WORD_MASK) != 0; count--) {
        *t++ = (uint8_t)value;
    }
    for (; count >= 4; count -= 4, t += 4) {
        *(uint32_t *)(void *)t = word;
    }
    while (count-- > 0) {
        *t++ = (uint8_t)value;
    }
    return to;
}

void *memmove(void *to, const void *from, size_t count) {
    uint8_t *t = (uint8_t *)to;
    const uint8_t *f = (const uint8_t *)from;
    if ((uintptr_t)t <= (uintptr_t)f || (uintptr_t)t >= (uintptr_t)f + count) {
        return memcpy(to, from, count);
    }
    while (count-- > 0) {
        t[count] = f[count];
    }
    return to;
}
