/* The SIGBUS guard: truncated mappings become zeros, everything else goes to the handler before. */
#include "processes.h"

#include <pthread.h>
#include <setjmp.h>
#include <sys/mman.h>

#include "shm_echo/sigbus_guard.h"

#define PAGE 4096u
#define BYTES (4 * PAGE)

typedef struct {
    int fd;
    volatile uint8_t *bytes;
    she_guard *guard;
} mapping;

static mapping map(bool guarded) {
    mapping m = {.fd = memfd_create("guard-test", MFD_CLOEXEC)};
    CHECK(m.fd >= 0 && ftruncate(m.fd, BYTES) == 0);
    m.bytes = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, m.fd, 0);
    CHECK(m.bytes != MAP_FAILED);
    memset((void *)m.bytes, 7, BYTES);
    if (guarded) {
        m.guard = she_guard_add((void *)m.bytes, BYTES);
        CHECK(m.guard);
    }
    return m;
}

static void unmap(mapping *m) {
    if (m->guard)
        she_guard_remove(m->guard);
    munmap((void *)m->bytes, BYTES);
    close(m->fd);
}

static void cut(const mapping *m, off_t bytes) { CHECK(ftruncate(m->fd, bytes) == 0); }

static void run_then_42(void *run) {
    (*(void (**)(void))run)();
    _exit(42);
}

/* Run a function in a child; its wait status. */
static int status_of(void (*run)(void)) { return child_wait(child_start(run_then_42, &run), 0); }

/* The same, in a process that begins without a handler: sanitizers have one of their own. */
static int fresh_status_of(void (*run)(void)) {
    struct sigaction before;
    sigaction(SIGBUS, NULL, &before);
    signal(SIGBUS, SIG_DFL);
    int status = status_of(run);
    sigaction(SIGBUS, &before, NULL);
    return status;
}

#define CHECK_ENDS_WELL(run) CHECK_EQ(fresh_status_of(run), 42 << 8)
#define CHECK_KILLED_BY(run, number) \
    do { \
        int status_ = fresh_status_of(run); \
        CHECK(WIFSIGNALED(status_)); \
        CHECK_EQ(WTERMSIG(status_), number); \
    } while (0)

/* ---- our own mappings ------------------------------------------------------------------------ */

static void read_beyond_the_end(void) {
    mapping cut_one = map(true), whole = map(true);
    CHECK(!she_guard_broken(cut_one.guard));
    cut(&cut_one, PAGE);
    CHECK_EQ(cut_one.bytes[0], 7);
    CHECK(!she_guard_broken(cut_one.guard));
    CHECK_EQ(cut_one.bytes[2 * PAGE], 0);
    CHECK(she_guard_broken(cut_one.guard));
    CHECK_EQ(cut_one.bytes[0], 0); /* the whole mapping, so that it is of one kind */
    cut_one.bytes[3 * PAGE] = 1;   /* and it can be written */
    CHECK_EQ(cut_one.bytes[3 * PAGE], 1);
    CHECK_EQ(whole.bytes[3 * PAGE], 7);
    CHECK(!she_guard_broken(whole.guard));
    unmap(&cut_one);
    unmap(&whole);
}
CASE(an_access_beyond_the_end_of_a_truncated_mapping_reads_zeros) {
    CHECK_ENDS_WELL(read_beyond_the_end);
}

static void write_and_keep_errno(void) {
    mapping m = map(true);
    cut(&m, 0);
    errno = ENOTTY;
    m.bytes[BYTES - 1] = 3;
    CHECK_EQ(errno, ENOTTY);
    CHECK_EQ(m.bytes[BYTES - 1], 3);
    CHECK(she_guard_broken(m.guard));
}
CASE(a_write_goes_on_too_and_errno_is_kept) { CHECK_ENDS_WELL(write_and_keep_errno); }

/* ThreadSanitizer accesses the word itself, with locks of its own that the handler must not
 * need. */
