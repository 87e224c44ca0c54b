/* send and send_batch: check the leaves, claim, copy and commit, in one call from Python. */
#include <math.h>

#include "sender.h"

/* Copies of at least this size release the interpreter lock. A thread that releases it may wait for
 * a whole switch interval (5 ms) to get it back, so a smaller copy keeps it. */
#define UNLOCK_BYTES 65536
/* send_batch claims at most this many slots and bytes (but at least one sample) before it commits
 * them: enough to make the cost of a claim small, and few enough not to hold a batch up for
 * long. */
#define CHUNK 256
#define CHUNK_BYTES (1u << 20)

/* Set the attribute `sent` of the current exception: the number of samples that send_batch sent. */
static void note_sent(Py_ssize_t sent) {
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    PyErr_NormalizeException(&type, &value, &trace);
    PyObject *number = PyLong_FromSsize_t(sent);
    if (!number || !value || PyObject_SetAttrString(value, "sent", number) < 0)
        PyErr_Clear(); /* an exception that takes no attribute stays as it is */
    Py_XDECREF(number);
    PyErr_Restore(type, value, trace);
}

static bool same_type(const Leaf *leaf, PyArrayObject *array) {
    PyArray_Descr *descr = PyArray_DESCR(array);
    return descr == leaf->descr || PyArray_EquivTypes(descr, leaf->descr);
}

/* True if `object` is an array of exactly this leaf's dtype and shape, behind `stacked` leading
 * axes. */
static bool fits(const Leaf *leaf, PyObject *object, int stacked) {
    if (!PyArray_CheckExact(object))
        return false;
    PyArrayObject *array = (PyArrayObject *)object;
    return PyArray_NDIM(array) == leaf->ndim + stacked && same_type(leaf, array) &&
           memcmp(PyArray_DIMS(array) + stacked, leaf->dims + 1,
                  (size_t)leaf->ndim * sizeof(npy_intp)) == 0;
}

/* Convert a Python number to a 0-d leaf of a usual type, without loss. NULL without an exception
 * leaves it to the check in Python, which knows the other types and makes the message. */
static PyObject *from_number(const Leaf *leaf, PyObject *object) {
    union {
        npy_bool b;
        npy_float f;
        npy_double d;
        npy_int32 i;
        npy_int64 l;
    } value;
    int type = leaf->descr->type_num, overflow;
    if (leaf->ndim != 0 || PyDataType_ISBYTESWAPPED(leaf->descr))
        return NULL;
    if (PyFloat_CheckExact(object) && (type == NPY_DOUBLE || type == NPY_FLOAT)) {
        double d = PyFloat_AS_DOUBLE(object);
        if (type == NPY_DOUBLE)
            value.d = d;
        else if (isinf(value.f = (npy_float)d) && !isinf(d))
            return NULL;
    } else if (PyLong_CheckExact(object) && (type == NPY_LONG || type == NPY_INT)) {
        long l = PyLong_AsLongAndOverflow(object, &overflow);
        if (overflow || (type == NPY_INT && (l > NPY_MAX_INT || l < NPY_MIN_INT)))
            return NULL;
        if (type == NPY_LONG)
            value.l = l;
        else
            value.i = (npy_int32)l;
    } else if (PyBool_Check(object) && type == NPY_BOOL) {
        value.b = object == Py_True;
    } else {
        return NULL;
    }
    Py_INCREF(leaf->descr);
    PyObject *array =
        PyArray_NewFromDescr(&PyArray_Type, leaf->descr, 0, NULL, NULL, NULL, 0, NULL);
    if (array)
        memcpy(PyArray_DATA((PyArrayObject *)array), &value, leaf->row_bytes);
    else
        PyErr_Clear();
    return array;
}

/* True if item i of the list fits, after a plain number there has been replaced by an array. */
static bool accept(const Leaf *leaf, PyObject *list, Py_ssize_t i, int stacked) {
    PyObject *object = PyList_GET_ITEM(list, i);
    if (fits(leaf, object, stacked))
        return true;
    PyObject *array = stacked ? NULL : from_number(leaf, object);
    return array && PyList_SetItem(list, i, array) == 0;
}

