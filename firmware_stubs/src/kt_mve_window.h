/*
 * What an output position of CONV_2D or DEPTHWISE_CONV_2D sees, brought together: (kernel_h,
 * kernel_w, channels) codes, those outside the input with its zero point. Private to the kernels.
 */
#ifndef KT_MVE_WINDOW_H
#define KT_MVE_WINDOW_H

#include "kt_kernels.h"
#include "kt_mve.h"
#include "kt_window.h"

typedef struct {
    const kt_conv2d_t *op;
    int32_t depth;  /* input channels, from the first on */
    int32_t repeat; /* how often each stands in the window */
} kt_window_t;

#define KT_WINDOW_OF(op, depth, repeat) {(op), (depth), (repeat)}

static int8_t *kt_repeat_codes(int8_t *to, const int8_t *from, int32_t count, int32_t repeat) {
    if (repeat == 1) {
        return kt_copy_codes(to, from, count);
    }
    for (; count > 0; count--) {
        to = kt_fill_codes(to, *from++, repeat);
    }
    return to;
}

/* `pixel`: the output position, row by row. */
static void kt_put_window(const kt_window_t *window, int32_t pixel, const int8_t *input,
                          int8_t *to) {
    const kt_conv2d_t *op = window->op;
    const int32_t depth = window->depth, repeat = window->repeat, codes_of_tap = depth * repeat;
    const int32_t top = pixel / op->out_w * op->stride_h - op->pad_top;
    const int32_t left = pixel % op->out_w * op->stride_w - op->pad_left;
    const int32_t column_step = op->dilation_w * op->in_c, row_step = op->in_w * op->in_c;
    const kt_span_t rows = kt_clip(top, op->in_h, op->kernel_h, op->dilation_h);
    const kt_span_t columns = kt_clip(left, op->in_w, op->kernel_w, op->dilation_w);
    const int32_t taps = columns.end - columns.begin, is_run = column_step == depth;
    const int32_t runs = is_run ? 1 : taps, run = is_run ? taps * depth : depth;
    const int32_t padding = op->input_zero_point;
    input += top * row_step + left * op->in_c + columns.begin * column_step;
    for (int32_t y = 0; y < op->kernel_h; y++, input += op->dilation_h * row_step) {
        const int8_t *codes = input;
        if (y < rows.begin || y >= rows.end) {
            to = kt_fill_codes(to, padding, op->kernel_w * codes_of_tap);
            continue;
        }
        to = kt_fill_codes(to, padding, columns.begin * codes_of_tap);
        for (int32_t i = 0; i < runs; i++, codes += column_step) {
            to = kt_repeat_codes(to, codes, run, repeat);
        }
        to = kt_fill_codes(to, padding, (op->kernel_w - columns.end) * codes_of_tap);
    }
}

#endif
