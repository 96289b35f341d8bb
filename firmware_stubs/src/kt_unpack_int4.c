#include "kt_kernels.h"
#include "kt_packed.h"
#include "kt_unpack.h"

/* Four codes of four indices, which are the low halves of the bytes. */
static inline void kt_put_four(int8_t *codes, uint32_t indices) {
    const uint32_t word = (indices + 0x78787878u) ^ 0x80808080u; /* less 8, byte by byte */
    codes[0] = (int8_t)word;
    codes[1] = (int8_t)(word >> 8);
    codes[2] = (int8_t)(word >> 16);
    codes[3] = (int8_t)(word >> 24);
}

void kt_unpack_int4(const uint8_t *indices, const int8_t *table, int32_t step, int32_t count,
                    int8_t *codes) {
    (void)table;
    (void)step;
    for (; count >= 8; count -= 8, indices += 4, codes += 8) {
        const uint32_t word = kt_read_indices(indices, 4);
        kt_put_four(codes, word & 0x0F0F0F0Fu);
        kt_put_four(codes + 4, word >> 4 & 0x0F0F0F0Fu);
    }
    for (int shift = 0; count > 0; count--, shift ^= 4) {
        *codes++ = (int8_t)((*indices >> shift & 15) - 8);
        indices += shift >> 2;
    }
}
