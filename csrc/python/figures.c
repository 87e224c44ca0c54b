/* Figures of the core as tuples: each sample() reads them. */
#include "binding.h"

/* In the order of HistSnapshot's fields. */
PyObject *hist_summary(const she_hist_summary *s) {
    return Py_BuildValue("KKKdKKK", (unsigned long long)s->count, (unsigned long long)s->min_ns,
                         (unsigned long long)s->max_ns, s->mean_ns, (unsigned long long)s->p50_ns,
                         (unsigned long long)s->p90_ns, (unsigned long long)s->p99_ns);
}

/* None for an empty one. */
static PyObject *summary_or_none(const she_hist_summary *s) {
    return s->count ? hist_summary(s) : Py_NewRef(Py_None);
}

PyObject *ingress_figures(PyObject *Py_UNUSED(module), PyObject *address) {
    she_ingress *ingress = PyLong_AsVoidPtr(address);
    if (!ingress) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_ValueError, "the address of an ingress is not 0");
        return NULL;
    }
    she_ingress_stats stats;
    api->ingress_stats(ingress, &stats);
    return Py_BuildValue(
        "KKKKNN", (unsigned long long)stats.connections, (unsigned long long)stats.queue_depth_sum,
        (unsigned long long)stats.queue_depth_max, (unsigned long long)stats.push_blocked_count,
        summary_or_none(&stats.drain_round), summary_or_none(&stats.queue_dwell));
}
