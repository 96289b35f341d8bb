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

static inline int8_t kt_sum_code(const kt_add_t *op, int32_t sum) {
    const int32_t value =
        kt_rounding_shift(kt_high_multiply(sum, op->multiplier_output), -op->shift_output);
    return (int8_t)kt_clamp_code(value + op->output_zero_point, op->lowest, op->highest);
}

static void kt_add_row(const void *parameters, const kt_rows_t *rows) {
    const kt_add_t *op = (const kt_add_t *)parameters;
    const int8_t *a = rows->a, *b = rows->b;
    int8_t *output = rows->output, *end = output + rows->count;
    while (output < end) {
        const int32_t first = kt_scaled(*a - op->zero_point_a, op->multiplier_a, op->shift_a);
        const int32_t second = kt_scaled(*b - op->zero_point_b, op->multiplier_b, op->shift_b);
        *output++ = kt_sum_code(op, first + second);
        a += rows->step_a;
        b += rows->step_b;
    }
}

static void kt_sub_row(const void *parameters, const kt_rows_t *rows) {
    const kt_add_t *op = (const kt_add_t *)parameters;
    const int8_t *a = rows->a, *b = rows->b;
    int8_t *output = rows->output, *end = output + rows->count;
    while (output < end) {
        const int32_t first = kt_scaled(*a - op->zero_point_a, op->multiplier_a, op->shift_a);
        const int32_t second = kt_scaled(*b - op->zero_point_b, op->multiplier_b, op->shift_b);
        *output++ = kt_sum_code(op, first - second);
        a += rows->step_a;
        b += rows->step_b;
    }
}

static void kt_mul_row(const void *parameters, const kt_rows_t *rows) {
    const kt_mul_t *op = (const kt_mul_t *)parameters;
    const int8_t *a = rows->a, *b = rows->b;
    int8_t *output = rows->output, *end = output + rows->count;
    while (output < end) {
        const int32_t product = (*a - op->zero_point_a) * (*b - op->zero_point_b);
        const int32_t value = kt_requantize((uint32_t)product, op->multiplier, op->shift);
        *output++ = (int8_t)kt_clamp_code(value + op->output_zero_point, op->lowest, op->highest);
        a += rows->step_a;
        b += rows->step_b;
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
