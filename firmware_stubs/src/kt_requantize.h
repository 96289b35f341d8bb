/*
 * The fixed-point arithmetic that all kernels share: a factor is `multiplier` / 2^31 * 2^`shift`,
 * and applying it rounds twice. Private to the kernels.
 *
 * Right shifts of negative numbers are arithmetic, as on every compiler for these cores.
 */
#ifndef KT_REQUANTIZE_H
#define KT_REQUANTIZE_H

#include <stdint.h>

/* Armv6-M and the like: no long multiply, eight registers. */
#if !defined(KT_SMALL_CORE) && defined(__ARM_ARCH_ISA_THUMB) && (__ARM_ARCH_ISA_THUMB == 1)
#define KT_SMALL_CORE
#endif

/* (2 * a * b) / 2^32, ties towards positive infinity. The one product that overflows, of the lowest
 * int32 with itself, does not occur: `b` is at least -2^31 + 1. */
static inline int32_t kt_high_multiply(int32_t a, int32_t b) {
#ifdef KT_SMALL_CORE
    /* Without a long multiply: four products of 16 bits. Of the low word only bits 30 and 31 are
     * needed. */
    const uint32_t a_low = (uint32_t)a & 0xffffu, b_low = (uint32_t)b & 0xffffu;
    const int32_t a_high = a >> 16, b_high = b >> 16;
    const int32_t inner = a_high * (int32_t)b_low + (int32_t)((a_low * b_low) >> 16);
    const int32_t middle = (inner & 0xffff) + (int32_t)a_low * b_high;
    const int32_t high = a_high * b_high + (inner >> 16) + (middle >> 16);
    return (int32_t)(((uint32_t)high << 1) + (((((uint32_t)middle >> 14) & 3u) + 1u) >> 1));
#else
    const int64_t product = (int64_t)a * b;
    const uint32_t low = (uint32_t)product;
    return (int32_t)(((uint32_t)(product >> 32) << 1) + (((low >> 30) + 1u) >> 1));
#endif
}

/* x / 2^right, ties away from zero; `right` in 0 ... 32, `x` above -2^31. */
static inline int32_t kt_rounding_shift(int32_t x, int right) {
    return right == 0 ? x : (((x + (x >> 31)) >> (right - 1)) + 1) >> 1;
}

static inline int32_t kt_requantize(uint32_t x, int32_t multiplier, int shift) {
    x <<= shift & ~(shift >> 31); /* of 0 for a right shift; a branch makes compilers do both */
    int32_t high = kt_high_multiply((int32_t)x, multiplier);
    if (shift < 0) {
        high = (((high + (high >> 31)) >> (-shift - 1)) + 1) >> 1;
    }
    return high;
}

static inline int32_t kt_clamp_code(int32_t value, int32_t lowest, int32_t highest) {
    value = value < lowest ? lowest : value;
    return value > highest ? highest : value;
}

/* How the sums of a layer become codes. A kernel's copy in locals: stores of codes might alias the
 * parameters, which would then be loaded anew for each. */
typedef struct {
    const int32_t *multiplier;
    const int8_t *shift;
    int32_t mask; /* -1: a multiplier per channel; 0: one for all */
    int32_t zero_point, lowest, highest;
} kt_output_t;

static inline int8_t kt_to_code(kt_output_t output, int32_t channel, uint32_t sum) {
    channel &= output.mask;
    const int32_t value = kt_requantize(sum, output.multiplier[channel], output.shift[channel]);
    return (int8_t)kt_clamp_code(value + output.zero_point, output.lowest, output.highest);
}

/* From any structure that has these fields. */
#define KT_OUTPUT_OF(op)                                                                           \
    {(op)->multiplier,        (op)->shift,  -(int32_t)(op)->per_channel,                           \
     (op)->output_zero_point, (op)->lowest, (op)->highest}

#endif
