/* Lease: the memory behind the arrays of one batch. It knows nothing of the receiver: who lends
 * memory hands over the function that ends the loan. */
#ifndef SHM_ECHO_BINDING_LEASE_H
#define SHM_ECHO_BINDING_LEASE_H

#include "binding.h"

/* Private buffers, each of the size of a batch, that are not in use. The receiver and every copy
 * that is alive refer to it: a copy does not keep the ring mapped. */
typedef struct {
    Py_ssize_t references, count, limit; /* `limit` bounds the buffers that wait for a use */
    size_t bytes;
    char poisoned;
    void *free[];
} Spares;

/* The root of the base chains of a batch's arrays. It has no buffer interface, so NumPy does not
 * let an array over it become writable again. It dies when no array, slice, memoryview or DLPack
 * capsule over the batch is left, because NumPy collapses base chains to their root. Its death
 * ends the loan of a batch in the ring, and gives the memory of a copied one back to the spare
 * buffers. */
typedef struct Lease {
    PyObject_HEAD
    Handle *handle; /* keeps the ring mapped; NULL for a copy */
    /* Of a batch in the ring, as soon as its arrays exist: the function to call at the end. */
    void (*ended)(PyObject *owner, struct Lease *lease);
    PyObject *owner;
    uint64_t buffer; /* the owner's */
    Spares *spares;  /* of a copy */
    void *memory;
} Lease;

Spares *spares_new(uint64_t bytes, Py_ssize_t limit, char poisoned);
void spares_close(Spares *spares); /* free the spare buffers, and later ones at once */
void spares_unref(Spares *spares);
Lease *lease_new(Handle *handle);     /* over memory of the ring */
Lease *lease_of_copy(Spares *spares); /* with memory of its own, of the size of a batch */
/* Call `ended` when the lease dies. */
void lease_activate(Lease *lease, PyObject *owner, void (*ended)(PyObject *, Lease *));

#endif
