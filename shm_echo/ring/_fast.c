/* The hot calls between Python and the ring, in one crossing each.
 *
 * This is the one file that needs Python.h and NumPy's C API. A small sample costs about as much as
 * three calls through cffi, so `send` (look at the leaves, claim, copy, commit) and `take` (an array
 * per leaf) are one call each; and a lease must end in the very moment in which the last array over it
 * dies, which takes a C destructor. Everything that happens less than once per batch goes through
 * cffi. The ring's code is not linked in again: the table of csrc/api.c is handed over by `bind`.
 *
 * The interpreter lock is held throughout but for waits and for large copies.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>
#define NPY_NO_DEPRECATED_API NPY_2_0_API_VERSION
#define NPY_TARGET_VERSION NPY_2_0_API_VERSION
#include <numpy/arrayobject.h>

#include "shm_echo/api.h"

static const she_api *api;

#define SLICE_NS 100000000       /* a wait returns at least this often, for signals and deaths */
#define CHECK_EVERY_NS 100000000 /* a sender that never waits looks this often whether the server lives */
#define UNLOCK_BYTES 65536       /* copies from this size on let other threads run */
#define CHUNK 256                /* send_batch claims at most so many slots before it commits them */
#define CHUNK_BYTES (1u << 20)   /* ... and at most so many bytes, but for one sample */

/* Results beyond those of ring.h, as `refuse` gets them. */
enum { FAST_GONE = 100 };

/* ---- Handle: owns the ring handle and keeps the mapping ---------------------------------------- */

/* Not tracked by the garbage collector, so that nothing clears it while arrays or leases live. */
typedef struct {
    PyObject_HEAD
    she_ring *ring;
    Py_buffer mapping;
} Handle;

static PyTypeObject Handle_Type;

static PyObject *Handle_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"ring", "mapping", NULL};
    unsigned long long address;
    PyObject *mapping;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "KO", names, &address, &mapping))
        return NULL;
    Handle *self = (Handle *)type->tp_alloc(type, 0);
    if (!self)
        return NULL;
    if (PyObject_GetBuffer(mapping, &self->mapping, PyBUF_WRITABLE) < 0) {
        self->mapping.obj = NULL;
        Py_DECREF(self);
        return NULL;
    }
    self->ring = (she_ring *)(uintptr_t)address;
    return (PyObject *)self;
}

static void Handle_dealloc(Handle *self) {
    if (self->ring)
        api->ring_free(self->ring);
    if (self->mapping.obj)
        PyBuffer_Release(&self->mapping);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static PyTypeObject Handle_Type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "shm_echo.ring._fast.Handle",
    .tp_basicsize = sizeof(Handle),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = Handle_new,
    .tp_dealloc = (destructor)Handle_dealloc,
};

/* ---- the leaf table ---------------------------------------------------------------------------- */

typedef struct {
    PyArray_Descr *descr;
    int ndim;
    npy_intp *dims; /* one more in front, free for a batch's length: dims[0] = n, dims[1..] = shape */
    uint64_t row_bytes;
} Leaf;

static void leaves_free(Leaf *leaves, Py_ssize_t n) {
    for (Py_ssize_t i = 0; leaves && i < n; i++) {
        Py_XDECREF(leaves[i].descr);
        PyMem_Free(leaves[i].dims);
    }
    PyMem_Free(leaves);
}

/* From a tuple of (dtype, shape). */
static Leaf *leaves_parse(PyObject *table, Py_ssize_t *count) {
    if (!PyTuple_Check(table)) {
        PyErr_SetString(PyExc_TypeError, "leaves must be a tuple of (dtype, shape)");
        return NULL;
    }
    Py_ssize_t n = PyTuple_GET_SIZE(table);
    Leaf *leaves = PyMem_Calloc((size_t)n, sizeof *leaves);
    if (!leaves) {
        PyErr_NoMemory();
        return NULL;
    }
    for (Py_ssize_t i = 0; i < n; i++) {
        PyObject *descr, *shape;
        if (!PyArg_ParseTuple(PyTuple_GET_ITEM(table, i), "O!O!", &PyArrayDescr_Type, &descr,
                              &PyTuple_Type, &shape))
            goto fail;
        Leaf *leaf = &leaves[i];
        leaf->descr = (PyArray_Descr *)Py_NewRef(descr);
        leaf->ndim = (int)PyTuple_GET_SIZE(shape);
        if (leaf->ndim >= NPY_MAXDIMS) {
            PyErr_SetString(PyExc_ValueError, "a leaf has too many dimensions");
            goto fail;
        }
        leaf->dims = PyMem_Calloc((size_t)leaf->ndim + 1, sizeof *leaf->dims);
        if (!leaf->dims) {
            PyErr_NoMemory();
            goto fail;
        }
        leaf->row_bytes = (uint64_t)PyDataType_ELSIZE(leaf->descr);
        for (int d = 0; d < leaf->ndim; d++) {
            leaf->dims[d + 1] = PyLong_AsSsize_t(PyTuple_GET_ITEM(shape, d));
            if (leaf->dims[d + 1] == -1 && PyErr_Occurred())
                goto fail;
            leaf->row_bytes *= (uint64_t)leaf->dims[d + 1];
        }
    }
    *count = n;
    return leaves;
fail:
    leaves_free(leaves, n);
    return NULL;
}

