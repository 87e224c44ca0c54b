/* Sender, a producer, and what it hands out to be written in place: Slot by `reserve`, and Run by
 * `claim_run` of a loader's ring. What sender.c, send.c, slot.c and run.c share stands here. */
#ifndef SHM_ECHO_BINDING_SENDER_H
#define SHM_ECHO_BINDING_SENDER_H

#include "tree_spec.h"

typedef struct Slot Slot;

typedef struct {
    PyObject_HEAD
    Handle *handle;
    she_producer *producer;
    int (*claim)(she_producer *, uint64_t *); /* the core's, for this kind of ring */
    TreeSpec spec;
    PyObject *raise_for_result; /* (result, sent, timeout): raises the exception of a result */
    PyObject *watch;            /* called before each wait for space, may raise; or None */
    uint64_t watch_after_ns;    /* not before a claim has waited for so long */
    int server;                 /* pidfd of the server, or -1 */
    uint64_t checked_ns;        /* when `server` was checked last */
    Py_ssize_t busy;            /* calls in progress, in any thread */
    Py_ssize_t reserved;        /* slots and runs that have not ended */
    Slot *slots;                /* these slots, as a list */
    PyObject *on_idle;          /* set by `leave`: called once, when both are 0 */
    char retired;               /* inherited by a fork: the owner id is the parent's */
    unsigned long forks;        /* as of its creation */
    PyObject *weakrefs;
} Sender;

/* In the child of a fork: the slots and calls are the parent's, which alone may write the
 * memory. */
void sender_retire(Sender *self);
/* True in the child of a fork, even if nobody has called `retire` there. */
static inline bool sender_retired(Sender *self) {
    if (self->forks != forks && !self->retired)
        sender_retire(self);
    return self->retired;
}

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
/* Likewise, and the ring is of the given kind: a loader's, or one for single samples. */
bool sender_usable_for(Sender *self, bool runs);
/* A result beyond those of ring.h: the memory was truncated. sender_raise makes the exception. */
enum { BINDING_BROKEN = 101 };
/* The result of a call of the core, unless it worked on the zeros of a truncated mapping. */
static inline int sender_result(const Sender *self, int rc) {
    return mapping_broken(self->handle->mapping) ? BINDING_BROKEN : rc;
}

PyObject *Sender_send(Sender *self, PyObject *const *args, Py_ssize_t nargs);
PyObject *Sender_send_batch(Sender *self, PyObject *const *args, Py_ssize_t nargs);

/* Where a leaf of a sample lies: in row `row` of a claimed slot. A slot has one row, 0, except on a
 * loader's ring. */
static inline void *sender_place(const Sender *self, Py_ssize_t leaf, uint64_t position,
                                 uint64_t row) {
    return (uint8_t *)she_row(self->handle->ring, (uint32_t)leaf, position) +
           row * self->spec.leaves[leaf].row_bytes;
}
/* Copy the arrays of the list into a row of a claimed slot. C-contiguous ones that lie in their
 * place already cost nothing. (send.c) */
int sender_copy(Sender *self, PyObject *list, uint64_t position, uint64_t row);
/* Replace the arrays of the list that lie in the ring, but not in their own place, by private
 * copies: sender_copy may write the memory of one leaf before it reads the next. (send.c) */
int sender_copy_aside(Sender *self, PyObject *list, uint64_t position, uint64_t row);
/* Note that the ragged rows of a claimed slot were not written yet. (send.c) */
void sender_unset_lengths(Sender *self, uint64_t position, uint64_t rows);
/* Fill the memory behind the ragged rows of a claimed slot, which were written in place. Returns
 * the leaf whose length is wrong, with it and with the number of the row, or NULL. (send.c) */
const Leaf *sender_mend_rows(Sender *self, uint64_t position, uint64_t rows, uint64_t *row,
                             int64_t *length);
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

/* Shared by Slot and Run. (slot.c) */
/* An object of `type`, which begins with a Slot, without a claim and not tracked by the collector.
 * Everything that may fail or collect garbage, and so run other code, is done here, before the
 * claim is made. */
Slot *slot_new(PyTypeObject *type, Sender *sender);
/* Wait for a claim, and make the slot its owner. -1 with an exception. */
int slot_claim(Slot *self, uint64_t deadline, PyObject *timeout);
/* True if the claim may be written and committed; false with an exception. */
bool slot_writable(Slot *self);
/* End the claim of a slot that the caller has marked as not open: commit it, or give it back if
 * `failed` is negative. Returns a negative number with an exception if it was not committed. */
int slot_end(Slot *self, int failed);
/* Give the claim back, if it is open. -1 with an exception. */
int slot_give_back(Slot *self);
int slot_traverse(Slot *self, visitproc visit, void *arg);
int slot_clear(Slot *self);
void slot_dealloc(Slot *self);
PyObject *slot_is_open(Slot *self, void *closure);

PyObject *Sender_reserve(Sender *self, PyObject *timeout);
PyObject *Sender_claim_run(Sender *self, PyObject *timeout); /* run.c */
/* In the child of a fork: make the arrays of all slots read-only, and forget the slots. */
void sender_freeze_slots(Sender *self);

#endif
