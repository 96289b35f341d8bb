#include "kt_kernels.h"
#include "kt_requantize.h"
#include "kt_window.h"

/* The windows of one to four channels at one output position. Where fewer than four are left, the
 * last one is taken several times: `lane` are the offsets of the second, third and fourth. */
typedef struct {
    const int8_t *input; /* first element inside */
    int32_t rows, columns, row_step, column_step;
    int32_t lane[3], channels;
} kt_windows_t;

typedef struct {
    int32_t lane[4];
} kt_four_t;

typedef kt_four_t (*kt_pooling_t)(const kt_windows_t *windows);

static kt_four_t kt_average(const kt_windows_t *windows) {
    const int8_t *row = windows->input;
    const int32_t count = windows->rows * windows->columns, step = windows->column_step;
    const int32_t lane1 = windows->lane[0], lane2 = windows->lane[1], lane3 = windows->lane[2];
    kt_four_t four = {{0, 0, 0, 0}};
    int32_t sum0 = 0, sum1 = 0, sum2 = 0, sum3 = 0;
    for (int32_t y = windows->rows; y > 0; y--, row += windows->row_step) {
        const int8_t *code = row;
        for (int32_t x = windows->columns; x > 0; x--, code += step) {
            sum0 += code[0];
            sum1 += code[lane1];
            sum2 += code[lane2];
            sum3 += code[lane3];
        }
    }
    four.lane[0] = sum0;
    four.lane[1] = sum1;
    four.lane[2] = sum2;
    four.lane[3] = sum3;
    for (int32_t i = 0; i < windows->channels; i++) {
        const int32_t half = four.lane[i] > 0 ? count / 2 : -(count / 2);
        four.lane[i] = (four.lane[i] + half) / count;
    }
    return four;
}

static inline int32_t kt_larger(int32_t a, int32_t b) {
    return a > b ? a : b;
}

static kt_four_t kt_largest(const kt_windows_t *windows) {
    const int8_t *row = windows->input;
    const int32_t lane1 = windows->lane[0], lane2 = windows->lane[1], lane3 = windows->lane[2];
    kt_four_t four;
    int32_t most0 = INT8_MIN, most1 = INT8_MIN, most2 = INT8_MIN, most3 = INT8_MIN;
    for (int32_t y = windows->rows; y > 0; y--, row += windows->row_step) {
        const int8_t *code = row;
        for (int32_t x = windows->columns; x > 0; x--, code += windows->column_step) {
            most0 = kt_larger(code[0], most0);
            most1 = kt_larger(code[lane1], most1);
            most2 = kt_larger(code[lane2], most2);
            most3 = kt_larger(code[lane3], most3);
        }
    }
    four.lane[0] = most0;
    four.lane[1] = most1;
    four.lane[2] = most2;
    four.lane[3] = most3;
    return four;
}

/* All channels of one output position. */
static void kt_channels(const kt_pool2d_t *op, kt_windows_t *windows, int8_t *output,
                        kt_pooling_t pooling) {
    const int32_t lowest = op->lowest, highest = op->highest;
    for (int32_t left = op->channels; left > 0; left -= 4) {
        const int32_t count = left < 4 ? left : 4;
        windows->channels = count;
        for (int32_t i = 1; i < 4; i++) {
            windows->lane[i - 1] = i < count ? i : count - 1;
        }
        const kt_four_t four = pooling(windows);
        for (int32_t i = 0; i < count; i++) {
            *output++ = (int8_t)kt_clamp_code(four.lane[i], lowest, highest);
        }
        windows->input += 4;
    }
}

static void kt_pool(const kt_pool2d_t *op, const int8_t *input, int8_t *output,
                    kt_pooling_t pooling) {
    kt_windows_t windows;
    windows.column_step = op->channels;
    windows.row_step = op->in_w * op->channels;
    for (int32_t y = 0; y < op->out_h; y++) {
        const int32_t top = y * op->stride_h - op->pad_top;
        const kt_span_t rows = kt_clip(top, op->in_h, op->kernel_h, 1);
        windows.rows = rows.end - rows.begin;
        for (int32_t x = 0; x < op->out_w; x++) {
            const int32_t left = x * op->stride_w - op->pad_left;
            const kt_span_t columns = kt_clip(left, op->in_w, op->kernel_w, 1);
            windows.columns = columns.end - columns.begin;
            windows.input = input + (top + rows.begin) * windows.row_step +
                            (left + columns.begin) * windows.column_step;
            kt_channels(op, &windows, output, pooling);
            output += op->channels;
        }
    }
}

void kt_average_pool2d(const kt_pool2d_t *op, const int8_t *input, int8_t *output) {
    kt_pool(op, input, output, kt_average);
}

void kt_max_pool2d(const kt_pool2d_t *op, const int8_t *input, int8_t *output) {
    kt_pool(op, input, output, kt_largest);
}
