/*
 * Run one task of the compiled model on int8 codes from standard input; values to standard output.
 *
 *     run_task digit < codes.bin
 *
 * `kt_model.h` also has a function per task, which is what a firmware calls; this loop over the
 * table of tasks is for programs that take any model.
 */
#include <stdio.h>
#include <string.h>

#include "kt_model.h"

static KT_ALIGN(16) int8_t buffer[KT_MODEL_BUFFER_BYTES];

static int print_outputs(const kt_model_task_t *task) {
    const int8_t *codes = buffer + task->output_offset;
    for (uint32_t i = 0; i < task->output_bytes; i++) {
        const float value = task->output_scale * (float)(codes[i] - task->output_zero_point);
        printf("%d %g%s%s\n", codes[i], (double)value, i < task->label_count ? " " : "",
               i < task->label_count ? task->labels[i] : "");
    }
    return 0;
}

static int run(const kt_model_task_t *task) {
    if (fread(buffer + task->input_offset, 1, task->input_bytes, stdin) != task->input_bytes) {
        (void)fprintf(stderr, "%u codes are expected\n", (unsigned)task->input_bytes);
        return 2;
    }
    task->run(buffer);
    return print_outputs(task);
}

int main(int argc, char **argv) {
    for (int i = 0; i < KT_MODEL_TASK_COUNT; i++) {
        if (argc == 2 && strcmp(argv[1], kt_model_tasks[i].name) == 0) {
            return run(&kt_model_tasks[i]);
        }
    }
    (void)fprintf(stderr, "a task is expected: run_task TASK < codes.bin; the tasks are:\n");
    for (int i = 0; i < KT_MODEL_TASK_COUNT; i++) {
        (void)fprintf(stderr, "    %s\n", kt_model_tasks[i].name);
    }
    return 2;
}
