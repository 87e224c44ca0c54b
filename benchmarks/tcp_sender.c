/* The senders without Python of tcp_throughput.py, and the bare end that they are compared with.
 *
 *   tcp_sender send PORT CONNECTIONS PER_WRITE WRITES RATE CONGESTION
 *     Speaks echo's wire: reads the greeting, which gives the size of a sample, then sends samples
 *     on all connections as fast as they are acknowledged. One write carries PER_WRITE samples, and
 *     at most WRITES writes of a connection are unacknowledged. RATE is samples per second over all
 *     connections; 0 is as fast as possible.
 *   tcp_sender stream PORT CONNECTIONS BYTES CONGESTION
 *     The bare sender: messages of BYTES, no greeting, no acknowledgement.
 *   tcp_sender sink CONNECTIONS BYTES CONGESTION
 *     The bare receiver: prints its port, then receives messages of BYTES into rotating rows of a
 *     region of 256 MB. SIGUSR1 begins a measurement; on SIGTERM it prints the measurement's
 *     nanoseconds, the messages received in it and its nanoseconds of processor time, and ends.
 *
 * One thread each. All addresses are 127.0.0.1; a failure is one line on stderr and status 1.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { REGION = 256 << 20, MOST_CONNECTIONS = 4096, TURN_BYTES = 1 << 20, TURN_WRITES = 8 };

typedef struct {
    int fd;
    uint64_t in_flight; /* samples that are not acknowledged; always 0 for the bare sender */
    size_t done;        /* bytes of the current write, or of the current row, that are through */
    uint8_t *row;       /* sink: where the current message goes */
    short awaited;      /* what poll() should look for, after a turn that got stuck */
} connection;

static connection connections[MOST_CONNECTIONS];
static struct pollfd polled[MOST_CONNECTIONS];
static int count;

__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("tcp_sender: ", stderr);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

static uint64_t nanoseconds(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t number(const char *text, uint64_t least, uint64_t most) {
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno || *end || end == text || value < least || value > most)
        fail("%s is not a number from %llu to %llu", text, (unsigned long long)least,
             (unsigned long long)most);
    return value;
}

static int new_socket(const char *congestion) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int on = 1;
    if (fd < 0)
        fail("socket: %s", strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    /* Before connect() and listen(): a socket that began with BBR keeps BBR's pacing. */
    if (setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, congestion, (socklen_t)strlen(congestion)))
        fail("congestion control %s: %s", congestion, strerror(errno));
    return fd;
}

static void connect_all(uint64_t port, const char *congestion) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int i = 0; i < count; i++) {
        connections[i].fd = new_socket(congestion);
        if (connect(connections[i].fd, (struct sockaddr *)&at, sizeof at))
            fail("connect to port %llu: %s", (unsigned long long)port, strerror(errno));
    }
}

static void receive_all(int fd, void *to, size_t size) {
    ssize_t got = recv(fd, to, size, MSG_WAITALL);
    if (got != (ssize_t)size)
        fail("the connection ended inside the greeting");
}

/* Return the bytes of a sample, as the greeting of an echo server gives them. */
static size_t greeting(int fd) {
    uint8_t opening[5];
    uint32_t leaves, item, dimensions, extent;
    receive_all(fd, opening, sizeof opening);
    if (memcmp(opening, "ECHO\1", sizeof opening))
        fail("the peer is no echo server of version 1");
    receive_all(fd, &leaves, sizeof leaves); /* little-endian, as this machine is */
    size_t sum = 0;
    for (uint32_t leaf = 0; leaf < leaves; leaf++) {
        receive_all(fd, &item, sizeof item);
        receive_all(fd, &dimensions, sizeof dimensions);
        size_t bytes = item;
        for (uint32_t d = 0; d < dimensions; d++) {
            receive_all(fd, &extent, sizeof extent);
            bytes *= extent;
        }
        sum += bytes;
    }
    return sum;
}

