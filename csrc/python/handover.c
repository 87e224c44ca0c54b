/* Handover: one batch on its way from the ring into the hands of a caller.
 *
 * CPython runs signal handlers after the return of any C function and at the start of any Python
 * function. If one raises, the result of that call is lost. So the batch stays in this object, and
 * the Python function that returns it to the caller ends like this:
 *
 *     handover = consumer.handover()
 *     try:
 *         sample = consumer.take(handover, ...)
 *         handover.confirm()
 *         return sample
 *     except BaseException:
 *         handover.put_back()
 *         raise
 *
 * After confirm() a handler runs inside of the `try`, and put_back() returns the batch to the
 * receiver, or after the caller has stored the sample. (CPython 3.10 also runs handlers in between,
 * when a Python function has returned: that cannot be prevented here.) The object knows whether it
 * holds the receiver's lock and a batch, and each of its steps is one call, so an interrupt finds
 * it before or after a step. */
#include "receiver.h"

/* A wait for the lock wakes at this interval, in microseconds: far below any limit of the
 * platform. */
#define LOCK_SLICE_US 3600000000.0

int receiver_lock(Receiver *self, double timeout) {
    unsigned long me = PyThread_get_thread_ident();
    if (self->lock_depth && self->lock_owner == me) {
        self->lock_depth++;
        return 1;
    }
    uint64_t deadline = timeout < 0 ? 0 : api->now_ns() + (uint64_t)(timeout * 1e9);
    PyLockStatus status = PyThread_acquire_lock_timed(self->lock, 0, 0);
    while (status != PY_LOCK_ACQUIRED) {
        double left_us = LOCK_SLICE_US;
        if (timeout >= 0) {
            uint64_t now = api->now_ns();
            if (now >= deadline)
                return 0;
            left_us = Py_MIN(left_us, (double)(deadline - now) / 1e3 + 1);
        }
        Py_BEGIN_ALLOW_THREADS
        status = PyThread_acquire_lock_timed(self->lock, (PY_TIMEOUT_T)left_us, 1);
        Py_END_ALLOW_THREADS
        if (status == PY_LOCK_INTR && PyErr_CheckSignals() < 0)
            return -1;
    }
    self->lock_owner = me;
    self->lock_depth = 1;
    return 1;
}

void receiver_unlock(Receiver *self) {
    if (--self->lock_depth == 0)
        PyThread_release_lock(self->lock);
}

typedef struct {
    PyObject_HEAD
    Receiver *receiver;
    Batch batch;
    char locked;
} Handover;

PyObject *receiver_handover(Receiver *receiver, PyObject *Py_UNUSED(ignored)) {
    Handover *self = PyObject_New(Handover, &Handover_Type);
    if (!self)
        return NULL;
    self->receiver = (Receiver *)Py_NewRef(receiver);
    self->batch = (Batch){0};
    self->locked = 0;
    return (PyObject *)self;
}

static void unlock(Handover *self) {
    if (self->locked) {
        self->locked = 0;
        receiver_unlock(self->receiver);
    }
}

/* Wait for the turn of this call, at most `timeout` seconds, or without limit if negative. */
static PyObject *Handover_begin(Handover *self, PyObject *timeout) {
    double seconds = PyFloat_AsDouble(timeout);
    if (seconds == -1.0 && PyErr_Occurred())
        return NULL;
    int rc = receiver_lock(self->receiver, seconds);
    if (rc < 0)
        return NULL;
    self->locked = (char)rc;
    /* An interrupted call, or the one in which this one is nested, may have left it sealed; that
     * one seals it again before it waits. A call that wants whole batches gets no short one. */
    if (rc && self->receiver->consumer->sealed && !receiver_of_loader(self->receiver))
        api->unseal(self->receiver->consumer);
    return PyBool_FromLong(rc);
}

/* Release the last unleased batch and take the next one: a list of arrays, one per leaf, with one
 * row per sample. None if no batch is complete. With True, each array has memory of its own. */
static PyObject *Handover_take(Handover *self, PyObject *owned) {
    if (!self->locked || self->batch.arrays) {
        PyErr_SetString(PyExc_SystemError, "a hand-over takes one batch, after begin()");
        return NULL;
    }
    int rc = receiver_take(self->receiver, owned == Py_True, &self->batch);
    if (rc < 0)
        return NULL;
    return Py_NewRef(rc ? self->batch.arrays : Py_None);
}

/* No caller shall get this batch: give its memory back. The lock stays; another may be taken. */
static PyObject *Handover_drop(Handover *self, PyObject *Py_UNUSED(ignored)) {
    batch_clear(&self->batch);
    Py_RETURN_NONE;
}

/* The caller's next statement returns the batch, or returns without one. */
static PyObject *Handover_confirm(Handover *self, PyObject *Py_UNUSED(ignored)) {
    unlock(self);
    Py_RETURN_NONE;
}

/* The caller failed: the next take gives the batch again. */
static PyObject *Handover_put_back(Handover *self, PyObject *Py_UNUSED(ignored)) {
    if (self->batch.arrays)
        receiver_put_back(self->receiver, &self->batch);
    unlock(self);
    Py_RETURN_NONE;
}

static void Handover_dealloc(Handover *self) {
    if (self->locked && self->batch.arrays) /* neither confirmed nor put back */
        receiver_put_back(self->receiver, &self->batch);
    unlock(self);
    batch_clear(&self->batch);
    Py_DECREF(self->receiver);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static PyMethodDef Handover_methods[] = {
    {"begin", (PyCFunction)Handover_begin, METH_O, NULL},
    {"take", (PyCFunction)Handover_take, METH_O, NULL},
    {"confirm", (PyCFunction)Handover_confirm, METH_NOARGS, NULL},
    {"put_back", (PyCFunction)Handover_put_back, METH_NOARGS, NULL},
    {"drop", (PyCFunction)Handover_drop, METH_NOARGS, NULL},
    {0},
};

/* The failed runs of the batch: a tuple of (first row, rows, status). */
static PyObject *Handover_failed(Handover *self, void *Py_UNUSED(closure)) {
    return self->batch.failed ? Py_NewRef(self->batch.failed) : PyTuple_New(0);
}

static PyGetSetDef Handover_getset[] = {
    {"failed", (getter)Handover_failed, NULL, NULL, NULL},
    {0},
};

static PyMemberDef Handover_members[] = {
    {"rows", T_ULONGLONG, offsetof(Handover, batch.rows), READONLY, NULL},
    {"first_row", T_ULONGLONG, offsetof(Handover, batch.first_row), READONLY, NULL},
    {0},
};

PyTypeObject Handover_Type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "shm_echo.ring._core_cpython.Handover",
    .tp_basicsize = sizeof(Handover),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_dealloc = (destructor)Handover_dealloc,
    .tp_methods = Handover_methods,
    .tp_getset = Handover_getset,
    .tp_members = Handover_members,
};
