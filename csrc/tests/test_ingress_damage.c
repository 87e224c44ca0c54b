/* Memory of the ring that another process truncates while the ingress writes into it. */
#include "net.h"

#include "shm_echo/sigbus_guard.h"

/* Put the ring into a file, which can lose its pages, and open the ingress anew. */
static int into_a_file(net *n, she_guard **guard) {
    uint64_t dropped;
    int file = memfd_create("ring", MFD_CLOEXEC);
    CHECK(file >= 0);
    she_ingress_close(n->ingress, &dropped);
    she_ingress_free(n->ingress);
    close(n->listener);
    CHECK_EQ(pwrite(file, n->r.memory, n->r.bytes, 0), (ssize_t)n->r.bytes);
    CHECK(mmap(n->r.memory, n->r.bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, 0) ==
          n->r.memory);
    *guard = she_guard_add(n->r.memory, n->r.bytes);
    CHECK(*guard && she_guard_of(n->r.memory) == *guard);
    CHECK(she_guard_of((uint8_t *)n->r.memory + 4096) == NULL);
    net_open_on(n);
    return file;
}

/* Its end, without an acknowledgement of what reached nobody. */
static void ends_without_acknowledgement(net *n, int fd, uint64_t acknowledged) {
    CHECK(client_at_end(fd));
    she_ingress_event end = next_end(n);
    CHECK_EQ(end.error, ESHUTDOWN);
    CHECK_EQ(end.queued, acknowledged);
    close(fd);
}

CASE(samples_into_truncated_memory_are_not_acknowledged) {
    net n;
    she_guard *guard;
    net_open(&n, 2, 2);
    int file = into_a_file(&n, &guard);
    int fd = client_open(&n);
    client_send(&n, fd, 0, 0, 1);
    client_acks(fd, 1);
    CHECK_EQ(ftruncate(file, 0), 0);
    client_send(&n, fd, 0, 1, 2);
    ends_without_acknowledgement(&n, fd, 1);
    CHECK(she_guard_broken(guard));
    CHECK_EQ(net_close(&n), 0);
    she_guard_remove(guard);
    close(file);
}

/* The kernel finds the missing pages: readv fails, and no signal comes. */
CASE(rows_of_truncated_memory_are_not_read_into) {
    static const uint64_t rows[RIG_LEAVES] = {48, 90000, 16};
    static uint8_t bytes[48 + 90000 + 16];
    net n;
    she_guard *guard;
    net_open_rows(&n, rows, 2, 2, false);
    int file = into_a_file(&n, &guard);
    int fd = client_open(&n);
    client_write(fd, bytes, sizeof bytes);
    client_acks(fd, 1);
    CHECK_EQ(ftruncate(file, 8192), 0);
    client_write(fd, bytes, sizeof bytes);
    ends_without_acknowledgement(&n, fd, 1);
    CHECK_EQ(net_close(&n), 0);
    she_guard_remove(guard);
    close(file);
}

/* A part of the sample is in its rows when the kernel finds that the others have no memory. */
CASE(a_sample_that_is_read_in_part_is_not_acknowledged) {
    static const uint64_t rows[RIG_LEAVES] = {48, 90000, 16};
    static uint8_t bytes[48 + 90000 + 16];
    net n;
    she_guard *guard;
    net_open_rows(&n, rows, 2, 2, false);
    int file = into_a_file(&n, &guard);
    int fd = client_open(&n);
    client_write(fd, bytes, sizeof bytes);
    client_acks(fd, 1);
    uint64_t middle = n.r.ring->leaves[1].offset + 90000 + 45000;
    CHECK_EQ(ftruncate(file, (off_t)(middle / 4096 * 4096)), 0);
    client_write(fd, bytes, sizeof bytes);
    ends_without_acknowledgement(&n, fd, 1);
    CHECK_EQ(net_close(&n), 0);
    she_guard_remove(guard);
    close(file);
}

/* A drainer waits for room that never comes; it looks now and then. */
CASE(a_queue_before_truncated_memory_is_dropped_and_counted) {
    net n;
    she_guard *guard;
    net_open(&n, 2, 1);
    int file = into_a_file(&n, &guard);
    int fd = client_open(&n);
    client_send(&n, fd, 0, 0, 5);
    client_acks(fd, 5);
    CHECK_EQ(ftruncate(file, 0), 0);
    CHECK(client_at_end(fd));
    CHECK_EQ(next_end(&n).error, ESHUTDOWN);
    close(fd);
    CHECK_EQ(net_close(&n), 3);
    she_guard_remove(guard);
    close(file);
}
