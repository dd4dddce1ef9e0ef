/* The one pass over a tensor's values, block by block: `wexport.stats._kernel`.
 *
 * Everything that is handed in is a buffer, and each is checked against what the block asks of it, so no argument makes a
 * function read or write elsewhere. The lock of the interpreter is released while a block of some length is gone through.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "folds.h"
#include "grid.h"
#include "moments.h"
#include "ordered.h"
#include "portable.h"
#include "stored.h"

#define SAFE 0x1p200 /* float64 beyond it, or below its inverse, is left to the form that scales */
#define WORTH_RELEASING 16384

typedef struct {
    Type type;
    const float *values_of_bytes;
    const uint8_t *stored;
    int64_t n;
    int64_t *table, cells;
    float *narrow;
    double *wide; /* where finite values are kept, or both NULL */
    Units *units;
    Inputs *inputs;
    Grid *grid;
    Moments moments;
    int64_t nan, inf, zeros, negative_zeros;
    int extreme;
} Work;

CLONES static int beyond(const double *RESTRICT x, int64_t n) {
    double most = 0;
    for (int64_t i = 0; i < n; i++) {
        double size = fabs(x[i]) <= DBL_MAX ? fabs(x[i]) : 0;
        most = size > most ? size : most;
    }
    return most > 0x1p127 || (most > 0 && most < 1 / SAFE);
}

CLONES static void run(Work *work, Strip *strip) {
    int64_t kept = 0;
    for (int64_t start = 0; start < work->n; start += STRIP) {
        int64_t n = work->n - start < STRIP ? work->n - start : STRIP;
        const uint8_t *at = work->stored + start * item_size[work->type];
        const void *values = read_strip(strip, work->type, work->values_of_bytes, at, n);
        work->nan += strip->nan;
        work->inf += strip->inf;
        work->zeros += strip->zeros;
        work->negative_zeros += strip->negative_zeros;
        if (work->table) count_cells(strip, work->type, values, work->table, work->cells);
        if (work->inputs) add_inputs(work->inputs, strip);
        if (work->units) add_units(work->units, strip);
        if (work->grid) add_grid(work->grid, strip);
        int64_t finite = n;
        if (strip->any_lost) {
            finite = 0;
            for (int64_t i = 0; i < n; i++)
                if (!strip->lost[i]) strip->x[finite++] = strip->x[i];
        }
        add_moments(&work->moments, strip->x, finite, strip->distance, strip->square);
        if (work->narrow)
            for (int64_t i = 0; i < finite; i++) work->narrow[kept + i] = (float)strip->x[i];
        if (work->wide) memcpy(work->wide + kept, strip->x, (size_t)finite * 8);
        kept += finite;
    }
    if (work->grid) flush(work->grid);
}

/* -- buffers ----------------------------------------------------------------------------------------------------------- */

#define MOST_BUFFERS 24

typedef struct {
    Py_buffer views[MOST_BUFFERS];
    int count;
} Buffers;

static void release(Buffers *buffers) {
    for (int i = 0; i < buffers->count; i++) PyBuffer_Release(&buffers->views[i]);
}

/* The memory of an object that holds at least `least` items of `size` bytes; NULL without an error for None. */
static void *memory(Buffers *buffers, PyObject *object, int64_t size, int64_t least, int64_t *items, int writable) {
    if (object == Py_None || PyErr_Occurred()) return NULL;
    Py_buffer *view = &buffers->views[buffers->count];
    if (PyObject_GetBuffer(object, view, writable ? PyBUF_WRITABLE : PyBUF_SIMPLE) < 0) return NULL;
    buffers->count++;
    if (view->len / size < least || (uintptr_t)view->buf % (uintptr_t)size) {
        PyErr_Format(PyExc_ValueError, "a buffer of %zd bytes is too small or not aligned", view->len);
        return NULL;
    }
    if (items) *items = view->len / size;
    return view->buf;
}

