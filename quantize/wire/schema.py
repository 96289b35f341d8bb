"""The schema of .tflite files as data: which field stands in which slot of which table.

Taken from `ai_edge_litert.schema_py_generated` 2.3.0 (tensorflow/lite/schema/schema.fbs) and
compared with the installed release by a test. As data it can check a file before any code trusts
it, and it costs nothing to import.

Belongs here: tables, unions and enumerations. Does not belong here: bytes (`wire.py`).
"""

from dataclasses import dataclass

# One table a line, its fields in the order of their slots: `name:kind`, then `=default` where it is
# not 0, and `@alignment` where it is more than the kind's own. A kind is a number, a string, a
# table, a <union> (whose type number stands in the slot before it), or a [vector] of numbers,
# strings or tables. Tables without fields are left out.
_TABLES = """
AddOptions fusedActivationFunction:i8 potScaleInt16:bool=1
ArgMaxOptions outputType:i8
ArgMinOptions outputType:i8
BatchMatMulOptions adjX:bool adjY:bool asymmetricQuantizeInputs:bool
BidirectionalSequenceLSTMOptions fusedActivationFunction:i8 cellClip:f32 projClip:f32
    mergeOutputs:bool timeMajor:bool=1 asymmetricQuantizeInputs:bool
BidirectionalSequenceRNNOptions timeMajor:bool fusedActivationFunction:i8 mergeOutputs:bool
    asymmetricQuantizeInputs:bool
BlockwiseQuantization scales:i32 zeroPoints:i32 blockSize:i32 blockShape:[i32]
BucketizeOptions boundaries:[f32]
Buffer data:[u8]@16 offset:u64 size:u64
CallOnceOptions initSubgraphIndex:i32
CallOptions subgraph:u32
CastOptions inDataType:i8 outDataType:i8
ConcatEmbeddingsOptions numChannels:i32 numColumnsPerChannel:[i32] embeddingDimPerChannel:[i32]
ConcatenationOptions axis:i32 fusedActivationFunction:i8
Conv2DOptions padding:i8 strideW:i32 strideH:i32 fusedActivationFunction:i8 dilationWFactor:i32=1
    dilationHFactor:i32=1 quantizedBiasType:i8
Conv3DOptions padding:i8 strideD:i32 strideW:i32 strideH:i32 fusedActivationFunction:i8
    dilationDFactor:i32=1 dilationWFactor:i32=1 dilationHFactor:i32=1
CumsumOptions exclusive:bool reverse:bool
CustomQuantization custom:[u8]
DepthToSpaceOptions blockSize:i32
DepthwiseConv2DOptions padding:i8 strideW:i32 strideH:i32 depthMultiplier:i32
    fusedActivationFunction:i8 dilationWFactor:i32=1 dilationHFactor:i32=1
DimensionMetadata format:i8 denseSize:i32 arraySegmentsType:u8 arraySegments:<SparseIndexVector>
    arrayIndicesType:u8 arrayIndices:<SparseIndexVector>
DivOptions fusedActivationFunction:i8
EmbeddingLookupSparseOptions combiner:i8
ExternalBuffer id:u32 group:u32 offset:u64 length:u64 packing:string
ExternalBufferGroup name:string
FakeQuantOptions min:f32 max:f32 numBits:i32 narrowRange:bool
FullyConnectedOptions fusedActivationFunction:i8 weightsFormat:i8 keepNumDims:bool
    asymmetricQuantizeInputs:bool quantizedBiasType:i8 quantSpec:[u8]
GatherOptions axis:i32 batchDims:i32
GeluOptions approximate:bool
HashtableOptions tableId:i32 keyDtype:i8 valueDtype:i8
IfOptions thenSubgraphIndex:i32 elseSubgraphIndex:i32
Int32Vector values:[i32]
L2NormOptions fusedActivationFunction:i8
LSHProjectionOptions type:i8
LSTMOptions fusedActivationFunction:i8 cellClip:f32 projClip:f32 kernelType:i8
    asymmetricQuantizeInputs:bool
LeakyReluOptions alpha:f32
LocalResponseNormalizationOptions radius:i32 bias:f32 alpha:f32 beta:f32
Metadata name:string buffer:u32
MirrorPadOptions mode:i8
Model version:u32 operatorCodes:[OperatorCode] subgraphs:[SubGraph] description:string
    buffers:[Buffer] metadataBuffer:[i32] metadata:[Metadata] signatureDefs:[SignatureDef]
    externalBufferGroups:[ExternalBufferGroup] externalBuffers:[ExternalBuffer]
MulOptions fusedActivationFunction:i8
MultiAxisQuantization scales:i32 zeroPoints:i32 blockSize:i32 quantizedDimensions:[i32]
OneHotOptions axis:i32
Operator opcodeIndex:u32 inputs:[i32] outputs:[i32] builtinOptionsType:u8
    builtinOptions:<BuiltinOptions> customOptions:[u8] customOptionsFormat:i8
    mutatingVariableInputs:[bool] intermediates:[i32] largeCustomOptionsOffset:u64
    largeCustomOptionsSize:u64 builtinOptions2Type:u8 builtinOptions2:<BuiltinOptions2>
    debugMetadataIndex:i32=-1
OperatorCode deprecatedBuiltinCode:i8 customCode:string version:i32=1 builtinCode:i32
PackOptions valuesCount:i32 axis:i32
Pool2DOptions padding:i8 strideW:i32 strideH:i32 filterWidth:i32 filterHeight:i32
    fusedActivationFunction:i8
QuantizationParameters min:[f32] max:[f32] scale:[f32] zeroPoint:[i64] detailsType:u8
    details:<QuantizationDetails> quantizedDimension:i32
RNNOptions fusedActivationFunction:i8 asymmetricQuantizeInputs:bool
RandomOptions seed:i64 seed2:i64
ReduceWindowOptions reduceFunction:i32
ReducerOptions keepDims:bool
ReshapeOptions newShape:[i32]
ResizeBilinearOptions newHeight:i32 newWidth:i32 alignCorners:bool halfPixelCenters:bool
ResizeNearestNeighborOptions alignCorners:bool halfPixelCenters:bool
ReverseSequenceOptions seqDim:i32 batchDim:i32
SVDFOptions rank:i32 fusedActivationFunction:i8 asymmetricQuantizeInputs:bool
SequenceRNNOptions timeMajor:bool fusedActivationFunction:i8 asymmetricQuantizeInputs:bool
ShapeOptions outType:i8
SignatureDef inputs:[TensorMap] outputs:[TensorMap] signatureKey:string deprecatedTag:string
    subgraphIndex:u32
SkipGramOptions ngramSize:i32 maxSkipSize:i32 includeAllNgrams:bool
SoftmaxOptions beta:f32
SpaceToDepthOptions blockSize:i32
SparseToDenseOptions validateIndices:bool
SparsityParameters traversalOrder:[i32] blockMap:[i32] dimMetadata:[DimensionMetadata]
SplitOptions numSplits:i32
SplitVOptions numSplits:i32
SqueezeOptions squeezeDims:[i32]
StableHLOCompositeOptions name:string decompositionSubgraphIndex:i32 compositeAttributes:[u8]
    compositeAttributesFormat:i8 version:i32
StablehloBroadcastInDimOptions broadcastDimensions:[i64]
StablehloCaseOptions branchSubgraphIndices:[i32]
StablehloCompareOptions comparisonDirection:u32 compareType:u32
StablehloConcatenateOptions dimension:i64
StablehloConvolutionOptions windowStrides:[i64] padding:[i64] lhsDilation:[i64] rhsDilation:[i64]
    windowReversal:[bool] inputBatchDimension:i64 inputFeatureDimension:i64
    inputSpatialDimensions:[i64] kernelInputFeatureDimension:i64 kernelOutputFeatureDimension:i64
    kernelSpatialDimensions:[i64] outputBatchDimension:i64 outputFeatureDimension:i64
    outputSpatialDimensions:[i64] featureGroupCount:i64 batchGroupCount:i64 precisionConfig:[u32]
StablehloCustomCallOptions callTargetName:string hasSideEffect:bool backendConfig:string
    apiVersion:i32 calledComputations:[i32] customAttributes:[u8]
StablehloDotGeneralOptions lhsBatchingDimensions:[i64] rhsBatchingDimensions:[i64]
    lhsContractingDimensions:[i64] rhsContractingDimensions:[i64] precisionConfig:[u32]
StablehloDynamicSliceOptions sliceSizes:[i64]
StablehloGatherOptions offsetDims:[i64] collapsedSliceDims:[i64] startIndexMap:[i64]
    indexVectorDim:i64 sliceSizes:[i64] indicesAreSorted:bool
StablehloIotaOptions iotaDimension:i64
StablehloPadOptions edgePaddingLow:[i64] edgePaddingHigh:[i64] interiorPadding:[i64]
StablehloReduceOptions dimensions:[i64] bodySubgraphIndex:i32
StablehloReduceWindowOptions windowDimensions:[i64] windowStrides:[i64] baseDilations:[i64]
    windowDilations:[i64] padding:[i64] bodySubgraphIndex:i32
StablehloRngBitGeneratorOptions algorithm:i8
StablehloScatterOptions indicesAreSorted:bool updateWindowDims:[i64] insertedWindowDims:[i64]
    scatterDimsToOperandDims:[i64] indexVectorDim:i64 uniqueIndices:bool
    updateComputationSubgraphIndex:i32
StablehloSliceOptions startIndices:[i64] limitIndices:[i64] strides:[i64]
StablehloSortOptions dimension:i64 isStable:bool comparatorSubgraphIndex:i32
StablehloTransposeOptions permutation:[i64]
StablehloWhileOptions condSubgraphIndex:i32 bodySubgraphIndex:i32
StridedSliceOptions beginMask:i32 endMask:i32 ellipsisMask:i32 newAxisMask:i32 shrinkAxisMask:i32
    offset:bool
SubGraph tensors:[Tensor] inputs:[i32] outputs:[i32] operators:[Operator] name:string
    debugMetadataIndex:i32=-1
SubOptions fusedActivationFunction:i8 potScaleInt16:bool=1
Tensor shape:[i32] type:i8 buffer:u32 name:string quantization:QuantizationParameters
    isVariable:bool sparsity:SparsityParameters shapeSignature:[i32] hasRank:bool
    variantTensors:[VariantSubType] externalBuffer:u32
TensorMap name:string tensorIndex:u32
TransposeConvOptions padding:i8 strideW:i32 strideH:i32 fusedActivationFunction:i8
    quantizedBiasType:i8
Uint16Vector values:[u16]
Uint8Vector values:[u8]
UnidirectionalSequenceLSTMOptions fusedActivationFunction:i8 cellClip:f32 projClip:f32
    timeMajor:bool asymmetricQuantizeInputs:bool diagonalRecurrentTensors:bool
UniqueOptions idxOutType:i8=2
UnpackOptions num:i32 axis:i32
VarHandleOptions container:string sharedName:string
VariantSubType shape:[i32] type:i8 hasRank:bool
WhileOptions condSubgraphIndex:i32 bodySubgraphIndex:i32
"""

