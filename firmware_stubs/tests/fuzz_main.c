/*
 * A main for fuzz targets where there is no libFuzzer: replays the files that are named, then as
 * many seeded mutations of them as the first argument says. The same arguments give the same cases.
 *
 *     fuzz_bundle 20000 corpus/...
 */
#include <string.h>

#include "image_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

static uint32_t state = 0x2545f491u; /* xorshift32 (Marsaglia, 2003) */

static uint32_t random_below(uint32_t limit) {
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state % limit;
}

/* Numbers at which lengths and indices go wrong. */
static const uint32_t edges[] = {0u,          1u,          15u,        16u,     17u,
                                 0x7fu,       0x80u,       0xffu,      0xffffu, 0x7ffffff0u,
                                 0x80000000u, 0xfffffff0u, 0xffffffffu};

static void change(uint8_t *bytes, size_t length) {
    const size_t at = random_below((uint32_t)length);
    const uint32_t edge = edges[random_below(sizeof edges / sizeof edges[0])];
    const size_t width = (size_t)1 << random_below(3);
    size_t i;

    switch (random_below(4)) {
    case 0:
        bytes[at] = (uint8_t)(bytes[at] ^ 1u << random_below(8));
        break;
    case 1:
        bytes[at] = (uint8_t)random_below(256);
        break;
    case 2: /* a neighbouring value: indices and offsets that point to something else */
        bytes[at] = (uint8_t)(bytes[at] + random_below(3) - 1u);
        break;
    default:
        for (i = 0; i < width && (at & ~(width - 1)) + i < length; i++) {
            bytes[(at & ~(width - 1)) + i] = (uint8_t)(edge >> 8 * i);
        }
    }
}

/* One to four changes, half of them among the first 600 bytes: header and tables. */
static void mutate(const image_file_t *file) {
    size_t length = random_below(16) == 0 ? random_below((uint32_t)file->length + 1) : file->length;
    uint8_t *bytes = aligned_bytes(length);
    unsigned count = 1 + random_below(4);

    memcpy(bytes, file->bytes, length);
    while (length > 0 && count-- > 0) {
        const int is_early = length > 600 && random_below(2) == 0;
        change(bytes, is_early ? 600 : length);
        bytes[0] = (uint8_t)(random_below(8) == 0 ? bytes[0] : random_below(32) | 1u);
    }
    LLVMFuzzerTestOneInput(bytes, length);
    free(bytes);
}

int main(int count, char **arguments) {
    const long cases = count > 1 ? atol(arguments[1]) : 0;
    long done;
    int i;

    for (i = 2; i < count; i++) {
        image_file_t file;

        if (!read_image_file(arguments[i], &file)) {
            fprintf(stderr, "cannot read %s\n", arguments[i]);
            return 2;
        }
        LLVMFuzzerTestOneInput(file.bytes, file.length);
        for (done = 0; done < cases / (count - 2) && file.length > 0; done++) {
            mutate(&file);
        }
        free(file.bytes);
    }
    printf("%d files and %ld mutations\n", count - 2, count > 2 ? cases : 0);
    return count > 2 ? 0 : 2;
}