/* A view of memory in the ring that keeps `base` alive. */
static PyObject *view(const Leaf *leaf, void *data, bool stacked, npy_intp rows, bool writable,
                      PyObject *base) {
    npy_intp dims[NPY_MAXDIMS + 1];
    int ndim = leaf->ndim + stacked;
    memcpy(dims, leaf->dims + !stacked, (size_t)ndim * sizeof *dims);
    if (stacked)
        dims[0] = rows;
    Py_INCREF(leaf->descr);
    PyObject *array = PyArray_NewFromDescr(&PyArray_Type, leaf->descr, ndim, dims, NULL, data,
                                           writable ? NPY_ARRAY_WRITEABLE : 0, NULL);
    if (!array)
        return NULL;
    if (base && PyArray_SetBaseObject((PyArrayObject *)array, Py_NewRef(base)) < 0) {
        Py_DECREF(array);
        return NULL;
    }
    return array;
}

/* ---- walking trees ----------------------------------------------------------------------------- */

/* How to take apart a tree of plain dicts, lists and tuples. A small send spends four fifths of its
 * time in optree's flatten_up_to; for these, the usual ones, a walk with the known keys is enough.
 * Anything that does not fit exactly is left to the check, which knows all the rules. */
typedef struct Plan {
    PyTypeObject *container; /* NULL: a leaf */
    PyObject *keys;          /* of a dict */
    Py_ssize_t count;
    struct Plan *children;
} Plan;

static void plan_free(Plan *plan) {
    for (Py_ssize_t i = 0; i < plan->count; i++)
        plan_free(&plan->children[i]);
    PyMem_Free(plan->children);
    Py_XDECREF(plan->keys);
    plan->children = NULL;
    plan->keys = NULL;
    plan->count = 0;
}

/* From () for a leaf, (type, keys or None, children) for a node: see shm_echo.spec.structure. */
static int plan_parse(PyObject *from, Plan *plan) {
    PyObject *container, *keys, *children;
    if (PyTuple_CheckExact(from) && PyTuple_GET_SIZE(from) == 0)
        return 0;
    if (!PyArg_ParseTuple(from, "OOO!", &container, &keys, &PyTuple_Type, &children))
        return -1;
    plan->container = (PyTypeObject *)container; /* dict, list or tuple: they live for ever */
    Py_ssize_t count = PyTuple_GET_SIZE(children);
    if (plan->container == &PyDict_Type &&
        (!PyTuple_CheckExact(keys) || PyTuple_GET_SIZE(keys) != count)) {
        PyErr_SetString(PyExc_ValueError, "a dict needs as many keys as children");
        return -1;
    }
    plan->keys = plan->container == &PyDict_Type ? Py_NewRef(keys) : NULL;
    plan->children = PyMem_Calloc(count ? (size_t)count : 1, sizeof *plan->children);
    if (!plan->children) {
        PyErr_NoMemory();
        return -1;
    }
    plan->count = count;
    for (Py_ssize_t i = 0; i < count; i++)
        if (plan_parse(PyTuple_GET_ITEM(children, i), &plan->children[i]) < 0)
            return -1;
    return 0;
}

/* Append the leaves of `tree` to the list from *next on. False: it does not fit (an exception may be
 * set, from the comparison of a key). */
static bool walk(const Plan *plan, PyObject *tree, PyObject *list, Py_ssize_t *next) {
    if (!plan->container) {
        if (*next >= PyList_GET_SIZE(list))
            return false;
        PyList_SET_ITEM(list, (*next)++, Py_NewRef(tree));
        return true;
    }
    if (Py_TYPE(tree) != plan->container || PyObject_Size(tree) != plan->count)
        return false;
    for (Py_ssize_t i = 0; i < plan->count; i++) {
        PyObject *child = NULL;
        if (plan->keys)
            child = PyDict_GetItemWithError(tree, PyTuple_GET_ITEM(plan->keys, i));
        else if (PyTuple_CheckExact(tree))
            child = PyTuple_GET_ITEM(tree, i);
        else if (i < PyList_GET_SIZE(tree)) /* comparing keys may run code that changes a list */
            child = PyList_GET_ITEM(tree, i);
        if (!child)
            return false;
        Py_INCREF(child);
        bool walked = walk(&plan->children[i], child, list, next);
        Py_DECREF(child);
        if (!walked)
            return false;
    }
    return true;
}

/* ---- Sender: a producer ------------------------------------------------------------------------ */

typedef struct {
    PyObject_HEAD
    Handle *handle;
    she_producer *producer;
    Leaf *leaves;
    Py_ssize_t num_leaves;
    uint64_t sample_bytes;
    bool plain;        /* the plan says how to walk; otherwise `flatten` does it */
    Plan plan;
    PyObject *flatten; /* tree -> list of leaves, fast, or any exception */
    PyObject *check;   /* (tree, stacked) -> list of exact arrays, or the exception for the user */
    PyObject *refuse;  /* (result, sent, timeout) -> raises */
    int server;        /* pidfd of the server, or -1 */
    uint64_t checked_ns;
    Py_ssize_t busy;   /* calls in progress */
    char retired;      /* inherited by a fork: the claim identity is the parent's */
} Sender;