/* Walks are (length, weight) for each dimension. Returns the largest group plus one, or -1 with an error. */
static int64_t walk_of(Walk *walk, const int64_t *plan, int64_t count, int64_t places) {
    int64_t most = 0, size = 1;
    if (count >= 1 && count <= MOST_DIMS) {
        walk->count = (int)count;
        for (int64_t dim = 0; dim < count; dim++) {
            int64_t length = plan[2 * dim], weight = plan[2 * dim + 1];
            if (length < 1 || weight < 0 || size > INT64_MAX / length) goto bad;
            if (weight && length - 1 > (INT64_MAX - 1 - most) / weight) goto bad;
            size *= length;
            most += (length - 1) * weight;
            walk->length[dim] = length;
            walk->weight[dim] = weight;
        }
        if (size >= places) return most + 1;
    }
bad:
    PyErr_SetString(PyExc_ValueError, "a walk does not fit the block");
    return -1;
}

static int units_of(Buffers *buffers, PyObject *given, Units *units, int64_t start, int64_t n) {
    PyObject *plan, *squares, *abs_max, *maximum, *zeros, *lost;
    int64_t items, groups;
    if (!PyArg_ParseTuple(given, "OOOOOO", &plan, &squares, &abs_max, &maximum, &zeros, &lost)) return -1;
    const int64_t *numbers = memory(buffers, plan, 8, 2, &items, 0);
    if (!numbers) return -1;
    groups = walk_of(&units->walk, numbers, items / 2, start + n);
    if (groups < 0) return -1;
    units->squares = memory(buffers, squares, 8, groups, NULL, 1);
    units->abs_max = memory(buffers, abs_max, 8, groups, NULL, 1);
    units->maximum = memory(buffers, maximum, 8, groups, NULL, 1);
    units->zeros = memory(buffers, zeros, 8, groups, NULL, 1);
    units->lost = memory(buffers, lost, 8, groups, NULL, 1);
    if (PyErr_Occurred() || !units->abs_max || !units->lost) return -1;
    seek(&units->walk, &units->place, start);
    return 0;
}

static int inputs_of(Buffers *buffers, PyObject *given, Inputs *inputs, int64_t start, int64_t n) {
    PyObject *plan, *alive;
    int64_t items, groups;
    if (!PyArg_ParseTuple(given, "OO", &plan, &alive)) return -1;
    const int64_t *numbers = memory(buffers, plan, 8, 2, &items, 0);
    if (!numbers) return -1;
    groups = walk_of(&inputs->walk, numbers, items / 2, start + n);
    if (groups < 0) return -1;
    inputs->alive = memory(buffers, alive, 1, groups, NULL, 1);
    if (!inputs->alive) return -1;
    seek(&inputs->walk, &inputs->place, start);
    return 0;
}

/* The plan: inner, then offset, bands, length and stride along, the same across, the number of dimensions, and (length,
 * weight) of each along, then across; the last dimension of both is the row. */
