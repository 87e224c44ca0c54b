/* Ragged leaves: rows of different lengths, each in memory for the longest, with the length beside
 * it (tree_spec.h). A producer gives an array of the row's own length; a sender copies it, fills
 * the memory behind it, and stores the length. Only TCP, which sends whole samples, needs the
 * padded row as an array. */
#include "tree_spec.h"

static uint64_t element_bytes(const Leaf *leaf) {
    return leaf->row_bytes / (uint64_t)leaf->dims[1];
}

bool ragged_fits(const Leaf *leaf, PyObject *list, Py_ssize_t i) {
    PyObject *object = PyList_GET_ITEM(list, i);
    if (PyList_CheckExact(object) || PyTuple_CheckExact(object)) {
        PyObject *row = number_row(leaf, object);
        return row && PyList_SetItem(list, i, row) == 0;
    }
    if (!PyArray_CheckExact(object))
        return false;
    PyArrayObject *array = (PyArrayObject *)object;
    PyArray_Descr *descr = PyArray_DESCR(array);
    if (PyArray_NDIM(array) != leaf->ndim ||
        (descr != leaf->descr && !PyArray_EquivTypes(descr, leaf->descr)) ||
        memcmp(PyArray_DIMS(array) + 1, leaf->dims + 2,
               (size_t)(leaf->ndim - 1) * sizeof(npy_intp)) != 0)
        return false;
    if (PyArray_DIM(array, 0) <= leaf->dims[1])
        return true;
    if (!leaf->truncate)
        return false;
    PyObject *cut = PySequence_GetSlice(object, 0, leaf->dims[1]);
    return cut && PyList_SetItem(list, i, cut) == 0;
}

void ragged_pad(const Leaf *leaf, char *row, uint64_t used) {
    uint64_t left = leaf->row_bytes - used, done = (uint64_t)PyDataType_ELSIZE(leaf->descr);
    row += used;
    if (!leaf->padding || !left) {
        memset(row, 0, left);
        return;
    }
    memcpy(row, leaf->padding, done);
    for (; done < left; done *= 2) /* what is there already, once more */
        memcpy(row + done, row, Py_MIN(done, left - done));
}

int ragged_expand(const TreeSpec *spec, PyObject *list) {
    for (Py_ssize_t i = 0; i < spec->num_leaves; i++) {
        const Leaf *leaf = &spec->leaves[i];
        if (!is_row(spec, list, i))
            continue;
        PyArrayObject *row = (PyArrayObject *)PyList_GET_ITEM(list, i);
        int64_t length = PyArray_DIM(row, 0);
        uint64_t used = (uint64_t)length * element_bytes(leaf);
        /* Without memory to view, NumPy takes flags for a wish: any means Fortran order. */
        PyObject *padded = leaf_view(leaf, NULL, false, 0, false, NULL);
        PyObject *count = padded ? leaf_view(leaf + 1, NULL, false, 0, false, NULL) : NULL;
        PyArrayObject *plain =
            count ? (PyArrayObject *)PyArray_FromArray(row, NULL, NPY_ARRAY_C_CONTIGUOUS) : NULL;
        if (!plain) {
            Py_XDECREF(padded);
            Py_XDECREF(count);
            return -1;
        }
        char *memory = PyArray_BYTES((PyArrayObject *)padded);
        memcpy(memory, PyArray_DATA(plain), used);
        ragged_pad(leaf, memory, used);
        memcpy(PyArray_DATA((PyArrayObject *)count), &length, sizeof length);
        Py_DECREF(plain);
        if (PyList_SetItem(list, i, padded) < 0) {
            Py_DECREF(count);
            return -1;
        }
        if (PyList_SetItem(list, i + 1, count) < 0)
            return -1;
    }
    return 0;
}

void ragged_raise_length(const Leaf *leaf, int64_t length) {
    PyObject *errors = PyImport_ImportModule("shm_echo.errors");
    PyObject *class = errors ? PyObject_GetAttrString(errors, "SpecMismatchError") : NULL;
    PyObject *text = NULL, *error = NULL;
    if (class)
        text = length == UNSET_LENGTH
                   ? PyUnicode_FromString("its length was not set: use set(row), or length = n")
                   : PyUnicode_FromFormat("a row of at most %zd elements has no length %lld",
                                          (Py_ssize_t)leaf->dims[1], (long long)length);
    if (text)
        error = PyObject_CallFunctionObjArgs(class, leaf->path, text, NULL);
    if (error)
        PyErr_SetObject(class, error);
    Py_XDECREF(error);
    Py_XDECREF(text);
    Py_XDECREF(class);
    Py_XDECREF(errors);
}
