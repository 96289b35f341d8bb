// Checks the adapter with the bundle that it is linked with: what it refuses, and that nothing
// outside of the arena is written. The port gives `kt_port_write`.
#include <string.h>

#include "kt_model_config.h"

static constexpr size_t kGuard = 64;
static constexpr uint8_t kFill = 0xA5;

KT_TFLM_ALIGNED static uint8_t memory[kGuard + KT_MODEL_ARENA_BYTES + kGuard];
static uint8_t *const arena = memory + kGuard;
static int8_t input[KT_MODEL_LARGEST_INPUT_BYTES];
static int8_t output[KT_MODEL_LARGEST_OUTPUT_BYTES];
static kt_tflm_node_t nodes[32];
static int failed = 0;

static void expect(bool holds, const char *what) {
    if (!holds) {
        kt_port_write("not so: ");
        kt_port_write(what);
        kt_port_write("\n");
        failed = 1;
    }
}

static kt_tflm_status_t open_with(const kt_tflm_config_t &config, size_t bytes) {
    kt_tflm_t model;
    return kt_tflm_open(&model, &config, arena, bytes);
}

static void check_arguments() {
    kt_tflm_t model;
    expect(kt_tflm_open(nullptr, &kt_model, arena, KT_MODEL_ARENA_BYTES) == KT_TFLM_ERROR_ARGUMENT,
           "a model must be given");
    expect(kt_tflm_open(&model, &kt_model, nullptr, KT_MODEL_ARENA_BYTES) == KT_TFLM_ERROR_ARGUMENT,
           "an arena must be given");
    expect(kt_tflm_run(&model, 0, input, output) == KT_TFLM_ERROR_ARGUMENT,
           "a model that did not open does not run");
    expect(kt_tflm_used_bytes(&model) == 0, "a model that did not open uses nothing");
    for (size_t offset = 1; offset < KT_TFLM_ALIGNMENT; offset++) {
        expect(kt_tflm_open(&model, &kt_model, arena + offset, KT_MODEL_ARENA_BYTES) ==
                   KT_TFLM_ERROR_ARENA_ALIGNMENT,
               "an unaligned arena is refused");
    }
    expect(open_with(kt_model, KT_MODEL_COPY_BYTES + KT_MODEL_RUNTIME_BYTES - 1) ==
               KT_TFLM_ERROR_ARENA_SIZE,
           "too small an arena is refused");
    expect(kt_tflm_open(&model, &kt_model, arena, KT_MODEL_ARENA_BYTES) == KT_TFLM_OK, "it opens");
    expect(kt_tflm_continue(&model, 0, output) == KT_TFLM_ERROR_NOT_KEPT,
           "nothing continues before anything ran");
    expect(kt_tflm_used_bytes(&model) > KT_MODEL_COPY_BYTES &&
               kt_tflm_used_bytes(&model) <= KT_MODEL_ARENA_BYTES,
           "what is used lies between the copies and the arena");
    expect(kt_tflm_run(&model, KT_MODEL_TASK_COUNT, input, output) == KT_TFLM_ERROR_ARGUMENT,
           "an unknown task is refused");
    expect(kt_tflm_run(&model, 0, nullptr, output) == KT_TFLM_ERROR_ARGUMENT, "an input is needed");
    expect(kt_tflm_input(&model, KT_MODEL_TASK_COUNT) == nullptr, "an unknown task has no input");
}

// Opens with the first node changed by `change`.
template <typename Change>
static kt_tflm_status_t open_changed(Change change) {
    kt_tflm_config_t config = kt_model;
    memcpy(nodes, kt_model.nodes, kt_model.node_count * sizeof *nodes);
    config.nodes = nodes;
    change(nodes[0]);
    return open_with(config, KT_MODEL_ARENA_BYTES);
}

static void check_nodes() {
    static const int32_t other_shape[8] = {7, 7, 7, 7, 7, 7, 7, 7};
    KT_TFLM_ALIGNED static const uint8_t no_model[16] = {1, 2, 3};
    if (kt_model.node_count > sizeof nodes / sizeof *nodes) {
        return;
    }
    expect(open_changed([](kt_tflm_node_t &) {}) == KT_TFLM_OK, "the same nodes open");
    expect(open_changed([](kt_tflm_node_t &node) { node.data += 4; }) ==
               KT_TFLM_ERROR_NODE_ALIGNMENT,
           "unaligned data are refused");
    expect(open_changed([](kt_tflm_node_t &node) { node.data = no_model; }) ==
               KT_TFLM_ERROR_NODE_FORMAT,
           "what is no .tflite file is refused");
    expect(open_changed([](kt_tflm_node_t &node) { node.input.scale *= 1.0001f; }) ==
               KT_TFLM_ERROR_NODE_TENSORS,
           "another input scale is refused");
    expect(open_changed([](kt_tflm_node_t &node) { node.output.zero_point++; }) ==
               KT_TFLM_ERROR_NODE_TENSORS,
           "another output zero point is refused");
    expect(open_changed([](kt_tflm_node_t &node) { node.output.bytes++; }) ==
               KT_TFLM_ERROR_NODE_TENSORS,
           "another output size is refused");
    expect(open_changed([](kt_tflm_node_t &node) { node.input.axes--; }) ==
               KT_TFLM_ERROR_NODE_TENSORS,
           "another number of axes is refused");
    expect(open_changed([](kt_tflm_node_t &node) { node.input.shape = other_shape; }) ==
               KT_TFLM_ERROR_NODE_TENSORS,
           "another input shape is refused");
}

// What is kept for other tasks is not in the runtime's part, and nothing is outside of the arena.
static void check_guards() {
    kt_tflm_t model;
    memset(memory, kFill, sizeof memory);
    expect(kt_tflm_open(&model, &kt_model, arena, KT_MODEL_ARENA_BYTES) == KT_TFLM_OK, "it opens");
    for (uint16_t task = 0; task < KT_MODEL_TASK_COUNT; task++) {
        expect(kt_tflm_run(&model, task, input, output) == KT_TFLM_OK, "what opens can run");
        (void)!kt_tflm_continue(&model, task, output);
    }
    for (size_t i = 0; i < kGuard; i++) {
        expect(memory[i] == kFill && arena[KT_MODEL_ARENA_BYTES + i] == kFill,
               "nothing outside of the arena is written");
    }
}

int main() {
    check_arguments();
    check_nodes();
    check_guards();
    kt_port_write(failed == 0 ? "CHECKS PASS\n" : "CHECKS FAIL\n");
    return failed;
}
