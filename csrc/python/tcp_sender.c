/* TcpSender: its calls and its lifetime (tcp_sender.h). */
#include "tcp_sender.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

/* A sender whose window is never half used looks ten times a second if the server is there. */
#define CHECK_EVERY_NS 100000000

static int TcpSender_traverse(TcpSender *self, visitproc visit, void *arg) {
    Py_VISIT(self->raise_for_result);
    return spec_traverse(&self->spec, visit, arg);
}

static int TcpSender_clear(TcpSender *self) {
    spec_clear(&self->spec);
    Py_CLEAR(self->raise_for_result);
    return 0;
}

static void TcpSender_dealloc(TcpSender *self) {
    PyObject_GC_UnTrack(self);
    if (self->weakrefs)
        PyObject_ClearWeakRefs((PyObject *)self);
    TcpSender_clear(self);
    spec_free(&self->spec);
    if (self->fd >= 0)
        close(self->fd);
    PyMem_Free(self->order);
    PyMem_RawFree(self->gathered);
    PyMem_RawFree(self->kept);
    PyMem_RawFree(self->aside);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

/* None, or a permutation of the leaves. */
static int parse_order(TcpSender *self, PyObject *order) {
    if (order == Py_None)
        return 0;
    Py_ssize_t n = self->spec.num_leaves;
    if (!PyTuple_CheckExact(order) || PyTuple_GET_SIZE(order) != n) {
        PyErr_SetString(PyExc_ValueError, "the order must be a tuple of all leaves");
        return -1;
    }
    self->order = PyMem_Calloc((size_t)n, sizeof *self->order);
    if (!self->order) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t i = 0; i < n; i++) {
        Py_ssize_t leaf = PyLong_AsSsize_t(PyTuple_GET_ITEM(order, i));
        if (leaf == -1 && PyErr_Occurred())
            return -1;
        if (leaf < 0 || leaf >= n) {
            PyErr_SetString(PyExc_ValueError, "the order names a leaf that is not there");
            return -1;
        }
        self->order[i] = leaf;
    }
    return 0;
}

static int allocate(TcpSender *self, int keep) {
    self->gathered = PyMem_RawMalloc(TCP_GATHERED);
    if (keep && self->window <= PY_SSIZE_T_MAX / self->spec.sample_bytes)
        self->kept = PyMem_RawCalloc(self->window, self->spec.sample_bytes);
    if (self->gathered && (self->kept || !keep))
        return 0;
    PyErr_NoMemory();
    return -1;
}

static int make_condition(TcpSender *self) {
    pthread_condattr_t attributes;
    if (pthread_mutex_init(&self->mutex, NULL) || pthread_condattr_init(&attributes) ||
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) ||
        pthread_cond_init(&self->changes, &attributes)) {
        PyErr_NoMemory();
        return -1;
    }
    pthread_condattr_destroy(&attributes);
    return 0;
}

static PyObject *TcpSender_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {
        "fd",    "leaves", "plan",      "flatten", "unflatten", "check",     "raise_for_result",
        "order", "window", "wide_acks", "first",   "keep",      "same_kind", "dead_after_ns",
        NULL,
    };
    PyObject *table, *plan, *flatten, *unflatten, *check, *raise_for_result, *order;
    int fd, wide_acks, keep, same_kind;
    unsigned long long window, first, dead_after_ns;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "iOOOOOOOKpKppK", names, &fd, &table, &plan,
                                     &flatten, &unflatten, &check, &raise_for_result, &order,
                                     &window, &wide_acks, &first, &keep, &same_kind,
                                     &dead_after_ns))
        return NULL;
    TcpSender *self = (TcpSender *)type->tp_alloc(type, 0);
    if (!self)
        return NULL;
    self->fd = -1; /* the descriptor stays the caller's if this fails */
    self->raise_for_result = Py_NewRef(raise_for_result);
    self->wide_acks = (char)wide_acks;
    self->first = first;
    self->dead_after_ns = dead_after_ns;
    self->window = window;
    if (spec_init(&self->spec, table, plan, flatten, unflatten, check, same_kind) < 0)
        goto fail;
    if (!window || !self->spec.sample_bytes) {
        PyErr_SetString(PyExc_ValueError, "a window and a sample have a size of at least 1");
        goto fail;
    }
    if (parse_order(self, order) < 0 || allocate(self, keep) < 0 || make_condition(self) < 0)
        goto fail;
    self->fd = fd;
    return (PyObject *)self;
fail:
    Py_DECREF(self);
    return NULL;
}

