#include "kt_bundle.h"

#include <string.h>

#include "kt_crc32.h"
#include "kt_image_check.h"
#include "kt_image_read.h"

#define SMALLEST_IMAGE_BYTES ((uint32_t)(sizeof(kt_image_header_t) + sizeof(kt_image_seal_t)))

static kt_status_t check_options(const kt_open_options_t *options) {
    if (options->verify == NULL) {
        return options->require_signature ? KT_ERROR_ARGUMENT : KT_OK;
    }
    return options->sha256 == NULL ? KT_ERROR_ARGUMENT : KT_OK;
}

/* Where each table starts, from the counts. The sum does not overflow: `strings_bytes` is below
 * 2^31, the tables of 65,535 entries each take 12 MB. */
static uint32_t set_tables(kt_bundle_t *bundle) {
    const uint32_t tensors = (uint32_t)sizeof(kt_image_header_t) +
                             bundle->node_count * (uint32_t)sizeof(kt_image_node_t);
    const uint32_t tasks = tensors + bundle->tensor_count * (uint32_t)sizeof(kt_image_tensor_t);
    const uint32_t labels = tasks + bundle->task_count * (uint32_t)sizeof(kt_image_task_t);
    const uint32_t paths = labels + bundle->label_count * (uint32_t)4;
    const uint32_t strings = paths + bundle->path_count * (uint32_t)2;
    const uint32_t end = strings + bundle->strings_bytes;

    if (end > bundle->tables_bytes) {
        return end; /* no pointer outside the image is even computed */
    }
    bundle->tensors = bundle->image + tensors;
    bundle->tasks = bundle->image + tasks;
    bundle->labels = bundle->image + labels;
    bundle->paths = bundle->image + paths;
    bundle->strings = (const char *)bundle->image + strings;
    return end;
}

static void read_header(kt_bundle_t *bundle, const uint8_t *image) {
    bundle->image = image;
    bundle->flags = KT_U32(image, kt_image_header_t, flags);
    bundle->image_bytes = KT_U32(image, kt_image_header_t, image_bytes);
    bundle->tables_bytes = KT_U32(image, kt_image_header_t, tables_bytes);
    bundle->version = KT_U32(image, kt_image_header_t, version);
    bundle->node_count = KT_U16(image, kt_image_header_t, node_count);
    bundle->tensor_count = KT_U16(image, kt_image_header_t, tensor_count);
    bundle->task_count = KT_U16(image, kt_image_header_t, task_count);
    bundle->label_count = KT_U16(image, kt_image_header_t, label_count);
    bundle->path_count = KT_U16(image, kt_image_header_t, path_count);
    bundle->strings_bytes = KT_U32(image, kt_image_header_t, strings_bytes);
}

static kt_status_t check_header(kt_bundle_t *bundle, const uint8_t *image, size_t length) {
    uint32_t end;

    if (length < SMALLEST_IMAGE_BYTES) {
        return KT_ERROR_TRUNCATED;
    }
    if (memcmp(image, KT_MAGIC, KT_MAGIC_BYTES) != 0) {
        return KT_ERROR_MAGIC;
    }
    if (KT_U16(image, kt_image_header_t, format_version) != KT_FORMAT_VERSION) {
        return KT_ERROR_FORMAT_VERSION;
    }
    read_header(bundle, image);
    if (KT_U16(image, kt_image_header_t, header_bytes) != sizeof(kt_image_header_t) ||
        KT_U16(image, kt_image_header_t, reserved) != 0 ||
        (bundle->flags & ~(uint32_t)KT_IMAGE_FLAGS) != 0 ||
        bundle->image_bytes % KT_IMAGE_ALIGNMENT != 0 ||
        bundle->image_bytes > KT_MOST_IMAGE_BYTES || bundle->image_bytes < SMALLEST_IMAGE_BYTES) {
        return KT_ERROR_LAYOUT;
    }
    if (bundle->image_bytes > length) {
        return KT_ERROR_TRUNCATED;
    }
    if (bundle->strings_bytes > bundle->image_bytes || bundle->strings_bytes == 0 ||
        bundle->tables_bytes > bundle->image_bytes - sizeof(kt_image_seal_t)) {
        return KT_ERROR_LAYOUT;
    }
    end = set_tables(bundle);
    if (bundle->tables_bytes % KT_IMAGE_ALIGNMENT != 0 || end > bundle->tables_bytes ||
        bundle->tables_bytes - end >= KT_IMAGE_ALIGNMENT) {
        return KT_ERROR_LAYOUT;
    }
    return KT_OK;
}

