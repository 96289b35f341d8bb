/*
 * DEPTHWISE_CONV_2D with the DSP extension: four channels at a time, and two taps of a column of the
 * kernel in one instruction. For a strip of the output, each column of the input that it sees is
 * brought into pairs of codes above each other, once for all windows of the strip.
 *
 * An odd kernel height leaves half a pair over. Where the next output row lies one row below, it
 * reads the same pairs with the weights moved down by one tap: two output rows for one strip.
 *
 * Scratch, in bytes, with pairs = (kernel_h + 1) / 2 and span = 8, or 1 where dilation_w > 1:
 *     16 * pairs * (2 * kernel_w + (min(span, out_w) - 1) * stride_w + kernel_w)
 *
 * Output rows are written in order, one or two at a time, and then no input row above the first of
 * the next window is read any more.
 */
#include "kt_kernels.h"

#if KT_ISA == KT_ISA_DSP

#include "kt_dsp.h"
#include "kt_window.h"

enum { KT_SPAN = 8 };

/* Four channels, or the last one to three of them. */
typedef struct {
    int32_t channel, count;
    int32_t offset[4]; /* of their input channels */
    int is_word;       /* the four input channels are neighbours */
    int is_scalable;   /* all of them */
    uint32_t bias[4];
    int32_t factor[4], right[4];
} kt_group_t;

static void kt_set_group(kt_group_t *group, const kt_conv2d_t *op, int32_t channel) {
    const int32_t left = op->out_c - channel;
    group->channel = channel;
    group->count = left < 4 ? left : 4;
    group->is_word = op->groups == 1 && left >= 4;
    group->is_scalable = 1;
    for (int32_t i = 0; i < 4; i++) {
        const int32_t own = channel + (i < group->count ? i : 0);
        const int32_t index = op->per_channel ? own : 0;
        const int32_t multiplier = op->multiplier[index], shift = op->shift[index];
        group->offset[i] = own / op->groups;
        group->bias[i] = (uint32_t)op->bias[own];
        group->factor[i] = kt_factor(multiplier);
        group->right[i] = -1 - shift;
        group->is_scalable &= kt_is_scalable(multiplier, shift);
    }
}

/* Two taps of four channels: a pair for each. */
static inline void kt_put_pairs(uint32_t *pairs, uint32_t upper, uint32_t lower) {
    const uint32_t low = kt_join_low(upper, lower), high = kt_join_high(upper, lower);
    pairs[0] = kt_widen_even(low);
    pairs[1] = kt_widen_odd(low);
    pairs[2] = kt_widen_even(high);
    pairs[3] = kt_widen_odd(high);
}

static uint32_t kt_read_bytes(const int8_t *codes, const int32_t offset[4]) {
    return (uint32_t)(uint8_t)codes[offset[0]] | (uint32_t)(uint8_t)codes[offset[1]] << 8 |
           (uint32_t)(uint8_t)codes[offset[2]] << 16 | (uint32_t)(uint8_t)codes[offset[3]] << 24;
}

/* One tap of a group's weights. */
static inline uint32_t kt_read_weights(const kt_group_t *group, const int8_t *weights) {
    static const int32_t offsets[3][4] = {{0, 0, 0, 0}, {0, 1, 1, 1}, {0, 1, 2, 2}};
    return group->count == 4 ? kt_read_word(weights)
                             : kt_read_bytes(weights, offsets[group->count - 1]);
}

/* Weights in the order in which the windows of a strip meet them, moved down by `down` taps. */
static uint32_t *kt_put_weights(const kt_conv2d_t *op, const kt_group_t *group, int32_t down,
                                uint32_t *pairs) {
    const int32_t row = op->kernel_w * op->out_c;
    const int8_t *column = op->weights + group->channel;
    for (int32_t x = op->kernel_w; x > 0; x--, column += op->out_c) {
        const int8_t *weights = column;
        int32_t y = op->kernel_h;
        if (down != 0) {
            kt_put_pairs(pairs, 0, kt_read_weights(group, weights));
            weights += row, pairs += 4, y--;
        }
        for (; y >= 2; y -= 2, weights += 2 * row, pairs += 4) {
            kt_put_pairs(pairs, kt_read_weights(group, weights),
                         kt_read_weights(group, weights + row));
        }
        if (y != 0) {
            kt_put_pairs(pairs, kt_read_weights(group, weights), 0);
            pairs += 4;
        }
    }
    return pairs;
}

/* One row of codes, from column to column of a strip. */
typedef struct {
    const int8_t *codes;
    int32_t step;          /* 0: the same again */
    const int32_t *offset; /* of the four channels; NULL where they are a word */
} kt_row_t;

static inline uint32_t kt_read_row(const kt_row_t *row) {
    return row->offset != 0 ? kt_read_bytes(row->codes, row->offset) : kt_read_word(row->codes);
}

/* `count` columns' pairs of two rows, `step` words apart. */
static uint32_t *kt_put_columns(uint32_t *pairs, int32_t step, kt_row_t upper, kt_row_t lower,
                                int32_t count) {
    for (; count > 0; count--, pairs += step) {
        kt_put_pairs(pairs, kt_read_row(&upper), kt_read_row(&lower));
        upper.codes += upper.step;
        lower.codes += lower.step;
    }
    return pairs;
}

/* Where a strip lies: input row and column of its first tap, and its columns. */
typedef struct {
    int32_t top, left, columns, column_step;
    kt_span_t inside; /* columns inside the input */
} kt_strip_t;

