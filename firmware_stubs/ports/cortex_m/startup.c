/* Vector table, reset handler and semihosting for Cortex-M, M0+ to M55, in C. */
#include <stdint.h>

#include "../semihosting.h"

extern uint32_t kt_link_stack_end[];

void kt_port_start(void);
void kt_port_reset(void);
void kt_port_fault(void);

#define KT_FAULT_EXIT_CODE 3

typedef union {
    uint32_t *stack;
    void (*handler)(void);
} kt_vector_t;

/* Entries 0 to 15 of the Arm architecture; no interrupt is enabled. */
__attribute__((used, section(".vectors"))) const kt_vector_t kt_port_vectors[16] = {
    {kt_link_stack_end}, {.handler = kt_port_reset}, {.handler = kt_port_fault},
    {.handler = kt_port_fault}, {.handler = kt_port_fault}, {.handler = kt_port_fault},
    {.handler = kt_port_fault}, {0}, {0}, {0}, {0}, {.handler = kt_port_fault},
    {.handler = kt_port_fault}, {0}, {.handler = kt_port_fault}, {.handler = kt_port_fault},
};

/* Naked: with a floating-point or vector unit, not even a prologue may touch its registers before
 * CPACR (0xE000ED88) gives access. Cores without the unit ignore the write. */
__attribute__((naked, used)) void kt_port_reset(void) {
    __asm volatile(
        ".syntax unified\n"
        "ldr r0, =0xE000ED88\n"
        "ldr r1, [r0]\n"
        "ldr r2, =0x00F00000\n"
        "orrs r1, r2\n"
        "str r1, [r0]\n"
        "dsb\n"
        "isb\n"
        "bl kt_port_start\n"
        ".ltorg\n");
}

void kt_port_fault(void) {
    kt_port_exit(KT_FAULT_EXIT_CODE);
}

__attribute__((noinline)) int kt_semihosting(uint32_t operation, const void *argument) {
    register uint32_t r0 __asm("r0") = operation;
    register const void *r1 __asm("r1") = argument;
    __asm volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
    return (int)r0;
}
