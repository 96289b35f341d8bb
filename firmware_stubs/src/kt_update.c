#include "kt_update.h"

#include <string.h>

#include "kt_image_read.h"
#include "kt_slot.h"

static int is_power_of_two(uint32_t number) {
    return number != 0 && (number & (number - 1u)) == 0;
}

static kt_status_t check_config(const kt_update_config_t *config) {
    const kt_flash_t *flash = &config->flash;
    unsigned slot;

    if (flash->read == NULL || flash->erase == NULL || flash->program == NULL ||
        config->page == NULL || config->options == NULL || config->task == NULL ||
        !is_power_of_two(flash->sector_bytes) || !is_power_of_two(flash->program_bytes) ||
        flash->program_bytes > KT_MOST_PROGRAM_BYTES ||
        flash->sector_bytes < kt_record_area_bytes(config) || config->slot_bytes == 0 ||
        config->slot_bytes % flash->sector_bytes != 0 || config->slot_bytes > KT_MOST_IMAGE_BYTES ||
        (size_t)config->slot_bytes != config->slot_bytes) { /* more than the core can address */
        return KT_ERROR_ARGUMENT;
    }
    for (slot = 0; slot < 2; slot++) {
        const uint32_t address = config->slots[slot].address;
        const uint32_t other = config->slots[1u - slot].address;

        if (config->slots[slot].memory == NULL || address % flash->sector_bytes != 0 ||
            address > 0xffffffffu - config->slot_bytes ||
            (address <= other && other - address < config->slot_bytes)) {
            return KT_ERROR_ARGUMENT;
        }
    }
    return KT_OK;
}

static uint32_t tables_crc32(const kt_bundle_t *bundle) {
    return KT_U32(bundle->image + bundle->tables_bytes, kt_image_seal_t, tables_crc32);
}

/* Open what lies in a slot, and see that it is a branch of the task that belongs here. */
static kt_status_t open_slot(const kt_update_config_t *config, unsigned slot, uint32_t image_bytes,
                             uint32_t lowest_version, kt_bundle_t *branch) {
    kt_open_options_t options = *config->options;
    kt_status_t status;

    if (options.require_signature && lowest_version > options.lowest_version) {
        options.lowest_version = lowest_version;
    }
    status = kt_bundle_open(branch, config->slots[slot].memory, (size_t)image_bytes, &options);
    if (status == KT_OK &&
        ((branch->flags & KT_IMAGE_BRANCH) == 0 || branch->image_bytes != image_bytes ||
         kt_bundle_find_task(branch, config->task) != 0)) {
        memset(branch, 0, sizeof *branch);
        status = KT_ERROR_KIND;
    }
    return status;
}

/* The slot with the higher record. */
static unsigned newer(const kt_slot_record_t records[2]) {
    return records[1].is_there &&
           (!records[0].is_there || records[1].sequence > records[0].sequence);
}

/* The slot that counts, or -1; its branch is open then. */
static int find_active(const kt_update_config_t *config, const kt_slot_record_t records[2],
                       kt_bundle_t *branch) {
    unsigned slot = newer(records);
    unsigned tries;

    for (tries = 0; tries < 2; tries++, slot = 1u - slot) {
        const kt_slot_record_t *record = &records[slot];
        if (record->is_there && open_slot(config, slot, record->image_bytes, 0, branch) == KT_OK &&
            tables_crc32(branch) == record->tables_crc32) {
            return (int)slot;
        }
    }
    memset(branch, 0, sizeof *branch);
    return -1;
}

kt_status_t kt_update_active(const kt_update_config_t *config, kt_bundle_t *branch) {
    kt_slot_record_t records[2];
    kt_status_t status;

    memset(branch, 0, sizeof *branch);
    status = check_config(config);
    if (status != KT_OK) {
        return status;
    }
    records[0] = kt_read_record(config, 0);
    records[1] = kt_read_record(config, 1);
    return find_active(config, records, branch) < 0 ? KT_ERROR_NO_BRANCH : KT_OK;
}

/* The sector with the record first: a slot whose image is half erased has no record. */
static kt_status_t erase_slot(const kt_update_config_t *config, unsigned slot,
                              uint32_t image_bytes) {
    const kt_flash_t *flash = &config->flash;
    const uint32_t start = config->slots[slot].address;
    const uint32_t last = config->slot_bytes - flash->sector_bytes;
    uint32_t offset;

    if (flash->erase(start + last, flash->context) != 0) {
        return KT_ERROR_FLASH;
    }
    for (offset = 0; offset < image_bytes && offset < last; offset += flash->sector_bytes) {
        if (flash->erase(start + offset, flash->context) != 0) {
            return KT_ERROR_FLASH;
        }
    }
    return KT_OK;
}

