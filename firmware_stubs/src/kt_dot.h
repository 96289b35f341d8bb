/*
 * The inner loop of CONV_2D and FULLY_CONNECTED: one run of input codes against two rows of
 * weights, so that an input code is loaded once for two products. Private to the kernels.
 */
#ifndef KT_DOT_H
#define KT_DOT_H

#include <stdint.h>

#include "kt_requantize.h"

/* Sums of two output channels. Of 131,071 products or less, they do not overflow; they are signed
 * so that a compiler keeps their order, which is that of the multiply-accumulate instructions. */
typedef struct {
    int32_t first, second;
} kt_pair_t;

/* The second row of weights lies `apart` behind the first. */
static inline kt_pair_t kt_dot(kt_pair_t sum, const int8_t *x, const int8_t *weights, int32_t apart,
                               int32_t count) {
    const int8_t *const end = x + count;
#ifdef KT_SMALL_CORE
    /* Loads of signed bytes take an index register only, and there are eight registers. */
    const int8_t *others = weights + apart + count;
    weights += count;
    for (int32_t i = -count; i != 0; i++) {
        const int32_t code = end[i];
        sum.first += code * weights[i];
        sum.second += code * others[i];
    }
#else
    for (const int8_t *stop = end - (count & 3); x != stop; x += 4) {
        sum.second += x[0] * weights[apart];
        sum.first += x[0] * *weights++;
        sum.second += x[1] * weights[apart];
        sum.first += x[1] * *weights++;
        sum.second += x[2] * weights[apart];
        sum.first += x[2] * *weights++;
        sum.second += x[3] * weights[apart];
        sum.first += x[3] * *weights++;
    }
    for (; x != end; x++) {
        sum.second += *x * weights[apart];
        sum.first += *x * *weights++;
    }
#endif
    return sum;
}

#endif
