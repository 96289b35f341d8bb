#include "kt_kernels.h"

void kt_fill(int8_t code, uint32_t count, int8_t *output) {
    for (; count > 0; count--) {
        *output++ = code;
    }
}

static void kt_copy_row(const kt_copy_t *op, const int8_t *input, int8_t *output) {
    const int32_t from = op->input_stride[3], to = op->output_stride[3];
    for (uint32_t i = op->size[3]; i > 0; i--) {
        *output = *input;
        input += from;
        output += to;
    }
}

void kt_copy(const kt_copy_t *op, const int8_t *input, int8_t *output) {
    for (int32_t i = 0; i < (int32_t)op->size[0]; i++) {
        for (int32_t j = 0; j < (int32_t)op->size[1]; j++) {
            const int8_t *from = input + i * op->input_stride[0] + j * op->input_stride[1];
            int8_t *to = output + i * op->output_stride[0] + j * op->output_stride[1];
            for (uint32_t k = op->size[2]; k > 0; k--) {
                kt_copy_row(op, from, to);
                from += op->input_stride[2];
                to += op->output_stride[2];
            }
        }
    }
}
