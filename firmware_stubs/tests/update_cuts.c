/*
 * Test driver: an update with the power cut after every byte that is erased or programmed.
 *
 *     update_cuts SECTOR PROGRAM ERASED TORN FULL OLD NEW NEWEST
 *
 * A device has branch OLD, or at first none. It is updated to NEW, the power fails after n bytes,
 * for every n until the update is through. After each cut the device starts again: it must have the
 * branch that it had, or NEW, whole. Then it is updated to NEWEST, which is cut again at a place
 * that changes with n, and started, and at last updated without a cut. Prints the steps and how
 * often the old and the new branch counted.
 */
#include "flash_simulator.h"
#include "image_file.h"
#include "kt_crc32.h"
#include "kt_update.h"

enum { SLOT_SECTORS = 3, MOST_PAGE_BYTES = 512 };

typedef struct {
    image_file_t full, branches[3]; /* old, new, newest */
    kt_bundle_t base;
    kt_open_options_t options;
    uint8_t page[MOST_PAGE_BYTES];
    flash_t flash;
    kt_update_config_t config;
} device_t;

static void need(int is_so, const char *what) {
    if (!is_so) {
        fprintf(stderr, "update: %s\n", what);
        abort();
    }
}

static void set_config(device_t *device) {
    kt_update_config_t *config = &device->config;
    const uint32_t slot_bytes = SLOT_SECTORS * device->flash.sector_bytes;

    memset(config, 0, sizeof *config);
    config->flash.read = flash_read;
    config->flash.erase = flash_erase;
    config->flash.program = flash_program;
    config->flash.context = &device->flash;
    config->flash.sector_bytes = device->flash.sector_bytes;
    config->flash.program_bytes = (uint16_t)device->flash.program_bytes;
    config->slots[0].address = device->flash.sector_bytes; /* not 0, and not side by side */
    config->slots[1].address = slot_bytes + 2 * device->flash.sector_bytes;
    config->slots[0].memory = device->flash.bytes + config->slots[0].address;
    config->slots[1].memory = device->flash.bytes + config->slots[1].address;
    config->slot_bytes = slot_bytes;
    config->page = device->page;
    device->options.base = &device->base;
    config->options = &device->options;
    config->task = "digit";
}

/* Which of the three branches counts; -1 for none. It is read to the last byte. */
static int active(device_t *device) {
    kt_bundle_t branch;
    kt_status_t status;
    int i;

    flash_power_on(&device->flash, 0xffffffffu);
    status = kt_update_active(&device->config, &branch);
    if (status == KT_ERROR_NO_BRANCH) {
        need(branch.image == NULL, "no branch, and yet one");
        return -1;
    }
    need(status == KT_OK, "the device does not start");
    for (i = 0; i < 3; i++) {
        const image_file_t *file = &device->branches[i];
        if (branch.image_bytes == file->length &&
            memcmp(branch.image, file->bytes, file->length) == 0) {
            return i;
        }
    }
    need(0, "the branch that counts is none that was sent");
    return -2;
}

/* Guard the slot of the branch that counts against every write. */
static void guard(device_t *device) {
    kt_bundle_t branch;

    device->flash.guarded_from = device->flash.guarded_to = 0;
    if (kt_update_active(&device->config, &branch) == KT_OK) {
        const uint32_t at = (uint32_t)(branch.image - device->flash.bytes);
        device->flash.guarded_from = at;
        device->flash.guarded_to = at + device->config.slot_bytes;
    }
}

/* Send one branch in pieces of changing length, the power failing after `steps` bytes. */
static kt_status_t send(device_t *device, int which, uint32_t steps) {
    const image_file_t *file = &device->branches[which];
    kt_update_t update;
    kt_status_t status;
    size_t at = 0, piece = 1;

    flash_power_on(&device->flash, 0xffffffffu);
    guard(device);
    flash_power_on(&device->flash, steps);
    status = kt_update_begin(&update, &device->config, (uint32_t)file->length);
    for (; status == KT_OK && at < file->length; at += piece, piece = piece * 2 % 97 + 1) {
        if (piece > file->length - at) {
            piece = file->length - at;
        }
        status = kt_update_write(&update, file->bytes + at, piece);
    }
    if (status == KT_OK) {
        status = kt_update_commit(&update);
    }
    device->flash.guarded_from = device->flash.guarded_to = 0;
    return status;
}

/* Cut the update to NEW after each byte; `before` is what the device has until then. */
static void cut_everywhere(device_t *device, int before, unsigned counts[3]) {
    flash_t start = flash_new(device->flash.length, 1, 1, 0);
    uint32_t steps = 0;
    kt_status_t status;

    flash_copy(&start, &device->flash);
    do {
        int now;

        flash_copy(&device->flash, &start);
        status = send(device, 1, steps);
        now = active(device);
        need(now == before || now == 1, "neither the old branch nor the new one");
        need(status != KT_OK || now == 1, "a commit that did not last");
        /* Behind the record's 32 bytes a larger unit has nothing that counts. */
        need(status == KT_OK || now == before || device->flash.program_bytes > KT_RECORD_BYTES,
             "a torn record counts");
        counts[now == 1]++;
        /* A second update, cut somewhere else. */
        (void)send(device, 2, (steps * 7u) % 1500u);
        need(active(device) == now || active(device) == 2, "a second cut lost the branch");
        need(send(device, 2, 0xffffffffu) == KT_OK && active(device) == 2, "the device is stuck");
        steps++;
    } while (status != KT_OK);
    counts[2] += steps;
    flash_copy(&device->flash, &start);
    flash_free(&start);
}

static int run(device_t *device, char **arguments) {
    const uint32_t sector_bytes = (uint32_t)atoi(arguments[1]);
    unsigned counts[3] = {0, 0, 0};
    int i;

    device->flash = flash_new(sector_bytes * (2 * SLOT_SECTORS + 3), sector_bytes,
                              (uint32_t)atoi(arguments[2]), (uint8_t)atoi(arguments[3]));
    device->flash.torn = (uint8_t)atoi(arguments[4]);
    if (!read_image_file(arguments[5], &device->full)) {
        return 2;
    }
    for (i = 0; i < 3; i++) {
        if (!read_image_file(arguments[6 + i], &device->branches[i])) {
            return 2;
        }
    }
    set_config(device);
    need(kt_bundle_open(&device->base, device->full.bytes, device->full.length, NULL) == KT_OK,
         "the full image does not open");
    need(active(device) == -1, "a branch in a flash of leftovers");
    cut_everywhere(device, -1, counts);
    need(send(device, 0, 0xffffffffu) == KT_OK && active(device) == 0, "the first update");
    cut_everywhere(device, 0, counts);
    /* Once more with the slots' roles exchanged. */
    need(send(device, 2, 0xffffffffu) == KT_OK && send(device, 0, 0xffffffffu) == KT_OK &&
             send(device, 2, 0xffffffffu) == KT_OK,
         "updates in a row");
    cut_everywhere(device, 2, counts);
    printf("%u cuts, old %u, new %u\n", counts[2], counts[0], counts[1]);
    for (i = 0; i < 3; i++) {
        free(device->branches[i].bytes);
    }
    free(device->full.bytes);
    flash_free(&device->flash);
    return 0;
}

int main(int count, char **arguments) {
    static device_t device;

    return count == 9 ? run(&device, arguments) : 2;
}
