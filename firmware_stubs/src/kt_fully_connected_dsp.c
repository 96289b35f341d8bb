/*
 * FULLY_CONNECTED with the DSP extension: four rows of weights at a time, so that each word of the
 * input is loaded and widened once for sixteen products. No scratch.
 */
#include "kt_kernels.h"

#if KT_ISA == KT_ISA_DSP

#include "kt_dsp.h"

/* One word of weights against a widened word of the input. */
static inline uint32_t kt_multiply_word(uint32_t even, uint32_t odd, uint32_t weights,
                                        uint32_t sum) {
    sum = kt_multiply_pairs(even, kt_widen_even(weights), sum);
    return kt_multiply_pairs(odd, kt_widen_odd(weights), sum);
}

/* Sums of four rows of weights, `stride` apart. */
static kt_sums_t kt_multiply_rows(const int8_t *input, const int8_t *weights, int32_t stride,
                                  int32_t count) {
    const int8_t *end = weights + (count & ~3);
    kt_sums_t sums = {0, 0, 0, 0};
    while (weights != end) {
        const uint32_t codes = kt_read_word(input);
        const uint32_t even = kt_widen_even(codes), odd = kt_widen_odd(codes);
        const int8_t *third = weights + 2 * stride;
        sums.sum0 = kt_multiply_word(even, odd, kt_read_word(weights), sums.sum0);
        sums.sum1 = kt_multiply_word(even, odd, kt_read_word(weights + stride), sums.sum1);
        sums.sum2 = kt_multiply_word(even, odd, kt_read_word(third), sums.sum2);
        sums.sum3 = kt_multiply_word(even, odd, kt_read_word(third + stride), sums.sum3);
        weights += 4;
        input += 4;
    }
    for (end += count & 3; weights != end; weights++, input++) {
        sums.sum0 += (uint32_t)(*input * weights[0]);
        sums.sum1 += (uint32_t)(*input * weights[stride]);
        sums.sum2 += (uint32_t)(*input * weights[2 * stride]);
        sums.sum3 += (uint32_t)(*input * weights[3 * stride]);
    }
    return sums;
}

static int8_t kt_code(const kt_fully_connected_t *op, int32_t channel, uint32_t sum) {
    const int32_t index = op->per_channel ? channel : 0;
    const int32_t multiplier = op->multiplier[index], shift = op->shift[index];
    int32_t code;
    sum += (uint32_t)op->bias[channel];
    if (kt_is_scalable(multiplier, shift)) {
        code = kt_scaled(sum, kt_factor(multiplier), -1 - shift,
                         kt_scale_offset(op->output_zero_point));
    } else {
        code = kt_requantize(sum, multiplier, shift) + op->output_zero_point;
    }
    return (int8_t)kt_clamp_code(code, op->lowest, op->highest);
}

/* Outputs channel, channel + step, ... of one sample. */
static void kt_put_outputs(const kt_fully_connected_t *op, const int8_t *input, int8_t *output,
                           int32_t channel, int32_t step) {
    const int32_t count = (int32_t)op->in_c;
    const kt_sums_t sums =
        kt_multiply_rows(input, op->weights + channel * count, step * count, count);
    output[channel] = kt_code(op, channel, sums.sum0);
    if (step != 0) {
        output[channel + 1] = kt_code(op, channel + 1, sums.sum1);
        output[channel + 2] = kt_code(op, channel + 2, sums.sum2);
        output[channel + 3] = kt_code(op, channel + 3, sums.sum3);
    }
}

void kt_fully_connected(const kt_fully_connected_t *op, const int8_t *input, int8_t *output,
                        void *scratch) {
    const int32_t channels = op->out_c;
    (void)scratch;
    for (uint32_t row = 0; row < op->rows; row++, input += op->in_c, output += channels) {
        if (channels < 4) {
            for (int32_t channel = 0; channel < channels; channel++) {
                kt_put_outputs(op, input, output, channel, 0);
            }
            continue;
        }
        for (int32_t channel = 0; channel < channels; channel += 4) {
            /* The last four may be computed in part for the second time. */
            kt_put_outputs(op, input, output, channel + 4 > channels ? channels - 4 : channel, 1);
        }
    }
}

#endif
