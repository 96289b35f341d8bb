/*
 * CONV_2D with the DSP extension: four output positions at a time. The codes that each of them sees
 * are widened into a column of `scratch`, once for all output channels; then every word of weights
 * is loaded and widened once for sixteen products.
 *
 * Scratch, in bytes, or NULL where that is at most 4 * KT_STACK_WORDS; with quads = (kernel_h *
 * kernel_w * in_c / groups + 3) / 4: kt_conv2d      32 * quads, and 4 * quads more where in_c /
 * groups is no multiple of 4 kt_conv2d_1x1  32 * quads
 *
 * All that four positions see is read before any of them is written.
 */
#include "kt_kernels.h"

#if KT_ISA == KT_ISA_DSP

#include "kt_dsp.h"
#include "kt_window.h"

#if defined(__arm__)
#define KT_QUAD                                                                                    \
    "ldr r8, [r1], #4\n\t"                                                                         \
    "ldmia r3!, {r4, r5, r6, r7}\n\t"                                                              \
    "sxtb16 lr, r8, ror #8\n\t"                                                                    \
    "sxtb16 r8, r8\n\t"                                                                            \
    "smlad r9, r4, r8, r9\n\t"                                                                     \
    "smlad r10, r6, r8, r10\n\t"                                                                   \
    "smlad r9, r5, lr, r9\n\t"                                                                     \
    "smlad r10, r7, lr, r10\n\t"                                                                   \
    "ldmia r3!, {r4, r5, r6, r7}\n\t"                                                              \
    "smlad r11, r4, r8, r11\n\t"                                                                   \
    "smlad r12, r6, r8, r12\n\t"                                                                   \
    "smlad r11, r5, lr, r11\n\t"                                                                   \
    "smlad r12, r7, lr, r12\n\t"
__asm__(KT_BEGIN("kt_multiply_columns") "subs r0, r2, r1\n\t"
                                        "tst r0, #4\n\t"
                                        "bne 2f\n"
                                        "1:\n\t" KT_QUAD "2:\n\t" KT_QUAD "cmp r1, r2\n\t"
                                        "bne 1b\n\t"
                                        "mov r0, r3\n\t" KT_END("kt_multiply_columns"));
#undef KT_QUAD
#endif

/* Four columns, quad by quad: two words of each column. */
typedef struct {
    uint32_t *words;
    int32_t count;  /* codes of a column */
    int32_t pixels; /* columns in use */
} kt_columns_t;

/* One to three codes, followed by zeros. */
static uint32_t kt_read_tail(const int8_t *codes, int32_t count) {
    uint32_t word = 0;
    while (count > 0) {
        word = word << 8 | (uint8_t)codes[--count];
    }
    return word;
}

static inline void kt_put_quad(uint32_t *column, uint32_t codes) {
    column[0] = kt_widen_even(codes);
    column[1] = kt_widen_odd(codes);
}

/* Widens `quads` times four codes; `step` from four to four, 0 for the same ones again. */
static uint32_t *kt_put_codes(uint32_t *column, const int8_t *codes, int32_t step, int32_t quads) {
    for (; quads > 0; quads--, codes += step, column += 8) {
        kt_put_quad(column, kt_read_word(codes));
    }
    return column;
}

/* The same without widening them, and for any number of codes. */
static int8_t *kt_stage_codes(int8_t *stage, const int8_t *codes, int32_t step, int32_t count) {
    for (; count >= 4; count -= 4, codes += step, stage += 4) {
        kt_write_word(stage, kt_read_word(codes));
    }
    for (; count > 0; count--) {
        *stage++ = *codes++;
    }
    return stage;
}

/* The last one to three codes of four columns. */
static void kt_multiply_tail(kt_sums_t *sums, uint32_t codes, const uint32_t *columns) {
    const uint32_t even = kt_widen_even(codes), odd = kt_widen_odd(codes);
    sums->sum0 = kt_multiply_pairs(columns[0], even, sums->sum0);
    sums->sum0 = kt_multiply_pairs(columns[1], odd, sums->sum0);
    sums->sum1 = kt_multiply_pairs(columns[2], even, sums->sum1);
    sums->sum1 = kt_multiply_pairs(columns[3], odd, sums->sum1);
    sums->sum2 = kt_multiply_pairs(columns[4], even, sums->sum2);
    sums->sum2 = kt_multiply_pairs(columns[5], odd, sums->sum2);
    sums->sum3 = kt_multiply_pairs(columns[6], even, sums->sum3);
    sums->sum3 = kt_multiply_pairs(columns[7], odd, sums->sum3);
}

KT_RARE static uint32_t kt_rescale(uint32_t sum, int32_t multiplier, int32_t shift,
                                   int32_t zero_point) {
    return (uint32_t)(kt_requantize(sum, multiplier, (int)shift) + zero_point);
}

