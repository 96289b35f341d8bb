#include "kt_kernels.h"
#include "kt_requantize.h"

/* Taps of one output position along one axis: `tap` is the first, and the input index of tap `t` is
 * (place - t) / stride, for taps `stride` apart. */
typedef struct {
    int32_t first, end, input;
} kt_reach_t;

static kt_reach_t kt_reach(int32_t place, int32_t stride, int32_t kernel, int32_t size) {
    kt_reach_t reach;
    const int32_t last = size - 1;
    reach.first = place % stride;
    reach.input = place / stride;
    if (reach.input > last) {
        reach.first += (reach.input - last) * stride;
        reach.input = last;
    }
    reach.end = place + 1 < kernel ? place + 1 : kernel;
    return reach;
}

/* One output channel at one position; `weights` are the channel's. */
static uint32_t kt_sum(const kt_conv2d_t *op, kt_reach_t rows, kt_reach_t columns,
                       const int8_t *weights, const int8_t *input) {
    const int32_t zero_point = op->input_zero_point;
    uint32_t sum = 0;
    for (int32_t tap_y = rows.first; tap_y < rows.end; tap_y += op->stride_h) {
        const int8_t *codes = input + (rows.input * op->in_w + columns.input) * op->in_c;
        for (int32_t tap_x = columns.first; tap_x < columns.end; tap_x += op->stride_w) {
            const int8_t *tap = weights + (tap_y * op->kernel_w + tap_x) * op->in_c;
            for (int32_t channel = 0; channel < op->in_c; channel++) {
                sum += (uint32_t)((codes[channel] - zero_point) * tap[channel]);
            }
            codes -= op->in_c;
        }
        rows.input--;
    }
    return sum;
}

void kt_transpose_conv(const kt_conv2d_t *op, const int8_t *input, int8_t *output, void *scratch) {
    const int32_t filter = op->kernel_h * op->kernel_w * op->in_c;
    const kt_output_t target = KT_OUTPUT_OF(op);
    (void)scratch;
    for (int32_t y = 0; y < op->out_h; y++) {
        const kt_reach_t rows = kt_reach(y + op->pad_top, op->stride_h, op->kernel_h, op->in_h);
        for (int32_t x = 0; x < op->out_w; x++) {
            const kt_reach_t columns =
                kt_reach(x + op->pad_left, op->stride_w, op->kernel_w, op->in_w);
            const int8_t *weights = op->weights;
            for (int32_t channel = 0; channel < op->out_c; channel++, weights += filter) {
                const uint32_t sum = kt_sum(op, rows, columns, weights, input);
                *output++ = kt_to_code(target, channel, (uint32_t)op->bias[channel] + sum);
            }
        }
    }
}
