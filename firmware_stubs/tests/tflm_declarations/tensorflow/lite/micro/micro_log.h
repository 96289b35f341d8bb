// For a compile check only: see README.md.
#ifndef KT_DECLARATIONS_MICRO_LOG_H
#define KT_DECLARATIONS_MICRO_LOG_H

void MicroPrintf(const char *format, ...);

#endif
