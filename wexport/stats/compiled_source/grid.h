/* Sums of squares per block of the grid, see grid.py, whose words these are.
 *
 * The stream is rows of `inner` places that lie on one side of the grid ("across"), each row at one place of the other
 * ("along"). Squares are summed up place by place until the band along changes, and only then put into bands.
 */
#ifndef WEXPORT_GRID_H
#define WEXPORT_GRID_H

#include "folds.h"

#define LONG_SEGMENT 64

typedef struct {
    Walk along, across; /* of the dimensions outside of a row: what they add to the index of a side */
    int64_t inner;
    int64_t along_offset, along_bands, along_length, along_stride;
    int64_t across_offset, across_bands, across_length, across_stride;
    const int64_t *within; /* what a place within a row adds to the index across; NULL where it is the place itself */
    int segments;          /* rows are long enough to be summed up band by band at once */
    double *sums, *count;  /* of the blocks */
    double *place_sums;    /* of the places of a row */
    double *unit_squares;  /* takes the sums of places too, where these are the units; or NULL */
    Place at_along, at_across;
    int64_t held_along, held_across, first, last; /* what `place_sums` holds, and of which places */
} Grid;

INLINE int64_t index_across(const Grid *grid, int64_t base, int64_t place) {
    return base + (grid->within ? grid->within[place] : place);
}

INLINE void flush(Grid *grid) {
    if (grid->first >= grid->last) return;
    double *RESTRICT sums = grid->sums + grid->held_along * grid->along_stride;
    int64_t band = 0, end = -1;
    for (int64_t place = grid->first; place < grid->last; place++) {
        int64_t index = index_across(grid, grid->held_across, place);
        if (grid->within || index >= end) {
            band = index * grid->across_bands / grid->across_length;
            end = ((band + 1) * grid->across_length + grid->across_bands - 1) / grid->across_bands;
        }
        sums[band * grid->across_stride] += grid->place_sums[place];
    }
    if (grid->unit_squares)
        for (int64_t place = grid->first; place < grid->last; place++)
            grid->unit_squares[place] += grid->place_sums[place];
    memset(grid->place_sums + grid->first, 0, (size_t)(grid->last - grid->first) * 8);
    grid->first = grid->inner;
    grid->last = 0;
}

INLINE void add_grid_row(Grid *grid, const Strip *strip, int64_t from, int64_t n, int64_t offset, int64_t along,
                         int64_t across) {
    const double *RESTRICT x = strip->x + from;
    if (strip->any_lost)
        for (int64_t i = 0; i < n; i++)
            if (strip->lost[from + i]) {
                int64_t band = index_across(grid, across, offset + i) * grid->across_bands / grid->across_length;
                grid->count[along * grid->along_stride + band * grid->across_stride] -= 1;
            }
    if (grid->segments) {
        for (int64_t i = 0; i < n;) {
            int64_t index = across + offset + i, band = index * grid->across_bands / grid->across_length;
            int64_t end = ((band + 1) * grid->across_length + grid->across_bands - 1) / grid->across_bands;
            int64_t length = end - index < n - i ? end - index : n - i;
            grid->sums[along * grid->along_stride + band * grid->across_stride] += squares_total(x + i, length);
            i += length;
        }
        return;
    }
    if (grid->held_along != along || grid->held_across != across) flush(grid);
    grid->held_along = along;
    grid->held_across = across;
    if (offset < grid->first) grid->first = offset;
    if (offset + n > grid->last) grid->last = offset + n;
    double *RESTRICT sums = grid->place_sums + offset;
    for (int64_t i = 0; i < n; i++) sums[i] += x[i] * x[i];
}

INLINE void add_grid(Grid *grid, const Strip *strip) {
    int64_t n;
    for (int64_t i = 0; i < strip->n; i += n) {
        int64_t offset = grid->at_along.offset;
        n = grid->inner - offset < strip->n - i ? grid->inner - offset : strip->n - i;
        int64_t along = (grid->along_offset + grid->at_along.base) * grid->along_bands / grid->along_length;
        add_grid_row(grid, strip, i, n, offset, along, grid->across_offset + grid->at_across.base);
        grid->at_along.offset = grid->at_across.offset = offset + n;
        if (offset + n == grid->inner) {
            next_run(&grid->along, &grid->at_along);
            next_run(&grid->across, &grid->at_across);
        }
    }
}

#endif
