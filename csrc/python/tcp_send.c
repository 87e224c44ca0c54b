/* send, send_batch and resend of a TcpSender: check the leaves, then write, in one call. */
#include "tcp_sender.h"

#include <poll.h>

/* A sender whose window is never half used looks ten times a second if the server is there. */
#define CHECK_EVERY_NS 100000000

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
    uint64_t left = call->count - call->index, half = (call->window + 1) / 2;
    uint64_t want = call->offset ? 1 : left < half ? left : half;
    uint64_t room = tcp_room(self, call->window);
    if (room < want) {
        tcp_read_acks(self);
        room = tcp_room(self, call->window);
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
    if (tcp_unacked(self) * 2 >= call->window ||
        call->checked_ns - self->checked_ns >= CHECK_EVERY_NS)
        tcp_read_acks(self);
    while ((rc = tcp_status(self)) == SHE_OK) {
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

PyObject *TcpSender_send(TcpSender *self, PyObject *const *args, Py_ssize_t nargs) {
    PyObject *timeout;
    TcpCall call = {.count = 1, .window = self->window};
    if (parse_send("send", args, nargs, &timeout) < 0 || parse_timeout(timeout, &call.deadline) < 0)
        return NULL;
    int rc = tcp_status(self);
    if (rc == SHE_OK) {
        call.list = spec_leaves(&self->spec, args[0], 0);
        if (!call.list)
            return NULL;
        bool ready = ragged_expand(&self->spec, call.list) == 0 && make_contiguous(call.list) == 0;
        rc = ready ? send_all(self, &call) : -1;
        Py_DECREF(call.list);
    }
    if (rc == SHE_OK)
        Py_RETURN_NONE;
    return rc == -1 ? NULL : tcp_raise(self, rc, 0, timeout);
}

/* send_batch(tree, timeout, skip): send the samples of a stack but for the first `skip`. */
PyObject *TcpSender_send_batch(TcpSender *self, PyObject *const *args, Py_ssize_t nargs) {
    PyObject *timeout;
    TcpCall call = {.window = self->batch_window};
    if (nargs == 3) {
        call.index = PyLong_AsUnsignedLongLong(args[2]);
        if (PyErr_Occurred())
            return NULL;
        nargs--;
    }
    if (parse_send("send_batch", args, nargs, &timeout) < 0 ||
        parse_timeout(timeout, &call.deadline) < 0)
        return NULL;
    int rc = tcp_status(self);
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
        (void)tcp_raise(self, rc, call.index, timeout);
    note_sent((Py_ssize_t)call.index);
    return NULL;
}

/* resend(sample, timeout): send the bytes of one sample. */
PyObject *TcpSender_resend(TcpSender *self, PyObject *const *args, Py_ssize_t nargs) {
    PyObject *timeout;
    TcpCall call = {.count = 1, .window = self->batch_window};
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
    return rc == -1 ? NULL : tcp_raise(self, rc, 0, timeout);
}
