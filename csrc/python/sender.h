/* Sender: a producer, shared by sender.c and send.c. */
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
    bool plain; /* the plan says how to walk; otherwise `flatten` does it */
    Plan plan;
    PyObject *flatten; /* tree -> list of leaves, fast, or any exception */
    PyObject *check;   /* (tree, stacked) -> list of exact arrays, or the exception for the user */
    PyObject *refuse;  /* (result, sent, timeout) -> raises */
    PyObject *watch;   /* called before each wait for room, may raise; or None */
    int server;        /* pidfd of the server, or -1 */
    uint64_t checked_ns;
    Py_ssize_t busy;     /* calls in progress, in any thread */
    Py_ssize_t reserved; /* claims that were handed out and have not ended */
    PyObject *farewell;  /* called once, when both are 0; set by `leave` */
    char retired;        /* inherited by a fork: the claim identity is the parent's */
} Sender;

/* Claim a slot, waiting for one if need be. -1: a Python exception is set. */
int sender_claim(Sender *self, uint64_t deadline, uint64_t *position);
/* Around each call that may claim, wait or copy. The last one out says farewell. */
void sender_enter(Sender *self);
void sender_leave(Sender *self);
/* Let `refuse` raise what the result means; returns NULL. */
PyObject *sender_refused(Sender *self, int result, Py_ssize_t sent, PyObject *timeout);
/* False with an exception in the child of a fork. */
bool sender_usable(Sender *self);
/* timeout: None waits for ever, 0 polls. Sets *deadline to 0 for "for ever". */
int parse_timeout(PyObject *timeout, uint64_t *deadline);

PyObject *Sender_send(Sender *self, PyObject *const *args, Py_ssize_t nargs);
PyObject *Sender_send_batch(Sender *self, PyObject *const *args, Py_ssize_t nargs);

/* A slot that was handed out to be written in place. It is given back when it dies uncommitted,
 * whatever the reason: so an interrupt at any moment leaves no claim behind. */
typedef struct {
    PyObject_HEAD
    Sender *sender;
    uint64_t position;
    char open;
} Claim;

extern PyTypeObject Claim_Type;

#endif
