#include "kt_image_check.h"

#include <string.h>

#include "kt_crc32.h"
#include "kt_image_read.h"

#define HIGHEST_FLOAT32 0x7f7fffffu /* bits of the largest finite number; 1 is the smallest */
#define MOST_ELEMENTS 0x7fffffffu   /* of a tensor */
#define EVENLY(bytes) (((bytes) + (KT_IMAGE_ALIGNMENT - 1u)) & ~(KT_IMAGE_ALIGNMENT - 1u))

int kt_is_zero(const uint8_t *bytes, size_t count) {
    uint8_t any = 0;

    while (count-- > 0) {
        any = (uint8_t)(any | *bytes++);
    }
    return any == 0;
}

static int is_external(const uint8_t *node) {
    return (KT_U32(node, kt_image_node_t, flags) & KT_NODE_EXTERNAL) != 0;
}

/* A string starts inside the strings; the last of their bytes, which is 0, ends it. */
static kt_status_t check_string(const kt_bundle_t *bundle, uint32_t offset) {
    return offset < bundle->strings_bytes ? KT_OK : KT_ERROR_STRING;
}

static kt_status_t check_tensor(const kt_bundle_t *bundle, const uint8_t *tensor) {
    const uint32_t scale = KT_U32(tensor, kt_image_tensor_t, scale);
    const uint32_t zero_point = KT_U32(tensor, kt_image_tensor_t, zero_point);
    const uint8_t axis_count = *KT_AT(tensor, kt_image_tensor_t, axis_count);
    const uint8_t *shape = KT_AT(tensor, kt_image_tensor_t, shape);
    uint32_t elements = 1;
    unsigned axis;

    if (*KT_AT(tensor, kt_image_tensor_t, type) != KT_TYPE_INT8 || axis_count < 1 ||
        axis_count > KT_MOST_AXES || scale < 1 || scale > HIGHEST_FLOAT32 ||
        zero_point + 128u > 255u || KT_U16(tensor, kt_image_tensor_t, reserved) != 0) {
        return KT_ERROR_TENSOR;
    }
    for (axis = 0; axis < KT_MOST_AXES; axis++, shape += 4) {
        const uint32_t size = kt_read_u32(shape);
        if (axis >= axis_count ? size != 0 : size < 1 || size > MOST_ELEMENTS / elements) {
            return KT_ERROR_TENSOR;
        }
        elements *= axis < axis_count ? size : 1;
    }
    return check_string(bundle, KT_U32(tensor, kt_image_tensor_t, name));
}

static kt_status_t check_node(const kt_bundle_t *bundle, const uint8_t *node,
                              const kt_open_options_t *options) {
    const uint32_t flags = KT_U32(node, kt_image_node_t, flags);
    const uint8_t *operators = KT_AT(node, kt_image_node_t, operators);
    unsigned i;

    if (KT_U16(node, kt_image_node_t, input) >= bundle->tensor_count ||
        KT_U16(node, kt_image_node_t, output) >= bundle->tensor_count) {
        return KT_ERROR_INDEX;
    }
    if ((flags & ~(uint32_t)KT_NODE_EXTERNAL) != 0 ||
        (flags != 0 && (bundle->flags & KT_IMAGE_BRANCH) == 0)) {
        return KT_ERROR_LAYOUT;
    }
    for (i = 0; i < 32 && options->operators != NULL; i++) {
        if ((operators[i] & (uint8_t)~options->operators[i]) != 0) {
            return KT_ERROR_OPERATOR;
        }
    }
    return check_string(bundle, KT_U32(node, kt_image_node_t, name));
}

