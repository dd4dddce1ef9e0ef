/* What differs between compilers, and sums whose order is written down.
 *
 * Floating-point sums are kept in eight lanes that are added up in one fixed order, so a compiler may vectorise them
 * without changing a bit; the build forbids the fusing of products and sums. The result of every function is therefore
 * the same on each machine that has IEEE 754 arithmetic, whatever its vectors.
 */
#ifndef WEXPORT_PORTABLE_H
#define WEXPORT_PORTABLE_H

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(_MSC_VER)
#define INLINE static __forceinline
#define RESTRICT __restrict
#else
#define INLINE static inline __attribute__((always_inline))
#define RESTRICT restrict
#endif

/* A second version for processors with AVX2, chosen when the module is loaded. */
#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && defined(__GLIBC__) && !defined(WEXPORT_PLAIN)
#define CLONES __attribute__((target_clones("avx2", "default")))
#else
#define CLONES
#endif

#define LANES 8

INLINE double lanes_total(const double *s) { return ((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7])); }

/* Sum of squares of n numbers. */
INLINE double squares_total(const double *RESTRICT x, int64_t n) {
    double s[LANES] = {0}, rest = 0;
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++) s[j] += x[i + j] * x[i + j];
    for (; i < n; i++) rest += x[i] * x[i];
    return lanes_total(s) + rest;
}

/* The smallest and the largest of n > 0 numbers that are no NaN, and nothing about the sign of a zero. */
INLINE void extremes(const double *RESTRICT x, int64_t n, double *low, double *high) {
    double lo[LANES], hi[LANES];
    for (int j = 0; j < LANES; j++) lo[j] = hi[j] = x[0];
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++) {
            lo[j] = x[i + j] < lo[j] ? x[i + j] : lo[j];
            hi[j] = x[i + j] > hi[j] ? x[i + j] : hi[j];
        }
    for (; i < n; i++) {
        lo[0] = x[i] < lo[0] ? x[i] : lo[0];
        hi[0] = x[i] > hi[0] ? x[i] : hi[0];
    }
    for (int j = 1; j < LANES; j++) {
        lo[0] = lo[j] < lo[0] ? lo[j] : lo[0];
        hi[0] = hi[j] > hi[0] ? hi[j] : hi[0];
    }
    *low = lo[0];
    *high = hi[0];
}

#endif
