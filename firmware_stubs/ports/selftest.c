#include "kt_selftest.h"

static void write_number(int32_t number) {
    char digits[12];
    char *first = digits + sizeof digits - 1;
    uint32_t rest = number < 0 ? 0U - (uint32_t)number : (uint32_t)number;
    *first = '\0';
    do {
        *--first = (char)('0' + rest % 10U);
        rest /= 10U;
    } while (rest > 0U);
    if (number < 0) {
        *--first = '-';
    }
    kt_port_write(first);
}

static void write_field(const char *before, int32_t number) {
    kt_port_write(before);
    write_number(number);
}

static void write_difference(const kt_selftest_case_t *test, uint32_t vector, uint32_t element,
                             int8_t expected, int8_t received) {
    kt_port_write("golden ");
    kt_port_write(test->task);
    write_field(": vector ", (int32_t)vector);
    write_field(", element ", (int32_t)element);
    write_field(": expected ", expected);
    write_field(", received ", received);
    kt_port_write("\n");
}

/* 1 where all `output_bytes` of a vector are as recorded. */
static int is_equal(const kt_selftest_case_t *test, uint32_t vector) {
    const int8_t *expected = test->outputs + vector * test->output_bytes;
    const int8_t *received = kt_selftest_buffer + test->output_offset;
    for (uint32_t i = 0; i < test->output_bytes; i++) {
        if (received[i] != expected[i]) {
            write_difference(test, vector, i, expected[i], received[i]);
            return 0;
        }
    }
    return 1;
}

static int run_vector(const kt_selftest_case_t *test, uint32_t vector, uint32_t *stack_bytes) {
    const int8_t *input = test->inputs + vector * test->input_bytes;
    int8_t *place = kt_selftest_buffer + test->input_offset;
    uint32_t used;
    for (uint32_t i = 0; i < test->input_bytes; i++) {
        place[i] = input[i];
    }
    kt_port_stack_fill();
    test->run(kt_selftest_buffer);
    used = kt_port_stack_used();
    *stack_bytes = used > *stack_bytes ? used : *stack_bytes;
    return is_equal(test, vector);
}

static int run_case(const kt_selftest_case_t *test) {
    uint32_t equal = 0, stack_bytes = 0;
    if (test->vectors == 0) {
        kt_port_write("golden ");
        kt_port_write(test->task);
        kt_port_write(": no golden vectors, not tested\n");
        return 1;
    }
    for (uint32_t vector = 0; vector < test->vectors; vector++) {
        equal += (uint32_t)run_vector(test, vector, &stack_bytes);
    }
    kt_port_write("golden ");
    kt_port_write(test->task);
    write_field(": ", (int32_t)equal);
    write_field(" of ", (int32_t)test->vectors);
    kt_port_write(" vectors equal");
    if (stack_bytes > 0) {
        write_field(", stack ", (int32_t)stack_bytes);
        kt_port_write(" bytes");
    }
    kt_port_write("\n");
    return equal != test->vectors;
}

int kt_selftest(void) {
    int failed = 0;
    for (uint32_t i = 0; i < kt_selftest_case_count; i++) {
        failed += run_case(&kt_selftest_cases[i]);
    }
    kt_port_write(failed == 0 ? "PASS\n" : "FAIL\n");
    return failed;
}

#if !defined(KT_SELFTEST_NO_MAIN) /* a firmware has its own */
int main(void) {
    return kt_selftest() == 0 ? 0 : 1;
}
#endif
