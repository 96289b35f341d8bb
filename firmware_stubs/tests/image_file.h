/*
 * Files for the test drivers, in memory of exactly their length at a multiple of 16 (malloc's own
 * on 64-bit hosts), so that a sanitizer finds every byte that is read beyond.
 */
#ifndef IMAGE_FILE_H
#define IMAGE_FILE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct {
    uint8_t *bytes;
    size_t length;
} image_file_t;

static inline uint8_t *aligned_bytes(size_t length) {
    uint8_t *bytes = (uint8_t *)malloc(length > 0 ? length : 1);

    if (bytes == NULL || (uintptr_t)bytes % 16 != 0) {
        abort();
    }
    return bytes;
}

/* 1 if the file at `path` was read. The caller frees `bytes`. */
static inline int read_image_file(const char *path, image_file_t *file) {
    FILE *stream = fopen(path, "rb");
    long length;

    file->bytes = NULL;
    if (stream == NULL) {
        return 0;
    }
    if (fseek(stream, 0, SEEK_END) == 0 && (length = ftell(stream)) >= 0 &&
        fseek(stream, 0, SEEK_SET) == 0) {
        file->length = (size_t)length;
        file->bytes = aligned_bytes(file->length);
        if (fread(file->bytes, 1, file->length, stream) != file->length) {
            free(file->bytes);
            file->bytes = NULL;
        }
    }
    fclose(stream);
    return file->bytes != NULL;
}

#endif
