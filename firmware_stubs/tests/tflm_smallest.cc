// Finds the smallest arena that works: writes a line for every size that does, from the generated
// one downwards, in steps of 16 bytes; of 1,024 on a 64-bit host, whose figure is generous. It ends
// at the first that does not, or with a fault there: the runtime does not survive every arena that
// is too small. The port gives `kt_port_write`.
#include "kt_model_config.h"

static constexpr size_t kStep = sizeof(void *) > 4 ? 1024 : 16;

KT_TFLM_ALIGNED static uint8_t arena[KT_MODEL_ARENA_BYTES];
static int8_t input[KT_MODEL_LARGEST_INPUT_BYTES];
static int8_t output[KT_MODEL_LARGEST_OUTPUT_BYTES];

static void write_size(size_t bytes) {
    char digits[12];
    char *first = digits + sizeof digits - 1;
    *first = '\0';
    do {
        *--first = static_cast<char>('0' + bytes % 10U);
        bytes /= 10U;
    } while (bytes > 0U);
    kt_port_write("works: ");
    kt_port_write(first);
    kt_port_write("\n");
}

static bool works(const kt_tflm_config_t &config, size_t bytes) {
    kt_tflm_t model;
    if (kt_tflm_open(&model, &config, arena, bytes) != KT_TFLM_OK) {
        return false;
    }
    for (uint16_t task = 0; task < KT_MODEL_TASK_COUNT; task++) {
        if (kt_tflm_run(&model, task, input, output) != KT_TFLM_OK) {
            return false;
        }
    }
    return true;
}

int main() {
    kt_tflm_config_t config = kt_model;
    config.arena_bytes = KT_MODEL_COPY_BYTES;
    for (size_t bytes = KT_MODEL_ARENA_BYTES; works(config, bytes); bytes -= kStep) {
        write_size(bytes);
    }
    return 0;
}
