/* What is known of a few values once they are in order: see histogram.Ordered. */
#ifndef WEXPORT_ORDERED_H
#define WEXPORT_ORDERED_H

#include "folds.h"

#define FIRST_KEY ((int64_t)(1023 - 126) << 3)

INLINE int64_t key_of(double value) {
    int64_t bits;
    double size = fabs(value);
    if (size == 0) return 0;
    memcpy(&bits, &size, 8);
    int64_t key = (bits >> 49) - (FIRST_KEY - 2);
    if (key < 1) key = 1;
    return value < 0 ? -key : key;
}

INLINE double edge(int64_t magnitude) {
    int64_t bits = (magnitude + FIRST_KEY - 2) << 49;
    double value;
    if (magnitude < 2) return 0;
    memcpy(&value, &bits, 8);
    return value < DBL_MAX ? value : DBL_MAX;
}

INLINE void bounds(int64_t key, double *lower, double *upper) {
    int64_t magnitude = key < 0 ? -key : key;
    double near = edge(magnitude), far = magnitude ? edge(magnitude + 1) : 0;
    *lower = key < 0 ? -far : near;
    *upper = key < 0 ? -near : far;
}

/* Values of either type, ascending and finite. Returns the number of bins, which are at most as many as the values. */
INLINE int64_t gather(const float *narrow, const double *wide, int64_t n, double *lower, double *upper, int64_t *count,
                      int64_t *near_zero) {
    int64_t bins = 0, last = 0, near = 0;
    for (int64_t i = 0; i < n; i++) {
        double value = narrow ? (double)narrow[i] : wide[i];
        int64_t key = key_of(value);
        near += fabs(value) < NEAR_ZERO;
        if (!bins || key != last) {
            bounds(key, lower + bins, upper + bins);
            count[bins++] = 0;
            last = key;
        }
        count[bins - 1]++;
    }
    *near_zero = near;
    return bins;
}

#endif
