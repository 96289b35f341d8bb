/* What every bare-metal port of the self-test shares: memory before `main`, text, stack, the end.
 * The names in kt_link_* are set by the linker script. */
#include "kt_selftest.h"
#include "semihosting.h"

extern uint32_t kt_link_data_source[], kt_link_data_start[], kt_link_data_end[];
extern uint32_t kt_link_bss_start[], kt_link_bss_end[];
extern uint32_t kt_link_stack_start[], kt_link_stack_end[];

#define KT_STACK_FILL 0xC5A3C5A3U
#define KT_STACK_RESERVE 64U /* bytes below the caller of `kt_port_stack_fill` that it may use */

int main(void);
void kt_port_start(void);

/* Called by the reset handler with a valid stack pointer. */
void kt_port_start(void) {
    const uint32_t *source = kt_link_data_source;
    for (uint32_t *word = kt_link_data_start; word < kt_link_data_end; word++) {
        *word = *source++;
    }
    for (uint32_t *word = kt_link_bss_start; word < kt_link_bss_end; word++) {
        *word = 0;
    }
    kt_port_exit(main());
}

void kt_port_write(const char *text) {
    (void)kt_semihosting(KT_SYS_WRITE0, text);
}

void kt_port_exit(int code) {
    const uint32_t block[2] = {KT_STOPPED_APPLICATION_EXIT, (uint32_t)code};
    (void)kt_semihosting(KT_SYS_EXIT_EXTENDED, block);
    for (;;) {
    }
}

static uint32_t *stack_here(void) {
    return (uint32_t *)(((uintptr_t)__builtin_frame_address(0) - KT_STACK_RESERVE) & ~(uintptr_t)3);
}

void kt_port_stack_fill(void) {
    uint32_t *end = stack_here();
    for (volatile uint32_t *word = kt_link_stack_start; word < end; word++) {
        *word = KT_STACK_FILL;
    }
}

/* Counted from the top of the stack, so the self-test's own frames are in it. */
uint32_t kt_port_stack_used(void) {
    const volatile uint32_t *word = kt_link_stack_start;
    while (word < kt_link_stack_end && *word == KT_STACK_FILL) {
        word++;
    }
    return (uint32_t)((uintptr_t)kt_link_stack_end - (uintptr_t)word);
}
