/* send and send_batch: check the leaves, claim, copy and commit, in one call from Python. */
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

static inline bool same_type(const Leaf *leaf, PyArrayObject *array) {
    PyArray_Descr *descr = PyArray_DESCR(array);
    return descr == leaf->descr || PyArray_EquivTypes(descr, leaf->descr);
}

/* True if `object` is an array of exactly this leaf's dtype and shape, behind `stacked` leading
 * axes. */
static inline bool fits(const Leaf *leaf, PyObject *object, int stacked) {
    if (!PyArray_CheckExact(object))
        return false;
    PyArrayObject *array = (PyArrayObject *)object;
    return PyArray_NDIM(array) == leaf->ndim + stacked && same_type(leaf, array) &&
           memcmp(PyArray_DIMS(array) + stacked, leaf->dims + 1,
                  (size_t)leaf->ndim * sizeof(npy_intp)) == 0;
}

/* Cast an array of numbers with the leaf's shape to the leaf's dtype, by NumPy's rule "same_kind".
 * NULL without an exception leaves it to the check in Python. */
static PyObject *cast_array(const Leaf *leaf, PyObject *object, int stacked) {
    if (!PyArray_CheckExact(object))
        return NULL;
    PyArrayObject *array = (PyArrayObject *)object;
    int axes = leaf->ndim + stacked; /* a 0-d leaf takes numbers by a rule of its own */
    if (!axes || PyArray_NDIM(array) != axes || !PyTypeNum_ISNUMBER(PyArray_TYPE(array)) ||
        !PyTypeNum_ISNUMBER(leaf->descr->type_num) ||
        memcmp(PyArray_DIMS(array) + stacked, leaf->dims + 1,
               (size_t)leaf->ndim * sizeof(npy_intp)) != 0 ||
        !PyArray_CanCastTypeTo(PyArray_DESCR(array), leaf->descr, NPY_SAME_KIND_CASTING))
        return NULL;
    return PyArray_FromArray(array, (PyArray_Descr *)Py_NewRef(leaf->descr),
                             NPY_ARRAY_CARRAY_RO | NPY_ARRAY_FORCECAST);
}

/* Replace item i of the list, which does not fit as it is, by a number or a cast that does. False
 * may leave an exception. */
static bool convert(const Sender *self, PyObject *list, Py_ssize_t i, int stacked) {
    const Leaf *leaf = &self->leaves[i];
    PyObject *object = PyList_GET_ITEM(list, i);
    PyObject *array = stacked ? NULL : number_array(leaf, object);
    if (!array && self->same_kind && !PyErr_Occurred())
        array = cast_array(leaf, object, stacked);
    return array && PyList_SetItem(list, i, array) == 0;
}

int clear_ordinary_exception(void) {
    if (!PyErr_Occurred())
        return 0;
    if (!PyErr_ExceptionMatches(PyExc_Exception))
        return -1; /* KeyboardInterrupt, SystemExit */
    PyErr_Clear();
    return 0;
}

PyObject *sender_split(Sender *self, PyObject *tree) {
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
        if (list && (!PyList_CheckExact(list) || PyList_GET_SIZE(list) != self->num_leaves))
            Py_CLEAR(list);
    }
    if (!list)
        (void)clear_ordinary_exception();
    return list;
}

PyObject *sender_fit(Sender *self, PyObject *tree, PyObject *list, int stacked) {
    if (list) {
        Py_ssize_t i = 0;
        while (i < self->num_leaves && (fits(&self->leaves[i], PyList_GET_ITEM(list, i), stacked) ||
                                        convert(self, list, i, stacked)))
            i++;
        if (i == self->num_leaves)
            return list;
        Py_DECREF(list);
        if (clear_ordinary_exception() < 0)
            return NULL;
    }
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

/* The leaves of `tree` as a list of arrays that fit; NULL with the exception for the user. */
static PyObject *leaves_of(Sender *self, PyObject *tree, int stacked) {
    PyObject *list = sender_split(self, tree);
    if (!list && PyErr_Occurred())
        return NULL;
    return sender_fit(self, tree, list, stacked);
}

/* NumPy copies the leaves that are not C-contiguous. */
static int copy_strided(Sender *self, PyObject *list, uint64_t position) {
    for (Py_ssize_t i = 0; i < self->num_leaves; i++) {
        PyArrayObject *array = (PyArrayObject *)PyList_GET_ITEM(list, i);
        if (PyArray_IS_C_CONTIGUOUS(array))
            continue;
        PyObject *row =
            leaf_view(&self->leaves[i], she_row(self->handle->ring, (uint32_t)i, position), false,
                      0, true, (PyObject *)self->handle);
        int failed = !row || PyArray_CopyInto((PyArrayObject *)row, array) < 0;
        Py_XDECREF(row);
        if (failed)
            return -1;
    }
    return 0;
}

int sender_copy(Sender *self, PyObject *list, uint64_t position) {
    she_ring *ring = self->handle->ring;
    bool unlock = self->sample_bytes >= UNLOCK_BYTES;
    PyThreadState *state = NULL;
    uint64_t start = ring->stamps ? api->now_ns() : 0;
    if (copy_strided(self, list, position) < 0)
        return -1;
    if (unlock)
        state = PyEval_SaveThread();
    for (Py_ssize_t i = 0; i < self->num_leaves; i++) {
        PyArrayObject *array = (PyArrayObject *)PyList_GET_ITEM(list, i);
        void *row = she_row(ring, (uint32_t)i, position);
        if (PyArray_IS_C_CONTIGUOUS(array) && PyArray_DATA(array) != row)
            api->copy(row, PyArray_DATA(array), self->leaves[i].row_bytes);
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
        if (sender_copy(self, list, position) < 0)
            api->abort(self->producer, position);
        else if ((rc = sender_result(self, api->commit(self->producer, position))) == SHE_OK)
            result = Py_NewRef(Py_None);
    }
    if (sender_end_call(self) < 0)
        Py_CLEAR(result);
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
        rc = sender_result(self, api->commit_many(self->producer, positions, n, &committed));
        /* Samples copied into the zeros of a truncated mapping were not sent. */
        sent += rc == BINDING_BROKEN ? 0 : committed;
    }
    bool interrupted = sender_end_call(self) < 0;
    Py_DECREF(list);
    if (rc == SHE_OK && !interrupted)
        return PyLong_FromUnsignedLongLong(sent);
    if (rc != -1 && !interrupted)
        (void)sender_raise(self, rc, (Py_ssize_t)sent, timeout);
    note_sent((Py_ssize_t)sent);
    return NULL;
}