/* Raise the exception of a result, by `raise_for_result`. Returns NULL. */
static PyObject *raise_result(TcpSender *self, int result, uint64_t sent, PyObject *timeout) {
    PyObject *none =
        PyObject_CallFunction(self->raise_for_result, "inO", result, (Py_ssize_t)sent, timeout);
    if (none) {
        Py_DECREF(none);
        PyErr_Format(PyExc_SystemError, "result %d raised no exception", result);
    }
    return NULL;
}

static int status(const TcpSender *self) {
    if (self->retired || self->closing)
        return SHE_STOPPED;
    return self->lost ? BINDING_GONE : SHE_OK;
}

/* ---------------------------------------------------------------- sending */

/* Write as much of the call as window and socket have room for now. TCP_FULL if that is not all of
 * it: *events says what to wait for. */
static int write_more(TcpSender *self, TcpCall *call, short *events) {
    *events = 0;
    if (call->index == call->count && !self->rest_bytes)
        return SHE_OK;
    if (self->writing && !call->turn)
        return TCP_FULL;
    *events = POLLOUT;
    int rc = tcp_write_rest(self);
    if (rc != SHE_OK || call->index == call->count)
        return rc; /* all is written */
    /* A batch waits for half of the window: a write for each acknowledgement would be slow. */
    uint64_t left = call->count - call->index, half = (self->window + 1) / 2;
    uint64_t want = call->offset ? 1 : left < half ? left : half;
    uint64_t room = self->window - tcp_unacked(self);
    if (room < want) {
        tcp_read_acks(self);
        room = self->window - tcp_unacked(self);
        *events = POLLIN;
        if (self->lost)
            return BINDING_GONE;
        if (room < want)
            return TCP_FULL;
        *events = POLLOUT;
    }
    rc = tcp_write(self, call, call->index + (left < room ? left : room));
    if (!call->offset)
        tcp_give_turn(self, call);
    return rc;
}

/* Send the samples of a call. A result, or -1 with an exception; call->index samples are sent. */
static int send_all(TcpSender *self, TcpCall *call) {
    int rc;
    short events;
    tcp_begin_call(self);
    call->checked_ns = api->now_coarse_ns();
    if (tcp_unacked(self) * 2 >= self->window ||
        call->checked_ns - self->checked_ns >= CHECK_EVERY_NS)
        tcp_read_acks(self);
    while ((rc = status(self)) == SHE_OK) {
        rc = write_more(self, call, &events);
        if (rc == SHE_OK && call->index == call->count && !self->rest_bytes)
            break;
        if (rc == TCP_FULL)
            rc = tcp_pause(self, call, events);
        if (rc != SHE_OK)
            break;
    }
    if (rc != -1 && !self->retired && !self->lost && tcp_put_aside(self, call) < 0)
        rc = -1;
    tcp_give_turn(self, call);
    /* The rest that was put aside is sent by the next call. */
    if ((rc == SHE_TIMEOUT || rc == SHE_STOPPED) && !self->retired && call->index == call->count)
        rc = SHE_OK;
    tcp_end_call(self);
    return rc;
}

static PyObject *TcpSender_send(TcpSender *self, PyObject *const *args, Py_ssize_t nargs) {
    PyObject *timeout;
    TcpCall call = {.count = 1};
    if (parse_send("send", args, nargs, &timeout) < 0 || parse_timeout(timeout, &call.deadline) < 0)
        return NULL;
    int rc = status(self);
    if (rc == SHE_OK) {
        call.list = spec_leaves(&self->spec, args[0], 0);
        if (!call.list)
            return NULL;
        rc = make_contiguous(call.list) < 0 ? -1 : send_all(self, &call);
        Py_DECREF(call.list);
    }
    if (rc == SHE_OK)
        Py_RETURN_NONE;
    return rc == -1 ? NULL : raise_result(self, rc, 0, timeout);
}

/* send_batch(tree, timeout, skip): send the samples of a stack but for the first `skip`. */
static PyObject *TcpSender_send_batch(TcpSender *self, PyObject *const *args, Py_ssize_t nargs) {
    PyObject *timeout;
    TcpCall call = {0};
    if (nargs == 3) {
        call.index = PyLong_AsUnsignedLongLong(args[2]);
        if (PyErr_Occurred())
            return NULL;
        nargs--;
    }
    if (parse_send("send_batch", args, nargs, &timeout) < 0 ||
        parse_timeout(timeout, &call.deadline) < 0)
        return NULL;
    int rc = status(self);
    if (rc == SHE_OK) {
        npy_intp total;
        call.list = spec_rows(&self->spec, args[0], &total);
        if (!call.list)
            return NULL;
        call.count = (uint64_t)total;
        rc = call.index <= call.count ? send_all(self, &call) : SHE_OK;
        Py_DECREF(call.list);
    }
    if (rc == SHE_OK)
        return PyLong_FromUnsignedLongLong(call.index);
    if (rc != -1)
        (void)raise_result(self, rc, call.index, timeout);
    note_sent((Py_ssize_t)call.index);
    return NULL;
}

