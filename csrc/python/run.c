/* Run: the slot of a loader's ring, claimed by `claim_run`: rows of one batch that this worker
 * makes. Its claim is a Slot's, so it ends in the same ways. */
#include "sender.h"

typedef struct {
    Slot slot; /* its views have a leading axis of `count` rows; its tree is made when asked for */
    PyObject *indices;
    uint64_t first_row;
    Py_ssize_t count;
    unsigned int epoch;
    Py_ssize_t writers; /* calls of `write` that copy now, perhaps without the interpreter lock */
} Run;

static bool in_use(const Run *self) {
    if (self->writers)
        PyErr_SetString(PyExc_RuntimeError, "another thread is writing into this run");
    return self->writers != 0;
}

/* The number of a row of this run; -1 with an exception. */
static Py_ssize_t parse_row(const Run *self, PyObject *number) {
    Py_ssize_t row = PyNumber_AsSsize_t(number, PyExc_IndexError);
    if (row == -1 && PyErr_Occurred())
        return -1;
    if (row >= 0 && row < self->count)
        return row;
    PyErr_Format(PyExc_IndexError, "row %zd of a run of %zd rows", row, self->count);
    return -1;
}

static PyObject *Run_write(Run *self, PyObject *const *args, Py_ssize_t nargs) {
    if (nargs != 2) {
        PyErr_SetString(PyExc_TypeError, "write takes the number of a row and an item");
        return NULL;
    }
    Sender *sender = self->slot.sender;
    Py_ssize_t row = parse_row(self, args[0]);
    if (row < 0 || !slot_writable(&self->slot))
        return NULL;
    PyObject *list = spec_leaves(&sender->spec, args[1], 0);
    if (!list)
        return NULL;
    int rc = -1;
    if (slot_writable(&self->slot)) { /* code of the item may have forked, or ended the run */
        uint64_t position = self->slot.position;
        self->writers++;
        rc = sender_copy_aside(sender, list, position, (uint64_t)row);
        if (rc == 0)
            rc = sender_copy(sender, list, position, (uint64_t)row);
        self->writers--;
    }
    Py_DECREF(list);
    return rc < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *Run_row(Run *self, PyObject *number) {
    Sender *sender = self->slot.sender;
    Py_ssize_t row = parse_row(self, number);
    if (row < 0 || !slot_writable(&self->slot))
        return NULL;
    PyObject *views = PyTuple_New(sender->spec.num_leaves), *tree = NULL;
    Py_ssize_t i = 0;
    for (; views && i < sender->spec.num_leaves; i++) {
        void *place = sender_place(sender, i, self->slot.position, (uint64_t)row);
        PyObject *view =
            leaf_view(&sender->spec.leaves[i], place, false, 0, true, (PyObject *)sender->handle);
        if (!view)
            break;
        PyTuple_SET_ITEM(views, i, view);
    }
    if (views && i == sender->spec.num_leaves)
        tree = PyObject_CallOneArg(sender->spec.unflatten, views);
    Py_XDECREF(views);
    return tree;
}

/* mend(): fill the memory behind ragged rows that were written in place. Returns None, or (row,
 * path, length) of the first one whose length is wrong. */
static PyObject *Run_mend(Run *self, PyObject *Py_UNUSED(ignored)) {
    uint64_t row;
    int64_t length;
    if (!slot_writable(&self->slot))
        return NULL;
    const Leaf *wrong = sender_mend_rows(self->slot.sender, self->slot.position,
                                         (uint64_t)self->count, &row, &length);
    if (!wrong)
        Py_RETURN_NONE;
    return Py_BuildValue("KOL", (unsigned long long)row, wrong->path, (long long)length);
}

static PyObject *Run_at_row(Run *self, PyObject *number) {
    uint64_t at = SHE_NO_ROW;
    if (number != Py_None) {
        Py_ssize_t row = parse_row(self, number);
        if (row < 0)
            return NULL;
        at = self->first_row + (uint64_t)row;
    }
    if (!slot_writable(&self->slot))
        return NULL;
    api->loader_at_row(self->slot.sender->producer, at);
    Py_RETURN_NONE;
}

static PyObject *Run_commit(Run *self, PyObject *const *args, Py_ssize_t nargs) {
    if (nargs > 1) {
        PyErr_SetString(PyExc_TypeError, "commit takes a status");
        return NULL;
    }
    unsigned long status = nargs ? PyLong_AsUnsignedLong(args[0]) : 0;
    if (status == (unsigned long)-1 && PyErr_Occurred())
        return NULL;
    if (status > UINT32_MAX) {
        PyErr_SetString(PyExc_OverflowError, "a status has 32 bits");
        return NULL;
    }
    if (!slot_writable(&self->slot) || in_use(self))
        return NULL;
    self->slot.open = 0; /* it ends in this call */
    api->loader_set_status(self->slot.sender->producer, self->slot.position, (uint32_t)status);
    return slot_end(&self->slot, 0) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *Run_abort(Run *self, PyObject *Py_UNUSED(ignored)) {
    if (in_use(self) || slot_give_back(&self->slot) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *Run_views(Run *self, void *Py_UNUSED(closure)) {
    return Py_NewRef(self->slot.views);
}

static PyObject *Run_tree(Run *self, void *Py_UNUSED(closure)) {
    if (!self->slot.tree) {
        PyObject *tree = PyObject_CallOneArg(self->slot.sender->spec.unflatten, self->slot.views);
        if (!tree)
            return NULL;
        Py_XSETREF(self->slot.tree, tree);
    }
    return Py_NewRef(self->slot.tree);
}

static Py_ssize_t Run_length(Run *self) { return self->count; }

static PyObject *Run_reduce(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(protocol)) {
    PyErr_SetString(PyExc_TypeError, "a Run can be neither copied nor pickled: it is the memory of "
                                     "rows in the ring");
    return NULL;
}

static PyObject *Run_repr(Run *self) {
    return PyUnicode_FromFormat("<Run of %zd rows from %llu, %s>", self->count,
                                (unsigned long long)self->first_row,
                                self->slot.open ? "open" : "closed");
}

static void Run_dealloc(Run *self) {
    PyObject_GC_UnTrack(self);
    Py_CLEAR(self->indices);
    slot_dealloc(&self->slot);
}

/* Copy the order entry, and make the arrays over the rows. */
static int fill(Run *self) {
    Sender *sender = self->slot.sender;
    const she_ring *ring = sender->handle->ring;
    const she_run *order = she_loader_run(ring, self->slot.position);
    uint32_t count = order->count; /* in shared memory: never trusted as a length */
    self->count = (Py_ssize_t)Py_MIN(count, ring->run_rows);
    self->first_row = order->first_row;
    self->epoch = order->epoch;
    self->indices = PyTuple_New(self->count);
    if (!self->indices)
        return -1;
    for (Py_ssize_t i = 0; i < self->count; i++) {
        PyObject *index = PyLong_FromLongLong(order->index[i]);
        if (!index)
            return -1;
        PyTuple_SET_ITEM(self->indices, i, index);
    }
    sender_unset_lengths(sender, self->slot.position, (uint64_t)self->count);
    for (Py_ssize_t i = 0; i < sender->spec.num_leaves; i++) {
        PyObject *view =
            leaf_view(&sender->spec.leaves[i], sender_place(sender, i, self->slot.position, 0),
                      true, self->count, true, (PyObject *)sender->handle);
        if (!view)
            return -1;
        PyTuple_SET_ITEM(self->slot.views, i, view);
    }
    return 0;
}

/* claim_run(timeout): the next run that is announced and that no worker has claimed. */
PyObject *Sender_claim_run(Sender *self, PyObject *timeout) {
    uint64_t deadline;
    if (parse_timeout(timeout, &deadline) < 0 || !sender_usable_for(self, true))
        return NULL;
    Run *run = (Run *)slot_new(&Run_Type, self);
    if (!run)
        return NULL;
    int rc = slot_claim(&run->slot, deadline, timeout);
    if (rc == 0)
        rc = fill(run);
    PyObject_GC_Track((PyObject *)run); /* the destructor untracks it */
    if (rc == 0)
        return (PyObject *)run;
    Py_DECREF(run);
    return NULL;
}

static PyMethodDef Run_methods[] = {
    {"write", (PyCFunction)(void (*)(void))Run_write, METH_FASTCALL, NULL},
    {"row", (PyCFunction)Run_row, METH_O, NULL},
    {"at_row", (PyCFunction)Run_at_row, METH_O, NULL},
    {"mend", (PyCFunction)Run_mend, METH_NOARGS, NULL},
    {"commit", (PyCFunction)(void (*)(void))Run_commit, METH_FASTCALL, NULL},
    {"abort", (PyCFunction)Run_abort, METH_NOARGS, NULL},
    {"__reduce_ex__", Run_reduce, METH_O, NULL},
    {0},
};

static PyMemberDef Run_members[] = {
    {"indices", T_OBJECT, offsetof(Run, indices), READONLY, NULL},
    {"first_row", T_ULONGLONG, offsetof(Run, first_row), READONLY, NULL},
    {"epoch", T_UINT, offsetof(Run, epoch), READONLY, NULL},
    {0},
};

static PyGetSetDef Run_getset[] = {
    {"is_open", (getter)slot_is_open, NULL, NULL, NULL},
    {"views", (getter)Run_views, NULL, NULL, NULL},
    {"tree", (getter)Run_tree, NULL, NULL, NULL},
    {0},
};

static PySequenceMethods Run_sequence = {.sq_length = (lenfunc)Run_length};

PyTypeObject Run_Type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "shm_echo.ring._core_cpython.Run",
    .tp_basicsize = sizeof(Run),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_dealloc = (destructor)Run_dealloc,
    .tp_traverse = (traverseproc)slot_traverse,
    .tp_clear = (inquiry)slot_clear,
    .tp_repr = (reprfunc)Run_repr,
    .tp_as_sequence = &Run_sequence,
    .tp_weaklistoffset = offsetof(Slot, weakrefs),
    .tp_methods = Run_methods,
    .tp_members = Run_members,
    .tp_getset = Run_getset,
};
