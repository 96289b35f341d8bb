#include "kt_packed.h"

#include "kt_kernels.h"
#include "kt_packed_run.h"

/* What a call of the kernel takes and gives: a block of channels, and how it reads the input. */
typedef struct {
    kt_conv2d_t op;
    const kt_conv2d_t *whole;
    int8_t *gathered; /* room for the block's input channels; NULL where it reads all */
    int32_t channel, input_channel;
} kt_block_t;

static void kt_unpack_filters(const kt_packed_conv2d_t *packed, int32_t channel, int32_t count,
                              int32_t filter, int8_t *weights) {
    const int8_t *table =
        packed->stride != 0 ? packed->table + channel * packed->stride : packed->table;
    const uint8_t *row = packed->indices + (uint32_t)channel * packed->row_bytes;
    for (; count > 0; count--, row += packed->row_bytes, weights += filter) {
        packed->unpack(row, table, 0, filter, weights);
        if (packed->stride != 0) {
            table += packed->stride;
        }
    }
}

static void kt_unpack_taps(const kt_packed_conv2d_t *packed, int32_t channel, int32_t count,
                           int32_t taps, int8_t *weights) {
    const int8_t *table =
        packed->stride != 0 ? packed->table + channel * packed->stride : packed->table;
    const uint8_t *row = packed->indices + channel / 8 * packed->bits;
    for (; taps > 0; taps--, row += packed->row_bytes, weights += count) {
        packed->unpack(row, table, packed->stride, count, weights);
    }
}

/* The input that a strip of output rows sees, of the block's channels. Sets the kernel's input. */
static const int8_t *kt_see_strip(kt_block_t *block, int32_t y, const int8_t *input) {
    const kt_conv2d_t *whole = block->whole;
    kt_conv2d_t *op = &block->op;
    const int32_t top = y * whole->stride_h - whole->pad_top, first = top > 0 ? top : 0;
    const int32_t last =
        top + (op->out_h - 1) * whole->stride_h + (whole->kernel_h - 1) * whole->dilation_h;
    const int32_t end = last < whole->in_h ? last + 1 : whole->in_h;
    op->pad_top = (uint16_t)(first - top);
    op->in_h = (uint16_t)(end - first);
    input += first * whole->in_w * whole->in_c;
    if (block->gathered == 0) {
        return input;
    }
    kt_move_block(input + block->input_channel, whole->in_c, block->gathered, op->in_c, op->in_c,
                  op->in_h * op->in_w);
    return block->gathered;
}

/* The parameters of channels channel ... channel + count - 1. */
static void kt_set_block(kt_block_t *block, const kt_conv2d_t *whole, int32_t channel,
                         int32_t count, int is_depthwise) {
    const int32_t per_group = is_depthwise ? whole->groups : whole->out_c / whole->groups;
    const int32_t depth = is_depthwise ? 1 : whole->in_c / whole->groups;
    const int32_t factors = whole->per_channel ? channel : 0;
    block->op.out_c = (uint16_t)count;
    block->op.bias = whole->bias + channel;
    block->op.multiplier = whole->multiplier + factors;
    block->op.shift = whole->shift + factors;
    if (block->gathered != 0) {
        const int32_t groups = count / per_group;
        block->input_channel = channel / per_group * depth;
        block->op.in_c = (uint16_t)(groups * depth);
        block->op.groups = is_depthwise ? whole->groups : (uint16_t)groups;
    }
    block->channel = channel;
}

static void kt_run_strips(const kt_packed_conv2d_t *packed, kt_convolution_t *kernel,
                          kt_block_t *block, const int8_t *input, int8_t *output, int8_t *scratch) {
    const kt_conv2d_t *whole = block->whole;
    int8_t *codes = scratch + packed->output_at;
    output += block->channel;
    for (int32_t y = 0; y < whole->out_h; y += packed->rows) {
        const int32_t left = whole->out_h - y, rows = left < packed->rows ? left : packed->rows;
        const int32_t places = rows * whole->out_w;
        block->op.out_h = (uint16_t)rows;
        kernel(&block->op, kt_see_strip(block, y, input), codes,
               packed->weights_at != 0 ? scratch : 0);
        kt_move_block(codes, block->op.out_c, output, whole->out_c, block->op.out_c, places);
        output += places * whole->out_c;
    }
}

void kt_run_packed(const kt_packed_conv2d_t *packed, kt_convolution_t *kernel, int is_depthwise,
                   const int8_t *input, int8_t *output, int8_t *scratch) {
    const kt_conv2d_t *whole = packed->op;
    const int32_t taps = whole->kernel_h * whole->kernel_w;
    int8_t *weights = scratch + packed->weights_at;
    kt_block_t block = {*whole, whole, 0, 0, 0};
    block.op.weights = weights;
    if (packed->block < whole->out_c && (is_depthwise || whole->groups > 1)) {
        block.gathered = scratch + packed->input_at;
    }
    for (int32_t channel = 0; channel < whole->out_c; channel += packed->block) {
        const int32_t left = whole->out_c - channel;
        const int32_t count = left < packed->block ? left : packed->block;
        if (is_depthwise) {
            kt_unpack_taps(packed, channel, count, taps, weights);
        } else {
            kt_unpack_filters(packed, channel, count, taps * (whole->in_c / whole->groups),
                              weights);
        }
        if (count == whole->out_c) {
            kernel(&block.op, input, output, packed->weights_at != 0 ? scratch : 0);
            return;
        }
        kt_set_block(&block, whole, channel, count, is_depthwise);
        kt_run_strips(packed, kernel, &block, input, output, scratch);
    }
}
