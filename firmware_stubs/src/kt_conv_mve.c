/*
 * CONV_2D with Helium: the codes that one output position sees of one group are brought together in
 * `scratch`, then multiplied with four output channels' weights at a time.
 *
 * Scratch, in bytes: kernel_h * kernel_w * in_c / groups, rounded up to 4.
 */
#include "kt_kernels.h"

#if KT_ISA == KT_ISA_MVE

#include "kt_mve.h"
#include "kt_window.h"

/* `input`: of the group's first channel. */
static void kt_put_window(const kt_conv2d_t *op, int8_t *window, const int8_t *input, int32_t top,
                          int32_t left) {
    const int32_t depth = op->in_c / op->groups, column_step = op->dilation_w * op->in_c;
    const kt_span_t rows = kt_clip(top, op->in_h, op->kernel_h, op->dilation_h);
    const kt_span_t columns = kt_clip(left, op->in_w, op->kernel_w, op->dilation_w);
    const int32_t taps = columns.end - columns.begin, row_step = op->in_w * op->in_c;
    const int is_run = column_step == depth;
    const int32_t runs = is_run ? 1 : taps, run = is_run ? taps * depth : depth;
    const int32_t padding = op->input_zero_point;
    input += top * row_step + left * op->in_c + columns.begin * column_step;
    for (int32_t y = 0; y < op->kernel_h; y++, input += op->dilation_h * row_step) {
        const int8_t *codes = input;
        if (y < rows.begin || y >= rows.end) {
            window = kt_fill_codes(window, padding, op->kernel_w * depth);
            continue;
        }
        window = kt_fill_codes(window, padding, columns.begin * depth);
        for (int32_t i = 0; i < runs; i++, codes += column_step) {
            window = kt_copy_codes(window, codes, run);
        }
        window = kt_fill_codes(window, padding, (op->kernel_w - columns.end) * depth);
    }
}

void kt_conv2d(const kt_conv2d_t *op, const int8_t *input, int8_t *output, void *scratch) {
    const kt_scaling_t scaling = KT_SCALING_OF(op);
    const int32_t depth = op->in_c / op->groups, per_group = op->out_c / op->groups;
    const int32_t count = op->kernel_h * op->kernel_w * depth;
    int8_t *window = (int8_t *)scratch;
    for (int32_t y = 0; y < op->out_h; y++) {
        const int32_t top = y * op->stride_h - op->pad_top;
        for (int32_t x = 0; x < op->out_w; x++, output += op->out_c) {
            const int32_t left = x * op->stride_w - op->pad_left;
            for (int32_t group = 0; group < op->groups; group++) {
                kt_put_window(op, window, input + group * depth, top, left);
                kt_put_channels(&scaling, op->weights, window, count, group * per_group,
                                (group + 1) * per_group, output);
            }
        }
    }
}

#endif
