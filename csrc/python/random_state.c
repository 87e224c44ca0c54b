/* The state of a `random.Random`, set from a stream of SplitMix64.
 *
 * A loader sets the global generators anew for each run of rows. `random.seed` takes 4 us for that,
 * because it mixes its 624 words three times; 312 numbers of a stream that is mixed already are
 * written in 0.3 us. There is no call for it: this file writes into the object, after it has found
 * there, once, what `getstate` returns. shm_echo/loader/randomness.py does the same by `setstate`
 * where it does not find it.
 */
#include "binding.h"

enum { WORDS = 624 };

/* RandomObject of CPython's Modules/_randommodule.c. */
typedef struct {
    PyObject_HEAD
    int index;
    uint32_t state[WORDS];
} Mersenne;

static PyTypeObject *base; /* _random.Random; NULL before the first call */
static int is_known;       /* 1 if a Mersenne lies in its objects, else 0 */

/* 1 if the object holds what its `getstate` returns, in the layout above; -1 with an exception. */
static int check_layout(PyObject *object) {
    PyObject *state = PyObject_CallMethod((PyObject *)base, "getstate", "O", object);
    if (!state)
        return -1;
    const Mersenne *found = (const Mersenne *)object;
    int same = PyTuple_Check(state) && PyTuple_GET_SIZE(state) == WORDS + 1;
    for (Py_ssize_t i = 0; same && i <= WORDS; i++) {
        unsigned long word = PyLong_AsUnsignedLong(PyTuple_GET_ITEM(state, i));
        same = word == (i < WORDS ? found->state[i] : (unsigned long)found->index);
    }
    Py_DECREF(state);
    return PyErr_Occurred() ? -1 : same;
}

/* Find `_random.Random`, and learn its layout from an object of it. -1 with an exception. */
static int learn(PyObject *object) {
    PyObject *module = PyImport_ImportModule("_random");
    PyObject *type = module ? PyObject_GetAttrString(module, "Random") : NULL;
    Py_XDECREF(module);
    if (!type)
        return -1;
    if (!PyType_Check(type) || !PyObject_TypeCheck(object, (PyTypeObject *)type)) {
        Py_DECREF(type);
        PyErr_SetString(PyExc_TypeError, "set_random_state takes a random.Random");
        return -1;
    }
    base = (PyTypeObject *)type;
    int same = base->tp_basicsize == sizeof(Mersenne) ? check_layout(object) : 0;
    if (same < 0) {
        base = NULL;
        Py_DECREF(type);
        return -1;
    }
    is_known = same;
    return 0;
}

static uint64_t mix(uint64_t word) { /* as shm_echo/loader/mixing.py */
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9;
    word = (word ^ (word >> 27)) * 0x94D049BB133111EB;
    return word ^ (word >> 31);
}

/* set_random_state(generator, key) -> True if its words are now the stream of the key, the lower
 * half of each number first; False, and nothing was changed, where the layout is another one. */
PyObject *set_random_state(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs) {
    if (nargs != 2) {
        PyErr_SetString(PyExc_TypeError, "set_random_state takes a generator and a key");
        return NULL;
    }
    uint64_t key = PyLong_AsUnsignedLongLong(args[1]);
    if (key == UINT64_MAX && PyErr_Occurred())
        return NULL;
    if (!base && learn(args[0]) < 0)
        return NULL;
    if (!PyObject_TypeCheck(args[0], base)) {
        PyErr_SetString(PyExc_TypeError, "set_random_state takes a random.Random");
        return NULL;
    }
    if (!is_known)
        Py_RETURN_FALSE;
    Mersenne *generator = (Mersenne *)args[0];
    for (int i = 0; i < WORDS; i += 2) {
        uint64_t number = mix(key += 0x9E3779B97F4A7C15);
        generator->state[i] = (uint32_t)number;
        generator->state[i + 1] = (uint32_t)(number >> 32);
    }
    generator->index = WORDS; /* the next draw begins a new block of words */
    Py_RETURN_TRUE;
}