static int Sender_traverse(Sender *self, visitproc visit, void *arg) {
    Py_VISIT(self->flatten);
    Py_VISIT(self->check);
    Py_VISIT(self->refuse);
    return 0;
}

static int Sender_clear(Sender *self) {
    Py_CLEAR(self->flatten);
    Py_CLEAR(self->check);
    Py_CLEAR(self->refuse);
    return 0;
}

static void Sender_dealloc(Sender *self) {
    PyObject_GC_UnTrack(self);
    Sender_clear(self);
    plan_free(&self->plan);
    leaves_free(self->leaves, self->num_leaves);
    if (self->producer)
        api->producer_free(self->producer);
    Py_XDECREF(self->handle);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static PyObject *Sender_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"handle", "owner",  "leaves", "plan", "flatten",
                            "check",  "refuse", "server", NULL};
    PyObject *handle, *table, *plan, *flatten, *check, *refuse;
    unsigned int owner;
    int server;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!IOOOOOi", names, &Handle_Type, &handle,
                                     &owner, &table, &plan, &flatten, &check, &refuse, &server))
        return NULL;
    Sender *self = (Sender *)type->tp_alloc(type, 0);
    if (!self)
        return NULL;
    self->handle = (Handle *)Py_NewRef(handle);
    self->flatten = Py_NewRef(flatten);
    self->check = Py_NewRef(check);
    self->refuse = Py_NewRef(refuse);
    self->server = server;
    self->plain = plan != Py_None;
    if (self->plain && plan_parse(plan, &self->plan) < 0)
        goto fail;
    self->leaves = leaves_parse(table, &self->num_leaves);
    if (!self->leaves)
        goto fail;
    if ((uint32_t)self->num_leaves != self->handle->ring->num_leaves) {
        PyErr_SetString(PyExc_ValueError, "the ring has another number of leaves");
        goto fail;
    }
    for (Py_ssize_t i = 0; i < self->num_leaves; i++) {
        if (self->leaves[i].row_bytes != self->handle->ring->leaves[i].row_bytes) {
            PyErr_SetString(PyExc_ValueError, "the ring has another row size");
            goto fail;
        }
        self->sample_bytes += self->leaves[i].row_bytes;
    }
    if (api->producer_open(self->handle->ring, owner, &self->producer) != SHE_OK) {
        PyErr_SetString(PyExc_ValueError, "no such owner id, or no memory");
        goto fail;
    }
    return (PyObject *)self;
fail:
    Py_DECREF(self);
    return NULL;
}

/* Let `refuse` raise what the result means; returns NULL. */
static PyObject *refused(Sender *self, int result, Py_ssize_t sent, PyObject *timeout) {
    PyObject *none = PyObject_CallFunction(self->refuse, "inO", result, sent, timeout);
    if (none) {
        Py_DECREF(none);
        PyErr_Format(PyExc_SystemError, "result %d was not refused", result);
    }
    return NULL;
}

/* An exception that leaves a send_batch says how many of its samples were sent. */
static void note_sent(Py_ssize_t sent) {
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    PyErr_NormalizeException(&type, &value, &trace);
    PyObject *number = PyLong_FromSsize_t(sent);
    if (!number || !value || PyObject_SetAttrString(value, "sent", number) < 0)
        PyErr_Clear(); /* an exception without attributes stays as it is */
    Py_XDECREF(number);
    PyErr_Restore(type, value, trace);
}

/* timeout: None waits for ever, 0 polls. Sets *deadline to 0 for "for ever". */
static int parse_timeout(PyObject *timeout, uint64_t *deadline) {
    *deadline = 0;
    if (timeout == Py_None)
        return 0;
    double seconds = PyFloat_AsDouble(timeout);
    if (seconds == -1.0 && PyErr_Occurred())
        return -1;
    if (!(seconds >= 0)) {
        PyErr_Format(PyExc_ValueError, "timeout must be None or a number >= 0, not %R", timeout);
        return -1;
    }
    if (seconds < 1e9)
        *deadline = api->now_ns() + (uint64_t)(seconds * 1e9);
    return 0;
}

static int64_t slice_until(uint64_t deadline) {
    if (!deadline)
        return SLICE_NS;
    uint64_t now = api->now_ns();
    if (now >= deadline)
        return 0;
    return deadline - now < SLICE_NS ? (int64_t)(deadline - now) : SLICE_NS;
}

/* Now and then, even when nothing blocks: is the server alive; and tell it that we are. */
static int pulse(Sender *self) {
    uint64_t now = api->now_coarse_ns();
    if (now - self->checked_ns < CHECK_EVERY_NS)
        return SHE_OK;
    self->checked_ns = now;
    api->seen(self->producer, now);
    return self->server >= 0 && api->process_gone(self->server) ? FAST_GONE : SHE_OK;
}

