/* What an example fixes of each sample, and the check of a tree against it: the C side of
 * shm_echo.spec.TreeSpec. The producers of all transports share it. */
#ifndef SHM_ECHO_BINDING_TREE_SPEC_H
#define SHM_ECHO_BINDING_TREE_SPEC_H

#include "binding.h"

typedef struct {
    Leaf *leaves;
    Py_ssize_t num_leaves;
    uint64_t sample_bytes;
    bool plain; /* trees are walked along `plan`; otherwise `flatten` does it */
    Plan plan;
    PyObject *flatten;   /* tree -> list of leaves, unchecked, or any exception */
    PyObject *unflatten; /* leaves -> tree */
    PyObject *check; /* (tree, stacked) -> list of exact arrays, or the exception for the user */
    char same_kind;  /* arrays are also cast, by NumPy's rule of this name */
} TreeSpec;

/* Fill a zeroed spec from the arguments of a constructor; `plan` is None without one. -1 with an
 * exception on failure; spec_free frees what there is. */
int spec_init(TreeSpec *spec, PyObject *table, PyObject *plan, PyObject *flatten,
              PyObject *unflatten, PyObject *check, int same_kind);
void spec_free(TreeSpec *spec);
int spec_traverse(TreeSpec *spec, visitproc visit, void *arg);
void spec_clear(TreeSpec *spec);

/* The leaves of a tree as a new list, unchecked. NULL without an exception if only the check in
 * Python can tell, NULL with one after an interrupt. */
PyObject *spec_split(TreeSpec *spec, PyObject *tree);
/* Make a list of arrays that fit of the leaves of `tree`. Steals `list`, the result of
 * `spec_split`, which may be NULL. NULL with the exception for the user. */
PyObject *spec_fit(TreeSpec *spec, PyObject *tree, PyObject *list, int stacked);
/* The leaves of `tree` as a list of arrays that fit; NULL with the exception for the user. */
PyObject *spec_leaves(TreeSpec *spec, PyObject *tree, int stacked);
/* The leaves of a stack of samples, C-contiguous, and the number of samples. */
PyObject *spec_rows(TreeSpec *spec, PyObject *tree, npy_intp *count);
/* Replace the arrays of the list that are not C-contiguous by copies that are. */
int make_contiguous(PyObject *list);

/* Return true if place i of a list of leaves holds a row as the producer gave it, of any length up
 * to the maximum. The place behind it is None then, because the length follows from the array. */
static inline bool is_row(const TreeSpec *spec, PyObject *list, Py_ssize_t i) {
    return spec->leaves[i].kind == RAGGED && PyList_GET_ITEM(list, i + 1) == Py_None;
}
/* (ragged.c) */
/* Return true if place i of the list, for which is_row holds, has an array of a row that fits.
 * A longer one is cut off where the leaf allows that. False may leave an exception. */
bool ragged_fits(const Leaf *leaf, PyObject *list, Py_ssize_t i);
/* Fill the memory of a row behind its first `used` bytes. Needs no interpreter lock. */
void ragged_pad(const Leaf *leaf, char *row, uint64_t used);
/* Replace the rows of the list by their padded memory and their lengths. -1 with an exception. */
int ragged_expand(const TreeSpec *spec, PyObject *list);
/* Raise the SpecMismatchError of a length that is wrong, or was not set. */
void ragged_raise_length(const Leaf *leaf, int64_t length);

/* Clear an exception that only says that the fast way does not fit. -1 if it is another one, such
 * as KeyboardInterrupt, which has to reach the user. */
int clear_ordinary_exception(void);
/* Set the attribute `sent` of the current exception: the number of samples that send_batch sent. */
void note_sent(Py_ssize_t sent);
/* The arguments of send and send_batch. */
int parse_send(const char *name, PyObject *const *args, Py_ssize_t nargs, PyObject **timeout);
/* None means no time-out, 0 polls. Sets *deadline to 0 for no time-out. */
int parse_timeout(PyObject *timeout, uint64_t *deadline);
/* The time to wait until the deadline, but at most a slice. */
int64_t slice_until(uint64_t deadline);

/* A result beyond those of ring.h, for `raise_for_result`: the server has gone. */
enum { BINDING_GONE = 100 };

/* A number, a NumPy scalar or a 0-d array as an array of exactly a 0-d leaf's dtype. NULL
 * without an exception leaves it to the check in Python. (numbers.c) */
PyObject *number_array(const Leaf *leaf, PyObject *object);
/* A list or tuple of Python numbers as a row of a RAGGED leaf whose elements are numbers, by the
 * same rule. NULL without an exception leaves it to the check in Python. (numbers.c) */
PyObject *number_row(const Leaf *leaf, PyObject *object);

#endif
