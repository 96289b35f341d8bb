#include "kt_dot.h"
#include "kt_kernels.h"
#include "kt_requantize.h"

static int8_t kt_code(const kt_fully_connected_t *op, int32_t channel, uint32_t sum) {
    const int32_t index = op->per_channel ? channel : 0;
    const int32_t value = kt_requantize(sum, op->multiplier[index], op->shift[index]);
    return (int8_t)kt_clamp_code(value + op->output_zero_point, op->lowest, op->highest);
}

void kt_fully_connected(const kt_fully_connected_t *op, const int8_t *input, int8_t *output,
                        void *scratch) {
    const int32_t depth = (int32_t)op->in_c, last = op->out_c - 1;
    (void)scratch;
    for (uint32_t row = 0; row < op->rows; row++) {
        const int8_t *weights = op->weights;
        for (int32_t channel = 0; channel <= last; channel += 2) {
            /* The last of an odd number is computed twice rather than by code of its own. */
            const int32_t other = channel < last ? channel + 1 : channel;
            kt_pair_t sum = {(uint32_t)op->bias[channel], (uint32_t)op->bias[other]};
            sum = kt_dot(sum, input, weights, weights + (other - channel) * depth, depth);
            output[channel] = kt_code(op, channel, sum.first);
            output[other] = kt_code(op, other, sum.second);
            weights += 2 * depth;
        }
        input += depth;
        output += op->out_c;
    }
}
