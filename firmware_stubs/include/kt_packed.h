/*
 * kt_packed: layers whose weights lie in flash as indices of 1 to 4 bits, or as int4 codes.
 *
 * A kernel of `kt_kernels.h` computes such a layer a block of output channels at a time: the
 * block's weights are unpacked into scratch memory first, to the int8 codes that they stand for.
 * Outputs are those of the kernel with the int8 weights, bit for bit. Only a block of the weights
 * is ever in RAM, and an unpacked layer costs nothing.
 *
 * Indices are a stream of bits, least significant first: index `i` of a row begins at bit
 * `i` * bits of the row, and a row begins at a byte. A row is an output channel's filter; of
 * DEPTHWISE_CONV_2D, all channels' weights of one tap.
 */
#ifndef KT_PACKED_H
#define KT_PACKED_H

#include "kt_kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Unpacks `count` codes: code `i` is the entry that index `i` names in the table at `table` +
 * `i` * `step`. */
typedef void kt_unpack_t(const uint8_t *indices, const int8_t *table, int32_t step, int32_t count,
                         int8_t *codes);

void kt_unpack_1(const uint8_t *indices, const int8_t *table, int32_t step, int32_t count,
                 int8_t *codes);
void kt_unpack_2(const uint8_t *indices, const int8_t *table, int32_t step, int32_t count,
                 int8_t *codes);
void kt_unpack_3(const uint8_t *indices, const int8_t *table, int32_t step, int32_t count,
                 int8_t *codes);
void kt_unpack_4(const uint8_t *indices, const int8_t *table, int32_t step, int32_t count,
                 int8_t *codes);
/* Codes -8 ... 7: an index is the code plus 8, and there is no table. In each eight of a row, the
 * low halves of the four bytes are the first four indices, the high halves the others. */
void kt_unpack_int4(const uint8_t *indices, const int8_t *table, int32_t step, int32_t count,
                    int8_t *codes);

/* CONV_2D and DEPTHWISE_CONV_2D; 40 bytes on a 32-bit core. */
typedef struct {
    const kt_conv2d_t *op; /* as for the kernel; `weights` is not read */
    kt_unpack_t *unpack;
    const uint8_t *indices;
    const int8_t *table; /* a table of `stride` codes per channel, or one for all; or NULL */
    uint32_t row_bytes;  /* of indices */
    /* Bytes into the scratch memory: the block's weights, behind the kernel's own scratch; the
     * block's output; the part of the input that belongs to its channels. */
    uint32_t weights_at, output_at, input_at;
    uint16_t block; /* output channels at a time; out_c: all in one call of the kernel */
    uint16_t rows;  /* output rows at a time, where `block` is not out_c */
    uint8_t bits;   /* of an index */
    uint8_t stride; /* 0: one table for all channels */
} kt_packed_conv2d_t;

/* `scratch`: aligned to 4. `block` holds whole groups of channels where there are several; of
 * kt_packed_depthwise_conv2d it is a multiple of 8 and of `groups`, or out_c. */
void kt_packed_conv2d(const kt_packed_conv2d_t *packed, const int8_t *input, int8_t *output,
                      void *scratch);
void kt_packed_conv2d_1x1(const kt_packed_conv2d_t *packed, const int8_t *input, int8_t *output,
                          void *scratch);
void kt_packed_depthwise_conv2d(const kt_packed_conv2d_t *packed, const int8_t *input,
                                int8_t *output, void *scratch);

/* FULLY_CONNECTED; 32 bytes on a 32-bit core. */
typedef struct {
    const kt_fully_connected_t *op; /* as for the kernel; `weights` is not read */
    kt_unpack_t *unpack;
    const uint8_t *indices;
    const int8_t *table; /* as above */
    uint32_t row_bytes;
    uint32_t output_at; /* behind the block's weights, which begin the scratch memory */
    uint16_t block;     /* output channels at a time: at least 4, or out_c */
    uint16_t rows;      /* inputs at a time, where there are several and `block` is not out_c */
    uint8_t stride;
} kt_packed_fully_connected_t;

void kt_packed_fully_connected(const kt_packed_fully_connected_t *packed, const int8_t *input,
                               int8_t *output, void *scratch);

#ifdef __cplusplus
}
#endif

#endif
