/*
 * Two rows of codes, four channels at a time, brought into pairs for SMLAD: the input and the
 * weights of DEPTHWISE_CONV_2D alike. Private to the kernels.
 */
#ifndef KT_DSP_PAIRS_H
#define KT_DSP_PAIRS_H

#include "kt_dsp.h"
#include "kt_window.h"

/* Two taps of four channels: a pair for each. */
static inline void kt_put_pairs(uint32_t *pairs, uint32_t upper, uint32_t lower) {
    const uint32_t low = kt_join_low(upper, lower), high = kt_join_high(upper, lower);
    pairs[0] = kt_widen_even(low);
    pairs[1] = kt_widen_odd(low);
    pairs[2] = kt_widen_even(high);
    pairs[3] = kt_widen_odd(high);
}

static uint32_t kt_read_bytes(const int8_t *codes, const int32_t offset[4]) {
    return (uint32_t)(uint8_t)codes[offset[0]] | (uint32_t)(uint8_t)codes[offset[1]] << 8 |
           (uint32_t)(uint8_t)codes[offset[2]] << 16 | (uint32_t)(uint8_t)codes[offset[3]] << 24;
}

/* A picture that pairs are taken from: the input, or the weights. */
typedef struct {
    const int8_t *codes;
    int32_t height, row_bytes, column_bytes; /* from row to row and column to column */
    const int32_t *offset; /* of the four channels in a column; NULL where they are a word */
    uint32_t outside;      /* four codes above, below and beside it */
} kt_picture_t;

/* One row of it, from column to column. */
typedef struct {
    const int8_t *codes;
    int32_t step;
    const int32_t *offset;
} kt_row_t;

/* `count` columns of two rows, one pair for each channel; `step` words from column to column. */
static uint32_t *kt_put_columns(uint32_t *pairs, int32_t step, const kt_row_t *upper,
                                const kt_row_t *lower, int32_t count) {
    const int8_t *above = upper->codes, *below = lower->codes;
    if (upper->offset == 0) {
        const int32_t step_above = upper->step, step_below = lower->step;
        for (; count > 0; count--, pairs += step) {
            kt_put_pairs(pairs, kt_read_word(above), kt_read_word(below));
            above += step_above;
            below += step_below;
        }
    }
    for (; count > 0; count--, pairs += step) {
        kt_put_pairs(pairs, kt_read_bytes(above, upper->offset),
                     kt_read_bytes(below, lower->offset));
        above += upper->step;
        below += lower->step;
    }
    return pairs;
}

/* Pairs of `columns` columns, of which those of `inside` lie in the picture; `picture->codes`: row
 * 0 of the first of them. A column's pairs of rows top, top + dilation, ... stand together. */
static uint32_t *kt_put_picture(const kt_picture_t *picture, int32_t pairs_of_rows, int32_t top,
                                int32_t dilation, int32_t columns, kt_span_t inside,
                                uint32_t *pairs) {
    static const int32_t same[4] = {0, 0, 0, 0};
    const int32_t *offset = picture->offset != 0 ? same : 0;
    const kt_row_t outside = {(const int8_t *)&picture->outside, 0, offset};
    const int32_t step = 4 * pairs_of_rows;
    uint32_t *end = pairs + step * columns;
    for (int32_t y = top; pairs_of_rows > 0; pairs_of_rows--, pairs += 4) {
        kt_row_t rows[2];
        uint32_t *next = pairs;
        for (int32_t i = 0; i < 2; i++, y += dilation) {
            rows[i] = outside;
            if (y >= 0 && y < picture->height) {
                rows[i].codes = picture->codes + y * picture->row_bytes;
                rows[i].step = picture->column_bytes;
                rows[i].offset = picture->offset;
            }
        }
        if (inside.begin > 0) {
            next = kt_put_columns(next, step, &outside, &outside, inside.begin);
        }
        next = kt_put_columns(next, step, &rows[0], &rows[1], inside.end - inside.begin);
        if (inside.end < columns) {
            (void)kt_put_columns(next, step, &outside, &outside, columns - inside.end);
        }
    }
    return end;
}

#endif
