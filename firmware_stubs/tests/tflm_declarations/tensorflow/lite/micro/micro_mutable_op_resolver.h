// For a compile check only: see README.md.
#ifndef KT_DECLARATIONS_MICRO_MUTABLE_OP_RESOLVER_H
#define KT_DECLARATIONS_MICRO_MUTABLE_OP_RESOLVER_H

#include "tensorflow/lite/c/common.h"
#include "tensorflow/lite/micro/micro_common.h"
#include "tensorflow/lite/micro/micro_op_resolver.h"

namespace tflite {

// Stands for the registration that a method takes by default.
TFLMRegistration Register_ITSELF();
#define KT_ANY const TFLMRegistration & = Register_ITSELF()

TFLMRegistration Register_ADD();
TFLMRegistration Register_ADD_INT16();
TFLMRegistration Register_ADD_INT8();
TFLMRegistration Register_AVERAGE_POOL_2D();
TFLMRegistration Register_AVERAGE_POOL_2D_INT16();
TFLMRegistration Register_AVERAGE_POOL_2D_INT8();
TFLMRegistration Register_CONV_2D();
TFLMRegistration Register_CONV_2D_INT16();
TFLMRegistration Register_CONV_2D_INT4();
TFLMRegistration Register_CONV_2D_INT8();
TFLMRegistration Register_DEPTHWISE_CONV_2D();
TFLMRegistration Register_DEPTHWISE_CONV_2D_INT16();
TFLMRegistration Register_DEPTHWISE_CONV_2D_INT4();
TFLMRegistration Register_DEPTHWISE_CONV_2D_INT8();
TFLMRegistration Register_FULLY_CONNECTED();
TFLMRegistration Register_FULLY_CONNECTED_INT16();
TFLMRegistration Register_FULLY_CONNECTED_INT8();
TFLMRegistration Register_MAX_POOL_2D();
TFLMRegistration Register_MAX_POOL_2D_INT16();
TFLMRegistration Register_MAX_POOL_2D_INT8();
TFLMRegistration Register_MUL();
TFLMRegistration Register_MUL_INT8();
TFLMRegistration Register_SOFTMAX();
TFLMRegistration Register_SOFTMAX_INT16();
TFLMRegistration Register_SOFTMAX_INT8();
TFLMRegistration Register_TRANSPOSE_CONV();
TFLMRegistration Register_TRANSPOSE_CONV_INT8();

template <unsigned int tOpCount> class MicroMutableOpResolver : public MicroOpResolver {
  public:
    TfLiteStatus AddAbs(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddAdd(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddAddN(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddArgMax(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddArgMin(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddAssignVariable(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddAveragePool2D(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddBatchMatMul(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddBatchToSpaceNd(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddBroadcastArgs(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddBroadcastTo(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddCast(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddCeil(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddConcatenation(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddConv2D(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddCos(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddCumSum(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddCustom(const char *, const TFLMRegistration *) { return kTfLiteOk; }
    TfLiteStatus AddDepthwiseConv2D(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddDepthToSpace(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddDequantize(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddDiv(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddDynamicUpdateSlice() { return kTfLiteOk; }
    TfLiteStatus AddElu(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddEmbeddingLookup(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddEqual(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddExp(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddExpandDims(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddFill(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddFloor(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddFloorDiv(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddFloorMod(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddFullyConnected(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddGather(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddGatherNd(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddGreater(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddGreaterEqual(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddHardSwish(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddL2Normalization(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddL2Pool2D(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddLeakyRelu(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddLess(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddLessEqual(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddLog(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddLogicalAnd(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddLogicalNot(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddLogicalOr(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddLogistic(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddLogSoftmax(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddMaximum(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddMaxPool2D(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddMean(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddMinimum(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddMirrorPad(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddMul(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddNeg(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddNotEqual(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddPack(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddPad(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddPadV2(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddPrelu(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddQuantize(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddReadVariable(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddReduceAll(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddReduceMax(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddReduceMin(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddRelu(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddRelu6(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddReshape(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddResizeBilinear(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddResizeNearestNeighbor() { return kTfLiteOk; }
    TfLiteStatus AddReverseV2(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddRound(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddRsqrt(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddSelectV2(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddShape(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddSin(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddSlice(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddSoftmax(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddSpaceToBatchNd(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddSpaceToDepth(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddSplit(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddSplitV(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddSqrt(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddSquare(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddSquaredDifference(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddSqueeze(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddStridedSlice(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddSub(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddSum(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddSvdf(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddTanh(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddTranspose(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddTransposeConv(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddUnidirectionalSequenceLSTM(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddUnpack(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddVarHandle(KT_ANY) { return kTfLiteOk; }
    TfLiteStatus AddZerosLike(KT_ANY) { return kTfLiteOk; }

  private:
    TFLMRegistration registrations_[tOpCount];
};

}  // namespace tflite

#endif
