/* Sender: a producer, with its life and its claims. What it sends is in send.c. */
#include "sender.h"

#define CHECK_EVERY_NS 100000000 /* a sender that never waits looks this often whether the server lives */
/* Results beyond those of ring.h, as `refuse` gets them. */
enum { FAST_GONE = 100 };

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
PyObject *sender_refused(Sender *self, int result, Py_ssize_t sent, PyObject *timeout) {
    PyObject *none = PyObject_CallFunction(self->refuse, "inO", result, sent, timeout);
    if (none) {
        Py_DECREF(none);
        PyErr_Format(PyExc_SystemError, "result %d was not refused", result);
    }
    return NULL;
}

/* timeout: None waits for ever, 0 polls. Sets *deadline to 0 for "for ever". */
int parse_timeout(PyObject *timeout, uint64_t *deadline) {
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
int sender_claim(Sender *self, uint64_t deadline, uint64_t *position) {
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

bool sender_usable(Sender *self) {
    if (!self->retired)
        return true;
    (void)sender_refused(self, SHE_STOPPED, 0, Py_None);
    return false;
}

static PyObject *Sender_reserve(Sender *self, PyObject *timeout) {
    uint64_t deadline, position;
    if (parse_timeout(timeout, &deadline) < 0 || !sender_usable(self))
        return NULL;
    self->busy++;
    int rc = sender_claim(self, deadline, &position);
    self->busy--;
    if (rc == -1)
        return NULL;
    if (rc != SHE_OK)
        return sender_refused(self, rc, 0, timeout);
    PyObject *list = PyList_New(self->num_leaves);
    for (Py_ssize_t i = 0; list && i < self->num_leaves; i++) {
        PyObject *row = leaf_view(&self->leaves[i], she_row(self->handle->ring, (uint32_t)i, position),
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
    if ((position == (unsigned long long)-1 && PyErr_Occurred()) || !sender_usable(self))
        return NULL;
    int rc = api->commit(self->producer, position);
    if (rc != SHE_OK)
        return sender_refused(self, rc, 0, Py_None);
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
    if (parse_timeout(timeout, &deadline) < 0 || !sender_usable(self))
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
        return sender_refused(self, rc, 0, timeout);
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

PyTypeObject Sender_Type = {
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

