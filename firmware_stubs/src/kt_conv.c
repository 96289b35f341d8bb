#include <stddef.h>

#include "kt_dot.h"
#include "kt_kernels.h"
#include "kt_requantize.h"
#include "kt_window.h"

#if KT_ISA == KT_ISA_PORTABLE /* the other sets have files of their own */

/* The part of a kernel that meets the input at one output position: `rows` rows of `runs` runs of
 * neighbouring codes. A row is one run, unless the kernel is dilated or grouped. */
typedef struct {
    const int8_t *input;        /* of the first tap inside */
    int32_t row_step, run_step; /* from row to row and run to run of the input */
    int32_t rows, runs, run;
    int32_t first;           /* weights before the first tap inside */
    int32_t inside, outside; /* weights of a kernel row that meet the input, and that do not */
    int32_t filter, depth;   /* weights of an output channel; of one of its taps */
} kt_taps_t;

static kt_pair_t kt_products(const kt_taps_t *taps, const int8_t *weights, int32_t apart) {
    const int8_t *row = taps->input;
    kt_pair_t sum = {0, 0};
    weights += taps->first;
    for (int32_t y = taps->rows; y > 0; y--) {
        const int8_t *x = row;
        for (int32_t i = taps->runs; i > 0; i--) {
            sum = kt_dot(sum, x, weights, apart, taps->run);
            x += taps->run_step;
            weights += taps->run;
        }
        row += taps->row_step;
        weights += taps->outside;
    }
    return sum;
}

/* The sum of one channel's weights that meet no input. */
static int32_t kt_sum_outside(const kt_taps_t *taps, const int8_t *weights) {
    const int8_t *const end = weights + taps->filter;
    const int8_t *stop = taps->rows == 0 ? end : weights + taps->first;
    int32_t sum = 0;
    for (int32_t y = taps->rows;; y--) {
        for (; stop - weights >= 4; weights += 4) {
            sum += weights[0] + weights[1] + weights[2] + weights[3];
        }
        while (weights < stop) {
            sum += *weights++;
        }
        if (y == 0) {
            return sum;
        }
        weights += taps->inside;
        stop = y == 1 ? end : weights + taps->outside;
    }
}

/* Output channels channel ... end - 1 of one position, all of one group, two at a time. */
static void kt_channels(const kt_conv2d_t *op, const kt_taps_t *taps, int32_t channel, int32_t end,
                        int8_t *output) {
    const kt_output_t target = KT_OUTPUT_OF(op);
    const int32_t *const bias = op->bias;
    const int32_t filter = taps->filter;
    const int32_t zero_point = taps->rows * taps->inside < filter ? op->input_zero_point : 0;
    const int8_t *weights = op->weights + channel * filter;
    for (; channel < end; channel += 2) {
        /* The last of an odd number is computed twice rather than by code of its own. */
        const int32_t other = channel + 1 < end ? channel + 1 : channel;
        const int32_t apart = channel + 1 < end ? filter : 0;
        kt_pair_t sum = kt_products(taps, weights, apart);
        if (zero_point != 0) {
            sum.first += zero_point * kt_sum_outside(taps, weights);
            sum.second += zero_point * kt_sum_outside(taps, weights + apart);
        }
        output[channel] =
            kt_to_code(target, channel, (uint32_t)bias[channel] + (uint32_t)sum.first);
        output[other] = kt_to_code(target, other, (uint32_t)bias[other] + (uint32_t)sum.second);
        weights += 2 * filter;
    }
}

/* Brings the taps to one output position. */
static void kt_place(const kt_conv2d_t *op, kt_taps_t *taps, kt_span_t rows, kt_span_t columns,
                     const int8_t *input) {
    const int32_t depth = taps->depth, count = columns.end - columns.begin;
    taps->input = input;
    taps->rows = count > 0 ? rows.end - rows.begin : 0;
    taps->inside = count * depth;
    taps->outside = (op->kernel_w - count) * depth;
    taps->first = (rows.begin * op->kernel_w + columns.begin) * depth;
    if (op->dilation_w == 1 && op->groups == 1) {
        taps->runs = 1;
        taps->run = taps->inside;
    } else {
        taps->runs = count;
        taps->run = depth;
    }
}

void kt_conv2d(const kt_conv2d_t *op, const int8_t *input, int8_t *output, void *scratch) {
    const int32_t row_bytes = op->in_w * op->in_c, depth = op->in_c / op->groups;
    const int32_t per_group = op->out_c / op->groups;
    kt_taps_t taps;
    (void)scratch;
    taps.depth = depth;
    taps.row_step = op->dilation_h * row_bytes;
    taps.run_step = op->dilation_w * op->in_c;
    taps.filter = op->kernel_h * op->kernel_w * depth;
    for (int32_t y = 0; y < op->out_h; y++) {
        const int32_t top = y * op->stride_h - op->pad_top;
        const kt_span_t rows = kt_clip(top, op->in_h, op->kernel_h, op->dilation_h);
        for (int32_t x = 0; x < op->out_w; x++) {
            const int32_t left = x * op->stride_w - op->pad_left;
            const kt_span_t columns = kt_clip(left, op->in_w, op->kernel_w, op->dilation_w);
            kt_place(op, &taps, rows, columns,
                     input + (top + rows.begin * op->dilation_h) * row_bytes +
                         (left + columns.begin * op->dilation_w) * op->in_c);
            for (int32_t channel = 0; channel < op->out_c; channel += per_group) {
                kt_channels(op, &taps, channel, channel + per_group, output);
                taps.input += depth;
            }
            output += op->out_c;
        }
    }
}

void kt_conv2d_1x1(const kt_conv2d_t *op, const int8_t *input, int8_t *output, void *scratch) {
    kt_fully_connected_t rows;
    rows.weights = op->weights;
    rows.bias = op->bias;
    rows.multiplier = op->multiplier;
    rows.shift = op->shift;
    rows.rows = (uint32_t)op->out_h * op->out_w;
    rows.in_c = op->in_c;
    rows.out_c = op->out_c;
    rows.per_channel = op->per_channel;
    rows.output_zero_point = op->output_zero_point;
    rows.lowest = op->lowest;
    rows.highest = op->highest;
    kt_fully_connected(&rows, input, output, scratch);
}

#endif
