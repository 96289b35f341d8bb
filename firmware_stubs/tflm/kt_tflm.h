/*
 * kt_tflm: runs the paths of a bundle on TensorFlow Lite Micro.
 *
 * The bundle's nodes, tasks and constants are generated (kt_model_config.h); this code is the same
 * for every bundle. C and C++ may call it. There is no heap, no exception and no global constructor:
 * the caller gives the arena, the generated configuration the room for the runtime's objects.
 *
 *     KT_TFLM_ALIGNED static uint8_t arena[KT_MODEL_ARENA_BYTES];
 *     kt_tflm_t model;
 *     if (kt_tflm_open(&model, &kt_model, arena, sizeof arena) != KT_TFLM_OK) ...
 *     kt_tflm_run(&model, KT_MODEL_TASK_DIGIT, codes, digit);         whole path
 *     kt_tflm_continue(&model, KT_MODEL_TASK_TEXTURE, texture);      its branch only, same input
 *
 * All nodes use one allocator, so their activations take the same memory in turn. Where paths part,
 * the tensor they part at is copied out once and kept for `kt_tflm_continue`; where a node's output
 * has one reader, it is moved. A path's output is given to the caller before anything else runs.
 *
 * Threads: a `kt_tflm_t`, its arena and the objects of its configuration belong to one thread at a
 * time; no call may interrupt another one on them, from an interrupt neither. Two models that run at
 * the same time each need a `kt_tflm_t`, an arena and a copy of the configuration with objects of
 * its own. Nodes, labels and every other constant are only read and may be shared.
 */
#ifndef KT_TFLM_H
#define KT_TFLM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KT_TFLM_ALIGNMENT 16 /* of the arena and of every node's data, in bytes */

/* Before `static` and `const`: KT_TFLM_ALIGNED static uint8_t arena[...]. */
#if defined(__cplusplus)
#define KT_TFLM_ALIGNED alignas(KT_TFLM_ALIGNMENT)
#elif defined(__GNUC__)
#define KT_TFLM_ALIGNED __attribute__((aligned(KT_TFLM_ALIGNMENT)))
#else
#define KT_TFLM_ALIGNED _Alignas(KT_TFLM_ALIGNMENT)
#endif

#if defined(__GNUC__)
#define KT_TFLM_CHECKED __attribute__((warn_unused_result))
#else
#define KT_TFLM_CHECKED
#endif

typedef enum {
    KT_TFLM_OK = 0,
    KT_TFLM_ERROR_ARGUMENT = -1,        /* a null pointer, or a task that there is not */
    KT_TFLM_ERROR_ARENA_ALIGNMENT = -2, /* the arena does not start at a multiple of 16 */
    KT_TFLM_ERROR_ARENA_SIZE = -3,      /* smaller than the configuration states */
    KT_TFLM_ERROR_RESOLVER = -4,        /* the runtime took fewer operators than the bundle has */
    KT_TFLM_ERROR_NODE_ALIGNMENT = -5,  /* a node's data does not start at a multiple of 16 */
    KT_TFLM_ERROR_NODE_FORMAT = -6,     /* no .tflite file, or of another schema version */
    KT_TFLM_ERROR_NODE_ALLOCATION = -7, /* the arena is too small, or a kernel refuses the node */
    KT_TFLM_ERROR_NODE_TENSORS = -8,    /* input or output are not those of the configuration */
    KT_TFLM_ERROR_INVOKE = -9,          /* a kernel failed */
    KT_TFLM_ERROR_NOT_KEPT = -10        /* nothing is kept that the task could continue from */
} kt_tflm_status_t;

/* An int8 tensor: real value = scale * (code - zero_point). */
typedef struct {
    const int32_t *shape; /* (axes), the batch of 1 first */
    uint32_t axes;
    uint32_t bytes;
    float scale;
    int32_t zero_point;
} kt_tflm_tensor_t;

/* A node: one .tflite file with one input and one output. */
typedef struct {
    const uint8_t *data; /* aligned to 16 */
    uint32_t bytes;
    kt_tflm_tensor_t input, output;
} kt_tflm_node_t;

