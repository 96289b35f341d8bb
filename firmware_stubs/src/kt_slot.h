/*
 * kt_slot: the commit record of a slot, read and written. Internal to kt_update.c.
 */
#ifndef KT_SLOT_H
#define KT_SLOT_H

#include "kt_record.h"
#include "kt_update.h"

typedef struct {
    uint32_t sequence;
    uint32_t image_bytes;
    uint32_t lowest_version;
    uint32_t tables_crc32;
    uint8_t is_there;
    uint8_t is_unreadable;
} kt_slot_record_t;

/* Bytes at the end of a slot that are kept for its record. */
static inline uint32_t kt_record_area_bytes(const kt_update_config_t *config) {
    return KT_RECORD_AREA_BYTES(config->flash.program_bytes);
}

/* A slot's record. What cannot be read, or is torn, is none. */
kt_slot_record_t kt_read_record(const kt_update_config_t *config, unsigned slot);

/* The switch: the last bytes that are programmed, and only after all others were verified. */
kt_status_t kt_write_record(const kt_update_config_t *config, unsigned slot,
                            const kt_slot_record_t *record) KT_WARN_UNUSED;

#endif
