/* Receiver: the consumer of a ring. It owns the memory behind each batch's arrays (receiver.h). */
#include "receiver.h"

/* ---- life ------------------------------------------------------------------------------------ */

/* Drop what was put back, which refers to this object, and the spare buffers. */
static PyObject *Receiver_close(Receiver *self, PyObject *Py_UNUSED(ignored)) {
    self->closed = 1;
    receiver_drop_put_back(self);
    spares_close(self->spares);
    Py_RETURN_NONE;
}

static void Receiver_dealloc(Receiver *self) {
    receiver_drop_put_back(self);
    if (self->spares) {
        spares_close(self->spares);
        spares_unref(self->spares);
    }
    leaves_free(self->leaves, self->num_leaves);
    if (self->consumer)
        api->consumer_free(self->consumer);
    if (self->lock)
        PyThread_free_lock(self->lock);
    PyMem_Free(self->buffers);
    Py_XDECREF(self->handle);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static bool open_parts(Receiver *self, PyObject *table) {
    she_ring *ring = self->handle->ring;
    self->leaves = leaves_parse(table, &self->num_leaves);
    if (!self->leaves)
        return false;
    uint64_t bytes = 0;
    self->batch_rows = ring->batch_size * Py_MAX(1, ring->run_rows);
    for (Py_ssize_t i = 0; i < self->num_leaves; i++)
        bytes += align_leaf(self->leaves[i].row_bytes * self->batch_rows);
    self->buffers = PyMem_Calloc(ring->num_buffers, sizeof *self->buffers);
    self->lock = PyThread_allocate_lock();
    /* As many as the ring has buffers: spare memory is never larger than the ring. */
    self->spares = spares_new(bytes, (Py_ssize_t)ring->num_buffers, self->poisoned);
    return self->buffers && self->lock && self->spares &&
           self->num_leaves == (Py_ssize_t)ring->num_leaves &&
           api->consumer_open(ring, &self->consumer) == SHE_OK;
}

static PyObject *Receiver_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"handle", "leaves", "mode", "writable", "poisoned", NULL};
    PyObject *handle, *table;
    int mode, writable, poisoned;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!Oipp", names, &Handle_Type, &handle, &table,
                                     &mode, &writable, &poisoned))
        return NULL;
    Receiver *self = (Receiver *)type->tp_alloc(type, 0);
    if (!self)
        return NULL;
    self->handle = (Handle *)Py_NewRef(handle);
    self->forks = forks;
    self->mode = (char)mode;
    self->writable = (char)writable;
    self->poisoned = (char)poisoned;
    if (!open_parts(self, table)) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_ValueError, "another number of leaves, or no memory");
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

/* ---- taking ---------------------------------------------------------------------------------- */

/* Wait for a complete batch, for at most `ns` and at most a slice. Returns the result code. */
static PyObject *Receiver_wait(Receiver *self, PyObject *arg) {
    long long ns = PyLong_AsLongLong(arg);
    if (ns == -1 && PyErr_Occurred())
        return NULL;
    if (ns < 0 || ns > SLICE_NS)
        ns = SLICE_NS;
    int rc;
    receiver_skip_held(self);
    char before = self->waiting;
    self->waiting = 1;
    int (*wait)(she_consumer *, int64_t) =
        receiver_of_loader(self) ? api->loader_ready_wait : api->ready_wait;
    Py_BEGIN_ALLOW_THREADS
    rc = wait(self->consumer, ns);
    Py_END_ALLOW_THREADS
    self->waiting = before;
    if (PyErr_CheckSignals() < 0 || handle_check(self->handle, 0) < 0)
        return NULL;
    return PyLong_FromLong(rc);
}

/* Wait for a complete batch on behalf of callers in other threads: for at most a slice for the
 * lock, then for at most `ns` for the batch. Takes nothing, and leaves a batch sealed that is
 * sealed. */
static PyObject *Receiver_watch(Receiver *self, PyObject *arg) {
    int locked = receiver_lock(self, (double)SLICE_NS / 1e9);
    if (locked < 0)
        return NULL;
    if (!locked) /* another thread waits: it looks at the events itself */
        return PyLong_FromLong(SHE_TIMEOUT);
    self->watching = 1;
    PyObject *result = self->put_back ? PyLong_FromLong(SHE_OK) : Receiver_wait(self, arg);
    self->watching = 0;
    receiver_unlock(self);
    return result;
}

/* Of a loader's ring: drop the batches that no caller got, after an interrupt. With the lock. */
static PyObject *Receiver_forget(Receiver *self, PyObject *Py_UNUSED(ignored)) {
    receiver_drop_put_back(self);
    if (self->taken) {
        self->taken = 0;
        receiver_release(self, self->taken_batch);
    }
    Py_RETURN_NONE;
}

