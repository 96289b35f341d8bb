/*
 * Semihosting: text and an exit code through a debugger or an emulator. Only for tests: without a
 * debugger the breakpoint is a fault.
 *
 * Operations and the exit block: "Semihosting for AArch32 and AArch64", release 2.0.
 */
#ifndef KT_SEMIHOSTING_H
#define KT_SEMIHOSTING_H

#include <stdint.h>

#define KT_SYS_WRITE0 0x04U
#define KT_SYS_EXIT_EXTENDED 0x20U
#define KT_STOPPED_APPLICATION_EXIT 0x20026U

/* Asks the debugger for an operation; its argument is a pointer or a block of words. */
int kt_semihosting(uint32_t operation, const void *argument);

/* Ends the emulation with `code`; the code of a shell, 0 ... 255. */
void kt_port_exit(int code);

#endif
