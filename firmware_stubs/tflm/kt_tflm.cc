#include "kt_tflm.h"

#include <string.h>

#include "tensorflow/lite/micro/micro_allocator.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_op_resolver.h"
#include "tensorflow/lite/schema/schema_generated.h"

namespace {

using tflite::MicroAllocator;
using tflite::MicroInterpreter;

constexpr size_t kIdentifierAt = 4;  // of "TFL3" in the file
constexpr size_t kHeaderBytes = 8;

// A place for an object; `operator new` of <new> would do the same.
struct Room {
    void *start;
};

}  // namespace

inline void *operator new(size_t, Room room) noexcept {
    return room.start;
}

namespace {

bool is_aligned(const void *start) {
    return reinterpret_cast<uintptr_t>(start) % KT_TFLM_ALIGNMENT == 0;
}

MicroInterpreter *interpreter_at(const kt_tflm_t *model, size_t place) {
    return static_cast<MicroInterpreter *>(model->config->interpreters) + place;
}

// Whether a path comes to the node of a step for the first time.
bool is_first(const kt_tflm_task_t &task, size_t step) {
    size_t before = 0;
    while (task.steps[before].node != task.steps[step].node) {
        before++;
    }
    return before == step;
}

// A node's interpreter: of all nodes in their order, or of the path's nodes in its order.
MicroInterpreter *interpreter_of(const kt_tflm_t *model, const kt_tflm_task_t &task, size_t step) {
    const uint16_t node = task.steps[step].node;
    size_t place = 0;
    if (model->config->allocates_all) {
        return interpreter_at(model, node);
    }
    for (size_t before = 0; task.steps[before].node != node; before++) {
        place += is_first(task, before) ? 1 : 0;
    }
    return interpreter_at(model, place);
}

bool is_as_stated(const TfLiteTensor *tensor, const kt_tflm_tensor_t &stated) {
    if (tensor == nullptr || tensor->type != kTfLiteInt8 || tensor->bytes != stated.bytes ||
        tensor->dims == nullptr || tensor->dims->size != static_cast<int>(stated.axes) ||
        tensor->params.scale != stated.scale || tensor->params.zero_point != stated.zero_point) {
        return false;
    }
    for (uint32_t axis = 0; axis < stated.axes; axis++) {
        if (tensor->dims->data[axis] != stated.shape[axis]) {
            return false;
        }
    }
    return true;
}

kt_tflm_status_t check_format(const kt_tflm_node_t &node) {
    if (node.data == nullptr || !is_aligned(node.data)) {
        return KT_TFLM_ERROR_NODE_ALIGNMENT;
    }
    if (node.bytes < kHeaderBytes || memcmp(node.data + kIdentifierAt, "TFL3", 4) != 0 ||
        tflite::GetModel(node.data)->version() != TFLITE_SCHEMA_VERSION) {
        return KT_TFLM_ERROR_NODE_FORMAT;
    }
    return KT_TFLM_OK;
}

kt_tflm_status_t allocate_node(kt_tflm_t *model, MicroAllocator *allocator, uint16_t index,
                               MicroInterpreter *place) {
    const kt_tflm_node_t &node = model->config->nodes[index];
    model->failed_node = static_cast<int16_t>(index);
    const kt_tflm_status_t status = check_format(node);
    if (status != KT_TFLM_OK) {
        return status;
    }
    const auto *resolver = static_cast<const tflite::MicroOpResolver *>(model->resolver);
    // What stood there before is left as it is: it holds nothing that would have to be given back.
    auto *interpreter = new (Room{place})
        MicroInterpreter(tflite::GetModel(node.data), *resolver, allocator);
    if (interpreter->initialization_status() != kTfLiteOk ||
        interpreter->AllocateTensors() != kTfLiteOk) {
        return KT_TFLM_ERROR_NODE_ALLOCATION;
    }
    if (interpreter->inputs_size() != 1 || interpreter->outputs_size() != 1 ||
        !is_as_stated(interpreter->input(0), node.input) ||
        !is_as_stated(interpreter->output(0), node.output)) {
        return KT_TFLM_ERROR_NODE_TENSORS;
    }
    model->failed_node = -1;
    return KT_TFLM_OK;
}

kt_tflm_status_t allocate_all(kt_tflm_t *model) {
    MicroAllocator *allocator = MicroAllocator::Create(model->arena, model->arena_bytes);
    kt_tflm_status_t status = KT_TFLM_OK;
    for (uint16_t node = 0; status == KT_TFLM_OK && node < model->config->node_count; node++) {
        status = allocate_node(model, allocator, node, interpreter_at(model, node));
    }
    return status;
}

// Allocates the nodes of one path where that is not the one that is allocated.
kt_tflm_status_t allocate_path(kt_tflm_t *model, uint16_t index) {
    if (model->config->allocates_all || model->allocated == static_cast<int16_t>(index)) {
        return KT_TFLM_OK;
    }
    const kt_tflm_task_t &task = model->config->tasks[index];
    MicroAllocator *allocator = MicroAllocator::Create(model->arena, model->arena_bytes);
    model->allocated = -1;
    for (uint16_t step = 0; step < task.step_count; step++) {
        if (!is_first(task, step)) {
            continue;
        }
        const kt_tflm_status_t status = allocate_node(model, allocator, task.steps[step].node,
                                                      interpreter_of(model, task, step));
        if (status != KT_TFLM_OK) {
            return status;
        }
    }
    model->allocated = static_cast<int16_t>(index);
    return KT_TFLM_OK;
}

kt_tflm_status_t allocate(kt_tflm_t *model) {
    if (model->config->allocates_all) {
        return allocate_all(model);
    }
    // Every path once, so that a model that opened can run.
    kt_tflm_status_t status = KT_TFLM_OK;
    for (uint16_t task = 0; status == KT_TFLM_OK && task < model->config->task_count; task++) {
        status = allocate_path(model, task);
    }
    return status;
}

// Runs a path from `step` on. The node's output is moved on before anything else runs: the next
// node's activations lie where it lies.
kt_tflm_status_t run_from(kt_tflm_t *model, const kt_tflm_task_t &task, size_t step,
                          const int8_t *codes, int8_t *output) {
    for (; step < task.step_count; step++) {
        const kt_tflm_node_t &node = model->config->nodes[task.steps[step].node];
        const int16_t copy = task.steps[step].copy;
        MicroInterpreter *interpreter = interpreter_of(model, task, step);
        memmove(interpreter->input(0)->data.int8, codes, node.input.bytes);
        if (interpreter->Invoke() != kTfLiteOk) {
            model->failed_node = static_cast<int16_t>(task.steps[step].node);
            return KT_TFLM_ERROR_INVOKE;
        }
        codes = interpreter->output(0)->data.int8;
        if (copy >= 0 && model->config->allocates_all) {
            int8_t *place = model->copies + model->config->copies[copy].offset;
            memcpy(place, codes, node.output.bytes);
            codes = place;
            model->kept = copy;
        }
    }
    const kt_tflm_step_t &last = task.steps[task.step_count - 1];
    memcpy(output, codes, model->config->nodes[last.node].output.bytes);
    return KT_TFLM_OK;
}

bool is_kept(const kt_tflm_t *model, int16_t copy) {
    int16_t kept = model->kept;
    while (kept >= 0 && kept != copy) {
        kept = model->config->copies[kept].parent;
    }
    return kept >= 0;
}

bool is_task(const kt_tflm_t *model, uint16_t task) {
    return model != nullptr && model->config != nullptr && task < model->config->task_count;
}

}  // namespace