/* Codes of four positions, still to be kept within the activation's range. */
static inline kt_sums_t kt_scale_sums(kt_sums_t sums, int32_t multiplier, int32_t shift,
                                      int32_t zero_point) {
    if (kt_is_scalable(multiplier, shift)) {
        const int32_t factor = kt_factor(multiplier), right = -1 - shift;
        const int32_t offset = kt_scale_offset(zero_point);
        sums.sum0 = (uint32_t)kt_scaled(sums.sum0, factor, right, offset);
        sums.sum1 = (uint32_t)kt_scaled(sums.sum1, factor, right, offset);
        sums.sum2 = (uint32_t)kt_scaled(sums.sum2, factor, right, offset);
        sums.sum3 = (uint32_t)kt_scaled(sums.sum3, factor, right, offset);
    } else {
        sums.sum0 = kt_rescale(sums.sum0, multiplier, shift, zero_point);
        sums.sum1 = kt_rescale(sums.sum1, multiplier, shift, zero_point);
        sums.sum2 = kt_rescale(sums.sum2, multiplier, shift, zero_point);
        sums.sum3 = kt_rescale(sums.sum3, multiplier, shift, zero_point);
    }
    return sums;
}

/* Where a channel's codes go, from the first column's place on, and their range. A column that is
 * not in use writes to the first one's place, and before it. */
typedef struct {
    int32_t second, third, fourth;
    int32_t lowest, highest;
} kt_places_t;

static inline void kt_store_codes(const kt_places_t *places, kt_sums_t codes, int8_t *output) {
    const int32_t lowest = places->lowest, highest = places->highest;
    if (highest - lowest == 255) {
        output[places->fourth] = (int8_t)kt_saturate_code((int32_t)codes.sum3);
        output[places->third] = (int8_t)kt_saturate_code((int32_t)codes.sum2);
        output[places->second] = (int8_t)kt_saturate_code((int32_t)codes.sum1);
        output[0] = (int8_t)kt_saturate_code((int32_t)codes.sum0);
    } else {
        output[places->fourth] = (int8_t)kt_clamp_code((int32_t)codes.sum3, lowest, highest);
        output[places->third] = (int8_t)kt_clamp_code((int32_t)codes.sum2, lowest, highest);
        output[places->second] = (int8_t)kt_clamp_code((int32_t)codes.sum1, lowest, highest);
        output[0] = (int8_t)kt_clamp_code((int32_t)codes.sum0, lowest, highest);
    }
}

/* One output channel after the other, for all columns. */
static void kt_channels(const kt_conv2d_t *op, const kt_columns_t *columns, int32_t channel,
                        int32_t end, int8_t *output) {
    const int32_t count = columns->count, step = op->out_c, pixels = columns->pixels;
    const kt_places_t places = {pixels > 1 ? step : 0, pixels > 2 ? 2 * step : 0,
                                pixels > 3 ? 3 * step : 0, op->lowest, op->highest};
    const int32_t *const biases = op->bias, *const multipliers = op->multiplier;
    const int32_t zero_point = op->output_zero_point, mask = -op->per_channel;
    const int8_t *const shifts = op->shift, *weights = op->weights + channel * count;
    for (; channel < end; channel++) {
        const uint32_t bias = (uint32_t)biases[channel], *rest = columns->words;
        const int32_t index = channel & mask;
        const int8_t *tail = weights + (count & ~3);
        kt_sums_t sums = {bias, bias, bias, bias};
        if (tail != weights) {
            rest = kt_multiply_columns(&sums, weights, tail, rest);
        }
        weights += count;
        if (tail != weights) {
            kt_multiply_tail(&sums, kt_read_tail(tail, (int32_t)(weights - tail)), rest);
        }
        sums = kt_scale_sums(sums, multipliers[index], shifts[index], zero_point);
        kt_store_codes(&places, sums, output + channel);
    }
}

/* What is put into one column, and where. */
typedef struct {
    uint32_t *column;
    int8_t *stage; /* NULL where codes are widened at once */
} kt_target_t;

static void kt_put(kt_target_t *target, const int8_t *codes, int32_t step, int32_t count) {
    if (target->stage != 0) {
        target->stage = kt_stage_codes(target->stage, codes, step, count);
    } else {
        target->column = kt_put_codes(target->column, codes, step, count >> 2);
    }
}

