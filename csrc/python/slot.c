/* Slot: the memory of one sample in the ring, claimed by `reserve` and written in place.
 *
 * All of it is C, because the interpreter runs signal handlers between any two steps of Python
 * code: an exception from one between the claim and the object that owns it, or at the end of a
 * `with` statement, would leave the claim open for as long as its traceback lives. / */
#include "sender.h"

static void freeze(Slot *self) {
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(self->views); i++) {
        PyObject *view = PyTuple_GET_ITEM(self->views, i);
        if (view) /* NULL where `reserve` failed in between */
            PyArray_CLEARFLAGS((PyArrayObject *)view, NPY_ARRAY_WRITEABLE);
    }
}

static void unlink_slot(Slot *self) {
    if (!self->link)
        return;
    *self->link = self->next;
    if (self->next)
        self->next->link = self->link;
    self->link = NULL;
}

void sender_freeze_slots(Sender *self) {
    while (self->slots) {
        Slot *slot = self->slots;
        freeze(slot);
        slot->open = 0;
        unlink_slot(slot);
    }
}

/* The claim has ended: -1 if a callback that waited for it was interrupted. */
static int slot_ended(Slot *self) {
    unlink_slot(self);
    self->sender->reserved--;
    return sender_call_on_idle(self->sender);
}

int slot_give_back(Slot *self) {
    if (sender_retired(self->sender) || !self->open)
        return 0;
    self->open = 0;
    freeze(self);
    api->abort(self->sender->producer, self->position);
    return slot_ended(self);
}

/* True if a leaf is the array that was handed out, or another object that says the same. */
static bool is_view(PyObject *leaf, PyObject *view) {
    if (leaf == view)
        return true;
    if (!PyArray_CheckExact(leaf))
        return false;
    PyArrayObject *a = (PyArrayObject *)leaf, *b = (PyArrayObject *)view;
    size_t bytes = (size_t)PyArray_NDIM(b) * sizeof(npy_intp);
    return PyArray_DATA(a) == PyArray_DATA(b) && PyArray_NDIM(a) == PyArray_NDIM(b) &&
           memcmp(PyArray_DIMS(a), PyArray_DIMS(b), bytes) == 0 &&
           memcmp(PyArray_STRIDES(a), PyArray_STRIDES(b), bytes) == 0 &&
           PyArray_EquivTypes(PyArray_DESCR(a), PyArray_DESCR(b));
}

/* Return true if a leaf of the tree is the RaggedRow that was handed out for place i. */
static bool is_ragged_view(PyObject *leaf, PyObject *views, Py_ssize_t i) {
    PyObject *padded = NULL, *length = NULL;
    /* Arrays and lists replace it, and have no such attributes. */
    if (!PyArray_CheckExact(leaf) && !PyList_CheckExact(leaf))
        padded = PyObject_GetAttrString(leaf, "padded");
    if (padded)
        length = PyObject_GetAttrString(leaf, "_length");
    bool same = padded && length && is_view(padded, PyTuple_GET_ITEM(views, i)) &&
                is_view(length, PyTuple_GET_ITEM(views, i + 1));
    Py_XDECREF(padded);
    Py_XDECREF(length);
    return same;
}

/* Put the arrays that were handed out into the list, for each RaggedRow that was not replaced. -1
 * with an exception. */
static int take_ragged_views(Slot *self, PyObject *list) {
    const TreeSpec *spec = &self->sender->spec;
    for (Py_ssize_t i = 0; i < spec->num_leaves; i++) {
        if (!is_row(spec, list, i))
            continue;
        PyObject *leaf = Py_NewRef(PyList_GET_ITEM(list, i));
        bool same = is_ragged_view(leaf, self->views, i);
        Py_DECREF(leaf);
        if (clear_ordinary_exception() < 0)
            return -1;
        for (Py_ssize_t k = i; same && k <= i + 1; k++)
            if (PyList_SetItem(list, k, Py_NewRef(PyTuple_GET_ITEM(self->views, k))) < 0)
                return -1;
    }
    return 0;
}

/* Bring the memory up to date with the tree: copy the leaves that were replaced into their rows,
 * after the checks of a send. */