/* The checksum of tables and signature, and that an image without signature has none. */
static kt_status_t check_seal(const kt_bundle_t *bundle) {
    const uint8_t *seal = bundle->image + bundle->tables_bytes;
    const uint32_t crc =
        kt_crc32(0, bundle->image, (size_t)bundle->tables_bytes + KT_SIGNATURE_BYTES);
    const int is_signed = (bundle->flags & KT_IMAGE_SIGNED) != 0;

    if (crc != KT_U32(seal, kt_image_seal_t, tables_crc32)) {
        return KT_ERROR_CHECKSUM;
    }
    if (!kt_is_zero(KT_AT(seal, kt_image_seal_t, reserved), 12) ||
        (!is_signed && !kt_is_zero(seal, KT_SIGNATURE_BYTES))) {
        return KT_ERROR_LAYOUT;
    }
    return KT_OK;
}

/* Who made the image, before more of it is read. */
static kt_status_t check_origin(const kt_bundle_t *bundle, const kt_open_options_t *options) {
    const uint8_t *signature = bundle->image + bundle->tables_bytes;

    if ((bundle->flags & KT_IMAGE_SIGNED) == 0) {
        if (options->require_signature) {
            return KT_ERROR_UNSIGNED;
        }
    } else if (options->verify != NULL &&
               options->verify(signature, bundle->image, (size_t)bundle->tables_bytes,
                               options->context) != 0) {
        return KT_ERROR_SIGNATURE;
    }
    return bundle->version < options->lowest_version ? KT_ERROR_ROLLBACK : KT_OK;
}

static kt_status_t check_all(kt_bundle_t *bundle, const uint8_t *image, size_t length,
                             const kt_open_options_t *options) {
    kt_status_t status = check_header(bundle, image, length);

    if (status == KT_OK) {
        status = check_seal(bundle);
    }
    if (status == KT_OK) {
        status = check_origin(bundle, options);
    }
    if (status == KT_OK) {
        status = kt_check_tables(bundle, options);
    }
    if (status == KT_OK) {
        status = kt_check_data(bundle, options);
    }
    if (status == KT_OK && (bundle->flags & KT_IMAGE_BRANCH) != 0) {
        status = kt_check_base(bundle, options);
        bundle->base = options->base;
    }
    return status;
}

kt_status_t kt_bundle_open(kt_bundle_t *bundle, const void *image, size_t length,
                           const kt_open_options_t *options) {
    kt_open_options_t defaults;
    kt_status_t status;

    if (bundle == NULL) {
        return KT_ERROR_ARGUMENT;
    }
    memset(bundle, 0, sizeof *bundle);
    if (image == NULL) {
        return KT_ERROR_ARGUMENT;
    }
    if (options == NULL) {
        memset(&defaults, 0, sizeof defaults);
        options = &defaults;
    }
    status = check_options(options);
    if (status == KT_OK && (uintptr_t)image % KT_IMAGE_ALIGNMENT != 0) {
        status = KT_ERROR_ALIGNMENT;
    }
    if (status == KT_OK) {
        status = check_all(bundle, (const uint8_t *)image, length, options);
    }
    if (status != KT_OK) {
        memset(bundle, 0, sizeof *bundle);
    }
    return status;
}
