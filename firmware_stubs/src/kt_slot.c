#include "kt_slot.h"

#include <string.h>

#include "kt_crc32.h"
#include "kt_image_read.h"

static uint32_t record_address(const kt_update_config_t *config, unsigned slot) {
    return config->slots[slot].address + config->slot_bytes - kt_record_area_bytes(config);
}

kt_slot_record_t kt_read_record(const kt_update_config_t *config, unsigned slot) {
    uint8_t bytes[KT_RECORD_BYTES];
    kt_slot_record_t record;

    memset(&record, 0, sizeof record);
    if (config->flash.read(record_address(config, slot), bytes, sizeof bytes,
                           config->flash.context) != 0) {
        record.is_unreadable = 1;
        return record;
    }
    if (memcmp(bytes, KT_RECORD_MAGIC, KT_RECORD_MAGIC_BYTES) != 0 ||
        kt_crc32(0, bytes, offsetof(kt_record_t, crc32)) != KT_U32(bytes, kt_record_t, crc32)) {
        return record;
    }
    record.sequence = KT_U32(bytes, kt_record_t, sequence);
    record.image_bytes = KT_U32(bytes, kt_record_t, image_bytes);
    record.lowest_version = KT_U32(bytes, kt_record_t, lowest_version);
    record.tables_crc32 = KT_U32(bytes, kt_record_t, tables_crc32);
    record.is_there = record.image_bytes <= config->slot_bytes - kt_record_area_bytes(config);
    return record;
}

static void put_u32(uint8_t *at, uint32_t value) {
    at[0] = (uint8_t)value;
    at[1] = (uint8_t)(value >> 8);
    at[2] = (uint8_t)(value >> 16);
    at[3] = (uint8_t)(value >> 24);
}

kt_status_t kt_write_record(const kt_update_config_t *config, unsigned slot,
                            const kt_slot_record_t *record) {
    const uint32_t area = kt_record_area_bytes(config);
    uint8_t *page = config->page;
    kt_slot_record_t kept;

    memset(page, 0xff, (size_t)area);
    memset(page, 0, KT_RECORD_BYTES);
    memcpy(page, KT_RECORD_MAGIC, KT_RECORD_MAGIC_BYTES);
    put_u32(KT_AT(page, kt_record_t, sequence), record->sequence);
    put_u32(KT_AT(page, kt_record_t, image_bytes), record->image_bytes);
    put_u32(KT_AT(page, kt_record_t, lowest_version), record->lowest_version);
    put_u32(KT_AT(page, kt_record_t, tables_crc32), record->tables_crc32);
    put_u32(KT_AT(page, kt_record_t, crc32), kt_crc32(0, page, offsetof(kt_record_t, crc32)));
    if (config->flash.program(record_address(config, slot), page, (size_t)area,
                              config->flash.context) != 0) {
        return KT_ERROR_FLASH;
    }
    kept = kt_read_record(config, slot);
    return kept.is_there && kept.sequence == record->sequence ? KT_OK : KT_ERROR_FLASH;
}
