/* The slot protocol of ../PROTOCOL.md, for spin: claim, commit with the baton, abort, take, release,
 * seal, recover, and the event counts on which both sides sleep.
 *
 * What it guarantees: the assertions, and Monitor; README.md tells the properties, the variants and the
 * mutations. What it leaves to others: memory orders. Everything here is sequentially consistent.
 *
 * One step is one access to shared memory with the private computing that follows it, or one system
 * call. A producer can die before each of its steps. There are no time-outs, except that the consumer
 * may give up waiting in order to flush: a lost wake shows as somebody who sleeps for ever.
 */
#ifndef P
#define P 2          /* producers */
#endif
#ifndef SENDS
#define SENDS 2      /* samples per producer, by all who have had its id together */
#endif
#ifndef BS
#define BS 2         /* batch_size */
#endif
#ifndef NB
#define NB 2         /* num_buffers */
#endif
#ifndef BURST
#define BURST 1      /* slots that are claimed before the first is committed; 2: send_batch */
#endif
#ifndef CRASHES
#define CRASHES 0    /* deaths, at most; a new producer gets the id */
#endif
#ifndef BYES
#define BYES 0       /* clean goodbyes between two samples, at most; a new producer gets the id */
#endif
#ifndef ABORTS
#define ABORTS 0     /* aborted claims, at most */
#endif
#ifndef SEALS
#define SEALS 0      /* flushes, at most */
#endif
#ifndef UNDOS
#define UNDOS 0      /* flushes that time out and are undone, at most */
#endif
#ifndef MUTATE
#define MUTATE 0     /* a known mistake, by its number in README.md */
#endif
/* Also -DLEASE: another thread releases the batches, in any order; -DWAIT: producers end with
 * client.wait(); -DTHREADS: producers 0 and 1 are threads of one process. */

#define CAP (BS * NB)
#define CONSUMER 3   /* its bit in the sets of sleepers; the producers have theirs from 0 */

/* The state word: lap << 5 | owner << 3 | state. */
#define FREE 0
#define CLAIMED 1
#define COMMITTED 2
#define HOLE 3
#define SKIP 4
#define WORD(l, o, s) (((l) << 5) | ((o) << 3) | (s))
#define LAP(x) ((x) >> 5)
#define STATE(x) ((x) & 7)
#define VACANT(x) (STATE(x) == FREE || STATE(x) == HOLE)
#define FINISHED(x, l) (LAP(x) == (l) && (STATE(x) == COMMITTED || STATE(x) == SKIP))

byte word[CAP];
byte half1[CAP], half2[CAP];                 /* a sample is written in two halves, so that a torn one shows */
byte W, hole_gen, awaited, taken_cursor;

/* Event counts. Only one thing is ever asked of the count: has it moved since I read it? So it is kept
 * as the set of those whose ticket still holds, which is exact and takes far fewer states. `queue` is
 * the kernel's: who sleeps in futex_wait and has not been woken. */
#define SPACE 0
#define DATA 1
#define TAKEN 2
byte holds[3], queue[3];
bool sleeper[3];                             /* the sleeper bit */
#define ME (1 << me)
#define ASLEEP(ec) (queue[ec] & ME)
#define TICKET(ec) holds[ec] = holds[ec] | ME; t = sleeper[ec]
#define DROP(ec) holds[ec] = holds[ec] & ~ME; t = false
#if MUTATE == 4      /* sets the sleeper bit without a look at the ticket, and waits for what it finds */
#define SLEEP(step, ec, look_again) step(sleeper[ec] = true); step(queue[ec] = queue[ec] | ME; t = false)
#else
#define SLEEP(step, ec, look_again) \
  step(if :: (holds[ec] & ME) && sleeper[ec] == t -> sleeper[ec] = true :: else -> DROP(ec); goto look_again fi); \
  step(if :: holds[ec] & ME -> DROP(ec); queue[ec] = queue[ec] | ME :: else -> DROP(ec); goto look_again fi)
#endif
#if MUTATE == 6      /* bumps the count, and forgets the system call */
#define WAKE(ec) skip
#elif MUTATE == 15   /* wakes one sleeper instead of all */
#define WAKE(ec) queue[ec] = queue[ec] & (queue[ec] - 1)
#else
#define WAKE(ec) queue[ec] = 0
#endif
#define BUMP(ec) t = sleeper[ec]; sleeper[ec] = false; holds[ec] = 0
#define SIGNAL(step, ec, next) \
  step(BUMP(ec); if :: t -> t = false :: else -> goto next fi); step(WAKE(ec); goto next)

