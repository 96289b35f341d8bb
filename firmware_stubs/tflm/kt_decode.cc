#include "kt_decode.h"

#include <stddef.h>
#include <stdint.h>

#include "tensorflow/lite/micro/micro_log.h"

namespace {

// The ancillary tensor: a header, then a table of `stride` values for each channel.
constexpr uint32_t kHeaderBytes = 16;
constexpr int kType = 0, kVersion = 1, kTableVersion = 4, kAxisAndBits = 5, kStride = 6;
constexpr int kLookupTable = 0;
constexpr int kOneTable = 15;  // the axis of a tensor whose channels share a table
// So many values can be counted in 32 bits, as can the bits of their indices.
constexpr uint64_t kMostValues = 1U << 28;

// One tensor to be decoded: `runs` equal ways through the tables.
struct Weights {
    const uint8_t *indices;  // packed, from the highest bit on
    const uint8_t *tables;
    uint8_t *values;
    uint32_t bits;      // of an index
    uint32_t stride;    // values of a table
    uint32_t runs;
    uint32_t length;    // values of a run
    uint32_t step;      // from a value's table to that of the next value in a run
    uint32_t run_step;  // from a run's first table to that of the next run
};

// 0 where a tensor is of another type, empty or too large.
uint32_t values_of(const TfLiteEvalTensor *tensor, TfLiteType type) {
    uint64_t count = tensor->type == type ? 1 : 0;
    for (int axis = 0; axis < tensor->dims->size; axis++) {
        count *= static_cast<uint32_t>(tensor->dims->data[axis]);
        if (count > kMostValues) {
            return 0;
        }
    }
    return static_cast<uint32_t>(count);
}

// Whether an output is a lookup table whose every byte is there; `weights` describes it then.
bool read(TfLiteContext *context, const TfLiteNode *node, int number, Weights *weights) {
    const int *inputs = node->inputs->data + 2 * number;
    if (inputs[0] < 0 || inputs[1] < 0) {
        return false;
    }
    const TfLiteEvalTensor *encoded = context->GetEvalTensor(context, inputs[0]);
    const TfLiteEvalTensor *ancillary = context->GetEvalTensor(context, inputs[1]);
    const TfLiteEvalTensor *output = context->GetEvalTensor(context, node->outputs->data[number]);
    const uint8_t *header = ancillary->data.uint8;
    const uint32_t ancillary_bytes = values_of(ancillary, kTfLiteUInt8);
    const uint32_t count = values_of(output, kTfLiteInt8);
    // What is no constant has no place in memory yet while nodes are prepared.
    if (encoded->data.uint8 == nullptr || header == nullptr || ancillary_bytes < kHeaderBytes ||
        count == 0 || header[kType] != kLookupTable || header[kVersion] != 1 ||
        header[kTableVersion] != 1) {
        return false;
    }
    const uint32_t bits = header[kAxisAndBits] & 7U;
    const uint32_t stride = header[kStride];
    const int axis = header[kAxisAndBits] >> 4;
    const int last = output->dims->size - 1;
    uint32_t channels = 1;
    if (axis != kOneTable) {
        if (axis > last) {
            return false;
        }
        channels = static_cast<uint32_t>(output->dims->data[axis]);
    }
    uint32_t length = count / channels;
    weights->indices = encoded->data.uint8;
    weights->tables = header + kHeaderBytes;
    weights->values = output->data.uint8;
    weights->bits = bits;
    weights->stride = stride;
    weights->runs = channels;
    weights->length = length;
    weights->step = 0;
    weights->run_step = stride;
    if (axis != 0 && channels != 1) {
        if (axis != last) {
            return false;
        }
        weights->runs = length;
        weights->length = channels;
        weights->step = stride;
        weights->run_step = 0;
    }
    return bits != 0 && (count * bits + 7) / 8 <= values_of(encoded, kTfLiteUInt8) &&
           static_cast<uint64_t>(channels) * stride <= ancillary_bytes - kHeaderBytes;
}

// Whether no index is beyond its table.
bool is_within(const Weights &weights) {
    const uint8_t *indices = weights.indices;
    uint32_t window = 0;  // its last `held` bits are to be used next
    uint32_t held = 0;
    for (uint32_t left = weights.runs * weights.length; left > 0; left--) {
        if (held < weights.bits) {
            window = window << 8 | *indices++;
            held += 8;
        }
        held -= weights.bits;
        if ((window >> held & ((1U << weights.bits) - 1)) >= weights.stride) {
            return false;
        }
    }
    return true;
}

// A function of its own, which leaves the compiler enough registers for the loop.
__attribute__((noinline)) void decode(const Weights &weights) {
    const uint32_t bits = weights.bits, mask = (1U << bits) - 1, step = weights.step;
    const uint8_t *indices = weights.indices, *first = weights.tables;
    uint8_t *values = weights.values;
    uint32_t window = 0;  // as above
    uint32_t held = 0;
    for (uint32_t run = weights.runs; run > 0; run--) {
        const uint8_t *table = first, *end = values + weights.length;
        do {
            if (held < bits) {
                window = window << 8 | *indices++;
                held += 8;
            }
            held -= bits;
            *values++ = table[window >> held & mask];
            table += step;
        } while (values != end);
        first += weights.run_step;
    }
}

TfLiteStatus prepare(TfLiteContext *context, TfLiteNode *node) {
    Weights weights;
    if (node->inputs->size != 2 * node->outputs->size) {
        return kTfLiteError;
    }
    for (int number = 0; number < node->outputs->size; number++) {
        // An output that has a place already is a constant, not to be written.
        if (!read(context, node, number, &weights) || weights.values != nullptr ||
            !is_within(weights)) {
            MicroPrintf("TFLM_DECODE: output %d is no lookup table, or not whole", number);
            return kTfLiteError;
        }
    }
    return kTfLiteOk;
}

TfLiteStatus invoke(TfLiteContext *context, TfLiteNode *node) {
    Weights weights;
    for (int number = 0; number < node->outputs->size; number++) {
        if (!read(context, node, number, &weights)) {
            return kTfLiteError;
        }
        decode(weights);
    }
    return kTfLiteOk;
}

}  // namespace

const TFLMRegistration kt_decode_registration = {nullptr, nullptr, prepare, invoke,
                                                nullptr, 0,       nullptr};
