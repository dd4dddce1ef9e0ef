/* Stored values of any type: as float64, and counted into the cells of histogram.py. */
#ifndef WEXPORT_STORED_H
#define WEXPORT_STORED_H

#include "portable.h"

/* Values that are gone through at a time: their float64 copy stays in the first cache. */
#define STRIP 1024

typedef enum { F4, F8, F2, BF2, I2, U2, I4, U4, I8, U8, BYTES, TYPES } Type;
static const int item_size[TYPES] = {4, 8, 2, 2, 2, 2, 4, 4, 8, 8, 1};

typedef struct {
    double x[STRIP];      /* the values; 0 for those that are lost */
    uint8_t lost[STRIP];  /* which are not finite; set only if `any_lost` */
    uint64_t room[STRIP]; /* for what is not aligned */
    double distance[STRIP], square[STRIP];
    int64_t n, nan, inf, zeros, negative_zeros, any_lost;
} Strip;

INLINE float float_of(uint32_t bits) {
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

INLINE uint32_t bits_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    return bits;
}

/* A half: shifted into place its exponent is too small by 112, which a product mends, exactly for denormals too. */
INLINE float float_of_half(uint32_t half) {
    uint32_t magnitude = half & 0x7fff;
    float scaled = float_of(magnitude << 13) * 0x1p112f;
    uint32_t bits = magnitude >= 0x7c00 ? (magnitude << 13) | 0x7f800000 : bits_of(scaled);
    return float_of(bits | (half & 0x8000) << 16);
}

#define CONVERT(type, value)                              \
    do {                                                  \
        const type *RESTRICT from = (const type *)stored; \
        for (int64_t i = 0; i < n; i++) {                 \
            type v = from[i];                             \
            x[i] = (double)(value);                       \
        }                                                 \
    } while (0)

/* Fills `x`; lost values are as they are. */
INLINE void widen(Type type, const float *RESTRICT table, const void *stored, int64_t n, double *RESTRICT x) {
    switch (type) {
    case F4: CONVERT(float, v); break;
    case F8: memcpy(x, stored, (size_t)n * 8); break;
    case F2: CONVERT(uint16_t, float_of_half(v)); break;
    case BF2: CONVERT(uint16_t, float_of((uint32_t)v << 16)); break;
    case I2: CONVERT(int16_t, v); break;
    case U2: CONVERT(uint16_t, v); break;
    case I4: CONVERT(int32_t, v); break;
    case U4: CONVERT(uint32_t, v); break;
    case I8: CONVERT(int64_t, v); break;
    case U8: CONVERT(uint64_t, v); break;
    default: CONVERT(uint8_t, table[v]); break;
    }
}

/* Which are lost or zero, and how many; lost ones become 0. */
INLINE void classify(Strip *strip) {
    double *RESTRICT x = strip->x;
    int64_t n = strip->n, odd = 0, zeros = 0;
    for (int64_t i = 0; i < n; i++) {
        odd += !(fabs(x[i]) <= DBL_MAX);
        zeros += x[i] == 0;
    }
    strip->zeros = zeros;
    strip->any_lost = odd > 0;
    strip->nan = strip->inf = strip->negative_zeros = 0;
    if (zeros)
        for (int64_t i = 0; i < n; i++) strip->negative_zeros += x[i] == 0 && signbit(x[i]);
    if (odd)
        for (int64_t i = 0; i < n; i++) {
            strip->nan += x[i] != x[i];
            strip->lost[i] = !(fabs(x[i]) <= DBL_MAX);
            if (strip->lost[i]) x[i] = 0;
        }
    strip->inf = odd - strip->nan;
}

/* Reads a strip; returns its values, aligned. */
INLINE const void *read_strip(Strip *strip, Type type, const float *table, const uint8_t *stored, int64_t n) {
    const void *values = stored;
    if ((uintptr_t)stored % (uintptr_t)item_size[type]) {
        memcpy(strip->room, stored, (size_t)(n * item_size[type]));
        values = strip->room;
    }
    strip->n = n;
    widen(type, table, values, n, strip->x);
    classify(strip);
    return values;
}

/* Adds a strip to the table of its cells, which has two halves to be added up: a cell that is met again at once need not
 * wait for itself. */
INLINE void count_cells(const Strip *strip, Type type, const void *values, int64_t *RESTRICT table, int64_t cells) {
    int64_t n = strip->n, i = 0;
    int64_t *RESTRICT other = table + cells;
    if (item_size[type] == 1) {
        const uint8_t *RESTRICT words = (const uint8_t *)values;
        for (; i + 1 < n; i += 2) table[words[i]]++, other[words[i + 1]]++;
        if (i < n) table[words[i]]++;
    } else if (item_size[type] == 2) {
        const uint16_t *RESTRICT words = (const uint16_t *)values;
        for (; i + 1 < n; i += 2) table[words[i]]++, other[words[i + 1]]++;
        if (i < n) table[words[i]]++;
    } else if (type == F4) {
        const uint32_t *RESTRICT words = (const uint32_t *)values;
        for (; i + 1 < n; i += 2) table[words[i] >> 16]++, other[words[i + 1] >> 16]++;
        if (i < n) table[words[i] >> 16]++;
    } else { /* float64 below 2**128: cut off what is below a cell's bits, then it is a float32 of the same cell */
        for (; i < n; i++) {
            uint64_t bits;
            double cut;
            if (strip->any_lost && strip->lost[i]) continue;
            memcpy(&bits, &strip->x[i], 8);
            bits &= ~(((uint64_t)1 << 45) - 1);
            memcpy(&cut, &bits, 8);
            (i & 1 ? other : table)[bits_of((float)cut) >> 16]++;
        }
    }
}

#endif
