/* What differs between compilers, and sums whose order is written down.
 *
 * Floating-point sums are kept in sixteen lanes that are added up in one fixed order, so a compiler may vectorise them
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

#define LANES 16

INLINE double lanes_total(double *s) {
    for (int width = LANES / 2; width; width /= 2)
        for (int j = 0; j < width; j++) s[j] += s[j + width];
    return s[0];
}

/* A sum over n numbers, in lanes: one accumulator a loop, which is what compilers know to vectorise. */
#define LANES_SUM(name, arguments, term)                      \
    INLINE double name arguments {                            \
        double s[LANES] = {0}, rest = 0;                      \
        int64_t whole = n / LANES * LANES;                    \
        for (int64_t at = 0; at < whole; at += LANES)         \
            for (int j = 0; j < LANES; j++) {                 \
                int64_t i = at + j;                           \
                s[j] += term;                                 \
            }                                                 \
        for (int64_t i = whole; i < n; i++) rest += term;     \
        return lanes_total(s) + rest;                         \
    }

LANES_SUM(total, (const double *RESTRICT x, int64_t n), x[i])
LANES_SUM(absolute_total, (const double *RESTRICT x, int64_t n), fabs(x[i]))
LANES_SUM(squares_total, (const double *RESTRICT x, int64_t n), x[i] * x[i])
LANES_SUM(product_total, (const double *RESTRICT x, const double *RESTRICT y, int64_t n), x[i] * y[i])

#define WIDE 32

/* The smallest and the largest of n > 0 numbers that are not NaN, and nothing about the sign of a zero. */
INLINE void extremes(const double *RESTRICT x, int64_t n, double *low, double *high) {
    double least = x[0], most = x[0];
    int64_t i = 0;
    if (n >= 2 * WIDE) {
        double lo[WIDE], hi[WIDE];
        for (int j = 0; j < WIDE; j++) lo[j] = hi[j] = x[j];
        for (i = WIDE; i <= n - WIDE; i += WIDE) {
            for (int j = 0; j < WIDE; j++) lo[j] = x[i + j] < lo[j] ? x[i + j] : lo[j];
            for (int j = 0; j < WIDE; j++) hi[j] = x[i + j] > hi[j] ? x[i + j] : hi[j];
        }
        for (int j = 0; j < WIDE; j++) {
            least = lo[j] < least ? lo[j] : least;
            most = hi[j] > most ? hi[j] : most;
        }
    }
    for (; i < n; i++) {
        least = x[i] < least ? x[i] : least;
        most = x[i] > most ? x[i] : most;
    }
    *low = least;
    *high = most;
}

#endif