# A union's type number is the position in its list. `NONE` is 0: no value.
_UNIONS = {
    "BuiltinOptions": """
NONE Conv2D DepthwiseConv2D ConcatEmbeddings LSHProjection Pool2D SVDF RNN FullyConnected Softmax
Concatenation Add L2Norm LocalResponseNormalization LSTM ResizeBilinear Call Reshape SkipGram
SpaceToDepth EmbeddingLookupSparse Mul Pad Gather BatchToSpaceND SpaceToBatchND Transpose Reducer
Sub Div Squeeze SequenceRNN StridedSlice Exp TopKV2 Split LogSoftmax Cast Dequantize MaximumMinimum
ArgMax Less Neg PadV2 Greater GreaterEqual LessEqual Select Slice TransposeConv SparseToDense Tile
ExpandDims Equal NotEqual Shape Pow ArgMin FakeQuant Pack LogicalOr OneHot LogicalAnd LogicalNot
Unpack FloorDiv Square ZerosLike Fill BidirectionalSequenceLSTM BidirectionalSequenceRNN
UnidirectionalSequenceLSTM FloorMod Range ResizeNearestNeighbor LeakyRelu SquaredDifference
MirrorPad Abs SplitV Unique ReverseV2 AddN GatherNd Cos Where Rank ReverseSequence MatrixDiag
Quantize MatrixSetDiag HardSwish If While DepthToSpace NonMaxSuppressionV4 NonMaxSuppressionV5
ScatterNd SelectV2 Densify SegmentSum BatchMatMul Cumsum CallOnce BroadcastTo Rfft2d Conv3D
Hashtable HashtableFind HashtableImport HashtableSize VarHandle ReadVariable AssignVariable Random
Bucketize Gelu DynamicUpdateSlice UnsortedSegmentProd UnsortedSegmentMax UnsortedSegmentMin
UnsortedSegmentSum ATan2 Sign Bitcast BitwiseXor RightShift
""",
    "BuiltinOptions2": """
NONE StablehloConcatenate StablehloBroadcastInDim StablehloSlice StablehloConvolution
StablehloCustomCall StablehloReduce StablehloScatter StablehloCompare StablehloDynamicSlice
StablehloPad StablehloIota StablehloDotGeneral StablehloReduceWindow StablehloSort StablehloWhile
StablehloGather StablehloTranspose Dilate StablehloRngBitGenerator ReduceWindow StableHLOComposite
StablehloShiftLeft StablehloCase
""",
    "SparseIndexVector": "NONE Int32Vector Uint16Vector Uint8Vector",
    "QuantizationDetails": "NONE CustomQuantization BlockwiseQuantization MultiAxisQuantization",
}

