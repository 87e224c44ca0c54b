/* How the threads of a TcpSender sleep: in a poll of the socket, or until another thread has
 * changed something. */
#include "tcp_sender.h"

#include <errno.h>
#include <poll.h>
#include <time.h>
#include <unistd.h>

/* A wait for acknowledgements of this length is not one for a peer in this machine that is busy
 * with the samples. */
#define LONG_WAIT_NS 2000000

void tcp_signal(TcpSender *self) {
    if (!self->sleepers)
        return;
    pthread_mutex_lock(&self->mutex);
    self->change++;
    pthread_cond_broadcast(&self->changes);
    pthread_mutex_unlock(&self->mutex);
}

static void sleep_until_change(TcpSender *self, int64_t slice_ns) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += slice_ns; /* less than a second */
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    pthread_mutex_lock(&self->mutex);
    uint32_t change = self->change; /* still under the interpreter lock: nothing is missed */
    pthread_mutex_unlock(&self->mutex);
    self->sleepers++;
    Py_BEGIN_ALLOW_THREADS
    pthread_mutex_lock(&self->mutex);
    while (self->change == change)
        if (pthread_cond_timedwait(&self->changes, &self->mutex, &until))
            break;
    pthread_mutex_unlock(&self->mutex);
    Py_END_ALLOW_THREADS
    if (!self->retired)
        self->sleepers--;
}

/* True if the socket is ready, or has ended. */
static bool sleep_in_poll(TcpSender *self, short events, int64_t slice_ns) {
    struct pollfd pollfd = {.fd = self->fd, .events = events | POLLRDHUP};
    struct timespec slice = {.tv_nsec = slice_ns};
    int ready;
    Py_BEGIN_ALLOW_THREADS
    ready = ppoll(&pollfd, 1, &slice, NULL);
    Py_END_ALLOW_THREADS
    return ready > 0;
}

void tcp_give_turn(TcpSender *self, TcpCall *call) {
    if (!call->turn)
        return;
    call->turn = false;
    call->copied = 0; /* samples of other calls may take the slots of `kept` */
    if (self->retired)
        return;
    self->writing = 0;
    tcp_signal(self);
}

/* -1 with an exception of `watch` or of a signal handler. */
static int run_python(TcpSender *self, TcpCall *call, uint64_t now) {
    if (PyErr_CheckSignals() < 0)
        return -1;
    if (!call->stuck_ns)
        call->stuck_ns = now;
    if (self->retired || !self->watch || now - call->stuck_ns < self->watch_after_ns)
        return 0;
    PyObject *watch = Py_NewRef(self->watch), *none = PyObject_CallNoArgs(watch);
    Py_DECREF(watch);
    Py_XDECREF(none);
    return none ? 0 : -1;
}

int tcp_pause(TcpSender *self, TcpCall *call, short events) {
    int64_t slice = slice_until(call->deadline);
    bool ready = false;
    if (slice > 0 && events & POLLIN && !self->reading) {
        uint64_t began = api->now_ns();
        self->reading = 1;
        ready = sleep_in_poll(self, events, slice);
        if (!self->retired) {
            self->reading = 0;
            if (api->now_ns() - began > LONG_WAIT_NS)
                tcp_coalesce(self, false);
        }
        tcp_signal(self); /* one of the others goes on reading */
    } else if (slice > 0 && events & POLLOUT) {
        ready = sleep_in_poll(self, POLLOUT, slice);
    } else if (slice > 0) {
        sleep_until_change(self, slice);
    }
    /* Handlers run at each pause that is long or interrupted, and ten times a second. */
    uint64_t now = api->now_coarse_ns();
    if (ready && now - call->checked_ns < SLICE_NS)
        return SHE_OK;
    call->checked_ns = now;
    tcp_check_peer(self);
    if (!self->retired && tcp_put_aside(self, call) < 0) /* they, or other threads, may send */
        return -1;
    tcp_give_turn(self, call);
    if (slice == 0)
        return SHE_TIMEOUT;
    return run_python(self, call, now) < 0 ? -1 : SHE_OK;
}

void tcp_close_if_idle(TcpSender *self) {
    if (self->busy || self->fd < 0 || !self->disconnected)
        return;
    int fd = self->fd;
    self->fd = -1;
    close(fd);
}
