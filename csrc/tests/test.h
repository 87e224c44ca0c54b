/* The frame of every test program here. Include it first, and once per program: it defines main.
 *
 *     CASE(a_full_ring_claims_nothing) { ... CHECK_EQ(got, want); ... }
 *
 * A program runs its cases in the order in which they are written, prints each as a sentence and
 * ends with `NAME: N cases ok`. It exits with 0 (all passed), 1 (one failed) or 77 (skipped, with a
 * reason). A case that hangs is ended by SIGALRM after `watchdog=` seconds; its name is the last
 * thing on the screen. Command line: only=CASE, seed=N, watchdog=S, and what the program itself
 * asks for with test_option.
 */
#ifndef SHM_ECHO_TEST_H
#define SHM_ECHO_TEST_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef struct test_case {
    const char *name;
    void (*run)(void);
    struct test_case *next;
} test_case;

static test_case *test_first, *test_last;
static const char *test_running = "start-up";
static int test_argc;
static char **test_argv;
static uint64_t test_seed;

static inline void test_register(test_case *one) {
    *(test_last ? &test_last->next : &test_first) = one;
    test_last = one;
}

#define CASE(title) \
    static void title(void); \
    static test_case title##_case = {#title, title, NULL}; \
    __attribute__((constructor)) static void title##_register(void) { \
        test_register(&title##_case); \
    } \
    static void title(void)

/* ---- failing --------------------------------------------------------------------------------- */

/* _exit: a forked child must not flush its parent's files or run its exit handlers. */
__attribute__((noreturn, format(printf, 3, 4))) static inline void
test_fail(const char *file, int line, const char *format, ...) {
    va_list args;
    va_start(args, format);
    fflush(stdout);
    fprintf(stderr, "\n%s:%d: in %s (seed=%" PRIu64 "): ", file, line, test_running, test_seed);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    _exit(1);
}

#define FAIL(...) test_fail(__FILE__, __LINE__, __VA_ARGS__)
#define CHECK(condition) \
    do { \
        if (!(condition)) \
            FAIL("not true: %s", #condition); \
    } while (0)

/* Compares all integers of up to 64 bits; a negative number equals only itself. */
#define CHECK_EQ(got, want) \
    do { \
        uint64_t got_ = (uint64_t)(got), want_ = (uint64_t)(want); \
        if (got_ != want_) \
            FAIL("%s is %" PRId64 " (%#" PRIx64 "), not %s = %" PRId64 " (%#" PRIx64 ")", #got, \
                 (int64_t)got_, got_, #want, (int64_t)want_, want_); \
    } while (0)
#define CHECK_BETWEEN(low, got, high) \
    do { \
        uint64_t got_ = (uint64_t)(got), low_ = (uint64_t)(low), high_ = (uint64_t)(high); \
        if (got_ < low_ || got_ > high_) \
            FAIL("%s is %" PRIu64 ", not %" PRIu64 " to %" PRIu64, #got, got_, low_, high_); \
    } while (0)

__attribute__((noreturn, unused)) static void test_skip(const char *reason) {
    printf("skipped: %s\n", reason);
    fflush(stdout);
    _exit(77);
}

/* ---- the command line, and chance ------------------------------------------------------------ */

/* The text after `name=` on the command line, or NULL. */
static inline const char *test_text(const char *name) {
    size_t length = strlen(name);
    for (int i = 1; i < test_argc; i++)
        if (strncmp(test_argv[i], name, length) == 0 && test_argv[i][length] == '=')
            return test_argv[i] + length + 1;
    return NULL;
}
static inline uint64_t test_option(const char *name, uint64_t otherwise) {
    const char *text = test_text(name);
    return text ? strtoull(text, NULL, 0) : otherwise;
}

/* splitmix64: each thread or process steps a state of its own. */
static inline uint64_t test_random(uint64_t *state) {
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}
static inline uint64_t test_below(uint64_t *state, uint64_t n) { return test_random(state) % n; }

/* ---- main ------------------------------------------------------------------------------------ */

static inline unsigned test_watchdog(void) { return (unsigned)test_option("watchdog", 120); }

int main(int argc, char **argv) {
    const char *program = strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0];
    unsigned cases = 0;
    test_argc = argc;
    test_argv = argv;
    const char *only = test_text("only");
    for (test_case *one = test_first; one; one = one->next) {
        if (only && strcmp(only, one->name) != 0)
            continue;
        test_running = one->name;
        test_seed = test_option("seed", (uint64_t)time(NULL));
        fputs("  ", stdout);
        for (const char *c = one->name; *c; c++)
            putchar(*c == '_' ? ' ' : *c);
        /* Before the case runs, so that its name shows if it hangs and no fork inherits the
         * buffer. */
        fflush(stdout);
        alarm(test_watchdog());
        one->run();
        alarm(0);
        puts("");
        cases++;
    }
    printf("%s: %u cases ok\n", program, cases);
    return cases ? 0 : 1;
}

#endif