/* Claim a slot, waiting for one if need be. -1: a Python exception is set. */
static int claim(Sender *self, uint64_t deadline, uint64_t *position) {
    int rc = pulse(self);
    uint64_t since = 0;
    while (rc == SHE_OK) {
        uint32_t ticket = she_claim_ticket(self->producer);
        rc = api->claim(self->producer, position);
        if (rc != SHE_FULL)
            break;
        int64_t slice = slice_until(deadline);
        if (slice == 0) {
            rc = SHE_TIMEOUT;
            break;
        }
        if (!since)
            since = api->blocked(self->producer);
        Py_BEGIN_ALLOW_THREADS
        rc = api->claim_wait(self->producer, ticket, slice);
        Py_END_ALLOW_THREADS
        if (rc == SHE_STOPPED || rc == SHE_CLOSED || rc == SHE_REVOKED)
            break;
        rc = self->server >= 0 && api->process_gone(self->server) ? FAST_GONE : SHE_OK;
        if (PyErr_CheckSignals() < 0)
            rc = -1;
    }
    if (since)
        api->unblocked(self->producer, since);
    return rc;
}

static bool same_type(const Leaf *leaf, PyArrayObject *array) {
    PyArray_Descr *descr = PyArray_DESCR(array);
    return descr == leaf->descr || PyArray_EquivTypes(descr, leaf->descr);
}

/* Exactly this leaf's dtype and shape, with `stacked` more dimensions in front. */
static bool fits(const Leaf *leaf, PyObject *object, int stacked) {
    if (!PyArray_CheckExact(object))
        return false;
    PyArrayObject *array = (PyArrayObject *)object;
    return PyArray_NDIM(array) == leaf->ndim + stacked && same_type(leaf, array) &&
           memcmp(PyArray_DIMS(array) + stacked, leaf->dims + 1,
                  (size_t)leaf->ndim * sizeof(npy_intp)) == 0;
}

/* The leaves of `tree` as a list of arrays that fit, or NULL with the exception for the user. */
static PyObject *leaves_of(Sender *self, PyObject *tree, int stacked) {
    PyObject *list;
    if (self->plain) {
        Py_ssize_t found = 0;
        list = PyList_New(self->num_leaves);
        if (!list)
            return NULL;
        if (!walk(&self->plan, tree, list, &found) || found != self->num_leaves)
            Py_CLEAR(list);
    } else {
        list = PyObject_CallOneArg(self->flatten, tree);
    }
    if (!list && PyErr_Occurred()) {
        if (!PyErr_ExceptionMatches(PyExc_Exception))
            return NULL; /* KeyboardInterrupt, SystemExit */
        PyErr_Clear();
    } else if (list && PyList_CheckExact(list) && PyList_GET_SIZE(list) == self->num_leaves) {
        Py_ssize_t i = 0;
        while (i < self->num_leaves && fits(&self->leaves[i], PyList_GET_ITEM(list, i), stacked))
            i++;
        if (i == self->num_leaves)
            return list;
    }
    Py_XDECREF(list);
    list = PyObject_CallFunctionObjArgs(self->check, tree, stacked ? Py_True : Py_False, NULL);
    if (!list)
        return NULL;
    bool good = PyList_CheckExact(list) && PyList_GET_SIZE(list) == self->num_leaves;
    for (Py_ssize_t i = 0; good && i < self->num_leaves; i++)
        good = fits(&self->leaves[i], PyList_GET_ITEM(list, i), stacked);
    if (good)
        return list;
    Py_DECREF(list);
    PyErr_SetString(PyExc_SystemError, "the check of a sample let through what does not fit");
    return NULL;
}

/* Copy one sample into its slot. Leaves that are not C-contiguous go through NumPy. */
static int copy_sample(Sender *self, PyObject *list, uint64_t position) {
    she_ring *ring = self->handle->ring;
    bool unlock = self->sample_bytes >= UNLOCK_BYTES;
    PyThreadState *state = NULL;
    uint64_t start = ring->stamps ? api->now_ns() : 0;
    for (Py_ssize_t i = 0; i < self->num_leaves; i++) {
        PyArrayObject *array = (PyArrayObject *)PyList_GET_ITEM(list, i);
        if (PyArray_IS_C_CONTIGUOUS(array))
            continue;
        PyObject *row = view(&self->leaves[i], she_row(ring, (uint32_t)i, position), false, 0, true,
                             (PyObject *)self->handle);
        int failed = !row || PyArray_CopyInto((PyArrayObject *)row, array) < 0;
        Py_XDECREF(row);
        if (failed)
            return -1;
    }
    if (unlock)
        state = PyEval_SaveThread();
    for (Py_ssize_t i = 0; i < self->num_leaves; i++) {
        PyArrayObject *array = (PyArrayObject *)PyList_GET_ITEM(list, i);
        if (PyArray_IS_C_CONTIGUOUS(array))
            api->copy(she_row(ring, (uint32_t)i, position), PyArray_DATA(array),
                      self->leaves[i].row_bytes);
    }
    if (unlock)
        PyEval_RestoreThread(state);
    if (start)
        api->copied(self->producer, api->now_ns() - start);
    return 0;
}

static int parse_send(const char *name, PyObject *const *args, Py_ssize_t nargs, PyObject **timeout) {
    if (nargs < 1 || nargs > 2) {
        PyErr_Format(PyExc_TypeError, "%s takes a tree and a timeout", name);
        return -1;
    }
    *timeout = nargs == 2 ? args[1] : Py_None;
    return 0;
}

