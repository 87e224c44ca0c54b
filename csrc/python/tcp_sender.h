/* TcpSender: a producer at one end of a stream socket. tcp_sender.c has the type, tcp_send.c the
 * calls that send, tcp_stream.c the bytes that go out and come in, tcp_waits.c the sleeping.
 *
 * A sample is the bytes of its leaves, one after the other, without a frame. So whatever happens in
 * the middle of one, the next bytes of the stream have to be the rest of it: if a call ends there
 * (by its time-out, or by an exception of a signal handler), the sample counts as sent and its rest
 * is put aside, in memory of the sender; every later call writes that first. A sample is sent once
 * its first byte is, then, and not at all before.
 *
 * The interpreter lock protects all fields. While one thread writes without it, or sleeps inside of
 * a sample, `writing` keeps the others from writing. While one thread sleeps for acknowledgements,
 * `reading` keeps the others from reading them, since a sleeper would not notice; those that have
 * to wait for what another thread does sleep on `changes`. */
#ifndef SHM_ECHO_BINDING_TCP_SENDER_H
#define SHM_ECHO_BINDING_TCP_SENDER_H

#include "tree_spec.h"

#include <pthread.h>

typedef struct {
    PyObject_HEAD
    TreeSpec spec;
    Py_ssize_t *order;          /* place in a sample on the wire -> leaf; NULL if they are equal */
    PyObject *raise_for_result; /* (result, sent, timeout): raises the exception of a result */
    PyObject *watch;            /* called now and then while a call has waited for long */
    uint64_t watch_after_ns;
    int fd;                /* a non-blocking stream socket; -1 once it is closed */
    char wide_acks;        /* cumulative uint64 counts; otherwise a byte 0x01 per sample */
    uint64_t first;        /* the count that the first wide acknowledgements begin at */
    uint64_t window;       /* samples that may be sent and not acknowledged */
    uint64_t batch_window; /* the same within send_batch: at least `window` */
    uint64_t sent, acked;  /* samples of this connection */
    uint8_t half_ack[8];   /* the beginning of a wide acknowledgement */
    unsigned half_ack_bytes;
    char *gathered;      /* where the bytes of small leaves are put together */
    char *kept;          /* copies of the samples that are not acknowledged: up to `batch_window` */
    char *aside;         /* memory for the rest of an interrupted sample */
    const char *rest;    /* the rest that is to be written first: in `aside` or in `kept` */
    uint64_t rest_bytes; /* 0: there is none */
    char may_coalesce, coalesces; /* see tcp_coalesce */
    uint64_t calm_since;          /* `sent` when coalescing ended last */
    char writing, reading;
    char closing;      /* no call may send any more */
    char disconnected; /* the socket is closed at the end of the last call */
    char lost;         /* the connection has ended; `error` is its errno, 0 if the peer closed it */
    char retired;      /* inherited by a fork: the connection is the parent's */
    int error;
    Py_ssize_t busy;        /* calls in progress, in any thread */
    uint64_t checked_ns;    /* when acknowledgements were read last */
    uint64_t dead_after_ns; /* a host that answers nothing for so long is gone; 0: do not look */
    uint64_t looked_ns;     /* when tcp_check_peer looked last */
    uint64_t silent_ns;     /* since when the host answers nothing; 0: it answers */
    Py_ssize_t sleepers;    /* threads that sleep on `changes` */
    uint32_t change;        /* protected by `mutex` */
    pthread_mutex_t mutex;
    pthread_cond_t changes;
    PyObject *weakrefs;
} TcpSender;

/* The samples of one call, its progress, and its time limit. */
typedef struct {
    PyObject *list; /* the leaves; NULL if `raw` is the bytes of one sample */
    const char *raw;
    uint64_t count;  /* samples to send */
    uint64_t window; /* samples that may be sent and not acknowledged */
    uint64_t index;  /* of the sample that comes next: all before it are sent */
    uint64_t offset; /* bytes of it that are written */
    uint64_t copied; /* the samples before this one are in `kept` */
    uint64_t deadline;
    uint64_t checked_ns; /* when signal handlers ran last */
    uint64_t stuck_ns;   /* since when nothing was written; 0: the call did not wait since */
    bool turn;           /* this call has set `writing` */
} TcpCall;

/* Bytes of the memory in which small leaves are gathered. */
#define TCP_GATHERED 65536

/* Results of tcp_write and tcp_write_rest beyond SHE_OK and BINDING_GONE: the socket is full. */
enum { TCP_FULL = 102 };

/* Write samples up to `limit`, as many as the socket takes at once. (tcp_stream.c) */
int tcp_write(TcpSender *self, TcpCall *call, uint64_t limit);
/* Write the rest of an interrupted sample. SHE_OK if there is none any more. */
int tcp_write_rest(TcpSender *self);
/* Put the rest of the sample that the call is in aside: it is sent. -1 without memory. */
int tcp_put_aside(TcpSender *self, TcpCall *call);
/* Read the acknowledgements that are there, unless another thread waits for them. */
void tcp_read_acks(TcpSender *self);

/* Let the kernel put samples together while earlier ones are on their way (Nagle's algorithm), or
 * send at once what it holds. */
void tcp_coalesce(TcpSender *self, bool on);

/* At intervals: lose the connection if the host of the peer has not answered for too long. */
void tcp_check_peer(TcpSender *self);

/* Wake the threads that sleep on `changes`. (tcp_waits.c) */
void tcp_signal(TcpSender *self);
/* Sleep until the socket is ready for `events`, or, without any, until another thread has changed
 * something; a slice at most. Runs signal handlers. SHE_TIMEOUT at the deadline, -1 with an
 * exception, else SHE_OK: look again. */
int tcp_pause(TcpSender *self, TcpCall *call, short events);
/* Let other threads write. */
void tcp_give_turn(TcpSender *self, TcpCall *call);
/* Close the socket, if no call is in progress. */
void tcp_close_if_idle(TcpSender *self);

/* SHE_OK if a call may send: a result otherwise. (tcp_sender.c) */
int tcp_status(const TcpSender *self);
/* Raise the exception of a result, by `raise_for_result`. Returns NULL. */
PyObject *tcp_raise(TcpSender *self, int result, uint64_t sent, PyObject *timeout);

/* (tcp_send.c) */
PyObject *TcpSender_send(TcpSender *self, PyObject *const *args, Py_ssize_t nargs);
PyObject *TcpSender_send_batch(TcpSender *self, PyObject *const *args, Py_ssize_t nargs);
PyObject *TcpSender_resend(TcpSender *self, PyObject *const *args, Py_ssize_t nargs);

static inline uint64_t tcp_unacked(const TcpSender *self) { return self->sent - self->acked; }
/* Samples that a window has room for. More than it allows may be on their way: a batch's. */
static inline uint64_t tcp_room(const TcpSender *self, uint64_t window) {
    uint64_t unacked = tcp_unacked(self);
    return unacked < window ? window - unacked : 0;
}
static inline void tcp_begin_call(TcpSender *self) { self->busy++; }
static inline void tcp_end_call(TcpSender *self) {
    if (!self->retired && --self->busy == 0 && self->disconnected)
        tcp_close_if_idle(self);
}

#endif
