#include "kt_kernels.h"
#include "kt_packed.h"
#include "kt_unpack.h"

void kt_unpack_2(const uint8_t *indices, const int8_t *table, int32_t step, int32_t count,
                 int8_t *codes) {
    kt_unpack(indices, table, step, count, codes, 2);
}
