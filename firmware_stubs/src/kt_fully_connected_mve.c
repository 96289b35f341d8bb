/* FULLY_CONNECTED, and CONV_2D with a kernel of 1 x 1, with Helium. No scratch. */
#include "kt_kernels.h"

#if KT_ISA == KT_ISA_MVE

#include "kt_mve.h"

static void kt_put_rows(const kt_layer_t *layer, int32_t rows, int32_t count, const int8_t *input,
                        int8_t *output) {
    for (; rows > 0; rows -= KT_BLOCK) {
        kt_put_channels(layer, 0, layer->channels, input, count, rows < KT_BLOCK ? rows : KT_BLOCK,
                        output);
        input += KT_BLOCK * count;
        output += KT_BLOCK * layer->channels;
    }
}

void kt_fully_connected(const kt_fully_connected_t *op, const int8_t *input, int8_t *output,
                        void *scratch) {
    const kt_layer_t layer = KT_LAYER_OF(op);
    (void)scratch;
    kt_put_rows(&layer, (int32_t)op->rows, (int32_t)op->in_c, input, output);
}

void kt_conv2d_1x1(const kt_conv2d_t *op, const int8_t *input, int8_t *output, void *scratch) {
    const kt_layer_t layer = KT_LAYER_OF(op);
    (void)scratch;
    kt_put_rows(&layer, op->out_h * op->out_w, op->in_c, input, output);
}

#endif
