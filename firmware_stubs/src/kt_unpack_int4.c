#include "kt_kernels.h"
#include "kt_packed.h"
#include "kt_unpack.h"

/* The code in bits `shift` ... `shift` + 3. */
static inline int8_t kt_int4(uint32_t word, int shift) {
    return (int8_t)((int32_t)(word << (28 - shift)) >> 28);
}

void kt_unpack_int4(const uint8_t *indices, const int8_t *table, int32_t step, int32_t count,
                    int8_t *codes) {
    (void)table;
    (void)step;
    for (; count >= 8; count -= 8, indices += 4, codes += 8) {
        const uint32_t word = kt_read_indices(indices, 4);
        codes[0] = kt_int4(word, 0);
        codes[1] = kt_int4(word, 4);
        codes[2] = kt_int4(word, 8);
        codes[3] = kt_int4(word, 12);
        codes[4] = kt_int4(word, 16);
        codes[5] = kt_int4(word, 20);
        codes[6] = kt_int4(word, 24);
        codes[7] = kt_int4(word, 28);
    }
    for (int shift = 0; count > 0; count--, shift ^= 4) {
        *codes++ = kt_int4(*indices, shift);
        indices += shift >> 2;
    }
}
