/*
 * Runs the kernels of one instruction set beside the portable ones, which are compiled under other
 * names (-Dkt_conv2d=kt_portable_conv2d and so on), on the same numbers drawn at random. Prints a
 * line for each case: whether the outputs are equal, whether the scratch memory was kept to, and
 * what SysTick counted down by meanwhile, where there is one.
 *
 * `kernel_cases.h` is generated: an array `kt_cases` of kt_case_t.
 */
#include <string.h>

#include "kt_kernels.h"

#if defined(__arm__)
void kt_port_write(const char *text); /* of ports/bare_metal.c */

/* The counter of SysTick, 24 bits; it runs from the first call. */
static uint32_t kt_ticks(void) {
    volatile uint32_t *systick = (volatile uint32_t *)0xE000E010U;
    if ((systick[0] & 1) == 0) {
        systick[1] = 0xffffffU, systick[2] = 0, systick[0] = 5;
    }
    return systick[2];
}
#else
#include <stdio.h>

static void kt_port_write(const char *text) {
    (void)fputs(text, stdout);
}

static uint32_t kt_ticks(void) {
    return 0;
}
#endif

typedef enum { KT_CONV, KT_CONV_1X1, KT_DEPTHWISE, KT_FULLY_CONNECTED } kt_kind_t;

/* `conv` holds the sizes of every kind; FULLY_CONNECTED has its rows in in_h. */
typedef struct {
    kt_kind_t kind;
    uint32_t scratch_bytes;
    uint32_t is_tame; /* factors and ranges as networks have them, without the extremes */
    kt_conv2d_t conv;
} kt_case_t;

#include "kernel_cases.h"

enum { KT_GUARD = 0x5A, KT_GUARD_BYTES = 64 };

void kt_portable_conv2d(const kt_conv2d_t *op, const int8_t *input, int8_t *output, void *scratch);
void kt_portable_depthwise_conv2d(const kt_conv2d_t *op, const int8_t *input, int8_t *output,
                                  void *scratch);
void kt_portable_fully_connected(const kt_fully_connected_t *op, const int8_t *input,
                                 int8_t *output, void *scratch);

static int8_t all_weights[KT_MAX_WEIGHTS], all_input[KT_MAX_INPUT];
static int8_t *weights, *input; /* at the arrays' ends, so that a sanitizer sees a read beyond */
static int8_t output[KT_MAX_OUTPUT + KT_GUARD_BYTES], expected[KT_MAX_OUTPUT];
static int32_t bias[KT_MAX_CHANNELS], multiplier[KT_MAX_CHANNELS];
static int8_t shift[KT_MAX_CHANNELS];
static uint32_t scratch[(KT_MAX_SCRATCH + KT_GUARD_BYTES) / 4 + 1];

static uint32_t kt_draw(uint32_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static void kt_draw_codes(int8_t *codes, uint32_t count, uint32_t *state) {
    for (uint32_t i = 0; i < count; i++) {
        codes[i] = (int8_t)(kt_draw(state) >> 24);
    }
}

/* One channel in eight has numbers that networks hardly ever have. */
static void kt_draw_channels(uint32_t count, uint32_t taps, int is_tame, uint32_t *state) {
    int8_t common = -6;
    for (; taps > 1; taps >>= 2) {
        common--;
    }
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t kind = is_tame ? 15 : kt_draw(state) % 64;
        bias[i] = (int32_t)kt_draw(state) >> 16;
        multiplier[i] = (int32_t)(0x40000000U | kt_draw(state) >> 2);
        shift[i] = (int8_t)(common - (int8_t)(kt_draw(state) % 3));
        if (kind < 4) {
            bias[i] = (int32_t)kt_draw(state) / 2;
        }
        if (kind == 4 || kind == 5) {
            shift[i] = (int8_t)(kt_draw(state) % 4);
        } else if (kind == 6) {
            shift[i] = (int8_t)(-1 - (int)(kt_draw(state) % 31));
        } else if (kind == 7) {
            multiplier[i] = (int32_t)(kt_draw(state) >> 2);
        } else if (kind == 8) {
            multiplier[i] = 0;
        }
    }
}

