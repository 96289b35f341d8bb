/*
 * kt_crc32: the CRC-32 of ISO-HDLC (zlib, PNG, Ethernet): polynomial 0x04C11DB7 reflected, initial
 * value and final exclusive or 0xFFFFFFFF. The check value of "123456789" is 0xCBF43926.
 *
 * A firmware whose chip computes this CRC may give this function itself, in place of kt_crc32.c.
 */
#ifndef KT_CRC32_H
#define KT_CRC32_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The CRC of what `crc` stands for, followed by `length` bytes at `data`; start with `crc` 0. */
uint32_t kt_crc32(uint32_t crc, const void *data, size_t length);

#ifdef __cplusplus
}
#endif

#endif
