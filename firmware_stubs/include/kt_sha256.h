/*
 * kt_sha256: SHA-256 (FIPS 180-4), small rather than fast, for firmware that requires signatures
 * and has no other. It is linked only where it is named: `options.sha256 = kt_sha256`.
 */
#ifndef KT_SHA256_H
#define KT_SHA256_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Digest of `length` bytes at `data`. `context` is not used. Returns 0; needs about 200 bytes of
 * stack. */
int kt_sha256(const uint8_t *data, size_t length, uint8_t digest[32], void *context);

#ifdef __cplusplus
}
#endif

#endif
