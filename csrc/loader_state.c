/* The private state of the consumer of a loader's ring: made and freed with the she_consumer. */
#include <stdlib.h>

#include "shm_echo/loader_ring.h"

she_loader *she_loader_state_new(const she_ring *ring) {
    she_loader *l = calloc(1, sizeof *l);
    if (!l)
        return NULL;
    l->uses = calloc(ring->num_buffers, sizeof *l->uses);
    l->batches = calloc(ring->num_buffers, sizeof *l->batches);
    if (l->uses && l->batches)
        return l;
    she_loader_state_free(l);
    return NULL;
}

void she_loader_state_free(she_loader *l) {
    if (!l)
        return;
    free(l->uses);
    free(l->batches);
    free(l);
}
