/*
 * kt_selftest: replays golden vectors and says whether every output byte is the recorded one.
 *
 * The cases are generated from a bundle; what differs between a host, a board and an emulated core
 * is in the functions of the port.
 */
#ifndef KT_SELFTEST_H
#define KT_SELFTEST_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The golden vectors of one task. */
typedef struct {
    const char *task;
    void (*run)(int8_t *buffer); /* runs the task's path */
    const int8_t *inputs;        /* (vectors, input_bytes) codes */
    const int8_t *outputs;       /* (vectors, output_bytes) codes */
    uint32_t vectors;
    uint32_t input_offset, input_bytes; /* of the input in the buffer */
    uint32_t output_offset, output_bytes;
} kt_selftest_case_t;

extern const kt_selftest_case_t kt_selftest_cases[];
extern const uint32_t kt_selftest_case_count;
extern int8_t kt_selftest_buffer[]; /* the buffer that all tasks share, aligned to 16 */

/* Runs every vector of every case; writes a line per task and "PASS" or "FAIL". Returns the number
 * of tasks that failed. */
int kt_selftest(void);

/* Given by the port: writes text; fills the unused stack; bytes of the filled stack that were
 * written to since (0 where the port cannot tell). */
void kt_port_write(const char *text);
void kt_port_stack_fill(void);
uint32_t kt_port_stack_used(void);

#ifdef __cplusplus
}
#endif

#endif
