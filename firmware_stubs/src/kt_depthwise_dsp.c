/*
 * DEPTHWISE_CONV_2D with the DSP extension: four channels at a time, and two taps of a column of
 * the kernel in one instruction. For a strip of the output, each column of the input that it sees
 * is brought into pairs of codes above each other, once for all windows of the strip.
 *
 * An odd kernel height leaves half a pair over. Where the next output row lies one row below, it
 * reads the same pairs with the weights moved down by one tap: two output rows for one strip.
 *
 * Scratch, in bytes, or NULL where that is at most 4 * KT_STACK_WORDS: with
 * pairs = (kernel_h + 1) / 2, span = 8, or 1 where dilation_w > 1, and sets = 2 where stride_h and
 * dilation_h are 1 and kernel_h is odd, else 1:
 *     16 * pairs * (sets * kernel_w + (min(span, out_w) - 1) * stride_w + kernel_w)
 *
 * Outputs are written in blocks of rows: as many rows as have about 48 positions, at least two.
 * Once a block is begun, no input row above its first window is read any more.
 */
#include "kt_kernels.h"

#if KT_ISA == KT_ISA_DSP

#include "kt_dsp.h"
#include "kt_dsp_pairs.h"
#include "kt_window.h"

#if defined(__arm__)
#define KT_STEP                                                                                    \
    "ldmia r1!, {r4, r5, r6, r7}\n\t"                                                              \
    "ldrd r8, lr, [r2], #8\n\t"                                                                    \
    "smlad r9, r4, r8, r9\n\t"                                                                     \
    "smlad r10, r5, lr, r10\n\t"                                                                   \
    "ldrd r8, lr, [r2], #8\n\t"                                                                    \
    "smlad r11, r6, r8, r11\n\t"                                                                   \
    "smlad r12, r7, lr, r12\n\t"
__asm__(KT_BEGIN("kt_multiply_steps") "subs r0, r3, r2\n\t"
                                      "tst r0, #16\n\t"
                                      "bne 2f\n"
                                      "1:\n\t" KT_STEP "2:\n\t" KT_STEP "cmp r2, r3\n\t"
                                      "bne 1b\n\t" KT_END("kt_multiply_steps"));
#undef KT_STEP
#endif

enum { KT_SPAN = 8, KT_BLOCK = 48 };

/* Four channels, or the last one to three of them. */
typedef struct {
    int32_t channel, count;
    int32_t offset[4]; /* of their input channels */
    int is_word;       /* the four input channels are neighbours */
    int is_plain;      /* codes as nearly always: four, of full range, with usual factors */
    uint32_t bias[4];
    int32_t factor[4], right[4];
} kt_group_t;

static void kt_set_group(kt_group_t *group, const kt_conv2d_t *op, int32_t channel) {
    const int32_t left = op->out_c - channel;
    group->channel = channel;
    group->count = left < 4 ? left : 4;
    group->is_word = op->groups == 1 && left >= 4;
    group->is_plain = left >= 4 && op->highest - op->lowest == 255;
    for (int32_t i = 0; i < 4; i++) {
        const int32_t own = channel + (i < group->count ? i : 0);
        const int32_t index = op->per_channel ? own : 0;
        const int32_t multiplier = op->multiplier[index], shift = op->shift[index];
        group->offset[i] = own / op->groups;
        group->bias[i] = (uint32_t)op->bias[own];
        group->factor[i] = kt_factor(multiplier);
        group->right[i] = -1 - shift;
        group->is_plain &= kt_is_scalable(multiplier, shift);
    }
}

/* Codes of four channels, still to be kept within the activation's range. */
static inline kt_sums_t kt_scale_sums(const kt_conv2d_t *op, const kt_group_t *group,
                                      kt_sums_t sums) {
    const int32_t offset = kt_scale_offset(op->output_zero_point);
    sums.sum0 = (uint32_t)kt_scaled(sums.sum0, group->factor[0], group->right[0], offset);
    sums.sum1 = (uint32_t)kt_scaled(sums.sum1, group->factor[1], group->right[1], offset);
    sums.sum2 = (uint32_t)kt_scaled(sums.sum2, group->factor[2], group->right[2], offset);
    sums.sum3 = (uint32_t)kt_scaled(sums.sum3, group->factor[3], group->right[3], offset);
    return sums;
}

/* The rare codes: fewer than four channels, a narrow range, or a factor of another kind. */
KT_RARE static void kt_store_any(const kt_conv2d_t *op, const kt_group_t *group, kt_sums_t sums,
                                 int8_t *output) {
    const uint32_t sum[4] = {sums.sum0, sums.sum1, sums.sum2, sums.sum3};
    for (int32_t i = 0; i < group->count; i++) {
        const int32_t index = op->per_channel ? group->channel + i : 0;
        const int32_t code = kt_requantize(sum[i], op->multiplier[index], op->shift[index]);
        output[i] = (int8_t)kt_clamp_code(code + op->output_zero_point, op->lowest, op->highest);
    }
}

