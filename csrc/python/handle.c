/* Handle: the owner of the ring handle (binding.h). */
#include "binding.h"

static PyObject *Handle_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"ring", "mapping", NULL};
    unsigned long long address;
    PyObject *mapping;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "KO!", names, &address, &Mapping_Type, &mapping))
        return NULL;
    Handle *self = (Handle *)type->tp_alloc(type, 0);
    if (!self)
        return NULL;
    self->mapping = (Mapping *)Py_NewRef(mapping);
    self->ring = (she_ring *)(uintptr_t)address;
    return (PyObject *)self;
}

static void Handle_dealloc(Handle *self) {
    if (self->ring)
        api->ring_free(self->ring);
    Py_XDECREF(self->mapping);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

int handle_check(const Handle *self, Py_ssize_t sent) {
    if (!mapping_broken(self->mapping))
        return 0;
    PyObject *module = PyImport_ImportModule("shm_echo.errors");
    PyObject *type = module ? PyObject_GetAttrString(module, "RingCorruptedError") : NULL;
    PyObject *args = Py_BuildValue("(s)", "another process has truncated it");
    PyObject *named = Py_BuildValue("{s:n}", "sent", sent);
    PyObject *error = type && args && named ? PyObject_Call(type, args, named) : NULL;
    if (error)
        PyErr_SetObject(type, error);
    Py_XDECREF(error);
    Py_XDECREF(named);
    Py_XDECREF(args);
    Py_XDECREF(type);
    Py_XDECREF(module);
    return -1;
}

PyTypeObject Handle_Type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "shm_echo.ring._core_cpython.Handle",
    .tp_basicsize = sizeof(Handle),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = Handle_new,
    .tp_dealloc = (destructor)Handle_dealloc,
};
