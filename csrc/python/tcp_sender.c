/* TcpSender: its lifetime, its waits and its end (tcp_sender.h). tcp_send.c has the sending. */
#include "tcp_sender.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

static int TcpSender_traverse(TcpSender *self, visitproc visit, void *arg) {
    Py_VISIT(self->raise_for_result);
    Py_VISIT(self->watch);
    return spec_traverse(&self->spec, visit, arg);
}

static int TcpSender_clear(TcpSender *self) {
    spec_clear(&self->spec);
    Py_CLEAR(self->raise_for_result);
    Py_CLEAR(self->watch);
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
    if (keep && self->batch_window <= PY_SSIZE_T_MAX / self->spec.sample_bytes)
        self->kept = PyMem_RawCalloc(self->batch_window, self->spec.sample_bytes);
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
        "fd",
        "leaves",
        "plan",
        "flatten",
        "unflatten",
        "check",
        "raise_for_result",
        "order",
        "window",
        "batch_window",
        "coalesce",
        "wide_acks",
        "first",
        "keep",
        "same_kind",
        "dead_after_ns",
        "watch",
        "watch_after_ns",
        NULL,
    };
    PyObject *table, *plan, *flatten, *unflatten, *check, *raise_for_result, *order, *watch;
    int fd, coalesce, wide_acks, keep, same_kind;
    unsigned long long window, batch_window, first, dead_after_ns, watch_after_ns;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "iOOOOOOOKKppKppKOK", names, &fd, &table, &plan,
                                     &flatten, &unflatten, &check, &raise_for_result, &order,
                                     &window, &batch_window, &coalesce, &wide_acks, &first, &keep,
                                     &same_kind, &dead_after_ns, &watch, &watch_after_ns))
        return NULL;
    TcpSender *self = (TcpSender *)type->tp_alloc(type, 0);
    if (!self)
        return NULL;
    self->fd = -1;
    self->raise_for_result = Py_NewRef(raise_for_result);
    self->watch = watch == Py_None ? NULL : Py_NewRef(watch);
    self->watch_after_ns = watch_after_ns;
    self->may_coalesce = (char)coalesce;
    self->wide_acks = (char)wide_acks;
    self->first = first;
    self->dead_after_ns = dead_after_ns;
    self->window = window;
    self->batch_window = batch_window;
    if (spec_init(&self->spec, table, plan, flatten, unflatten, check, same_kind) < 0)
        goto fail;
    if (!window || batch_window < window || !self->spec.sample_bytes) {
        PyErr_SetString(
            PyExc_ValueError,
            "a window and a sample have a size of at least 1, and a batch's window is no smaller");
        goto fail;
    }
    if (parse_order(self, order) < 0 || allocate(self, keep) < 0 || make_condition(self) < 0)
        goto fail;
    /* Of its own, so that the caller closes its descriptor whatever happens: an interrupt may come
     * right after this call, before the caller knows of the result. */
    self->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (self->fd < 0) {
        PyErr_SetFromErrno(PyExc_OSError);
        goto fail;
    }
    return (PyObject *)self;
fail:
    Py_DECREF(self);
    return NULL;
}

PyObject *tcp_raise(TcpSender *self, int result, uint64_t sent, PyObject *timeout) {
    PyObject *none =
        PyObject_CallFunction(self->raise_for_result, "inO", result, (Py_ssize_t)sent, timeout);
    if (none) {
        Py_DECREF(none);
        PyErr_Format(PyExc_SystemError, "result %d raised no exception", result);
    }
    return NULL;
}

int tcp_status(const TcpSender *self) {
    if (self->retired || self->closing)
        return SHE_STOPPED;
    return self->lost ? BINDING_GONE : SHE_OK;
}

/* ---------------------------------------------------------------- waiting */

static int wait_acked(TcpSender *self, TcpCall *call) {
    uint64_t target = self->sent;
    tcp_coalesce(self, false);
    for (;;) {
        if (self->retired)
            return SHE_STOPPED;
        tcp_read_acks(self);
        if (self->acked >= target)
            return SHE_OK;
        int rc = tcp_status(self);
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
    return rc == -1 ? NULL : tcp_raise(self, rc, 0, timeout);
}

/* wait_room(timeout): until the window has room for a sample. */
static PyObject *TcpSender_wait_room(TcpSender *self, PyObject *timeout) {
    TcpCall call = {.checked_ns = api->now_coarse_ns()};
    if (parse_timeout(timeout, &call.deadline) < 0)
        return NULL;
    tcp_begin_call(self);
    int rc;
    while ((rc = tcp_status(self)) == SHE_OK && tcp_unacked(self) >= self->window) {
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
    return rc == -1 ? NULL : tcp_raise(self, rc, 0, timeout);
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
        const char *from = self->kept + (self->acked + i) % self->batch_window * bytes;
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
