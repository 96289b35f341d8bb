#include "kt_kernels.h"
#include "kt_requantize.h"

void kt_mean(const kt_reduce_t *op, const int8_t *input, int8_t *output) {
    const int32_t step = (int32_t)op->inner;
    for (uint32_t outer = 0; outer < op->outer; outer++) {
        for (uint32_t inner = 0; inner < op->inner; inner++) {
            const int8_t *code = input + inner;
            int32_t sum = op->bias;
            for (uint32_t i = op->reduced; i > 0; i--, code += step) {
                sum += *code;
            }
            const int32_t value = kt_requantize((uint32_t)sum, op->multiplier, op->shift);
            *output++ = (int8_t)kt_clamp_code(value + op->output_zero_point, INT8_MIN, INT8_MAX);
        }
        input += op->reduced * op->inner;
    }
}

void kt_reduce_max(const kt_reduce_t *op, const int8_t *input, int8_t *output) {
    const int32_t step = (int32_t)op->inner;
    for (uint32_t outer = 0; outer < op->outer; outer++) {
        for (uint32_t inner = 0; inner < op->inner; inner++) {
            const int8_t *code = input + inner;
            int32_t largest = INT8_MIN;
            for (uint32_t i = op->reduced; i > 0; i--, code += step) {
                largest = *code > largest ? *code : largest;
            }
            *output++ = (int8_t)largest;
        }
        input += op->reduced * op->inner;
    }
}
