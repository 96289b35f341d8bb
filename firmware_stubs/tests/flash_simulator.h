/*
 * A flash in memory that keeps the rules of real ones, and whose power fails when it is told to.
 *
 * Rules, each broken one ends the process: whole units are programmed, at multiples of a unit, once
 * after each erase, inside the flash. Power fails after `steps_left` bytes were programmed or
 * erased: what was under way is torn there, by one of several kinds of damage, and every later call
 * fails. With AddressSanitizer, bytes that are unreadable end the process when they are read
 * through a pointer, as the error correction of a real flash does.
 */
#ifndef FLASH_SIMULATOR_H
#define FLASH_SIMULATOR_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(at, length) ((void)(at), (void)(length))
#define ASAN_UNPOISON_MEMORY_REGION(at, length) ((void)(at), (void)(length))
#endif

/* What a cut leaves of the unit or sector that was under way. */
enum { TORN_AS_IT_WAS, TORN_RANDOM, TORN_UNREADABLE, TORN_KINDS };

typedef struct {
    uint8_t *bytes;
    uint8_t *is_erased;     /* a flag per byte: it may be programmed */
    uint8_t *is_unreadable; /* a flag per byte: half programmed, its error correction fails */
    uint32_t length;
    uint32_t sector_bytes;
    uint32_t program_bytes;
    uint8_t erased_value;
    uint8_t torn; /* one of the kinds */
    uint8_t is_off;
    uint32_t steps;      /* bytes programmed or erased so far */
    uint32_t steps_left; /* before the power fails */
    uint32_t random;
    uint32_t guarded_from, guarded_to; /* no byte there may be programmed or erased */
} flash_t;

static inline void flash_need(int is_so, const char *rule) {
    if (!is_so) {
        fprintf(stderr, "flash: %s\n", rule);
        abort();
    }
}

static inline uint8_t flash_random(flash_t *flash) {
    flash->random = flash->random * 1664525u + 1013904223u;
    return (uint8_t)(flash->random >> 24);
}

/* One step of work; 0 when the power fails before it. */
static inline int flash_step(flash_t *flash) {
    if (flash->steps_left == 0) {
        flash->is_off = 1;
        return 0;
    }
    flash->steps_left--;
    flash->steps++;
    return 1;
}

/* Tell AddressSanitizer which bytes can be read. */
static inline void flash_shade(const flash_t *flash) {
    uint32_t at, end;

    ASAN_UNPOISON_MEMORY_REGION(flash->bytes, flash->length);
    for (at = 0; at < flash->length; at = end) {
        for (end = at + 1; end < flash->length; end++) {
            if (flash->is_unreadable[end] != flash->is_unreadable[at]) {
                break;
            }
        }
        if (flash->is_unreadable[at]) {
            ASAN_POISON_MEMORY_REGION(flash->bytes + at, end - at);
        }
    }
}

/* From the byte `at` on to `end`: what was under way when the power failed. */
static inline void flash_tear(flash_t *flash, uint32_t at, uint32_t end) {
    for (; at < end && flash->torn != TORN_AS_IT_WAS; at++) {
        flash->bytes[at] =
            (uint8_t)(flash->bytes[at] ^ (flash_random(flash) & flash_random(flash)));
        flash->is_erased[at] = 0;
        flash->is_unreadable[at] = flash->torn == TORN_UNREADABLE;
    }
    flash_shade(flash);
}

static inline int flash_read(uint32_t address, void *data, size_t length, void *context) {
    flash_t *flash = (flash_t *)context;
    size_t i;

    flash_need(address <= flash->length && length <= flash->length - address, "read outside");
    for (i = 0; i < length; i++) {
        if (flash->is_unreadable[address + i]) {
            return -1;
        }
    }
    memcpy(data, flash->bytes + address, length);
    return flash->is_off ? -1 : 0;
}