/* What only the checks know. */
#define VAL(p, k) ((p) * SENDS + (k) + 1)
#define BIT(v) (1 << ((v) - 1))
#define ALL ((1 << (P * SENDS)) - 1)
#define LATER(v) ((((1 << SENDS) - 1) << ((((v) - 1) / SENDS) * SENDS)) & ~((BIT(v) << 1) - 1))
short sent, got;                             /* samples committed, samples handed to the learner */
byte crashes, byes, aborts, seals, undos;
bool refilled;                               /* a hole has been refilled: the order of claims is off */
bool done[P];
byte wants[P];                               /* the end of the last sample committed, for client.wait() */

byte seen[P];                                /* of owners: hole_gen when they found no hole */
bool gone[P], at_rest[P];                    /* owners that are dead or have said goodbye; their threads */
byte batch;                                  /* the consumer's */
bool sealing;                                /* it is to end this batch early */
byte leased;                                 /* set of buffers that the learner refers to */

#define STEP(...) atomic { __VA_ARGS__ }     /* in the server's process: if that dies, all is over */
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
  k = k + held; held = 0; at[0] = 0; at[BURST-1] = 0; w = 0; x = 0; i = 0; g = 0; n = 0; claimed = false; \
  goto left

/* Private computing, put into the step before it to save states. */
#define CLAIM_NEXT w = 0; x = 0; goto claim
#if MUTATE == 11     /* remembers the hole_gen of after the scan */
#define SCAN_ON i++; x = 0; if :: i < CAP -> goto scan :: else -> i = 0; seen[OWNER] = hole_gen; g = 0; goto at_cursor fi
#else
#define SCAN_ON i++; x = 0; if :: i < CAP -> goto scan :: else -> i = 0; seen[OWNER] = g; g = 0; goto at_cursor fi
#endif
#define HOLD \
  DROP(SPACE); x = 0; at[held] = w; w = 0; held++; \
  if :: held == BURST || k + held == SENDS -> goto write :: else -> goto claim fi
#if MUTATE == 12     /* sleeps with claims in its hands */
#define NO_ROOM w = 0; x = 0; goto no_room
#else
#define NO_ROOM w = 0; x = 0; if :: held > 0 -> DROP(SPACE); goto write :: else -> goto no_room fi
#endif
#define POP w = at[0]; at[0] = at[BURST-1]; at[BURST-1] = 0; held--; k++
#define MINE (word[at[i] % CAP] == WORD(at[i] / CAP, OWNER, CLAIMED))
#define PASS_FROM(m) w = m; n = w + 1; x = 0; if :: n % BS == 0 -> goto complete :: else -> goto pass fi
#define SENT \
  w = 0; n = 0; x = 0; \
  if :: held > 0 -> goto finish :: held == 0 && k < SENDS -> goto claim :: else -> goto all_sent fi
#if MUTATE == 9      /* takes a later lap for a proof that somebody has moved W */
#define LATER_LAP CLAIM_NEXT
#else
#define LATER_LAP goto help
#endif