/* The codes that one output position sees of one group. `input`: of the group's first channel. */
static void kt_put_window(const kt_conv2d_t *op, kt_target_t target, const int8_t *input,
                          int32_t top, int32_t left) {
    const uint32_t zeros = (uint8_t)op->input_zero_point * 0x01010101u;
    const int8_t *padding = (const int8_t *)&zeros;
    const int32_t depth = op->in_c / op->groups, column_step = op->dilation_w * op->in_c;
    const kt_span_t rows = kt_clip(top, op->in_h, op->kernel_h, op->dilation_h);
    const kt_span_t columns = kt_clip(left, op->in_w, op->kernel_w, op->dilation_w);
    const int32_t taps = columns.end - columns.begin;
    const int is_run = column_step == depth;
    const int32_t runs = is_run ? 1 : taps, run = is_run ? taps * depth : depth;
    const int32_t before = columns.begin * depth, after = (op->kernel_w - columns.end) * depth;
    const int32_t row_step = op->dilation_h * op->in_w * op->in_c;
    input += (top * op->in_w + left) * op->in_c + columns.begin * column_step;
    for (int32_t y = 0; y < op->kernel_h; y++, input += row_step) {
        const int8_t *codes = input;
        if (y < rows.begin || y >= rows.end) {
            kt_put(&target, padding, 0, op->kernel_w * depth);
            continue;
        }
        if (before != 0) {
            kt_put(&target, padding, 0, before);
        }
        for (int32_t i = 0; i < runs; i++, codes += column_step) {
            kt_put(&target, codes, 4, run);
        }
        if (after != 0) {
            kt_put(&target, padding, 0, after);
        }
    }
}

KT_RARE static void kt_conv2d_with(const kt_conv2d_t *op, const int8_t *input, int8_t *output,
                                   uint32_t *scratch) {
    const int32_t depth = op->in_c / op->groups, per_group = op->out_c / op->groups;
    const int32_t count = op->kernel_h * op->kernel_w * depth, quads = (count + 3) >> 2;
    const int32_t pixels = op->out_h * op->out_w;
    kt_columns_t columns = {scratch, count, 4};
    int8_t *stage = depth % 4 != 0 ? (int8_t *)(columns.words + 8 * quads) : 0;
    for (int32_t pixel = 0; pixel < pixels; pixel += 4, output += 4 * op->out_c) {
        columns.pixels = pixels - pixel < 4 ? pixels - pixel : 4;
        for (int32_t group = 0; group < op->groups; group++) {
            for (int32_t i = 0; i < columns.pixels; i++) {
                const int32_t y = (pixel + i) / op->out_w, x = (pixel + i) % op->out_w;
                kt_target_t target = {columns.words + 2 * i, stage};
                kt_put_window(op, target, input + group * depth, y * op->stride_h - op->pad_top,
                              x * op->stride_w - op->pad_left);
                if (stage != 0) {
                    (void)kt_put_codes(target.column, stage, 4, quads);
                }
            }
            kt_channels(op, &columns, group * per_group, (group + 1) * per_group, output);
        }
    }
}

KT_RARE static void kt_conv2d_on_stack(const kt_conv2d_t *op, const int8_t *input, int8_t *output) {
    uint32_t scratch[KT_STACK_WORDS];
    kt_conv2d_with(op, input, output, scratch);
}

void kt_conv2d(const kt_conv2d_t *op, const int8_t *input, int8_t *output, void *scratch) {
    if (scratch != 0) {
        kt_conv2d_with(op, input, output, (uint32_t *)scratch);
    } else {
        kt_conv2d_on_stack(op, input, output);
    }
}

KT_RARE static void kt_conv2d_1x1_with(const kt_conv2d_t *op, const int8_t *input, int8_t *output,
                                       uint32_t *scratch) {
    const int32_t count = op->in_c, whole = count & ~3, pixels = op->out_h * op->out_w;
    kt_columns_t columns = {scratch, count, 4};
    for (int32_t pixel = 0; pixel < pixels; pixel += 4, output += 4 * op->out_c) {
        columns.pixels = pixels - pixel < 4 ? pixels - pixel : 4;
        for (int32_t i = 0; i < columns.pixels; i++, input += count) {
            uint32_t *rest = kt_put_codes(columns.words + 2 * i, input, 4, whole >> 2);
            if (whole != count) {
                kt_put_quad(rest, kt_read_tail(input + whole, count - whole));
            }
        }
        kt_channels(op, &columns, 0, op->out_c, output);
    }
}

KT_RARE static void kt_conv2d_1x1_on_stack(const kt_conv2d_t *op, const int8_t *input,
                                           int8_t *output) {
    uint32_t scratch[KT_STACK_WORDS];
    kt_conv2d_1x1_with(op, input, output, scratch);
}

void kt_conv2d_1x1(const kt_conv2d_t *op, const int8_t *input, int8_t *output, void *scratch) {
    if (scratch != 0) {
        kt_conv2d_1x1_with(op, input, output, (uint32_t *)scratch);
    } else {
        kt_conv2d_1x1_on_stack(op, input, output);
    }
}

#endif
