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
#if defined(__ARM_ARCH_ISA_THUMB) && (__ARM_ARCH_ISA_THUMB == 1)
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

/* x / 2^right, ties away from zero; `right` in 0 ... 31, `x` above -2^31. */
static inline int32_t kt_rounding_shift(int32_t x, int right) {
    return right == 0 ? x : (((x + (x >> 31)) >> (right - 1)) + 1) >> 1;
}

static inline int32_t kt_requantize(uint32_t x, int32_t multiplier, int shift) {
    if (shift > 0) {
        return kt_high_multiply((int32_t)(x << shift), multiplier);
    }
    return kt_rounding_shift(kt_high_multiply((int32_t)x, multiplier), -shift);
}

static inline int32_t kt_clamp_code(int32_t value, int32_t lowest, int32_t highest) {
    value = value < lowest ? lowest : value;
    return value > highest ? highest : value;
}

#endif