#define CUT_BEFORE(access) \
    do { \
        mapping m_ = map(true); \
        she_atomic64 *wide = (she_atomic64 *)(void *)&m_.bytes[PAGE]; \
        she_atomic32 *narrow = (she_atomic32 *)(void *)&m_.bytes[2 * PAGE]; \
        uint32_t zero = 0; \
        (void)wide, (void)narrow, (void)zero; \
        she_store_seq(wide, 1); /* others have used the words to synchronise */ \
        she_store32_seq(narrow, 1); \
        cut(&m_, 0); \
        access; \
        CHECK(she_guard_broken(m_.guard)); \
        unmap(&m_); \
    } while (0)
static void atomics(void) {
    CUT_BEFORE(CHECK_EQ(she_load_relaxed(wide), 0));
    CUT_BEFORE(CHECK_EQ(she_load_acquire(wide), 0));
    CUT_BEFORE(CHECK_EQ(she_load32_seq(narrow), 0));
    CUT_BEFORE(she_store_relaxed(wide, 2));
    CUT_BEFORE(she_store_release(wide, 2));
    CUT_BEFORE(she_store32_seq(narrow, 2));
    CUT_BEFORE(CHECK_EQ(she_add_relaxed(wide, 2), 0));
    CUT_BEFORE(CHECK_EQ(she_add_seq(wide, 2), 0));
    CUT_BEFORE(CHECK_EQ(she_exchange32_seq(narrow, 2), 0));
    CUT_BEFORE(CHECK(she_cas_seq(wide, 0, 2)));
    CUT_BEFORE(CHECK(she_cas32_seq(narrow, &zero, 2)));
}
CASE(an_atomic_access_goes_on_too) { CHECK_ENDS_WELL(atomics); }

static void many_ranges(void) {
    enum { MANY = 200 };
    static mapping all[MANY];
    for (int round = 0; round < 2; round++) { /* the second one uses the entries of the first */
        for (int i = 0; i < MANY; i++)
            all[i] = map(true);
        for (int i = 0; i < MANY; i += 3)
            cut(&all[i], 0);
        for (int i = 0; i < MANY; i++) {
            CHECK(!she_guard_broken(all[i].guard));
            CHECK_EQ(all[i].bytes[PAGE], i % 3 ? 7 : 0);
            CHECK_EQ(she_guard_broken(all[i].guard), i % 3 == 0);
        }
        for (int i = 0; i < MANY; i++)
            unmap(&all[i]);
    }
}
CASE(any_number_of_mappings_is_guarded_and_entries_are_used_again) { CHECK_ENDS_WELL(many_ranges); }

static mapping inherited;
static void read_inherited(void) {
    cut(&inherited, 0);
    CHECK_EQ(inherited.bytes[0], 0);
    CHECK(she_guard_broken(inherited.guard));
}
static void fork_with_a_mapping(void) {
    inherited = map(true);
    CHECK_EQ(status_of(read_inherited), 42 << 8);
    CHECK(!she_guard_broken(inherited.guard));
    CHECK_EQ(inherited.bytes[0], 0);
    CHECK(she_guard_broken(inherited.guard));
}
CASE(the_child_of_a_fork_is_guarded_for_itself) { CHECK_ENDS_WELL(fork_with_a_mapping); }

/* ---- the signals of others ------------------------------------------------------------------- */

static sigjmp_buf resume;
static volatile sig_atomic_t calls;
static void jump(int number) {
    calls++;
    siglongjmp(resume, number);
}
static void jump_with_info(int number, siginfo_t *info, void *context) {
    (void)context;
    calls += info->si_code == BUS_ADRERR ? 1 : 100;
    siglongjmp(resume, number);
}
static void count(int number) {
    (void)number;
    calls++;
}

static void handle(void (*plain)(int), void (*with_info)(int, siginfo_t *, void *)) {
    struct sigaction action = {0};
    if (with_info) {
        action.sa_sigaction = with_info;
        action.sa_flags = SA_SIGINFO;
    } else {
        action.sa_handler = plain;
    }
    CHECK(sigaction(SIGBUS, &action, NULL) == 0);
}

