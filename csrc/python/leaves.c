/* The leaf table, and arrays over rows of the ring (binding.h). */
#include "binding.h"

void leaves_free(Leaf *leaves, Py_ssize_t n) {
    for (Py_ssize_t i = 0; leaves && i < n; i++) {
        Py_XDECREF(leaves[i].descr);
        Py_XDECREF(leaves[i].path);
        PyMem_Free(leaves[i].padding);
        PyMem_Free(leaves[i].dims);
    }
    PyMem_Free(leaves);
}

/* Parse (path, bytes of the padding element or none, truncate). */
static int parse_ragged(PyObject *from, Leaf *leaf) {
    PyObject *path;
    const char *padding;
    Py_ssize_t bytes;
    int truncate;
    if (!PyArg_ParseTuple(from, "Uy#p", &path, &padding, &bytes, &truncate))
        return -1;
    if (leaf->ndim < 1 || (bytes && bytes != PyDataType_ELSIZE(leaf->descr))) {
        PyErr_SetString(PyExc_ValueError, "this is no ragged leaf, or its padding no element");
        return -1;
    }
    leaf->kind = RAGGED;
    leaf->truncate = (char)truncate;
    leaf->path = Py_NewRef(path);
    if (!bytes)
        return 0;
    leaf->padding = PyMem_Malloc((size_t)bytes);
    if (!leaf->padding) {
        PyErr_NoMemory();
        return -1;
    }
    memcpy(leaf->padding, padding, (size_t)bytes);
    return 0;
}

/* Mark the entry behind a ragged one. -1 with an exception if it is no int64 of shape (). */
static int mark_length(Leaf *leaf) {
    if (leaf->kind == PLAIN && leaf->ndim == 0 && leaf->descr->type_num == NPY_INT64 &&
        PyArray_ISNBO(leaf->descr->byteorder)) {
        leaf->kind = LENGTH;
        return 0;
    }
    PyErr_SetString(PyExc_ValueError, "behind a ragged leaf comes its length, an int64");
    return -1;
}

Leaf *leaves_parse(PyObject *table, Py_ssize_t *count) {
    if (!PyTuple_Check(table)) {
        PyErr_SetString(PyExc_TypeError, "leaves must be a tuple of tuples (dtype, shape)");
        return NULL;
    }
    Py_ssize_t n = PyTuple_GET_SIZE(table);
    Leaf *leaves = PyMem_Calloc((size_t)n, sizeof *leaves);
    if (!leaves) {
        PyErr_NoMemory();
        return NULL;
    }
    for (Py_ssize_t i = 0; i < n; i++) {
        PyObject *descr, *shape, *ragged = NULL;
        if (!PyArg_ParseTuple(PyTuple_GET_ITEM(table, i), "O!O!|O", &PyArrayDescr_Type, &descr,
                              &PyTuple_Type, &shape, &ragged))
            goto fail;
        Leaf *leaf = &leaves[i];
        leaf->descr = (PyArray_Descr *)Py_NewRef(descr);
        leaf->ndim = (int)PyTuple_GET_SIZE(shape);
        if (leaf->ndim >= NPY_MAXDIMS) {
            PyErr_SetString(PyExc_ValueError, "a leaf has too many dimensions");
            goto fail;
        }
        leaf->dims = PyMem_Calloc((size_t)leaf->ndim + 1, sizeof *leaf->dims);
        if (!leaf->dims) {
            PyErr_NoMemory();
            goto fail;
        }
        leaf->row_bytes = (uint64_t)PyDataType_ELSIZE(leaf->descr);
        for (int d = 0; d < leaf->ndim; d++) {
            leaf->dims[d + 1] = PyLong_AsSsize_t(PyTuple_GET_ITEM(shape, d));
            if (leaf->dims[d + 1] == -1 && PyErr_Occurred())
                goto fail;
            leaf->row_bytes *= (uint64_t)leaf->dims[d + 1];
        }
        if (i > 0 && leaf[-1].kind == RAGGED && mark_length(leaf) < 0)
            goto fail;
        if (ragged && parse_ragged(ragged, leaf) < 0)
            goto fail;
    }
    if (n && leaves[n - 1].kind == RAGGED && mark_length(&leaves[n - 1]) < 0)
        goto fail;
    *count = n;
    return leaves;
fail:
    leaves_free(leaves, n);
    return NULL;
}

PyObject *leaf_view(const Leaf *leaf, void *data, bool stacked, npy_intp rows, bool writable,
                    PyObject *base) {
    npy_intp dims[NPY_MAXDIMS + 1];
    int ndim = leaf->ndim + stacked;
    memcpy(dims, leaf->dims + !stacked, (size_t)ndim * sizeof *dims);
    if (stacked)
        dims[0] = rows;
    Py_INCREF(leaf->descr);
    PyObject *array = PyArray_NewFromDescr(&PyArray_Type, leaf->descr, ndim, dims, NULL, data,
                                           writable ? NPY_ARRAY_WRITEABLE : 0, NULL);
    if (!array)
        return NULL;
    if (base && PyArray_SetBaseObject((PyArrayObject *)array, Py_NewRef(base)) < 0) {
        Py_DECREF(array);
        return NULL;
    }
    return array;
}
