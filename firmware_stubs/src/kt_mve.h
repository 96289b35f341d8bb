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

/* Sums of `count` products of the codes at `x` with each of four rows of weights, `stride` apart;
 * count >= 1. */
static inline int32x4_t kt_multiply_rows(const int8_t *x, const int8_t *weights, int32_t stride,
                                         int32_t count) {
    const int8_t *row0 = weights, *row1 = row0 + stride, *row2 = row1 + stride;
    const int8_t *row3 = row2 + stride;
    int32_t sum0 = 0, sum1 = 0, sum2 = 0, sum3 = 0;
    int32x4_t sums;
    __asm__("dlstp.8 lr, %[count]\n"
            "1:\n\t"
            "vldrb.8 q0, [%[x]], #16\n\t"
            "vldrb.8 q1, [%[row0]], #16\n\t"
            "vmladava.s8 %[sum0], q0, q1\n\t"
            "vldrb.8 q1, [%[row1]], #16\n\t"
            "vmladava.s8 %[sum1], q0, q1\n\t"
            "vldrb.8 q1, [%[row2]], #16\n\t"
            "vmladava.s8 %[sum2], q0, q1\n\t"
            "vldrb.8 q1, [%[row3]], #16\n\t"
            "vmladava.s8 %[sum3], q0, q1\n\t"
            "letp lr, 1b\n\t"
            "vmov q0[2], q0[0], %[sum0], %[sum2]\n\t"
            "vmov q0[3], q0[1], %[sum1], %[sum3]\n\t"
            "vmov %q[sums], q0"
            : [sum0] "+Te"(sum0), [sum1] "+Te"(sum1), [sum2] "+Te"(sum2), [sum3] "+Te"(sum3),
              [x] "+r"(x), [row0] "+r"(row0), [row1] "+r"(row1), [row2] "+r"(row2),
              [row3] "+r"(row3), [sums] "=w"(sums)
            : [count] "r"(count)
            : "lr", "q0", "q1", "cc", "memory");
    return sums;
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

/* The fields that all operators with weights have. */
typedef struct {
    const int8_t *weights;
    const int32_t *bias, *multiplier;
    const int8_t *shift;
    int32_t channels; /* of the output */
    int32_t per_channel, zero_point, lowest, highest;
} kt_layer_t;

#define KT_LAYER_OF(op)                                                                            \
    {(op)->weights, (op)->bias,        (op)->multiplier,        (op)->shift,                       \
     (op)->out_c,   (op)->per_channel, (op)->output_zero_point, (op)->lowest,                      \
     (op)->highest}

/* How the sums of four channels become codes. */
typedef struct {
    int32x4_t bias, multiplier, left, right;
    mve_pred16_t exists; /* which of the four do */
} kt_scaling_t;

/* Of channels channel ... channel + count - 1; those beyond four are left out. */
static inline kt_scaling_t kt_scaling(const kt_layer_t *layer, int32_t channel, int32_t count) {
    const mve_pred16_t exists = vctp32q((uint32_t)count);
    int32x4_t shift = vdupq_n_s32(layer->shift[0]);
    kt_scaling_t scaling;
    scaling.exists = exists;
    scaling.multiplier = vdupq_n_s32(layer->multiplier[0]);
    if (layer->per_channel) {
        scaling.multiplier = vldrwq_z_s32(layer->multiplier + channel, exists);
        shift = vldrbq_z_s32(layer->shift + channel, exists);
    }
    scaling.bias = vldrwq_z_s32(layer->bias + channel, exists);
    scaling.left = vmaxq_s32(shift, vdupq_n_s32(0));
    scaling.right = vminq_s32(shift, vdupq_n_s32(0));
    return scaling;
}

static inline void kt_store_codes(const kt_layer_t *layer, const kt_scaling_t *scaling,
                                  int32x4_t sums, int8_t *output) {
    int32x4_t negative;
    sums = vshlq_s32(vaddq_s32(sums, scaling->bias), scaling->left);
    sums = vqrdmulhq_s32(sums, scaling->multiplier);
    /* -1 where a negative number is shifted right: ties away from zero. */
    negative = vshrq_n_s32(vandq_s32(sums, scaling->right), 31);
    sums = vrshlq_s32(vaddq_s32(sums, negative), scaling->right);
    sums = vaddq_n_s32(sums, layer->zero_point);
    sums = vmaxq_s32(sums, vdupq_n_s32(layer->lowest));
    sums = vminq_s32(sums, vdupq_n_s32(layer->highest));
    vstrbq_p_s32(output, sums, scaling->exists);
}

enum { KT_BLOCK = 4 }; /* output positions whose channels are computed in turn */

/* Channels channel ... end - 1 of `pixels` output positions, each from a run of `count` codes. */
static inline void kt_put_channels(const kt_layer_t *layer, int32_t channel, int32_t end,
                                   const int8_t *x, int32_t count, int32_t pixels, int8_t *output) {
    while (channel < end) {
        /* Fewer than four are computed one by one; rows beyond the last are never read. */
        const int32_t step = end - channel < 4 ? 1 : 4;
        const kt_scaling_t scaling = kt_scaling(layer, channel, step);
        const int8_t *weights = layer->weights + channel * count, *codes = x;
        int8_t *place = output + channel;
        for (int32_t i = pixels; i > 0; i--, codes += count, place += layer->channels) {
            const int32_t stride = step == 4 ? count : 0;
            kt_store_codes(layer, &scaling, kt_multiply_rows(codes, weights, stride, count), place);
        }
        channel += step;
    }
}

#endif
