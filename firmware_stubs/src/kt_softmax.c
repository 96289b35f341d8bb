#include "kt_kernels.h"
#include "kt_requantize.h"

/* Fixed point: "Qn" has n integer bits and 31 - n fractional ones; 1.0 in Q0 is 2^31 - 1. */
#define KT_ONE_Q0 INT32_MAX
#define KT_ONE_Q2 (INT32_C(1) << 29)
#define KT_QUARTER_Q5 (INT32_C(1) << 24)
#define KT_SUM_INTEGER_BITS 12

/* exp(-2^k) in Q0, k = -2 ... 4. */
static const int32_t kt_exp_of_powers[7] = {
    1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242,
};

/* exp(x) in Q0, of x <= 0 in Q5. */
static int32_t kt_exp(int32_t x) {
    const int32_t rest = (x & (KT_QUARTER_Q5 - 1)) - KT_QUARTER_Q5; /* in [-1/4, 0) */
    /* Taylor's expansion around -1/8, whose exponential is 1895147668 in Q0. */
    const int32_t d = rest * 32 + (INT32_C(1) << 28);
    const int32_t d2 = kt_high_multiply(d, d);
    const int32_t d3 = kt_high_multiply(d2, d);
    const int32_t d4 = kt_high_multiply(d2, d2);
    const int32_t third = kt_high_multiply(kt_rounding_shift(d4, 2) + d3, 715827883);
    const int32_t series = d + kt_rounding_shift(third + d2, 1);
    int32_t result = 1895147668 + kt_high_multiply(series, 1895147668);
    const uint32_t powers = (uint32_t)(rest - x) >> 24;
    if (x == 0) {
        return KT_ONE_Q0;
    }
    for (int k = 0; k < 7; k++) {
        if ((powers >> k) & 1u) {
            result = kt_high_multiply(result, kt_exp_of_powers[k]);
        }
    }
    return result;
}

static inline int32_t kt_saturating_shift(int32_t x, int left) {
    const int32_t limit = INT32_MAX >> left;
    return x > limit ? INT32_MAX : x < -limit ? INT32_MIN : (int32_t)((uint32_t)x << left);
}

/* 1 / (1 + x) in Q0, of x in 0 ... 1 in Q0: Newton's and Raphson's division. */
static int32_t kt_one_over_one_plus(int32_t x) {
    const int32_t half = (int32_t)(((uint32_t)x + (UINT32_C(1) << 31)) >> 1);
    int32_t q = 1515870810 + kt_high_multiply(half, -1010580540); /* 48/17 - 32/17 half, in Q2 */
    for (int step = 0; step < 3; step++) {
        const int32_t error = KT_ONE_Q2 - kt_high_multiply(half, q);
        q += kt_saturating_shift(kt_high_multiply(q, error), 2);
    }
    return kt_saturating_shift(q, 1);
}

static int32_t kt_exp_of_difference(const kt_softmax_t *op, int32_t difference) {
    return kt_exp(kt_high_multiply((int32_t)((uint32_t)difference << op->shift), op->multiplier));
}

/* One row; `largest` is its maximum. */
static void kt_softmax_row(const kt_softmax_t *op, int32_t largest, const int8_t *input,
                           int8_t *output) {
    const int32_t lowest = largest + op->smallest_difference;
    uint32_t sum = 0; /* of less than 8,192 terms of 2^19 at most */
    int32_t headroom = 0;
    for (uint32_t i = 0; i < op->columns; i++) {
        if (input[i] >= lowest) {
            const int32_t exponential = kt_exp_of_difference(op, input[i] - largest);
            sum += (uint32_t)kt_rounding_shift(exponential, KT_SUM_INTEGER_BITS);
        }
    }
    while ((sum << headroom) >> 31 == 0) {
        headroom++;
    }
    const int32_t fraction = (int32_t)((sum << headroom) - (UINT32_C(1) << 31));
    const int32_t scale = kt_one_over_one_plus(fraction);
    const int bits = KT_SUM_INTEGER_BITS - headroom + 31 - 8;
    const int right = bits < 32 ? bits : 32; /* by which all is 0; reached by 512 equal inputs */
    for (uint32_t i = 0; i < op->columns; i++) {
        int32_t code = INT8_MIN;
        if (input[i] >= lowest) {
            const int32_t exponential = kt_exp_of_difference(op, input[i] - largest);
            code += kt_rounding_shift(kt_high_multiply(scale, exponential), right);
        }
        output[i] = (int8_t)(code > INT8_MAX ? INT8_MAX : code);
    }
}

void kt_softmax(const kt_softmax_t *op, const int8_t *input, int8_t *output) {
    for (uint32_t row = 0; row < op->rows; row++) {
        int32_t largest = INT8_MIN;
        for (uint32_t i = 0; i < op->columns; i++) {
            largest = input[i] > largest ? input[i] : largest;
        }
        kt_softmax_row(op, largest, input, output);
        input += op->columns;
        output += op->columns;
    }
}
