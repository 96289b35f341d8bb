#include "kt_kernels.h"
#include "kt_requantize.h"

void kt_lookup(const int8_t table[256], uint32_t count, const int8_t *input, int8_t *output) {
    for (const int8_t *end = input + count; input < end; input++) {
        *output++ = table[(uint8_t)*input];
    }
}

void kt_clamp(int8_t lowest, int8_t highest, uint32_t count, const int8_t *input, int8_t *output) {
    for (const int8_t *end = input + count; input < end; input++) {
        *output++ = (int8_t)kt_clamp_code(*input, lowest, highest);
    }
}
