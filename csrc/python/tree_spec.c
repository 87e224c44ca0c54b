/* The check of a tree against the example, in one call from Python (tree_spec.h), and what the
 * sends of all transports have in common. */
#include "tree_spec.h"

int spec_init(TreeSpec *spec, PyObject *table, PyObject *plan, PyObject *flatten,
              PyObject *unflatten, PyObject *check, int same_kind) {
    spec->flatten = Py_NewRef(flatten);
    spec->unflatten = Py_NewRef(unflatten);
    spec->check = Py_NewRef(check);
    spec->same_kind = (char)same_kind;
    spec->plain = plan != Py_None;
    if (spec->plain && plan_parse(plan, &spec->plan) < 0)
        return -1;
    spec->leaves = leaves_parse(table, &spec->num_leaves);
    if (!spec->leaves)
        return -1;
    for (Py_ssize_t i = 0; i < spec->num_leaves; i++)
        spec->sample_bytes += spec->leaves[i].row_bytes;
    return 0;
}

int spec_traverse(TreeSpec *spec, visitproc visit, void *arg) {
    Py_VISIT(spec->flatten);
    Py_VISIT(spec->unflatten);
    Py_VISIT(spec->check);
    return 0;
}

void spec_clear(TreeSpec *spec) {
    Py_CLEAR(spec->flatten);
    Py_CLEAR(spec->unflatten);
    Py_CLEAR(spec->check);
}

void spec_free(TreeSpec *spec) {
    spec_clear(spec);
    plan_free(&spec->plan);
    leaves_free(spec->leaves, spec->num_leaves);
}

static inline bool same_type(const Leaf *leaf, PyArrayObject *array) {
    PyArray_Descr *descr = PyArray_DESCR(array);
    return descr == leaf->descr || PyArray_EquivTypes(descr, leaf->descr);
}

/* True if `object` is an array of exactly this leaf's dtype and shape, behind `stacked` leading
 * axes. */
static inline bool fits(const Leaf *leaf, PyObject *object, int stacked) {
    if (!PyArray_CheckExact(object))
        return false;
    PyArrayObject *array = (PyArrayObject *)object;
    return PyArray_NDIM(array) == leaf->ndim + stacked && same_type(leaf, array) &&
           memcmp(PyArray_DIMS(array) + stacked, leaf->dims + 1,
                  (size_t)leaf->ndim * sizeof(npy_intp)) == 0;
}

/* Cast an array of numbers with the leaf's shape to the leaf's dtype, by NumPy's rule "same_kind".
 * NULL without an exception leaves it to the check in Python. */
static PyObject *cast_array(const Leaf *leaf, PyObject *object, int stacked) {
    if (!PyArray_CheckExact(object))
        return NULL;
    PyArrayObject *array = (PyArrayObject *)object;
    int axes = leaf->ndim + stacked; /* a 0-d leaf takes numbers by a rule of its own */
    if (!axes || PyArray_NDIM(array) != axes || !PyTypeNum_ISNUMBER(PyArray_TYPE(array)) ||
        !PyTypeNum_ISNUMBER(leaf->descr->type_num) ||
        memcmp(PyArray_DIMS(array) + stacked, leaf->dims + 1,
               (size_t)leaf->ndim * sizeof(npy_intp)) != 0 ||
        !PyArray_CanCastTypeTo(PyArray_DESCR(array), leaf->descr, NPY_SAME_KIND_CASTING))
        return NULL;
    return PyArray_FromArray(array, (PyArray_Descr *)Py_NewRef(leaf->descr),
                             NPY_ARRAY_CARRAY_RO | NPY_ARRAY_FORCECAST);
}

/* Replace item i of the list, which does not fit as it is, by a number or a cast that does. False
 * may leave an exception. */
static bool convert(const TreeSpec *spec, PyObject *list, Py_ssize_t i, int stacked) {
    const Leaf *leaf = &spec->leaves[i];
    PyObject *object = PyList_GET_ITEM(list, i);
    PyObject *array = stacked ? NULL : number_array(leaf, object);
    if (!array && spec->same_kind && !PyErr_Occurred())
        array = cast_array(leaf, object, stacked);
    return array && PyList_SetItem(list, i, array) == 0;
}

/* Make place *i of the list fit, and step to the next leaf. False may leave an exception. */
static bool fit_leaf(const TreeSpec *spec, PyObject *list, Py_ssize_t *i, int stacked) {
    const Leaf *leaf = &spec->leaves[*i];
    if (is_row(spec, list, *i)) {
        if (stacked || !ragged_fits(leaf, list, *i))
            return false;
        *i += 2;
        return true;
    }
    if (!fits(leaf, PyList_GET_ITEM(list, *i), stacked) && !convert(spec, list, *i, stacked))
        return false;
    ++*i;
    return true;
}

int clear_ordinary_exception(void) {
    if (!PyErr_Occurred())
        return 0;
    if (!PyErr_ExceptionMatches(PyExc_Exception))
        return -1; /* KeyboardInterrupt, SystemExit */
    PyErr_Clear();
    return 0;
}