/* The leaves of `tree` as a list of arrays that fit; NULL with the exception for the user. */
static PyObject *leaves_of(Sender *self, PyObject *tree, int stacked) {
    PyObject *list;
    if (self->plain) {
        Py_ssize_t found = 0;
        list = PyList_New(self->num_leaves);
        if (!list)
            return NULL;
        if (!plan_walk(&self->plan, tree, list, &found) || found != self->num_leaves)
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
        while (i < self->num_leaves && accept(&self->leaves[i], list, i, stacked))
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

/* Copy one sample into its slot. NumPy copies the leaves that are not C-contiguous. */
static int copy_sample(Sender *self, PyObject *list, uint64_t position) {
    she_ring *ring = self->handle->ring;
    bool unlock = self->sample_bytes >= UNLOCK_BYTES;
    PyThreadState *state = NULL;
    uint64_t start = ring->stamps ? api->now_ns() : 0;
    for (Py_ssize_t i = 0; i < self->num_leaves; i++) {
        PyArrayObject *array = (PyArrayObject *)PyList_GET_ITEM(list, i);
        if (PyArray_IS_C_CONTIGUOUS(array))
            continue;
        PyObject *row = leaf_view(&self->leaves[i], she_row(ring, (uint32_t)i, position), false, 0,
                                  true, (PyObject *)self->handle);
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

static int parse_send(const char *name, PyObject *const *args, Py_ssize_t nargs,
                      PyObject **timeout) {
    if (nargs < 1 || nargs > 2) {
        PyErr_Format(PyExc_TypeError, "%s takes a tree and a timeout", name);
        return -1;
    }
    *timeout = nargs == 2 ? args[1] : Py_None;
    return 0;
}

PyObject *Sender_send(Sender *self, PyObject *const *args, Py_ssize_t nargs) {
    PyObject *timeout;
    uint64_t deadline, position;
    if (parse_send("send", args, nargs, &timeout) < 0 || parse_timeout(timeout, &deadline) < 0 ||
        !sender_usable(self))
        return NULL;
    PyObject *list = leaves_of(self, args[0], 0);
    if (!list)
        return NULL;
    sender_begin_call(self);
    PyObject *result = NULL;
    int rc = sender_claim(self, deadline, &position);
    if (rc == SHE_OK) {
        if (copy_sample(self, list, position) < 0)
            api->abort(self->producer, position);
        else if ((rc = api->commit(self->producer, position)) == SHE_OK)
            result = Py_NewRef(Py_None);
    }
    sender_end_call(self);
    Py_DECREF(list);
    if (result || PyErr_Occurred())
        return result;
    return sender_raise(self, rc, 0, timeout);
}

/* Copy `n` samples, from row `first` of each stacked leaf on, into the claimed positions: one
 * memcpy per leaf for each run of neighbouring slots. */
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

PyObject *Sender_send_batch(Sender *self, PyObject *const *args, Py_ssize_t nargs) {
    PyObject *timeout;
    uint64_t deadline, positions[CHUNK];
    if (parse_send("send_batch", args, nargs, &timeout) < 0 ||
        parse_timeout(timeout, &deadline) < 0 || !sender_usable(self))
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
    int rc = count ? SHE_OK : sender_status(self); /* else the claim checks it */
    sender_begin_call(self);
    while (sent < count && rc == SHE_OK) {
        uint64_t n = 0;
        /* Only the first claim may wait: a producer never waits while it holds slots, because the
         * learner would wait for them. */
        rc = sender_claim(self, deadline, &positions[0]);
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
        uint64_t committed;
        rc = api->commit_many(self->producer, positions, n, &committed);
        sent += committed;
    }
    sender_end_call(self);
    Py_DECREF(list);
    if (rc == SHE_OK)
        return PyLong_FromUnsignedLongLong(sent);
    if (rc != -1)
        (void)sender_raise(self, rc, (Py_ssize_t)sent, timeout);
    note_sent((Py_ssize_t)sent);
    return NULL;
}
