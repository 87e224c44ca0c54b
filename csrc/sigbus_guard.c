/* The signal handler of sigbus_guard.h, and the table of ranges that it reads. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "shm_echo/sigbus_guard.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The table grows by blocks, which are never freed: the handler may be reading them. */
#define BLOCK_ENTRIES 64
typedef struct block {
    she_guard entries[BLOCK_ENTRIES];
    she_atomic64 next; /* the address of another block, or 0 */
} block;

static block first_block;
static uint64_t page_bytes;

/* The disposition before ours, at the address of a struct sigaction that is never freed; 0 before
 * the handler is installed. */
static she_atomic64 previous;

static block *next_block(const block *one) {
    /* SYNC guard-block: pairs with the store in she_guard_add; acquires the zeroed entries. */
    return (block *)(uintptr_t)she_load_acquire(&one->next);
}

/* ---- in the handler: async-signal-safe calls and atomics only -------------------------------- */

/* Read a range. False if the entry is free, or changes now: no thread uses its memory then. */
static bool range_of(const she_guard *guard, uintptr_t *base, uint64_t *bytes) {
    /* SYNC guard-range: pairs with set_range; acquires both words. */
    uint32_t version = she_load32_acquire(&guard->version);
    /* Relaxed: ordered by the version before and by the fence after. */
    *base = (uintptr_t)she_load_relaxed(&guard->base);
    *bytes = she_load_relaxed(&guard->bytes);
    she_fence_acquire();
    /* Relaxed: SYNC guard-range, ordered by the fence. */
    return *bytes && !(version & 1) && she_load32_relaxed(&guard->version) == version;
}

static bool replace(she_guard *guard, uintptr_t base, uint64_t bytes) {
    /* SYNC guard-broken: pairs with the load in she_guard_broken. Stored before the mapping
     * changes, so that no thread reads a zero without finding the flag. */
    she_store32_release(&guard->broken, 1);
    /* The system call itself: sanitizers put functions of their own, with locks, before mmap.
     * NORESERVE: most of the pages are never touched again. */
    return syscall(SYS_mmap, base, bytes, PROT_READ | PROT_WRITE,
                   MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0L) != -1;
}

/* Replace the mapping that an address lies in. False if it is none of ours. */
static bool replace_at(uintptr_t address) {
    for (block *one = &first_block; one; one = next_block(one))
        for (int i = 0; i < BLOCK_ENTRIES; i++) {
            uintptr_t base;
            uint64_t bytes;
            if (range_of(&one->entries[i], &base, &bytes) && address - base < bytes)
                return replace(&one->entries[i], base, bytes);
        }
    return false;
}

/* True if the page at an address can be read. The call reads the new mask before it looks at `how`,
 * which is invalid, so it changes nothing; a page beyond the end of the file is an EFAULT, no
 * signal. */
static bool readable(uintptr_t address) {
    return syscall(SYS_rt_sigprocmask, ~0, (void *)address, NULL, 8) == 0 || errno != EFAULT;
}

/* Replace every mapping that has lost a page. True if there was one. */
static bool replace_truncated(void) {
    bool any = false;
    for (block *one = &first_block; one; one = next_block(one))
        for (int i = 0; i < BLOCK_ENTRIES; i++) {
            uintptr_t base;
            uint64_t bytes, at = 0;
            if (!range_of(&one->entries[i], &base, &bytes))
                continue;
            while (at < bytes && readable(base + at))
                at += page_bytes;
            if (at < bytes && replace(&one->entries[i], base, bytes))
                any = true;
        }
    return any;
}

/* Do what would have happened without this handler. */
static void forward(int number, siginfo_t *info, void *context) {
    /* SYNC guard-previous: pairs with the store in install; acquires the disposition. */
    const struct sigaction *before = (void *)(uintptr_t)she_load_acquire(&previous);
    bool raised = info->si_code <= 0; /* by a process, not by an access to memory */
    if (before->sa_flags & SA_SIGINFO) {
        before->sa_sigaction(number, info, context);
    } else if (before->sa_handler == SIG_IGN && raised) {
        /* An ignored signal; the kernel does not let a program ignore an access. */
    } else if (before->sa_handler != SIG_DFL && before->sa_handler != SIG_IGN) {
        before->sa_handler(number);
    } else {
        /* The access runs again and ends the process; a raised signal is raised again. */
        signal(SIGBUS, SIG_DFL);
        if (raised)
            raise(SIGBUS);
    }
}

