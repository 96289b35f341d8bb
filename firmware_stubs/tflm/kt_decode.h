/*
 * kt_decode: the operator TFLM_DECODE for lookup tables, and for nothing else.
 *
 * TensorFlow Lite Micro's own kernel of the operator links Huffman codes and pruned weights besides,
 * some 6 kB. This one decodes the same tensors from the same flatbuffers. It keeps nothing in the
 * arena.
 *
 *     resolver.AddCustom("TFLM_DECODE", &kt_decode_registration);
 */
#ifndef KT_DECODE_H
#define KT_DECODE_H

#include "tensorflow/lite/micro/micro_common.h"

/* The kernel. A node whose tables or indices are not whole, or which is compressed in another way,
 * does not allocate; what allocated can run. */
extern const TFLMRegistration kt_decode_registration;

#endif