static kt_fully_connected_t kt_rows(const kt_conv2d_t *op) {
    kt_fully_connected_t rows;
    rows.weights = op->weights;
    rows.bias = op->bias;
    rows.multiplier = op->multiplier;
    rows.shift = op->shift;
    rows.rows = op->in_h;
    rows.in_c = op->in_c;
    rows.out_c = op->out_c;
    rows.per_channel = op->per_channel;
    rows.output_zero_point = op->output_zero_point;
    rows.lowest = op->lowest;
    rows.highest = op->highest;
    return rows;
}

/* What SysTick counted while the kernel ran. */
static uint32_t kt_run(const kt_case_t *test, const kt_conv2d_t *op) {
    const kt_fully_connected_t rows = kt_rows(op);
    void *memory = test->scratch_bytes > 0 ? scratch : 0;
    const uint32_t start = kt_ticks();
    if (test->kind == KT_CONV) {
        kt_conv2d(op, input, output, memory);
    } else if (test->kind == KT_CONV_1X1) {
        kt_conv2d_1x1(op, input, output, memory);
    } else if (test->kind == KT_DEPTHWISE) {
        kt_depthwise_conv2d(op, input, output, memory);
    } else {
        kt_fully_connected(&rows, input, output, memory);
    }
    return (start - kt_ticks()) & 0xffffffU;
}

static void kt_run_portable(const kt_case_t *test, const kt_conv2d_t *op) {
    const kt_fully_connected_t rows = kt_rows(op);
    if (test->kind == KT_DEPTHWISE) {
        kt_portable_depthwise_conv2d(op, input, expected, 0);
    } else if (test->kind == KT_FULLY_CONNECTED) {
        kt_portable_fully_connected(&rows, input, expected, 0);
    } else {
        kt_portable_conv2d(op, input, expected, 0);
    }
}

static int kt_is_guarded(const void *guard) {
    const uint8_t *bytes = (const uint8_t *)guard;
    for (uint32_t i = 0; i < KT_GUARD_BYTES; i++) {
        if (bytes[i] != KT_GUARD) {
            return 0;
        }
    }
    return 1;
}

static void kt_write_number(uint32_t number) {
    char text[12];
    char *digit = text + sizeof text - 1;
    *digit = '\0';
    do {
        *--digit = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    kt_port_write(digit);
}

static int kt_check(const kt_case_t *test, uint32_t number) {
    kt_conv2d_t op = test->conv;
    uint32_t state = 0x9E3779B9U * (number + 1), ticks;
    const uint32_t depth = test->kind == KT_DEPTHWISE ? 1U : (uint32_t)op.in_c / op.groups;
    const uint32_t filter = (uint32_t)op.kernel_h * op.kernel_w * depth;
    const uint32_t inputs = (uint32_t)op.in_h * op.in_w * op.in_c;
    const uint32_t outputs = (uint32_t)op.out_h * op.out_w * op.out_c;
    int is_equal, is_kept;
    weights = all_weights + KT_MAX_WEIGHTS - filter * op.out_c;
    input = all_input + KT_MAX_INPUT - inputs;
    op.weights = weights, op.bias = bias, op.multiplier = multiplier, op.shift = shift;
    kt_draw_codes(weights, filter * op.out_c, &state);
    kt_draw_codes(input, inputs, &state);
    kt_draw_channels(op.out_c, filter, test->is_tame != 0, &state);
    memset(output, KT_GUARD, outputs + KT_GUARD_BYTES);
    memset(scratch, KT_GUARD, test->scratch_bytes + KT_GUARD_BYTES);
    ticks = kt_run(test, &op);
    kt_run_portable(test, &op);
    is_equal = memcmp(output, expected, outputs) == 0 && kt_is_guarded(output + outputs);
    is_kept = kt_is_guarded((const uint8_t *)scratch + test->scratch_bytes);
    kt_write_number(number);
    kt_port_write(is_equal ? " equal" : " different");
    kt_port_write(is_kept ? " kept " : " overrun ");
    kt_write_number(ticks);
    kt_port_write("\n");
    return is_equal && is_kept;
}

int main(void) {
    int failures = 0;
    for (uint32_t i = 0; i < sizeof kt_cases / sizeof kt_cases[0]; i++) {
        failures += !kt_check(&kt_cases[i], i);
    }
    return failures != 0;
}
