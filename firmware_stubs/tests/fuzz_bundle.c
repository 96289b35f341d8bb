/*
 * Fuzz target: whatever bytes an image has, the loader stays inside them, and what it accepts can
 * be read to the last byte.
 *
 * The first byte of the input asks for more: bit 0 computes the image's checksums anew, so that the
 * checks behind them are reached; bit 1 opens it with the full image that KT_FUZZ_BASE names.
 *
 *     clang -g -O1 -fsanitize=fuzzer,address,undefined -Iinclude tests/fuzz_bundle.c src/kt_*.c
 *     gcc -g -fsanitize=address,undefined -Iinclude tests/fuzz_bundle.c tests/fuzz_main.c src/...
 */
#include <stdlib.h>
#include <string.h>

#include "image_file.h"
#include "kt_bundle.h"
#include "kt_crc32.h"
#include "kt_sha256.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

static uint32_t get_u32(const uint8_t *at) {
    return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static void put_u32(uint8_t *at, uint32_t value) {
    unsigned i;

    for (i = 0; i < 4; i++) {
        at[i] = (uint8_t)(value >> 8 * i);
    }
}

/* Checksums of the nodes and of the tables, where header and records lie inside the image. */
static void reseal(uint8_t *image, size_t length) {
    size_t tables, nodes, i;

    if (length < sizeof(kt_image_header_t) + sizeof(kt_image_seal_t)) {
        return;
    }
    tables = get_u32(image + offsetof(kt_image_header_t, tables_bytes));
    nodes = image[offsetof(kt_image_header_t, node_count)];
    if (tables > length - sizeof(kt_image_seal_t) ||
        tables < sizeof(kt_image_header_t) + nodes * sizeof(kt_image_node_t)) {
        return;
    }
    for (i = 0; i < nodes; i++) {
        uint8_t *node = image + sizeof(kt_image_header_t) + i * sizeof(kt_image_node_t);
        const size_t offset = get_u32(node + offsetof(kt_image_node_t, data_offset));
        const size_t count = get_u32(node + offsetof(kt_image_node_t, data_bytes));

        if (offset >= tables + sizeof(kt_image_seal_t) && offset <= length &&
            count <= length - offset) {
            put_u32(node + offsetof(kt_image_node_t, data_crc32),
                    kt_crc32(0, image + offset, count));
        }
    }
    put_u32(image + tables + offsetof(kt_image_seal_t, tables_crc32),
            kt_crc32(0, image, tables + KT_SIGNATURE_BYTES));
}

static uint32_t read_tensor(const kt_tensor_t *tensor) {
    uint32_t product = 1, seen = 0;
    unsigned axis;

    if (tensor->axis_count < 1 || tensor->axis_count > KT_MOST_AXES || tensor->zero_point < -128 ||
        tensor->zero_point > 127 || !(tensor->scale > 0)) {
        abort();
    }
    for (axis = 0; axis < tensor->axis_count; axis++) {
        product *= tensor->shape[axis];
    }
    if (product != tensor->element_count || product == 0) {
        abort();
    }
    for (axis = 0; axis < KT_SHA256_BYTES; axis++) {
        seen += tensor->contract_sha256[axis];
    }
    return seen + (uint32_t)strlen(tensor->name);
}

static uint32_t read_node(const kt_node_t *node) {
    if ((uintptr_t)node->data % KT_IMAGE_ALIGNMENT != 0 || node->data_bytes == 0) {
        abort();
    }
    return kt_crc32(0, node->data, node->data_bytes) + (uint32_t)strlen(node->name) +
           read_tensor(&node->input) + read_tensor(&node->output);
}

static uint32_t read_task(const kt_bundle_t *bundle, uint16_t index) {
    kt_task_t task;
    kt_node_t node;
    uint32_t seen = 0;
    uint16_t i;

    if (kt_bundle_task(bundle, index, &task) != KT_OK || task.path_count == 0 ||
        kt_bundle_find_task(bundle, task.name) < 0) {
        abort();
    }
    for (i = 0; i < task.label_count; i++) {
        seen += (uint32_t)strlen(kt_bundle_label(bundle, index, i));
    }
    for (i = 0; i < task.path_count; i++) {
        uint8_t before[KT_SHA256_BYTES];

        if (i > 0) {
            memcpy(before, node.output.contract_sha256, sizeof before);
        }
        if (kt_bundle_path_node(bundle, index, i, &node) != KT_OK ||
            (i > 0 && memcmp(before, node.input.contract_sha256, sizeof before) != 0)) {
            abort();
        }
        seen += read_node(&node);
    }
    return seen;
}

static void read_all(const kt_bundle_t *bundle) {
    volatile uint32_t seen = (uint32_t)strlen(kt_bundle_name(bundle));
    kt_node_t node;
    uint16_t i;

    for (i = 0; i < bundle->node_count; i++) {
        if (kt_bundle_node(bundle, i, &node) != KT_OK) {
            abort();
        }
        seen += read_node(&node);
    }
    for (i = 0; i < bundle->task_count; i++) {
        seen += read_task(bundle, i);
    }
}

/* Takes any signature; a digest is what it should be. */
static int take_any(const uint8_t signature[64], const uint8_t *message, size_t length,
                    void *context) {
    (void)context;
    return (int)(kt_crc32(signature[0], message, length) & 0u);
}

/* The open base image; its memory lives as long as the process. */
static const kt_bundle_t *base_image(void) {
    static kt_bundle_t bundle;
    static int is_tried;
    static image_file_t file;

    if (!is_tried) {
        const char *path = getenv("KT_FUZZ_BASE");

        is_tried = 1;
        if (path != NULL && (!read_image_file(path, &file) ||
                             kt_bundle_open(&bundle, file.bytes, file.length, NULL) != KT_OK)) {
            abort();
        }
    }
    return bundle.image == NULL ? NULL : &bundle;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length) {
    kt_open_options_t options;
    kt_bundle_t bundle;
    uint8_t *image;
    const uint8_t wish = length > 0 ? data[0] : 0;

    length -= length > 0;
    image = aligned_bytes(length);
    if (length > 0) {
        memcpy(image, data + 1, length);
    }
    memset(&options, 0, sizeof options);
    if (wish & 1) {
        reseal(image, length);
    }
    if (wish & 2) {
        options.base = base_image();
    }
    if (wish & 4) {
        options.verify = take_any;
        options.sha256 = kt_sha256;
        options.require_signature = (wish & 8) != 0;
        options.require_same_trunk = (wish & 16) != 0;
    }
    if (kt_bundle_open(&bundle, image, length, &options) == KT_OK) {
        read_all(&bundle);
    } else if (bundle.image != NULL) {
        abort(); /* empty after an error */
    }
    free(image);
    return 0;
}
