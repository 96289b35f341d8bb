/* Which taps of a kernel meet the input, along one axis. Private to the kernels. */
#ifndef KT_WINDOW_H
#define KT_WINDOW_H

#include <stdint.h>

/* Taps begin ... end - 1 lie inside; begin == end where none does. */
typedef struct {
    int32_t begin, end;
} kt_span_t;

/* `origin`: the input index of tap 0; `size`: of the input. */
static inline kt_span_t kt_clip(int32_t origin, int32_t size, int32_t kernel, int32_t dilation) {
    kt_span_t span = {0, kernel};
    while (span.begin < kernel && origin + span.begin * dilation < 0) {
        span.begin++;
    }
    while (span.end > span.begin && origin + (span.end - 1) * dilation >= size) {
        span.end--;
    }
    return span;
}

#endif
