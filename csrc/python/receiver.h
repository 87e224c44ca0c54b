/* Receiver: the consumer. The declarations of its files, lowest first: lease.c (lease.h),
 * buffers.c, take.c, handover.c, receiver.c. Each calls lower ones only. */
#ifndef SHM_ECHO_BINDING_RECEIVER_H
#define SHM_ECHO_BINDING_RECEIVER_H

#include <sys/types.h>

#include "lease.h"

/* The fate of a batch's memory, chosen per receiver. The values are those of
 * `_LEASE_MODES` in shm_echo/ring/ring.py. */
enum lease_mode {
    REUSE = 0,        /* it is reused at the next take, even if arrays refer to it */
    LEND = 1,         /* it is lent until nothing refers to it */
    LEND_OR_COPY = 2, /* likewise, but the last free buffer is never lent: its batch is copied */
};

/* Where the arrays of one batch lie. */
enum batch_kind {
    REUSED, /* in the ring, until the next take */
    LENT,   /* in the ring, until nothing refers to them */
    COPIED, /* in private memory, which goes back to the spare buffers */
    OWNED,  /* each array has memory of its own, and is writable */
    EMPTY,  /* no rows */
};

/* A batch on its way to the caller. */
typedef struct Batch {
    PyObject *arrays; /* a list, one array per leaf; NULL for no batch */
    uint64_t number;
    enum batch_kind kind;
    uint64_t turn; /* it was the turn-th that was taken */
    uint64_t rows;
    uint64_t first_row; /* of a loader's ring, like the next one */
    PyObject *failed;   /* a tuple of (first row, rows, status) per failed run; NULL for none */
    struct Batch *next; /* in the queue of those that were put back */
} Batch;

/* The memory of a leaf in a copy: whole cache lines, so that no leaf is less aligned than in the
 * ring. */
static inline uint64_t align_leaf(uint64_t bytes) { return (bytes + 63) & ~UINT64_C(63); }

/* One buffer of the ring, as far as leases go. */
typedef struct {
    uint64_t release;  /* 0, or 1 + the batch number under which to release it */
    uint64_t number;   /* of the batch that is lent: its number among those taken, from 1 */
    uint64_t since_ns; /* when it was taken: monotonic, coarse */
    struct Lease *root;
} LentBuffer;

/* The batches of which `many_copies` considers the kind. */
#define RECENT_BATCHES 100

/* Bits of `notices`: facts that Python reports, once. */
enum notice {
    MANY_COPIES = 1, /* more than a tenth of the recent batches were copies */
    STALE_ARRAY = 2, /* an array outlived the batch after its own (REUSE) */
};

typedef struct Receiver {
    PyObject_HEAD
    Handle *handle;
    she_consumer *consumer;
    Leaf *leaves;
    Py_ssize_t num_leaves;
    uint64_t batch_rows; /* the rows of a full batch */
    char mode, writable, poisoned, closed;
    char waiting;        /* a thread uses the consumer, perhaps without the interpreter lock */
    char watching;       /* `watch` holds the lock: a wake ends it */
    unsigned long forks; /* as of its creation: in the child of a fork, nothing is released */
    int notices;

    /* Held from the begin of a hand-over to its end. Re-entrant: a finalizer or a signal handler
     * may take a batch in the middle of another take. */
    PyThread_type_lock lock;
    unsigned long lock_owner;
    Py_ssize_t lock_depth;

    char taken; /* a batch was taken from the ring, and its arrays could not be made yet */
    uint64_t taken_batch, taken_rows, taken_total;
    uint64_t taken_first_row; /* of a loader's ring, like the next one */
    uint32_t taken_errors;
    Batch *put_back; /* batches that no caller got, oldest first */

    Py_ssize_t held; /* leased batches that are alive */
    LentBuffer *buffers;
    char has_batch; /* REUSE: `batch` is handed out and not released yet */
    uint64_t batch;
    Lease *recent[2]; /* REUSE: the roots of the last two batches, while they live */

    Spares *spares;
    unsigned long long copied_total;
    char was_copy[RECENT_BATCHES]; /* of the recent batches, in a circle */
    unsigned recent_next, recent_copies;
} Receiver;

/* True for the ring of a loader: batches come as they were announced, none is skipped or sealed. */
static inline bool receiver_of_loader(const Receiver *self) {
    return self->handle->ring->run_rows != 0;
}

/* buffers.c */
/* Make the root the lease of a batch, until its death (LENT) or until the next take (REUSED). */
void receiver_lend(Receiver *self, Lease *root, uint64_t batch);
void receiver_reuse(Receiver *self, Lease *root, uint64_t batch);
void receiver_release(Receiver *self, uint64_t batch);
/* Skip buffers that earlier leases still hold, as long as any other buffer is free of leases. */
void receiver_skip_held(Receiver *self);
/* Tell the producers, for their messages, how many buffers the learner holds. */
void receiver_publish_lent(Receiver *self);

/* take.c */
/* Take the next batch: 1 if there is one, 0 if it is not complete, -1 with an exception, after
 * which the next call tries again. */
int receiver_take(Receiver *self, bool owned, Batch *out);
/* Let the next take give this batch again. Consumes its references. */
void receiver_put_back(Receiver *self, Batch *batch);
/* Drop the references of a batch, which may end its lease. */
void batch_clear(Batch *batch);
/* Drop what was put back. */
void receiver_drop_put_back(Receiver *self);

/* handover.c */
extern PyTypeObject Handover_Type;
PyObject *receiver_handover(Receiver *receiver, PyObject *ignored);
/* 1 with the lock, 0 if it was not free in time, -1 with an exception. */
int receiver_lock(Receiver *self, double timeout);
void receiver_unlock(Receiver *self);

#endif