proctype Producer(byte me) {
  byte k;                                    /* number of the first sample that is not sent yet */
  byte held, at[BURST];                      /* the positions claimed for it and those after it */
  byte w, x, i, g, n; bool t, claimed;

claim:
  if
  :: atomic { LIVE -> TICKET(SPACE) }
  :: atomic { LIVE && held == 0 && byes < BYES -> byes++; LEAVE }
  :: DIE
  fi;
  MORTAL(g = hole_gen; if :: g == seen[OWNER] -> g = 0; goto at_cursor :: else -> skip fi);
scan:
  MORTAL(x = word[i]; if :: STATE(x) == HOLE -> skip :: else -> SCAN_ON fi);
  MORTAL(if
    :: word[i] == x -> word[i] = WORD(LAP(x), OWNER, CLAIMED); refilled = true; w = LAP(x) * CAP + i; i = 0; g = 0; HOLD
    :: else -> SCAN_ON
    fi);
at_cursor:
  MORTAL(w = W);
  MORTAL(x = word[w % CAP];
    if
    :: LAP(x) < w / CAP -> NO_ROOM
    :: LAP(x) == w / CAP && VACANT(x) -> skip
    :: LAP(x) == w / CAP && !VACANT(x) -> goto help
    :: LAP(x) > w / CAP -> LATER_LAP
    fi);
  MORTAL(if
    :: word[w % CAP] == x -> word[w % CAP] = WORD(LAP(x), OWNER, CLAIMED); refilled = refilled || STATE(x) == HOLE; claimed = true
    :: else -> CLAIM_NEXT
    fi);
help:
  MORTAL(if :: W == w -> W = w + 1 :: else -> skip fi; if :: claimed -> claimed = false; HOLD :: else -> CLAIM_NEXT fi);
no_room:
  SLEEP(MORTAL, SPACE, claim);
  if :: LIVE && !ASLEEP(SPACE) -> goto claim :: DIE fi;

write:
  MORTAL(assert(MINE); half1[at[i] % CAP] = VAL(me, k + i));
  MORTAL(assert(MINE); half2[at[i] % CAP] = VAL(me, k + i); i++; if :: i < held -> goto write :: else -> i = 0 fi);
finish:
  if
  :: atomic {                                /* commit; the CAS fails only for an owner that was given up: for none that runs */
       LIVE -> assert(MINE); POP; word[w % CAP] = WORD(w / CAP, OWNER, COMMITTED);
       sent = sent | BIT(VAL(me, k - 1)); if :: w >= wants[me] -> wants[me] = w + 1 :: else -> skip fi
     }
  :: atomic { LIVE && aborts < ABORTS -> aborts++; assert(MINE); POP; word[w % CAP] = WORD(w / CAP, 0, HOLE); goto aborted }
  :: DIE
  fi;
  MORTAL(if :: awaited == 1 + w -> PASS_FROM(w) :: else -> SENT fi);
pass:
  MORTAL(x = word[n % CAP];
    if
    :: FINISHED(x, w / CAP) -> n++; x = 0; if :: n % BS == 0 -> goto complete :: else -> goto pass fi
    :: else -> x = 0
    fi);
#if MUTATE == 21     /* passes the baton with a plain store */
  MORTAL(awaited = 1 + n);
#else
  MORTAL(if :: awaited == 1 + w -> awaited = 1 + n :: else -> SENT fi);
#endif
#if MUTATE == 3      /* does not look again at the word to which it has passed the baton */
  MORTAL(SENT);
#elif MUTATE == 10   /* counts on abort and baton to see the hole that a flush waits for */
  MORTAL(x = word[n % CAP]; if :: FINISHED(x, w / CAP) -> PASS_FROM(n) :: STATE(x) == HOLE -> goto complete :: else -> SENT fi);
#else
  MORTAL(x = word[n % CAP]; if :: FINISHED(x, w / CAP) -> PASS_FROM(n) :: else -> SENT fi);
#endif
complete:
  SIGNAL(MORTAL, DATA, signalled);
signalled:
  atomic { SENT };
aborted:
  MORTAL(hole_gen++);
#if MUTATE != 22     /* 22: does not tell those that wait for space */
  SIGNAL(MORTAL, SPACE, abort_seen);
#endif
abort_seen:
#if MUTATE == 10
  MORTAL(if :: awaited == 1 + w -> goto complete :: else -> SENT fi);
#else
  goto complete;
#endif

all_sent:
#ifdef WAIT
  MORTAL(TICKET(TAKEN));
  MORTAL(if :: taken_cursor >= wants[me] -> DROP(TAKEN); goto finally :: else -> skip fi);
  SLEEP(MORTAL, TAKEN, all_sent);
end_wait:
  if :: LIVE && !ASLEEP(TAKEN) -> goto all_sent :: DIE fi;
#endif
finally:
  atomic { done[me] = true; goto ended };

left:                                        /* the id goes to a new producer */
#if MUTATE != 5      /* 5: before the old one is recovered */
  !gone[OWNER];
#endif
  atomic {
    at_rest[me] = false; wants[me] = 0;
#if MUTATE == 13     /* a new producer takes it that there are no holes */
    seen[OWNER] = hole_gen;
#else
    seen[OWNER] = 0;
#endif
    if :: k < SENDS -> goto claim :: else -> done[me] = true fi
  };
ended: skip
}

/* The server gives up the owners that are gone. It wakes whatever the sleeper bit says: the dead one may
 * have cleared it in a signal, and died before its wake. */
