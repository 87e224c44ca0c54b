/* Handle: the owner of the ring handle (binding.h). */
#include "binding.h"

static PyObject *Handle_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"ring", "mapping", NULL};
    unsigned long long address;
    PyObject *mapping;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "KO", names, &address, &mapping))
        return NULL;
    Handle *self = (Handle *)type->tp_alloc(type, 0);
    if (!self)
        return NULL;
    if (PyObject_GetBuffer(mapping, &self->mapping, PyBUF_WRITABLE) < 0) {
        self->mapping.obj = NULL;
        Py_DECREF(self);
        return NULL;
    }
    self->ring = (she_ring *)(uintptr_t)address;
    return (PyObject *)self;
}

static void Handle_dealloc(Handle *self) {
    if (self->ring)
        api->ring_free(self->ring);
    if (self->mapping.obj)
        PyBuffer_Release(&self->mapping);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

PyTypeObject Handle_Type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "shm_echo.ring._core_cpython.Handle",
    .tp_basicsize = sizeof(Handle),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = Handle_new,
    .tp_dealloc = (destructor)Handle_dealloc,
};
