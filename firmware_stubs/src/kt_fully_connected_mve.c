/* FULLY_CONNECTED, and CONV_2D with a kernel of 1 x 1, with Helium. No scratch. */
#include "kt_kernels.h"

#if KT_ISA == KT_ISA_MVE

#include "kt_mve.h"

void kt_fully_connected(const kt_fully_connected_t *op, const int8_t *input, int8_t *output,
                        void *scratch) {
    const kt_scaling_t scaling = KT_SCALING_OF(op);
    const int32_t count = (int32_t)op->in_c;
    (void)scratch;
    for (uint32_t row = 0; row < op->rows; row++, input += count, output += op->out_c) {
        kt_put_channels(&scaling, op->weights, input, count, 0, op->out_c, output);
    }
}

void kt_conv2d_1x1(const kt_conv2d_t *op, const int8_t *input, int8_t *output, void *scratch) {
    const kt_scaling_t scaling = KT_SCALING_OF(op);
    const int32_t count = op->in_c, pixels = op->out_h * op->out_w;
    (void)scratch;
    for (int32_t pixel = 0; pixel < pixels; pixel++, input += count, output += op->out_c) {
        kt_put_channels(&scaling, op->weights, input, count, 0, op->out_c, output);
    }
}

#endif
