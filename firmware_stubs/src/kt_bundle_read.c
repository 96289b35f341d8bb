#include <string.h>

#include "kt_bundle.h"
#include "kt_image_read.h"

const uint8_t *kt_record_in_base(const kt_bundle_t *base, const char *name) {
    uint16_t i;

    for (i = 0; i < base->node_count; i++) {
        const uint8_t *node = kt_node_record(base, i);
        if (strcmp(base->strings + KT_U32(node, kt_image_node_t, name), name) == 0) {
            return node;
        }
    }
    return NULL;
}

static void read_tensor(const kt_bundle_t *bundle, uint16_t index, kt_tensor_t *out) {
    const uint8_t *tensor = kt_tensor_record(bundle, index);
    const uint8_t *shape = KT_AT(tensor, kt_image_tensor_t, shape);
    const uint32_t scale = KT_U32(tensor, kt_image_tensor_t, scale);
    /* -128 to 127 was checked: the low half has the sign. */
    const int32_t low = KT_U16(tensor, kt_image_tensor_t, zero_point);
    unsigned axis;

    out->name = bundle->strings + KT_U32(tensor, kt_image_tensor_t, name);
    out->contract_sha256 = KT_AT(tensor, kt_image_tensor_t, contract_sha256);
    out->zero_point = (int16_t)(low > 127 ? low - 65536 : low);
    out->axis_count = *KT_AT(tensor, kt_image_tensor_t, axis_count);
    out->element_count = 1;
    for (axis = 0; axis < KT_MOST_AXES; axis++) {
        out->shape[axis] = kt_read_u32(shape + 4u * axis);
        out->element_count *= axis < out->axis_count ? out->shape[axis] : 1u;
    }
    memcpy(&out->scale, &scale, sizeof out->scale);
}

static void read_node(const kt_bundle_t *bundle, const uint8_t *node, kt_node_t *out) {
    out->name = bundle->strings + KT_U32(node, kt_image_node_t, name);
    out->data = bundle->image + KT_U32(node, kt_image_node_t, data_offset);
    out->data_bytes = KT_U32(node, kt_image_node_t, data_bytes);
    out->operators = KT_AT(node, kt_image_node_t, operators);
    read_tensor(bundle, KT_U16(node, kt_image_node_t, input), &out->input);
    read_tensor(bundle, KT_U16(node, kt_image_node_t, output), &out->output);
}

kt_status_t kt_bundle_node(const kt_bundle_t *bundle, uint16_t node, kt_node_t *out) {
    const uint8_t *record;

    if (node >= bundle->node_count) {
        return KT_ERROR_INDEX;
    }
    record = kt_node_record(bundle, node);
    if ((KT_U32(record, kt_image_node_t, flags) & KT_NODE_EXTERNAL) != 0) {
        record = kt_record_in_base(bundle->base,
                                   bundle->strings + KT_U32(record, kt_image_node_t, name));
        if (record == NULL) { /* the full image was closed or exchanged behind the branch's back */
            return KT_ERROR_BASE;
        }
        bundle = bundle->base;
    }
    read_node(bundle, record, out);
    return KT_OK;
}

kt_status_t kt_bundle_task(const kt_bundle_t *bundle, uint16_t task, kt_task_t *out) {
    const uint8_t *record;

    if (task >= bundle->task_count) {
        return KT_ERROR_INDEX;
    }
    record = kt_task_record(bundle, task);
    out->name = bundle->strings + KT_U32(record, kt_image_task_t, name);
    out->path_count = KT_U16(record, kt_image_task_t, path_count);
    out->label_count = KT_U16(record, kt_image_task_t, label_count);
    return KT_OK;
}

int32_t kt_bundle_find_task(const kt_bundle_t *bundle, const char *name) {
    uint16_t i;

    for (i = 0; i < bundle->task_count; i++) {
        const uint8_t *record = kt_task_record(bundle, i);
        if (strcmp(bundle->strings + KT_U32(record, kt_image_task_t, name), name) == 0) {
            return i;
        }
    }
    return KT_ERROR_NOT_FOUND;
}

kt_status_t kt_bundle_path_node(const kt_bundle_t *bundle, uint16_t task, uint16_t position,
                                kt_node_t *out) {
    const uint8_t *record;

    if (task >= bundle->task_count) {
        return KT_ERROR_INDEX;
    }
    record = kt_task_record(bundle, task);
    if (position >= KT_U16(record, kt_image_task_t, path_count)) {
        return KT_ERROR_INDEX;
    }
    return kt_bundle_node(
        bundle,
        kt_path_entry(bundle, (uint16_t)(KT_U16(record, kt_image_task_t, path_first) + position)),
        out);
}

const char *kt_bundle_label(const kt_bundle_t *bundle, uint16_t task, uint16_t label) {
    const uint8_t *record;
    size_t first;

    if (task >= bundle->task_count) {
        return NULL;
    }
    record = kt_task_record(bundle, task);
    if (label >= KT_U16(record, kt_image_task_t, label_count)) {
        return NULL;
    }
    first = KT_U16(record, kt_image_task_t, label_first);
    return bundle->strings + kt_read_u32(bundle->labels + 4u * (first + label));
}

const char *kt_bundle_name(const kt_bundle_t *bundle) {
    return bundle->image == NULL ? ""
                                 : bundle->strings + KT_U32(bundle->image, kt_image_header_t, name);
}

void kt_bundle_normalization(const kt_bundle_t *bundle, uint8_t scale[8], uint8_t offset[8]) {
    if (bundle->image == NULL) {
        memset(scale, 0, 8);
        memset(offset, 0, 8);
        return;
    }
    memcpy(scale, KT_AT(bundle->image, kt_image_header_t, normalization_scale), 8);
    memcpy(offset, KT_AT(bundle->image, kt_image_header_t, normalization_offset), 8);
}
