/* Moments of a stretch of finite numbers about its own mean, and the merging of stretches.
 *
 * As moments.py has it: Chan, Golub and LeVeque (1979), Pébay (Sandia report SAND2008-6212, 2008, eq. 2.1 and following).
 * A stretch is short enough to stay in the first cache, so it is gone through twice: for its mean, then about it.
 */
#ifndef WEXPORT_MOMENTS_H
#define WEXPORT_MOMENTS_H

#include "portable.h"

typedef struct {
    double n, mean, m2, m3, m4, l1, low, high;
} Moments;

INLINE void merge(Moments *a, const Moments *b) {
    if (b->n == 0) return;
    if (a->n == 0) {
        *a = *b;
        return;
    }
    double n = a->n + b->n, delta = b->mean - a->mean, step = delta / n, cross = step * delta * a->n * b->n;
    double m2 = a->m2 + b->m2 + cross;
    double m3 = a->m3 + b->m3 + cross * step * (a->n - b->n) + 3 * step * (a->n * b->m2 - b->n * a->m2);
    double m4 = a->m4 + b->m4 + cross * step * step * (a->n * a->n - a->n * b->n + b->n * b->n) +
                6 * step * step * (a->n * a->n * b->m2 + b->n * b->n * a->m2) +
                4 * step * (a->n * b->m3 - b->n * a->m3);
    a->mean += step * b->n;
    a->n = n;
    a->m2 = m2;
    a->m3 = m3;
    a->m4 = m4;
    a->l1 += b->l1;
    a->low = b->low < a->low ? b->low : a->low;
    a->high = b->high > a->high ? b->high : a->high;
}

/* Adds n finite numbers. distance, square: room for as many. */
INLINE void add_moments(Moments *whole, const double *RESTRICT x, int64_t n, double *RESTRICT distance,
                        double *RESTRICT square) {
    if (n == 0) return;
    Moments own = {0};
    own.n = (double)n;
    extremes(x, n, &own.low, &own.high);
    if (own.low == own.high) { /* exactly constant, whatever the rounding of a sum */
        own.mean = own.low;
        own.l1 = own.n * fabs(own.low);
        merge(whole, &own);
        return;
    }
    double mean = total(x, n) / own.n;
    for (int64_t i = 0; i < n; i++) distance[i] = x[i] - mean;
    for (int64_t i = 0; i < n; i++) square[i] = distance[i] * distance[i];
    /* The mean was rounded: what is left of it is taken out of the sums about it. */
    double shift = total(distance, n) / own.n, sum2 = total(square, n), sum3 = product_total(square, distance, n);
    own.mean = mean + shift;
    own.m2 = sum2 - own.n * shift * shift;
    own.m3 = sum3 - 3 * shift * sum2 + 2 * own.n * shift * shift * shift;
    own.m4 = squares_total(square, n) - 4 * shift * sum3 + 6 * shift * shift * sum2;
    own.l1 = absolute_total(x, n);
    merge(whole, &own);
}

#endif
