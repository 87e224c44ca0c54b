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

/* True for what stands in the place of a length that follows from the row before it. */
static inline bool is_length_of_row(const void *item) { return item == Py_None; }

/* NumPy copies the leaves that are not C-contiguous. */
static int copy_strided(Sender *self, PyObject *list, uint64_t position, uint64_t row) {
    for (Py_ssize_t i = 0; i < self->spec.num_leaves; i++) {
        PyArrayObject *array = (PyArrayObject *)PyList_GET_ITEM(list, i);
        if (is_length_of_row(array) || PyArray_IS_C_CONTIGUOUS(array))
            continue;
        if (is_row(&self->spec, list, i)) {
            PyObject *row = PyArray_NewCopy(array, NPY_CORDER);
            if (!row || PyList_SetItem(list, i, row) < 0)
                return -1;
            continue;
        }
        PyObject *place = leaf_view(&self->spec.leaves[i], sender_place(self, i, position, row),
                                    false, 0, true, (PyObject *)self->handle);
        int failed = !place || PyArray_CopyInto((PyArrayObject *)place, array) < 0;
        Py_XDECREF(place);
        if (failed)
            return -1;
    }
    return 0;
}

int sender_copy_aside(Sender *self, PyObject *list, uint64_t position, uint64_t row) {
    const char *ring = self->handle->mapping->base, *end = ring + self->handle->mapping->size;
    for (Py_ssize_t i = 0; i < self->spec.num_leaves; i++) {
        PyArrayObject *leaf = (PyArrayObject *)PyList_GET_ITEM(list, i);
        if (is_length_of_row(leaf))
            continue;
        const char *data = PyArray_BYTES(leaf);
        if (data < ring || data >= end ||
            (data == sender_place(self, i, position, row) && PyArray_IS_C_CONTIGUOUS(leaf)))
            continue;
        PyObject *copy = PyArray_NewCopy(leaf, NPY_CORDER);
        if (!copy || PyList_SetItem(list, i, copy) < 0)
            return -1;
    }
    return 0;
}

/* Copy a row to the beginning of its place, fill what is behind it, and store its length. */
static void copy_row(Sender *self, PyArrayObject *row, Py_ssize_t i, uint64_t position,
                     uint64_t number) {
    char *place = sender_place(self, i, position, number);
    uint64_t bytes = (uint64_t)PyArray_NBYTES(row);
    int64_t length = PyArray_DIM(row, 0);
    if (PyArray_BYTES(row) != place)
        api->copy(place, PyArray_DATA(row), bytes);
    ragged_pad(&self->spec.leaves[i], place, bytes);
    memcpy(sender_place(self, i + 1, position, number), &length, sizeof length);
}

int sender_copy(Sender *self, PyObject *list, uint64_t position, uint64_t row) {
    she_ring *ring = self->handle->ring;
    bool unlock = self->spec.sample_bytes >= UNLOCK_BYTES;
    PyThreadState *state = NULL;
    uint64_t start = ring->stamps ? api->now_ns() : 0;
    if (copy_strided(self, list, position, row) < 0)
        return -1;
    if (unlock)
        state = PyEval_SaveThread();
    for (Py_ssize_t i = 0; i < self->spec.num_leaves; i++) {
        PyArrayObject *array = (PyArrayObject *)PyList_GET_ITEM(list, i);
        if (is_row(&self->spec, list, i)) {
            copy_row(self, array, i++, position, row);
            continue;
        }
        void *place = sender_place(self, i, position, row);
        if (PyArray_IS_C_CONTIGUOUS(array) && PyArray_DATA(array) != place)
            api->copy(place, PyArray_DATA(array), self->spec.leaves[i].row_bytes);
    }
    if (unlock)
        PyEval_RestoreThread(state);
    if (start)
        api->copied(self->producer, api->now_ns() - start);
    return 0;
}

void sender_unset_lengths(Sender *self, uint64_t position, uint64_t rows) {
    const int64_t unset = UNSET_LENGTH;
    for (Py_ssize_t i = 0; i < self->spec.num_leaves; i++)
        for (uint64_t row = 0; self->spec.leaves[i].kind == LENGTH && row < rows; row++)
            memcpy(sender_place(self, i, position, row), &unset, sizeof unset);
}

const Leaf *sender_mend_rows(Sender *self, uint64_t position, uint64_t rows, uint64_t *row,
                             int64_t *length) {
    for (*row = 0; *row < rows; ++*row)
        for (Py_ssize_t i = 0; i < self->spec.num_leaves; i++) {
            const Leaf *leaf = &self->spec.leaves[i];
            if (leaf->kind != RAGGED)
                continue;
            /* Read once: it lies in shared memory, and becomes an offset. */
            memcpy(length, sender_place(self, i + 1, position, *row), sizeof *length);
            if (*length < 0 || *length > leaf->dims[1])
                return leaf;
            uint64_t bytes = leaf->row_bytes / (uint64_t)leaf->dims[1] * (uint64_t)*length;
            ragged_pad(leaf, sender_place(self, i, position, *row), bytes);
        }
    return NULL;
}

PyObject *Sender_send(Sender *self, PyObject *const *args, Py_ssize_t nargs) {
    PyObject *timeout;
    uint64_t deadline, position;
    if (parse_send("send", args, nargs, &timeout) < 0 || parse_timeout(timeout, &deadline) < 0 ||
        !sender_usable_for(self, false))
        return NULL;
    PyObject *list = spec_leaves(&self->spec, args[0], 0);
    if (!list)
        return NULL;
    sender_begin_call(self);
    PyObject *result = NULL;
    int rc = sender_claim(self, deadline, &position);
    if (rc == SHE_OK) {
        if (sender_copy(self, list, position, 0) < 0)
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
        for (Py_ssize_t i = 0; i < self->spec.num_leaves; i++) {
            uint64_t bytes = self->spec.leaves[i].row_bytes;
            const char *from = PyArray_BYTES((PyArrayObject *)PyList_GET_ITEM(list, i));
            api->copy(she_row(ring, (uint32_t)i, positions[start]), from + (first + start) * bytes,
                      run * bytes);
        }
        start += run;
    }
}

PyObject *Sender_send_batch(Sender *self, PyObject *const *args, Py_ssize_t nargs) {
    PyObject *timeout;
    uint64_t deadline, positions[CHUNK];
    if (parse_send("send_batch", args, nargs, &timeout) < 0 ||
        parse_timeout(timeout, &deadline) < 0 || !sender_usable_for(self, false))
        return NULL;
    npy_intp total;
    PyObject *list = spec_rows(&self->spec, args[0], &total);
    if (!list)
        return NULL;
    uint64_t most = self->spec.sample_bytes ? CHUNK_BYTES / self->spec.sample_bytes : CHUNK;
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
        if (n * self->spec.sample_bytes >= UNLOCK_BYTES) {
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