static int grid_of(Buffers *buffers, PyObject *given, Grid *grid, int64_t start, int64_t n) {
    PyObject *plan, *within, *sums, *count, *place_sums, *unit_squares;
    int64_t items, along, across, most, room = 0;
    if (!PyArg_ParseTuple(given, "OOOOOO", &plan, &within, &sums, &count, &place_sums, &unit_squares)) return -1;
    const int64_t *numbers = memory(buffers, plan, 8, 12, &items, 0);
    if (!numbers) return -1;
    grid->inner = numbers[0];
    grid->along_offset = numbers[1], grid->along_bands = numbers[2];
    grid->along_length = numbers[3], grid->along_stride = numbers[4];
    grid->across_offset = numbers[5], grid->across_bands = numbers[6];
    grid->across_length = numbers[7], grid->across_stride = numbers[8];
    int64_t dims = numbers[9];
    if (dims < 1 || dims > MOST_DIMS || items < 10 + 4 * dims) goto bad;
    along = walk_of(&grid->along, numbers + 10, dims, start + n);
    if (along < 0) return -1;
    across = walk_of(&grid->across, numbers + 10 + 2 * dims, dims, start + n);
    if (across < 0) return -1;
    if (grid->inner < 1 || grid->along.length[dims - 1] != grid->inner || grid->across.length[dims - 1] != grid->inner ||
        grid->along.weight[dims - 1] || grid->across.weight[dims - 1])
        goto bad;
    for (int side = 0; side < 2; side++) {
        int64_t offset = numbers[1 + 4 * side], bands = numbers[2 + 4 * side], length = numbers[3 + 4 * side];
        if (offset < 0 || bands < 1 || bands > 64 || length < bands || length > INT64_MAX / 128 || offset >= length ||
            numbers[4 + 4 * side] < 0 || numbers[4 + 4 * side] > 64)
            goto bad;
    }
    grid->within = memory(buffers, within, 8, grid->inner, NULL, 0);
    if (PyErr_Occurred()) return -1;
    most = grid->inner - 1;
    if (grid->within) {
        most = 0;
        for (int64_t i = 0; i < grid->inner; i++) {
            if (grid->within[i] < 0) goto bad;
            if (grid->within[i] > most) most = grid->within[i];
        }
    }
    if (along > grid->along_length - grid->along_offset || most > grid->across_length ||
        across > grid->across_length - grid->across_offset - most)
        goto bad;
    room = (grid->along_bands - 1) * grid->along_stride + (grid->across_bands - 1) * grid->across_stride + 1;
    grid->sums = memory(buffers, sums, 8, room, NULL, 1);
    grid->count = memory(buffers, count, 8, room, NULL, 1);
    if (!grid->sums || !grid->count) {
        if (!PyErr_Occurred()) goto bad;
        return -1;
    }
    grid->place_sums = memory(buffers, place_sums, 8, grid->inner, NULL, 1);
    grid->unit_squares = memory(buffers, unit_squares, 8, grid->inner, NULL, 1);
    if (PyErr_Occurred()) return -1;
    grid->segments = !grid->place_sums;
    if (grid->segments && grid->within) goto bad;
    grid->first = grid->inner;
    seek(&grid->along, &grid->at_along, start);
    seek(&grid->across, &grid->at_across, start);
    return 0;
bad:
    PyErr_SetString(PyExc_ValueError, "the plan of a grid does not fit the block");
    return -1;
}

/* -- functions --------------------------------------------------------------------------------------------------------- */

PyDoc_STRVAR(take_doc,
             "take(type, block, start, values_of_bytes, table, kept, units, inputs, grid)\n--\n\n"
             "Add a block of stored values to counts, cells, units, inputs and grid.\n\n"
             "Returns (nan, inf, zeros, negative_zeros, n, mean, m2, m3, m4, l1, low, high); None if nothing was done\n"
             "because a float64 is so large or all are so small that they have to be scaled.");

