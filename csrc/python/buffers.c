/* The buffers of the ring that a receiver has handed out, and their release (receiver.h). */
#include "receiver.h"

#include <pthread.h>

unsigned long forks;

static void count_fork(void) { forks++; }

int watch_forks(void) { return pthread_atfork(NULL, NULL, count_fork) == 0 ? 0 : -1; }

/* Tell the producers, for their messages, how many buffers the learner holds. Relaxed: no decision
 * depends on it. */
void receiver_publish_lent(Receiver *self) {
    she_store32_relaxed(&self->handle->ring->header->lent,
                        (uint32_t)self->held + (uint32_t)self->has_batch);
}

void receiver_release(Receiver *self, uint64_t batch) {
    if (self->poisoned)
        api->poison(self->handle->ring, batch);
    api->release(self->handle->ring, batch);
}

/* Skip buffers that earlier leases still hold, as long as any other buffer is free of leases. */
void receiver_skip_held(Receiver *self) {
    uint64_t buffers = self->handle->ring->num_buffers;
    if (receiver_of_loader(self)) /* a batch is announced into any buffer that is free */
        return;
    while (self->held && (uint64_t)self->held < buffers) {
        uint64_t *release = &self->buffers[self->consumer->next_batch % buffers].release;
        if (!*release)
            return;
        *release = api->skip(self->consumer) + 1;
    }
}

static void lent_ended(PyObject *owner, Lease *lease) {
    Receiver *self = (Receiver *)owner;
    uint64_t batch = self->buffers[lease->buffer].release - 1;
    self->buffers[lease->buffer] = (LentBuffer){0};
    self->held--;
    if (self->forks != forks)
        return; /* this is the child of a fork: the ring is the parent's */
    receiver_release(self, batch);
    receiver_publish_lent(self);
    /* A thread that waits without the interpreter lock uses the consumer: it does the skipping. On
     * a loader's ring the thread that iterates announces a batch: it looks again before it sleeps.
     */
    if (self->waiting || receiver_of_loader(self))
        api->wake_consumer(self->consumer);
    else
        receiver_skip_held(self);
}

void receiver_lend(Receiver *self, Lease *root, uint64_t batch) {
    root->buffer = batch % self->handle->ring->num_buffers;
    self->buffers[root->buffer] = (LentBuffer){.release = batch + 1,
                                               .number = self->taken_total,
                                               .since_ns = api->now_coarse_ns(),
                                               .root = root};
    self->held++;
    lease_activate(root, (PyObject *)self, lent_ended);
}

static void reused_ended(PyObject *owner, Lease *lease) {
    Receiver *self = (Receiver *)owner;
    for (int i = 0; i < 2; i++)
        if (self->recent[i] == lease)
            self->recent[i] = NULL;
}

void receiver_reuse(Receiver *self, Lease *root, uint64_t batch) {
    self->recent[1] = self->recent[0];
    self->recent[0] = root;
    self->batch = batch;
    self->has_batch = 1;
    lease_activate(root, (PyObject *)self, reused_ended);
}
