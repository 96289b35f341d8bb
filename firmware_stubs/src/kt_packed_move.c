#include "kt_kernels.h"
#include "kt_packed_run.h"

/* In a file of its own: dense layers need nothing else of kt_packed.c. */
void kt_move_block(const int8_t *from, int32_t from_step, int8_t *to, int32_t to_step,
                   int32_t count, int32_t places) {
    for (; places > 0; places--, from += from_step, to += to_step) {
        for (int32_t i = 0; i < count; i++) {
            to[i] = from[i];
        }
    }
}