static PyObject *take(PyObject *self, PyObject *args) {
    (void)self;
    int type;
    long long start;
    PyObject *block, *bytes, *table, *kept, *units_given, *inputs_given, *grid_given, *answer = NULL;
    if (!PyArg_ParseTuple(args, "iOLOOOOOO", &type, &block, &start, &bytes, &table, &kept, &units_given, &inputs_given,
                          &grid_given))
        return NULL;
    if (type < 0 || type >= TYPES || start < 0 || start > INT64_MAX / 2) {
        PyErr_SetString(PyExc_ValueError, "no such type or place");
        return NULL;
    }
    Buffers buffers = {.count = 0};
    Work work = {.type = (Type)type};
    Units units = {.walk = {0}};
    Inputs inputs = {.walk = {0}};
    Grid grid = {.inner = 0};
    Strip *strip = NULL;
    Py_buffer view;
    if (PyObject_GetBuffer(block, &view, PyBUF_SIMPLE) < 0) return NULL;
    buffers.views[buffers.count++] = view;
    work.stored = view.buf;
    work.n = view.len / item_size[type];
    int double_kept = type == F8 || (type >= I4 && type <= U8);
    if (type == BYTES && !(work.values_of_bytes = memory(&buffers, bytes, 4, 256, NULL, 0))) goto done;
    work.cells = item_size[type] == 1 ? 256 : 65536;
    work.table = memory(&buffers, table, 8, 2 * work.cells, NULL, 1);
    if (PyErr_Occurred()) goto done;
    void *room = memory(&buffers, kept, double_kept ? 8 : 4, work.n, NULL, 1);
    if (PyErr_Occurred()) goto done;
    if (double_kept)
        work.wide = room;
    else
        work.narrow = room;
    if (units_given != Py_None) {
        if (units_of(&buffers, units_given, &units, start, work.n) < 0) goto done;
        work.units = &units;
    }
    if (inputs_given != Py_None) {
        if (inputs_of(&buffers, inputs_given, &inputs, start, work.n) < 0) goto done;
        work.inputs = &inputs;
    }
    if (grid_given != Py_None) {
        if (grid_of(&buffers, grid_given, &grid, start, work.n) < 0) goto done;
        work.grid = &grid;
    }
    strip = malloc(sizeof *strip);
    if (!strip) {
        PyErr_NoMemory();
        goto done;
    }
    PyThreadState *state = work.n > WORTH_RELEASING ? PyEval_SaveThread() : NULL;
    if (type == F8) {
        if ((uintptr_t)work.stored % 8) {
            work.extreme = 0;
            double most = 0; /* unaligned: seen value by value */
            for (int64_t i = 0; i < work.n; i++) {
                double value;
                memcpy(&value, work.stored + 8 * i, 8);
                if (fabs(value) <= DBL_MAX && fabs(value) > most) most = fabs(value);
            }
            work.extreme = most > 0x1p127 || (most > 0 && most < 1 / SAFE);
        } else
            work.extreme = beyond((const double *)work.stored, work.n);
    }
    if (!work.extreme) run(&work, strip);
    if (state) PyEval_RestoreThread(state);
    if (work.extreme) {
        answer = Py_None;
        Py_INCREF(answer);
    } else {
        const Moments *m = &work.moments;
        answer = Py_BuildValue("LLLLLddddddd", (long long)work.nan, (long long)work.inf, (long long)work.zeros,
                               (long long)work.negative_zeros, (long long)m->n, m->mean, m->m2, m->m3, m->m4, m->l1,
                               m->low + 0.0, m->high + 0.0);
    }
done:
    free(strip);
    release(&buffers);
    return answer;
}

PyDoc_STRVAR(ordered_doc, "ordered(values, itemsize, lower, upper, count)\n--\n\n"
                          "Gather ascending finite float32 or float64 into bins. Returns (bins, values near zero).");

static PyObject *ordered(PyObject *self, PyObject *args) {
    (void)self;
    PyObject *values, *lower, *upper, *count, *answer = NULL;
    int size;
    int64_t n = 0, near_zero = 0;
    if (!PyArg_ParseTuple(args, "OiOOO", &values, &size, &lower, &upper, &count)) return NULL;
    if (size != 4 && size != 8) {
        PyErr_SetString(PyExc_ValueError, "neither float32 nor float64");
        return NULL;
    }
    Buffers buffers = {.count = 0};
    const void *at = memory(&buffers, values, size, 0, &n, 0);
    double *low = memory(&buffers, lower, 8, n, NULL, 1), *high = memory(&buffers, upper, 8, n, NULL, 1);
    int64_t *counts = memory(&buffers, count, 8, n, NULL, 1);
    if (!PyErr_Occurred() && at && low && high && counts) {
        int64_t bins = gather(size == 4 ? at : NULL, size == 8 ? at : NULL, n, low, high, counts, &near_zero);
        answer = Py_BuildValue("LL", (long long)bins, (long long)near_zero);
    } else if (!PyErr_Occurred())
        PyErr_SetString(PyExc_ValueError, "a buffer is missing");
    release(&buffers);
    return answer;
}

static PyMethodDef methods[] = {{"take", take, METH_VARARGS, take_doc},
                                {"ordered", ordered, METH_VARARGS, ordered_doc},
                                {NULL, NULL, 0, NULL}};

static PyModuleDef_Slot slots[] = {{0, NULL}};

static struct PyModuleDef definition = {.m_base = PyModuleDef_HEAD_INIT,
                                        .m_name = "_kernel",
                                        .m_doc = "The one pass over a tensor's values, compiled.",
                                        .m_size = 0,
                                        .m_methods = methods,
                                        .m_slots = slots};

PyMODINIT_FUNC PyInit__kernel(void) { return PyModuleDef_Init(&definition); }
