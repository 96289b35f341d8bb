#include "kt_kernels.h"
#include "kt_requantize.h"

void kt_prelu(const kt_prelu_t *op, const int8_t *input, int8_t *output) {
    for (uint32_t outer = 0; outer < op->outer; outer++) {
        for (uint32_t inner = 0; inner < op->inner; inner++) {
            int32_t value = *input++ - op->input_zero_point;
            if (value >= 0) {
                value = kt_requantize((uint32_t)value, op->multiplier_positive, op->shift_positive);
            } else {
                value *= op->slope[inner] - op->slope_zero_point;
                value = kt_requantize((uint32_t)value, op->multiplier_negative, op->shift_negative);
            }
            *output++ = (int8_t)kt_clamp_code(value + op->output_zero_point, INT8_MIN, INT8_MAX);
        }
    }
}