static void on_sigbus(int number, siginfo_t *info, void *context) {
    int saved = errno;
    bool done;
    if (info->si_code ==
        BUS_ADRERR) /* not BUS_MCEERR_*: broken memory chips are not ours to mend */
        done = replace_at((uintptr_t)info->si_addr);
    else
        /* faulthandler, if it is enabled later, gets the signal of the access first, prints its
         * message, restores this handler and raises the signal again, without the address. */
        done = info->si_code <= 0 && info->si_pid == getpid() && replace_truncated();
    if (!done)
        forward(number, info, context);
    errno = saved;
}

/* ---- outside of the handler ------------------------------------------------------------------ */

static bool is_default(const struct sigaction *action) {
    return !(action->sa_flags & SA_SIGINFO) &&
           (action->sa_handler == SIG_DFL || action->sa_handler == SIG_IGN);
}

static bool is_same(const struct sigaction *one, const struct sigaction *other) {
    if ((one->sa_flags ^ other->sa_flags) & SA_SIGINFO)
        return false;
    return one->sa_flags & SA_SIGINFO ? one->sa_sigaction == other->sa_sigaction
                                      : one->sa_handler == other->sa_handler;
}

/* Install the handler, unless it is there or another one, which has to call it, was put over it.
 *
 * It was removed if the default is back, and also if the handler before it is: faulthandler that
 * was enabled before the guard restores the default when it is disabled, and does not call the
 * guard when it is enabled again. */
static bool install(void) {
    struct sigaction now;
    if (sigaction(SIGBUS, NULL, &now) != 0)
        return false;
    /* Relaxed: only this function stores it, and its callers are serialised. */
    const struct sigaction *known = (void *)(uintptr_t)she_load_relaxed(&previous);
    if (known && !is_default(&now) && !is_same(&now, known))
        return true;
    struct sigaction *before = malloc(sizeof *before);
    if (!before)
        return false;
    *before = now;
    page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
    /* SYNC guard-previous: pairs with the load in forward; releases the disposition. */
    she_store_release(&previous, (uintptr_t)before);
    struct sigaction ours;
    memset(&ours, 0, sizeof ours);
    ours.sa_sigaction = on_sigbus;
    /* ONSTACK: the access may be one of the stack's. NODEFER: handlers that raise the signal again
     * expect that it arrives at once. */
    ours.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    sigemptyset(&ours.sa_mask);
    return sigaction(SIGBUS, &ours, NULL) == 0;
}

static void set_range(she_guard *guard, uintptr_t base, uint64_t bytes) {
    /* Relaxed: writers are serialised. */
    uint32_t version = she_load32_relaxed(&guard->version);
    /* Relaxed: the fence orders it before the words. */
    she_store32_relaxed(&guard->version, version + 1);
    she_fence_release();
    she_store_relaxed(&guard->base, base);
    she_store_relaxed(&guard->bytes, bytes);
    /* SYNC guard-range: pairs with range_of; releases both words. */
    she_store32_release(&guard->version, version + 2);
}

static she_guard *free_entry(block **last) {
    for (block *one = &first_block; one; one = next_block(one)) {
        *last = one;
        for (int i = 0; i < BLOCK_ENTRIES; i++)
            /* Relaxed: writers are serialised. */
            if (she_load_relaxed(&one->entries[i].bytes) == 0)
                return &one->entries[i];
    }
    return NULL;
}

she_guard *she_guard_add(void *base, uint64_t bytes) {
    if (bytes == 0 || !install())
        return NULL;
    block *last = &first_block;
    she_guard *guard = free_entry(&last);
    if (!guard) {
        block *more = calloc(1, sizeof *more);
        if (!more)
            return NULL;
        /* SYNC guard-block: pairs with the load in next_block; releases the zeroed entries. */
        she_store_release(&last->next, (uintptr_t)more);
        guard = &more->entries[0];
    }
    /* Relaxed: nobody looks at a free entry, and set_range releases it. */
    she_store32_relaxed(&guard->broken, 0);
    set_range(guard, (uintptr_t)base, bytes);
    return guard;
}

void she_guard_remove(she_guard *guard) { set_range(guard, 0, 0); }

const she_guard *she_guard_of(const void *base) {
    for (block *one = &first_block; one; one = next_block(one))
        for (int i = 0; i < BLOCK_ENTRIES; i++)
            /* Relaxed: the caller serialises this with the writers. */
            if (she_load_relaxed(&one->entries[i].bytes) &&
                she_load_relaxed(&one->entries[i].base) == (uintptr_t)base)
                return &one->entries[i];
    return NULL;
}

bool she_guard_renew(void) { return install(); }
