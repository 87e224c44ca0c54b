/* What the files of the `_core_cpython` extension module share: see module.c for what it is.
 *
 * The interpreter lock is held throughout but for waits and for large copies.
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

extern const she_api *api; /* the C core, once `bind` has been called */

#define SLICE_NS 100000000 /* a wait returns at least this often, for signals and deaths */

/* Owns the ring handle and keeps the mapping. Not tracked by the garbage collector, so that nothing
 * clears it while arrays or leases live. (handle.c) */
typedef struct {
    PyObject_HEAD
    she_ring *ring;
    Py_buffer mapping;
} Handle;

/* One row of the leaf table. (leaves.c) */
typedef struct {
    PyArray_Descr *descr;
    int ndim;
    npy_intp *dims; /* one more in front, free for a batch's length: dims[1..] = shape */
    uint64_t row_bytes;
} Leaf;

void leaves_free(Leaf *leaves, Py_ssize_t n);
/* From a tuple of (dtype, shape); NULL with an exception. */
Leaf *leaves_parse(PyObject *table, Py_ssize_t *count);
/* A view of memory in the ring that keeps `base` alive; stacked: with `rows` as leading axis. */
PyObject *leaf_view(const Leaf *leaf, void *data, bool stacked, npy_intp rows, bool writable,
                    PyObject *base);

/* How to take apart a tree of plain dicts, lists and tuples. (plan.c) */
typedef struct Plan {
    PyTypeObject *container; /* NULL: a leaf */
    PyObject *keys;          /* of a dict */
    Py_ssize_t count;
    struct Plan *children;
} Plan;

void plan_free(Plan *plan);
/* From () for a leaf, (type, keys or None, children) for a node: see shm_echo.spec.structure. */
int plan_parse(PyObject *from, Plan *plan);
/* Put the leaves of `tree` into the list from *next on. False: it does not fit (an exception may be
 * set, from the comparison of a key). */
bool plan_walk(const Plan *plan, PyObject *tree, PyObject *list, Py_ssize_t *next);

extern PyTypeObject Handle_Type, Sender_Type, Receiver_Type, Lease_Type;

#endif
