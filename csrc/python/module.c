/* `_core_cpython`: the hot calls between Python and the ring, in one crossing each.
 *
 * This folder is the only one that needs Python.h and NumPy's C API. A small sample costs about as
 * much as one call through cffi, so `send` (check the leaves, claim, copy, commit) and `take` (an
 * array per leaf) are one call each. And a lease must end at the moment at which the last array
 * over it dies, which takes a C destructor. Everything that happens less than once per batch goes
 * through cffi. The ring's code is not linked in a second time: `bind` gets the table of
 * csrc/api.c.
 */
#define SHM_ECHO_BINDING_MAIN
#include "receiver.h"
#include "sender.h"

static PyObject *bind_core(PyObject *Py_UNUSED(module), PyObject *address) {
    const she_api *table = PyLong_AsVoidPtr(address);
    if (!table && PyErr_Occurred())
        return NULL;
    if (!table || table->version != SHE_API_VERSION || table->bytes != sizeof(she_api)) {
        PyErr_SetString(PyExc_ImportError,
                        "shm_echo.ring._core_cffi and _core_cpython come from different builds: "
                        "reinstall shm-echo");
        return NULL;
    }
    api = table;
    Py_RETURN_NONE;
}

static PyMethodDef module_methods[] = {
    {"bind", bind_core, METH_O, NULL},
    {"set_random_state", (PyCFunction)(void (*)(void))set_random_state, METH_FASTCALL, NULL},
    {"ingress_figures", ingress_figures, METH_O, NULL},
    {0},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "shm_echo.ring._core_cpython",
    .m_size = -1,
    .m_methods = module_methods,
};

PyMODINIT_FUNC PyInit__core_cpython(void) {
    import_array();
    PyTypeObject *types[] = {&Mapping_Type, &Handle_Type,   &Sender_Type,
                             &Slot_Type,    &Run_Type,      &Receiver_Type,
                             &Lease_Type,   &Handover_Type, &TcpSender_Type};
    PyObject *self = watch_forks() == 0 ? PyModule_Create(&module) : PyErr_NoMemory();
    for (size_t i = 0; self && i < sizeof types / sizeof *types; i++)
        if (PyModule_AddType(self, types[i]) < 0)
            Py_CLEAR(self);
    return self;
}
