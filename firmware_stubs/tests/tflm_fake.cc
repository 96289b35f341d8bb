// A stand-in for TensorFlow Lite Micro behind the declarations of tflm_declarations, so that the
// adapter runs where there is no copy of the runtime. A node computes
//
//     output[i] = 3 * input[i mod inputs] + 7 * node + i, modulo 256
//
// and, as in the runtime, all inputs and outputs of one allocator lie at its arena's start: what is
// not moved on in time is overwritten. What the nodes are is read from the configuration.
#include <string.h>

#include "kt_model_config.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_log.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"

namespace {

constexpr int kMostAxes = 8;
constexpr size_t kMostInputs = 65536;

struct Dims {
    int size;
    int data[kMostAxes];
};

struct Fake {
    size_t node;
    uint8_t *head;
    TfLiteTensor tensors[2];
    Dims dims[2];
};

struct FakeAllocator {
    uint8_t *head;
};

// More than one allocator may have been created; the last one is in use.
FakeAllocator allocator_in_use;

const kt_tflm_tensor_t &stated(size_t node, int side) {
    return side == 0 ? kt_model.nodes[node].input : kt_model.nodes[node].output;
}

}  // namespace

namespace tflite {

static_assert(sizeof(Fake) <= sizeof(MicroInterpreter), "the interpreter holds its fake");

void MicroOpResolver::only_to_have_a_virtual_table() const {}

const Model *GetModel(const void *data) {
    return static_cast<const Model *>(data);
}

uint32_t Model::version() const {
    return TFLITE_SCHEMA_VERSION;
}

MicroAllocator *MicroAllocator::Create(uint8_t *arena, size_t bytes, MemoryPlannerType) {
    memset(arena, 0x5A, bytes);
    allocator_in_use.head = arena;
    return reinterpret_cast<MicroAllocator *>(&allocator_in_use);
}

MicroInterpreter::MicroInterpreter(const Model *model, const MicroOpResolver &,
                                   MicroAllocator *allocator, MicroResourceVariables *,
                                   MicroProfilerInterface *) {
    Fake *fake = reinterpret_cast<Fake *>(state_);
    memset(state_, 0, sizeof state_);
    fake->head = reinterpret_cast<FakeAllocator *>(allocator)->head;
    while (reinterpret_cast<const Model *>(kt_model.nodes[fake->node].data) != model) {
        fake->node++;
    }
    for (int side = 0; side < 2; side++) {
        const kt_tflm_tensor_t &tensor = stated(fake->node, side);
        fake->dims[side].size = static_cast<int>(tensor.axes);
        memcpy(fake->dims[side].data, tensor.shape, tensor.axes * sizeof *tensor.shape);
        fake->tensors[side].dims = reinterpret_cast<TfLiteIntArray *>(&fake->dims[side]);
        fake->tensors[side].params = {tensor.scale, tensor.zero_point};
        fake->tensors[side].data.data = fake->head;
        fake->tensors[side].bytes = tensor.bytes;
        fake->tensors[side].type = kTfLiteInt8;
    }
}

TfLiteStatus MicroInterpreter::AllocateTensors() {
    return kTfLiteOk;
}

TfLiteStatus MicroInterpreter::initialization_status() const {
    return kTfLiteOk;
}

size_t MicroInterpreter::arena_used_bytes() const {
    return 1;
}

size_t MicroInterpreter::inputs_size() const {
    return 1;
}

size_t MicroInterpreter::outputs_size() const {
    return 1;
}

TfLiteTensor *MicroInterpreter::input(size_t) {
    return &reinterpret_cast<Fake *>(state_)->tensors[0];
}

TfLiteTensor *MicroInterpreter::output(size_t) {
    return &reinterpret_cast<Fake *>(state_)->tensors[1];
}

TfLiteStatus MicroInterpreter::Invoke() {
    const Fake *fake = reinterpret_cast<Fake *>(state_);
    if (fake->head != allocator_in_use.head) {
        return kTfLiteError;  // allocated in an arena that is another path's by now
    }
    const size_t inputs = fake->tensors[0].bytes;
    const size_t outputs = fake->tensors[1].bytes;
    static uint8_t input[kMostInputs];
    if (inputs > kMostInputs) {
        return kTfLiteError;
    }
    memcpy(input, fake->head, inputs);
    for (size_t i = 0; i < outputs; i++) {
        fake->head[i] = static_cast<uint8_t>(3U * input[i % inputs] + 7U * fake->node + i);
    }
    return kTfLiteOk;
}

#define KT_FAKE(name) \
    TFLMRegistration Register_##name() { \
        return {}; \
    }
KT_FAKE(ITSELF)
KT_FAKE(ADD)
KT_FAKE(AVERAGE_POOL_2D)
KT_FAKE(CONV_2D)
KT_FAKE(DEPTHWISE_CONV_2D)
KT_FAKE(FULLY_CONNECTED)
KT_FAKE(MAX_POOL_2D)
KT_FAKE(MUL)
KT_FAKE(SOFTMAX)
KT_FAKE(TRANSPOSE_CONV)

}  // namespace tflite

void MicroPrintf(const char *, ...) {
}
