/*
 * Codes and real numbers: what stands on both sides of a quantized path.
 *
 *     network input  = raw * KT_MODEL_RAW_SCALE + KT_MODEL_RAW_OFFSET
 *     code           = kt_tflm_quantize(network input, KT_MODEL_DIGIT_INPUT_SCALE, ..._ZERO_POINT)
 *     network output = kt_tflm_dequantize(code, KT_MODEL_DIGIT_OUTPUT_SCALE, ..._ZERO_POINT)
 */
#ifndef KT_TFLM_QUANTIZATION_H
#define KT_TFLM_QUANTIZATION_H

#include <math.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The code nearest to `value`; halves go away from zero, what is out of range saturates. NaN gives
 * -128. */
static inline int8_t kt_tflm_quantize(float value, float scale, int32_t zero_point) {
    const float code = roundf(value / scale) + (float)zero_point;
    if (!(code > -128.0f)) {
        return -128;
    }
    return code < 127.0f ? (int8_t)code : (int8_t)127;
}

/* The real number that `code` stands for. */
static inline float kt_tflm_dequantize(int8_t code, float scale, int32_t zero_point) {
    return scale * (float)(code - zero_point);
}

/* Index of the largest of `count` codes, the first of equal ones; `count` at least 1. */
static inline uint32_t kt_tflm_largest(const int8_t *codes, uint32_t count) {
    uint32_t largest = 0;
    uint32_t i;
    for (i = 1; i < count; i++) {
        if (codes[i] > codes[largest]) {
            largest = i;
        }
    }
    return largest;
}

#ifdef __cplusplus
}
#endif

#endif
