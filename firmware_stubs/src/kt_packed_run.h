/*
 * A layer with packed weights, by the kernel for int8 weights: a block of output channels and a
 * strip of output rows at a time. Private to the kernels.
 */
#ifndef KT_PACKED_RUN_H
#define KT_PACKED_RUN_H

#include "kt_packed.h"

typedef void kt_convolution_t(const kt_conv2d_t *op, const int8_t *input, int8_t *output,
                              void *scratch);

#ifdef __cplusplus
extern "C" {
#endif

/* `is_depthwise`: the kernel is that of DEPTHWISE_CONV_2D. */
void kt_run_packed(const kt_packed_conv2d_t *packed, kt_convolution_t *kernel, int is_depthwise,
                   const int8_t *input, int8_t *output, int8_t *scratch);

/* `count` neighbouring codes at each of `places`, which are as far apart as the steps say. */
void kt_move_block(const int8_t *from, int32_t from_step, int8_t *to, int32_t to_step,
                   int32_t count, int32_t places);

#ifdef __cplusplus
}
#endif

#endif
