/* Numbers at 0-d leaves: Python numbers, NumPy scalars and 0-d arrays, by the rule of
 * shm_echo/spec/leaf.py. An environment returns its reward as one of these at each step, and the
 * check in Python costs ten times as much as the rest of a small send. This file knows the usual
 * types; the others are left to that check, which makes the messages too. */
#include <math.h>

#include "tree_spec.h"

#include <numpy/arrayscalars.h>

typedef enum { INTEGER, UNSIGNED, FLOATING, BOOLEAN } Kind;

typedef struct {
    Kind kind;
    union {
        int64_t i; /* INTEGER, BOOLEAN */
        uint64_t u;
        double f;
    } is;
} Number;

/* The C value behind a NumPy scalar or a 0-d array of native byte order; NULL for other objects. */
static const void *value_of(PyObject *object, int *type) {
    PyTypeObject *class = Py_TYPE(object);
#define SCALAR(Name, number) \
    if (class == &Py##Name##ArrType_Type) { \
        *type = number; \
        return &PyArrayScalar_VAL(object, Name); \
    }
    SCALAR(Float, NPY_FLOAT)
    SCALAR(Double, NPY_DOUBLE)
    SCALAR(Long, NPY_LONG)
    SCALAR(Bool, NPY_BOOL)
    SCALAR(Int, NPY_INT)
    SCALAR(Byte, NPY_BYTE)
    SCALAR(UByte, NPY_UBYTE)
    SCALAR(Short, NPY_SHORT)
    SCALAR(UShort, NPY_USHORT)
    SCALAR(UInt, NPY_UINT)
    SCALAR(ULong, NPY_ULONG)
    SCALAR(LongLong, NPY_LONGLONG)
    SCALAR(ULongLong, NPY_ULONGLONG)
    SCALAR(Half, NPY_HALF)
    SCALAR(LongDouble, NPY_LONGDOUBLE)
    SCALAR(CFloat, NPY_CFLOAT)
    SCALAR(CDouble, NPY_CDOUBLE)
    SCALAR(CLongDouble, NPY_CLONGDOUBLE)
#undef SCALAR
    if (!PyArray_CheckExact(object))
        return NULL;
    PyArrayObject *array = (PyArrayObject *)object;
    *type = PyArray_TYPE(array);
    bool usual = PyTypeNum_ISBOOL(*type) || PyTypeNum_ISNUMBER(*type);
    return PyArray_NDIM(array) == 0 && usual && PyArray_ISBEHAVED_RO(array) ? PyArray_DATA(array)
                                                                            : NULL;
}

/* False for the types that are left to Python: float16 needs NumPy to convert it, and complex
 * numbers and long doubles are rare. */
static bool load(int type, const void *from, Number *n) {
#define LOAD(name, ctype, kind_, field) \
    case name: { \
        ctype value; \
        memcpy(&value, from, sizeof value); \
        n->kind = kind_; \
        n->is.field = value; \
        return true; \
    }
    switch (type) {
        LOAD(NPY_BOOL, npy_bool, BOOLEAN, i)
        LOAD(NPY_BYTE, npy_byte, INTEGER, i)
        LOAD(NPY_SHORT, npy_short, INTEGER, i)
        LOAD(NPY_INT, npy_int, INTEGER, i)
        LOAD(NPY_LONG, npy_long, INTEGER, i)
        LOAD(NPY_LONGLONG, npy_longlong, INTEGER, i)
        LOAD(NPY_UBYTE, npy_ubyte, UNSIGNED, u)
        LOAD(NPY_USHORT, npy_ushort, UNSIGNED, u)
        LOAD(NPY_UINT, npy_uint, UNSIGNED, u)
        LOAD(NPY_ULONG, npy_ulong, UNSIGNED, u)
        LOAD(NPY_ULONGLONG, npy_ulonglong, UNSIGNED, u)
        LOAD(NPY_FLOAT, npy_float, FLOATING, f)
        LOAD(NPY_DOUBLE, npy_double, FLOATING, f)
    default:
        return false;
    }
#undef LOAD
}

static bool load_python(PyObject *object, Number *n) {
    int overflow;
    if (PyFloat_CheckExact(object)) {
        n->kind = FLOATING;
        n->is.f = PyFloat_AS_DOUBLE(object);
        return true;
    }
    if (PyBool_Check(object)) {
        n->kind = BOOLEAN;
        n->is.i = object == Py_True;
        return true;
    }
    if (!PyLong_CheckExact(object))
        return false;
    n->kind = INTEGER;
    n->is.i = PyLong_AsLongLongAndOverflow(object, &overflow);
    return !overflow;
}