static void foreign_fault(void) {
    mapping ours = map(true), foreign = map(false);
    cut(&foreign, 0);
    for (int i = 1; i <= 3; i++) {
        if (!sigsetjmp(resume, 1))
            foreign.bytes[0] = 1;
        CHECK_EQ(calls, i);
    }
    CHECK(!she_guard_broken(ours.guard));
    cut(&ours, 0);
    CHECK_EQ(ours.bytes[0], 0);
    CHECK_EQ(calls, 3);
}
static void plain_handler_before(void) {
    handle(jump, NULL);
    foreign_fault();
}
static void handler_with_info_before(void) {
    handle(NULL, jump_with_info);
    foreign_fault();
}
CASE(a_fault_elsewhere_goes_to_the_handler_before) {
    CHECK_ENDS_WELL(plain_handler_before);
    CHECK_ENDS_WELL(handler_with_info_before);
}

static void fault_in_a_removed_range(void) {
    mapping m = map(true);
    she_guard_remove(m.guard);
    cut(&m, 0);
    m.bytes[0] = 1;
}
static void foreign_fault_by_default(void) {
    mapping ours = map(true), foreign = map(false);
    cut(&foreign, 0);
    foreign.bytes[0] = 1;
    unmap(&ours);
}
static void foreign_fault_ignored(void) {
    signal(SIGBUS, SIG_IGN);
    foreign_fault_by_default();
}
CASE(without_a_handler_before_a_fault_elsewhere_ends_the_process) {
    CHECK_KILLED_BY(fault_in_a_removed_range, SIGBUS);
    CHECK_KILLED_BY(foreign_fault_by_default, SIGBUS);
    CHECK_KILLED_BY(foreign_fault_ignored, SIGBUS);
}

static void raised(void) {
    mapping m = map(true);
    raise(SIGBUS);
    unmap(&m);
}
static void raised_and_ignored(void) {
    signal(SIGBUS, SIG_IGN);
    raised();
}
static void raised_and_counted(void) {
    handle(count, NULL);
    raised();
    CHECK_EQ(calls, 1);
}
CASE(a_raised_signal_goes_to_the_handler_before) {
    CHECK_KILLED_BY(raised, SIGBUS);
    CHECK_ENDS_WELL(raised_and_ignored);
    CHECK_ENDS_WELL(raised_and_counted);
}

/* What faulthandler does: report, restore the handler before, raise the signal again. */
static struct sigaction restored;
static void report(int number) {
    calls++;
    sigaction(SIGBUS, &restored, NULL);
    raise(number);
}
static void reporter_after(bool truncate_ours) {
    mapping ours = map(true), foreign = map(false);
    struct sigaction action = {.sa_handler = report, .sa_flags = SA_NODEFER};
    CHECK(sigaction(SIGBUS, &action, &restored) == 0);
    mapping later = map(true); /* does not put the guard's handler over the reporter */
    cut(truncate_ours ? &ours : &foreign, 2 * PAGE);
    CHECK_EQ((truncate_ours ? &ours : &foreign)->bytes[3 * PAGE], 0);
    CHECK_EQ(calls, 1);
    CHECK(she_guard_broken(ours.guard));
    CHECK(!she_guard_broken(later.guard));
    cut(&later, 0);
    CHECK_EQ(later.bytes[0], 0);
    CHECK_EQ(calls, 1);
}
static void reporter_after_our_fault(void) { reporter_after(true); }
static void reporter_after_foreign_fault(void) { reporter_after(false); }
static void reporter_before(void) {
    sigaction(SIGBUS, NULL, &restored); /* the default */
    struct sigaction action = {.sa_handler = report, .sa_flags = SA_NODEFER};
    CHECK(sigaction(SIGBUS, &action, NULL) == 0);
    mapping ours = map(true);
    cut(&ours, 0);
    CHECK_EQ(ours.bytes[0], 0);
    CHECK_EQ(calls, 0);
    raise(SIGBUS);
}
CASE(a_handler_that_reports_and_raises_again_may_come_before_or_after) {
    CHECK_ENDS_WELL(reporter_after_our_fault);
    CHECK_KILLED_BY(reporter_after_foreign_fault, SIGBUS);
    CHECK_KILLED_BY(reporter_before, SIGBUS);
}

