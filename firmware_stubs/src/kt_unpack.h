/* From indices of a few bits to codes. Private to the kernels. */
#ifndef KT_UNPACK_H
#define KT_UNPACK_H

#include <stdint.h>

/* Eight indices: as many bytes as an index has bits. */
static inline uint32_t kt_read_indices(const uint8_t *indices, int bits) {
    uint32_t word = indices[0];
    if (bits > 1) {
        word |= (uint32_t)indices[1] << 8;
    }
    if (bits > 2) {
        word |= (uint32_t)indices[2] << 16;
    }
    if (bits > 3) {
        word |= (uint32_t)indices[3] << 24;
    }
    return word;
}

/* `bits` is known where this is copied to. */
static inline void kt_unpack(const uint8_t *indices, const int8_t *table, int32_t step,
                             int32_t count, int8_t *codes, int bits) {
    const uint32_t mask = (1u << bits) - 1u;
    uint32_t word = 0;
    int left = 0;
    for (; step == 0 && count >= 8; count -= 8, indices += bits, codes += 8) {
        word = kt_read_indices(indices, bits);
        codes[0] = table[word & mask];
        codes[1] = table[word >> bits & mask];
        codes[2] = table[word >> 2 * bits & mask];
        codes[3] = table[word >> 3 * bits & mask];
        codes[4] = table[word >> 4 * bits & mask];
        codes[5] = table[word >> 5 * bits & mask];
        codes[6] = table[word >> 6 * bits & mask];
        codes[7] = table[word >> 7 * bits & mask];
    }
    /* The rest, and what has a table for each code. */
    for (word = 0; count > 0; count--, table += step) {
        if (left < bits) {
            word |= (uint32_t)*indices++ << left;
            left += 8;
        }
        *codes++ = table[word & mask];
        word >>= bits;
        left -= bits;
    }
}

#endif
