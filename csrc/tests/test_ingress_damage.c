/* Memory of the ring that another process truncates while the ingress writes into it. */
#include "net.h"

#include "shm_echo/sigbus_guard.h"

/* A guarded ring in a file, which can lose its pages, and one client. */
typedef struct {
    net n;
    she_guard *guard;
    int file, fd;
} damage;

static void damage_open(damage *d, const uint64_t *rows, uint64_t num_buffers) {
    uint64_t dropped;
    net *n = &d->n;
    net_open_rows(n, rows, 2, num_buffers, false);
    d->file = memfd_create("ring", MFD_CLOEXEC);
    CHECK(d->file >= 0);
    she_ingress_close(n->ingress, &dropped);
    she_ingress_free(n->ingress);
    close(n->listener);
    CHECK_EQ(pwrite(d->file, n->r.memory, n->r.bytes, 0), (ssize_t)n->r.bytes);
    CHECK(mmap(n->r.memory, n->r.bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, d->file,
               0) == n->r.memory);
    d->guard = she_guard_add(n->r.memory, n->r.bytes);
    CHECK(d->guard && she_guard_of(n->r.memory) == d->guard);
    CHECK(she_guard_of((uint8_t *)n->r.memory + 4096) == NULL);
    net_open_on(n);
    d->fd = client_open(n);
}

/* The client's end, without an acknowledgement of what reached nobody. */
static void ends_without_acknowledgement(damage *d, uint64_t acknowledged) {
    CHECK(client_at_end(d->fd));
    she_ingress_event end = next_end(&d->n);
    CHECK_EQ(end.error, ESHUTDOWN);
    CHECK_EQ(end.queued, acknowledged);
}

static void damage_close(damage *d, uint64_t dropped) {
    close(d->fd);
    CHECK_EQ(net_close(&d->n), dropped);
    she_guard_remove(d->guard);
    close(d->file);
}

CASE(samples_into_truncated_memory_are_not_acknowledged) {
    damage d;
    damage_open(&d, rig_rows, 2);
    client_send(&d.n, d.fd, 0, 0, 1);
    client_acks(d.fd, 1);
    CHECK_EQ(ftruncate(d.file, 0), 0);
    client_send(&d.n, d.fd, 0, 1, 2);
    ends_without_acknowledgement(&d, 1);
    CHECK(she_guard_broken(d.guard));
    damage_close(&d, 0);
}

static const uint64_t large_rows[RIG_LEAVES] = {48, 90000, 16};

/* A sample that goes straight into its rows, while there are any; then one after a truncation. */
static void large_sample_after_truncation(damage *d, uint64_t bytes_left) {
    client_send(&d->n, d->fd, 0, 0, 1);
    client_acks(d->fd, 1);
    CHECK_EQ(ftruncate(d->file, (off_t)bytes_left), 0);
    client_send(&d->n, d->fd, 0, 1, 2);
    ends_without_acknowledgement(d, 1);
}

/* The kernel finds the missing pages: readv fails, and no signal comes. */
CASE(rows_of_truncated_memory_are_not_read_into) {
    damage d;
    damage_open(&d, large_rows, 2);
    large_sample_after_truncation(&d, 8192);
    damage_close(&d, 0);
}

/* A part of the sample is in its rows when the kernel finds that the others have no memory. */
CASE(a_sample_that_is_read_in_part_is_not_acknowledged) {
    damage d;
    damage_open(&d, large_rows, 2);
    uint64_t middle = d.n.r.ring->leaves[1].offset + 90000 + 45000;
    large_sample_after_truncation(&d, middle / 4096 * 4096);
    damage_close(&d, 0);
}

/* A drainer waits for room that never comes; it looks now and then. */
CASE(a_queue_before_truncated_memory_is_dropped_and_counted) {
    damage d;
    damage_open(&d, rig_rows, 1);
    client_send(&d.n, d.fd, 0, 0, 5);
    client_acks(d.fd, 5);
    CHECK_EQ(ftruncate(d.file, 0), 0);
    CHECK(client_at_end(d.fd));
    CHECK_EQ(next_end(&d.n).error, ESHUTDOWN);
    damage_close(&d, 3);
}
