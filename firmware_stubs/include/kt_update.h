/*
 * kt_update: exchange one branch in the field, with a valid branch at every moment.
 *
 * Two slots of flash hold branch images of one task. A slot counts when its last bytes are a commit
 * record, which is programmed after everything else has been verified; of two records the one with
 * the higher sequence counts. So a power cut at any moment leaves the old branch or the new one.
 * SPEC.md says why, step by step.
 *
 *     kt_update_begin(&update, &config, image_bytes);       erases the slot that is not in use
 *     kt_update_write(&update, bytes, count);               ... as they arrive
 *     kt_update_commit(&update);                            verifies, then switches
 *     kt_update_active(&config, &branch);                   at every start, and after a commit
 */
#ifndef KT_UPDATE_H
#define KT_UPDATE_H

#include "kt_bundle.h"

#ifdef __cplusplus
extern "C" {
#endif

#define KT_RECORD_BYTES 32u
#define KT_MOST_PROGRAM_BYTES 4096u

/* Bytes at the end of a slot that its commit record takes, and the length of `page`. */
#define KT_RECORD_AREA_BYTES(program_bytes)                                                        \
    ((uint32_t)(program_bytes) > KT_RECORD_BYTES ? (uint32_t)(program_bytes) : KT_RECORD_BYTES)

/* The flash that holds the slots. Every function returns 0 where it succeeded. */
typedef struct {
    /* Copy `length` bytes at `address` to `data`; fail rather than fault where the flash's own
     * error correction finds half-programmed words. */
    int (*read)(uint32_t address, void *data, size_t length, void *context);
    /* Erase the sector at `address`. */
    int (*erase)(uint32_t address, void *context);
    /* Program `length` erased bytes, a multiple of `program_bytes` at a multiple of it; then make
     * them visible through the slot's `memory` (invalidate caches). */
    int (*program)(uint32_t address, const void *data, size_t length, void *context);
    void *context;          /* handed to all three */
    uint32_t sector_bytes;  /* what one erase clears, a power of two; equal in both slots */
    uint16_t program_bytes; /* smallest unit that can be programmed, a power of two to 4,096 */
} kt_flash_t;

/* One of the two places of a branch. */
typedef struct {
    uint32_t address;   /* of its first byte, for the callbacks; a multiple of `sector_bytes` */
    const void *memory; /* where the core reads it; a multiple of 16 */
} kt_slot_t;

/* Everything that stays the same from one update to the next. */
typedef struct {
    kt_flash_t flash;
    kt_slot_t slots[2];
    uint32_t slot_bytes; /* of each; a multiple of `sector_bytes` */
    uint8_t *page;       /* KT_RECORD_AREA_BYTES(program_bytes) bytes of RAM, used during a call to
                            begin, write and commit, and kept between them */
    /* How branches are opened: `base` must be the open full image. With `require_signature` an
     * image of a lower version than any that was committed before is refused too. */
    const kt_open_options_t *options;
    const char *task; /* the only task whose branch belongs here */
    /* The firmware's own trial of a verified branch before the switch (does it fit the arena, does
     * it compute its golden vectors?): 0 to take it. NULL: no trial. */
    int (*accept)(const kt_bundle_t *branch, void *context);
    void *accept_context;
} kt_update_config_t;

/* An update under way; fields are the library's. 24 bytes on a 32-bit core. */
typedef struct {
    const kt_update_config_t *config;
    uint32_t image_bytes;    /* announced */
    uint32_t written_bytes;  /* received */
    uint32_t sequence;       /* of the record to come */
    uint32_t lowest_version; /* that may be committed */
    uint16_t page_bytes;     /* received and not yet programmed */
    uint8_t slot;
    uint8_t is_open;
} kt_update_t;

/* Open the branch that counts. KT_ERROR_NO_BRANCH: there is none; use the full image's own. */
kt_status_t kt_update_active(const kt_update_config_t *config, kt_bundle_t *branch) KT_WARN_UNUSED;

/* Begin an update of `image_bytes`: the slot that does not count is erased. The branch that counts
 * stays open and valid. */
kt_status_t kt_update_begin(kt_update_t *update, const kt_update_config_t *config,
                            uint32_t image_bytes) KT_WARN_UNUSED;

/* The next `length` bytes of the image, of any number. After an error begin again. */
kt_status_t kt_update_write(kt_update_t *update, const void *data, size_t length) KT_WARN_UNUSED;

/* Verify the whole image in its slot, ask `accept`, and switch. Whatever it returns, one branch
 * counts: the new one if and only if it is KT_OK, or KT_ERROR_FLASH came after the record stood;
 * `kt_update_active` tells. */
kt_status_t kt_update_commit(kt_update_t *update) KT_WARN_UNUSED;

#ifdef __cplusplus
}
#endif

#endif
