/* Reset code and semihosting for RV32, machine mode. */
#include <stdint.h>

#include "../semihosting.h"

void kt_port_reset(void);

__attribute__((naked, used, section(".reset"))) void kt_port_reset(void) {
    __asm volatile(
        ".option push\n"
        ".option norelax\n"
        "la gp, __global_pointer$\n"
        ".option pop\n"
        "la sp, kt_link_stack_end\n"
        "call kt_port_start\n");
}

/* The breakpoint between two instructions without effect is the mark of semihosting:
 * "RISC-V Semihosting", version 1.0, section 2. */
__attribute__((noinline)) int kt_semihosting(uint32_t operation, const void *argument) {
    register uint32_t a0 __asm("a0") = operation;
    register const void *a1 __asm("a1") = argument;
    __asm volatile(
        ".option push\n"
        ".option norvc\n"
        ".balign 16\n"
        "slli x0, x0, 0x1f\n"
        "ebreak\n"
        "srai x0, x0, 7\n"
        ".option pop\n"
        : "+r"(a0)
        : "r"(a1)
        : "memory");
    return (int)a0;
}
