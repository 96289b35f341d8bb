#include "kt_tflm_selftest.h"

#include <string.h>

namespace {

void write_number(const char *before, int32_t number) {
    char digits[12];
    char *first = digits + sizeof digits - 1;
    uint32_t rest = number < 0 ? 0U - static_cast<uint32_t>(number) : static_cast<uint32_t>(number);
    *first = '\0';
    do {
        *--first = static_cast<char>('0' + rest % 10U);
        rest /= 10U;
    } while (rest > 0U);
    if (number < 0) {
        *--first = '-';
    }
    kt_port_write(before);
    kt_port_write(first);
}

void write_status(const char *what, kt_tflm_status_t status) {
    kt_port_write(what);
    write_number(": status ", status);
    kt_port_write(", ");
    kt_port_write(kt_tflm_message(status));
    kt_port_write("\n");
}

const kt_tflm_tensor_t &input_of(const kt_tflm_config_t *config, const kt_tflm_task_t &task) {
    return config->nodes[task.steps[0].node].input;
}

const kt_tflm_tensor_t &output_of(const kt_tflm_config_t *config, const kt_tflm_task_t &task) {
    return config->nodes[task.steps[task.step_count - 1].node].output;
}

bool is_equal(const char *name, const int8_t *expected, const int8_t *received, uint32_t bytes,
              int32_t tolerance) {
    for (uint32_t i = 0; i < bytes; i++) {
        const int32_t difference = received[i] - expected[i];
        if (difference > tolerance || difference < -tolerance) {
            kt_port_write(name);
            write_number(": element ", static_cast<int32_t>(i));
            write_number(": expected ", expected[i]);
            write_number(", received ", received[i]);
            kt_port_write("\n");
            return false;
        }
    }
    return true;
}

uint32_t equal_vectors(const kt_tflm_selftest_t &test, kt_tflm_t *model, uint16_t index) {
    const kt_tflm_task_t &task = test.config->tasks[index];
    const kt_tflm_golden_t &golden = test.golden[index];
    const uint32_t in = input_of(test.config, task).bytes;
    const uint32_t out = output_of(test.config, task).bytes;
    uint32_t equal = 0;
    for (uint32_t vector = 0; vector < golden.vectors; vector++) {
        const int8_t *expected = golden.outputs + vector * out;
        const kt_tflm_status_t status =
            kt_tflm_run(model, index, golden.inputs + vector * in, test.output);
        if (status != KT_TFLM_OK) {
            write_status(task.name, status);
        } else if (is_equal(task.name, expected, test.output, out, golden.tolerance)) {
            equal++;
        }
    }
    return equal;
}

// Another task's branch after this one's path; then its whole path must say the same.
bool continues_alike(const kt_tflm_selftest_t &test, kt_tflm_t *model, uint16_t index,
                     uint16_t other) {
    const kt_tflm_golden_t &golden = test.golden[index];
    const kt_tflm_task_t &task = test.config->tasks[index];
    const kt_tflm_task_t &second = test.config->tasks[other];
    const uint32_t bytes = output_of(test.config, task).bytes;
    kt_tflm_status_t status = kt_tflm_run(model, index, golden.inputs, test.output);
    if (status == KT_TFLM_OK) {
        status = kt_tflm_continue(model, other, test.output);
        if (status == KT_TFLM_ERROR_NOT_KEPT) {
            return true;
        }
    }
    if (status == KT_TFLM_OK) {
        status = kt_tflm_continue(model, index, test.again);
    }
    if (status == KT_TFLM_OK && !is_equal(task.name, golden.outputs, test.again, bytes,
                                          golden.tolerance)) {
        return false;
    }
    if (status == KT_TFLM_OK) {
        status = kt_tflm_run(model, other, golden.inputs, test.again);
    }
    if (status != KT_TFLM_OK) {
        write_status(second.name, status);
        return false;
    }
    return is_equal(second.name, test.again, test.output, output_of(test.config, second).bytes, 0);
}

bool passes(const kt_tflm_selftest_t &test, kt_tflm_t *model, uint16_t index) {
    const uint32_t vectors = test.golden[index].vectors;
    if (vectors == 0) {
        kt_port_write("golden ");
        kt_port_write(test.config->tasks[index].name);
        kt_port_write(": no golden vectors, not tested\n");
        return false;
    }
    const uint32_t equal = equal_vectors(test, model, index);
    bool is_alike = true;
    for (uint16_t other = 0; other < test.config->task_count; other++) {
        is_alike = continues_alike(test, model, index, other) && is_alike;
    }
    kt_port_write("golden ");
    kt_port_write(test.config->tasks[index].name);
    write_number(": ", static_cast<int32_t>(equal));
    write_number(" of ", static_cast<int32_t>(vectors));
    kt_port_write(is_alike ? " vectors equal\n" : " vectors equal, continuing differs\n");
    return equal == vectors && is_alike;
}

}  // namespace

int kt_tflm_selftest(const kt_tflm_selftest_t *test) {
    kt_tflm_t model;
    const kt_tflm_status_t status =
        kt_tflm_open(&model, test->config, test->arena, test->arena_bytes);
    int failed = 0;
    if (status != KT_TFLM_OK) {
        write_number("open: node ", model.failed_node);
        write_status("", status);
        kt_port_write("FAIL\n");
        return 1;
    }
    for (uint16_t task = 0; task < test->config->task_count; task++) {
        failed += passes(*test, &model, task) ? 0 : 1;
    }
    kt_port_write(failed == 0 ? "PASS\n" : "FAIL\n");
    return failed;
}
