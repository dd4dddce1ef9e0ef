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

/* Adds n finite numbers. */
INLINE void add_moments(Moments *whole, const double *RESTRICT x, int64_t n) {
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
    double s[LANES] = {0}, rest = 0;
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++) s[j] += x[i + j];
    for (; i < n; i++) rest += x[i];
    double mean = (lanes_total(s) + rest) / own.n;
    double s1[LANES] = {0}, s2[LANES] = {0}, s3[LANES] = {0}, s4[LANES] = {0}, l1[LANES] = {0};
    for (i = 0; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++) {
            double d = x[i + j] - mean, d2 = d * d;
            s1[j] += d;
            s2[j] += d2;
            s3[j] += d2 * d;
            s4[j] += d2 * d2;
            l1[j] += fabs(x[i + j]);
        }
    for (int j = 0; i < n; i++, j++) {
        double d = x[i] - mean, d2 = d * d;
        s1[j] += d;
        s2[j] += d2;
        s3[j] += d2 * d;
        s4[j] += d2 * d2;
        l1[j] += fabs(x[i]);
    }
    /* The mean was rounded: what is left of it is taken out of the sums about it. */
    double shift = lanes_total(s1) / own.n, sum2 = lanes_total(s2), sum3 = lanes_total(s3);
    own.mean = mean + shift;
    own.m2 = sum2 - own.n * shift * shift;
    own.m3 = sum3 - 3 * shift * sum2 + 2 * own.n * shift * shift * shift;
    own.m4 = lanes_total(s4) - 4 * shift * sum3 + 6 * shift * shift * sum2;
    own.l1 = lanes_total(l1);
    merge(whole, &own);
}

#endif