static bool usable(Sender *self) {
    if (!self->retired)
        return true;
    (void)refused(self, SHE_STOPPED, 0, Py_None);
    return false;
}

static PyObject *Sender_send(Sender *self, PyObject *const *args, Py_ssize_t nargs) {
    PyObject *timeout;
    uint64_t deadline, position;
    if (parse_send("send", args, nargs, &timeout) < 0 || parse_timeout(timeout, &deadline) < 0 ||
        !usable(self))
        return NULL;
    PyObject *list = leaves_of(self, args[0], 0);
    if (!list)
        return NULL;
    self->busy++;
    PyObject *result = NULL;
    int rc = claim(self, deadline, &position);
    if (rc == SHE_OK) {
        if (copy_sample(self, list, position) < 0)
            api->abort(self->producer, position);
        else if ((rc = api->commit(self->producer, position)) == SHE_OK)
            result = Py_NewRef(Py_None);
    }
    self->busy--;
    Py_DECREF(list);
    if (result || PyErr_Occurred())
        return result;
    return refused(self, rc, 0, timeout);
}

/* Copy `n` samples, from row `first` of each stacked leaf, into the claimed positions: a memcpy per
 * leaf for each run of neighbouring slots. */
static void copy_chunk(Sender *self, PyObject *list, uint64_t first, const uint64_t *positions,
                       uint64_t n) {
    she_ring *ring = self->handle->ring;
    for (uint64_t start = 0; start < n;) {
        uint64_t run = 1, slot = positions[start] % ring->capacity;
        while (start + run < n && positions[start + run] == positions[start] + run &&
               slot + run < ring->capacity)
            run++;
        for (Py_ssize_t i = 0; i < self->num_leaves; i++) {
            uint64_t bytes = self->leaves[i].row_bytes;
            const char *from = PyArray_BYTES((PyArrayObject *)PyList_GET_ITEM(list, i));
            api->copy(she_row(ring, (uint32_t)i, positions[start]), from + (first + start) * bytes,
                      run * bytes);
        }
        start += run;
    }
}

static int make_contiguous(PyObject *list) {
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list); i++) {
        PyArrayObject *array = (PyArrayObject *)PyList_GET_ITEM(list, i);
        if (PyArray_IS_C_CONTIGUOUS(array))
            continue;
        PyObject *copy = PyArray_NewCopy(array, NPY_CORDER);
        if (!copy || PyList_SetItem(list, i, copy) < 0)
            return -1;
    }
    return 0;
}

static PyObject *Sender_send_batch(Sender *self, PyObject *const *args, Py_ssize_t nargs) {
    PyObject *timeout;
    uint64_t deadline, positions[CHUNK];
    if (parse_send("send_batch", args, nargs, &timeout) < 0 ||
        parse_timeout(timeout, &deadline) < 0 || !usable(self))
        return NULL;
    PyObject *list = leaves_of(self, args[0], 1);
    if (!list)
        return NULL;
    npy_intp total = PyArray_DIM((PyArrayObject *)PyList_GET_ITEM(list, 0), 0);
    for (Py_ssize_t i = 1; i < self->num_leaves; i++) {
        if (PyArray_DIM((PyArrayObject *)PyList_GET_ITEM(list, i), 0) == total)
            continue;
        /* The check says which leaf disagrees. */
        Py_DECREF(list);
        list = PyObject_CallFunctionObjArgs(self->check, args[0], Py_True, NULL);
        Py_XDECREF(list);
        if (list)
            PyErr_SetString(PyExc_SystemError, "the check of a batch let through unequal lengths");
        return NULL;
    }
    if (make_contiguous(list) < 0) {
        Py_DECREF(list);
        return NULL;
    }
    uint64_t most = self->sample_bytes ? CHUNK_BYTES / self->sample_bytes : CHUNK;
    most = most < 1 ? 1 : most > CHUNK ? CHUNK : most;
    uint64_t sent = 0, count = (uint64_t)total;
    int rc = SHE_OK;
    self->busy++;
    while (sent < count && rc == SHE_OK) {
        uint64_t n = 0;
        /* The first claim may wait; with slots in hand we never do, so that they are not held up. */
        rc = claim(self, deadline, &positions[0]);
        if (rc != SHE_OK)
            break;
        for (n = 1; n < most && sent + n < count; n++)
            if (api->claim(self->producer, &positions[n]) != SHE_OK)
                break;
        uint64_t start = self->handle->ring->stamps ? api->now_ns() : 0;
        if (n * self->sample_bytes >= UNLOCK_BYTES) {
            Py_BEGIN_ALLOW_THREADS
            copy_chunk(self, list, sent, positions, n);
            Py_END_ALLOW_THREADS
        } else {
            copy_chunk(self, list, sent, positions, n);
        }
        if (start)
            api->copied(self->producer, api->now_ns() - start);
        for (uint64_t i = 0; i < n && rc == SHE_OK; i++)
            if ((rc = api->commit(self->producer, positions[i])) == SHE_OK)
                sent++;
    }
    self->busy--;
    Py_DECREF(list);
    if (rc == SHE_OK)
        return PyLong_FromUnsignedLongLong(sent);
    if (rc != -1)
        (void)refused(self, rc, (Py_ssize_t)sent, timeout);
    note_sent((Py_ssize_t)sent);
    return NULL;
}