/* resend(sample, timeout): send the bytes of one sample. */
static PyObject *TcpSender_resend(TcpSender *self, PyObject *const *args, Py_ssize_t nargs) {
    PyObject *timeout;
    TcpCall call = {.count = 1};
    if (parse_send("resend", args, nargs, &timeout) < 0 ||
        parse_timeout(timeout, &call.deadline) < 0)
        return NULL;
    if (!PyBytes_CheckExact(args[0]) ||
        (uint64_t)PyBytes_GET_SIZE(args[0]) != self->spec.sample_bytes) {
        PyErr_SetString(PyExc_ValueError, "these are not the bytes of one sample");
        return NULL;
    }
    call.raw = PyBytes_AS_STRING(args[0]);
    int rc = send_all(self, &call);
    if (rc == SHE_OK)
        Py_RETURN_NONE;
    return rc == -1 ? NULL : raise_result(self, rc, 0, timeout);
}

/* ---------------------------------------------------------------- waiting */

static int wait_acked(TcpSender *self, TcpCall *call) {
    uint64_t target = self->sent;
    for (;;) {
        if (self->retired)
            return SHE_STOPPED;
        tcp_read_acks(self);
        if (self->acked >= target)
            return SHE_OK;
        int rc = status(self);
        if (rc == SHE_OK && !self->writing)
            rc = tcp_write_rest(self);
        if (rc != SHE_OK && rc != TCP_FULL)
            return rc;
        rc = tcp_pause(self, call, self->rest_bytes ? POLLIN | POLLOUT : POLLIN);
        if (rc != SHE_OK)
            return rc;
    }
}

/* wait(timeout): until every sample that was sent is acknowledged. */
static PyObject *TcpSender_wait(TcpSender *self, PyObject *timeout) {
    TcpCall call = {.checked_ns = api->now_coarse_ns()};
    if (parse_timeout(timeout, &call.deadline) < 0)
        return NULL;
    tcp_begin_call(self);
    int rc = wait_acked(self, &call);
    tcp_end_call(self);
    if (rc == SHE_OK)
        Py_RETURN_NONE;
    return rc == -1 ? NULL : raise_result(self, rc, 0, timeout);
}

/* wait_room(timeout): until the window has room for a sample. */
static PyObject *TcpSender_wait_room(TcpSender *self, PyObject *timeout) {
    TcpCall call = {.checked_ns = api->now_coarse_ns()};
    if (parse_timeout(timeout, &call.deadline) < 0)
        return NULL;
    tcp_begin_call(self);
    int rc;
    while ((rc = status(self)) == SHE_OK && tcp_unacked(self) >= self->window) {
        tcp_read_acks(self);
        if (tcp_unacked(self) < self->window || self->lost)
            continue;
        rc = tcp_pause(self, &call, POLLIN);
        if (rc != SHE_OK)
            break;
    }
    tcp_end_call(self);
    if (rc == SHE_OK)
        Py_RETURN_NONE;
    return rc == -1 ? NULL : raise_result(self, rc, 0, timeout);
}

/* Write the rest, say that nothing more comes, and read the acknowledgements to their end. */
static int finish(TcpSender *self, TcpCall *call) {
    bool said = false;
    while (!self->retired && !self->lost && self->fd >= 0) {
        tcp_read_acks(self);
        if (self->lost || (!tcp_unacked(self) && !self->writing))
            break;
        short events = POLLIN;
        if (self->writing) {
            events = 0; /* it notices `closing`, and puts the rest of its sample aside */
        } else if (!said) {
            int rc = tcp_write_rest(self);
            if (rc == BINDING_GONE)
                break;
            if (rc == TCP_FULL)
                events = POLLIN | POLLOUT;
            else
                said = shutdown(self->fd, SHUT_WR) == 0;
        }
        int rc = tcp_pause(self, call, events);
        if (rc != SHE_OK)
            return rc;
    }
    return SHE_OK;
}

/* finish(timeout): let no call send any more, and wait until the peer has acknowledged everything.
 * Returns the number of samples that it has not. */
