/*
 * kt_record: the commit record at the end of a slot, as it lies in flash. See SPEC.md.
 */
#ifndef KT_RECORD_H
#define KT_RECORD_H

#include "kt_image.h"

#define KT_RECORD_MAGIC "KTSLOT1\n"
#define KT_RECORD_MAGIC_BYTES 8u

typedef struct {
    uint8_t magic[8];
    uint32_t sequence;
    uint32_t image_bytes;
    uint32_t lowest_version;
    uint32_t tables_crc32;
    uint32_t reserved;
    uint32_t crc32;
} kt_record_t;

KT_PIN(kt_record_t, magic, 0);
KT_PIN(kt_record_t, sequence, 8);
KT_PIN(kt_record_t, image_bytes, 12);
KT_PIN(kt_record_t, lowest_version, 16);
KT_PIN(kt_record_t, tables_crc32, 20);
KT_PIN(kt_record_t, reserved, 24);
KT_PIN(kt_record_t, crc32, 28);
KT_PIN_SIZE(kt_record_t, 32);

#endif