static PyObject *Sender_reserve(Sender *self, PyObject *timeout) {
    uint64_t deadline, position;
    if (parse_timeout(timeout, &deadline) < 0 || !usable(self))
        return NULL;
    self->busy++;
    int rc = claim(self, deadline, &position);
    self->busy--;
    if (rc == -1)
        return NULL;
    if (rc != SHE_OK)
        return refused(self, rc, 0, timeout);
    PyObject *list = PyList_New(self->num_leaves);
    for (Py_ssize_t i = 0; list && i < self->num_leaves; i++) {
        PyObject *row = view(&self->leaves[i], she_row(self->handle->ring, (uint32_t)i, position),
                             false, 0, true, (PyObject *)self->handle);
        if (row)
            PyList_SET_ITEM(list, i, row);
        else
            Py_CLEAR(list);
    }
    if (!list) {
        api->abort(self->producer, position);
        return NULL;
    }
    return Py_BuildValue("KN", (unsigned long long)position, list);
}

static PyObject *Sender_commit(Sender *self, PyObject *arg) {
    unsigned long long position = PyLong_AsUnsignedLongLong(arg);
    if ((position == (unsigned long long)-1 && PyErr_Occurred()) || !usable(self))
        return NULL;
    int rc = api->commit(self->producer, position);
    if (rc != SHE_OK)
        return refused(self, rc, 0, Py_None);
    Py_RETURN_NONE;
}

static PyObject *Sender_abort(Sender *self, PyObject *arg) {
    unsigned long long position = PyLong_AsUnsignedLongLong(arg);
    if (position == (unsigned long long)-1 && PyErr_Occurred())
        return NULL;
    if (!self->retired) /* after a fork the claim is the parent's */
        api->abort(self->producer, position);
    Py_RETURN_NONE;
}

/* Wait until everything that was committed has been handed out. */
static PyObject *Sender_wait(Sender *self, PyObject *timeout) {
    uint64_t deadline;
    if (parse_timeout(timeout, &deadline) < 0 || !usable(self))
        return NULL;
    self->busy++;
    int rc = api->drained(self->producer);
    while (rc != SHE_OK) {
        int64_t slice = slice_until(deadline);
        if (slice == 0) {
            rc = SHE_TIMEOUT;
            break;
        }
        Py_BEGIN_ALLOW_THREADS
        rc = api->drain_wait(self->producer, slice);
        Py_END_ALLOW_THREADS
        if (rc == SHE_OK || rc == SHE_STOPPED || rc == SHE_CLOSED || rc == SHE_REVOKED)
            break;
        if (self->server >= 0 && api->process_gone(self->server)) {
            rc = FAST_GONE;
            break;
        }
        if (PyErr_CheckSignals() < 0) {
            rc = -1;
            break;
        }
    }
    self->busy--;
    if (rc == -1)
        return NULL;
    if (rc != SHE_OK)
        return refused(self, rc, 0, timeout);
    Py_RETURN_NONE;
}

static PyObject *Sender_stop(Sender *self, PyObject *Py_UNUSED(ignored)) {
    if (!self->retired)
        api->producer_stop(self->producer);
    Py_RETURN_NONE;
}

static PyObject *Sender_retire(Sender *self, PyObject *Py_UNUSED(ignored)) {
    self->retired = 1;
    self->busy = 0;
    Py_RETURN_NONE;
}

static PyMethodDef Sender_methods[] = {
    {"send", (PyCFunction)(void (*)(void))Sender_send, METH_FASTCALL, NULL},
    {"send_batch", (PyCFunction)(void (*)(void))Sender_send_batch, METH_FASTCALL, NULL},
    {"reserve", (PyCFunction)Sender_reserve, METH_O, NULL},
    {"commit", (PyCFunction)Sender_commit, METH_O, NULL},
    {"abort", (PyCFunction)Sender_abort, METH_O, NULL},
    {"wait", (PyCFunction)Sender_wait, METH_O, NULL},
    {"stop", (PyCFunction)Sender_stop, METH_NOARGS, NULL},
    {"retire", (PyCFunction)Sender_retire, METH_NOARGS, NULL},
    {0},
};

static PyMemberDef Sender_members[] = {
    {"busy", T_PYSSIZET, offsetof(Sender, busy), READONLY, NULL},
    {"retired", T_BOOL, offsetof(Sender, retired), READONLY, NULL},
    {0},
};

static PyTypeObject Sender_Type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "shm_echo.ring._fast.Sender",
    .tp_basicsize = sizeof(Sender),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_new = Sender_new,
    .tp_dealloc = (destructor)Sender_dealloc,
    .tp_traverse = (traverseproc)Sender_traverse,
    .tp_clear = (inquiry)Sender_clear,
    .tp_methods = Sender_methods,
    .tp_members = Sender_members,
};

/* ---- Receiver: the consumer, and the owner of each batch's arrays ------------------------------ */