/* A step of a path. */
typedef struct {
    uint16_t node;
    int16_t copy; /* where the output is kept, since paths part here; -1: it has one reader */
} kt_tflm_step_t;

/* A place for a copy. Along one path copies lie behind one another; different paths use the same
 * bytes in turn. */
typedef struct {
    uint32_t offset; /* from the start of the copies */
    int16_t parent;  /* the copy before it on the path; -1: none */
} kt_tflm_copy_t;

typedef struct {
    const char *name;
    const kt_tflm_step_t *steps; /* (step_count), trunk first */
    const char *const *labels;   /* (label_count) names of the outputs in order; NULL if 0 */
    uint16_t step_count, label_count;
} kt_tflm_task_t;

/* What is generated of a bundle. */
typedef struct {
    const kt_tflm_node_t *nodes; /* in the order in which they are allocated */
    const kt_tflm_task_t *tasks;
    const kt_tflm_copy_t *copies;
    uint16_t node_count, task_count;
    uint32_t copy_bytes;   /* of all copies; a multiple of 16; they lie at the arena's start */
    size_t arena_bytes;    /* least arena, copies and all */
    uint8_t allocates_all; /* 1: all nodes at once; 0: only the nodes of the path that runs */
    void *interpreters;    /* room for the runtime's interpreters, one per allocated node */
    void *resolver;        /* room for the operator resolver */
    const void *(*make_resolver)(void *room); /* NULL where an operator was refused */
} kt_tflm_config_t;

/* A model that is open. Its fields are the adapter's own, except `failed_node`. */
typedef struct {
    const kt_tflm_config_t *config;
    const void *resolver;
    int8_t *copies;
    uint8_t *arena;      /* the runtime's part */
    size_t arena_bytes;  /* of the runtime's part */
    int16_t allocated;   /* the task that is allocated, where one is at a time; -1: none */
    int16_t kept;        /* the last copy that holds what was computed from the input; -1: none */
    int16_t failed_node; /* the node that the last KT_TFLM_ERROR_NODE_... or _INVOKE is about */
} kt_tflm_t;

/* Checks everything and allocates the nodes; a model that opened can run.
 *
 * `config`: must outlive the model. `arena`: `arena_bytes` bytes (KT_MODEL_ARENA_BYTES) that start
 * at a multiple of 16 and are left to the model for as long as it is used. Nothing has to be closed:
 * the arena may be used for something else when the model is not used any more, and opening again
 * starts anew. */
KT_TFLM_CHECKED kt_tflm_status_t kt_tflm_open(kt_tflm_t *model, const kt_tflm_config_t *config,
                                              uint8_t *arena, size_t arena_bytes);

/* Where a task's input lies in the arena, for filling it in place; NULL where there is no such task
 * or it cannot be allocated. Valid until anything runs. Writing to it does not touch what is kept. */
int8_t *kt_tflm_input(kt_tflm_t *model, uint16_t task);

/* Runs a task's whole path.
 *
 * `input`: the codes of the path's input, or what `kt_tflm_input` returned. `output`: receives the
 * codes of the path's output. */
KT_TFLM_CHECKED kt_tflm_status_t kt_tflm_run(kt_tflm_t *model, uint16_t task, const int8_t *input,
                                             int8_t *output);

/* Runs the rest of a task's path on the input of the last `kt_tflm_run`: from the last tensor on
 * its path that is kept. KT_TFLM_ERROR_NOT_KEPT where no task ran, where the last one shares nothing
 * with this one, or where one path at a time is allocated. */
KT_TFLM_CHECKED kt_tflm_status_t kt_tflm_continue(kt_tflm_t *model, uint16_t task, int8_t *output);

/* Bytes of the arena that are in use, copies and all: of a model that opened. While it opened it may
 * have needed more for a moment, so a smaller arena is a trial, not a certainty. */
size_t kt_tflm_used_bytes(const kt_tflm_t *model);

/* What a status means, for people; "" where KT_TFLM_NO_MESSAGES is defined. */
const char *kt_tflm_message(kt_tflm_status_t status);

#ifdef __cplusplus
}
#endif

#endif
