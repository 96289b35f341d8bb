#include "kt_kernels.h"
#include "kt_requantize.h"
#include "kt_window.h"

/* One output: the window's first element inside, its size, and the steps within it. */
typedef struct {
    const int8_t *input;
    int32_t rows, columns, row_step, column_step;
} kt_window_t;

typedef int32_t (*kt_pooling_t)(const kt_window_t *window);

static int32_t kt_average(const kt_window_t *window) {
    const int8_t *row = window->input;
    const int32_t count = window->rows * window->columns, step = window->column_step;
    int32_t sum = 0;
    for (int32_t y = window->rows; y > 0; y--, row += window->row_step) {
        const int8_t *code = row;
        for (int32_t x = window->columns; x > 0; x--, code += step) {
            sum += *code;
        }
    }
    return (sum + (sum > 0 ? count / 2 : -(count / 2))) / count;
}

static int32_t kt_largest(const kt_window_t *window) {
    const int8_t *row = window->input;
    const int32_t step = window->column_step;
    int32_t largest = INT8_MIN;
    for (int32_t y = window->rows; y > 0; y--, row += window->row_step) {
        const int8_t *code = row;
        for (int32_t x = window->columns; x > 0; x--, code += step) {
            largest = *code > largest ? *code : largest;
        }
    }
    return largest;
}

static void kt_pool(const kt_pool2d_t *op, const int8_t *input, int8_t *output,
                    kt_pooling_t pooling) {
    kt_window_t window;
    window.column_step = op->channels;
    window.row_step = op->in_w * op->channels;
    for (int32_t y = 0; y < op->out_h; y++) {
        const int32_t top = y * op->stride_h - op->pad_top;
        const kt_span_t rows = kt_clip(top, op->in_h, op->kernel_h, 1);
        window.rows = rows.end - rows.begin;
        for (int32_t x = 0; x < op->out_w; x++) {
            const int32_t left = x * op->stride_w - op->pad_left;
            const kt_span_t columns = kt_clip(left, op->in_w, op->kernel_w, 1);
            window.columns = columns.end - columns.begin;
            window.input = input + (top + rows.begin) * window.row_step +
                           (left + columns.begin) * window.column_step;
            for (int32_t channel = op->channels; channel > 0; channel--) {
                *output++ = (int8_t)kt_clamp_code(pooling(&window), op->lowest, op->highest);
                window.input++;
            }
        }
    }
}

void kt_average_pool2d(const kt_pool2d_t *op, const int8_t *input, int8_t *output) {
    kt_pool(op, input, output, kt_average);
}

void kt_max_pool2d(const kt_pool2d_t *op, const int8_t *input, int8_t *output) {
    kt_pool(op, input, output, kt_largest);
}
