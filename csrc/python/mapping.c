/* Mapping: shared memory as a Python object with the buffer interface (binding.h).
 *
 * Unlike mmap.mmap it keeps no descriptor, so that closing a server or a client gives its
 * descriptors back while arrays over the memory live. It has no close(): each exported buffer
 * refers to the object, and the memory is unmapped only when nothing does. Memory that another
 * process can truncate is guarded against SIGBUS (sigbus_guard.h), on request.
 */
#include "binding.h"

#include <sys/mman.h>

const she_api *api;

static PyObject *Mapping_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"fd", "size", "guarded", NULL};
    int fd, guarded = 0;
    Py_ssize_t size;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "in|p", names, &fd, &size, &guarded))
        return NULL;
    if (size <= 0) {
        PyErr_Format(PyExc_ValueError, "a mapping needs at least 1 byte, not %zd", size);
        return NULL;
    }
    Mapping *self = (Mapping *)type->tp_alloc(type, 0);
    if (!self)
        return NULL;
    /* MAP_POPULATE sets up the page tables here, not one page fault at a time in the first lap.
     * Memory without a descriptor has no pages yet, and gets them as it is used. */
    int flags = MAP_SHARED | (fd < 0 ? MAP_ANONYMOUS : MAP_POPULATE);
    void *base;
    Py_BEGIN_ALLOW_THREADS
    base = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, flags, fd, 0);
    Py_END_ALLOW_THREADS
    if (base == MAP_FAILED) {
        PyErr_SetFromErrno(PyExc_OSError);
        Py_DECREF(self);
        return NULL;
    }
    self->base = base;
    self->size = size;
    if (guarded) {
        self->guard = api->guard_add(base, (uint64_t)size);
        if (!self->guard) {
            Py_DECREF(self);
            return PyErr_NoMemory();
        }
    }
    return (PyObject *)self;
}

static void Mapping_dealloc(Mapping *self) {
    if (self->guard)
        api->guard_remove(self->guard);
    if (self->base)
        munmap(self->base, (size_t)self->size);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static int Mapping_getbuffer(Mapping *self, Py_buffer *view, int flags) {
    return PyBuffer_FillInfo(view, (PyObject *)self, self->base, self->size, 0, flags);
}

static Py_ssize_t Mapping_length(Mapping *self) { return self->size; }

static PyBufferProcs Mapping_buffer = {.bf_getbuffer = (getbufferproc)Mapping_getbuffer};
static PySequenceMethods Mapping_sequence = {.sq_length = (lenfunc)Mapping_length};

/* Bring the guard's handler back if something has removed it, where the mapping is guarded. */
static PyObject *Mapping_renew_guard(Mapping *self, PyObject *Py_UNUSED(ignored)) {
    return PyBool_FromLong(!self->guard || api->guard_renew());
}

static PyMethodDef Mapping_methods[] = {
    {"renew_guard", (PyCFunction)Mapping_renew_guard, METH_NOARGS, NULL},
    {0},
};

static PyObject *Mapping_get_broken(Mapping *self, void *Py_UNUSED(closure)) {
    return PyBool_FromLong(mapping_broken(self));
}

static PyGetSetDef Mapping_getset[] = {
    {"broken", (getter)Mapping_get_broken, NULL, NULL, NULL},
    {0},
};

PyTypeObject Mapping_Type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "shm_echo.ring._core_cpython.Mapping",
    .tp_basicsize = sizeof(Mapping),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = Mapping_new,
    .tp_dealloc = (destructor)Mapping_dealloc,
    .tp_as_buffer = &Mapping_buffer,
    .tp_as_sequence = &Mapping_sequence,
    .tp_methods = Mapping_methods,
    .tp_getset = Mapping_getset,
};
