#include "kt_kernels.h"
#include "kt_requantize.h"
#include "kt_window.h"

/* One output position: the span of taps inside, and the input of tap 0, which may lie outside. */
typedef struct {
    kt_span_t rows, columns;
    const int8_t *input;
    int32_t row_step, column_step; /* from tap to tap of the input */
} kt_place_t;

static void kt_store(const kt_conv2d_t *op, int32_t channel, uint32_t sum, int8_t *output) {
    const int32_t index = op->per_channel ? channel : 0;
    const int32_t value = kt_requantize(sum, op->multiplier[index], op->shift[index]);
    output[channel] = (int8_t)kt_clamp_code(value + op->output_zero_point, op->lowest, op->highest);
}

/* One output channel, which reads the input at `place` + `offset`. */
static void kt_one(const kt_conv2d_t *op, const kt_place_t *place, int32_t channel, int32_t offset,
                   int8_t *output) {
    const int8_t *weights = op->weights + channel, *row = place->input + offset;
    uint32_t sum = (uint32_t)op->bias[channel];
    for (int32_t y = 0; y < op->kernel_h; y++, row += place->row_step) {
        const int is_row_inside = y >= place->rows.begin && y < place->rows.end;
        const int8_t *code = row;
        for (int32_t x = 0; x < op->kernel_w; x++, code += place->column_step) {
            const int is_inside =
                is_row_inside && x >= place->columns.begin && x < place->columns.end;
            sum += (uint32_t)((is_inside ? *code : op->input_zero_point) * *weights);
            weights += op->out_c;
        }
    }
    kt_store(op, channel, sum, output);
}

/* Four output channels; `step` is 1 where each reads an input channel of its own, else 0. */
static void kt_four(const kt_conv2d_t *op, const kt_place_t *place, int32_t channel, int32_t offset,
                    int32_t step, int8_t *output) {
    const int8_t zeros[4] = {op->input_zero_point, op->input_zero_point, op->input_zero_point,
                             op->input_zero_point};
    const int8_t *weights = op->weights + channel, *row = place->input + offset;
    const uint32_t width = (uint32_t)(place->columns.end - place->columns.begin);
    uint32_t sum0 = (uint32_t)op->bias[channel], sum1 = (uint32_t)op->bias[channel + 1];
    uint32_t sum2 = (uint32_t)op->bias[channel + 2], sum3 = (uint32_t)op->bias[channel + 3];
    for (int32_t y = 0; y < op->kernel_h; y++, row += place->row_step) {
        const uint32_t inside = y >= place->rows.begin && y < place->rows.end ? width : 0;
        const int8_t *next = row;
        for (int32_t x = 0; x < op->kernel_w; x++, next += place->column_step) {
            const int8_t *code = (uint32_t)(x - place->columns.begin) < inside ? next : zeros;
            sum0 += (uint32_t)(code[0] * weights[0]);
            sum1 += (uint32_t)(code[step] * weights[1]);
            sum2 += (uint32_t)(code[2 * step] * weights[2]);
            sum3 += (uint32_t)(code[3 * step] * weights[3]);
            weights += op->out_c;
        }
    }
    kt_store(op, channel, sum0, output);
    kt_store(op, channel + 1, sum1, output);
    kt_store(op, channel + 2, sum2, output);
    kt_store(op, channel + 3, sum3, output);
}

static void kt_channels(const kt_conv2d_t *op, const kt_place_t *place, int8_t *output) {
    const int32_t multiplier = op->groups;
    int32_t channel = 0;
    if (multiplier == 1 || multiplier % 4 == 0) {
        const int32_t step = multiplier == 1;
        for (; channel + 4 <= op->out_c; channel += 4) {
            kt_four(op, place, channel, channel / multiplier, step, output);
        }
    }
    for (; channel < op->out_c; channel++) {
        kt_one(op, place, channel, channel / multiplier, output);
    }
}

void kt_depthwise_conv2d(const kt_conv2d_t *op, const int8_t *input, int8_t *output,
                         void *scratch) {
    const int32_t row_bytes = op->in_w * op->in_c;
    kt_place_t place;
    (void)scratch;
    place.row_step = op->dilation_h * row_bytes;
    place.column_step = op->dilation_w * op->in_c;
    for (int32_t y = 0; y < op->out_h; y++) {
        const int32_t top = y * op->stride_h - op->pad_top;
        place.rows = kt_clip(top, op->in_h, op->kernel_h, op->dilation_h);
        for (int32_t x = 0; x < op->out_w; x++) {
            const int32_t left = x * op->stride_w - op->pad_left;
            place.columns = kt_clip(left, op->in_w, op->kernel_w, op->dilation_w);
            place.input = input + top * row_bytes + left * op->in_c;
            kt_channels(op, &place, output);
            output += op->out_c;
        }
    }
}