/* All pairs of a strip, column by column. */
static void kt_put_strip(const kt_conv2d_t *op, const kt_group_t *group, const kt_strip_t *strip,
                         const int8_t *input, uint32_t *pairs) {
    const uint32_t zeros = (uint8_t)op->input_zero_point * 0x01010101u;
    const kt_row_t padding = {(const int8_t *)&zeros, 0, 0};
    const int32_t height = (op->kernel_h + 1) / 2, row_bytes = op->in_w * op->in_c;
    const int32_t first = strip->left + strip->inside.begin * strip->column_step;
    const kt_span_t inside = strip->inside;
    kt_row_t rows[2];
    input += first * op->in_c + (group->is_word ? group->channel : 0);
    for (int32_t i = 0, y = strip->top; i < height; i++, pairs += 4) {
        uint32_t *next = kt_put_columns(pairs, 4 * height, padding, padding, inside.begin);
        for (int32_t k = 0; k < 2; k++, y += op->dilation_h) {
            rows[k] = padding;
            if (y >= 0 && y < op->in_h) {
                rows[k].codes = input + y * row_bytes;
                rows[k].step = strip->column_step * op->in_c;
                rows[k].offset = group->is_word ? 0 : group->offset;
            }
        }
        next = kt_put_columns(next, 4 * height, rows[0], rows[1], inside.end - inside.begin);
        (void)kt_put_columns(next, 4 * height, padding, padding, strip->columns - inside.end);
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
static void kt_store_any(const kt_conv2d_t *op, const kt_group_t *group, kt_sums_t sums,
                         int8_t *output) {
    const uint32_t sum[4] = {sums.sum0, sums.sum1, sums.sum2, sums.sum3};
    for (int32_t i = 0; i < group->count; i++) {
        const int32_t index = op->per_channel ? group->channel + i : 0;
        const int32_t code = kt_requantize(sum[i], op->multiplier[index], op->shift[index]);
        output[i] =
            (int8_t)kt_clamp_code(code + op->output_zero_point, op->lowest, op->highest);
    }
}

/* `count` neighbouring outputs of a strip. */
static void kt_put_outputs(const kt_conv2d_t *op, const kt_group_t *group, const uint32_t *pairs,
                           const uint32_t *weights, int32_t count, int8_t *output) {
    const int32_t height = (op->kernel_h + 1) / 2, steps = height * op->kernel_w;
    const int32_t step = 4 * height * op->stride_w;
    const int is_plain =
        group->is_scalable && group->count == 4 && op->highest - op->lowest == 255;
    for (; count > 0; count--, pairs += step, output += op->out_c) {
        kt_sums_t sums = {group->bias[0], group->bias[1], group->bias[2], group->bias[3]};
        kt_multiply_steps(&sums, pairs, weights, steps);
        if (is_plain) {
            sums = kt_scale_sums(op, group, sums);
            output[0] = (int8_t)kt_saturate_code((int32_t)sums.sum0);
            output[1] = (int8_t)kt_saturate_code((int32_t)sums.sum1);
            output[2] = (int8_t)kt_saturate_code((int32_t)sums.sum2);
            output[3] = (int8_t)kt_saturate_code((int32_t)sums.sum3);
        } else {
            kt_store_any(op, group, sums, output);
        }
    }
}

/* One or two output rows, from row `y`, of a group. */
static void kt_put_rows(const kt_conv2d_t *op, const kt_group_t *group, int32_t y, int32_t rows,
                        const int8_t *input, int8_t *output, uint32_t *scratch) {
    const int32_t words = 4 * ((op->kernel_h + 1) / 2) * op->kernel_w;
    const int32_t span = op->dilation_w == 1 ? KT_SPAN : 1;
    uint32_t *pairs = kt_put_weights(op, group, 0, scratch);
    kt_strip_t strip;
    strip.top = y * op->stride_h - op->pad_top;
    strip.column_step = op->dilation_w;
    if (rows == 2) {
        pairs = kt_put_weights(op, group, 1, pairs);
    }
    for (int32_t x = 0; x < op->out_w; x += span) {
        const int32_t count = op->out_w - x < span ? op->out_w - x : span;
        strip.left = x * op->stride_w - op->pad_left;
        strip.columns = (count - 1) * op->stride_w + op->kernel_w;
        strip.inside = kt_clip(strip.left, op->in_w, strip.columns, strip.column_step);
        kt_put_strip(op, group, &strip, input, pairs);
        for (int32_t row = 0; row < rows; row++) {
            kt_put_outputs(op, group, pairs, scratch + row * words, count,
                           output + ((y + row) * op->out_w + x) * op->out_c);
        }
    }
}

void kt_depthwise_conv2d(const kt_conv2d_t *op, const int8_t *input, int8_t *output,
                         void *scratch) {
    const int is_double = op->stride_h == 1 && op->dilation_h == 1 && (op->kernel_h & 1);
    int32_t rows;
    for (int32_t y = 0; y < op->out_h; y += rows) {
        rows = is_double && y + 1 < op->out_h ? 2 : 1;
        for (int32_t channel = 0; channel < op->out_c; channel += 4) {
            kt_group_t group;
            kt_set_group(&group, op, channel);
            kt_put_rows(op, &group, y, rows, input, output + channel, (uint32_t *)scratch);
        }
    }
}

#endif
