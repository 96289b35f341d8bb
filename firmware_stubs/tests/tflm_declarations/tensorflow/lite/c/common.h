// For a compile check only: see README.md.
#ifndef KT_DECLARATIONS_COMMON_H
#define KT_DECLARATIONS_COMMON_H

#include <stddef.h>
#include <stdint.h>

enum TfLiteStatus { kTfLiteOk = 0, kTfLiteError = 1 };

enum TfLiteType {
    kTfLiteNoType = 0,
    kTfLiteUInt8 = 3,
    kTfLiteInt16 = 7,
    kTfLiteInt8 = 9,
    kTfLiteInt4 = 18
};

struct TfLiteIntArray {
    int size;
    int data[1];
};

struct TfLiteQuantizationParams {
    float scale;
    int32_t zero_point;
};

union TfLitePtrUnion {
    int8_t *int8;
    uint8_t *uint8;
    void *data;
};

struct TfLiteTensor {
    TfLiteQuantizationParams params;
    TfLitePtrUnion data;
    TfLiteIntArray *dims;
    size_t bytes;
    TfLiteType type;
};

struct TfLiteEvalTensor {
    TfLitePtrUnion data;
    TfLiteIntArray *dims;
    TfLiteType type;
};

struct TfLiteNode {
    TfLiteIntArray *inputs;
    TfLiteIntArray *outputs;
};

struct TfLiteContext {
    TfLiteEvalTensor *(*GetEvalTensor)(const TfLiteContext *context, int tensor_idx);
};

#endif
