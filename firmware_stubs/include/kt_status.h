/*
 * kt_status: what the functions for packed images and updates return.
 */
#ifndef KT_STATUS_H
#define KT_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    KT_OK = 0,
    KT_ERROR_ARGUMENT = -1,       /* a null pointer, or options that contradict each other */
    KT_ERROR_ALIGNMENT = -2,      /* the image does not start at a multiple of 16 */
    KT_ERROR_TRUNCATED = -3,      /* fewer bytes than the image says it has */
    KT_ERROR_MAGIC = -4,          /* no packed image, or one that a text transfer has changed */
    KT_ERROR_FORMAT_VERSION = -5, /* of a format that this loader does not read */
    KT_ERROR_LAYOUT = -6,         /* lengths, offsets, counts or padding are not those of SPEC.md */
    KT_ERROR_CHECKSUM = -7,       /* a CRC-32 differs: the image is damaged */
    KT_ERROR_INDEX = -8,          /* an index points behind its table */
    KT_ERROR_STRING = -9,         /* a string lies outside the strings, or has no end */
    KT_ERROR_TENSOR = -10,        /* shape, scale or zero point of a tensor is out of range */
    KT_ERROR_SEAM = -11,          /* two neighbours, or a branch and its trunk, do not fit */
    KT_ERROR_BASE = -12,          /* a branch image without the full image that it builds on */
    KT_ERROR_OPERATOR = -13,      /* a node needs an operator that the firmware does not have */
    KT_ERROR_UNSIGNED = -14,      /* a signature is required and the image has none */
    KT_ERROR_SIGNATURE = -15,     /* the signature, or a digest that it covers, is wrong */
    KT_ERROR_ROLLBACK = -16,      /* the image's version is lower than allowed */
    KT_ERROR_NOT_FOUND = -17,     /* no task of that name */
    KT_ERROR_NO_BRANCH = -18,     /* no slot holds a valid branch: use the full image's own */
    KT_ERROR_SPACE = -19,         /* the image is longer than the slot, or than was announced */
    KT_ERROR_FLASH = -20,         /* a flash callback failed, or a byte was not kept */
    KT_ERROR_KIND = -21,          /* a full image where a branch image is expected, or its task */
    KT_ERROR_REFUSED = -22        /* the firmware's own trial of the new branch failed */
} kt_status_t;

#if defined(__GNUC__) || defined(__clang__)
#define KT_WARN_UNUSED __attribute__((warn_unused_result))
#else
#define KT_WARN_UNUSED
#endif

/* One sentence for a status. Define KT_NO_MESSAGES to have it, and its texts, left out. */
#ifndef KT_NO_MESSAGES
const char *kt_status_message(kt_status_t status);
#endif

#ifdef __cplusplus
}
#endif

#endif
