/*
 * FULLY_CONNECTED with the DSP extension: four rows of weights at a time, so that each word of the
 * input is loaded and widened once for sixteen products. No scratch.
 */
#include "kt_kernels.h"

#if KT_ISA == KT_ISA_DSP

#include "kt_dsp.h"

#if defined(__arm__)
#define KT_ROW(address, sum)                                                                       \
    "ldr r8, " address "\n\t"                                                                      \
    "sxtb16 lr, r8\n\t"                                                                            \
    "sxtb16 r8, r8, ror #8\n\t"                                                                    \
    "smlad " sum ", lr, r6, " sum "\n\t"                                                           \
    "smlad " sum ", r8, r7, " sum "\n\t"
__asm__(KT_BEGIN("kt_multiply_rows") "ldr r5, [sp, #40]\n\t"
                                     "add r4, r2, r2, lsl #1\n"
                                     "1:\n\t"
                                     "ldr r6, [r3], #4\n\t"
                                     "sxtb16 r7, r6, ror #8\n\t"
                                     "sxtb16 r6, r6\n\t" KT_ROW("[r1, r2]", "r10")
                                         KT_ROW("[r1, r2, lsl #1]", "r11") KT_ROW("[r1, r4]", "r12")
                                             KT_ROW("[r1], #4",
                                                    "r9") "cmp r3, r5\n\t"
                                                          "bne 1b\n\t" KT_END("kt_multiply_rows"));
#undef KT_ROW
#endif

/* Sums of the rows of weights channel, channel + step, ... */
static inline kt_sums_t kt_sum_rows(const kt_fully_connected_t *op, const int8_t *input,
                                    int32_t channel, int32_t step) {
    const int32_t count = (int32_t)op->in_c, whole = count & ~3, stride = step * count;
    const int32_t *bias = op->bias + channel;
    const int8_t *weights = op->weights + channel * count;
    kt_sums_t sums = {(uint32_t)bias[0], (uint32_t)bias[step], (uint32_t)bias[2 * step],
                      (uint32_t)bias[3 * step]};
    if (whole != 0) {
        kt_multiply_rows(&sums, weights, stride, input, input + whole);
    }
    for (int32_t i = whole; i < count; i++) {
        const int32_t code = input[i];
        sums.sum0 += (uint32_t)(code * weights[i]);
        sums.sum1 += (uint32_t)(code * weights[i + stride]);
        sums.sum2 += (uint32_t)(code * weights[i + 2 * stride]);
        sums.sum3 += (uint32_t)(code * weights[i + 3 * stride]);
    }
    return sums;
}

static int8_t kt_code(const kt_fully_connected_t *op, int32_t channel, uint32_t sum) {
    const int32_t index = op->per_channel ? channel : 0;
    const int32_t code = kt_requantize(sum, op->multiplier[index], op->shift[index]);
    return (int8_t)kt_clamp_code(code + op->output_zero_point, op->lowest, op->highest);
}

/* Where one factor holds for all channels, and is one of the usual. */
static inline kt_sums_t kt_scale_sums(const kt_fully_connected_t *op, kt_sums_t sums) {
    const int32_t factor = kt_factor(op->multiplier[0]), right = -1 - op->shift[0];
    const int32_t offset = kt_scale_offset(op->output_zero_point);
    const int32_t lowest = op->lowest, highest = op->highest;
    kt_sums_t codes;
    codes.sum0 =
        (uint32_t)kt_clamp_code(kt_scaled(sums.sum0, factor, right, offset), lowest, highest);
    codes.sum1 =
        (uint32_t)kt_clamp_code(kt_scaled(sums.sum1, factor, right, offset), lowest, highest);
    codes.sum2 =
        (uint32_t)kt_clamp_code(kt_scaled(sums.sum2, factor, right, offset), lowest, highest);
    codes.sum3 =
        (uint32_t)kt_clamp_code(kt_scaled(sums.sum3, factor, right, offset), lowest, highest);
    return codes;
}

/* One sample of four channels or more. */
static void kt_put_outputs(const kt_fully_connected_t *op, const int8_t *input, int8_t *output) {
    const int is_usual = !op->per_channel && kt_is_scalable(op->multiplier[0], op->shift[0]);
    for (int32_t next = 0; next < op->out_c; next += 4) {
        /* The last four may be computed in part for the second time. */
        const int32_t channel = next + 4 > op->out_c ? op->out_c - 4 : next;
        kt_sums_t sums = kt_sum_rows(op, input, channel, 1);
        int8_t *codes = output + channel;
        if (is_usual) {
            sums = kt_scale_sums(op, sums);
            codes[0] = (int8_t)sums.sum0;
            codes[1] = (int8_t)sums.sum1;
            codes[2] = (int8_t)sums.sum2;
            codes[3] = (int8_t)sums.sum3;
        } else {
            codes[0] = kt_code(op, channel, sums.sum0);
            codes[1] = kt_code(op, channel + 1, sums.sum1);
            codes[2] = kt_code(op, channel + 2, sums.sum2);
            codes[3] = kt_code(op, channel + 3, sums.sum3);
        }
    }
}

void kt_fully_connected(const kt_fully_connected_t *op, const int8_t *input, int8_t *output,
                        void *scratch) {
    (void)scratch;
    for (uint32_t row = 0; row < op->rows; row++, input += op->in_c, output += op->out_c) {
        if (op->out_c >= 4) {
            kt_put_outputs(op, input, output);
            continue;
        }
        for (int32_t channel = 0; channel < op->out_c; channel++) {
            output[channel] = kt_code(op, channel, kt_sum_rows(op, input, channel, 0).sum0);
        }
    }
}

#endif