#if MUTATE == 8      /* signals as everybody does */
#define SIGNAL_FOR_THE_DEAD(ec, next) SIGNAL(STEP, ec, next)
#else
#define SIGNAL_FOR_THE_DEAD(ec, next) STEP(BUMP(ec); t = false); STEP(WAKE(ec))
#endif
proctype Server() {
  byte o, i; bool t;
end_idle:
  if
  :: atomic { gone[0] && AT_REST(0) -> o = 0 }
#if P > 1
  :: atomic { gone[1] && AT_REST(1) -> o = 1 }
#endif
#if P > 2 && !defined(THREADS)
  :: atomic { gone[2] -> o = 2 }
#endif
  fi;
recover:
  atomic {                                   /* nobody else makes or changes such words, so one look at the others will do */
    do :: i < CAP && (word[i] & 31) != WORD(0, o, CLAIMED) -> i++ :: else -> break od;
    if :: i < CAP -> word[i] = WORD(LAP(word[i]), 0, HOLE); goto recover :: else -> i = 0 fi
  };
  STEP(hole_gen++);
#if MUTATE != 7      /* 7: does not signal space */
  SIGNAL_FOR_THE_DEAD(SPACE, space_told);
#endif
space_told:
#if MUTATE != 2      /* 2: does not signal data */
  SIGNAL_FOR_THE_DEAD(DATA, data_told);
#endif
data_told:
  atomic { gone[o] = false; o = 0; goto end_idle }
}

/* The learner looks at a sample when it gets it, and again when it gives it back. */
#define WHOLE(s) (half1[s] != 0 && half1[s] == half2[s])
inline deliver(s) {
  assert(WHOLE(s));                               /* not torn */
  assert(sent & BIT(half1[s]));                   /* and committed, */
  assert(!(got & BIT(half1[s])));                 /* once, */
  assert(refilled || !(got & LATER(half1[s])));   /* in its producer's order */
  got = got | BIT(half1[s])
}
inline release_word(s) {
  assert(STATE(word[s]) == SKIP || (STATE(word[s]) == COMMITTED && WHOLE(s) && (got & BIT(half1[s]))));
  half1[s] = 0; half2[s] = 0;                     /* so a stale sample that is delivered again reads 0 */
  word[s] = WORD(LAP(word[s]) + 1, 0, FREE)
}

#if MUTATE == 20     /* seals, then reads the ticket */
#define SEALED TICKET(DATA); goto look
#else
#define SEALED goto look
#endif
#ifdef EITHER        /* whether and when awaited is cleared does not matter */
#define CLEAR_AWAITED if :: STEP(awaited = 0) :: skip fi
#define MAY_CLEAR_AWAITED CLEAR_AWAITED
#else
#define CLEAR_AWAITED STEP(awaited = 0)
#define MAY_CLEAR_AWAITED skip
#endif
proctype Consumer() {
  byte p;                                    /* how far it has looked: a finished word stays finished */
  byte x, i; bool t; byte me = CONSUMER;

take:
  STEP(TICKET(DATA); if :: seals < SEALS && !sealing -> seals++; sealing = true :: true fi;
    if :: sealing -> i = p :: else -> goto look fi);
seal:
  STEP(x = word[i % CAP];
    if
    :: LAP(x) == batch / NB && VACANT(x) -> skip
    :: else -> x = 0; i++; if :: i == (batch + 1) * BS -> i = 0; SEALED :: else -> goto seal fi
    fi);
  STEP(if :: word[i % CAP] == x -> word[i % CAP] = WORD(LAP(x), 0, SKIP) :: else -> skip fi; x = 0; goto seal);
look:
  STEP(x = word[p % CAP];
    if
    :: FINISHED(x, batch / NB) -> x = 0; p++; if :: p == (batch + 1) * BS -> DROP(DATA); goto ready :: else -> goto look fi
    :: else -> x = 0
    fi);
#if MUTATE == 16     /* reads the ticket when it has looked */
  STEP(TICKET(DATA));
#endif
  STEP(awaited = 1 + p);
#if MUTATE != 1      /* 1: does not look again after setting awaited */
  STEP(x = word[p % CAP]; if :: FINISHED(x, batch / NB) -> x = 0; goto take :: else -> x = 0 fi);
#endif
  SLEEP(STEP, DATA, woken);
end_asleep:
  if
  :: !ASLEEP(DATA)
  :: atomic { ASLEEP(DATA) && !sealing && seals < SEALS -> queue[DATA] = 0; seals++; sealing = true }
  :: atomic { ASLEEP(DATA) && sealing && undos < UNDOS -> queue[DATA] = 0; undos++; i = batch * BS; goto undo }
  fi;
woken:
  CLEAR_AWAITED;
  goto take;

undo:
  STEP(x = word[i % CAP];
    if :: LAP(x) == batch / NB && STATE(x) == SKIP -> word[i % CAP] = WORD(LAP(x), 0, HOLE) :: else -> skip fi;
    x = 0; i++; if :: i < (batch + 1) * BS -> goto undo :: else -> i = 0 fi);
#if MUTATE != 14     /* 14: takes it that the words that it had found skipped are finished */
  p = batch * BS;
#endif
  STEP(hole_gen++; sealing = false);
  SIGNAL(STEP, SPACE, take);

ready:
  MAY_CLEAR_AWAITED;
#if MUTATE == 18     /* signals before there is anything to see */
  SIGNAL(STEP, TAKEN, hand_out);
hand_out:
#endif
  STEP(taken_cursor = (batch + 1) * BS; sealing = false; i = (batch % NB) * BS;
    do
    :: i < (batch % NB) * BS + BS -> if :: STATE(word[i]) == COMMITTED -> deliver(i) :: else -> skip fi; i++
    :: else -> break
    od;
    i = 0);
#if MUTATE != 18
  SIGNAL(STEP, TAKEN, handed_out);
#endif
handed_out:
#ifdef LEASE
  atomic { leased = leased | (1 << (batch % NB)); batch++; goto take };
#else
#if MUTATE == 19     /* signals before there is room */
  SIGNAL(STEP, SPACE, release);
#endif
release:
  STEP(release_word((batch % NB) * BS + i); i++; if :: i < BS -> goto release :: else -> i = 0; batch++ fi);
#if MUTATE == 19
  goto take;
#endif
  SIGNAL(STEP, SPACE, take)
#endif
}