static int write_tree(Slot *self, PyObject *tree) {
    Sender *sender = self->sender;
    if (sender->spec.plain) {
        Py_ssize_t next = 0;
        if (plan_matches(&sender->spec.plan, tree, self->views, &next) &&
            next == sender->spec.num_leaves)
            return 0;
        if (clear_ordinary_exception() < 0)
            return -1;
    }
    PyObject *list = spec_split(&sender->spec, tree);
    if (!list && PyErr_Occurred())
        return -1;
    if (list && take_ragged_views(self, list) < 0) {
        Py_DECREF(list);
        return -1;
    }
    Py_ssize_t same = 0;
    while (list && same < sender->spec.num_leaves &&
           is_view(PyList_GET_ITEM(list, same), PyTuple_GET_ITEM(self->views, same)))
        same++;
    if (same == sender->spec.num_leaves) {
        Py_DECREF(list);
        return 0;
    }
    list = spec_fit(&sender->spec, tree, list, 0);
    if (!list)
        return -1;
    int rc = -1;
    if (sender_usable(sender)) /* code of the tree's nodes has run, and may have forked */
        rc = sender_copy_aside(sender, list, self->position, 0) < 0
                 ? -1
                 : sender_copy(sender, list, self->position, 0);
    Py_DECREF(list);
    return rc;
}

static void raise_ended(const Slot *self) {
    PyObject *errors = PyImport_ImportModule("shm_echo.errors");
    PyObject *class = errors ? PyObject_GetAttrString(errors, "ConnectionClosedError") : NULL;
    if (class)
        PyErr_Format(class, "this %s was committed or given back already",
                     Py_TYPE(self) == &Slot_Type ? "slot" : "run");
    Py_XDECREF(class);
    Py_XDECREF(errors);
}

bool slot_writable(Slot *self) {
    if (!sender_usable(self->sender))
        return false;
    if (!self->open)
        raise_ended(self);
    return self->open;
}

int slot_end(Slot *self, int failed) {
    Sender *sender = self->sender;
    freeze(self);
    if (sender_retired(sender))
        return failed;
    int rc = SHE_OK;
    if (failed < 0)
        api->abort(sender->producer, self->position);
    else
        rc = sender_result(sender, api->commit(sender->producer, self->position));
    if (rc != SHE_OK) {
        (void)sender_raise(sender, rc, 0, Py_None);
        failed = -1;
    }
    return slot_ended(self) < 0 ? -1 : failed;
}

/* Fill the memory behind ragged rows, which may have been written in place. -1 with an exception if
 * a length is wrong. */
static int mend_rows(Slot *self) {
    uint64_t row;
    int64_t length;
    const Leaf *wrong = sender_mend_rows(self->sender, self->position, 1, &row, &length);
    if (wrong)
        ragged_raise_length(wrong, length);
    return wrong ? -1 : 0;
}

/* Commit what the tree says now, and close the slot. After a failure the claim is given back. */
static int commit(Slot *self) {
    Sender *sender = self->sender;
    if (!slot_writable(self))
        return -1;
    self->open = 0; /* it ends in this call, and in no other that code of the tree may make */
    PyObject *tree = Py_NewRef(self->tree ? self->tree : Py_None);
    int written = write_tree(self, tree);
    if (written == 0 && (!sender_usable(sender) || mend_rows(self) < 0))
        written = -1;
    written = slot_end(self, written);
    Py_DECREF(tree);
    return written;
}

static PyObject *none_unless(int failed) { return failed < 0 ? NULL : Py_NewRef(Py_None); }

static PyObject *Slot_commit(Slot *self, PyObject *Py_UNUSED(ignored)) {
    return none_unless(commit(self));
}

static PyObject *Slot_abort(Slot *self, PyObject *Py_UNUSED(ignored)) {
    return none_unless(slot_give_back(self));
}

static PyObject *Slot_enter(Slot *self, PyObject *Py_UNUSED(ignored)) {
    return Py_NewRef((PyObject *)self);
}

static PyObject *Slot_exit(Slot *self, PyObject *const *args, Py_ssize_t nargs) {
    if (nargs != 3) {
        PyErr_SetString(PyExc_TypeError, "__exit__ takes an exception's type, value and traceback");
        return NULL;
    }
    if (args[0] != Py_None)
        return none_unless(slot_give_back(self));
    return none_unless(self->open ? commit(self) : 0);
}

static PyObject *Slot_reduce(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(protocol)) {
    PyErr_SetString(PyExc_TypeError,
                    "a Slot can be neither copied nor pickled: it is the memory of one sample in "
                    "the ring; copy the arrays of its tree instead");
    return NULL;
}

static PyObject *Slot_repr(Slot *self) {
    return PyUnicode_FromString(self->open ? "<Slot open>" : "<Slot closed>");
}

