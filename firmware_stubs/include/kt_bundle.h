/*
 * kt_bundle: read a packed image where it lies, after everything in it has been checked.
 *
 *     static kt_bundle_t bundle;
 *     kt_node_t node;
 *     int task;
 *
 *     if (kt_bundle_open(&bundle, image, image_bytes, NULL) != KT_OK) { ... }
 *     task = kt_bundle_find_task(&bundle, "digit");
 *     kt_bundle_path_node(&bundle, (uint16_t)task, 0, &node);     node.data is the first .tflite
 *
 * Nothing is copied: names, labels and nodes are pointers into the image, which must stay where it
 * is and as it is while they are used. Nothing is allocated, and the functions keep no state: the
 * caller owns all memory. An image is no input of trust: whatever its bytes, `kt_bundle_open` reads
 * no byte outside `length`. What a node's flatbuffer holds is not looked at; its checksum is, and
 * its digest where the image's signature is verified.
 */
#ifndef KT_BUNDLE_H
#define KT_BUNDLE_H

#include <stddef.h>
#include <stdint.h>

#include "kt_image.h"
#include "kt_status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kt_bundle kt_bundle_t;

/* What `kt_bundle_open` shall ask of an image. All zeros: what can be checked without a key. */
typedef struct {
    /* The open full image that a branch image builds on; not read for a full image. */
    const kt_bundle_t *base;
    /* Ed25519 (RFC 8032): 0 if `signature` is the expected key's for `length` bytes of `message`.
     * NULL: signatures are not verified. With it, `sha256` must be given. */
    int (*verify)(const uint8_t signature[64], const uint8_t *message, size_t length,
                  void *context);
    /* The SHA-256 of `length` bytes; 0 if it was computed. `kt_sha256`, or the chip's. */
    int (*sha256)(const uint8_t *data, size_t length, uint8_t digest[32], void *context);
    void *context; /* handed to both */
    /* Operators that the firmware has, 32 bytes: bit n % 8 of byte n / 8 for the BuiltinOperator n
     * of TensorFlow Lite's schema. NULL: not checked. */
    const uint8_t *operators;
    uint32_t lowest_version;    /* refuse an image of a lower version; 0: take any */
    uint8_t require_signature;  /* refuse an image that is not signed */
    uint8_t require_same_trunk; /* refuse a branch whose trunk differs in a byte, not only in what
                                   the seam's contract says */
} kt_open_options_t;

/* An open image; fields are the library's. 60 bytes on a 32-bit core. */
struct kt_bundle {
    const uint8_t *image;
    const uint8_t *tensors;
    const uint8_t *tasks;
    const uint8_t *labels;
    const uint8_t *paths;
    const char *strings;
    const kt_bundle_t *base; /* of a branch image */
    uint32_t flags;
    uint32_t version;
    uint32_t image_bytes;
    uint32_t strings_bytes;
    uint32_t tables_bytes;
    uint16_t node_count;
    uint16_t tensor_count;
    uint16_t task_count;
    uint16_t label_count;
    uint16_t path_count; /* entries of all paths */
};

/* One tensor between nodes, or at an end of a path: real value = scale * (code - zero_point). */
typedef struct {
    const char *name;             /* of the seam; "" at the ends of paths */
    uint32_t shape[KT_MOST_AXES]; /* the batch (1) first; zeros after the last axis */
    uint32_t element_count;       /* codes of one sample, which are bytes */
    float scale;
    int16_t zero_point;             /* -128 to 127 */
    uint8_t axis_count;             /* 1 to 6 */
    const uint8_t *contract_sha256; /* 32 bytes */
} kt_tensor_t;

/* One node: a .tflite flatbuffer in flash, at a multiple of 16. */
typedef struct {
    const char *name;
    const uint8_t *data;
    uint32_t data_bytes;
    const uint8_t *operators; /* 32 bytes, as in `kt_open_options_t` */
    kt_tensor_t input;
    kt_tensor_t output;
} kt_node_t;

/* One task; its input is its first node's, its output its last node's. */
typedef struct {
    const char *name;
    uint16_t path_count;  /* nodes that it runs */
    uint16_t label_count; /* class names in the order of the outputs; may be 0 */
} kt_task_t;

/*
 * Check an image from end to end and make it readable.
 *
 * `bundle` is written, never read; after an error it is empty. `image` must start at a multiple of
 * 16; `length` is the bytes that may be read there, at least the image's own length: the rest of a
 * partition may follow. `options` may be NULL. Time grows with the image's length: its checksums
 * are computed.
 */
kt_status_t kt_bundle_open(kt_bundle_t *bundle, const void *image, size_t length,
                           const kt_open_options_t *options) KT_WARN_UNUSED;

/* The index of the task with this name, or KT_ERROR_NOT_FOUND. */
int32_t kt_bundle_find_task(const kt_bundle_t *bundle, const char *name) KT_WARN_UNUSED;

/* A task by its index, from 0 to task_count - 1. */
kt_status_t kt_bundle_task(const kt_bundle_t *bundle, uint16_t task, kt_task_t *out) KT_WARN_UNUSED;

/* The node at `position` (0: the trunk) of a task's path; of a branch image also those that lie in
 * the full image. */
kt_status_t kt_bundle_path_node(const kt_bundle_t *bundle, uint16_t task, uint16_t position,
                                kt_node_t *out) KT_WARN_UNUSED;

/* A stored node by its index, from 0 to node_count - 1. */
kt_status_t kt_bundle_node(const kt_bundle_t *bundle, uint16_t node, kt_node_t *out) KT_WARN_UNUSED;

/* The label of a class, or NULL where there is none. UTF-8. */
const char *kt_bundle_label(const kt_bundle_t *bundle, uint16_t task, uint16_t label);

/* The tree's name. */
const char *kt_bundle_name(const kt_bundle_t *bundle);

/* network input = raw * scale + offset: two numbers of IEEE 754's binary64, little endian. On
 * nearly every core `double` has this form, and its address can be given. Zeros after a failed
 * open. */
void kt_bundle_normalization(const kt_bundle_t *bundle, uint8_t scale[8], uint8_t offset[8]);

#ifdef __cplusplus
}
#endif

#endif