/* End a wait that is in progress, or the next one at its beginning. */
static PyObject *Receiver_wake(Receiver *self, PyObject *Py_UNUSED(ignored)) {
    api->wake_consumer(self->consumer);
    Py_RETURN_NONE;
}

/* ---- observing ------------------------------------------------------------------------------- */

/* A list of (number, age in nanoseconds, living arrays over the root) for each leased batch that
 * is alive. */
static PyObject *Receiver_leases(Receiver *self, PyObject *Py_UNUSED(ignored)) {
    uint64_t now = api->now_coarse_ns();
    PyObject *list = PyList_New(0);
    for (uint64_t i = 0; list && i < self->handle->ring->num_buffers; i++) {
        const LentBuffer *buffer = &self->buffers[i];
        if (!buffer->root)
            continue;
        PyObject *item =
            Py_BuildValue("KKn", (unsigned long long)buffer->number,
                          (unsigned long long)(now - buffer->since_ns), Py_REFCNT(buffer->root));
        if (!item || PyList_Append(list, item) < 0)
            Py_CLEAR(list);
        Py_XDECREF(item);
    }
    return list;
}

/* Returns (stored, taken_total, own, full_batches, blocked, cas_success, cas_failure, retries,
 * copied, lent). `own` counts the samples of this process among the stored and the taken ones. The
 * interpreter lock keeps the consumer from moving meanwhile, so that the numbers are consistent. */
static PyObject *Receiver_stats(Receiver *self, PyObject *Py_UNUSED(ignored)) {
    she_ring_stats stats;
    if (receiver_of_loader(self)) {
        PyErr_SetString(PyExc_TypeError, "a loader's ring has statistics of its own");
        return NULL;
    }
    api->stats(self->consumer, &stats);
    return Py_BuildValue(
        "KKKKKKKKKn", (unsigned long long)stats.stored,
        (unsigned long long)self->consumer->taken_total,
        (unsigned long long)(stats.stored_own + self->consumer->taken_by[0]),
        (unsigned long long)stats.full_batches, (unsigned long long)stats.blocked_count,
        (unsigned long long)stats.cas_success, (unsigned long long)stats.cas_failure,
        (unsigned long long)stats.retries, self->copied_total, self->held);
}

/* Returns (copies, dwell) since the last reset, each in the order of HistSnapshot's fields. */
static PyObject *Receiver_times(Receiver *self, PyObject *Py_UNUSED(ignored)) {
    she_hist_summary copies, dwell;
    api->time_summaries(self->consumer, &copies, &dwell);
    return Py_BuildValue("NN", hist_summary(&copies), hist_summary(&dwell));
}

static PyObject *Receiver_reset_times(Receiver *self, PyObject *Py_UNUSED(ignored)) {
    api->reset_times(self->consumer);
    Py_RETURN_NONE;
}

/* The address of the she_consumer, for calls through cffi. */
static PyObject *Receiver_address(Receiver *self, PyObject *Py_UNUSED(ignored)) {
    return PyLong_FromVoidPtr(self->consumer);
}

static PyMethodDef Receiver_methods[] = {
    {"handover", (PyCFunction)receiver_handover, METH_NOARGS, NULL},
    {"wait", (PyCFunction)Receiver_wait, METH_O, NULL},
    {"watch", (PyCFunction)Receiver_watch, METH_O, NULL},
    {"forget", (PyCFunction)Receiver_forget, METH_NOARGS, NULL},
    {"wake", (PyCFunction)Receiver_wake, METH_NOARGS, NULL},
    {"leases", (PyCFunction)Receiver_leases, METH_NOARGS, NULL},
    {"close", (PyCFunction)Receiver_close, METH_NOARGS, NULL},
    {"stats", (PyCFunction)Receiver_stats, METH_NOARGS, NULL},
    {"times", (PyCFunction)Receiver_times, METH_NOARGS, NULL},
    {"reset_times", (PyCFunction)Receiver_reset_times, METH_NOARGS, NULL},
    {"address", (PyCFunction)Receiver_address, METH_NOARGS, NULL},
    {0},
};

static PyMemberDef Receiver_members[] = {
    {"held", T_PYSSIZET, offsetof(Receiver, held), READONLY, NULL},
    {"copied", T_ULONGLONG, offsetof(Receiver, copied_total), READONLY, NULL},
    {"waiting", T_BOOL, offsetof(Receiver, waiting), 0, NULL},
    {"watching", T_BOOL, offsetof(Receiver, watching), READONLY, NULL},
    {"notices", T_INT, offsetof(Receiver, notices), READONLY, NULL},
    {0},
};

PyTypeObject Receiver_Type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "shm_echo.ring._core_cpython.Receiver",
    .tp_basicsize = sizeof(Receiver),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = Receiver_new,
    .tp_dealloc = (destructor)Receiver_dealloc,
    .tp_methods = Receiver_methods,
    .tp_members = Receiver_members,
};
