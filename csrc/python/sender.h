/* Sender, a producer, and Slot, what its `reserve` hands out. The declarations that sender.c,
 * send.c and slot.c share. */
#ifndef SHM_ECHO_BINDING_SENDER_H
#define SHM_ECHO_BINDING_SENDER_H

#include "tree_spec.h"

typedef struct Slot Slot;

typedef struct {
    PyObject_HEAD
    Handle *handle;
    she_producer *producer;
    TreeSpec spec;
    PyObject *raise_for_result; /* (result, sent, timeout): raises the exception of a result */
    PyObject *watch;            /* called before each wait for space, may raise; or None */
    uint64_t watch_after_ns;    /* not before a claim has waited for so long */
    int server;                 /* pidfd of the server, or -1 */
    uint64_t checked_ns;        /* when `server` was checked last */
    Py_ssize_t busy;            /* calls in progress, in any thread */
    Py_ssize_t reserved;        /* slots of `reserve` that have not ended */
    Slot *slots;                /* these slots, as a list */
    PyObject *on_idle;          /* set by `leave`: called once, when both are 0 */
    char retired;               /* inherited by a fork: the owner id is the parent's */
} Sender;

/* Claim a slot, waiting for space if necessary. -1 if a Python exception is set. */
int sender_claim(Sender *self, uint64_t deadline, uint64_t *position);
/* Call `on_idle`, once, if the sender is idle. -1 with an exception if it was interrupted. */
int sender_call_on_idle(Sender *self);
/* SHE_OK if this producer may claim. -1 if a Python exception is set. */
int sender_status(Sender *self);
/* Called around each call that may claim, wait or copy. The end of the last one calls `on_idle`. */
static inline void sender_begin_call(Sender *self) { self->busy++; }
static inline int sender_end_call(Sender *self) {
    self->busy--;
    return self->on_idle ? sender_call_on_idle(self) : 0;
}
/* Raise the exception of a result, by `raise_for_result`. Returns NULL. */
PyObject *sender_raise(Sender *self, int result, Py_ssize_t sent, PyObject *timeout);
/* True unless this is the child of a fork; false with an exception. */
bool sender_usable(Sender *self);
/* A result beyond those of ring.h: the memory was truncated. sender_raise makes the exception. */
enum { BINDING_BROKEN = 101 };
/* The result of a call of the core, unless it worked on the zeros of a truncated mapping. */
static inline int sender_result(const Sender *self, int rc) {
    return mapping_broken(self->handle->mapping) ? BINDING_BROKEN : rc;
}

PyObject *Sender_send(Sender *self, PyObject *const *args, Py_ssize_t nargs);
PyObject *Sender_send_batch(Sender *self, PyObject *const *args, Py_ssize_t nargs);

/* Copy the arrays of the list into a claimed slot. C-contiguous ones that lie in their row already
 * cost nothing. (send.c) */
int sender_copy(Sender *self, PyObject *list, uint64_t position);
/* A slot of the ring, claimed to be written in place. One that dies uncommitted is given back by
 * its destructor, so that an interrupt at any moment leaves no claim behind. (slot.c) */
struct Slot {
    PyObject_HEAD
    Sender *sender;
    uint64_t position;
    PyObject *views;    /* the arrays that were handed out, as a tuple */
    PyObject *tree;     /* of these arrays; the user may replace leaves of it, or all of it */
    Slot *next, **link; /* in sender->slots until the slot has ended; link is NULL outside of it */
    PyObject *weakrefs;
    char open; /* it may be written and committed, by the process that reserved it */
};

PyObject *Sender_reserve(Sender *self, PyObject *timeout);
/* In the child of a fork: make the arrays of all slots read-only, and forget the slots. */
void sender_freeze_slots(Sender *self);

#endif
