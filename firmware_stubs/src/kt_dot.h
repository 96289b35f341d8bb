/*
 * The inner loop of CONV_2D and FULLY_CONNECTED: one run of input codes against two rows of
 * weights, so that an input code is loaded once for two products. Private to the kernels.
 */
#ifndef KT_DOT_H
#define KT_DOT_H

#include <stdint.h>

#include "kt_requantize.h"

/* Accumulators of two output channels; unsigned, because they may wrap. */
typedef struct {
    uint32_t first, second;
} kt_pair_t;

static inline kt_pair_t kt_dot(kt_pair_t sum, const int8_t *x, const int8_t *w1, const int8_t *w2,
                               int32_t count) {
#ifdef KT_SMALL_CORE
    /* Loads of signed bytes take an index register only, and there are eight registers. */
    x += count, w1 += count, w2 += count;
    for (int32_t i = -count; i != 0; i++) {
        const int32_t code = x[i];
        sum.first += (uint32_t)(code * w1[i]);
        sum.second += (uint32_t)(code * w2[i]);
    }
#else
    for (; count >= 4; count -= 4, x += 4, w1 += 4, w2 += 4) {
        sum.first += (uint32_t)(x[0] * w1[0]) + (uint32_t)(x[1] * w1[1]);
        sum.second += (uint32_t)(x[0] * w2[0]) + (uint32_t)(x[1] * w2[1]);
        sum.first += (uint32_t)(x[2] * w1[2]) + (uint32_t)(x[3] * w1[3]);
        sum.second += (uint32_t)(x[2] * w2[2]) + (uint32_t)(x[3] * w2[3]);
    }
    for (; count > 0; count--) {
        const int32_t code = *x++;
        sum.first += (uint32_t)(code * *w1++);
        sum.second += (uint32_t)(code * *w2++);
    }
#endif
    return sum;
}

#endif
