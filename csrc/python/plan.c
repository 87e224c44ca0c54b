/* Flattens trees of plain dicts, lists and tuples. A small send spends four fifths of its time in
 * optree's flatten_up_to; for these usual trees a walk along the known keys is enough. A tree that
 * does not fit exactly is left to the check in Python, which knows all rules and makes the message
 * (decision 6 in docs/decisions). */
#include "binding.h"

void plan_free(Plan *plan) {
    for (Py_ssize_t i = 0; i < plan->count; i++)
        plan_free(&plan->children[i]);
    PyMem_Free(plan->children);
    Py_XDECREF(plan->keys);
    plan->children = NULL;
    plan->keys = NULL;
    plan->count = 0;
}

int plan_parse(PyObject *from, Plan *plan) {
    PyObject *container, *keys, *children;
    if (PyTuple_CheckExact(from) && PyTuple_GET_SIZE(from) <= 1) {
        plan->ragged = PyTuple_GET_SIZE(from) == 1;
        return 0;
    }
    if (!PyArg_ParseTuple(from, "OOO!", &container, &keys, &PyTuple_Type, &children))
        return -1;
    plan->container =
        (PyTypeObject *)container; /* dict, list or tuple: static types, never freed */
    Py_ssize_t count = PyTuple_GET_SIZE(children);
    if (plan->container == &PyDict_Type &&
        (!PyTuple_CheckExact(keys) || PyTuple_GET_SIZE(keys) != count)) {
        PyErr_SetString(PyExc_ValueError, "a dict needs as many keys as children");
        return -1;
    }
    plan->keys = plan->container == &PyDict_Type ? Py_NewRef(keys) : NULL;
    plan->children = PyMem_Calloc(count ? (size_t)count : 1, sizeof *plan->children);
    if (!plan->children) {
        PyErr_NoMemory();
        return -1;
    }
    plan->count = count;
    for (Py_ssize_t i = 0; i < count; i++)
        if (plan_parse(PyTuple_GET_ITEM(children, i), &plan->children[i]) < 0)
            return -1;
    return 0;
}

/* Child `i` of a node as a borrowed reference, NULL if it is missing. */
static inline PyObject *child_of(const Plan *plan, PyObject *tree, Py_ssize_t i) {
    if (plan->keys)
        return PyDict_GetItemWithError(tree, PyTuple_GET_ITEM(plan->keys, i));
    if (PyTuple_CheckExact(tree))
        return PyTuple_GET_ITEM(tree, i);
    /* Comparing keys may run code that shortens the list. */
    return i < PyList_GET_SIZE(tree) ? PyList_GET_ITEM(tree, i) : NULL;
}

static inline bool is_node_of(const Plan *plan, PyObject *tree) {
    return Py_TYPE(tree) == plan->container && PyObject_Size(tree) == plan->count;
}

static inline bool take_leaf(const Plan *plan, PyObject *leaf, PyObject *list, Py_ssize_t *next) {
    if (*next + plan->ragged >= PyList_GET_SIZE(list))
        return false;
    PyList_SET_ITEM(list, (*next)++, Py_NewRef(leaf));
    if (plan->ragged)
        PyList_SET_ITEM(list, (*next)++, Py_NewRef(Py_None));
    return true;
}

/* Leaves are taken in the loop over their parent's children: a call for each is a tenth of a send's
 * time. */
bool plan_walk(const Plan *plan, PyObject *tree, PyObject *list, Py_ssize_t *next) {
    if (!plan->container)
        return take_leaf(plan, tree, list, next);
    if (!is_node_of(plan, tree))
        return false;
    for (Py_ssize_t i = 0; i < plan->count; i++) {
        const Plan *below = &plan->children[i];
        PyObject *child = child_of(plan, tree, i);
        if (!child)
            return false;
        if (!below->container) {
            if (!take_leaf(below, child, list, next))
                return false;
            continue;
        }
        Py_INCREF(child);
        bool walked = plan_walk(below, child, list, next);
        Py_DECREF(child);
        if (!walked)
            return false;
    }
    return true;
}

static inline bool is_leaf(const Plan *plan, PyObject *leaf, PyObject *leaves, Py_ssize_t *next) {
    return !plan->ragged && *next < PyTuple_GET_SIZE(leaves) &&
           leaf == PyTuple_GET_ITEM(leaves, (*next)++);
}

bool plan_matches(const Plan *plan, PyObject *tree, PyObject *leaves, Py_ssize_t *next) {
    if (!plan->container)
        return is_leaf(plan, tree, leaves, next);
    if (!is_node_of(plan, tree))
        return false;
    for (Py_ssize_t i = 0; i < plan->count; i++) {
        const Plan *below = &plan->children[i];
        PyObject *child = child_of(plan, tree, i);
        if (!child)
            return false;
        if (!below->container) {
            if (!is_leaf(below, child, leaves, next))
                return false;
            continue;
        }
        Py_INCREF(child);
        bool matched = plan_matches(below, child, leaves, next);
        Py_DECREF(child);
        if (!matched)
            return false;
    }
    return true;
}
