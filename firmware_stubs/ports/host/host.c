/* The port of the self-test to a host: text goes to standard output, stack is not counted. */
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

void kt_port_write(const char *text);
void kt_port_stack_fill(void);
uint32_t kt_port_stack_used(void);

void kt_port_write(const char *text) {
    (void)fputs(text, stdout);
}

void kt_port_stack_fill(void) {
}

uint32_t kt_port_stack_used(void) {
    return 0;
}

#ifdef __cplusplus
}
#endif
