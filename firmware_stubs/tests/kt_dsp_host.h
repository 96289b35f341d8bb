/*
 * The instructions of `kt_dsp.h` in plain C, so that the kernels for the DSP extension run on a
 * host under its sanitizers.
 */
#ifndef KT_DSP_HOST_H
#define KT_DSP_HOST_H

#include <stdint.h>

static inline uint32_t kt_widen_even(uint32_t codes) {
    const uint32_t low = (uint32_t)(int32_t)(int8_t)codes & 0xffffu;
    return low | (uint32_t)(int32_t)(int8_t)(codes >> 16) << 16;
}

static inline uint32_t kt_widen_odd(uint32_t codes) {
    return kt_widen_even(codes >> 8);
}

static inline uint32_t kt_join_low(uint32_t a, uint32_t b) {
    return (a & 0xffffu) | b << 16;
}

static inline uint32_t kt_join_high(uint32_t a, uint32_t b) {
    return a >> 16 | (b & 0xffff0000u);
}

static inline uint32_t kt_multiply_pairs(uint32_t a, uint32_t b, uint32_t sum) {
    sum += (uint32_t)((int32_t)(int16_t)a * (int16_t)b);
    return sum + (uint32_t)((int32_t)(int16_t)(a >> 16) * (int16_t)(b >> 16));
}

static inline int32_t kt_add_high_product(int32_t sum, int32_t factor) {
    const int64_t product = (int64_t)sum * factor + 0x80000000LL;
    return (int32_t)((uint32_t)sum + (uint32_t)(product >> 32));
}

static inline int32_t kt_add_saturating(int32_t a, int32_t b) {
    const int64_t sum = (int64_t)a + b;
    return (int32_t)(sum > INT32_MAX ? INT32_MAX : sum < INT32_MIN ? INT32_MIN : sum);
}

static inline int32_t kt_saturate_code(int32_t value) {
    return value < -128 ? -128 : value > 127 ? 127 : value;
}

static inline void kt_multiply_quad(uint32_t *sum, const uint32_t *pairs, uint32_t codes) {
    *sum = kt_multiply_pairs(pairs[0], kt_widen_even(codes), *sum);
    *sum = kt_multiply_pairs(pairs[1], kt_widen_odd(codes), *sum);
}

static inline const uint32_t *kt_multiply_columns(kt_sums_t *sums, const int8_t *weights,
                                                  const int8_t *end, const uint32_t *columns) {
    for (; weights != end; weights += 4, columns += 8) {
        const uint32_t codes = kt_read_word(weights);
        kt_multiply_quad(&sums->sum0, columns, codes);
        kt_multiply_quad(&sums->sum1, columns + 2, codes);
        kt_multiply_quad(&sums->sum2, columns + 4, codes);
        kt_multiply_quad(&sums->sum3, columns + 6, codes);
    }
    return columns;
}

static inline void kt_multiply_steps(kt_sums_t *sums, const uint32_t *taps, const uint32_t *weights,
                                     const uint32_t *end) {
    for (; weights != end; taps += 4, weights += 4) {
        sums->sum0 = kt_multiply_pairs(taps[0], weights[0], sums->sum0);
        sums->sum1 = kt_multiply_pairs(taps[1], weights[1], sums->sum1);
        sums->sum2 = kt_multiply_pairs(taps[2], weights[2], sums->sum2);
        sums->sum3 = kt_multiply_pairs(taps[3], weights[3], sums->sum3);
    }
}

static inline void kt_multiply_rows(kt_sums_t *sums, const int8_t *weights, int32_t stride,
                                    const int8_t *input, const int8_t *end) {
    for (; input != end; input += 4, weights += 4) {
        const uint32_t codes = kt_read_word(input);
        const uint32_t pairs[2] = {kt_widen_even(codes), kt_widen_odd(codes)};
        kt_multiply_quad(&sums->sum0, pairs, kt_read_word(weights));
        kt_multiply_quad(&sums->sum1, pairs, kt_read_word(weights + stride));
        kt_multiply_quad(&sums->sum2, pairs, kt_read_word(weights + 2 * stride));
        kt_multiply_quad(&sums->sum3, pairs, kt_read_word(weights + 3 * stride));
    }
}

#endif