/* Neighbours meet in one tensor. A branch's path begins in the full image and ends in its own. */
static kt_status_t check_path(const kt_bundle_t *bundle, uint32_t first, uint32_t count) {
    const uint8_t *before = NULL;
    uint32_t i;

    for (i = 0; i < count; i++) {
        const uint16_t index = kt_path_entry(bundle, (uint16_t)(first + i));
        const uint8_t *node;

        if (index >= bundle->node_count) {
            return KT_ERROR_INDEX;
        }
        node = kt_node_record(bundle, index);
        if (before != NULL) {
            if (KT_U16(before, kt_image_node_t, output) != KT_U16(node, kt_image_node_t, input)) {
                return KT_ERROR_SEAM;
            }
            if (is_external(node) && !is_external(before)) {
                return KT_ERROR_LAYOUT;
            }
        } else if ((bundle->flags & KT_IMAGE_BRANCH) != 0 && !is_external(node)) {
            return KT_ERROR_LAYOUT;
        }
        before = node;
    }
    return before == NULL || is_external(before) ? KT_ERROR_LAYOUT : KT_OK;
}

/* Tasks take the entries of paths and labels one after another, and all of them. */
static kt_status_t check_tasks(const kt_bundle_t *bundle) {
    uint32_t paths = 0, labels = 0;
    uint16_t i;

    for (i = 0; i < bundle->task_count; i++) {
        const uint8_t *task = kt_task_record(bundle, i);
        const uint32_t path_count = KT_U16(task, kt_image_task_t, path_count);
        kt_status_t status = check_string(bundle, KT_U32(task, kt_image_task_t, name));

        if (status != KT_OK) {
            return status;
        }
        if (KT_U16(task, kt_image_task_t, path_first) != paths ||
            KT_U16(task, kt_image_task_t, label_first) != labels ||
            path_count > bundle->path_count - paths) {
            return KT_ERROR_INDEX;
        }
        status = check_path(bundle, paths, path_count);
        if (status != KT_OK) {
            return status;
        }
        paths += path_count;
        labels += KT_U16(task, kt_image_task_t, label_count);
    }
    return paths == bundle->path_count && labels == bundle->label_count ? KT_OK : KT_ERROR_INDEX;
}

static kt_status_t check_strings(const kt_bundle_t *bundle) {
    const uint8_t *strings = (const uint8_t *)bundle->strings;
    const uint8_t *end = strings + bundle->strings_bytes;
    kt_status_t status = check_string(bundle, KT_U32(bundle->image, kt_image_header_t, name));
    uint16_t i;

    if (end[-1] != 0) {
        return KT_ERROR_STRING;
    }
    for (i = 0; i < bundle->label_count && status == KT_OK; i++) {
        status = check_string(bundle, kt_read_u32(bundle->labels + 4u * (size_t)i));
    }
    if (status == KT_OK && !kt_is_zero(end, (size_t)(bundle->image + bundle->tables_bytes - end))) {
        status = KT_ERROR_LAYOUT;
    }
    return status;
}

/* Neither an infinity nor NaN: of a binary64, not all bits of the exponent are set. */
static int is_finite(const uint8_t *number) {
    return (number[7] & 0x7fu) != 0x7fu || (number[6] & 0xf0u) != 0xf0u;
}

kt_status_t kt_check_tables(const kt_bundle_t *bundle, const kt_open_options_t *options) {
    kt_status_t status = check_strings(bundle);
    uint16_t i;

    if (status == KT_OK &&
        (!is_finite(KT_AT(bundle->image, kt_image_header_t, normalization_scale)) ||
         !is_finite(KT_AT(bundle->image, kt_image_header_t, normalization_offset)) ||
         bundle->task_count < 1 ||
         (bundle->task_count != 1 && (bundle->flags & KT_IMAGE_BRANCH) != 0))) {
        status = KT_ERROR_LAYOUT;
    }
    for (i = 0; i < bundle->tensor_count && status == KT_OK; i++) {
        status = check_tensor(bundle, kt_tensor_record(bundle, i));
    }
    for (i = 0; i < bundle->node_count && status == KT_OK; i++) {
        status = check_node(bundle, kt_node_record(bundle, i), options);
    }
    return status == KT_OK ? check_tasks(bundle) : status;
}

