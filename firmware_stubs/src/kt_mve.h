/*
 * What the kernels for Helium (Cortex-M55, M85) are made of: four sums of products of codes at a
 * time, sixteen products in one instruction, and four sums brought to codes. Private to the
 * kernels.
 *
 * Loops are predicated by their count (DLSTP, LETP): no code beyond a run is read or counted.
 */
#ifndef KT_MVE_H
#define KT_MVE_H

#include <arm_mve.h>
#include <stdint.h>

/* Sums of `count` products of the codes at `x` with each of four rows of weights; count >= 1. */
static inline int32x4_t kt_multiply_rows(const int8_t *x, const int8_t *const rows[4],
                                         int32_t count) {
    const int8_t *row0 = rows[0], *row1 = rows[1], *row2 = rows[2], *row3 = rows[3];
    int32_t sum0 = 0, sum1 = 0, sum2 = 0, sum3 = 0;
    int32x4_t sums = vdupq_n_s32(0);
    __asm__(
        "dlstp.8 lr, %[count]\n"
        "1:\n\t"
        "vldrb.8 q0, [%[x]], #16\n\t"
        "vldrb.8 q1, [%[row0]], #16\n\t"
        "vmladava.s8 %[sum0], q0, q1\n\t"
        "vldrb.8 q2, [%[row1]], #16\n\t"
        "vmladava.s8 %[sum1], q0, q2\n\t"
        "vldrb.8 q1, [%[row2]], #16\n\t"
        "vmladava.s8 %[sum2], q0, q1\n\t"
        "vldrb.8 q2, [%[row3]], #16\n\t"
        "vmladava.s8 %[sum3], q0, q2\n\t"
        "letp lr, 1b"
        : [sum0] "+Te"(sum0), [sum1] "+Te"(sum1), [sum2] "+Te"(sum2), [sum3] "+Te"(sum3),
          [x] "+r"(x), [row0] "+r"(row0), [row1] "+r"(row1), [row2] "+r"(row2), [row3] "+r"(row3)
        : [count] "r"(count)
        : "lr", "q0", "q1", "q2", "cc", "memory");
    sums = vsetq_lane_s32(sum0, sums, 0);
    sums = vsetq_lane_s32(sum1, sums, 1);
    sums = vsetq_lane_s32(sum2, sums, 2);
    return vsetq_lane_s32(sum3, sums, 3);
}

/* Copies `count` codes; `count` >= 0. */
static inline int8_t *kt_copy_codes(int8_t *to, const int8_t *from, int32_t count) {
    if (count > 0) {
        int8_t *next = to;
        __asm__ volatile("dlstp.8 lr, %[count]\n"
                         "1:\n\t"
                         "vldrb.8 q0, [%[from]], #16\n\t"
                         "vstrb.8 q0, [%[next]], #16\n\t"
                         "letp lr, 1b"
                         : [from] "+r"(from), [next] "+r"(next)
                         : [count] "r"(count)
                         : "lr", "q0", "cc", "memory");
    }
    return to + count;
}

/* The same code `count` times. */
static inline int8_t *kt_fill_codes(int8_t *to, int32_t code, int32_t count) {
    if (count > 0) {
        int8_t *next = to;
        __asm__ volatile("vdup.8 q0, %[code]\n\t"
                         "dlstp.8 lr, %[count]\n"
                         "1:\n\t"
                         "vstrb.8 q0, [%[next]], #16\n\t"
                         "letp lr, 1b"
                         : [next] "+r"(next)
                         : [count] "r"(count), [code] "r"(code)
                         : "lr", "q0", "cc", "memory");
    }
    return to + count;
}

/* How sums become codes: the fields that all operators with weights have. */
typedef struct {
    const int32_t *bias, *multiplier;
    const int8_t *shift;
    int32_t per_channel, zero_point, lowest, highest;
} kt_scaling_t;

#define KT_SCALING_OF(op)                                                                          \
    {(op)->bias,   (op)->multiplier, (op)->shift, (op)->per_channel, (op)->output_zero_point,      \
     (op)->lowest, (op)->highest}

/* Codes of channels channel ... channel + 3, of which `count` exist, to the first one's place. */
static inline void kt_store_codes(const kt_scaling_t *scaling, int32_t channel, int32_t count,
                                  int32x4_t sums, int8_t *output) {
    const mve_pred16_t exists = vctp32q((uint32_t)count);
    int32x4_t multiplier, shift, negative;
    if (scaling->per_channel) {
        multiplier = vldrwq_z_s32(scaling->multiplier + channel, exists);
        shift = vldrbq_z_s32(scaling->shift + channel, exists);
    } else {
        multiplier = vdupq_n_s32(scaling->multiplier[0]);
        shift = vdupq_n_s32(scaling->shift[0]);
    }
    sums = vaddq_s32(sums, vldrwq_z_s32(scaling->bias + channel, exists));
    sums = vshlq_s32(sums, vmaxq_s32(shift, vdupq_n_s32(0)));
    sums = vqrdmulhq_s32(sums, multiplier);
    shift = vminq_s32(shift, vdupq_n_s32(0));
    /* -1 where a negative number is shifted right: ties away from zero. */
    negative = vshrq_n_s32(vandq_s32(sums, shift), 31);
    sums = vrshlq_s32(vaddq_s32(sums, negative), shift);
    sums = vaddq_n_s32(sums, scaling->zero_point);
    sums = vmaxq_s32(sums, vdupq_n_s32(scaling->lowest));
    sums = vminq_s32(sums, vdupq_n_s32(scaling->highest));
    vstrbq_p_s32(output, sums, exists);
}

/* `channels` outputs from one run of `count` codes: weights (channels, count), from `channel` on.
 */
static inline void kt_put_channels(const kt_scaling_t *scaling, const int8_t *weights,
                                   const int8_t *x, int32_t count, int32_t channel, int32_t end,
                                   int8_t *output) {
    for (; channel < end; channel += 4) {
        const int32_t left = end - channel < 4 ? end - channel : 4;
        const int8_t *rows[4];
        for (int32_t i = 0; i < 4; i++) {
            rows[i] = weights + (channel + (i < left ? i : 0)) * count;
        }
        kt_store_codes(scaling, channel, left, kt_multiply_rows(x, rows, count), output + channel);
    }
}

#endif