# Operator names, by `OperatorCode.builtinCode`.
_BUILTIN_OPERATORS = """
ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE
EMBEDDING_LOOKUP FLOOR FULLY_CONNECTED HASHTABLE_LOOKUP L2_NORMALIZATION L2_POOL_2D
LOCAL_RESPONSE_NORMALIZATION LOGISTIC LSH_PROJECTION LSTM MAX_POOL_2D MUL RELU RELU_N1_TO_1 RELU6
RESHAPE RESIZE_BILINEAR RNN SOFTMAX SPACE_TO_DEPTH SVDF TANH CONCAT_EMBEDDINGS SKIP_GRAM CALL CUSTOM
EMBEDDING_LOOKUP_SPARSE PAD UNIDIRECTIONAL_SEQUENCE_RNN GATHER BATCH_TO_SPACE_ND SPACE_TO_BATCH_ND
TRANSPOSE MEAN SUB DIV SQUEEZE UNIDIRECTIONAL_SEQUENCE_LSTM STRIDED_SLICE BIDIRECTIONAL_SEQUENCE_RNN
EXP TOPK_V2 SPLIT LOG_SOFTMAX DELEGATE BIDIRECTIONAL_SEQUENCE_LSTM CAST PRELU MAXIMUM ARG_MAX
MINIMUM LESS NEG PADV2 GREATER GREATER_EQUAL LESS_EQUAL SELECT SLICE SIN TRANSPOSE_CONV
SPARSE_TO_DENSE TILE EXPAND_DIMS EQUAL NOT_EQUAL LOG SUM SQRT RSQRT SHAPE POW ARG_MIN FAKE_QUANT
REDUCE_PROD REDUCE_MAX PACK LOGICAL_OR ONE_HOT LOGICAL_AND LOGICAL_NOT UNPACK REDUCE_MIN FLOOR_DIV
REDUCE_ANY SQUARE ZEROS_LIKE FILL FLOOR_MOD RANGE RESIZE_NEAREST_NEIGHBOR LEAKY_RELU
SQUARED_DIFFERENCE MIRROR_PAD ABS SPLIT_V UNIQUE CEIL REVERSE_V2 ADD_N GATHER_ND COS WHERE RANK ELU
REVERSE_SEQUENCE MATRIX_DIAG QUANTIZE MATRIX_SET_DIAG ROUND HARD_SWISH IF WHILE
NON_MAX_SUPPRESSION_V4 NON_MAX_SUPPRESSION_V5 SCATTER_ND SELECT_V2 DENSIFY SEGMENT_SUM BATCH_MATMUL
PLACEHOLDER_FOR_GREATER_OP_CODES CUMSUM CALL_ONCE BROADCAST_TO RFFT2D CONV_3D IMAG REAL COMPLEX_ABS
HASHTABLE HASHTABLE_FIND HASHTABLE_IMPORT HASHTABLE_SIZE REDUCE_ALL CONV_3D_TRANSPOSE VAR_HANDLE
READ_VARIABLE ASSIGN_VARIABLE BROADCAST_ARGS RANDOM_STANDARD_NORMAL BUCKETIZE RANDOM_UNIFORM
MULTINOMIAL GELU DYNAMIC_UPDATE_SLICE RELU_0_TO_1 UNSORTED_SEGMENT_PROD UNSORTED_SEGMENT_MAX
UNSORTED_SEGMENT_SUM ATAN2 UNSORTED_SEGMENT_MIN SIGN BITCAST BITWISE_XOR RIGHT_SHIFT
STABLEHLO_LOGISTIC STABLEHLO_ADD STABLEHLO_DIVIDE STABLEHLO_MULTIPLY STABLEHLO_MAXIMUM
STABLEHLO_RESHAPE STABLEHLO_CLAMP STABLEHLO_CONCATENATE STABLEHLO_BROADCAST_IN_DIM
STABLEHLO_CONVOLUTION STABLEHLO_SLICE STABLEHLO_CUSTOM_CALL STABLEHLO_REDUCE STABLEHLO_ABS
STABLEHLO_AND STABLEHLO_COSINE STABLEHLO_EXPONENTIAL STABLEHLO_FLOOR STABLEHLO_LOG STABLEHLO_MINIMUM
STABLEHLO_NEGATE STABLEHLO_OR STABLEHLO_POWER STABLEHLO_REMAINDER STABLEHLO_RSQRT STABLEHLO_SELECT
STABLEHLO_SUBTRACT STABLEHLO_TANH STABLEHLO_SCATTER STABLEHLO_COMPARE STABLEHLO_CONVERT
STABLEHLO_DYNAMIC_SLICE STABLEHLO_DYNAMIC_UPDATE_SLICE STABLEHLO_PAD STABLEHLO_IOTA
STABLEHLO_DOT_GENERAL STABLEHLO_REDUCE_WINDOW STABLEHLO_SORT STABLEHLO_WHILE STABLEHLO_GATHER
STABLEHLO_TRANSPOSE DILATE STABLEHLO_RNG_BIT_GENERATOR REDUCE_WINDOW STABLEHLO_COMPOSITE
STABLEHLO_SHIFT_LEFT STABLEHLO_CBRT STABLEHLO_CASE
"""