PyObject *slot_is_open(Slot *self, void *Py_UNUSED(closure)) { return PyBool_FromLong(self->open); }

static PyObject *tree_of(Slot *self) {
    if (!self->tree)
        PyErr_SetString(PyExc_AttributeError, "tree");
    return Py_XNewRef(self->tree);
}

static PyObject *Slot_getitem(Slot *self, PyObject *key) {
    PyObject *tree = tree_of(self);
    PyObject *item = tree ? PyObject_GetItem(tree, key) : NULL;
    Py_XDECREF(tree);
    return item;
}

static int Slot_setitem(Slot *self, PyObject *key, PyObject *value) {
    PyObject *tree = tree_of(self);
    if (!tree)
        return -1;
    int rc = value ? PyObject_SetItem(tree, key, value) : PyObject_DelItem(tree, key);
    Py_DECREF(tree);
    return rc;
}

int slot_traverse(Slot *self, visitproc visit, void *arg) {
    Py_VISIT(self->sender);
    Py_VISIT(self->views);
    Py_VISIT(self->tree);
    return 0;
}

/* The sender and the arrays stay: the destructor needs them to give the claim back. */
int slot_clear(Slot *self) {
    Py_CLEAR(self->tree);
    return 0;
}

void slot_dealloc(Slot *self) {
    PyObject_GC_UnTrack(self);
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    if (slot_give_back(self) < 0)
        PyErr_WriteUnraisable(NULL);
    if (self->weakrefs)
        PyObject_ClearWeakRefs((PyObject *)self);
    Py_CLEAR(self->tree);
    Py_DECREF(self->views);
    Py_DECREF(self->sender);
    PyErr_Restore(type, value, trace);
    PyObject_GC_Del(self);
}

Slot *slot_new(PyTypeObject *type, Sender *sender) {
    PyObject *views = PyTuple_New(sender->spec.num_leaves);
    Slot *self = views ? PyObject_GC_New(Slot, type) : NULL;
    if (!self) {
        Py_XDECREF(views);
        return NULL;
    }
    memset((char *)self + sizeof(PyObject), 0, (size_t)type->tp_basicsize - sizeof(PyObject));
    self->sender = (Sender *)Py_NewRef((PyObject *)sender);
    self->views = views;
    return self;
}

/* Make the slot the owner of a claim. */
static void slot_open(Slot *self, uint64_t position) {
    Sender *sender = self->sender;
    self->position = position;
    self->open = 1;
    self->next = sender->slots;
    self->link = &sender->slots;
    if (self->next)
        self->next->link = &self->next;
    sender->slots = self;
    sender->reserved++;
}

int slot_claim(Slot *self, uint64_t deadline, PyObject *timeout) {
    Sender *sender = self->sender;
    uint64_t position;
    sender_begin_call(sender);
    int rc = sender_claim(sender, deadline, &position);
    if (rc == SHE_OK) /* a claim in truncated memory need not be given back: that is private */
        rc = sender_result(sender, rc);
    if (rc == SHE_OK)
        slot_open(self, position);
    if (sender_end_call(sender) < 0)
        return -1;
    if (rc != SHE_OK && rc != -1)
        (void)sender_raise(sender, rc, 0, timeout);
    return rc == SHE_OK ? 0 : -1;
}

static int make_views(Slot *self) {
    Sender *sender = self->sender;
    sender_unset_lengths(sender, self->position, 1);
    for (Py_ssize_t i = 0; i < sender->spec.num_leaves; i++) {
        void *row = she_row(sender->handle->ring, (uint32_t)i, self->position);
        PyObject *view =
            leaf_view(&sender->spec.leaves[i], row, false, 0, true, (PyObject *)sender->handle);
        if (!view)
            return -1;
        PyTuple_SET_ITEM(self->views, i, view);
    }
    return 0;
}

/* reserve(timeout): a slot with its claim, its arrays and its tree. */
PyObject *Sender_reserve(Sender *self, PyObject *timeout) {
    uint64_t deadline;
    if (parse_timeout(timeout, &deadline) < 0 || !sender_usable_for(self, false))
        return NULL;
    Slot *slot = slot_new(&Slot_Type, self);
    if (!slot)
        return NULL;
    if (slot_claim(slot, deadline, timeout) == 0 && make_views(slot) == 0)
        slot->tree = PyObject_CallOneArg(self->spec.unflatten, slot->views);
    PyObject_GC_Track((PyObject *)slot); /* the destructor untracks it */
    if (slot->tree)
        return (PyObject *)slot;
    Py_DECREF(slot);
    return NULL;
}

