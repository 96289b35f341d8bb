/*
 * `kt_scaled` of the DSP kernels against `kt_requantize`, whole numbers rather than codes: sums,
 * multipliers, shifts and zero points at their ends against each other, then at random. Prints how
 * many differ.
 */
#include "kt_dsp.h"

#ifndef KT_DRAWS
#define KT_DRAWS 1000000
#endif

#if defined(__arm__)
void kt_port_write(const char *text); /* of ports/bare_metal.c */
#else
#include <stdio.h>

static void kt_port_write(const char *text) {
    (void)fputs(text, stdout);
}
#endif

static int kt_differs(uint32_t sum, int32_t multiplier, int32_t shift, int32_t zero_point) {
    const int64_t exact = (int64_t)kt_requantize(sum, multiplier, (int)shift) + zero_point;
    const int32_t found =
        kt_scaled(sum, kt_factor(multiplier), -1 - shift, kt_scale_offset(zero_point));
    /* Beyond every code both only have to lie on the same side of them. */
    if (exact > 1000 || exact < -1000) {
        return exact > 1000 ? found <= 1000 : found >= -1000;
    }
    return found != exact;
}

static uint32_t kt_draw(uint32_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static int kt_check_ends(void) {
    static const uint32_t sums[] = {0,           1,           2,           3,
                                    0x3fffffffU, 0x40000000U, 0x40000001U, 0x7ffffffeU,
                                    0x7fffffffU, 0x80000000U, 0x80000001U, 0xbfffffffU,
                                    0xc0000000U, 0xfffffffeU, 0xffffffffU};
    static const int32_t multipliers[] = {0x40000000, 0x40000001, 0x5a827999, 0x7ffffffe,
                                          0x7fffffff};
    static const int32_t zero_points[] = {-128, -1, 0, 1, 127};
    int different = 0;
    for (uint32_t i = 0; i < sizeof sums / sizeof sums[0]; i++) {
        for (uint32_t k = 0; k < sizeof multipliers / sizeof multipliers[0]; k++) {
            for (int32_t shift = -31; shift < 0; shift++) {
                for (uint32_t z = 0; z < sizeof zero_points / sizeof zero_points[0]; z++) {
                    different += kt_differs(sums[i], multipliers[k], shift, zero_points[z]);
                }
            }
        }
    }
    return different;
}

int main(void) {
    uint32_t state = 1;
    int different = kt_check_ends();
    for (int32_t i = 0; i < KT_DRAWS; i++) {
        const uint32_t sum = kt_draw(&state), size = kt_draw(&state) % 32;
        const int32_t narrow = (int32_t)sum >> size;
        const int32_t multiplier = (int32_t)(0x40000000U | kt_draw(&state) >> 2);
        const int32_t shift = -1 - (int32_t)(kt_draw(&state) % 31);
        const int32_t zero_point = (int32_t)(kt_draw(&state) & 255) - 128;
        different += kt_differs((uint32_t)narrow, multiplier, shift, zero_point);
    }
    kt_port_write(different == 0 ? "equal\n" : "different\n");
    return different != 0;
}