PyObject *spec_split(TreeSpec *spec, PyObject *tree) {
    PyObject *list;
    if (spec->plain) {
        Py_ssize_t found = 0;
        list = PyList_New(spec->num_leaves);
        if (!list)
            return NULL;
        if (!plan_walk(&spec->plan, tree, list, &found) || found != spec->num_leaves)
            Py_CLEAR(list);
    } else {
        list = PyObject_CallOneArg(spec->flatten, tree);
        if (list && (!PyList_CheckExact(list) || PyList_GET_SIZE(list) != spec->num_leaves))
            Py_CLEAR(list);
    }
    if (!list)
        (void)clear_ordinary_exception();
    return list;
}

PyObject *spec_fit(TreeSpec *spec, PyObject *tree, PyObject *list, int stacked) {
    if (list) {
        Py_ssize_t i = 0;
        while (i < spec->num_leaves && fit_leaf(spec, list, &i, stacked))
            ;
        if (i == spec->num_leaves)
            return list;
        Py_DECREF(list);
        if (clear_ordinary_exception() < 0)
            return NULL;
    }
    list = PyObject_CallFunctionObjArgs(spec->check, tree, stacked ? Py_True : Py_False, NULL);
    if (!list)
        return NULL;
    bool good = PyList_CheckExact(list) && PyList_GET_SIZE(list) == spec->num_leaves;
    for (Py_ssize_t i = 0; good && i < spec->num_leaves; i++)
        good = fits(&spec->leaves[i], PyList_GET_ITEM(list, i), stacked);
    if (good)
        return list;
    Py_DECREF(list);
    PyErr_SetString(PyExc_SystemError, "the check of a sample let through what does not fit");
    return NULL;
}

PyObject *spec_leaves(TreeSpec *spec, PyObject *tree, int stacked) {
    PyObject *list = spec_split(spec, tree);
    if (!list && PyErr_Occurred())
        return NULL;
    return spec_fit(spec, tree, list, stacked);
}

int make_contiguous(PyObject *list) {
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list); i++) {
        PyArrayObject *array = (PyArrayObject *)PyList_GET_ITEM(list, i);
        if (PyArray_IS_C_CONTIGUOUS(array))
            continue;
        PyObject *copy = PyArray_NewCopy(array, NPY_CORDER);
        if (!copy || PyList_SetItem(list, i, copy) < 0)
            return -1;
    }
    return 0;
}

PyObject *spec_rows(TreeSpec *spec, PyObject *tree, npy_intp *count) {
    PyObject *list = spec_leaves(spec, tree, 1);
    if (!list)
        return NULL;
    *count = PyArray_DIM((PyArrayObject *)PyList_GET_ITEM(list, 0), 0);
    for (Py_ssize_t i = 1; i < spec->num_leaves; i++) {
        if (PyArray_DIM((PyArrayObject *)PyList_GET_ITEM(list, i), 0) == *count)
            continue;
        /* The check says which leaf disagrees. */
        Py_DECREF(list);
        list = PyObject_CallFunctionObjArgs(spec->check, tree, Py_True, NULL);
        Py_XDECREF(list);
        if (list)
            PyErr_SetString(PyExc_SystemError, "the check of a batch let through unequal lengths");
        return NULL;
    }
    if (make_contiguous(list) == 0)
        return list;
    Py_DECREF(list);
    return NULL;
}

int parse_send(const char *name, PyObject *const *args, Py_ssize_t nargs, PyObject **timeout) {
    if (nargs < 1 || nargs > 2) {
        PyErr_Format(PyExc_TypeError, "%s takes a tree and a timeout", name);
        return -1;
    }
    *timeout = nargs == 2 ? args[1] : Py_None;
    return 0;
}

int parse_timeout(PyObject *timeout, uint64_t *deadline) {
    *deadline = 0;
    if (timeout == Py_None)
        return 0;
    if (PyBool_Check(timeout)) {
        PyErr_Format(PyExc_TypeError, "timeout must be None or a number of seconds, not %R",
                     timeout);
        return -1;
    }
    double seconds = PyFloat_AsDouble(timeout);
    if (seconds == -1.0 && PyErr_Occurred()) {
        if (PyErr_ExceptionMatches(PyExc_TypeError))
            PyErr_Format(PyExc_TypeError, "timeout must be None or a number of seconds, not %R",
                         timeout);
        return -1;
    }
    if (!(seconds >= 0)) {
        PyErr_Format(PyExc_ValueError, "timeout must be None or a number >= 0, not %R", timeout);
        return -1;
    }
    if (seconds < 1e9) /* longer ones, infinity included, count as no time-out */
        *deadline = api->now_ns() + (uint64_t)(seconds * 1e9);
    return 0;
}

int64_t slice_until(uint64_t deadline) {
    if (!deadline)
        return SLICE_NS;
    uint64_t now = api->now_ns();
    if (now >= deadline)
        return 0;
    return deadline - now < SLICE_NS ? (int64_t)(deadline - now) : SLICE_NS;
}

void note_sent(Py_ssize_t sent) {
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    PyErr_NormalizeException(&type, &value, &trace);
    PyObject *number = PyLong_FromSsize_t(sent);
    if (!number || !value || PyObject_SetAttrString(value, "sent", number) < 0)
        PyErr_Clear(); /* an exception that takes no attribute stays as it is */
    Py_XDECREF(number);
    PyErr_Restore(type, value, trace);
}
