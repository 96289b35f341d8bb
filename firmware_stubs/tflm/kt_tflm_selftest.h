/*
 * kt_tflm_selftest: replays a bundle's golden vectors and says whether every output is as recorded.
 *
 * Besides, for the first vector of every task: every task that can continue from it gives the same
 * output whether its whole path or only its branch ran, and the kept tensor outlives them all.
 */
#ifndef KT_TFLM_SELFTEST_H
#define KT_TFLM_SELFTEST_H

#include "kt_tflm.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The golden vectors of a task, in the order of the configuration's tasks. */
typedef struct {
    const int8_t *inputs;  /* (vectors, input bytes) codes */
    const int8_t *outputs; /* (vectors, output bytes) codes */
    uint32_t vectors;
    int32_t tolerance; /* allowed difference of a code: 0, or 1 for vectors that LiteRT computed */
} kt_tflm_golden_t;

/* What the self-test uses; all of it the caller's. */
typedef struct {
    const kt_tflm_config_t *config;
    const kt_tflm_golden_t *golden; /* one per task */
    uint8_t *arena;
    size_t arena_bytes;
    int8_t *output, *again; /* each of the largest output's bytes */
} kt_tflm_selftest_t;

/* Given by the port: writes text. */
void kt_port_write(const char *text);

/* Writes a line per task, and "PASS" or "FAIL"; returns the number of tasks that failed, or 1 where
 * the model does not open. */
int kt_tflm_selftest(const kt_tflm_selftest_t *test);

#ifdef __cplusplus
}
#endif

#endif
