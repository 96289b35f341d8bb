#include "kt_kernels.h"
#include "kt_requantize.h"
#include "kt_window.h"

#if KT_ISA == KT_ISA_PORTABLE /* the other sets have files of their own */

/* One output position: the spans of taps inside, and the input of tap 0, which may lie outside. */
typedef struct {
    kt_span_t rows, columns;
    const int8_t *input;
    int32_t row_step, column_step; /* from tap to tap of the input */
} kt_place_t;

typedef struct {
    int32_t lane[4];
} kt_four_t;

/* Products of four channels, each of which reads an input channel of its own. */
static kt_four_t kt_products(const kt_conv2d_t *op, const kt_place_t *place, int32_t channel) {
    const int32_t width = place->columns.end - place->columns.begin, step = op->out_c;
    const int8_t *row = place->input + place->rows.begin * place->row_step +
                        place->columns.begin * place->column_step + channel;
    const int8_t *weights =
        op->weights + channel + (place->rows.begin * op->kernel_w + place->columns.begin) * step;
    int32_t sum0 = 0, sum1 = 0, sum2 = 0, sum3 = 0;
    for (int32_t y = place->rows.end - place->rows.begin; y > 0; y--, row += place->row_step) {
        const int8_t *code = row;
        for (int32_t x = width; x > 0; x--, code += place->column_step) {
            sum0 += code[0] * weights[0];
            sum1 += code[1] * weights[1];
            sum2 += code[2] * weights[2];
            sum3 += code[3] * weights[3];
            weights += step;
        }
        weights += (op->kernel_w - width) * step;
    }
    const kt_four_t sums = {{sum0, sum1, sum2, sum3}};
    return sums;
}

/* The same four channels' weights that meet no input, summed. */
static kt_four_t kt_sum_outside(const kt_conv2d_t *op, const kt_place_t *place, int32_t channel) {
    const int32_t step = op->out_c, width = place->columns.end - place->columns.begin;
    const int8_t *weights = op->weights + channel;
    int32_t sum0 = 0, sum1 = 0, sum2 = 0, sum3 = 0;
    for (int32_t y = 0; y < op->kernel_h; y++) {
        const int is_inside = y >= place->rows.begin && y < place->rows.end;
        int32_t count = is_inside ? place->columns.begin : op->kernel_w;
        for (int32_t part = 0; part <= is_inside; part++) {
            for (; count > 0; count--, weights += step) {
                sum0 += weights[0];
                sum1 += weights[1];
                sum2 += weights[2];
                sum3 += weights[3];
            }
            count = op->kernel_w - place->columns.end;
            weights += part < is_inside ? width * step : 0;
        }
    }
    const kt_four_t sums = {{sum0, sum1, sum2, sum3}};
    return sums;
}

/* One output channel, which reads the input at `place` + `offset`. */
static uint32_t kt_one(const kt_conv2d_t *op, const kt_place_t *place, int32_t channel,
                       int32_t offset) {
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
    return sum;
}

static void kt_channels(const kt_conv2d_t *op, const kt_place_t *place, int8_t *output) {
    const kt_output_t target = KT_OUTPUT_OF(op);
    const int32_t rows = place->rows.end - place->rows.begin;
    const int32_t columns = place->columns.end - place->columns.begin;
    const int is_clipped = rows < op->kernel_h || columns < op->kernel_w;
    const int32_t zero_point = is_clipped ? op->input_zero_point : 0;
    const int32_t count = op->out_c, multiplier = op->groups;
    int32_t channel = 0;
    for (; multiplier == 1 && channel + 4 <= count; channel += 4) {
        const kt_four_t sums = kt_products(op, place, channel);
        kt_four_t outside = {{0, 0, 0, 0}};
        if (zero_point != 0) {
            outside = kt_sum_outside(op, place, channel);
        }
        for (int32_t i = 0; i < 4; i++) {
            const int32_t sum = sums.lane[i] + zero_point * outside.lane[i];
            const uint32_t bias = (uint32_t)op->bias[channel + i];
            output[channel + i] = kt_to_code(target, channel + i, bias + (uint32_t)sum);
        }
    }
    for (int32_t offset = channel, repeat = 0; channel < count; channel++) {
        output[channel] = kt_to_code(target, channel, kt_one(op, place, channel, offset));
        if (++repeat == multiplier) {
            repeat = 0;
            offset++;
        }
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

#endif