static inline void kt_put_codes(const kt_conv2d_t *op, const kt_group_t *group, kt_sums_t sums,
                                int8_t *output) {
    if (group->is_plain) {
        sums = kt_scale_sums(op, group, sums);
        output[0] = (int8_t)kt_saturate_code((int32_t)sums.sum0);
        output[1] = (int8_t)kt_saturate_code((int32_t)sums.sum1);
        output[2] = (int8_t)kt_saturate_code((int32_t)sums.sum2);
        output[3] = (int8_t)kt_saturate_code((int32_t)sums.sum3);
    } else {
        kt_store_any(op, group, sums, output);
    }
}

/* `count` neighbouring outputs of a strip. */
static void kt_put_outputs(const kt_conv2d_t *op, const kt_group_t *group, const uint32_t *pairs,
                           const uint32_t *weights, int32_t count, int8_t *output) {
    const int32_t height = (op->kernel_h + 1) / 2, step = 4 * height * op->stride_w;
    const uint32_t *end = weights + 4 * height * op->kernel_w;
    for (; count > 0; count--, pairs += step, output += op->out_c) {
        kt_sums_t sums = {group->bias[0], group->bias[1], group->bias[2], group->bias[3]};
        kt_multiply_steps(&sums, pairs, weights, end);
        kt_put_codes(op, group, sums, output);
    }
}

/* `count` taps of a column; the codes are `step` apart, the weights `channels`. */
static kt_sums_t kt_add_taps(kt_sums_t sums, const int8_t *codes, int32_t step,
                             const int8_t *weights, int32_t channels, int32_t count) {
    for (; count > 0; count--, codes += step, weights += channels) {
        const uint32_t code = kt_read_word(codes), weight = kt_read_word(weights);
        const uint32_t even = kt_widen_even(code), odd = kt_widen_odd(code);
        const uint32_t even_weights = kt_widen_even(weight), odd_weights = kt_widen_odd(weight);
        sums.sum0 += (uint32_t)((int16_t)even * (int16_t)even_weights);
        sums.sum1 += (uint32_t)((int16_t)odd * (int16_t)odd_weights);
        sums.sum2 += (uint32_t)(((int32_t)even >> 16) * ((int32_t)even_weights >> 16));
        sums.sum3 += (uint32_t)(((int32_t)odd >> 16) * ((int32_t)odd_weights >> 16));
    }
    return sums;
}

/* Output row `y` of a group, where kernels are one column wide: windows share nothing from left to
 * right, and nothing is brought into pairs. */
static void kt_put_thin_row(const kt_conv2d_t *op, const kt_group_t *group, int32_t y,
                            const int8_t *input, int8_t *output) {
    const uint32_t zeros = (uint8_t)op->input_zero_point * 0x01010101u;
    const int8_t *padding = (const int8_t *)&zeros, *weights = op->weights + group->channel;
    const int32_t channels = op->out_c, row_bytes = op->in_w * op->in_c;
    const int32_t top = y * op->stride_h - op->pad_top, step = op->dilation_h * row_bytes;
    const kt_span_t rows = kt_clip(top, op->in_h, op->kernel_h, op->dilation_h);
    int32_t left = -op->pad_left;
    input += group->channel + top * row_bytes + rows.begin * step;
    output += group->channel + y * op->out_w * channels;
    for (int32_t x = op->out_w; x > 0; x--, left += op->stride_w, output += channels) {
        const int is_inside = left >= 0 && left < op->in_w;
        const int32_t begin = is_inside ? rows.begin : 0, end = is_inside ? rows.end : 0;
        kt_sums_t sums = {group->bias[0], group->bias[1], group->bias[2], group->bias[3]};
        if (begin > 0) {
            sums = kt_add_taps(sums, padding, 0, weights, channels, begin);
        }
        sums = kt_add_taps(sums, input + left * op->in_c, step, weights + begin * channels,
                           channels, end - begin);
        if (end < op->kernel_h) {
            sums = kt_add_taps(sums, padding, 0, weights + end * channels, channels,
                               op->kernel_h - end);
        }
        kt_put_codes(op, group, sums, output);
    }
}

