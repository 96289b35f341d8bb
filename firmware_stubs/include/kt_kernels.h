/*
 * kt_kernels: int8 kernels, bit-identical to the reference kernels of TensorFlow Lite Micro.
 *
 * One parameter structure and one function per kind of operator. All parameters are constants that
 * are computed ahead; nothing is allocated, checked or looked up at run time. Activations are int8
 * codes of one sample, in the order height, width, channel; weights are int8 with zero point 0;
 * accumulators are int32 and wrap. No pointer needs an alignment beyond that of its type.
 *
 * A real factor is `multiplier` / 2^31 * 2^`shift`, with the multiplier in 0 ... 2^31 - 1 and the
 * shift in -31 ... 31. It is applied with two roundings: a rounding doubling high multiply (ties
 * towards positive infinity), then a rounding right shift (ties away from zero).
 *
 * In CONV_2D, DEPTHWISE_CONV_2D and FULLY_CONNECTED the input's zero point is folded into the bias
 * ahead, `bias[o] - input_zero_point * sum(weights[o])`, so that kernels multiply raw codes; what
 * lies outside the input counts as the code `input_zero_point`.
 *
 * `output` must not overlap an input, except where "in place" is said: there it may start where an
 * input of the output's shape starts.
 */
#ifndef KT_KERNELS_H
#define KT_KERNELS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Instruction set that the kernels are compiled for; generated code states the one it needs. */
#define KT_ISA_PORTABLE 0
#define KT_ISA_DSP 1
#define KT_ISA_MVE 2

#ifndef KT_ISA
#if defined(KT_FORCE_PORTABLE)
#define KT_ISA KT_ISA_PORTABLE
#elif defined(__ARM_FEATURE_MVE) && (__ARM_FEATURE_MVE & 1)
#define KT_ISA KT_ISA_MVE
#elif defined(__ARM_FEATURE_DSP) && (__ARM_FEATURE_DSP == 1)
#define KT_ISA KT_ISA_DSP
#else
#define KT_ISA KT_ISA_PORTABLE
#endif
#endif

/* CONV_2D, DEPTHWISE_CONV_2D and TRANSPOSE_CONV; 52 bytes on a 32-bit core. */
typedef struct {
    const int8_t *weights;     /* see each function */
    const int32_t *bias;       /* (out_c); zeros where the operator has none */
    const int32_t *multiplier; /* (out_c), or (1) where `per_channel` is 0 */
    const int8_t *shift;       /* as `multiplier` */
    uint16_t in_h, in_w, in_c;
    uint16_t out_h, out_w, out_c;
    uint16_t kernel_h, kernel_w;
    uint16_t stride_h, stride_w;
    uint16_t dilation_h, dilation_w; /* at least 1 */
    uint16_t pad_top, pad_left;
    uint16_t groups;     /* CONV_2D: of channels; DEPTHWISE_CONV_2D: out_c / in_c; else 1 */
    uint8_t per_channel; /* 1: a multiplier per output channel; 0: one for all */
    int8_t input_zero_point;
    int8_t output_zero_point;
    int8_t lowest, highest; /* activation range, as codes */
} kt_conv2d_t;

/* Weights (out_c, kernel_h, kernel_w, in_c / groups). `scratch`: the bytes that the instruction set
 * asks for, aligned to 4; NULL where it asks for none. */
void kt_conv2d(const kt_conv2d_t *op, const int8_t *input, int8_t *output, void *scratch);

/* The same for kernel 1 x 1, stride 1, no padding, one group. */
void kt_conv2d_1x1(const kt_conv2d_t *op, const int8_t *input, int8_t *output, void *scratch);

/* Weights (kernel_h, kernel_w, out_c); output channel `o` reads input channel o / groups. */
void kt_depthwise_conv2d(const kt_conv2d_t *op, const int8_t *input, int8_t *output, void *scratch);

/* Weights (out_c, kernel_h, kernel_w, in_c). The bias is NOT folded: most taps of an output see no
 * input. Pads are cut off the output; dilation is 1. */
void kt_transpose_conv(const kt_conv2d_t *op, const int8_t *input, int8_t *output, void *scratch);

/* FULLY_CONNECTED: `rows` inputs of `in_c` codes one after another; weights (out_c, in_c). */
typedef struct {
    const int8_t *weights;
    const int32_t *bias;       /* (out_c), input zero point folded in */
    const int32_t *multiplier; /* (out_c), or (1) where `per_channel` is 0 */
    const int8_t *shift;       /* as `multiplier` */
    uint32_t rows, in_c;
    uint16_t out_c;
    uint8_t per_channel;
    int8_t output_zero_point;
    int8_t lowest, highest;
} kt_fully_connected_t;

void kt_fully_connected(const kt_fully_connected_t *op, const int8_t *input, int8_t *output,
                        void *scratch);

/* AVERAGE_POOL_2D and MAX_POOL_2D: windows clipped to the input; an average divides by the elements
 * that are left, ties away from zero. */
typedef struct {
    uint16_t in_h, in_w, channels;
    uint16_t out_h, out_w;
    uint16_t kernel_h, kernel_w;
    uint16_t stride_h, stride_w;
    uint16_t pad_top, pad_left;
    int8_t lowest, highest;
} kt_pool2d_t;

void kt_average_pool2d(const kt_pool2d_t *op, const int8_t *input, int8_t *output);
void kt_max_pool2d(const kt_pool2d_t *op, const int8_t *input, int8_t *output);

/* MEAN, SUM and REDUCE_MAX: input (outer, reduced, inner) to output (outer, inner). Axes that are
 * no neighbours are brought together by `kt_copy` first. */
