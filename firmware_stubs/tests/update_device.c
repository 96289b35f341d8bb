/*
 * Test driver: a device with two slots that does what the arguments say, one after another, and
 * prints a line for each. Signatures are verified by libsodium.
 *
 *     base FILE         the full image of the firmware
 *     key FILE          require signatures by this public key (32 bytes)
 *     nokey             verify no signatures any more
 *     verify FILE       verify signatures where there are any, by this key
 *     floor N           options.lowest_version
 *     same              options.require_same_trunk
 *     operators N       options.operators: the operators 0 to N - 1
 *     task NAME         whose branch belongs into the slots
 *     trial 0|1         what `accept` returns
 *     open FILE         kt_bundle_open of a file: status
 *     send FILE         a whole update: status
 *     longer FILE       an update that sends one byte more than announced: status
 *     early FILE        a commit before the last byte came: status
 *     fail N            the Nth flash call from now on fails, once
 *     active            version of the branch that counts, or the status
 *     rot SLOT OFFSET   flips a bit of the flash in a slot
 *     config            statuses of configurations that are wrong in one thing each
 */
#include <sodium.h>

#include "flash_simulator.h"
#include "image_file.h"
#include "kt_sha256.h"
#include "kt_update.h"

enum { SECTOR = 1024, UNIT = 8, SLOT = 2 * SECTOR };

static flash_t flash;
static kt_bundle_t base;
static kt_open_options_t options;
static kt_update_config_t config;
static uint8_t key[32], page[KT_RECORD_AREA_BYTES(UNIT)], operators[32];
static image_file_t base_file;
static int trial_result, fail_in;

static int verify(const uint8_t signature[64], const uint8_t *message, size_t length,
                  void *context) {
    return crypto_sign_verify_detached(signature, message, length, (const uint8_t *)context);
}

static int accept_branch(const kt_bundle_t *branch, void *context) {
    (void)context;
    return branch->image == NULL ? 99 : trial_result;
}

static int fails(void) {
    return fail_in > 0 && --fail_in == 0;
}

static int read_or_fail(uint32_t address, void *data, size_t length, void *context) {
    return fails() ? -1 : flash_read(address, data, length, context);
}

static int erase_or_fail(uint32_t address, void *context) {
    return fails() ? -1 : flash_erase(address, context);
}

static int program_or_fail(uint32_t address, const void *data, size_t length, void *context) {
    return fails() ? -1 : flash_program(address, data, length, context);
}

static void set_up(void) {
    flash = flash_new(2 * SLOT, SECTOR, UNIT, 0xff);
    config.flash.read = read_or_fail;
    config.flash.erase = erase_or_fail;
    config.flash.program = program_or_fail;
    config.flash.context = &flash;
    config.flash.sector_bytes = SECTOR;
    config.flash.program_bytes = UNIT;
    config.slots[1].address = SLOT;
    config.slots[0].memory = flash.bytes;
    config.slots[1].memory = flash.bytes + SLOT;
    config.slot_bytes = SLOT;
    config.page = page;
    config.options = &options;
    config.task = "digit";
    config.accept = accept_branch;
    options.base = &base;
}

static void require(const char *path, uint8_t is_required) {
    image_file_t file;

    if (!read_image_file(path, &file) || file.length != sizeof key) {
        exit(2);
    }
    memcpy(key, file.bytes, sizeof key);
    free(file.bytes);
    options.verify = verify;
    options.sha256 = kt_sha256;
    options.context = key;
    options.require_signature = is_required;
}

static kt_status_t send(const image_file_t *file, int extra, size_t missing) {
    kt_update_t update;
    kt_status_t status = kt_update_begin(&update, &config, (uint32_t)file->length);
    size_t at;

    for (at = 0; status == KT_OK && at < file->length - missing; at++) {
        status = kt_update_write(&update, file->bytes + at, 1);
    }
    if (status == KT_OK && extra) {
        status = kt_update_write(&update, "", 1);
        if (kt_update_commit(&update) == KT_OK || kt_update_write(&update, "", 0) == KT_OK) {
            exit(3); /* an update that went wrong is over */
        }
        return status;
    }
    return status == KT_OK ? kt_update_commit(&update) : status;
}

static void print_active(void) {
    kt_bundle_t branch;
    const kt_status_t status = kt_update_active(&config, &branch);

    if (status == KT_OK) {
        printf("version %u\n", (unsigned)branch.version);
    } else {
        printf("%d\n", status);
    }
}

static void try_config(void (*spoil)(kt_update_config_t *)) {
    const kt_update_config_t good = config;
    kt_update_t update;
    kt_bundle_t branch;

    spoil(&config);
    printf("%d %d\n", kt_update_begin(&update, &config, 100), kt_update_active(&config, &branch));
    config = good;
}

