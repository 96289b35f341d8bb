#include "kt_kernels.h"
#include "kt_packed.h"
#include "kt_packed_run.h"

static void kt_unpack_rows(const kt_packed_fully_connected_t *packed, int32_t channel,
                           int32_t count, int8_t *weights) {
    const int32_t depth = (int32_t)packed->op->in_c;
    const uint8_t *row = packed->indices + (uint32_t)channel * packed->row_bytes;
    for (; count > 0; count--, channel++, row += packed->row_bytes, weights += depth) {
        const int8_t *table =
            packed->stride != 0 ? packed->table + channel * packed->stride : packed->table;
        packed->unpack(row, table, 0, depth, weights);
    }
}

/* Some channels of all inputs. */
static void kt_run_channels(const kt_packed_fully_connected_t *packed, kt_fully_connected_t *op,
                            const int8_t *input, int8_t *output, int8_t *scratch) {
    const kt_fully_connected_t *whole = packed->op;
    int8_t *codes = scratch + packed->output_at;
    if (whole->rows == 1 || op->out_c == whole->out_c) {
        op->rows = whole->rows; /* outputs are neighbours: there is nothing to bring apart */
        kt_fully_connected(op, input, output, 0);
        return;
    }
    for (uint32_t left = whole->rows; left > 0; left -= op->rows) {
        op->rows = left < packed->rows ? left : packed->rows;
        kt_fully_connected(op, input, codes, 0);
        kt_move_block(codes, op->out_c, output, whole->out_c, op->out_c, (int32_t)op->rows);
        input += op->rows * op->in_c;
        output += op->rows * whole->out_c;
    }
}

void kt_packed_fully_connected(const kt_packed_fully_connected_t *packed, const int8_t *input,
                               int8_t *output, void *scratch) {
    const kt_fully_connected_t *whole = packed->op;
    int8_t *weights = (int8_t *)scratch;
    kt_fully_connected_t op = *whole;
    op.weights = weights;
    for (int32_t next = 0; next < whole->out_c; next += packed->block) {
        const int32_t left = whole->out_c - next;
        const int32_t count = left < packed->block ? left : packed->block;
        /* Kernels take four channels at a time: the last four may be computed a second time. */
        const int32_t channel = count < 4 && next >= 4 ? whole->out_c - 4 : next;
        const int32_t factors = whole->per_channel ? channel : 0;
        op.out_c = (uint16_t)(count + next - channel);
        op.bias = whole->bias + channel;
        op.multiplier = whole->multiplier + factors;
        op.shift = whole->shift + factors;
        kt_unpack_rows(packed, channel, op.out_c, weights);
        kt_run_channels(packed, &op, input, output + channel, weights);
    }
}
