// Runs kt_decode.cc on cases from standard input, each buffer exactly as long as its case says, and
// writes a line for each: what it decodes in hexadecimal digits, or "refused".
//
// A case, all numbers int32: inputs of the node, encoded type, encoded bytes, ancillary bytes, place
// of the output (0: none yet), output type, axes, lengths of the axes; then both inputs' bytes. A
// length of -1 stands for a tensor that is no constant.
#include <stdio.h>
#include <stdlib.h>

#include "kt_decode.h"

static TfLiteEvalTensor tensors[3];

void MicroPrintf(const char *, ...) {
}

static int32_t number() {
    int32_t value = 0;
    return fread(&value, sizeof value, 1, stdin) == 1 ? value : 0;
}

static TfLiteIntArray *array(int size) {
    auto *made = static_cast<TfLiteIntArray *>(
        malloc(sizeof(TfLiteIntArray) + static_cast<size_t>(size) * sizeof(int)));
    made->size = size;
    return made;
}

static TfLiteIntArray *one_axis(int length) {
    TfLiteIntArray *made = array(1);
    made->data[0] = length < 0 ? 4 : length;
    return made;
}

static uint8_t *constant(int length) {
    if (length < 0) {
        return nullptr;
    }
    auto *bytes = static_cast<uint8_t *>(malloc(length > 0 ? static_cast<size_t>(length) : 1));
    if (length > 0 && fread(bytes, static_cast<size_t>(length), 1, stdin) != 1) {
        exit(1);
    }
    return bytes;
}

static TfLiteEvalTensor *tensor_at(const TfLiteContext *, int index) {
    return &tensors[index];
}

static void run(TfLiteContext *context, TfLiteNode *node) {
    const TFLMRegistration &kernel = kt_decode_registration;
    if (kernel.prepare(context, node) != kTfLiteOk) {
        puts("refused");
        return;
    }
    size_t count = 1;
    for (int axis = 0; axis < tensors[2].dims->size; axis++) {
        count *= static_cast<size_t>(tensors[2].dims->data[axis]);
    }
    auto *values = static_cast<uint8_t *>(malloc(count));
    tensors[2].data.uint8 = values;
    if (kernel.invoke(context, node) != kTfLiteOk) {
        puts("failed");
    } else {
        for (size_t i = 0; i < count; i++) {
            printf("%02x", values[i]);
        }
        puts("");
    }
    free(values);
}

int main() {
    TfLiteContext context = {tensor_at};
    const int cases = number();
    for (int k = 0; k < cases; k++) {
        const int inputs = number();
        const auto encoded_type = static_cast<TfLiteType>(number());
        const int encoded = number(), ancillary = number(), place = number();
        const auto type = static_cast<TfLiteType>(number());
        TfLiteIntArray *shape = array(number());
        for (int axis = 0; axis < shape->size; axis++) {
            shape->data[axis] = number();
        }
        TfLiteIntArray *in = array(2), *out = array(1);
        in->size = inputs;
        in->data[0] = 0;
        in->data[1] = 1;
        out->data[0] = 2;
        uint8_t unused = 0;
        tensors[0] = {{nullptr}, one_axis(encoded), encoded_type};
        tensors[1] = {{nullptr}, one_axis(ancillary), kTfLiteUInt8};
        tensors[2] = {{nullptr}, shape, type};
        tensors[0].data.uint8 = constant(encoded);
        tensors[1].data.uint8 = constant(ancillary);
        tensors[2].data.uint8 = place != 0 ? &unused : nullptr;
        uint8_t *const bytes[] = {tensors[0].data.uint8, tensors[1].data.uint8};
        TfLiteNode node = {in, out};
        run(&context, &node);
        free(bytes[0]);
        free(bytes[1]);
        free(tensors[0].dims);
        free(tensors[1].dims);
        free(shape);
        free(in);
        free(out);
    }
    return 0;
}
