#include "kt_kernels.h"
#include "kt_packed.h"
#include "kt_packed_run.h"

void kt_packed_depthwise_conv2d(const kt_packed_conv2d_t *packed, const int8_t *input,
                                int8_t *output, void *scratch) {
    kt_run_packed(packed, kt_depthwise_conv2d, 1, input, output, (int8_t *)scratch);
}
