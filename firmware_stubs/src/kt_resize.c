#include "kt_kernels.h"
#include "kt_requantize.h"

void kt_resize_nearest(const kt_resize_nearest_t *op, const int8_t *input, int8_t *output) {
    for (uint32_t y = 0; y < op->out_h; y++) {
        const int8_t *row = input + (uint32_t)op->row[y] * op->in_w * op->channels;
        for (uint32_t x = 0; x < op->out_w; x++) {
            const int8_t *code = row + (uint32_t)op->column[x] * op->channels;
            for (uint32_t channel = op->channels; channel > 0; channel--) {
                *output++ = *code++;
            }
        }
    }
}

/* Two neighbours along one axis; the weight of the second is `part` / 1024. */
typedef struct {
    int32_t first, second, part;
} kt_neighbours_t;

static kt_neighbours_t kt_neighbours(int32_t place, int32_t size) {
    kt_neighbours_t found;
    found.first = place < 0 ? 0 : place / 1024;
    found.second = (place + 1023) / 1024;
    found.second = found.second < size - 1 ? found.second : size - 1;
    found.part = place - found.first * 1024;
    return found;
}

void kt_resize_bilinear(const kt_resize_bilinear_t *op, const int8_t *input, int8_t *output) {
    const int32_t row_bytes = op->in_w * op->channels;
    for (int32_t y = 0; y < op->out_h; y++) {
        const kt_neighbours_t v = kt_neighbours(y * op->scale_h + op->offset_h, op->in_h);
        const int8_t *top = input + v.first * row_bytes, *bottom = input + v.second * row_bytes;
        for (int32_t x = 0; x < op->out_w; x++) {
            const kt_neighbours_t h = kt_neighbours(x * op->scale_w + op->offset_w, op->in_w);
            const int32_t left = h.first * op->channels, right = h.second * op->channels;
            for (int32_t channel = 0; channel < op->channels; channel++) {
                const int32_t above =
                    top[left + channel] * (1024 - h.part) + top[right + channel] * h.part;
                const int32_t below =
                    bottom[left + channel] * (1024 - h.part) + bottom[right + channel] * h.part;
                const int32_t sum = above * (1024 - v.part) + below * v.part;
                *output++ = (int8_t)kt_rounding_shift(sum, 20);
            }
        }
    }
}
