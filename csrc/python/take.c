/* Taking a batch: lent, copied or until the next one (receiver.h). */
#include "receiver.h"

/* Copies of at least this size release the interpreter lock. A thread that releases it may wait for
 * a whole switch interval (5 ms) to get it back, so a smaller copy keeps it. */
#define UNLOCK_BYTES 65536
/* More copies than this among the recent batches are worth a line in the log. */
#define MANY_OF_RECENT (RECENT_BATCHES / 10)

/* Count this batch among the recent ones. */
static void note_kind(Receiver *self, bool copied) {
    self->copied_total += copied;
    self->recent_copies += copied;
    self->recent_copies -= self->was_copy[self->recent_next];
    self->was_copy[self->recent_next] = copied;
    self->recent_next = (self->recent_next + 1) % RECENT_BATCHES;
    if (self->recent_copies > MANY_OF_RECENT)
        self->notices |= MANY_COPIES;
}

static enum batch_kind kind_of_next(const Receiver *self, bool owned) {
    if (self->taken_rows == 0)
        return EMPTY;
    if (owned)
        return OWNED;
    if (self->mode == REUSE)
        return REUSED;
    /* Lent only if another buffer stays with the producers: with all of them out, no further batch
     * could come, and the learner would wait for itself. */
    if (self->mode == LEND || (uint64_t)self->held + 1 < self->handle->ring->num_buffers)
        return LENT;
    return COPIED;
}

static void copy_each(const Receiver *self, PyObject *arrays) {
    she_ring *ring = self->handle->ring;
    for (Py_ssize_t i = 0; i < self->num_leaves; i++)
        api->copy(PyArray_DATA((PyArrayObject *)PyList_GET_ITEM(arrays, i)),
                  she_row(ring, (uint32_t)i, self->taken_batch * ring->batch_size),
                  self->taken_rows * self->leaves[i].row_bytes);
}

/* Copy the rows of the taken batch into arrays that no other thread knows yet. */
static void copy_rows(const Receiver *self, PyObject *arrays) {
    uint64_t bytes = 0;
    for (Py_ssize_t i = 0; i < self->num_leaves; i++)
        bytes += self->taken_rows * self->leaves[i].row_bytes;
    if (bytes < UNLOCK_BYTES) {
        copy_each(self, arrays);
        return;
    }
    Py_BEGIN_ALLOW_THREADS
    copy_each(self, arrays);
    Py_END_ALLOW_THREADS
}

/* Put the arrays over the memory of `root` into the list: of the ring, or its private copy. If
 * `root` is NULL, each array gets memory of its own. */
static int make_arrays(const Receiver *self, Lease *root, PyObject *list) {
    she_ring *ring = self->handle->ring;
    uint8_t *memory = root ? root->memory : NULL;
    for (Py_ssize_t i = 0; i < self->num_leaves; i++) {
        const Leaf *leaf = &self->leaves[i];
        void *data = NULL;
        if (memory) {
            data = memory;
            memory += align_leaf(leaf->row_bytes * self->batch_rows);
        } else if (root) {
            data = she_row(ring, (uint32_t)i, self->taken_batch * ring->batch_size);
        }
        PyObject *array = leaf_view(leaf, data, true, (npy_intp)self->taken_rows,
                                    root && self->writable, (PyObject *)root);
        if (!array)
            return -1;
        PyList_SET_ITEM(list, i, array);
    }
    return 0;
}

/* The runs of the taken batch whose status is not 0: read now, because another batch may be
 * announced in this buffer as soon as it is released. */
static PyObject *failed_runs(const Receiver *self) {
    const she_ring *ring = self->handle->ring;
    PyObject *list = PyList_New(0);
    for (uint64_t row = 0, slot = 0; list && row < self->taken_rows;
         row += ring->run_rows, slot++) {
        uint64_t position = self->taken_batch * ring->batch_size + slot;
        unsigned int status = she_loader_run(ring, position)->status;
        if (!status)
            continue;
        PyObject *run = Py_BuildValue(
            "KKI", (unsigned long long)(self->taken_first_row + row),
            (unsigned long long)Py_MIN(ring->run_rows, self->taken_rows - row), status);
        if (!run || PyList_Append(list, run) < 0)
            Py_CLEAR(list);
        Py_XDECREF(run);
    }
    PyObject *tuple = list ? PyList_AsTuple(list) : NULL;
    Py_XDECREF(list);
    return tuple;
}

/* Make the arrays of the taken batch, in the empty list; on failure it stays taken, for the next
 * try. */
