#include <stddef.h>

#include "kt_kernels.h"
#include "kt_requantize.h"

/* Two rows of codes to one; a step of 0 repeats an input's first code. */
typedef struct {
    const int8_t *a, *b;
    int8_t *output;
    uint32_t count, step_a, step_b;
} kt_rows_t;

typedef void (*kt_row_function_t)(const void *op, const kt_rows_t *rows);

/* Calls `function` for each row of the last axis. */
static void kt_for_rows(const kt_broadcast_t *shape, const void *op, uint32_t count,
                        const int8_t *a, const int8_t *b, int8_t *output,
                        kt_row_function_t function) {
    kt_rows_t rows = {a, b, output, count, 1, 1};
    if (shape == NULL) {
        function(op, &rows);
        return;
    }
    rows.count = shape->size[3];
    rows.step_a = shape->stride_a[3];
    rows.step_b = shape->stride_b[3];
    for (uint32_t i = 0; i < shape->size[0]; i++) {
        for (uint32_t j = 0; j < shape->size[1]; j++) {
            rows.a = a + i * shape->stride_a[0] + j * shape->stride_a[1];
            rows.b = b + i * shape->stride_b[0] + j * shape->stride_b[1];
            for (uint32_t k = 0; k < shape->size[2]; k++) {
                function(op, &rows);
                rows.a += shape->stride_a[2];
                rows.b += shape->stride_b[2];
                rows.output += rows.count;
            }
        }
    }
}

/* A difference to the zero point, 20 bits up, times a factor below 1. The product with the
 * multiplier's halves fits 32 bits, so that no long multiply is needed. */
static inline int32_t kt_scaled(int32_t value, int32_t multiplier, int shift) {
    const int32_t low = value * (multiplier & 0xffff), high = value * (multiplier >> 16);
    return kt_rounding_shift(high * 32 + ((low + 1024) >> 11), -shift);
}

/* `sign` is 1 for ADD and -1 for SUB. One of the inputs has the larger scale, whose factor is half:
 * its values are shifted by 19 bits, with the sign in the factor. */
static inline void kt_sum_row(const kt_add_t *op, const kt_rows_t *rows, int32_t sign) {
    const int a_is_half = op->multiplier_a == (INT32_C(1) << 30) && op->shift_a == 0;
    const int8_t *half = a_is_half ? rows->a : rows->b, *other = a_is_half ? rows->b : rows->a;
    const uint32_t half_step = a_is_half ? rows->step_a : rows->step_b;
    const uint32_t other_step = a_is_half ? rows->step_b : rows->step_a;
    const int32_t half_zero = a_is_half ? op->zero_point_a : op->zero_point_b;
    const int32_t other_zero = a_is_half ? op->zero_point_b : op->zero_point_a;
    const int32_t half_factor = (a_is_half ? 1 : sign) * (INT32_C(1) << 19);
    const int32_t other_sign = a_is_half ? sign : 1;
    const int32_t multiplier = a_is_half ? op->multiplier_b : op->multiplier_a;
    const int shift = a_is_half ? op->shift_b : op->shift_a;
    const kt_add_t local = *op; /* stores of codes cannot alias it */
    int8_t *output = rows->output, *const end = output + rows->count;
    for (; output < end; half += half_step, other += other_step) {
        const int32_t scaled = kt_scaled(*other - other_zero, multiplier, shift);
        const int32_t sum = (*half - half_zero) * half_factor + scaled * other_sign;
        const int32_t high = kt_high_multiply(sum, local.multiplier_output);
        const int32_t value = kt_rounding_shift(high, -local.shift_output);
        *output++ =
            (int8_t)kt_clamp_code(value + local.output_zero_point, local.lowest, local.highest);
    }
}

static void kt_add_row(const void *op, const kt_rows_t *rows) {
    kt_sum_row((const kt_add_t *)op, rows, 1);
}

static void kt_sub_row(const void *op, const kt_rows_t *rows) {
    kt_sum_row((const kt_add_t *)op, rows, -1);
}

static void kt_mul_row(const void *parameters, const kt_rows_t *rows) {
    const kt_mul_t local = *(const kt_mul_t *)parameters;
    const int8_t *a = rows->a, *b = rows->b;
    const uint32_t step_a = rows->step_a, step_b = rows->step_b;
    int8_t *output = rows->output, *const end = output + rows->count;
    while (output < end) {
        const int32_t product = (*a - local.zero_point_a) * (*b - local.zero_point_b);
        const int32_t value = kt_requantize((uint32_t)product, local.multiplier, local.shift);
        *output++ =
            (int8_t)kt_clamp_code(value + local.output_zero_point, local.lowest, local.highest);
        a += step_a;
        b += step_b;
    }
}

static void kt_maximum_row(const void *op, const kt_rows_t *rows) {
    const int8_t *a = rows->a, *b = rows->b;
    int8_t *output = rows->output, *end = output + rows->count;
    (void)op;
    while (output < end) {
        *output++ = *a > *b ? *a : *b;
        a += rows->step_a;
        b += rows->step_b;
    }
}

static void kt_minimum_row(const void *op, const kt_rows_t *rows) {
    const int8_t *a = rows->a, *b = rows->b;
    int8_t *output = rows->output, *end = output + rows->count;
    (void)op;
    while (output < end) {
        *output++ = *a < *b ? *a : *b;
        a += rows->step_a;
        b += rows->step_b;
    }
}

void kt_add(const kt_add_t *op, const int8_t *a, const int8_t *b, int8_t *output) {
    kt_for_rows(op->broadcast, op, op->count, a, b, output, kt_add_row);
}

void kt_sub(const kt_add_t *op, const int8_t *a, const int8_t *b, int8_t *output) {
    kt_for_rows(op->broadcast, op, op->count, a, b, output, kt_sub_row);
}

void kt_mul(const kt_mul_t *op, const int8_t *a, const int8_t *b, int8_t *output) {
    kt_for_rows(op->broadcast, op, op->count, a, b, output, kt_mul_row);
}

void kt_maximum(const kt_maximum_t *op, const int8_t *a, const int8_t *b, int8_t *output) {
    kt_for_rows(op->broadcast, op, op->count, a, b, output, kt_maximum_row);
}

void kt_minimum(const kt_maximum_t *op, const int8_t *a, const int8_t *b, int8_t *output) {
    kt_for_rows(op->broadcast, op, op->count, a, b, output, kt_minimum_row);
}