kt_tflm_status_t kt_tflm_open(kt_tflm_t *model, const kt_tflm_config_t *config, uint8_t *arena,
                              size_t arena_bytes) {
    if (model == nullptr) {
        return KT_TFLM_ERROR_ARGUMENT;
    }
    // Until everything is checked there are no tasks that could run.
    *model = {nullptr, nullptr, nullptr, nullptr, 0, -1, -1, -1};
    if (config == nullptr || arena == nullptr) {
        return KT_TFLM_ERROR_ARGUMENT;
    }
    if (!is_aligned(arena)) {
        return KT_TFLM_ERROR_ARENA_ALIGNMENT;
    }
    // Not left to the runtime: where memory for a temporary tensor is missing, some of its kernels
    // follow a null pointer before they tell.
    if (arena_bytes < config->arena_bytes) {
        return KT_TFLM_ERROR_ARENA_SIZE;
    }
    model->resolver = config->make_resolver(config->resolver);
    if (model->resolver == nullptr) {
        return KT_TFLM_ERROR_RESOLVER;
    }
    model->config = config;
    model->copies = reinterpret_cast<int8_t *>(arena);
    model->arena = arena + config->copy_bytes;
    model->arena_bytes = arena_bytes - config->copy_bytes;
    const kt_tflm_status_t status = allocate(model);
    if (status != KT_TFLM_OK) {
        model->config = nullptr;
    }
    return status;
}

