/* Declarations that the files of the extension module `_core_cpython` share; module.c describes it.
 *
 * The interpreter lock is held throughout, except during waits and large copies.
 */
#ifndef SHM_ECHO_BINDING_H
#define SHM_ECHO_BINDING_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>
#define NPY_NO_DEPRECATED_API NPY_2_0_API_VERSION
#define NPY_TARGET_VERSION NPY_2_0_API_VERSION
#define PY_ARRAY_UNIQUE_SYMBOL shm_echo_binding_array_api
#ifndef SHM_ECHO_BINDING_MAIN
#define NO_IMPORT_ARRAY
#endif
#include <numpy/arrayobject.h>

#include "shm_echo/api.h"

extern const she_api *api; /* the C core; NULL until `bind` is called */

/* A wait returns at least ten times a second, to run signal handlers and to notice deaths. */
#define SLICE_NS 100000000

/* Count forks, so that a child recognizes what belongs to its parent. (buffers.c) */
int watch_forks(void);
extern unsigned long forks;

/* The state of a generator of Python's `random`, for the rows of a loader. (random_state.c) */
PyObject *set_random_state(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
/* The fields of a HistSnapshot. (figures.c) */
PyObject *hist_summary(const she_hist_summary *summary);
/* ingress_figures(address): the connections, the sum and the most of the queue depths, the pauses,
 * and two summaries, of rounds and of dwell, or None for those that are empty. (figures.c) */
PyObject *ingress_figures(PyObject *module, PyObject *address);

/* Mapped memory, shared or private. (mapping.c) */
typedef struct {
    PyObject_HEAD
    void *base;
    Py_ssize_t size;
    she_guard *guard; /* NULL if no process can truncate the memory, or without a guard */
} Mapping;

/* True if another process truncated the memory, which is private zeros since then. */
static inline bool mapping_broken(const Mapping *self) {
    return self->guard && she_guard_broken(self->guard);
}

/* Owns the ring handle and keeps the mapping alive. The garbage collector does not track it, so
 * that it is never cleared while arrays or leases live. (handle.c) */
typedef struct {
    PyObject_HEAD
    she_ring *ring;
    Mapping *mapping;
} Handle;

/* Raise RingCorruptedError if the memory was truncated, after `sent` samples were sent. -1 then. */
int handle_check(const Handle *self, Py_ssize_t sent);

/* Of a ragged leaf of the example the table has two entries: the values, with room for the longest
 * row, and the int64 length behind them. */
enum leaf_kind { PLAIN, RAGGED, LENGTH };

/* The length of a row in memory that was handed out to be written, and not written yet. */
#define UNSET_LENGTH INT64_C(-1)

/* One entry of the leaf table. (leaves.c) */
typedef struct {
    PyArray_Descr *descr;
    int ndim;
    npy_intp *dims; /* dims[1..] is the shape; dims[0] is free for a batch's length */
    uint64_t row_bytes;
    enum leaf_kind kind;
    /* Of a RAGGED one: */
    char truncate;  /* longer rows are cut off */
    char *padding;  /* the bytes of the element that fills the memory behind a row; NULL: zeros */
    PyObject *path; /* for messages */
} Leaf;

void leaves_free(Leaf *leaves, Py_ssize_t n);
/* Parse a tuple of (dtype, shape). NULL with an exception on failure. */
Leaf *leaves_parse(PyObject *table, Py_ssize_t *count);
/* An array over memory in the ring, which keeps `base` alive; if stacked, with a leading axis of
 * length `rows`. */
PyObject *leaf_view(const Leaf *leaf, void *data, bool stacked, npy_intp rows, bool writable,
                    PyObject *base);

/* The steps to flatten a tree of plain dicts, lists and tuples. (plan.c) */
typedef struct Plan {
    PyTypeObject *container; /* NULL for a leaf */
    char ragged;             /* it is a ragged leaf: it takes two places of the list */
    PyObject *keys;          /* of a dict, else NULL */
    Py_ssize_t count;
    struct Plan *children;
} Plan;

void plan_free(Plan *plan);
/* Parse () as a leaf, (None,) as a ragged one, (type, keys or None, children) as a node: see
 * shm_echo.spec.structure. */
int plan_parse(PyObject *from, Plan *plan);
/* Put the leaves of `tree` into the list, from *next on, with a None behind each ragged one. False
 * if the tree does not fit; the comparison of a key may then have set an exception. */
bool plan_walk(const Plan *plan, PyObject *tree, PyObject *list, Py_ssize_t *next);
/* Return true if the leaves of `tree` are the very objects of the tuple `leaves`, from *next on.
 * False may leave an exception, as in plan_walk. A tree with a ragged leaf never matches. */
bool plan_matches(const Plan *plan, PyObject *tree, PyObject *leaves, Py_ssize_t *next);

extern PyTypeObject Mapping_Type, Handle_Type, Sender_Type, Slot_Type, Run_Type, Receiver_Type,
    Lease_Type, TcpSender_Type;

#endif