static int make_batch(Receiver *self, bool owned, PyObject *arrays, Batch *out) {
    enum batch_kind kind = kind_of_next(self, owned);
    uint64_t batch = self->taken_batch;
    Lease *root = NULL;
    PyObject *failed = NULL;
    if (self->taken_errors && !(failed = failed_runs(self)))
        return -1;
    if (kind == COPIED)
        root = lease_of_copy(self->spares);
    else if (kind != OWNED)
        root = lease_new(self->handle);
    if ((!root && kind != OWNED) || make_arrays(self, root, arrays) < 0) {
        Py_XDECREF(root);
        Py_XDECREF(failed);
        return -1;
    }
    if (kind == COPIED || kind == OWNED)
        copy_rows(self, arrays);
    if (handle_check(self->handle, 0) < 0) {
        Py_XDECREF(root);
        Py_XDECREF(failed);
        return -1;
    }
    if (kind == LENT)
        receiver_lend(self, root, batch);
    else if (kind == REUSED)
        receiver_reuse(self, root, batch);
    else
        receiver_release(self, batch);
    if (self->mode == LEND_OR_COPY && (kind == LENT || kind == COPIED))
        note_kind(self, kind == COPIED);
    Py_XDECREF(root);
    *out = (Batch){.arrays = Py_NewRef(arrays),
                   .number = batch,
                   .kind = kind,
                   .turn = self->taken_total,
                   .rows = self->taken_rows,
                   .first_row = self->taken_first_row,
                   .failed = failed};
    return 0;
}

/* Release the last unleased batch, if there is one. */
static void release_reused(Receiver *self) {
    if (!self->has_batch)
        return;
    self->has_batch = 0;
    /* The learner drops a batch when it gets the next one, so only the batch before the last is
     * surely forgotten. */
    if (self->recent[1])
        self->notices |= STALE_ARRAY;
    receiver_release(self, self->batch);
}

/* Give every array of a batch that was put back memory of its own, in the empty list. */
static int own_arrays(Receiver *self, Batch *batch, PyObject *list) {
    for (Py_ssize_t i = 0; i < self->num_leaves; i++) {
        PyObject *array =
            PyArray_NewCopy((PyArrayObject *)PyList_GET_ITEM(batch->arrays, i), NPY_CORDER);
        if (!array)
            return -1;
        PyList_SET_ITEM(list, i, array);
    }
    Py_SETREF(batch->arrays, Py_NewRef(list));
    if (batch->kind == REUSED)
        release_reused(self);
    batch->kind = OWNED;
    return 0;
}

/* Taken out of the queue first: NumPy may run other code while it copies. */
static int take_put_back(Receiver *self, bool owned, PyObject *list, Batch *out) {
    Batch *first = self->put_back;
    self->put_back = first->next;
    *out = *first;
    PyMem_Free(first);
    if (owned && out->kind != OWNED && own_arrays(self, out, list) < 0) {
        receiver_put_back(self, out);
        return -1;
    }
    return 1;
}

/* Take the next batch, with the empty list for its arrays. */
static int take_into(Receiver *self, bool owned, PyObject *list, Batch *out) {
    if (self->put_back)
        return take_put_back(self, owned, list, out);
    if (!self->taken) {
        release_reused(self);
        receiver_skip_held(self);
        bool loader = receiver_of_loader(self);
        bool ready = (loader ? api->loader_ready : api->ready)(self->consumer) == SHE_OK;
        if (handle_check(self->handle, 0) < 0)
            return -1;
        if (ready && loader)
            ready = api->loader_take(self->consumer, &self->taken_batch, &self->taken_rows,
                                     &self->taken_first_row, &self->taken_errors) == SHE_OK;
        if (!ready) {
            receiver_publish_lent(self);
            return 0;
        }
        if (!loader)
            api->take(self->consumer, &self->taken_batch, &self->taken_rows);
        self->taken_total++;
        self->taken = 1;
    }
    if (make_batch(self, owned, list, out) < 0)
        return -1;
    self->taken = 0;
    receiver_skip_held(self); /* now, so that producers need not wait for the learner's next call */
    receiver_publish_lent(self);
    return 1;
}

int receiver_take(Receiver *self, bool owned, Batch *out) {
    /* The list comes first: up to CPython 3.11 its allocation may collect garbage, and a finalizer
     * that samples then would take the same batch. */
    PyObject *list = PyList_New(self->num_leaves);
    if (!list)
        return -1;
    int rc = take_into(self, owned, list, out);
    Py_DECREF(list);
    return rc;
}

void batch_clear(Batch *batch) {
    Py_CLEAR(batch->failed);
    Py_CLEAR(batch->arrays);
}

void receiver_drop_put_back(Receiver *self) {
    while (self->put_back) {
        Batch *batch = self->put_back;
        self->put_back = batch->next;
        batch_clear(batch);
        PyMem_Free(batch);
    }
}

void receiver_put_back(Receiver *self, Batch *batch) {
    Batch back = *batch;
    batch->arrays = batch->failed = NULL;
    /* No rows are no loss, and another thread's take may have reused an unleased batch. */
    bool lost = batch->kind == REUSED && !(self->has_batch && self->batch == batch->number);
    Batch *copy = self->closed || batch->kind == EMPTY || lost ? NULL : PyMem_Malloc(sizeof *copy);
    if (!copy) {
        batch_clear(&back);
        return;
    }
    Batch **at = &self->put_back;
    while (*at && (*at)->turn < back.turn)
        at = &(*at)->next;
    *copy = back;
    copy->next = *at;
    *at = copy;
}