typedef struct {
    uint32_t outer, reduced, inner;
    int32_t bias;       /* -reduced * input_zero_point, added to each sum */
    int32_t multiplier; /* of a sum; for MEAN with 1 / reduced in it */
    int8_t shift;
    int8_t output_zero_point;
} kt_reduce_t;

void kt_mean(const kt_reduce_t *op, const int8_t *input, int8_t *output); /* MEAN and SUM */
/* Reads the three sizes only. */
void kt_reduce_max(const kt_reduce_t *op, const int8_t *input, int8_t *output);

/* How the elements of two inputs meet in an output of up to four axes. Stride 0 repeats an element;
 * the strides of the last axis are 0 or 1. */
typedef struct {
    uint32_t size[4]; /* of the output */
    uint32_t stride_a[4], stride_b[4];
} kt_broadcast_t;

/* ADD and SUB: both inputs on twice the larger scale, 20 bits up, so that the factor of the larger
 * one is exactly one half (2^30, shift 0). In place. */
typedef struct {
    const kt_broadcast_t *broadcast; /* NULL where both inputs have the output's shape */
    uint32_t count;                  /* elements of the output */
    int32_t multiplier_a, multiplier_b, multiplier_output;
    int8_t shift_a, shift_b, shift_output; /* at most 0 */
    int8_t zero_point_a, zero_point_b, output_zero_point;
    int8_t lowest, highest;
} kt_add_t;

void kt_add(const kt_add_t *op, const int8_t *a, const int8_t *b, int8_t *output);
void kt_sub(const kt_add_t *op, const int8_t *a, const int8_t *b, int8_t *output);

/* MUL. In place. */
typedef struct {
    const kt_broadcast_t *broadcast; /* as above */
    uint32_t count;
    int32_t multiplier;
    int8_t shift;
    int8_t zero_point_a, zero_point_b, output_zero_point;
    int8_t lowest, highest;
} kt_mul_t;

void kt_mul(const kt_mul_t *op, const int8_t *a, const int8_t *b, int8_t *output);

/* MAXIMUM and MINIMUM of codes: all three tensors have one quantization. In place. */
typedef struct {
    const kt_broadcast_t *broadcast; /* as above */
    uint32_t count;
} kt_maximum_t;

void kt_maximum(const kt_maximum_t *op, const int8_t *a, const int8_t *b, int8_t *output);
void kt_minimum(const kt_maximum_t *op, const int8_t *a, const int8_t *b, int8_t *output);

/* Any function of one code: LOGISTIC, TANH, HARD_SWISH, LEAKY_RELU, RELU with another scale, int8
 * QUANTIZE. `table` stands in the order of unsigned bytes: codes 0 ... 127, then -128 ... -1. In
 * place. */
void kt_lookup(const int8_t table[256], uint32_t count, const int8_t *input, int8_t *output);

/* RELU, RELU6, RELU_N1_TO_1 where input and output have one quantization. In place. */
void kt_clamp(int8_t lowest, int8_t highest, uint32_t count, const int8_t *input, int8_t *output);

/* PRELU: input (outer, inner) with a slope for each of `inner`. In place. */
typedef struct {
    const int8_t *slope; /* (inner), codes */
    uint32_t outer, inner;
    int32_t multiplier_positive, multiplier_negative; /* of values; of values times slopes */
    int8_t shift_positive, shift_negative;
    int8_t input_zero_point, slope_zero_point, output_zero_point;
} kt_prelu_t;

void kt_prelu(const kt_prelu_t *op, const int8_t *input, int8_t *output);

/* SOFTMAX over each row; the output has scale 1/256 and zero point -128. In place. */
typedef struct {
    uint32_t rows, columns;
    int32_t multiplier; /* of input scale times beta, as 5 integer and 26 fractional bits */
    int8_t shift;       /* 0 ... 31 */
    int16_t smallest_difference; /* to the row's maximum, below which an output is 0; >= -256 */
} kt_softmax_t;

void kt_softmax(const kt_softmax_t *op, const int8_t *input, int8_t *output);

/* Codes brought from place to place: PAD (after `kt_fill`), CONCATENATION, SPLIT, TRANSPOSE,
 * STRIDED_SLICE, SPACE_TO_DEPTH and so on. Pointers are those of the first element that moves;
 * strides, in elements and possibly negative, are those from one index of an axis to the next. */
typedef struct {
    uint32_t size[4]; /* of the block that moves; unused axes first, with size 1 */
    int32_t input_stride[4], output_stride[4];
} kt_copy_t;

void kt_copy(const kt_copy_t *op, const int8_t *input, int8_t *output);
void kt_fill(int8_t code, uint32_t count, int8_t *output);

/* RESIZE_NEAREST_NEIGHBOR: output (y, x) is input (row[y], column[x]). */
typedef struct {
    const uint16_t *row;    /* (out_h) */
    const uint16_t *column; /* (out_w) */
    uint16_t in_w, channels;
    uint16_t out_h, out_w;
} kt_resize_nearest_t;

void kt_resize_nearest(const kt_resize_nearest_t *op, const int8_t *input, int8_t *output);

/* RESIZE_BILINEAR: output y lies at input y * scale_h + offset_h, in 1/1024. */
typedef struct {
    int32_t scale_h, scale_w;
    int32_t offset_h, offset_w;
    uint16_t in_h, in_w, channels;
    uint16_t out_h, out_w;
} kt_resize_bilinear_t;

void kt_resize_bilinear(const kt_resize_bilinear_t *op, const int8_t *input, int8_t *output);

#ifdef __cplusplus
}
#endif

#endif
