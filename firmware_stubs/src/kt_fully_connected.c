#include "kt_dot.h"
#include "kt_kernels.h"
#include "kt_requantize.h"

#if KT_ISA == KT_ISA_PORTABLE /* the other sets have files of their own */

void kt_fully_connected(const kt_fully_connected_t *op, const int8_t *input, int8_t *output,
                        void *scratch) {
    const kt_output_t target = KT_OUTPUT_OF(op);
    const int32_t *const bias = op->bias;
    const int32_t depth = (int32_t)op->in_c, last = op->out_c - 1;
    (void)scratch;
    for (uint32_t row = op->rows; row > 0; row--) {
        const int8_t *weights = op->weights;
        for (int32_t channel = 0; channel <= last; channel += 2) {
            /* The last of an odd number is computed twice rather than by code of its own. */
            const int32_t other = channel < last ? channel + 1 : channel;
            kt_pair_t sum = {0, 0};
            sum = kt_dot(sum, input, weights, channel < last ? depth : 0, depth);
            output[channel] =
                kt_to_code(target, channel, (uint32_t)bias[channel] + (uint32_t)sum.first);
            output[other] = kt_to_code(target, other, (uint32_t)bias[other] + (uint32_t)sum.second);
            weights += 2 * depth;
        }
        input += depth;
        output += op->out_c;
    }
}

#endif
