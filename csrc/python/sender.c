/* Sender: a producer, its lifetime and its waits. send.c has the sending, slot.c and run.c what
 * `reserve` and `claim_run` hand out. */
#include "sender.h"

/* A sender that never waits checks ten times a second whether the server is alive. */
#define CHECK_EVERY_NS 100000000

static int Sender_traverse(Sender *self, visitproc visit, void *arg) {
    Py_VISIT(self->raise_for_result);
    Py_VISIT(self->on_idle);
    Py_VISIT(self->watch);
    return spec_traverse(&self->spec, visit, arg);
}

static int Sender_clear(Sender *self) {
    spec_clear(&self->spec);
    Py_CLEAR(self->raise_for_result);
    Py_CLEAR(self->on_idle);
    Py_CLEAR(self->watch);
    return 0;
}

static void Sender_dealloc(Sender *self) {
    PyObject_GC_UnTrack(self);
    if (self->weakrefs)
        PyObject_ClearWeakRefs((PyObject *)self);
    Sender_clear(self);
    spec_free(&self->spec);
    if (self->producer)
        api->producer_free(self->producer);
    Py_XDECREF(self->handle);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static PyObject *Sender_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {
        "handle",           "owner",  "leaves", "plan",      "flatten",        "unflatten", "check",
        "raise_for_result", "server", "watch",  "same_kind", "watch_after_ns", NULL,
    };
    PyObject *handle, *table, *plan, *flatten, *unflatten, *check, *raise_for_result;
    PyObject *watch = Py_None;
    unsigned int owner;
    unsigned long long watch_after_ns = 0;
    int server, same_kind = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!IOOOOOOi|OpK", names, &Handle_Type, &handle,
                                     &owner, &table, &plan, &flatten, &unflatten, &check,
                                     &raise_for_result, &server, &watch, &same_kind,
                                     &watch_after_ns))
        return NULL;
    Sender *self = (Sender *)type->tp_alloc(type, 0);
    if (!self)
        return NULL;
    self->handle = (Handle *)Py_NewRef(handle);
    self->raise_for_result = Py_NewRef(raise_for_result);
    self->watch = Py_NewRef(watch);
    self->watch_after_ns = watch_after_ns;
    self->server = server;
    self->forks = forks;
    if (spec_init(&self->spec, table, plan, flatten, unflatten, check, same_kind) < 0)
        goto fail;
    uint64_t rows = Py_MAX(1, self->handle->ring->run_rows); /* of a slot */
    self->claim = self->handle->ring->run_rows ? api->loader_claim : api->claim;
    if ((uint32_t)self->spec.num_leaves != self->handle->ring->num_leaves) {
        PyErr_SetString(PyExc_ValueError, "the ring has another number of leaves");
        goto fail;
    }
    for (Py_ssize_t i = 0; i < self->spec.num_leaves; i++) {
        if (self->spec.leaves[i].row_bytes * rows != self->handle->ring->leaves[i].row_bytes) {
            PyErr_SetString(PyExc_ValueError, "the ring has another row size");
            goto fail;
        }
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

int sender_call_on_idle(Sender *self) {
    if (!self->on_idle || self->busy || self->reserved)
        return 0;
    PyObject *type, *value, *trace, *on_idle = self->on_idle;
    self->on_idle = NULL;
    PyErr_Fetch(&type, &value, &trace);
    PyObject *none = PyObject_CallNoArgs(on_idle);
    bool interrupted = !none && !type && !PyErr_ExceptionMatches(PyExc_Exception);
    /* An ordinary exception is not the affair of the call that happened to be the last one. */
    if (!none && !interrupted)
        PyErr_WriteUnraisable(on_idle);
    Py_XDECREF(none);
    Py_DECREF(on_idle);
    if (interrupted)
        return -1;
    PyErr_Restore(type, value, trace);
    return 0;
}

/* Raise the exception of a result, by `raise_for_result`. Returns NULL. */
PyObject *sender_raise(Sender *self, int result, Py_ssize_t sent, PyObject *timeout) {
    if (handle_check(self->handle, sent) < 0)
        return NULL;
    PyObject *none = PyObject_CallFunction(self->raise_for_result, "inO", result, sent, timeout);
    if (none) {
        Py_DECREF(none);
        PyErr_Format(PyExc_SystemError, "result %d raised no exception", result);
    }
    return NULL;
}

/* At intervals, even if no claim waits: record that this producer is alive, and check that the
 * server is. */
static int heartbeat(Sender *self) {
    if (she_load32_relaxed(&self->producer->stop)) /* relaxed: a hint */
        return SHE_OK; /* the claim reports it; the pidfd may be closed already */
    uint64_t now = api->now_coarse_ns();
    if (now - self->checked_ns < CHECK_EVERY_NS)
        return SHE_OK;
    self->checked_ns = now;
    api->heartbeat(self->producer, now);
    return self->server >= 0 && api->process_gone(self->server) ? BINDING_GONE : SHE_OK;
}

/* True if the wait that began at `since`, or that begins now if 0, has lasted for `ns`. */
static bool has_waited(uint64_t since, uint64_t ns) {
    return ns == 0 || (since && api->now_ns() - since >= ns);
}

/* The word that says "closed" or "revoked" may be overwritten, so `raise_for_result` asks the
 * server and returns if it is. Then look again: SHE_OK. -1 with the exception otherwise; other
 * results stay as they are. */
static int confirm(Sender *self, int rc) {
    if (rc != SHE_CLOSED && rc != SHE_REVOKED)
        return rc;
    PyObject *none = PyObject_CallFunction(self->raise_for_result, "iiO", rc, 0, Py_None);
    if (!none)
        return -1;
    Py_DECREF(none);
    return SHE_OK;
}

/* SHE_OK if this producer may claim. -1 if a Python exception is set. */
int sender_status(Sender *self) {
    int rc;
    do
        rc = sender_result(self, api->producer_status(self->producer));
    while (rc != SHE_OK && (rc = confirm(self, rc)) == SHE_OK);
    return rc;
}

/* Claim a slot, waiting for space if necessary. -1 if a Python exception is set. */
int sender_claim(Sender *self, uint64_t deadline, uint64_t *position) {
    int rc = heartbeat(self);
    uint64_t since = 0;
    while (rc == SHE_OK) {
        uint32_t ticket = she_claim_ticket(self->producer);
        rc = self->claim(self->producer, position);
        if (rc == SHE_OK) /* a sample in truncated memory is noticed by its commit */
            break;
        rc = sender_result(self, rc);
        if (rc == BINDING_BROKEN)
            break;
        if (rc != SHE_FULL) {
            rc = confirm(self, rc);
            continue;
        }
        int64_t slice = slice_until(deadline);
        if (slice == 0) {
            rc = SHE_TIMEOUT;
            break;
        }
        if (self->watch != Py_None && has_waited(since, self->watch_after_ns)) {
            PyObject *none = PyObject_CallNoArgs(self->watch);
            if (!none) {
                rc = -1;
                break;
            }
            Py_DECREF(none);
        }
        if (!since)
            since = api->wait_begin(self->producer);
        Py_BEGIN_ALLOW_THREADS
        rc = api->claim_wait(self->producer, ticket, slice);
        Py_END_ALLOW_THREADS
        rc = sender_result(self, rc);
        if (rc == SHE_STOPPED || rc == BINDING_BROKEN)
            break;
        rc = confirm(self, rc);
        if (rc == -1)
            break;
        rc = self->server >= 0 && api->process_gone(self->server) ? BINDING_GONE : SHE_OK;
        if (PyErr_CheckSignals() < 0)
            rc = -1;
        else if (sender_retired(self)) /* in the child of a signal handler that forks */
            rc = SHE_STOPPED;
    }
    if (since && !sender_retired(self))
        api->wait_end(self->producer, since);
    return rc;
}

bool sender_usable(Sender *self) {
    if (!sender_retired(self))
        return true;
    (void)sender_raise(self, SHE_STOPPED, 0, Py_None);
    return false;
}

bool sender_usable_for(Sender *self, bool runs) {
    if ((self->handle->ring->run_rows != 0) == runs)
        return sender_usable(self);
    PyErr_SetString(PyExc_TypeError, runs ? "this ring takes single samples: use reserve"
                                          : "this is a loader's ring: use claim_run");
    return false;
}

/* Wait until every committed sample has been handed out. */
static PyObject *Sender_wait(Sender *self, PyObject *timeout) {
    uint64_t deadline;
    if (parse_timeout(timeout, &deadline) < 0 || !sender_usable_for(self, false))
        return NULL;
    sender_begin_call(self);
    int rc = she_load32_relaxed(&self->producer->stop)
                 ? SHE_STOPPED
                 : sender_result(self, api->drained(self->producer));
    bool waits =
        rc != SHE_OK && rc != SHE_STOPPED && rc != BINDING_BROKEN && slice_until(deadline) > 0;
    if (waits)
        api->drain_begin(self->producer);
    while (rc != SHE_OK && rc != SHE_STOPPED && rc != BINDING_BROKEN) {
        int64_t slice = slice_until(deadline);
        Py_BEGIN_ALLOW_THREADS
        rc = api->drain_wait(self->producer, slice);
        Py_END_ALLOW_THREADS
        rc = sender_result(self, rc);
        if (rc == SHE_OK || rc == SHE_STOPPED || rc == BINDING_BROKEN)
            break;
        if ((rc == SHE_CLOSED || rc == SHE_REVOKED) && (rc = confirm(self, rc)) == -1)
            break;
        if (rc == SHE_OK)
            rc = SHE_WOKEN; /* and not: drained */
        if (self->server >= 0 && api->process_gone(self->server)) {
            rc = BINDING_GONE;
            break;
        }
        if (PyErr_CheckSignals() < 0) {
            rc = -1;
            break;
        }
        if (sender_retired(self)) { /* in the child of a signal handler that forks */
            rc = SHE_STOPPED;
            break;
        }
        if (slice == 0) {
            rc = SHE_TIMEOUT;
            break;
        }
    }
    if (waits && !sender_retired(self))
        api->drain_end(self->producer);
    if (sender_end_call(self) < 0 || rc == -1)
        return NULL;
    if (rc != SHE_OK)
        return sender_raise(self, rc, 0, timeout);
    Py_RETURN_NONE;
}

static PyObject *Sender_stop(Sender *self, PyObject *Py_UNUSED(ignored)) {
    if (!sender_retired(self))
        api->producer_stop(self->producer);
    Py_RETURN_NONE;
}

/* Stop the producer, and call `on_idle` once no call is in progress and no slot is reserved: now,
 * or at the end of the last one. It does not wait for that, because the calls may be this thread's
 * own, below a signal handler. */
static PyObject *Sender_leave(Sender *self, PyObject *on_idle) {
    if (!sender_retired(self)) {
        api->producer_stop(self->producer);
        Py_XSETREF(self->on_idle, Py_NewRef(on_idle));
        if (sender_call_on_idle(self) < 0)
            return NULL;
    }
    Py_RETURN_NONE;
}

void sender_retire(Sender *self) {
    self->retired = 1;
    sender_freeze_slots(self);
    self->busy = self->reserved = 0;
}

static PyObject *Sender_retire(Sender *self, PyObject *Py_UNUSED(ignored)) {
    sender_retire(self);
    Py_RETURN_NONE;
}

static PyMethodDef Sender_methods[] = {
    {"send", (PyCFunction)(void (*)(void))Sender_send, METH_FASTCALL, NULL},
    {"send_batch", (PyCFunction)(void (*)(void))Sender_send_batch, METH_FASTCALL, NULL},
    {"reserve", (PyCFunction)Sender_reserve, METH_O, NULL},
    {"claim_run", (PyCFunction)Sender_claim_run, METH_O, NULL},
    {"wait", (PyCFunction)Sender_wait, METH_O, NULL},
    {"stop", (PyCFunction)Sender_stop, METH_NOARGS, NULL},
    {"leave", (PyCFunction)Sender_leave, METH_O, NULL},
    {"retire", (PyCFunction)Sender_retire, METH_NOARGS, NULL},
    {0},
};

/* The slot of the claim for which the last commit returned SHE_CORRUPTED. */
static PyObject *Sender_lost_slot(Sender *self, void *Py_UNUSED(closure)) {
    return PyLong_FromUnsignedLongLong(self->producer->lost_slot);
}

static PyGetSetDef Sender_getset[] = {
    {"lost_slot", (getter)Sender_lost_slot, NULL, NULL, NULL},
    {0},
};

static PyMemberDef Sender_members[] = {
    {"busy", T_PYSSIZET, offsetof(Sender, busy), READONLY, NULL},
    {"reserved", T_PYSSIZET, offsetof(Sender, reserved), READONLY, NULL},
    {"retired", T_BOOL, offsetof(Sender, retired), READONLY, NULL},
    {0},
};

PyTypeObject Sender_Type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "shm_echo.ring._core_cpython.Sender",
    .tp_basicsize = sizeof(Sender),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_new = Sender_new,
    .tp_dealloc = (destructor)Sender_dealloc,
    .tp_traverse = (traverseproc)Sender_traverse,
    .tp_clear = (inquiry)Sender_clear,
    .tp_weaklistoffset = offsetof(Sender, weakrefs),
    .tp_methods = Sender_methods,
    .tp_members = Sender_members,
    .tp_getset = Sender_getset,
};