static inline int flash_erase(uint32_t address, void *context) {
    flash_t *flash = (flash_t *)context;
    const uint32_t end = address + flash->sector_bytes;
    uint32_t at;

    flash_need(address % flash->sector_bytes == 0 && end <= flash->length, "erase outside");
    flash_need(end <= flash->guarded_from || address >= flash->guarded_to, "erase of what is used");
    if (flash->is_off) {
        return -1;
    }
    ASAN_UNPOISON_MEMORY_REGION(flash->bytes + address, flash->sector_bytes);
    for (at = address; at < end; at++) {
        if (!flash_step(flash)) {
            flash_tear(flash, at, end);
            return -1;
        }
        flash->bytes[at] = flash->erased_value;
        flash->is_erased[at] = 1;
        flash->is_unreadable[at] = 0;
    }
    return 0;
}

static inline int flash_program(uint32_t address, const void *data, size_t length, void *context) {
    flash_t *flash = (flash_t *)context;
    const uint32_t end = address + (uint32_t)length;
    uint32_t at;

    flash_need(address % flash->program_bytes == 0 && length % flash->program_bytes == 0 &&
                   length > 0 && end <= flash->length,
               "program outside");
    flash_need(end <= flash->guarded_from || address >= flash->guarded_to,
               "program of what is used");
    if (flash->is_off) {
        return -1;
    }
    for (at = address; at < end; at++) {
        flash_need(flash->is_erased[at] != 0, "program of what is not erased");
        if (!flash_step(flash)) {
            const uint32_t unit_end = at - at % flash->program_bytes + flash->program_bytes;
            flash_tear(flash, at, unit_end);
            return -1;
        }
        flash->bytes[at] = ((const uint8_t *)data)[at - address];
        flash->is_erased[at] = 0;
    }
    return 0;
}

static inline void flash_power_on(flash_t *flash, uint32_t steps_left) {
    flash->is_off = 0;
    flash->steps = 0;
    flash->steps_left = steps_left;
}

/* A flash full of leftovers, of which no byte may be programmed before it is erased. The caller
 * frees with `flash_free`. */
static inline flash_t flash_new(uint32_t length, uint32_t sector_bytes, uint32_t program_bytes,
                                uint8_t erased_value) {
    flash_t flash;
    uint32_t at;

    memset(&flash, 0, sizeof flash);
    flash.bytes = (uint8_t *)malloc(length);
    flash.is_erased = (uint8_t *)calloc(length, 1);
    flash.is_unreadable = (uint8_t *)calloc(length, 1);
    flash_need(flash.bytes != NULL && flash.is_erased != NULL && flash.is_unreadable != NULL,
               "memory");
    flash.length = length;
    flash.sector_bytes = sector_bytes;
    flash.program_bytes = program_bytes;
    flash.erased_value = erased_value;
    flash.random = 12345;
    for (at = 0; at < length; at++) {
        flash.bytes[at] = flash_random(&flash);
    }
    flash_power_on(&flash, 0xffffffffu);
    return flash;
}

static inline void flash_copy(flash_t *to, const flash_t *from) {
    flash_t kept = *to;

    ASAN_UNPOISON_MEMORY_REGION(from->bytes, from->length);
    ASAN_UNPOISON_MEMORY_REGION(kept.bytes, from->length);
    memcpy(kept.bytes, from->bytes, from->length);
    memcpy(kept.is_erased, from->is_erased, from->length);
    memcpy(kept.is_unreadable, from->is_unreadable, from->length);
    *to = *from;
    to->bytes = kept.bytes;
    to->is_erased = kept.is_erased;
    to->is_unreadable = kept.is_unreadable;
    flash_shade(from);
    flash_shade(to);
}

static inline void flash_free(flash_t *flash) {
    ASAN_UNPOISON_MEMORY_REGION(flash->bytes, flash->length);
    free(flash->bytes);
    free(flash->is_erased);
    free(flash->is_unreadable);
}

#endif