/* The reporter was there first, and its end has restored the default. Then it begins again. */
static mapping under_a_reporter_again(void) {
    struct sigaction action = {.sa_handler = report, .sa_flags = SA_NODEFER};
    CHECK(sigaction(SIGBUS, &action, &restored) == 0);
    mapping ours = map(true);
    CHECK(sigaction(SIGBUS, &restored, NULL) == 0);
    CHECK(sigaction(SIGBUS, &action, &restored) == 0);
    return ours;
}
static void reporter_again_our_fault(void) {
    mapping ours = under_a_reporter_again();
    CHECK(she_guard_renew());
    CHECK(she_guard_renew());
    cut(&ours, 0);
    CHECK_EQ(ours.bytes[0], 0);
    CHECK_EQ(calls, 0);
    raise(SIGBUS); /* the reporter's: it restores the default, which ends the process */
}
static void reporter_again_new_range(void) {
    mapping ours = under_a_reporter_again(), later = map(true);
    cut(&ours, 0);
    cut(&later, 0);
    CHECK_EQ(ours.bytes[0] + later.bytes[0], 0);
    CHECK_EQ(calls, 0);
}
CASE(a_handler_that_was_replaced_by_the_one_before_it_comes_back) {
    CHECK_KILLED_BY(reporter_again_our_fault, SIGBUS);
    CHECK_ENDS_WELL(reporter_again_new_range);
}

static void default_again(void) {
    mapping first = map(true);
    signal(SIGBUS, SIG_DFL);
    mapping second = map(true);
    cut(&first, 0);
    cut(&second, 0);
    CHECK_EQ(first.bytes[0] + second.bytes[0], 0);
}
static void default_renewed(void) {
    mapping only = map(true);
    signal(SIGBUS, SIG_DFL);
    CHECK(she_guard_renew());
    cut(&only, 0);
    CHECK_EQ(only.bytes[0], 0);
}
CASE(a_handler_that_was_removed_comes_back_with_the_next_mapping_or_a_renewal) {
    CHECK_ENDS_WELL(default_again);
    CHECK_ENDS_WELL(default_renewed);
}

/* ---- threads --------------------------------------------------------------------------------- */

static she_atomic32 stop;
static void *fault_again_and_again(void *rounds) {
    (void)rounds;
    while (!she_load32_relaxed(&stop)) {
        uint8_t *bytes = mmap(NULL, BYTES, PROT_READ, MAP_SHARED, inherited.fd, 0);
        CHECK(bytes != MAP_FAILED);
        int landed = sigsetjmp(resume, 1);
        if (!landed)
            (void)*(volatile uint8_t *)&bytes[PAGE];
        CHECK_EQ(landed, SIGBUS);
        munmap(bytes, BYTES);
    }
    return NULL;
}

static void register_while_others_fault(void) {
    handle(jump, NULL);
    inherited = map(false);
    cut(&inherited, 0); /* each access of the thread is a fault, and none of the guard's */
    mapping own = map(true);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, fault_again_and_again, NULL) == 0);
    for (uint64_t i = 0; i < test_option("rounds", 4) * 500; i++) {
        mapping m = map(true);
        CHECK(!she_guard_broken(m.guard));
        unmap(&m);
    }
    she_store32_relaxed(&stop, 1);
    pthread_join(thread, NULL);
    CHECK(!she_guard_broken(own.guard));
    CHECK_EQ(own.bytes[0], 7);
}
CASE(ranges_come_and_go_while_another_thread_faults) {
    CHECK_ENDS_WELL(register_while_others_fault);
}

static mapping shared;
static void *read_shared(void *page) {
    uint8_t seen = shared.bytes[(uintptr_t)page * PAGE];
    CHECK(seen == 7 || (seen == 0 && she_guard_broken(shared.guard)));
    return NULL;
}
static void fault_in_many_threads(void) {
    for (uint64_t i = 0; i < test_option("rounds", 4) * 25; i++) {
        shared = map(true);
        pthread_t threads[4];
        for (uintptr_t t = 0; t < 4; t++)
            CHECK(pthread_create(&threads[t], NULL, read_shared, (void *)t) == 0);
        cut(&shared, 0);
        for (int t = 0; t < 4; t++)
            pthread_join(threads[t], NULL);
        unmap(&shared);
    }
}
CASE(whoever_reads_a_zero_finds_the_flag) { CHECK_ENDS_WELL(fault_in_many_threads); }

CASE(nothing_is_no_range) { CHECK(!she_guard_add((void *)0x10000, 0)); }