#ifdef LEASE
proctype Releaser() {                        /* whoever drops the last reference to a batch */
  byte u, i; bool t;
end_idle:
  if
  :: atomic { leased & 1 -> leased = leased & ~1; u = 0 }
  :: atomic { leased & 2 -> leased = leased & ~2; u = 1 }
  :: atomic { leased & 4 -> leased = leased & ~4; u = 2 }
  fi;
release:
  STEP(release_word(u * BS + i); i++; if :: i < BS -> goto release :: else -> i = 0; u = 0 fi);
#if MUTATE == 17     /* does not tell a consumer that waits for a slot to seal */
  SIGNAL(STEP, SPACE, end_idle)
#else
  SIGNAL(STEP, SPACE, data);
data:
  SIGNAL(STEP, DATA, end_idle)
#endif
}
#endif

/* When nobody can move any more. */
proctype Monitor() {
  byte i; short in_ring; bool unseen = true;
  timeout;
  atomic {
    do
    :: i < P ->
       assert(!gone[i]);
#ifdef WAIT
       assert(done[i] || taken_cursor < wants[i]);
#else
       assert(done[i]);
#endif
       i++
    :: else -> break
    od;
    i = 0;
    do
    :: i < CAP ->
       assert(STATE(word[i]) != CLAIMED);
       if
       :: STATE(word[i]) == COMMITTED -> assert(WHOLE(i) && !(in_ring & BIT(half1[i]))); in_ring = in_ring | BIT(half1[i])
       :: else -> skip
       fi;
       if :: i / BS == batch % NB && !FINISHED(word[i], batch / NB) -> unseen = false :: else -> skip fi;
       i++
    :: else -> break
    od;
    assert(leased == 0);
    assert((got & in_ring) == 0 && (got | in_ring) == sent);       /* none lost */
    assert(!unseen);                                               /* no full batch lies there while the consumer sleeps */
    assert(!sealing);                                              /* no flush waits for nobody */
    if
    :: crashes == 0 && aborts == 0 -> assert(sent == ALL && (got == ALL || seals > 0 || (P * SENDS) % BS != 0))
    :: else -> skip
    fi
  }
}

init {
  byte i;
  atomic {
    do :: i < P -> run Producer(i); i++ :: else -> break od;
    run Server(); run Consumer(); run Monitor();
#ifdef LEASE
    run Releaser();
#endif
    i = 0
  }
}
