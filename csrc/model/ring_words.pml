/* The parts of ring_protocol.pml: parameters, shared words, event counts, the state of the checks,
 * and the definition of a step. */
#ifndef P
#define P 2             /* producers */
#endif
#ifndef SENDS
#define SENDS 2         /* samples of producer 0: the sum over all that have had its id */
#endif
#ifndef OTHERS
#define OTHERS SENDS    /* of each other producer; at most SENDS */
#endif
#ifndef BS
#define BS 2            /* batch_size */
#endif
#ifndef NB
#define NB 2            /* num_buffers */
#endif
#ifndef BURST
#define BURST 1         /* slots claimed before the first is committed; 2: send_batch */
#endif
#ifndef CRASHES
#define CRASHES 0       /* the most deaths; a new producer gets the id */
#endif
#ifndef BYES
#define BYES 0          /* the most goodbyes between two samples; a new producer gets the id */
#endif
#ifndef ABORTS
#define ABORTS 0        /* the most aborted claims */
#endif
#ifndef SEALS
#define SEALS 0         /* the most flushes */
#endif
#ifndef UNDOS
#define UNDOS 0         /* the most flushes that time out and are undone */
#endif
#ifndef KEEP
#define KEEP 0          /* batches that the learner never drops, with LEASE */
#endif
#ifndef STRAYS
#define STRAYS 0        /* 1: a stray write hits one state word, or the write cursor */
#endif
#ifndef CHECKS
#define CHECKS 0        /* needless checks of the words by a consumer that waits */
#endif
#ifndef MUTATE
#define MUTATE 0        /* a known mistake, by its number in README.md */
#endif
/* Also -DLEASE: batches are released when the learner drops them, by another thread, in any order.
 * -DWAIT: producers end with client.wait(). -DTHREADS: producers 0 and 1 are threads of one
 * process. -DEITHER: the consumer clears `awaited` at any time, not only after a sleep. */

#define CAP (BS * NB)
#define QUOTA(p) (p == 0 -> SENDS : OTHERS)
#define CONSUMER 3      /* its bit in the sets of sleepers; those of the producers start at 0 */

/* The state word: lap << 5 | owner << 3 | state. */
#define FREE 0
#define CLAIMED 1
#define COMMITTED 2
#define HOLE 3
#define SKIP 4
#define NOBODY 3        /* not an owner: mutation 23, and stray words */
#define WORD(l, o, s) (((l) << 5) | ((o) << 3) | (s))
#define LAP(x) ((x) >> 5)
#define STATE(x) ((x) & 7)
#define OWNER_OF(x) (((x) >> 3) & 3)
#define VACANT(x) (STATE(x) == FREE || STATE(x) == HOLE)
#define FINISHED(x, l) (LAP(x) == (l) && (STATE(x) == COMMITTED || STATE(x) == SKIP))

/* As the consumer sees it: a SKIP counts only where it wrote it itself. */
#define READY(x, n) (FINISHED(x, batch / NB) && (STATE(x) == COMMITTED || MUTATE == 36 || (skips & (1 << ((n) % BS)))))

byte word[CAP];
byte half1[CAP], half2[CAP];      /* a sample is written in two halves, so that a torn one shows */
byte W, hole_gen, awaited, taken_cursor;

/* Event counts. The only question about a count is whether it has moved since it was read. So the
 * model keeps the set of the processes whose ticket still holds, which is exact and takes far fewer
 * states. `queue` is the kernel's: the processes that sleep in futex_wait and have not been
 * woken. */
#define SPACE 0
#define DATA 1
#define TAKEN 2
byte holds[3], queue[3];
bool sleeper[3];                  /* the sleeper bit */
#define ME (1 << me)
#define ASLEEP(ec) (queue[ec] & ME)
#define TICKET(ec) holds[ec] = holds[ec] | ME; t = sleeper[ec]
#define DROP(ec) holds[ec] = holds[ec] & ~ME; t = false
#define HOLDS(ec) (MUTATE == 4 || (holds[ec] & ME))
#define SLEEP(step, ec, look_again) \
  step(if :: HOLDS(ec) && (MUTATE == 4 || sleeper[ec] == t) -> sleeper[ec] = true :: else -> DROP(ec); goto look_again fi); \
  step(if :: HOLDS(ec) -> DROP(ec); queue[ec] = queue[ec] | ME :: else -> DROP(ec); goto look_again fi)
#define BUMP(ec) t = sleeper[ec]; sleeper[ec] = false; holds[ec] = 0
#define WAKE(ec) queue[ec] = (MUTATE == 6 -> queue[ec] : (MUTATE == 15 -> queue[ec] & (queue[ec] - 1) : 0))
#define SIGNAL(step, ec, next) \
  step(BUMP(ec); if :: t -> t = false :: else -> goto next fi); step(WAKE(ec); goto next)

