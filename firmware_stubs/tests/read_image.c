/*
 * Test driver: what the loader says of images, for comparison with Python.
 *
 *     read_image fields IMAGE [BASE]   every field that the accessors give, one a line
 *     read_image many [BASE]           stdin: (u32 length, bytes) and so on; a status per line
 *     read_image flips IMAGE [BASE]    each bit in turn flipped; the offsets that pass
 *     read_image cuts IMAGE [BASE]     cut to each length; the lengths that pass
 *     read_image shifts IMAGE          at each address modulo 16; the shifts that pass
 *     read_image sha256                stdin's digest
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image_file.h"
#include "kt_bundle.h"
#include "kt_sha256.h"

static kt_bundle_t base;
static kt_open_options_t options;

static void print_hex(const char *what, const uint8_t *bytes, size_t count) {
    printf("%s ", what);
    while (count-- > 0) {
        printf("%02x", *bytes++);
    }
    printf("\n");
}

static void print_tensor(const char *side, const kt_tensor_t *tensor) {
    unsigned axis;

    printf("%s %s|", side, tensor->name);
    for (axis = 0; axis < tensor->axis_count; axis++) {
        printf("%" PRIu32 ",", tensor->shape[axis]);
    }
    printf("|%" PRIu32 "|%.9g|%d\n", tensor->element_count, (double)tensor->scale,
           tensor->zero_point);
    print_hex("contract", tensor->contract_sha256, 32);
}

static void print_node(const kt_node_t *node) {
    uint8_t digest[32];

    printf("node %s %" PRIu32 "\n", node->name, node->data_bytes);
    kt_sha256(node->data, node->data_bytes, digest, NULL);
    print_hex("data", digest, 32);
    print_hex("operators", node->operators, 32);
    print_tensor("input", &node->input);
    print_tensor("output", &node->output);
}

static void print_task(const kt_bundle_t *bundle, uint16_t index) {
    kt_task_t task;
    kt_node_t node;
    uint16_t i;

    if (kt_bundle_task(bundle, index, &task) != KT_OK) {
        exit(3);
    }
    printf("task %s %d\n", task.name, (int)kt_bundle_find_task(bundle, task.name));
    for (i = 0; i < task.label_count; i++) {
        printf("label %s\n", kt_bundle_label(bundle, index, i));
    }
    for (i = 0; i < task.path_count; i++) {
        if (kt_bundle_path_node(bundle, index, i, &node) != KT_OK) {
            exit(3);
        }
        print_node(&node);
    }
    if (kt_bundle_label(bundle, index, task.label_count) != NULL ||
        kt_bundle_path_node(bundle, index, task.path_count, &node) != KT_ERROR_INDEX) {
        exit(3);
    }
}

static int print_fields(const image_file_t *file) {
    kt_bundle_t bundle;
    kt_task_t task;
    kt_node_t node;
    uint8_t scale[8], offset[8];
    const kt_status_t status = kt_bundle_open(&bundle, file->bytes, file->length, &options);
    uint16_t i;

    printf("status %d %s\n", status, kt_status_message(status));
    if (status != KT_OK) {
        return 1;
    }
    kt_bundle_normalization(&bundle, scale, offset);
    printf("image %s %" PRIu32 " %" PRIu32 "\n", kt_bundle_name(&bundle), bundle.version,
           bundle.flags);
    print_hex("scale", scale, 8);
    print_hex("offset", offset, 8);
    for (i = 0; i < bundle.node_count; i++) {
        if (kt_bundle_node(&bundle, i, &node) != KT_OK) {
            exit(3);
        }
        print_node(&node);
    }
    for (i = 0; i < bundle.task_count; i++) {
        print_task(&bundle, i);
    }
    if (kt_bundle_node(&bundle, bundle.node_count, &node) != KT_ERROR_INDEX ||
        kt_bundle_task(&bundle, bundle.task_count, &task) != KT_ERROR_INDEX ||
        kt_bundle_label(&bundle, bundle.task_count, 0) != NULL ||
        kt_bundle_path_node(&bundle, bundle.task_count, 0, &node) != KT_ERROR_INDEX ||
        kt_bundle_find_task(&bundle, "no such task") != KT_ERROR_NOT_FOUND) {
        exit(3);
    }
    return 0;
}

static int status_of_many(void) {
    uint32_t length;

    while (fread(&length, 1, sizeof length, stdin) == sizeof length) {
        kt_bundle_t bundle;
        uint8_t *bytes = aligned_bytes(length);

        if (fread(bytes, 1, length, stdin) != length) {
            return 3;
        }
        printf("%d\n", kt_bundle_open(&bundle, bytes, length, &options));
        free(bytes);
    }
    return 0;
}

static int flip(const image_file_t *file) {
    kt_bundle_t bundle;
    size_t bit;

    for (bit = 0; bit < 8 * file->length; bit++) {
        file->bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (kt_bundle_open(&bundle, file->bytes, file->length, &options) == KT_OK) {
            printf("%zu\n", bit / 8);
        } else if (bundle.image != NULL || bundle.task_count != 0) {
            return 3; /* not empty after an error */
        }
        file->bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    return 0;
}

static int cut(const image_file_t *file) {
    kt_bundle_t bundle;
    size_t length;

    for (length = 0; length <= file->length; length++) {
        uint8_t *bytes = aligned_bytes(length); /* so that a byte too far is found */

        memcpy(bytes, file->bytes, length);
        if (kt_bundle_open(&bundle, bytes, length, &options) == KT_OK) {
            printf("%zu\n", length);
        }
        free(bytes);
    }
    return 0;
}

static int shift(const image_file_t *file) {
    kt_bundle_t bundle;
    unsigned by;

    for (by = 0; by < 32; by++) {
        uint8_t *bytes = aligned_bytes(file->length + by);

        memcpy(bytes + by, file->bytes, file->length);
        if (kt_bundle_open(&bundle, bytes + by, file->length, &options) == KT_OK) {
            printf("%u\n", by);
        }
        free(bytes);
    }
    return 0;
}

static int digest_of_input(void) {
    static uint8_t bytes[1 << 20];
    uint8_t digest[32];
    const size_t length = fread(bytes, 1, sizeof bytes, stdin);

    kt_sha256(bytes, length, digest, NULL);
    print_hex("sha256", digest, 32);
    return 0;
}

static int run(const char *verb, const char *path) {
    image_file_t file;
    int code = 2;

    if (!read_image_file(path, &file)) {
        return 2;
    }
    if (strcmp(verb, "fields") == 0) {
        code = print_fields(&file);
    } else if (strcmp(verb, "flips") == 0) {
        code = flip(&file);
    } else if (strcmp(verb, "cuts") == 0) {
        code = cut(&file);
    } else if (strcmp(verb, "shifts") == 0) {
        code = shift(&file);
    }
    free(file.bytes);
    return code;
}

int main(int count, char **arguments) {
    const char *verb = count > 1 ? arguments[1] : "";
    const int is_many = strcmp(verb, "many") == 0;
    const char *base_path = count > (is_many ? 2 : 3) ? arguments[is_many ? 2 : 3] : NULL;
    image_file_t file = {NULL, 0};
    int code;

    if (base_path != NULL) {
        if (!read_image_file(base_path, &file) ||
            kt_bundle_open(&base, file.bytes, file.length, NULL) != KT_OK) {
            return 2;
        }
        options.base = &base;
    }
    if (is_many) {
        code = status_of_many();
    } else if (strcmp(verb, "sha256") == 0) {
        code = digest_of_input();
    } else {
        code = count > 2 ? run(verb, arguments[2]) : 2;
    }
    free(file.bytes);
    return code;
}
