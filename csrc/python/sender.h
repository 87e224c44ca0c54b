/* Sender: a producer. The declarations that sender.c and send.c share. */
#ifndef SHM_ECHO_BINDING_SENDER_H
#define SHM_ECHO_BINDING_SENDER_H

#include "binding.h"

typedef struct {
    PyObject_HEAD
    Handle *handle;
    she_producer *producer;
    Leaf *leaves;
    Py_ssize_t num_leaves;
    uint64_t sample_bytes;
    bool plain; /* trees are walked along `plan`; otherwise `flatten` does it */
    Plan plan;
    PyObject *flatten; /* tree -> list of leaves, unchecked, or any exception */
    PyObject *check;   /* (tree, stacked) -> list of exact arrays, or the exception for the user */
    PyObject *raise_for_result; /* (result, sent, timeout): raises the exception of a result */
    PyObject *watch;            /* called before each wait for space, may raise; or None */
    int server;                 /* pidfd of the server, or -1 */
    uint64_t checked_ns;        /* when `server` was checked last */
    Py_ssize_t busy;            /* calls in progress, in any thread */
    Py_ssize_t reserved;        /* claims of `reserve` that have not ended */
    PyObject *on_idle;          /* set by `leave`: called once, when both are 0 */
    char retired;               /* inherited by a fork: the owner id is the parent's */
} Sender;

/* Claim a slot, waiting for space if necessary. -1 if a Python exception is set. */
int sender_claim(Sender *self, uint64_t deadline, uint64_t *position);
/* SHE_OK if this producer may claim. -1 if a Python exception is set. */
int sender_status(Sender *self);
/* Called around each call that may claim, wait or copy. The end of the last one calls `on_idle`. */
void sender_begin_call(Sender *self);
void sender_end_call(Sender *self);
/* Raise the exception of a result, by `raise_for_result`. Returns NULL. */
PyObject *sender_raise(Sender *self, int result, Py_ssize_t sent, PyObject *timeout);
/* True unless this is the child of a fork; false with an exception. */
bool sender_usable(Sender *self);
/* None means no time-out, 0 polls. Sets *deadline to 0 for no time-out. */
int parse_timeout(PyObject *timeout, uint64_t *deadline);

PyObject *Sender_send(Sender *self, PyObject *const *args, Py_ssize_t nargs);
PyObject *Sender_send_batch(Sender *self, PyObject *const *args, Py_ssize_t nargs);

/* A slot that is handed out to be written in place. If it dies uncommitted, for any reason, its
 * destructor aborts it, so that an interrupt at any moment leaves no claim behind. */
typedef struct {
    PyObject_HEAD
    Sender *sender;
    uint64_t position;
    char open;
} Claim;

extern PyTypeObject Claim_Type;

#endif