typedef struct {
    PyObject_HEAD
    Handle *handle;
    she_consumer *consumer;
    Leaf *leaves;
    Py_ssize_t num_leaves;
    PyObject *anchor;    /* the root of unleased arrays */
    uint64_t batch;      /* handed out and not given back (unleased) */
    Py_ssize_t held;     /* leased batches that live */
    uint64_t *lease;     /* per buffer: 0, or 1 + the batch number to release it with */
    char has_batch, leased, writable, poisoned;
    char waiting;        /* in ready_wait, without the interpreter lock */
    char inherited;      /* by a fork: the batches are the parent's to give back */
} Receiver;

/* The root of a batch's base chains. It has no buffer interface, so NumPy refuses to make an array
 * over it writable again. A leased one gives its batch back when it dies: when no array, slice,
 * memoryview or DLPack capsule over the batch is left, because NumPy collapses chains to the root. */
typedef struct {
    PyObject_HEAD
    Handle *handle;
    Receiver *receiver; /* NULL for the anchor of unleased arrays */
    uint64_t buffer;
} Lease;

static PyTypeObject Receiver_Type;

static void give_back(Receiver *self, uint64_t batch) {
    if (self->inherited)
        return;
    if (self->poisoned)
        api->poison(self->handle->ring, batch);
    api->release(self->handle->ring, batch);
}

/* Pass over memory that earlier leases still hold, as long as there is other memory. */
static void skip_held(Receiver *self) {
    uint64_t buffers = self->handle->ring->num_buffers;
    while (self->held && (uint64_t)self->held < buffers) {
        uint64_t *lease = &self->lease[self->consumer->next_batch % buffers];
        if (!*lease)
            return;
        *lease = api->skip(self->consumer) + 1;
    }
}

static void Lease_dealloc(Lease *self) {
    Receiver *receiver = self->receiver;
    if (receiver) {
        uint64_t batch = receiver->lease[self->buffer] - 1;
        receiver->lease[self->buffer] = 0;
        receiver->held--;
        give_back(receiver, batch);
        /* Whoever waits without the interpreter lock uses the consumer: let it do the skipping. */
        if (receiver->waiting)
            api->nudge(receiver->handle->ring);
        else if (!receiver->inherited)
            skip_held(receiver);
        Py_DECREF(receiver);
    }
    Py_XDECREF(self->handle);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static PyTypeObject Lease_Type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "shm_echo.ring._fast.Lease",
    .tp_basicsize = sizeof(Lease),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_dealloc = (destructor)Lease_dealloc,
};

static Lease *lease_new(Handle *handle, Receiver *receiver, uint64_t batch) {
    Lease *lease = PyObject_New(Lease, &Lease_Type);
    if (!lease)
        return NULL;
    lease->handle = (Handle *)Py_NewRef(handle);
    lease->receiver = (Receiver *)Py_XNewRef((PyObject *)receiver);
    lease->buffer = batch % handle->ring->num_buffers;
    if (receiver) {
        receiver->lease[lease->buffer] = batch + 1;
        receiver->held++;
    }
    return lease;
}

static void Receiver_dealloc(Receiver *self) {
    leaves_free(self->leaves, self->num_leaves);
    if (self->consumer)
        api->consumer_free(self->consumer);
    PyMem_Free(self->lease);
    Py_XDECREF(self->anchor);
    Py_XDECREF(self->handle);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static PyObject *Receiver_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"handle", "leaves", "leased", "writable", "poisoned", NULL};
    PyObject *handle, *table;
    int leased, writable, poisoned;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!Oppp", names, &Handle_Type, &handle, &table,
                                     &leased, &writable, &poisoned))
        return NULL;
    Receiver *self = (Receiver *)type->tp_alloc(type, 0);
    if (!self)
        return NULL;
    self->handle = (Handle *)Py_NewRef(handle);
    self->leased = (char)leased;
    self->writable = (char)writable;
    self->poisoned = (char)poisoned;
    self->leaves = leaves_parse(table, &self->num_leaves);
    self->anchor = (PyObject *)lease_new(self->handle, NULL, 0);
    self->lease = PyMem_Calloc(self->handle->ring->num_buffers, sizeof *self->lease);
    if (!self->leaves || !self->anchor || !self->lease || self->num_leaves != (Py_ssize_t)self->handle->ring->num_leaves ||
        api->consumer_open(self->handle->ring, &self->consumer) != SHE_OK) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_ValueError, "another number of leaves, or no memory");
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static PyObject *Receiver_ready(Receiver *self, PyObject *Py_UNUSED(ignored)) {
    skip_held(self);
    return PyBool_FromLong(api->ready(self->consumer) == SHE_OK);
}

/* Wait at most `ns` (and at most a slice) for a complete batch: the result code. */
static PyObject *Receiver_wait(Receiver *self, PyObject *arg) {
    long long ns = PyLong_AsLongLong(arg);
    if (ns == -1 && PyErr_Occurred())
        return NULL;
    if (ns < 0 || ns > SLICE_NS)
        ns = SLICE_NS;
    int rc;
    skip_held(self);
    self->waiting = 1;
    Py_BEGIN_ALLOW_THREADS
    rc = api->ready_wait(self->consumer, ns);
    Py_END_ALLOW_THREADS
    self->waiting = 0;
    if (PyErr_CheckSignals() < 0)
        return NULL;
    return PyLong_FromLong(rc);
}

