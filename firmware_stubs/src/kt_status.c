#include "kt_status.h"

#include <stddef.h>

#ifndef KT_NO_MESSAGES

/* In the order of the enumeration: the text of -n stands at index n. */
static const char *const messages[] = {
    "no error",
    "an argument is null, or the options contradict each other",
    "the image must start at a multiple of 16 bytes",
    "the image is shorter than it says",
    "this is no packed image",
    "the image has a format version that this loader does not read",
    "lengths, offsets, counts or padding are wrong",
    "a CRC-32 differs: the image is damaged",
    "an index points behind its table",
    "a string lies outside the strings or has no end",
    "a tensor's shape, scale or zero point is out of range",
    "two neighbouring nodes, or a branch and its trunk, do not fit together",
    "a branch image needs the full image that it builds on",
    "a node needs an operator that this firmware does not have",
    "a signature is required and the image has none",
    "the signature is not by the expected key, or the data is not what was signed",
    "the image's version is lower than allowed",
    "there is no task of this name",
    "no slot holds a valid branch",
    "the image is longer than the slot, or than was announced",
    "flash could not be read, erased or programmed",
    "this image is not the branch that belongs here",
    "the firmware's trial of the new branch failed",
};

const char *kt_status_message(kt_status_t status) {
    const size_t index = (size_t)(-(int)status);

    return index < sizeof messages / sizeof messages[0] ? messages[index] : "unknown status";
}

#else

typedef int kt_status_without_messages; /* ISO C wants a declaration in every file */

#endif