# Names of element types, by `Tensor.type`.
_TENSOR_TYPES = """
FLOAT32 FLOAT16 INT32 UINT8 INT64 STRING BOOL INT16 COMPLEX64 INT8 FLOAT64 COMPLEX128 UINT64
RESOURCE VARIANT UINT32 UINT16 INT4 BFLOAT16 INT2 UINT4 FLOAT8_E4M3FN FLOAT8_E5M2
"""


@dataclass(frozen=True)
class Field:
    """One field of a table.

    Args:
        name: Its name, spelt as the schema's Python objects spell it.
        kind: "i32", "string", "Tensor", "<BuiltinOptions>", "[u8]", "[string]", "[Tensor]".
        default: The value of a number that is absent.
        alignment: Bytes to which a vector is aligned beyond the width of its elements.
    """

    name: str
    kind: str
    default: int
    alignment: int


def _parse_field(text: str) -> Field:
    name, kind = text.split(":")
    kind, _, default = kind.partition("=")
    kind, _, alignment = kind.partition("@")
    return Field(name, kind, int(default or 0), int(alignment or 1))


def _parse_tables(text: str) -> dict[str, tuple[Field, ...]]:
    tables: dict[str, tuple[Field, ...]] = {}
    for line in text.replace("\n    ", " ").strip().splitlines():
        name, *fields = line.split()
        tables[name] = tuple(_parse_field(field) for field in fields)
    return tables


def _parse_union(name: str, text: str) -> tuple[str, ...]:
    suffix = "Options" if name.startswith("BuiltinOptions") else ""
    first, *others = text.split()
    return (first, *(other + suffix for other in others))


TABLES = _parse_tables(_TABLES)
UNIONS = {name: _parse_union(name, text) for name, text in _UNIONS.items()}
BUILTIN_OPERATORS = tuple(_BUILTIN_OPERATORS.split())
TENSOR_TYPES = tuple(_TENSOR_TYPES.split())
