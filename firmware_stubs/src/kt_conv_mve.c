/*
 * CONV_2D with Helium: the codes that four output positions see of one group are brought together
 * in `scratch`, then multiplied with four output channels' weights at a time.
 *
 * Scratch, in bytes: 4 * kernel_h * kernel_w * in_c / groups.
 */
#include "kt_kernels.h"

#if KT_ISA == KT_ISA_MVE

#include "kt_mve.h"
#include "kt_mve_window.h"

void kt_conv2d(const kt_conv2d_t *op, const int8_t *input, int8_t *output, void *scratch) {
    const kt_layer_t layer = KT_LAYER_OF(op);
    const int32_t depth = op->in_c / op->groups, per_group = op->out_c / op->groups;
    const int32_t count = op->kernel_h * op->kernel_w * depth, pixels = op->out_h * op->out_w;
    const kt_window_t window = KT_WINDOW_OF(op, depth, 1);
    int8_t *windows = (int8_t *)scratch;
    for (int32_t pixel = 0; pixel < pixels; pixel += KT_BLOCK, output += KT_BLOCK * op->out_c) {
        const int32_t block = pixels - pixel < KT_BLOCK ? pixels - pixel : KT_BLOCK;
        for (int32_t group = 0; group < op->groups; group++) {
            for (int32_t i = 0; i < block; i++) {
                kt_put_window(&window, pixel + i, input + group * depth, windows + i * count);
            }
            kt_put_channels(&layer, group * per_group, (group + 1) * per_group, windows, count,
                            block, output);
        }
    }
}

#endif