/* Random enough that no two pages are equal, and positive as floats. */
static uint8_t *contents(size_t size) {
    uint8_t *bytes = malloc(size);
    if (!bytes)
        fail("no memory for a write of %zu bytes", size);
    uint32_t state = 1;
    for (size_t i = 0; i < size; i++) {
        state = state * 1664525u + 1013904223u;
        bytes[i] = (uint8_t)(state >> 24) & 0x3f;
    }
    return bytes;
}

/* Take all acknowledgements that have arrived; return false if there were none. */
static bool take_acks(connection *c) {
    uint8_t acks[4096];
    bool any = false;
    for (;;) {
        ssize_t got = recv(c->fd, acks, sizeof acks, MSG_DONTWAIT);
        if (got == 0)
            fail("the server closed a connection");
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            return any;
        if (got < 0)
            fail("recv: %s", strerror(errno));
        if ((uint64_t)got > c->in_flight)
            fail("an acknowledgement too many");
        for (ssize_t i = 0; i < got; i++)
            if (acks[i] != 1)
                fail("0x%02x is no acknowledgement", acks[i]);
        c->in_flight -= (uint64_t)got;
        any = true;
        if (got < (ssize_t)sizeof acks)
            return true;
    }
}

/* Write on one connection until it is stuck, or has had its turn; return the samples written. */
static uint64_t turn(connection *c, const uint8_t *bytes, size_t size, uint64_t per_write,
                     uint64_t window) {
    uint64_t written = 0;
    size_t room = TURN_BYTES;
    for (int writes = 0; writes < TURN_WRITES && room; writes++) {
        if (window && c->in_flight + per_write > window && !take_acks(c)) {
            c->awaited = POLLIN;
            return written;
        }
        if (window && c->in_flight + per_write > window)
            continue;
        ssize_t sent = send(c->fd, bytes + c->done, size - c->done, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) {
            c->awaited = POLLOUT;
            return written;
        }
        if (sent < 0)
            fail("send: %s", strerror(errno));
        c->done += (size_t)sent;
        room -= (size_t)sent < room ? (size_t)sent : room;
        if (c->done == size) {
            c->done = 0;
            if (window)
                c->in_flight += per_write;
            written += per_write;
        }
    }
    c->awaited = 0;
    return written;
}

static void poll_all(void) {
    for (int i = 0; i < count; i++)
        polled[i] = (struct pollfd){.fd = connections[i].fd, .events = connections[i].awaited};
    if (poll(polled, (nfds_t)count, -1) < 0 && errno != EINTR)
        fail("poll: %s", strerror(errno));
}

static void hold(uint64_t start, uint64_t sent, uint64_t rate) {
    uint64_t due = (uint64_t)((double)sent / (double)rate * 1e9);
    uint64_t now = nanoseconds(CLOCK_MONOTONIC) - start;
    if (due > now) {
        struct timespec pause = {(time_t)((due - now) / 1000000000u),
                                 (long)((due - now) % 1000000000u)};
        nanosleep(&pause, NULL);
    }
}

/* Send for ever. `window` is in samples; 0 sends without waiting for acknowledgements. */
__attribute__((noreturn)) static void send_all(size_t payload, uint64_t per_write, uint64_t window,
                                               uint64_t rate) {
    size_t size = payload * per_write;
    uint8_t *bytes = contents(size);
    int few = (int)(window / 2 > per_write ? window / 2 : 1);
    for (int i = 0; i < count; i++) {
        /* A full window is worth waking up for when half of it is acknowledged, not for each
         * byte. Those acknowledgements come without another sample, so this cannot wait for ever. */
        if (window)
            setsockopt(connections[i].fd, SOL_SOCKET, SO_RCVLOWAT, &few, sizeof few);
    }
    uint64_t start = nanoseconds(CLOCK_MONOTONIC), sent = 0;
    for (;;) {
        bool stuck = true;
        for (int i = 0; i < count; i++) {
            sent += turn(&connections[i], bytes, size, per_write, window);
            stuck &= connections[i].awaited != 0;
            if (rate)
                hold(start, sent, rate);
        }
        if (stuck)
            poll_all();
    }
}