/* The slot to keep where none counts now: one that may count again once its full image is back, or
 * once its record can be read. */
static int kept_slot(const kt_slot_record_t records[2]) {
    if (records[0].is_there || records[1].is_there) {
        return (int)newer(records);
    }
    return records[0].is_unreadable && !records[1].is_unreadable ? 0 : 1;
}

/* What the next record must say, from one that may be there. */
static void follow(kt_update_t *update, const kt_slot_record_t *record) {
    if (record->is_there && record->sequence >= update->sequence) {
        update->sequence = record->sequence + 1u;
    }
    if (record->is_there && record->lowest_version > update->lowest_version) {
        update->lowest_version = record->lowest_version;
    }
}

kt_status_t kt_update_begin(kt_update_t *update, const kt_update_config_t *config,
                            uint32_t image_bytes) {
    kt_slot_record_t records[2];
    kt_bundle_t branch;
    kt_status_t status;
    int active;

    memset(update, 0, sizeof *update);
    status = check_config(config);
    if (status != KT_OK) {
        return status;
    }
    if (image_bytes == 0 || image_bytes > config->slot_bytes - kt_record_area_bytes(config)) {
        return KT_ERROR_SPACE;
    }
    records[0] = kt_read_record(config, 0);
    records[1] = kt_read_record(config, 1);
    active = find_active(config, records, &branch);
    if (active < 0) {
        active = kept_slot(records);
    }
    update->config = config;
    update->image_bytes = image_bytes;
    update->slot = (uint8_t)(1 - active);
    follow(update, &records[0]);
    follow(update, &records[1]);
    if (update->sequence == 0 && (records[0].is_there || records[1].is_there)) {
        return KT_ERROR_FLASH; /* 2^32 updates: the flash was worn out long before */
    }
    status = erase_slot(config, update->slot, image_bytes);
    update->is_open = status == KT_OK;
    return status;
}

/* Program the page that holds the last bytes received, filled up to a whole unit. */
static kt_status_t program_page(kt_update_t *update) {
    const kt_update_config_t *config = update->config;
    const uint16_t unit = config->flash.program_bytes;
    const uint32_t offset = update->written_bytes - update->page_bytes;

    memset(config->page + update->page_bytes, 0xff, (size_t)(unit - update->page_bytes));
    update->page_bytes = 0;
    if (config->flash.program(config->slots[update->slot].address + offset, config->page, unit,
                              config->flash.context) != 0) {
        update->is_open = 0;
        return KT_ERROR_FLASH;
    }
    return KT_OK;
}

kt_status_t kt_update_write(kt_update_t *update, const void *data, size_t length) {
    const uint8_t *bytes = (const uint8_t *)data;
    const kt_update_config_t *config = update->config;

    if (!update->is_open || (data == NULL && length > 0)) {
        return KT_ERROR_ARGUMENT;
    }
    if (length > update->image_bytes - update->written_bytes) {
        update->is_open = 0;
        return KT_ERROR_SPACE;
    }
    while (length > 0) {
        const size_t room = (size_t)(config->flash.program_bytes - update->page_bytes);
        const size_t count = length < room ? length : room;

        memcpy(config->page + update->page_bytes, bytes, count);
        bytes += count;
        length -= count;
        update->page_bytes = (uint16_t)(update->page_bytes + count);
        update->written_bytes += (uint32_t)count;
        if (count == room && program_page(update) != KT_OK) {
            return KT_ERROR_FLASH;
        }
    }
    return KT_OK;
}

kt_status_t kt_update_commit(kt_update_t *update) {
    const kt_update_config_t *config = update->config;
    kt_slot_record_t record; /* of the other slot, then of this one */
    kt_bundle_t branch;
    kt_status_t status = KT_OK;

    if (!update->is_open) {
        return KT_ERROR_ARGUMENT;
    }
    if (update->written_bytes != update->image_bytes) {
        return KT_ERROR_TRUNCATED;
    }
    if (update->page_bytes > 0) {
        status = program_page(update);
    }
    update->is_open = 0;
    record = kt_read_record(config, 1u - update->slot); /* it may have been unreadable at first */
    follow(update, &record);
    if (status == KT_OK) {
        status =
            open_slot(config, update->slot, update->image_bytes, update->lowest_version, &branch);
    }
    if (status == KT_OK && config->accept != NULL &&
        config->accept(&branch, config->accept_context) != 0) {
        status = KT_ERROR_REFUSED;
    }
    if (status != KT_OK) {
        return status;
    }
    record.sequence = update->sequence;
    record.image_bytes = branch.image_bytes;
    record.lowest_version =
        config->options->require_signature ? branch.version : update->lowest_version;
    record.tables_crc32 = tables_crc32(&branch);
    return kt_write_record(config, update->slot, &record);
}