PyDoc_STRVAR(
    Slot_doc,
    "The memory of one sample in the ring, claimed by `ShmClient.reserve`.\n"
    "\n"
    "The end of a `with` statement commits the sample, an exception aborts it; a slot that is\n"
    "garbage collected before either is aborted. `slot[key]` indexes the tree, for reading and\n"
    "for assignment. After the commit or abort the arrays are read-only, because the memory\n"
    "belongs to the learner. Slices that were taken before stay writable: do not keep any.\n"
    "\n"
    "A commit sends what the tree says at that moment. Leaves that are still the arrays in the\n"
    "ring cost no copy; a leaf that was replaced is checked and copied, as `send` does.\n"
    "\n"
    "Example:\n"
    "    >>> import numpy as np\n"
    "    >>> from shm_echo import Server, ShmClient, ShmTransport\n"
    "    >>> example = {\"x\": np.zeros(2, np.float32), \"n\": np.int64(0)}\n"
    "    >>> with Server(example, 1, ShmTransport(\"slot-example\")) as server:\n"
    "    ...     with ShmClient(\"slot-example\", example) as client:\n"
    "    ...         with client.reserve() as slot:\n"
    "    ...             slot[\"x\"][:] = 1, 2  # written into the ring, without a copy\n"
    "    ...             slot[\"n\"] = 7  # replaced: copied by the commit\n"
    "    ...     batch = server.sample().batch\n"
    "    ...     slot.is_open, batch[\"x\"].tolist(), batch[\"n\"].tolist()\n"
    "    (False, [[1.0, 2.0]], [7])\n"
    "\n"
    "Attributes:\n"
    "    tree: a tree like the example, of writable arrays in the ring. Their initial content is\n"
    "        undefined. Another tree like the example may be assigned to it.");

PyDoc_STRVAR(Slot_commit_doc,
             "commit($self, /)\n--\n\n"
             "Hand the sample over to the learner and close the slot.\n"
             "\n"
             "If it raises, the slot is given back, and the sample was not sent.\n"
             "\n"
             "Raises:\n"
             "    SpecMismatchError: a leaf of the tree was replaced by one that does not fit, or\n"
             "        the structure differs; the message names the path.\n"
             "    ConnectionClosedError: the slot was closed before, or the server has detached\n"
             "        this client.\n"
             "    ForkedHandleError: the slot was reserved by the parent process.");

PyDoc_STRVAR(Slot_abort_doc, "abort($self, /)\n--\n\n"
                             "Give the slot back unused, if it is open.");

static PyMethodDef Slot_methods[] = {
    {"commit", (PyCFunction)Slot_commit, METH_NOARGS, Slot_commit_doc},
    {"abort", (PyCFunction)Slot_abort, METH_NOARGS, Slot_abort_doc},
    {"__enter__", (PyCFunction)Slot_enter, METH_NOARGS, NULL},
    {"__exit__", (PyCFunction)(void (*)(void))Slot_exit, METH_FASTCALL, NULL},
    {"__reduce_ex__", Slot_reduce, METH_O, NULL},
    {0},
};

static PyMemberDef Slot_members[] = {
    {"tree", T_OBJECT_EX, offsetof(Slot, tree), 0, NULL},
    {0},
};

static PyGetSetDef Slot_getset[] = {
    {"is_open", (getter)slot_is_open, NULL,
     "Return True if the slot can be written and committed; never in the child of a fork.", NULL},
    {0},
};

static PyMappingMethods Slot_mapping = {
    .mp_subscript = (binaryfunc)Slot_getitem,
    .mp_ass_subscript = (objobjargproc)Slot_setitem,
};

PyTypeObject Slot_Type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "shm_echo.transports.slot.Slot",
    .tp_doc = Slot_doc,
    .tp_basicsize = sizeof(Slot),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_dealloc = (destructor)slot_dealloc,
    .tp_traverse = (traverseproc)slot_traverse,
    .tp_clear = (inquiry)slot_clear,
    .tp_repr = (reprfunc)Slot_repr,
    .tp_as_mapping = &Slot_mapping,
    .tp_weaklistoffset = offsetof(Slot, weakrefs),
    .tp_methods = Slot_methods,
    .tp_members = Slot_members,
    .tp_getset = Slot_getset,
};
