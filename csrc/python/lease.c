/* Lease: the memory behind the arrays of one batch, and the spare buffers of copies (lease.h). */
#define _GNU_SOURCE
#include "lease.h"

#include <stdlib.h>
#include <sys/mman.h>

/* As in glibc, before it adapts: from here on a mapping is worth its two system calls. */
#define MAPPED_BYTES (1u << 17)

/* ---- spare buffers --------------------------------------------------------------------------- */

Spares *spares_new(uint64_t bytes, Py_ssize_t limit, char poisoned) {
    Spares *spares = PyMem_Malloc(sizeof *spares + (size_t)limit * sizeof *spares->free);
    if (spares)
        *spares = (Spares){
            .references = 1, .bytes = bytes ? bytes : 64, .limit = limit, .poisoned = poisoned};
    return spares;
}

void spares_unref(Spares *spares) {
    if (--spares->references == 0)
        PyMem_Free(spares);
}

/* malloc may keep what is freed, so large memory has a mapping of its own. */
static void give_up(const Spares *spares, void *memory) {
    if (spares->bytes >= MAPPED_BYTES)
        munmap(memory, spares->bytes);
    else
        free(memory);
}

void spares_close(Spares *spares) {
    spares->limit = 0;
    while (spares->count)
        give_up(spares, spares->free[--spares->count]);
}

/* Fresh memory costs a page fault for each 4 KiB, much more than the copy into it, so a buffer is
 * used again. */
static void *spares_get(Spares *spares) {
    if (spares->count)
        return spares->free[--spares->count];
    if (spares->bytes >= MAPPED_BYTES) {
        void *memory =
            mmap(NULL, spares->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        return memory == MAP_FAILED ? NULL : memory;
    }
    return aligned_alloc(64, spares->bytes); /* as align_leaf, which the size is a multiple of */
}

static void spares_put(Spares *spares, void *memory) {
    if (spares->poisoned)
        memset(memory, 0xff, spares->bytes);
    if (spares->count < spares->limit)
        spares->free[spares->count++] = memory;
    else
        give_up(spares, memory);
}

/* ---- leases ---------------------------------------------------------------------------------- */

Lease *lease_new(Handle *handle) {
    Lease *lease = PyObject_New(Lease, &Lease_Type);
    if (!lease)
        return NULL;
    lease->handle = (Handle *)Py_XNewRef((PyObject *)handle);
    lease->ended = NULL;
    lease->owner = NULL;
    lease->spares = NULL;
    lease->memory = NULL;
    return lease;
}

Lease *lease_of_copy(Spares *spares) {
    Lease *lease = lease_new(NULL);
    if (!lease)
        return NULL;
    lease->memory = spares_get(spares);
    if (!lease->memory) {
        Py_DECREF(lease);
        PyErr_NoMemory();
        return NULL;
    }
    lease->spares = spares;
    spares->references++;
    return lease;
}

void lease_activate(Lease *lease, PyObject *owner, void (*ended)(PyObject *, Lease *)) {
    lease->owner = Py_NewRef(owner);
    lease->ended = ended;
}

static void Lease_dealloc(Lease *self) {
    if (self->spares) {
        spares_put(self->spares, self->memory);
        spares_unref(self->spares);
    }
    if (self->ended)
        self->ended(self->owner, self);
    Py_XDECREF(self->owner);
    Py_XDECREF(self->handle);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

PyTypeObject Lease_Type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "shm_echo.ring._core_cpython.Lease",
    .tp_basicsize = sizeof(Lease),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_dealloc = (destructor)Lease_dealloc,
};