/* The account of each owner: claims begun and not ended. The consumer reads the two counters of the
 * code twice and asks whether they have moved in between: `quiet` is the set of the owners whose
 * counters have not, since it read them first. */
byte account[4], quiet;
#define COUNTED (STRAYS + CHECKS > 0)           /* the accounts are modelled */
/* A check and a recovery exclude each other: the server's table of producers has a lock. */
#if COUNTED
bool locked;
#define UNLOCKED (!locked)
#define LOCK locked = true
#define UNLOCK locked = false
#else
#define UNLOCKED true
#define LOCK skip
#define UNLOCK skip
#endif
#define MOVED(o) quiet = quiet & ~(1 << (o)); stuck = false
#define BEGUN(o) account[o]++; MOVED(o)
#define ENDED(o) account[o]--; MOVED(o)

/* A word of the awaited batch that no step of the protocol leaves there; `opened` is the owner's
 * account. A FREE word below the write cursor is one, because either of them was overwritten. */
#define BAD(x, opened, cursor, n) \
  (LAP(x) != batch / NB || STATE(x) > SKIP || (STATE(x) == SKIP && !(skips & (1 << ((n) % BS)))) || \
   (STATE(x) == CLAIMED && (opened) == 0) || (STATE(x) == FREE && (cursor) > (n)))
#define AT(s) (batch * BS + (s) % BS)              /* the position of a slot of the awaited batch */
#define IN_AWAITED(s) ((s) / BS == batch % NB && AT(s) >= looked)
#define BAD_SLOT(s) (IN_AWAITED(s) && BAD(word[s], account[OWNER_OF(word[s])], W, AT(s)))
#if CAP == 1
#define DAMAGED BAD_SLOT(0)
#elif CAP == 2
#define DAMAGED (BAD_SLOT(0) || BAD_SLOT(1))
#elif CAP == 3
#define DAMAGED (BAD_SLOT(0) || BAD_SLOT(1) || BAD_SLOT(2))
#else
#define DAMAGED (BAD_SLOT(0) || BAD_SLOT(1) || BAD_SLOT(2) || BAD_SLOT(3))
#endif
/* The lap in which a slot is used next, or is being used, if no word of it is overwritten. */
#define DUE(s) (taken_cursor / CAP + ((s) < taken_cursor % CAP -> 1 : 0))

/* The state of the checks. */
#define VAL(p, k) ((p) * SENDS + (k) + 1)
#define BIT(v) (1 << ((v) - 1))
#define LATER(v) ((((1 << SENDS) - 1) << ((((v) - 1) / SENDS) * SENDS)) & ~((BIT(v) << 1) - 1))
#define WHOLE(s) (half1[s] != 0 && half1[s] == half2[s])
short sent, got;                  /* samples committed, samples handed to the learner */
bool refilled;                    /* a hole has been refilled: order is not checked any more */
bool done[P];
byte wants[P];                    /* the end of the last sample committed, for client.wait() */

byte crashes, byes, aborts, seals, undos, strays, checks;
short lost;                       /* committed samples whose word was overwritten */
bool stuck;                       /* a check failed, and no counter has moved since */
byte seen[P];                     /* by owner: hole_gen when a scan found no hole */
bool gone[P], at_rest[P];         /* owners that have died or said goodbye; their threads */
byte batch, looked;               /* the consumer's next batch; the end of its finished words */
bool sealing;                     /* it ends this batch early */
byte skips;                       /* the slots of this batch that it has skipped itself */

#define STEP(...) atomic { __VA_ARGS__ }     /* a step of the server's process, whose death ends the ring */
#ifdef THREADS
#define OWNER (me / 2)
#define AT_REST(o) (o == 0 -> (at_rest[0] || done[0]) && (at_rest[1] || done[1]) : at_rest[2])
#define LIVE !gone[OWNER]
#define DIE atomic { gone[OWNER] || crashes < CRASHES -> if :: LIVE -> crashes++ :: else -> skip fi; LEAVE }
#else
#define OWNER me
#define AT_REST(o) true
#define LIVE true
#define DIE atomic { crashes < CRASHES -> crashes++; LEAVE }
#endif
#define MORTAL(...) if :: atomic { LIVE -> __VA_ARGS__ } :: DIE fi
#define LEAVE \
  gone[OWNER] = true; at_rest[me] = true; \
  queue[SPACE] = queue[SPACE] & ~ME; queue[TAKEN] = queue[TAKEN] & ~ME; DROP(SPACE); DROP(TAKEN); \
  k = k + held; held = 0; at[0] = 0; at[BURST-1] = 0; w = 0; x = 0; i = 0; g = 0; n = 0; claimed = false; inside = false; \
  goto left
