/*
 * What the kernels for Cortex-M with the DSP extension (M4, M7, M33) are made of: two products of
 * 16 bits in one instruction, and the two loops that nearly all the time is spent in. Private to
 * the kernels.
 *
 * A word of four codes b0 b1 b2 b3 is widened to two words of two halfwords each, (b0, b2) and
 * (b1, b3): the order in which SXTB16 leaves them. Inputs and weights are widened alike, so that no
 * product needs them in another order. A word may lie at any address.
 *
 * Where the compiler does not target such a core, the header `kt_dsp_host.h` stands in for it: the
 * tests have one in plain C, for the sanitizers of a host.
 */
#ifndef KT_DSP_H
#define KT_DSP_H

#include <stdint.h>

#include "kt_requantize.h"

/* What is hardly ever called is not worth a copy in each caller. */
#define KT_RARE __attribute__((noinline, unused))

/* A kernel that is given no scratch memory takes this much from the stack, where it is enough. */
enum { KT_STACK_WORDS = 1152 / 4 };

static inline uint32_t kt_read_word(const void *codes) {
    uint32_t word;
    __builtin_memcpy(&word, codes, sizeof word); /* one instruction, even with -ffreestanding */
    return word;
}

static inline void kt_write_word(void *codes, uint32_t word) {
    __builtin_memcpy(codes, &word, sizeof word);
}

/* Sums of four output positions, or of four channels; unsigned, because they may wrap. */
typedef struct {
    uint32_t sum0, sum1, sum2, sum3;
} kt_sums_t;

#if defined(__ARM_FEATURE_DSP) && (__ARM_FEATURE_DSP == 1)

/* (b0, b2) of a word of four codes. */
static inline uint32_t kt_widen_even(uint32_t codes) {
    uint32_t pair;
    __asm__("sxtb16 %0, %1" : "=r"(pair) : "r"(codes));
    return pair;
}

/* (b1, b3). */
static inline uint32_t kt_widen_odd(uint32_t codes) {
    uint32_t pair;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(pair) : "r"(codes));
    return pair;
}

/* (b0 b1 of a, b0 b1 of b). */
static inline uint32_t kt_join_low(uint32_t a, uint32_t b) {
    uint32_t word;
    __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(word) : "r"(a), "r"(b));
    return word;
}

/* (b2 b3 of a, b2 b3 of b). */
static inline uint32_t kt_join_high(uint32_t a, uint32_t b) {
    uint32_t word;
    __asm__("pkhtb %0, %1, %2, asr #16" : "=r"(word) : "r"(b), "r"(a));
    return word;
}

/* sum + a.low * b.low + a.high * b.high */
static inline uint32_t kt_multiply_pairs(uint32_t a, uint32_t b, uint32_t sum) {
    __asm__("smlad %0, %1, %2, %0" : "+r"(sum) : "r"(a), "r"(b));
    return sum;
}

/* sum + (sum * factor) / 2^32, ties towards positive infinity. */
static inline int32_t kt_add_high_product(int32_t sum, int32_t factor) {
    __asm__("smmlar %0, %0, %1, %0" : "+r"(sum) : "r"(factor));
    return sum;
}

static inline int32_t kt_add_saturating(int32_t a, int32_t b) {
    __asm__("qadd %0, %0, %1" : "+r"(a) : "r"(b));
    return a;
}

static inline int32_t kt_saturate_code(int32_t value) {
    __asm__("ssat %0, #8, %0" : "+r"(value));
    return value;
}

/* The loops are functions in assembly as a whole: they need thirteen registers, more than a
 * compiler has left in the midst of its own code. Arguments come in r0 to r3 (Procedure Call
 * Standard for the Arm Architecture); the first is where the sums lie, which are held in r9 to r12.
 */
#define KT_BEGIN(name)                                                                             \
    ".pushsection .text." name ", \"ax\", %progbits\n\t"                                           \
    ".syntax unified\n\t"                                                                          \
    ".thumb\n\t"                                                                                   \
    ".balign 4\n\t"                                                                                \
    ".global " name "\n\t"                                                                         \
    ".type " name ", %function\n\t"                                                                \
    ".thumb_func\n" name ":\n\t"                                                                   \
    "push {r0, r4, r5, r6, r7, r8, r9, r10, r11, lr}\n\t"                                          \
    "ldm r0, {r9, r10, r11, r12}\n\t"
#define KT_END(name)                                                                               \
    "pop {r1}\n\t"                                                                                 \
    "stm r1, {r9, r10, r11, r12}\n\t"                                                              \
    "pop {r4, r5, r6, r7, r8, r9, r10, r11, pc}\n\t"                                               \
    ".size " name ", . - " name "\n\t"                                                             \
    ".popsection\n"

#ifdef __cplusplus
extern "C" {
#endif

/* One run of weights, widened here, against four columns that were widened before: each quad of
 * weights meets the eight words at `columns`, two for each column. `weights` < `end`, a multiple of
 * four apart. Returns where the columns go on. */
const uint32_t *kt_multiply_columns(kt_sums_t *sums, const int8_t *weights, const int8_t *end,
                                    const uint32_t *columns);

/* Four channels: each step, of four words, holds two taps of each. `weights` < `end`, four words or
 * a multiple of it apart. */
void kt_multiply_steps(kt_sums_t *sums, const uint32_t *taps, const uint32_t *weights,
                       const uint32_t *end);

/* Four rows of weights, `stride` apart, against one input of quads, all widened here. `input` <
 * `end`, a multiple of four apart. */
void kt_multiply_rows(kt_sums_t *sums, const int8_t *weights, int32_t stride, const int8_t *input,
                      const int8_t *end);

#ifdef __cplusplus
}
#endif

#else
#include "kt_dsp_host.h"
#endif

/* Twice the multiplier, less 2^32: with a multiplier of at least 2^30, a sum plus the high word of
 * its product with this is the rounding doubling high product. */
static inline int32_t kt_factor(int32_t multiplier) {
    return (int32_t)((uint32_t)multiplier << 1);
}

/* Whether `kt_scaled` may do the work of `kt_requantize`. Nearly every channel allows it. */
static inline int kt_is_scalable(int32_t multiplier, int32_t shift) {
    return multiplier >= 0x40000000 && shift < 0;
}

/* What is added before the last shift: 1 for the rounding, and the zero point. */
static inline int32_t kt_scale_offset(int32_t output_zero_point) {
    return 2 * output_zero_point + 1;
}

/* `kt_requantize` plus the zero point; `right` is the right shift less 1. */
static inline int32_t kt_scaled(uint32_t sum, int32_t factor, int32_t right, int32_t offset) {
    int32_t value = kt_add_high_product((int32_t)sum, factor);
    value += value >> 31;
    return kt_add_saturating(value >> right, offset) >> 1;
}

#endif
