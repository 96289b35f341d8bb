/*
 * kt_image: the records of a packed image as they lie in flash. SPEC.md explains every byte.
 *
 * The structures say where a field stands; the loader reads fields byte by byte, so that neither
 * the core's byte order nor its alignment matters. All numbers are little endian.
 */
#ifndef KT_IMAGE_H
#define KT_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#define KT_FORMAT_VERSION 1u
#define KT_IMAGE_ALIGNMENT 16u
#define KT_MAGIC "\x89KTI\r\n\x1a\n"
#define KT_MAGIC_BYTES 8u
#define KT_SIGNATURE_BYTES 64u
#define KT_SHA256_BYTES 32u
#define KT_MOST_AXES 6u
#define KT_MOST_IMAGE_BYTES 0x7ffffff0u /* 2 GiB less 16 */

/* kt_image_header_t.flags */
#define KT_IMAGE_BRANCH 1u /* one task's branch, which builds on a full image */
#define KT_IMAGE_SIGNED 2u /* the seal holds a signature */
#define KT_IMAGE_FLAGS 3u

/* kt_image_node_t.flags */
#define KT_NODE_EXTERNAL 1u /* stored in the full image, under the same name */

/* kt_image_tensor_t.type */
#define KT_TYPE_INT8 1u

typedef struct {
    uint8_t magic[8];
    uint16_t format_version;
    uint16_t header_bytes;
    uint32_t flags;
    uint32_t image_bytes;
    uint32_t tables_bytes;
    uint32_t version;
    uint16_t node_count;
    uint16_t tensor_count;
    uint16_t task_count;
    uint16_t label_count;
    uint16_t path_count;
    uint16_t reserved;
    uint32_t strings_bytes;
    uint32_t name;
    uint8_t normalization_scale[8];
    uint8_t normalization_offset[8];
} kt_image_header_t;

typedef struct {
    uint32_t name;
    uint32_t data_offset;
    uint32_t data_bytes;
    uint32_t data_crc32;
    uint16_t input;
    uint16_t output;
    uint32_t flags;
    uint8_t operators[32];
    uint8_t data_sha256[32];
} kt_image_node_t;

typedef struct {
    uint8_t contract_sha256[32];
    uint32_t name;
    uint32_t scale;
    int32_t zero_point;
    uint8_t type;
    uint8_t axis_count;
    uint16_t reserved;
    uint32_t shape[6];
} kt_image_tensor_t;

typedef struct {
    uint32_t name;
    uint16_t path_first;
    uint16_t path_count;
    uint16_t label_first;
    uint16_t label_count;
} kt_image_task_t;

typedef struct {
    uint8_t signature[64];
    uint32_t tables_crc32;
    uint8_t reserved[12];
} kt_image_seal_t;

/* Refuses to compile where a compiler lays a structure out in another way than SPEC.md. */
#define KT_PIN(type, field, offset)                                                                \
    typedef char kt_pin_##type##_##field[offsetof(type, field) == (offset) ? 1 : -1]
#define KT_PIN_SIZE(type, bytes) typedef char kt_pin_##type[sizeof(type) == (bytes) ? 1 : -1]

KT_PIN(kt_image_header_t, magic, 0);
KT_PIN(kt_image_header_t, format_version, 8);
KT_PIN(kt_image_header_t, header_bytes, 10);
KT_PIN(kt_image_header_t, flags, 12);
KT_PIN(kt_image_header_t, image_bytes, 16);
KT_PIN(kt_image_header_t, tables_bytes, 20);
KT_PIN(kt_image_header_t, version, 24);
KT_PIN(kt_image_header_t, node_count, 28);
KT_PIN(kt_image_header_t, tensor_count, 30);
KT_PIN(kt_image_header_t, task_count, 32);
KT_PIN(kt_image_header_t, label_count, 34);
KT_PIN(kt_image_header_t, path_count, 36);
KT_PIN(kt_image_header_t, reserved, 38);
KT_PIN(kt_image_header_t, strings_bytes, 40);
KT_PIN(kt_image_header_t, name, 44);
KT_PIN(kt_image_header_t, normalization_scale, 48);
KT_PIN(kt_image_header_t, normalization_offset, 56);
KT_PIN_SIZE(kt_image_header_t, 64);

KT_PIN(kt_image_node_t, name, 0);
KT_PIN(kt_image_node_t, data_offset, 4);
KT_PIN(kt_image_node_t, data_bytes, 8);
KT_PIN(kt_image_node_t, data_crc32, 12);
KT_PIN(kt_image_node_t, input, 16);
KT_PIN(kt_image_node_t, output, 18);
KT_PIN(kt_image_node_t, flags, 20);
KT_PIN(kt_image_node_t, operators, 24);
KT_PIN(kt_image_node_t, data_sha256, 56);
KT_PIN_SIZE(kt_image_node_t, 88);

KT_PIN(kt_image_tensor_t, contract_sha256, 0);
KT_PIN(kt_image_tensor_t, name, 32);
KT_PIN(kt_image_tensor_t, scale, 36);
KT_PIN(kt_image_tensor_t, zero_point, 40);
KT_PIN(kt_image_tensor_t, type, 44);
KT_PIN(kt_image_tensor_t, axis_count, 45);
KT_PIN(kt_image_tensor_t, reserved, 46);
KT_PIN(kt_image_tensor_t, shape, 48);
KT_PIN_SIZE(kt_image_tensor_t, 72);

KT_PIN(kt_image_task_t, name, 0);
KT_PIN(kt_image_task_t, path_first, 4);
KT_PIN(kt_image_task_t, path_count, 6);
KT_PIN(kt_image_task_t, label_first, 8);
KT_PIN(kt_image_task_t, label_count, 10);
KT_PIN_SIZE(kt_image_task_t, 12);

KT_PIN(kt_image_seal_t, signature, 0);
KT_PIN(kt_image_seal_t, tables_crc32, 64);
KT_PIN(kt_image_seal_t, reserved, 68);
KT_PIN_SIZE(kt_image_seal_t, 80);

#endif
