/*
 * kt_image_check: the steps of `kt_bundle_open` after the header. Internal.
 */
#ifndef KT_IMAGE_CHECK_H
#define KT_IMAGE_CHECK_H

#include "kt_bundle.h"

/* 1 if all `count` bytes are 0. */
int kt_is_zero(const uint8_t *bytes, size_t count);

/* Nodes, tensors, tasks, labels, paths, strings and the padding after them. */
kt_status_t kt_check_tables(const kt_bundle_t *bundle,
                            const kt_open_options_t *options) KT_WARN_UNUSED;

/* Each node's place, checksum and padding; its digest too where the signature was verified. */
kt_status_t kt_check_data(const kt_bundle_t *bundle,
                          const kt_open_options_t *options) KT_WARN_UNUSED;

/* A branch image against the full image that it builds on. */
kt_status_t kt_check_base(const kt_bundle_t *bundle,
                          const kt_open_options_t *options) KT_WARN_UNUSED;

#endif