int8_t *kt_tflm_input(kt_tflm_t *model, uint16_t task) {
    if (!is_task(model, task) || allocate_path(model, task) != KT_TFLM_OK) {
        return nullptr;
    }
    return interpreter_of(model, model->config->tasks[task], 0)->input(0)->data.int8;
}

kt_tflm_status_t kt_tflm_run(kt_tflm_t *model, uint16_t task, const int8_t *input, int8_t *output) {
    if (!is_task(model, task) || input == nullptr || output == nullptr) {
        return KT_TFLM_ERROR_ARGUMENT;
    }
    model->kept = -1;
    const kt_tflm_status_t status = allocate_path(model, task);
    if (status != KT_TFLM_OK) {
        return status;
    }
    return run_from(model, model->config->tasks[task], 0, input, output);
}

kt_tflm_status_t kt_tflm_continue(kt_tflm_t *model, uint16_t task, int8_t *output) {
    if (!is_task(model, task) || output == nullptr) {
        return KT_TFLM_ERROR_ARGUMENT;
    }
    const kt_tflm_task_t &path = model->config->tasks[task];
    for (size_t step = path.step_count; step-- > 0;) {
        const int16_t copy = path.steps[step].copy;
        if (copy >= 0 && is_kept(model, copy)) {
            const int8_t *codes = model->copies + model->config->copies[copy].offset;
            model->kept = copy;
            return run_from(model, path, step + 1, codes, output);
        }
    }
    return KT_TFLM_ERROR_NOT_KEPT;
}

size_t kt_tflm_used_bytes(const kt_tflm_t *model) {
    if (!is_task(model, 0)) {
        return 0;
    }
    return interpreter_at(model, 0)->arena_used_bytes() + model->config->copy_bytes;
}

const char *kt_tflm_message(kt_tflm_status_t status) {
#if defined(KT_TFLM_NO_MESSAGES)
    (void)status;
    return "";
#else
    static const char *const messages[] = {
        "ok",
        "a pointer is null, or there is no such task",
        "the arena must start at a multiple of 16",
        "the arena is smaller than the configuration states",
        "the runtime refused an operator",
        "a node's data must start at a multiple of 16",
        "a node is no .tflite file of the runtime's schema version",
        "a node cannot be allocated: enlarge the arena, or update the runtime",
        "a node's input or output is not what the configuration states",
        "a kernel failed",
        "nothing is kept that the task could continue from",
    };
    const int index = -static_cast<int>(status);
    const bool is_known = index >= 0 && index < static_cast<int>(sizeof messages / sizeof *messages);
    return is_known ? messages[index] : "unknown status";
#endif
}
