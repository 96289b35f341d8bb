/*
 * DEPTHWISE_CONV_2D with Helium: eight channels at a time. Codes are widened to 16 bits by the load
 * and multiplied to 32; products of even and odd channels are summed apart. No scratch.
 */
#include "kt_kernels.h"

#if KT_ISA == KT_ISA_MVE

#include "kt_mve.h"
#include "kt_window.h"

/* Eight channels, or those that are left. */
typedef struct {
    mve_pred16_t exists;
    uint16x8_t offset; /* of their input channels */
    int is_run;        /* the input channels are neighbours */
} kt_lanes_t;

typedef struct {
    int32x4_t even, odd;
} kt_sums_t;

static inline kt_sums_t kt_add_products(kt_sums_t sums, int16x8_t codes, int16x8_t weights) {
    sums.even = vaddq_s32(sums.even, vmullbq_int_s16(codes, weights));
    sums.odd = vaddq_s32(sums.odd, vmulltq_int_s16(codes, weights));
    return sums;
}

/* `taps` neighbouring taps of a kernel row. */
static inline kt_sums_t kt_add_taps(kt_sums_t sums, const kt_lanes_t *lanes, const int8_t *codes,
                                    int32_t step, const int8_t *weights, int32_t channels,
                                    int32_t taps) {
    const mve_pred16_t exists = lanes->exists;
    if (lanes->is_run) {
        for (; taps > 0; taps--, codes += step, weights += channels) {
            sums =
                kt_add_products(sums, vldrbq_z_s16(codes, exists), vldrbq_z_s16(weights, exists));
        }
    } else {
        const uint16x8_t offset = lanes->offset;
        for (; taps > 0; taps--, codes += step, weights += channels) {
            sums = kt_add_products(sums, vldrbq_gather_offset_z_s16(codes, offset, exists),
                                   vldrbq_z_s16(weights, exists));
        }
    }
    return sums;
}

/* The same outside the input. */
static inline kt_sums_t kt_add_padding(kt_sums_t sums, const kt_lanes_t *lanes, int16x8_t padding,
                                       const int8_t *weights, int32_t channels, int32_t taps) {
    for (; taps > 0; taps--, weights += channels) {
        sums = kt_add_products(sums, padding, vldrbq_z_s16(weights, lanes->exists));
    }
    return sums;
}

/* Where a window meets the input; `codes`: of the first tap inside. */
typedef struct {
    kt_span_t rows, columns;
    const int8_t *codes;
} kt_place_t;

static kt_sums_t kt_sum_window(const kt_conv2d_t *op, const kt_lanes_t *lanes,
                               const kt_place_t *place, const int8_t *codes,
                               const int8_t *weights) {
    const int32_t channels = op->out_c, row = op->kernel_w * channels;
    const int32_t begin = place->columns.begin, end = place->columns.end;
    const int16x8_t padding = vdupq_n_s16(op->input_zero_point);
    kt_sums_t sums = {vdupq_n_s32(0), vdupq_n_s32(0)};
    for (int32_t y = 0; y < op->kernel_h; y++, weights += row) {
        if (y < place->rows.begin || y >= place->rows.end) {
            sums = kt_add_padding(sums, lanes, padding, weights, channels, op->kernel_w);
            continue;
        }
        sums = kt_add_padding(sums, lanes, padding, weights, channels, begin);
        sums = kt_add_taps(sums, lanes, codes, op->dilation_w * op->in_c,
                           weights + begin * channels, channels, end - begin);
        sums = kt_add_padding(sums, lanes, padding, weights + end * channels, channels,
                              op->kernel_w - end);
        codes += op->dilation_h * op->in_w * op->in_c;
    }
    return sums;
}

static kt_lanes_t kt_lanes(const kt_conv2d_t *op, int32_t channel) {
    const uint16x8_t zero_to_seven = vidupq_n_u16(0, 1);
    kt_lanes_t lanes;
    lanes.exists = vctp16q((uint32_t)(op->out_c - channel));
    lanes.is_run = op->groups == 1;
    lanes.offset = zero_to_seven;
    if (!lanes.is_run) {
        uint16_t offset[8];
        for (int32_t i = 0; i < 8; i++) {
            offset[i] = (uint16_t)((channel + i) / op->groups - channel / op->groups);
        }
        lanes.offset = vldrhq_u16(offset);
    }
    return lanes;
}

/* All channels of one output position. */
static void kt_put_outputs(const kt_conv2d_t *op, const kt_scaling_t *scaling,
                           const kt_place_t *place, int8_t *output) {
    for (int32_t channel = 0; channel < op->out_c; channel += 8) {
        const kt_lanes_t lanes = kt_lanes(op, channel);
        const int32_t left = op->out_c - channel;
        const kt_sums_t sums = kt_sum_window(op, &lanes, place, place->codes + channel / op->groups,
                                             op->weights + channel);
        int32x4x2_t pairs;
        int32_t sum[8];
        pairs.val[0] = sums.even;
        pairs.val[1] = sums.odd;
        vst2q_s32(sum, pairs);
        kt_store_codes(scaling, channel, left, vldrwq_s32(sum), output + channel);
        if (left > 4) {
            kt_store_codes(scaling, channel + 4, left - 4, vldrwq_s32(sum + 4),
                           output + channel + 4);
        }
    }
}

void kt_depthwise_conv2d(const kt_conv2d_t *op, const int8_t *input, int8_t *output,
                         void *scratch) {
    const kt_scaling_t scaling = KT_SCALING_OF(op);
    const int32_t row_step = op->in_w * op->in_c;
    kt_place_t place;
    (void)scratch;
    for (int32_t y = 0; y < op->out_h; y++) {
        const int32_t top = y * op->stride_h - op->pad_top;
        place.rows = kt_clip(top, op->in_h, op->kernel_h, op->dilation_h);
        for (int32_t x = 0; x < op->out_w; x++, output += op->out_c) {
            const int32_t left = x * op->stride_w - op->pad_left;
            place.columns = kt_clip(left, op->in_w, op->kernel_w, op->dilation_w);
            place.codes = input + (top + place.rows.begin * op->dilation_h) * row_step +
                          (left + place.columns.begin * op->dilation_w) * op->in_c;
            kt_put_outputs(op, &scaling, &place, output);
        }
    }
}

#endif