/* Take the complete batch: a list of arrays, one per leaf, with `samples` rows each. */
static PyObject *Receiver_take(Receiver *self, PyObject *Py_UNUSED(ignored)) {
    she_ring *ring = self->handle->ring;
    uint64_t batch, samples;
    if (self->has_batch || api->ready(self->consumer) != SHE_OK) {
        PyErr_SetString(PyExc_SystemError, "no complete batch, or the last one not given back");
        return NULL;
    }
    PyObject *list = PyList_New(self->num_leaves), *root = NULL;
    if (!list)
        return NULL;
    api->take(self->consumer, &batch, &samples);
    if (self->leased) {
        root = (PyObject *)lease_new(self->handle, self, batch);
        if (!root)
            give_back(self, batch);
    } else {
        self->batch = batch;
        self->has_batch = 1;
        root = Py_NewRef(self->anchor);
    }
    for (Py_ssize_t i = 0; root && i < self->num_leaves; i++) {
        PyObject *array = view(&self->leaves[i], she_row(ring, (uint32_t)i, batch * ring->batch_size),
                               true, (npy_intp)samples, self->writable, root);
        if (array)
            PyList_SET_ITEM(list, i, array);
        else
            Py_CLEAR(root);
    }
    skip_held(self); /* at once, so that producers need not wait for the learner's next call */
    if (!root) {
        Py_DECREF(list);
        return NULL;
    }
    Py_DECREF(root);
    return list;
}

/* Give the last unleased batch back, if there is one. */
static PyObject *Receiver_release(Receiver *self, PyObject *Py_UNUSED(ignored)) {
    if (self->has_batch) {
        self->has_batch = 0;
        give_back(self, self->batch);
    }
    Py_RETURN_NONE;
}

/* (stored, taken_total, full_batches, blocked, cas_success, cas_failure, retries) */
static PyObject *Receiver_stats(Receiver *self, PyObject *Py_UNUSED(ignored)) {
    she_ring_stats stats;
    api->stats(self->consumer, &stats);
    return Py_BuildValue("KKKKKKK", (unsigned long long)stats.stored,
                         (unsigned long long)self->consumer->taken_total,
                         (unsigned long long)stats.full_batches,
                         (unsigned long long)stats.blocked_count,
                         (unsigned long long)stats.cas_success,
                         (unsigned long long)stats.cas_failure, (unsigned long long)stats.retries);
}

/* In the child of a fork. */
static PyObject *Receiver_retire(Receiver *self, PyObject *Py_UNUSED(ignored)) {
    self->inherited = 1;
    self->waiting = 0;
    Py_RETURN_NONE;
}

static PyObject *Receiver_address(Receiver *self, PyObject *Py_UNUSED(ignored)) {
    return PyLong_FromVoidPtr(self->consumer);
}

static PyMethodDef Receiver_methods[] = {
    {"ready", (PyCFunction)Receiver_ready, METH_NOARGS, NULL},
    {"wait", (PyCFunction)Receiver_wait, METH_O, NULL},
    {"take", (PyCFunction)Receiver_take, METH_NOARGS, NULL},
    {"release", (PyCFunction)Receiver_release, METH_NOARGS, NULL},
    {"stats", (PyCFunction)Receiver_stats, METH_NOARGS, NULL},
    {"retire", (PyCFunction)Receiver_retire, METH_NOARGS, NULL},
    {"address", (PyCFunction)Receiver_address, METH_NOARGS, NULL},
    {0},
};

static PyMemberDef Receiver_members[] = {
    {"held", T_PYSSIZET, offsetof(Receiver, held), READONLY, NULL},
    {0},
};

static PyTypeObject Receiver_Type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "shm_echo.ring._fast.Receiver",
    .tp_basicsize = sizeof(Receiver),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = Receiver_new,
    .tp_dealloc = (destructor)Receiver_dealloc,
    .tp_methods = Receiver_methods,
    .tp_members = Receiver_members,
};

/* ---- the module -------------------------------------------------------------------------------- */

static PyObject *bind(PyObject *Py_UNUSED(module), PyObject *address) {
    const she_api *table = PyLong_AsVoidPtr(address);
    if (!table && PyErr_Occurred())
        return NULL;
    if (!table || table->version != SHE_API_VERSION || table->bytes != sizeof(she_api)) {
        PyErr_SetString(PyExc_ImportError,
                        "shm_echo.ring._core and _fast come from different builds: reinstall shm-echo");
        return NULL;
    }
    api = table;
    Py_RETURN_NONE;
}

static PyMethodDef module_methods[] = {
    {"bind", bind, METH_O, NULL},
    {0},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "shm_echo.ring._fast",
    .m_size = -1,
    .m_methods = module_methods,
};

PyMODINIT_FUNC PyInit__fast(void) {
    import_array();
    PyTypeObject *types[] = {&Handle_Type, &Sender_Type, &Receiver_Type, &Lease_Type};
    PyObject *self = PyModule_Create(&module);
    for (size_t i = 0; self && i < sizeof types / sizeof *types; i++)
        if (PyModule_AddType(self, types[i]) < 0)
            Py_CLEAR(self);
    return self;
}
