/* One number per unit, or per input, of values in stored order. */
#ifndef WEXPORT_FOLDS_H
#define WEXPORT_FOLDS_H

#include "portable.h"
#include "stored.h"

#define NEAR_ZERO 0x1p-10
#define MOST_DIMS 32

/* Dimensions of a stream, outermost first, and what a step along each adds to the group. The last one is gone through as
 * a run: neighbours of one group (weight 0), or of neighbouring groups. */
typedef struct {
    int count;
    int64_t length[MOST_DIMS], weight[MOST_DIMS];
} Walk;

typedef struct {
    int64_t at[MOST_DIMS], base, offset;
} Place;

INLINE void seek(const Walk *walk, Place *place, int64_t start) {
    int last = walk->count - 1;
    place->offset = start % walk->length[last];
    place->base = 0;
    start /= walk->length[last];
    for (int dim = last - 1; dim >= 0; dim--) {
        place->at[dim] = start % walk->length[dim];
        place->base += place->at[dim] * walk->weight[dim];
        start /= walk->length[dim];
    }
}

INLINE void next_run(const Walk *walk, Place *place) {
    place->offset = 0;
    for (int dim = walk->count - 2; dim >= 0; dim--) {
        place->base += walk->weight[dim];
        if (++place->at[dim] < walk->length[dim]) return;
        place->base -= walk->length[dim] * walk->weight[dim];
        place->at[dim] = 0;
    }
}

/* squares, maximum and zeros are NULL where units have no statistics of their own; squares also where the grid has
 * their sums. */
typedef struct {
    Walk walk;
    Place place;
    double *squares, *abs_max, *maximum, *zeros, *lost;
} Units;

INLINE void add_columns(Units *units, const Strip *strip, const double *RESTRICT x, int64_t n, int64_t group) {
    if (units->squares) {
        double *RESTRICT squares = units->squares + group;
        for (int64_t i = 0; i < n; i++) squares[i] += x[i] * x[i];
    }
    double *RESTRICT abs_max = units->abs_max + group;
    for (int64_t i = 0; i < n; i++) abs_max[i] = fabs(x[i]) > abs_max[i] ? fabs(x[i]) : abs_max[i];
    if (units->maximum) {
        double *RESTRICT maximum = units->maximum + group;
        for (int64_t i = 0; i < n; i++) maximum[i] = x[i] > maximum[i] ? x[i] : maximum[i];
    }
    if (units->zeros && strip->zeros) {
        double *RESTRICT zeros = units->zeros + group;
        for (int64_t i = 0; i < n; i++) zeros[i] += x[i] == 0 ? 1.0 : 0.0;
    }
}

INLINE void add_row(Units *units, const Strip *strip, const double *RESTRICT x, int64_t n, int64_t group) {
    double low, high;
    extremes(x, n, &low, &high);
    double far = -low > high ? -low : high;
    if (far > units->abs_max[group]) units->abs_max[group] = far;
    if (units->squares) units->squares[group] += squares_total(x, n);
    if (units->maximum && high > units->maximum[group]) units->maximum[group] = high;
    if (units->zeros && strip->zeros) {
        int64_t zeros = 0;
        for (int64_t i = 0; i < n; i++) zeros += x[i] == 0;
        units->zeros[group] += (double)zeros;
    }
}

/* Any place, one value after the other: where some are lost, or neighbours belong to groups far apart. */
INLINE void add_singly(Units *units, const Strip *strip, int64_t from, int64_t n, int64_t group, int64_t weight) {
    for (int64_t i = from; i < from + n; i++, group += weight) {
        double x = strip->x[i];
        if (strip->any_lost && strip->lost[i]) {
            units->lost[group] += 1;
            continue;
        }
        if (fabs(x) > units->abs_max[group]) units->abs_max[group] = fabs(x);
        if (units->squares) units->squares[group] += x * x;
        if (units->maximum && x > units->maximum[group]) units->maximum[group] = x;
        if (units->zeros && x == 0) units->zeros[group] += 1;
    }
}

INLINE void add_units(Units *units, const Strip *strip) {
    int64_t run = units->walk.length[units->walk.count - 1], weight = units->walk.weight[units->walk.count - 1], n;
    for (int64_t i = 0; i < strip->n; i += n) {
        Place *place = &units->place;
        n = run - place->offset < strip->n - i ? run - place->offset : strip->n - i;
        int64_t group = place->base + place->offset * weight;
        if (strip->any_lost || weight > 1)
            add_singly(units, strip, i, n, group, weight);
        else if (weight)
            add_columns(units, strip, strip->x + i, n, group);
        else
            add_row(units, strip, strip->x + i, n, group);
        place->offset += n;
        if (place->offset == run) next_run(&units->walk, place);
    }
}

typedef struct {
    Walk walk;
    Place place;
    uint8_t *alive;
} Inputs;

INLINE void add_inputs(Inputs *inputs, const Strip *strip) {
    int64_t run = inputs->walk.length[inputs->walk.count - 1], weight = inputs->walk.weight[inputs->walk.count - 1], n;
    const double *x = strip->x;
    for (int64_t i = 0; i < strip->n; i += n) {
        Place *place = &inputs->place;
        n = run - place->offset < strip->n - i ? run - place->offset : strip->n - i;
        int64_t group = place->base + place->offset * weight;
        for (int64_t j = i; j < i + n; j++, group += weight) {
            if (!weight && inputs->alive[group]) break;
            inputs->alive[group] |= fabs(x[j]) >= NEAR_ZERO || (strip->any_lost && strip->lost[j]);
        }
        place->offset += n;
        if (place->offset == run) next_run(&inputs->walk, place);
    }
}

#endif
