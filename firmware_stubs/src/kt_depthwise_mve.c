/*
 * DEPTHWISE_CONV_2D with Helium: what four output positions see is brought together in `scratch`,
 * with a code for each output channel. Then eight channels of two positions are computed at a time:
 * codes are widened to 16 bits by the load and multiplied to 32; products of even and odd channels
 * are summed apart.
 *
 * Scratch, in bytes: 4 * kernel_h * kernel_w * out_c.
 */
#include "kt_kernels.h"

#if KT_ISA == KT_ISA_MVE

#include "kt_mve.h"
#include "kt_mve_window.h"

/* Sums of two positions. */
typedef struct {
    int32x4_t even0, odd0, even1, odd1;
} kt_sums_t;

/* Eight channels, of which `exists` do, over all taps; a tap is `channels` codes from the next. */
static inline kt_sums_t kt_sum_taps(const int8_t *first, const int8_t *second,
                                    const int8_t *weights, int32_t channels, int32_t taps,
                                    mve_pred16_t exists) {
    const int32x4_t zero = vdupq_n_s32(0);
    kt_sums_t sums = {zero, zero, zero, zero};
    __asm__("vmsr p0, %[exists]\n\t"
            "dls lr, %[taps]\n"
            "1:\n\t"
            "vpsttt\n\t"
            "vldrbt.s16 q0, [%[weights]]\n\t"
            "vldrbt.s16 q1, [%[first]]\n\t"
            "vldrbt.s16 q2, [%[second]]\n\t"
            "add %[weights], %[weights], %[channels]\n\t"
            "vmullb.s16 q3, q1, q0\n\t"
            "add %[first], %[first], %[channels]\n\t"
            "vadd.i32 %q[even0], %q[even0], q3\n\t"
            "vmullt.s16 q3, q1, q0\n\t"
            "add %[second], %[second], %[channels]\n\t"
            "vadd.i32 %q[odd0], %q[odd0], q3\n\t"
            "vmullb.s16 q3, q2, q0\n\t"
            "vadd.i32 %q[even1], %q[even1], q3\n\t"
            "vmullt.s16 q3, q2, q0\n\t"
            "vadd.i32 %q[odd1], %q[odd1], q3\n\t"
            "le lr, 1b"
            : [even0] "+w"(sums.even0), [odd0] "+w"(sums.odd0), [even1] "+w"(sums.even1),
              [odd1] "+w"(sums.odd1), [first] "+l"(first), [second] "+l"(second),
              [weights] "+l"(weights)
            : [exists] "r"((int32_t)exists), [channels] "r"(channels), [taps] "r"(taps)
            : "lr", "q0", "q1", "q2", "q3", "cc", "memory");
    return sums;
}

/* Puts even and odd channels in turn. */
static inline void kt_store_turns(int32_t sum[8], int32x4_t even, int32x4_t odd) {
    int32x4x2_t pairs;
    pairs.val[0] = even;
    pairs.val[1] = odd;
    vst2q_s32(sum, pairs);
}

/* Eight channels of `pixels` positions. */
static void kt_put_eight(const kt_conv2d_t *op, const kt_layer_t *layer, int32_t channel,
                         const int8_t *windows, int32_t pixels, int8_t *output) {
    const int32_t channels = op->out_c, taps = op->kernel_h * op->kernel_w;
    const int32_t left = channels - channel;
    const kt_scaling_t low = kt_scaling(layer, channel, left);
    const kt_scaling_t high = kt_scaling(layer, channel + 4, left < 4 ? 0 : left - 4);
    for (int32_t i = 0; i < pixels; i += 2) {
        const int8_t *first = windows + i * taps * channels;
        const int8_t *second = i + 1 < pixels ? first + taps * channels : first;
        const kt_sums_t sums = kt_sum_taps(first, second, layer->weights + channel, channels, taps,
                                           vctp16q((uint32_t)left));
        int32_t sum[8];
        kt_store_turns(sum, sums.even0, sums.odd0);
        kt_store_codes(layer, &low, vldrwq_s32(sum), output);
        kt_store_codes(layer, &high, vldrwq_s32(sum + 4), output + 4);
        output += channels;
        if (second != first) {
            kt_store_turns(sum, sums.even1, sums.odd1);
            kt_store_codes(layer, &low, vldrwq_s32(sum), output);
            kt_store_codes(layer, &high, vldrwq_s32(sum + 4), output + 4);
            output += channels;
        }
    }
}

void kt_depthwise_conv2d(const kt_conv2d_t *op, const int8_t *input, int8_t *output,
                         void *scratch) {
    const kt_layer_t layer = KT_LAYER_OF(op);
    const kt_window_t window = KT_WINDOW_OF(op, op->in_c, op->groups);
    const int32_t count = op->kernel_h * op->kernel_w * op->out_c, pixels = op->out_h * op->out_w;
    int8_t *windows = (int8_t *)scratch;
    for (int32_t pixel = 0; pixel < pixels; pixel += KT_BLOCK, output += KT_BLOCK * op->out_c) {
        const int32_t block = pixels - pixel < KT_BLOCK ? pixels - pixel : KT_BLOCK;
        for (int32_t i = 0; i < block; i++) {
            kt_put_window(&window, pixel + i, input, windows + i * count);
        }
        for (int32_t channel = 0; channel < op->out_c; channel += 8) {
            kt_put_eight(op, &layer, channel, windows + channel, block, output + channel);
        }
    }
}

#endif