static PyObject *TcpSender_finish(TcpSender *self, PyObject *timeout) {
    TcpCall call = {.checked_ns = api->now_coarse_ns()};
    if (parse_timeout(timeout, &call.deadline) < 0)
        return NULL;
    self->closing = 1;
    tcp_signal(self);
    tcp_begin_call(self);
    int rc = finish(self, &call);
    tcp_end_call(self);
    return rc == -1 ? NULL : PyLong_FromUnsignedLongLong(tcp_unacked(self));
}

/* End the connection at once, and all calls with it. */
static PyObject *TcpSender_disconnect(TcpSender *self, PyObject *Py_UNUSED(ignored)) {
    if (!self->retired) {
        self->closing = self->disconnected = 1;
        if (self->busy && self->fd >= 0)
            (void)shutdown(self->fd, SHUT_RDWR); /* wakes the calls that poll it */
        tcp_signal(self);
        tcp_close_if_idle(self);
    }
    Py_RETURN_NONE;
}

/* Return true if the connection has ended. */
static PyObject *TcpSender_look(TcpSender *self, PyObject *Py_UNUSED(ignored)) {
    tcp_read_acks(self);
    return PyBool_FromLong(self->lost);
}

/* In the child of a fork: the connection is the parent's, and must end with it. */
static PyObject *TcpSender_retire(TcpSender *self, PyObject *Py_UNUSED(ignored)) {
    if (!self->retired && self->fd >= 0)
        close(self->fd);
    self->fd = -1;
    self->retired = 1;
    self->busy = self->sleepers = 0;
    Py_RETURN_NONE;
}

/* The bytes of the samples that are kept because they are not acknowledged, oldest first. */
static PyObject *TcpSender_unacked_samples(TcpSender *self, PyObject *Py_UNUSED(ignored)) {
    uint64_t count = self->kept ? tcp_unacked(self) : 0, bytes = self->spec.sample_bytes;
    PyObject *list = PyList_New((Py_ssize_t)count);
    for (uint64_t i = 0; list && i < count; i++) {
        const char *from = self->kept + (self->acked + i) % self->window * bytes;
        PyObject *sample = PyBytes_FromStringAndSize(from, (Py_ssize_t)bytes);
        if (!sample)
            Py_CLEAR(list);
        else
            PyList_SET_ITEM(list, (Py_ssize_t)i, sample);
    }
    return list;
}

static PyMethodDef TcpSender_methods[] = {
    {"send", (PyCFunction)(void (*)(void))TcpSender_send, METH_FASTCALL, NULL},
    {"send_batch", (PyCFunction)(void (*)(void))TcpSender_send_batch, METH_FASTCALL, NULL},
    {"resend", (PyCFunction)(void (*)(void))TcpSender_resend, METH_FASTCALL, NULL},
    {"wait", (PyCFunction)TcpSender_wait, METH_O, NULL},
    {"wait_room", (PyCFunction)TcpSender_wait_room, METH_O, NULL},
    {"finish", (PyCFunction)TcpSender_finish, METH_O, NULL},
    {"disconnect", (PyCFunction)TcpSender_disconnect, METH_NOARGS, NULL},
    {"look", (PyCFunction)TcpSender_look, METH_NOARGS, NULL},
    {"retire", (PyCFunction)TcpSender_retire, METH_NOARGS, NULL},
    {"unacked_samples", (PyCFunction)TcpSender_unacked_samples, METH_NOARGS, NULL},
    {0},
};

static PyMemberDef TcpSender_members[] = {
    {"sent", T_ULONGLONG, offsetof(TcpSender, sent), READONLY, NULL},
    {"acked", T_ULONGLONG, offsetof(TcpSender, acked), READONLY, NULL},
    {"first", T_ULONGLONG, offsetof(TcpSender, first), READONLY, NULL},
    {"error", T_INT, offsetof(TcpSender, error), READONLY, NULL},
    {"lost", T_BOOL, offsetof(TcpSender, lost), READONLY, NULL},
    {"retired", T_BOOL, offsetof(TcpSender, retired), READONLY, NULL},
    {0},
};

PyTypeObject TcpSender_Type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "shm_echo.ring._core_cpython.TcpSender",
    .tp_basicsize = sizeof(TcpSender),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_new = TcpSender_new,
    .tp_dealloc = (destructor)TcpSender_dealloc,
    .tp_traverse = (traverseproc)TcpSender_traverse,
    .tp_clear = (inquiry)TcpSender_clear,
    .tp_weaklistoffset = offsetof(TcpSender, weakrefs),
    .tp_methods = TcpSender_methods,
    .tp_members = TcpSender_members,
};
