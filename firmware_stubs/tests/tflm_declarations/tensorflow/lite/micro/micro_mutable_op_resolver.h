// For a compile check only: see README.md.
#ifndef KT_DECLARATIONS_MICRO_MUTABLE_OP_RESOLVER_H
#define KT_DECLARATIONS_MICRO_MUTABLE_OP_RESOLVER_H

#include "tensorflow/lite/c/common.h"
#include "tensorflow/lite/micro/micro_op_resolver.h"

namespace tflite {

// Stands for the registration that a method takes by default.
TFLMRegistration Register_ITSELF();

TFLMRegistration Register_ADD();
TFLMRegistration Register_ADD_INT8();
TFLMRegistration Register_AVERAGE_POOL_2D();
TFLMRegistration Register_AVERAGE_POOL_2D_INT8();
TFLMRegistration Register_CONV_2D();
TFLMRegistration Register_CONV_2D_INT8();
TFLMRegistration Register_DEPTHWISE_CONV_2D();
TFLMRegistration Register_DEPTHWISE_CONV_2D_INT8();
TFLMRegistration Register_FULLY_CONNECTED();
TFLMRegistration Register_FULLY_CONNECTED_INT8();
TFLMRegistration Register_MAX_POOL_2D();
TFLMRegistration Register_MAX_POOL_2D_INT8();
TFLMRegistration Register_MUL();
TFLMRegistration Register_MUL_INT8();
TFLMRegistration Register_SOFTMAX();
TFLMRegistration Register_SOFTMAX_INT8();
TFLMRegistration Register_TRANSPOSE_CONV();
TFLMRegistration Register_TRANSPOSE_CONV_INT8();

template <unsigned int tOpCount> class MicroMutableOpResolver : public MicroOpResolver {
  public:
    TfLiteStatus AddAbs(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddAdd(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddAddN(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddArgMax(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddArgMin(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddAssignVariable(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddAveragePool2D(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddBatchMatMul(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddBatchToSpaceNd(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddBroadcastArgs(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddBroadcastTo(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddCast(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddCeil(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddConcatenation(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddConv2D(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddCos(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddCumSum(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddDepthwiseConv2D(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddDepthToSpace(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddDequantize(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddDiv(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddDynamicUpdateSlice();
    TfLiteStatus AddElu(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddEmbeddingLookup(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddEqual(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddExp(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddExpandDims(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddFill(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddFloor(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddFloorDiv(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddFloorMod(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddFullyConnected(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddGather(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddGatherNd(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddGreater(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddGreaterEqual(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddHardSwish(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddL2Normalization(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddL2Pool2D(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddLeakyRelu(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddLess(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddLessEqual(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddLog(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddLogicalAnd(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddLogicalNot(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddLogicalOr(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddLogistic(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddLogSoftmax(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddMaximum(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddMaxPool2D(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddMean(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddMinimum(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddMirrorPad(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddMul(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddNeg(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddNotEqual(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddPack(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddPad(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddPadV2(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddPrelu(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddQuantize(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddReadVariable(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddReduceAll(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddReduceMax(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddReduceMin(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddRelu(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddRelu6(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddReshape(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddResizeBilinear(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddResizeNearestNeighbor();
    TfLiteStatus AddReverseV2(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddRound(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddRsqrt(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddSelectV2(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddShape(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddSin(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddSlice(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddSoftmax(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddSpaceToBatchNd(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddSpaceToDepth(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddSplit(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddSplitV(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddSqrt(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddSquare(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddSquaredDifference(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddSqueeze(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddStridedSlice(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddSub(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddSum(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddSvdf(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddTanh(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddTranspose(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddTransposeConv(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus
    AddUnidirectionalSequenceLSTM(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddUnpack(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddVarHandle(const TFLMRegistration &registration = Register_ITSELF());
    TfLiteStatus AddZerosLike(const TFLMRegistration &registration = Register_ITSELF());

  private:
    TFLMRegistration registrations_[tOpCount];
};

}  // namespace tflite

#endif