/* ---- the bare receiver */

static volatile sig_atomic_t is_over, begins;

static void on_signal(int number) {
    if (number == SIGTERM)
        is_over = 1;
    if (number == SIGUSR1)
        begins = 1;
}

static void accept_all(const char *congestion) {
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t length = sizeof at;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = new_socket(congestion);
    if (bind(fd, (struct sockaddr *)&at, sizeof at) || listen(fd, 4096) ||
        getsockname(fd, (struct sockaddr *)&at, &length))
        fail("listen: %s", strerror(errno));
    printf("%d\n", ntohs(at.sin_port));
    fflush(stdout);
    for (int i = 0; i < count; i++) {
        connections[i].fd = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
        if (connections[i].fd < 0)
            fail("accept: %s", strerror(errno));
        connections[i].awaited = POLLIN;
    }
    close(fd);
}

static void sink(size_t size, const char *congestion) {
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGUSR1, &action, NULL);
    uint64_t rows = REGION / size, next = 0, messages = 0, start = 0, used = 0, end = 0;
    uint8_t *region = mmap(NULL, rows * size, PROT_READ | PROT_WRITE,
                           MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (region == MAP_FAILED)
        fail("no memory for %llu rows", (unsigned long long)rows);
    accept_all(congestion);
    while (!is_over) {
        if (count > 1)
            poll_all();
        for (int i = 0; i < count && !is_over; i++) {
            connection *c = &connections[i];
            if (count > 1 && !polled[i].revents)
                continue;
            if (!c->row)
                c->row = region + next++ % rows * size;
            ssize_t got =
                recv(c->fd, c->row + c->done, size - c->done, count > 1 ? MSG_DONTWAIT : 0);
            if (got < 0 && (errno == EAGAIN || errno == EINTR))
                continue;
            if (got <= 0)
                fail("a connection ended");
            c->done += (size_t)got;
            if (c->done < size)
                continue;
            c->done = 0;
            c->row = NULL;
            end = nanoseconds(CLOCK_MONOTONIC);
            messages++;
            if (begins) { /* with the end of a message, as the measurement ends */
                begins = 0;
                messages = 0;
                start = end;
                used = nanoseconds(CLOCK_PROCESS_CPUTIME_ID);
            }
        }
    }
    used = nanoseconds(CLOCK_PROCESS_CPUTIME_ID) - used;
    printf("%llu %llu %llu\n", (unsigned long long)(end - start), (unsigned long long)messages,
           (unsigned long long)used);
}

int main(int argc, char **argv) {
    if (argc == 8 && !strcmp(argv[1], "send")) {
        count = (int)number(argv[3], 1, MOST_CONNECTIONS);
        uint64_t per_write = number(argv[4], 1, 1 << 20);
        uint64_t writes = number(argv[5], 1, 1 << 20);
        uint64_t rate = number(argv[6], 0, UINT32_MAX);
        connect_all(number(argv[2], 1, 65535), argv[7]);
        size_t payload = 0;
        for (int i = 0; i < count; i++)
            payload = greeting(connections[i].fd);
        if (!payload)
            fail("the server's samples have no bytes");
        send_all(payload, per_write, per_write * writes, rate);
    }
    if (argc == 6 && !strcmp(argv[1], "stream")) {
        count = (int)number(argv[3], 1, MOST_CONNECTIONS);
        connect_all(number(argv[2], 1, 65535), argv[5]);
        send_all(number(argv[4], 1, REGION), 1, 0, 0);
    }
    if (argc == 5 && !strcmp(argv[1], "sink")) {
        count = (int)number(argv[2], 1, MOST_CONNECTIONS);
        sink(number(argv[3], 1, REGION), argv[4]);
        return 0;
    }
    fail("send PORT CONNECTIONS PER_WRITE WRITES RATE CONGESTION | stream PORT CONNECTIONS BYTES "
         "CONGESTION | sink CONNECTIONS BYTES CONGESTION");
}