/* What the tables say of the bytes of one node, which end at or before the image's end. */
static kt_status_t check_bytes(const uint8_t *node, const uint8_t *data, uint32_t data_bytes,
                               const kt_open_options_t *options) {
    uint8_t digest[KT_SHA256_BYTES];

    if (kt_crc32(0, data, (size_t)data_bytes) != KT_U32(node, kt_image_node_t, data_crc32)) {
        return KT_ERROR_CHECKSUM;
    }
    if (!kt_is_zero(data + data_bytes, (size_t)(EVENLY(data_bytes) - data_bytes))) {
        return KT_ERROR_LAYOUT;
    }
    if (options->verify != NULL &&
        (options->sha256(data, (size_t)data_bytes, digest, options->context) != 0 ||
         memcmp(digest, KT_AT(node, kt_image_node_t, data_sha256), sizeof digest) != 0)) {
        return KT_ERROR_SIGNATURE;
    }
    return KT_OK;
}

kt_status_t kt_check_data(const kt_bundle_t *bundle, const kt_open_options_t *options) {
    uint32_t next = bundle->tables_bytes + (uint32_t)sizeof(kt_image_seal_t);
    uint16_t i;

    for (i = 0; i < bundle->node_count; i++) {
        const uint8_t *node = kt_node_record(bundle, i);
        const uint32_t offset = KT_U32(node, kt_image_node_t, data_offset);
        const uint32_t data_bytes = KT_U32(node, kt_image_node_t, data_bytes);
        kt_status_t status;

        if (is_external(node)) {
            if ((offset | data_bytes | KT_U32(node, kt_image_node_t, data_crc32)) != 0) {
                return KT_ERROR_LAYOUT;
            }
            continue;
        }
        if (offset != next || data_bytes < 1 || data_bytes > bundle->image_bytes - next) {
            return KT_ERROR_LAYOUT;
        }
        status = check_bytes(node, bundle->image + next, data_bytes, options);
        if (status != KT_OK) {
            return status;
        }
        next += EVENLY(data_bytes);
    }
    return next == bundle->image_bytes ? KT_OK : KT_ERROR_LAYOUT;
}

/* Whether two images mean the same by a tensor: its contract, and what the contract stands for. */
static int is_same_tensor(const uint8_t *one, const uint8_t *other) {
    const size_t after_name = offsetof(kt_image_tensor_t, scale);

    return memcmp(one, other, KT_SHA256_BYTES) == 0 &&
           memcmp(one + after_name, other + after_name, sizeof(kt_image_tensor_t) - after_name) ==
               0;
}

kt_status_t kt_check_base(const kt_bundle_t *bundle, const kt_open_options_t *options) {
    const kt_bundle_t *base = options->base;
    uint16_t i;

    if (base == NULL || base->image == NULL || (base->flags & KT_IMAGE_BRANCH) != 0) {
        return KT_ERROR_BASE;
    }
    for (i = 0; i < bundle->node_count; i++) {
        const uint8_t *node = kt_node_record(bundle, i);
        const uint8_t *there;

        if (!is_external(node)) {
            continue;
        }
        there = kt_record_in_base(base, bundle->strings + KT_U32(node, kt_image_node_t, name));
        if (there == NULL) {
            return KT_ERROR_BASE;
        }
        if (!is_same_tensor(kt_tensor_record(bundle, KT_U16(node, kt_image_node_t, input)),
                            kt_tensor_record(base, KT_U16(there, kt_image_node_t, input))) ||
            !is_same_tensor(kt_tensor_record(bundle, KT_U16(node, kt_image_node_t, output)),
                            kt_tensor_record(base, KT_U16(there, kt_image_node_t, output)))) {
            return KT_ERROR_SEAM;
        }
        if (options->require_same_trunk &&
            memcmp(KT_AT(node, kt_image_node_t, data_sha256),
                   KT_AT(there, kt_image_node_t, data_sha256), KT_SHA256_BYTES) != 0) {
            return KT_ERROR_BASE;
        }
    }
    return KT_OK;
}
