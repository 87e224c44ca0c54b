/* Receiver: the consumer of a ring. It owns the memory behind each batch's arrays. */
#include <unistd.h>

#include "binding.h"

typedef struct {
    PyObject_HEAD
    Handle *handle;
    she_consumer *consumer;
    Leaf *leaves;
    Py_ssize_t num_leaves;
    PyObject *anchor; /* the root of unleased arrays */
    uint64_t batch;   /* handed out and not released yet (unleased) */
    Py_ssize_t held;  /* leased batches that are alive */
    uint64_t *lease;  /* per buffer: 0, or 1 + the batch number under which to release it */
    char has_batch, leased, writable, poisoned;
    char waiting; /* a thread uses the consumer, perhaps without the interpreter lock */
    pid_t owner;  /* in the child of a fork, nothing is released */
} Receiver;

/* The root of the base chains of a batch's arrays. It has no buffer interface, so NumPy does not
 * let an array over it become writable again. The root of a leased batch releases the batch when it
 * dies: when no array, slice, memoryview or DLPack capsule over the batch is left, because NumPy
 * collapses base chains to their root. */
typedef struct {
    PyObject_HEAD
    Handle *handle;
    Receiver *receiver; /* NULL for the anchor of unleased arrays */
    uint64_t buffer;
} Lease;

static void release_batch(Receiver *self, uint64_t batch) {
    if (getpid() != self->owner)
        return;
    if (self->poisoned)
        api->poison(self->handle->ring, batch);
    api->release(self->handle->ring, batch);
}

/* Skip buffers that earlier leases still hold, as long as any other buffer is free of leases. */
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
        release_batch(receiver, batch);
        /* A thread that waits without the interpreter lock uses the consumer: it does the
         * skipping. */
        if (getpid() != receiver->owner)
            ; /* the consumer is the parent's */
        else if (receiver->waiting)
            api->wake_consumer(receiver->consumer);
        else
            skip_held(receiver);
        Py_DECREF(receiver);
    }
    Py_XDECREF(self->handle);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

PyTypeObject Lease_Type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "shm_echo.ring._core_cpython.Lease",
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
    self->owner = getpid();
    self->leased = (char)leased;
    self->writable = (char)writable;
    self->poisoned = (char)poisoned;
    self->leaves = leaves_parse(table, &self->num_leaves);
    self->anchor = (PyObject *)lease_new(self->handle, NULL, 0);
    self->lease = PyMem_Calloc(self->handle->ring->num_buffers, sizeof *self->lease);
    if (!self->leaves || !self->anchor || !self->lease ||
        self->num_leaves != (Py_ssize_t)self->handle->ring->num_leaves ||
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
    bool ready = api->ready(self->consumer) == SHE_OK;
    return handle_check(self->handle, 0) < 0 ? NULL : PyBool_FromLong(ready);
}

/* Wait for a complete batch, for at most `ns` and at most a slice. Returns the result code. */
static PyObject *Receiver_wait(Receiver *self, PyObject *arg) {
    long long ns = PyLong_AsLongLong(arg);
    if (ns == -1 && PyErr_Occurred())
        return NULL;
    if (ns < 0 || ns > SLICE_NS)
        ns = SLICE_NS;
    int rc;
    skip_held(self);
    char before = self->waiting;
    self->waiting = 1;
    Py_BEGIN_ALLOW_THREADS
    rc = api->ready_wait(self->consumer, ns);
    Py_END_ALLOW_THREADS
    self->waiting = before;
    if (PyErr_CheckSignals() < 0 || handle_check(self->handle, 0) < 0)
        return NULL;
    return PyLong_FromLong(rc);
}

/* Take the complete batch. Returns a list of arrays, one per leaf, with one row per sample. */
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
            release_batch(self, batch);
    } else {
        self->batch = batch;
        self->has_batch = 1;
        root = Py_NewRef(self->anchor);
    }
    for (Py_ssize_t i = 0; root && i < self->num_leaves; i++) {
        PyObject *array =
            leaf_view(&self->leaves[i], she_row(ring, (uint32_t)i, batch * ring->batch_size), true,
                      (npy_intp)samples, self->writable, root);
        if (array)
            PyList_SET_ITEM(list, i, array);
        else
            Py_CLEAR(root);
    }
    if (root && handle_check(self->handle, 0) < 0)
        Py_CLEAR(root);
    skip_held(self); /* now, so that producers need not wait for the learner's next call */
    if (!root) {
        Py_DECREF(list);
        return NULL;
    }
    Py_DECREF(root);
    return list;
}

/* Release the last unleased batch, if there is one. */
static PyObject *Receiver_release(Receiver *self, PyObject *Py_UNUSED(ignored)) {
    if (self->has_batch) {
        self->has_batch = 0;
        release_batch(self, self->batch);
    }
    Py_RETURN_NONE;
}

/* Returns (stored, taken_total, own, full_batches, blocked, cas_success, cas_failure, retries).
 * `own` counts the samples of this process among the stored and the taken ones. The interpreter
 * lock keeps the consumer from moving meanwhile, so that the numbers are consistent. */
static PyObject *Receiver_stats(Receiver *self, PyObject *Py_UNUSED(ignored)) {
    she_ring_stats stats;
    api->stats(self->consumer, &stats);
    return Py_BuildValue("KKKKKKKK", (unsigned long long)stats.stored,
                         (unsigned long long)self->consumer->taken_total,
                         (unsigned long long)(stats.stored_own + self->consumer->taken_by[0]),
                         (unsigned long long)stats.full_batches,
                         (unsigned long long)stats.blocked_count,
                         (unsigned long long)stats.cas_success,
                         (unsigned long long)stats.cas_failure, (unsigned long long)stats.retries);
}

static PyObject *summary(const she_hist_summary *s) {
    return Py_BuildValue("KKKdKKK", (unsigned long long)s->count, (unsigned long long)s->min_ns,
                         (unsigned long long)s->max_ns, s->mean_ns, (unsigned long long)s->p50_ns,
                         (unsigned long long)s->p90_ns, (unsigned long long)s->p99_ns);
}

/* Returns (copies, dwell) since the last reset, each in the order of HistSnapshot's fields. */
static PyObject *Receiver_times(Receiver *self, PyObject *Py_UNUSED(ignored)) {
    she_hist_summary copies, dwell;
    api->time_summaries(self->consumer, &copies, &dwell);
    return Py_BuildValue("NN", summary(&copies), summary(&dwell));
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
    {"ready", (PyCFunction)Receiver_ready, METH_NOARGS, NULL},
    {"wait", (PyCFunction)Receiver_wait, METH_O, NULL},
    {"take", (PyCFunction)Receiver_take, METH_NOARGS, NULL},
    {"release", (PyCFunction)Receiver_release, METH_NOARGS, NULL},
    {"stats", (PyCFunction)Receiver_stats, METH_NOARGS, NULL},
    {"times", (PyCFunction)Receiver_times, METH_NOARGS, NULL},
    {"reset_times", (PyCFunction)Receiver_reset_times, METH_NOARGS, NULL},
    {"address", (PyCFunction)Receiver_address, METH_NOARGS, NULL},
    {0},
};

static PyMemberDef Receiver_members[] = {
    {"held", T_PYSSIZET, offsetof(Receiver, held), READONLY, NULL},
    {"waiting", T_BOOL, offsetof(Receiver, waiting), 0, NULL},
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