static void no_read(kt_update_config_t *c) {
    c->flash.read = NULL;
}
static void no_erase(kt_update_config_t *c) {
    c->flash.erase = NULL;
}
static void no_program(kt_update_config_t *c) {
    c->flash.program = NULL;
}
static void no_page(kt_update_config_t *c) {
    c->page = NULL;
}
static void no_options(kt_update_config_t *c) {
    c->options = NULL;
}
static void no_task(kt_update_config_t *c) {
    c->task = NULL;
}
static void odd_sector(kt_update_config_t *c) {
    c->flash.sector_bytes = 1000;
}
static void odd_unit(kt_update_config_t *c) {
    c->flash.program_bytes = 12;
}
static void long_unit(kt_update_config_t *c) {
    c->flash.program_bytes = 2048;
}
static void odd_slot(kt_update_config_t *c) {
    c->slot_bytes = SLOT - 16;
}
static void no_slot(kt_update_config_t *c) {
    c->slot_bytes = 0;
}
static void no_memory(kt_update_config_t *c) {
    c->slots[1].memory = NULL;
}
static void overlapping(kt_update_config_t *c) {
    c->slots[1].address = SECTOR;
}
static void one_slot_twice(kt_update_config_t *c) {
    c->slots[1].address = 0;
}
static void odd_address(kt_update_config_t *c) {
    c->slots[1].address = SLOT + 8;
}
static void beyond_the_end(kt_update_config_t *c) {
    c->slots[1].address = 0xfffffc00u;
}

static void try_configs(void) {
    static void (*const spoils[])(kt_update_config_t *) = {
        no_read,     no_erase,       no_program,  no_page,       no_options, no_task,
        odd_sector,  odd_unit,       long_unit,   odd_slot,      no_slot,    no_memory,
        overlapping, one_slot_twice, odd_address, beyond_the_end};
    size_t i;

    for (i = 0; i < sizeof spoils / sizeof spoils[0]; i++) {
        try_config(spoils[i]);
    }
}

/* Verbs that work on a file. */
static void with_file(const char *verb, const char *path) {
    image_file_t file;
    kt_bundle_t bundle;

    if (!read_image_file(path, &file)) {
        exit(2);
    }
    if (strcmp(verb, "base") == 0) {
        free(base_file.bytes);
        base_file = file;
        printf("%d\n", kt_bundle_open(&base, file.bytes, file.length, &options));
        return;
    }
    if (strcmp(verb, "open") == 0) {
        printf("%d\n", kt_bundle_open(&bundle, file.bytes, file.length, &options));
    } else {
        printf("%d\n", send(&file, strcmp(verb, "longer") == 0, strcmp(verb, "early") == 0));
    }
    free(file.bytes);
}

static int with_number(const char *verb, int number, const char *after) {
    int i;

    if (strcmp(verb, "floor") == 0) {
        options.lowest_version = (uint32_t)number;
    } else if (strcmp(verb, "trial") == 0) {
        trial_result = number;
    } else if (strcmp(verb, "fail") == 0) {
        fail_in = number;
    } else if (strcmp(verb, "operators") == 0) {
        memset(operators, 0, sizeof operators);
        for (i = 0; i < number; i++) {
            operators[i / 8] = (uint8_t)(operators[i / 8] | 1u << i % 8);
        }
        options.operators = operators;
    } else if (strcmp(verb, "rot") == 0 && after != NULL) {
        flash.bytes[number * SLOT + atoi(after)] ^= 1;
        return 1;
    } else {
        exit(2);
    }
    return 0;
}

int main(int count, char **arguments) {
    int i;

    if (sodium_init() < 0) {
        return 2;
    }
    set_up();
    for (i = 1; i < count; i++) {
        const char *verb = arguments[i];

        if (strcmp(verb, "active") == 0) {
            print_active();
        } else if (strcmp(verb, "same") == 0) {
            options.require_same_trunk = 1;
        } else if (strcmp(verb, "nokey") == 0) {
            options.verify = NULL;
            options.require_signature = 0;
        } else if (strcmp(verb, "config") == 0) {
            try_configs();
        } else if (i + 1 >= count) {
            return 2;
        } else if (strcmp(verb, "key") == 0 || strcmp(verb, "verify") == 0) {
            require(arguments[++i], verb[0] == 'k');
        } else if (strcmp(verb, "task") == 0) {
            config.task = arguments[++i];
        } else if (strcmp(verb, "base") == 0 || strcmp(verb, "open") == 0 ||
                   strcmp(verb, "send") == 0 || strcmp(verb, "longer") == 0 ||
                   strcmp(verb, "early") == 0) {
            with_file(verb, arguments[++i]);
        } else {
            ++i;
            i += with_number(verb, atoi(arguments[i]), i + 1 < count ? arguments[i + 1] : NULL);
        }
    }
    free(base_file.bytes);
    flash_free(&flash);
    return 0;
}