/* The weights in the order in which the windows of a strip meet them, moved down by `down` taps. */
static uint32_t *kt_put_weights(const kt_conv2d_t *op, const kt_group_t *group, int32_t down,
                                uint32_t *pairs) {
    static const int32_t offsets[3][4] = {{0, 0, 0, 0}, {0, 1, 1, 1}, {0, 1, 2, 2}};
    const kt_span_t all = {0, op->kernel_w};
    kt_picture_t picture;
    picture.codes = op->weights + group->channel;
    picture.height = op->kernel_h;
    picture.row_bytes = op->kernel_w * op->out_c;
    picture.column_bytes = op->out_c;
    picture.offset = group->count < 4 ? offsets[group->count - 1] : 0;
    picture.outside = 0;
    return kt_put_picture(&picture, (op->kernel_h + 1) / 2, -down, 1, op->kernel_w, all, pairs);
}

/* One or two output rows, from row `y`, of a group. `weights`: as they are, then moved down. */
static void kt_put_rows(const kt_conv2d_t *op, const kt_group_t *group, int32_t y, int32_t rows,
                        const int8_t *input, int8_t *output, const uint32_t *weights,
                        uint32_t *pairs) {
    const int32_t height = (op->kernel_h + 1) / 2, top = y * op->stride_h - op->pad_top;
    const int32_t span = op->dilation_w == 1 ? KT_SPAN : 1;
    kt_picture_t picture;
    picture.height = op->in_h;
    picture.row_bytes = op->in_w * op->in_c;
    picture.column_bytes = op->dilation_w * op->in_c;
    picture.offset = group->is_word ? 0 : group->offset;
    picture.outside = (uint8_t)op->input_zero_point * 0x01010101u;
    input += group->is_word ? group->channel : 0;
    output += y * op->out_w * op->out_c + group->channel;
    for (int32_t x = 0; x < op->out_w; x += span, output += span * op->out_c) {
        const int32_t count = op->out_w - x < span ? op->out_w - x : span;
        const int32_t left = x * op->stride_w - op->pad_left;
        const int32_t columns = (count - 1) * op->stride_w + op->kernel_w;
        const kt_span_t inside = kt_clip(left, op->in_w, columns, op->dilation_w);
        picture.codes = input + left * op->in_c + inside.begin * picture.column_bytes;
        (void)kt_put_picture(&picture, height, top, op->dilation_h, columns, inside, pairs);
        kt_put_outputs(op, group, pairs, weights, count, output);
        if (rows == 2) {
            kt_put_outputs(op, group, pairs, weights + 4 * height * op->kernel_w, count,
                           output + op->out_w * op->out_c);
        }
    }
}

/* Output rows start ... end - 1 of a group. */
static void kt_put_block(const kt_conv2d_t *op, const kt_group_t *group, int32_t start, int32_t end,
                         const int8_t *input, int8_t *output, uint32_t *scratch) {
    const int is_double = op->stride_h == 1 && op->dilation_h == 1 && (op->kernel_h & 1) != 0;
    uint32_t *pairs;
    int32_t rows;
    if (op->kernel_w == 1 && group->is_word) {
        for (int32_t y = start; y < end; y++) {
            kt_put_thin_row(op, group, y, input, output);
        }
        return;
    }
    pairs = kt_put_weights(op, group, 0, scratch);
    if (is_double) {
        pairs = kt_put_weights(op, group, 1, pairs);
    }
    for (int32_t y = start; y < end; y += rows) {
        rows = is_double && y + 1 < end ? 2 : 1;
        kt_put_rows(op, group, y, rows, input, output, scratch, pairs);
    }
}

KT_RARE static void kt_depthwise_conv2d_with(const kt_conv2d_t *op, const int8_t *input,
                                             int8_t *output, uint32_t *scratch) {
    const int32_t block = op->out_w < KT_BLOCK / 2 ? KT_BLOCK / op->out_w & ~1 : 2;
    for (int32_t start = 0; start < op->out_h; start += block) {
        const int32_t end = start + block < op->out_h ? start + block : op->out_h;
        for (int32_t channel = 0; channel < op->out_c; channel += 4) {
            kt_group_t group;
            kt_set_group(&group, op, channel);
            kt_put_block(op, &group, start, end, input, output, scratch);
        }
    }
}

KT_RARE static void kt_depthwise_conv2d_on_stack(const kt_conv2d_t *op, const int8_t *input,
                                                 int8_t *output) {
    uint32_t scratch[KT_STACK_WORDS];
    kt_depthwise_conv2d_with(op, input, output, scratch);
}

void kt_depthwise_conv2d(const kt_conv2d_t *op, const int8_t *input, int8_t *output,
                         void *scratch) {
    if (scratch != 0) {
        kt_depthwise_conv2d_with(op, input, output, (uint32_t *)scratch);
    } else {
        kt_depthwise_conv2d_on_stack(op, input, output);
    }
}

#endif