static bool store_float(int type, const Number *n, void *to) {
    double d = n->kind == FLOATING ? n->is.f : n->kind == UNSIGNED ? (double)n->is.u : n->is.i;
    if (type == NPY_DOUBLE) {
        memcpy(to, &d, sizeof d);
        return true;
    }
    npy_float f = (npy_float)d;
    memcpy(to, &f, sizeof f);
    return !isinf(f) || isinf(d); /* a finite value may not become infinite */
}

/* False if the leaf has a type that is left to Python, or does not take the number. */
static bool store(int type, const Number *n, void *to) {
    if (type == NPY_FLOAT || type == NPY_DOUBLE)
        return store_float(type, n, to);
    if (n->kind == FLOATING || (type == NPY_BOOL && n->kind != BOOLEAN))
        return false;
    bool negative = n->kind != UNSIGNED && n->is.i < 0;
    uint64_t u = n->is.u; /* of a value that is not negative, the same bits */
#define STORE(name, ctype, least, most) \
    case name: { \
        ctype value = (ctype)u; \
        memcpy(to, &value, sizeof value); \
        return negative ? n->is.i >= (int64_t)(least) : u <= (uint64_t)(most); \
    }
    switch (type) {
        STORE(NPY_BOOL, npy_bool, 0, 1)
        STORE(NPY_BYTE, npy_byte, NPY_MIN_BYTE, NPY_MAX_BYTE)
        STORE(NPY_SHORT, npy_short, NPY_MIN_SHORT, NPY_MAX_SHORT)
        STORE(NPY_INT, npy_int, NPY_MIN_INT, NPY_MAX_INT)
        STORE(NPY_LONG, npy_long, NPY_MIN_LONG, NPY_MAX_LONG)
        STORE(NPY_LONGLONG, npy_longlong, NPY_MIN_LONGLONG, NPY_MAX_LONGLONG)
        STORE(NPY_UBYTE, npy_ubyte, 0, NPY_MAX_UBYTE)
        STORE(NPY_USHORT, npy_ushort, 0, NPY_MAX_USHORT)
        STORE(NPY_UINT, npy_uint, 0, NPY_MAX_UINT)
        STORE(NPY_ULONG, npy_ulong, 0, NPY_MAX_ULONG)
        STORE(NPY_ULONGLONG, npy_ulonglong, 0, NPY_MAX_ULONGLONG)
    default:
        return false;
    }
#undef STORE
}

PyObject *number_array(const Leaf *leaf, PyObject *object) {
    union {
        npy_clongdouble widest;
        char bytes[sizeof(npy_clongdouble)];
    } value;
    Number n;
    int to = leaf->descr->type_num, from;
    if (leaf->ndim != 0 || PyDataType_ISBYTESWAPPED(leaf->descr))
        return NULL;
    if (load_python(object, &n)) {
        if (!store(to, &n, &value))
            return NULL;
    } else {
        const void *data = value_of(object, &from);
        if (data && from == to) /* bit by bit, whatever the bits mean */
            memcpy(&value, data, leaf->row_bytes);
        else if (!data || !load(from, data, &n) || !store(to, &n, &value))
            return NULL;
    }
    Py_INCREF(leaf->descr);
    PyObject *array =
        PyArray_NewFromDescr(&PyArray_Type, leaf->descr, 0, NULL, NULL, NULL, 0, NULL);
    if (array)
        memcpy(PyArray_DATA((PyArrayObject *)array), &value, leaf->row_bytes);
    return array;
}

PyObject *number_row(const Leaf *leaf, PyObject *object) {
    int type = leaf->descr->type_num;
    Number n;
    npy_intp count = PySequence_Fast_GET_SIZE(object);
    if (leaf->truncate)
        count = Py_MIN(count, leaf->dims[1]);
    if (leaf->ndim != 1 || PyDataType_ISBYTESWAPPED(leaf->descr) || count > leaf->dims[1])
        return NULL;
    Py_INCREF(leaf->descr);
    PyObject *row =
        PyArray_NewFromDescr(&PyArray_Type, leaf->descr, 1, &count, NULL, NULL, 0, NULL);
    if (!row)
        return NULL;
    /* From here on no other code runs, which might shorten a list. */
    bool fits = count <= PySequence_Fast_GET_SIZE(object);
    PyObject **items = PySequence_Fast_ITEMS(object);
    char *to = PyArray_BYTES((PyArrayObject *)row);
    Py_ssize_t step = PyDataType_ELSIZE(leaf->descr);
    for (npy_intp i = 0; fits && i < count; i++)
        fits = load_python(items[i], &n) && store(type, &n, to + i * step);
    if (fits)
        return row;
    Py_DECREF(row);
    return NULL;
}
