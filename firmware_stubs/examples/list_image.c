/*
 * Check a packed image and list what it holds.
 *
 *     list_image bundle.bin
 *
 * Ends with 0 where the image is sound, 1 where it is not, 2 where it cannot be read.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "kt_bundle.h"

/* The whole file at a multiple of 16, as in flash; the memory is freed with `*memory`. */
static const uint8_t *read_file(const char *path, size_t *length, void **memory) {
    FILE *file = fopen(path, "rb");
    uint8_t *image = NULL;
    long size = -1;
    *memory = NULL;
    if (file != NULL && fseek(file, 0, SEEK_END) == 0) {
        size = ftell(file);
    }
    if (size >= 0 && fseek(file, 0, SEEK_SET) == 0) {
        *memory = malloc((size_t)size + 16);
    }
    if (*memory != NULL) {
        image = (uint8_t *)*memory + (16 - (uintptr_t)*memory % 16) % 16;
        *length = fread(image, 1, (size_t)size, file);
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    return image;
}

static void list_task(const kt_bundle_t *bundle, uint16_t index) {
    kt_task_t task;
    kt_node_t node;
    if (kt_bundle_task(bundle, index, &task) != KT_OK) {
        return;
    }
    printf("task %s:", task.name);
    for (uint16_t i = 0; i < task.path_count; i++) {
        if (kt_bundle_path_node(bundle, index, i, &node) == KT_OK) {
            printf("%s %s (%" PRIu32 " bytes)", i == 0 ? "" : " ->", node.name, node.data_bytes);
        }
    }
    printf(", %u labels\n", (unsigned)task.label_count);
}

int main(int argc, char **argv) {
    static kt_bundle_t bundle;
    void *memory = NULL;
    size_t length = 0;
    const uint8_t *image = argc == 2 ? read_file(argv[1], &length, &memory) : NULL;
    kt_status_t status;
    if (image == NULL) {
        (void)fprintf(stderr, "an image that can be read is expected: list_image bundle.bin\n");
        return 2;
    }
    status = kt_bundle_open(&bundle, image, length, NULL);
    if (status == KT_OK) {
        printf("image %s, version %" PRIu32 ": sound\n", kt_bundle_name(&bundle), bundle.version);
        for (uint16_t i = 0; i < bundle.task_count; i++) {
            list_task(&bundle, i);
        }
    } else {
        printf("image refused: %s\n", kt_status_message(status));
    }
    free(memory);
    return status == KT_OK ? 0 : 1;
}
