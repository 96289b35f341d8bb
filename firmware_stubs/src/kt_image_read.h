/*
 * kt_image_read: fields of an image's records. Internal to kt_bundle*.c and kt_update.c.
 */
#ifndef KT_IMAGE_READ_H
#define KT_IMAGE_READ_H

#include "kt_bundle.h"

#define KT_AT(record, type, field) ((record) + offsetof(type, field))
#define KT_U16(record, type, field) kt_read_u16(KT_AT(record, type, field))
#define KT_U32(record, type, field) kt_read_u32(KT_AT(record, type, field))

static inline uint16_t kt_read_u16(const uint8_t *at) {
    return (uint16_t)(at[0] | (uint16_t)at[1] << 8);
}

static inline uint32_t kt_read_u32(const uint8_t *at) {
    return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static inline const uint8_t *kt_node_record(const kt_bundle_t *bundle, uint16_t node) {
    return bundle->image + sizeof(kt_image_header_t) + (size_t)node * sizeof(kt_image_node_t);
}

static inline const uint8_t *kt_tensor_record(const kt_bundle_t *bundle, uint16_t tensor) {
    return bundle->tensors + (size_t)tensor * sizeof(kt_image_tensor_t);
}

static inline const uint8_t *kt_task_record(const kt_bundle_t *bundle, uint16_t task) {
    return bundle->tasks + (size_t)task * sizeof(kt_image_task_t);
}

static inline uint16_t kt_path_entry(const kt_bundle_t *bundle, uint16_t entry) {
    return kt_read_u16(bundle->paths + 2u * (size_t)entry);
}

/* The node of `base` with the name of a branch image's external node, or NULL. */
const uint8_t *kt_record_in_base(const kt_bundle_t *base, const char *name);

#endif
