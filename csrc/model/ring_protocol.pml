/* The slot protocol of ../PROTOCOL.md, for spin: claim, commit with the baton, abort, take,
 * release, skip, seal, recover, and the event counts on which both sides sleep.
 *
 * The assertions and Monitor state the properties; README.md describes them, the variants and the
 * mutations. Memory orders are outside of the model: everything here is sequentially consistent.
 *
 * One step is one access to shared memory with the private computation that follows it, or one
 * system call. A producer can die before each of its steps. There are no time-outs, except that the
 * consumer may end its wait in order to flush: a lost wake shows as a process that sleeps for ever.
 * And with -DSTRAYS=1 it may end its wait in order to check the words, which stray writes may have hit.
 */
#include "ring_words.pml"

/* Private computation: part of the step before it, which saves states. */
#define CLAIM_NEXT w = 0; x = 0; goto claim
#define SCAN_ON \
  i++; x = 0; \
  if :: i < CAP -> goto scan :: else -> i = 0; seen[OWNER] = (MUTATE == 11 -> hole_gen : g); g = 0; goto at_cursor fi
#define CLAIM(s, o) word[s] = WORD(LAP(x), o, CLAIMED); refilled = refilled || STATE(x) == HOLE
#define HOLD \
  DROP(SPACE); x = 0; inside = false; at[held] = w; w = 0; held++; \
  if :: held == BURST || k + held == QUOTA(me) -> goto write :: else -> goto claim fi
#if COUNTED
#define NO_ROOM w = 0; x = 0; goto no_slot
#else
#define NO_ROOM w = 0; x = 0; AFTER_FULL
#endif
#define AFTER_FULL if :: held > 0 && MUTATE != 12 -> DROP(SPACE); goto write :: else -> goto no_room fi
#define MINE (word[at[i] % CAP] == WORD(at[i] / CAP, OWNER, CLAIMED))
#define POP w = at[0]; at[0] = at[BURST-1]; at[BURST-1] = 0; held--; k++
#define PASS_FROM(m) w = m; n = w + 1; x = 0; if :: n % BS == 0 -> goto complete :: else -> goto pass fi
#define SENT \
  w = 0; n = 0; x = 0; \
  if :: held > 0 -> goto finish :: held == 0 && k < QUOTA(me) -> goto claim :: else -> goto all_sent fi

proctype Producer(byte me) {
  byte k;                         /* the number of the first sample that is not sent */
  byte held, at[BURST];           /* the positions claimed for it and the next ones */
  byte w, x, i, g, n; bool t, claimed, inside;

claim:
  if
  :: atomic { LIVE -> TICKET(SPACE) }
  :: atomic { LIVE && held == 0 && !inside && byes < BYES -> byes++; LEAVE }
  :: DIE
  fi;
#if COUNTED
  MORTAL(if :: !inside && MUTATE != 32 -> inside = true; BEGUN(OWNER) :: else -> skip fi);
#endif
  MORTAL(g = hole_gen; if :: g == seen[OWNER] -> g = 0; goto at_cursor :: else -> skip fi);
scan:
  MORTAL(x = word[i]; if :: STATE(x) == HOLE -> skip :: else -> SCAN_ON fi);
#if STRAYS           /* a hole of another lap is not one: its owner may still write */
  MORTAL(if :: LAP(x) == DUE(i) || MUTATE == 33 -> skip :: else -> SCAN_ON fi);
#endif
  MORTAL(if :: word[i] == x -> CLAIM(i, OWNER); w = LAP(x) * CAP + i; i = 0; g = 0; HOLD :: else -> SCAN_ON fi);
at_cursor:
  MORTAL(w = W);
  MORTAL(x = word[w % CAP];
    if
    :: LAP(x) < w / CAP -> NO_ROOM
    :: LAP(x) == w / CAP && VACANT(x) -> skip
    :: LAP(x) == w / CAP && !VACANT(x) -> if :: MUTATE == 25 -> CLAIM_NEXT :: else -> goto help fi
    :: LAP(x) > w / CAP -> if :: MUTATE == 9 -> CLAIM_NEXT :: else -> goto help fi
    fi);
#if STRAYS           /* at the first slot of a batch: is its last lap taken? */
  MORTAL(if :: w % BS == 0 && w >= taken_cursor + CAP && MUTATE != 34 -> NO_ROOM :: else -> skip fi);
#endif
  MORTAL(if :: word[w % CAP] == x -> CLAIM(w % CAP, (MUTATE == 23 -> NOBODY : OWNER)); claimed = true :: else -> CLAIM_NEXT fi);
#if MUTATE == 23     /* writes the claim, then its owner */
  MORTAL(word[w % CAP] = WORD(w / CAP, OWNER, CLAIMED));
#endif
help:
  MORTAL(if :: W == w -> W = w + 1 :: else -> skip fi; if :: claimed -> claimed = false; HOLD :: else -> CLAIM_NEXT fi);
#if COUNTED
no_slot:                          /* the claim has ended without a slot */
  MORTAL(inside = false; if :: MUTATE == 29 -> skip :: else -> ENDED(OWNER) fi; AFTER_FULL);
#endif
no_room:
  SLEEP(MORTAL, SPACE, claim);
  if :: LIVE && !ASLEEP(SPACE) -> goto claim :: DIE fi;

write:
  MORTAL(assert(MINE || strays); half1[at[i] % CAP] = VAL(me, k + i));
  MORTAL(assert(MINE || strays); half2[at[i] % CAP] = VAL(me, k + i); i++; if :: i < held -> goto write :: else -> i = 0 fi);
finish:
#if MUTATE == 24     /* checks whether it is awaited, then commits */
  MORTAL(x = (awaited == 1 + at[0]));
#endif
  if
  :: atomic {                     /* the CAS fails only for a recovered owner, never for a live one */
       LIVE -> i = 0; assert(MINE || strays);
       if
       :: MINE -> POP; word[w % CAP] = WORD(w / CAP, OWNER, COMMITTED);
          sent = sent | BIT(VAL(me, k - 1)); if :: w >= wants[me] -> wants[me] = w + 1 :: else -> skip fi
       :: else -> POP; x = 1      /* overwritten: the sample is not sent */
       fi
     }
  :: atomic {
       LIVE && aborts < ABORTS -> aborts++; assert(MINE || strays);
       if :: MINE -> POP; goto aborted :: else -> POP; x = 1 fi
     }
  :: DIE
  fi;
#if COUNTED
  MORTAL(if :: MUTATE == 30 -> skip :: else -> ENDED(OWNER) fi; if :: x -> SENT :: else -> skip fi);
#endif
  MORTAL(if :: (MUTATE == 24 -> x : awaited == 1 + w) -> PASS_FROM(w) :: else -> SENT fi);
pass:
  MORTAL(x = word[n % CAP];
    if
    :: FINISHED(x, w / CAP) -> n++; x = 0; if :: n % BS == 0 -> goto complete :: else -> goto pass fi
    :: else -> x = 0
    fi);
  MORTAL(if :: awaited == 1 + w || MUTATE == 21 -> awaited = 1 + n :: else -> SENT fi);
  MORTAL(x = word[n % CAP];
    if
    :: FINISHED(x, w / CAP) && MUTATE != 3 -> PASS_FROM(n)
    :: STATE(x) == HOLE && MUTATE != 3 -> goto complete
    :: else -> SENT
    fi);
complete:
  SIGNAL(MORTAL, DATA, signalled);
signalled:
  atomic { SENT };
aborted:                          /* 16: increments hole_gen first; 22: does not signal space */
#if COUNTED
  MORTAL(if :: word[w % CAP] == WORD(w / CAP, OWNER, CLAIMED) -> word[w % CAP] = WORD(w / CAP, 0, HOLE) :: else -> skip fi);
  MORTAL(if :: MUTATE == 31 -> skip :: else -> ENDED(OWNER) fi);
#endif
  MORTAL(if :: MUTATE == 16 -> hole_gen++ :: COUNTED -> skip :: else -> word[w % CAP] = WORD(w / CAP, 0, HOLE) fi);
  MORTAL(if :: MUTATE == 16 -> word[w % CAP] = WORD(w / CAP, 0, HOLE) :: else -> hole_gen++ fi; if :: MUTATE == 22 -> goto complete :: else -> skip fi);
  SIGNAL(MORTAL, SPACE, abort_signalled);
abort_signalled:
#if MUTATE == 10     /* assumes that the consumer has written `awaited` already */
  MORTAL(if :: awaited == 1 + w -> skip :: else -> SENT fi);
#endif
  goto complete;

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

left:                             /* the id goes to a new producer after its recovery */
  !gone[OWNER] || MUTATE == 5;
  atomic {
    at_rest[me] = false; wants[me] = 0; seen[OWNER] = (MUTATE == 13 -> hole_gen : 0);
    if :: k < QUOTA(me) -> goto claim :: else -> done[me] = true fi
  };
ended: skip
}

/* The server recovers the owners that have ended. It wakes even if the sleeper bit is clear: the
 * dead producer may have cleared it in a signal and died before its wake. */
#define SIGNAL_ALL(ec, forgotten) \
  STEP(if :: MUTATE == forgotten -> skip :: else -> BUMP(ec) fi); \
  STEP(if :: MUTATE == forgotten || (MUTATE == 8 && !t) -> skip :: else -> WAKE(ec) fi; t = false)
proctype Server() {
  byte o, i, n; bool t;
end_idle:
  if
  :: atomic { gone[0] && AT_REST(0) && UNLOCKED -> LOCK; o = 0 }
#if P > 1
  :: atomic { gone[1] && AT_REST(1) && UNLOCKED -> LOCK; o = 1 }
#endif
#if P > 2 && !defined(THREADS)
  :: atomic { gone[2] && UNLOCKED -> LOCK; o = 2 }
#endif
  fi;
#if STRAYS           /* more words than claims: one of them is forged, the learner decides */
  STEP(
    do
    :: i < CAP -> if :: STATE(word[i]) == CLAIMED && OWNER_OF(word[i]) == o -> n++ :: else -> skip fi; i++
    :: else -> break
    od;
    i = 0;
    if :: n > account[o] -> n = 0; goto closes :: else -> n = 0 fi);
#endif
recover:
  atomic {                        /* no other process makes or changes such words: one look at the rest suffices */
    do :: i < CAP && (word[i] & 31) != WORD(0, o, CLAIMED) -> i++ :: else -> break od;
    if :: i < CAP -> word[i] = WORD(LAP(word[i]), 0, HOLE); goto recover :: else -> i = 0 fi
  };
closes:
#if COUNTED
  STEP(account[o] = (MUTATE == 35 -> account[o] : 0); MOVED(o));
#endif
  STEP(hole_gen++);
  SIGNAL_ALL(SPACE, 7);
  SIGNAL_ALL(DATA, 2);
#ifdef WAIT
  SIGNAL_ALL(TAKEN, 99);
#endif
  atomic { gone[o] = false; o = 0; UNLOCK; goto end_idle }
}

inline deliver(s) {
  assert(WHOLE(s));                               /* not torn */
  assert(sent & BIT(half1[s]));                   /* and committed, */
  assert(!(got & BIT(half1[s])));                 /* once, */
  assert(refilled || !(got & LATER(half1[s])));   /* in its producer's order */
  got = got | BIT(half1[s])
}
inline release_word(s) {                          /* the learner's samples have not changed */
  assert(STATE(word[s]) == COMMITTED || STATE(word[s]) == SKIP || strays);
  assert(half1[s] == half2[s] && (half1[s] == 0 || (got & BIT(half1[s]))));
  half1[s] = 0; half2[s] = 0;                     /* a stale sample that is delivered again reads 0 */
  word[s] = WORD(LAP(word[s]) + 1, 0, FREE)
}
#ifdef EITHER
#define CLEAR_AWAITED(must) if :: STEP(awaited = 0) :: skip fi
#else
#define CLEAR_AWAITED(must) STEP(if :: must -> awaited = 0 :: else -> skip fi)
#endif

#ifdef LEASE
/* The interpreter lock: held by the consumer, except in its wait, and by the thread that drops a
 * batch. */
bool lock, waiting, wake_requested;
byte leases, lease[NB];           /* by buffer: 0, or 1 + the batch number to release it under */
#define OURS(x) (LAP(x) == batch / NB && (STATE(x) == CLAIMED || STATE(x) == COMMITTED))
#define MAY_SEAL (seals < SEALS && !sealing && (OURS(word[batch % NB * BS]) || OURS(word[batch % NB * BS + BS - 1])))
#define LEASED(buffer) (lease[buffer] > 0)
inline skip_held() {              /* the next batch's memory is leased, other memory is not */
  do
  :: leases > 0 && leases < NB && lease[batch % NB] > 0 && MUTATE != 27 ->
     do
     :: i < BS -> STEP(assert(FINISHED(word[batch % NB * BS + i], batch / NB - 1)); word[batch % NB * BS + i] = WORD(batch / NB, 0, SKIP); i++)
     :: else -> break
     od;
     STEP(i = 0; assert(!sealing); lease[batch % NB] = batch + 1; batch++; looked = batch * BS; taken_cursor = batch * BS);
     STEP(BUMP(TAKEN)); STEP(if :: t -> WAKE(TAKEN) :: else -> skip fi; t = false);
     STEP(BUMP(SPACE)); STEP(if :: t -> WAKE(SPACE) :: else -> skip fi; t = false)
  :: else -> break
  od
}
#else
#define MAY_SEAL (seals < SEALS && !sealing)
#define LEASED(buffer) false
#endif

#define BEGIN if :: MAY_SEAL -> seals++; sealing = true :: true fi; if :: sealing -> i = looked :: else -> goto look fi

proctype Consumer() {
  byte x, i; bool t; byte me = CONSUMER;
#if COUNTED
#define NO_CLAIM 15
#define TOO_MANY 14
#define UNSETTLED 99
  byte left[4], cursor, found, bad; /* open claims without a word; W; 1 + the bad slot, its word */
  left[NOBODY] = NO_CLAIM;
#endif

take:
#ifdef LEASE
  atomic { !lock -> lock = true; waiting = false };
  skip_held();
  atomic { waiting = true; lock = false };
#endif
wait:
#ifdef LEASE
  STEP(TICKET(DATA));
  STEP(if :: wake_requested && MUTATE != 26 -> wake_requested = false; DROP(DATA); goto take :: else -> skip fi; BEGIN);
#else
  STEP(TICKET(DATA); BEGIN);
#endif
seal:
  STEP(x = word[i % CAP];
    if
    :: LAP(x) == batch / NB && VACANT(x) -> skip
    :: else -> x = 0; i++;
       if
       :: i < (batch + 1) * BS -> goto seal
       :: else -> i = 0; if :: MUTATE == 20 -> TICKET(DATA) :: else -> skip fi; goto look
       fi
    fi);
  STEP(if :: word[i % CAP] == x -> word[i % CAP] = WORD(LAP(x), 0, SKIP); skips = skips | (1 << (i % BS)); half1[i % CAP] = 0; half2[i % CAP] = 0 :: else -> skip fi;
    x = 0; goto seal);
look:
  STEP(x = word[looked % CAP];
    if
    :: READY(x, looked) -> x = 0; looked++; if :: looked == (batch + 1) * BS -> DROP(DATA); goto ready :: else -> goto look fi
    :: else -> x = 0
    fi);
  STEP(awaited = 1 + looked);
  STEP(x = word[looked % CAP]; if :: READY(x, looked) && MUTATE != 1 -> x = 0; goto wait :: else -> x = 0 fi);
  SLEEP(STEP, DATA, woken);
end_asleep:
  if
  :: !ASLEEP(DATA)
  :: atomic { ASLEEP(DATA) && MAY_SEAL -> queue[DATA] = 0; seals++; sealing = true }
  :: atomic { ASLEEP(DATA) && sealing && undos < UNDOS -> queue[DATA] = 0; undos++; i = batch * BS; goto undo }
#if COUNTED
  :: atomic { ASLEEP(DATA) && DAMAGED && !stuck && UNLOCKED -> LOCK; queue[DATA] = 0; goto check }
  :: atomic { ASLEEP(DATA) && !DAMAGED && checks < CHECKS && UNLOCKED -> LOCK; checks++; queue[DATA] = 0; goto check }
#endif
  fi;
woken:
  CLEAR_AWAITED(true);
  goto take;

undo:
  STEP(x = word[i % CAP];
    if :: LAP(x) == batch / NB && STATE(x) == SKIP -> word[i % CAP] = WORD(LAP(x), 0, HOLE) :: else -> skip fi;
    x = 0; i++; if :: i < (batch + 1) * BS -> goto undo :: else -> i = 0; skips = 0; looked = (MUTATE == 14 -> looked : batch * BS) fi);
  STEP(hole_gen++; sealing = false);
  SIGNAL(STEP, SPACE, take);

#if COUNTED
/* A slice of waiting has passed: which word holds the batch up? It becomes a hole only if every claim
 * that is open has its word, because the owner of an overwritten word may still write. */
check:
  STEP(stuck = (i == 0 -> true : stuck); left[i] = (account[i] == 0 -> NO_CLAIM : account[i]); quiet = quiet | (1 << i); i++;
    if :: i < P -> goto check :: else -> i = 0 fi);
  STEP(cursor = W);
count:
  STEP(x = word[i];
    if
    :: STATE(x) == CLAIMED && left[OWNER_OF(x)] < TOO_MANY && (LAP(x) == DUE(i) || MUTATE == 37) ->
       left[OWNER_OF(x)] = (left[OWNER_OF(x)] == 0 -> TOO_MANY : left[OWNER_OF(x)] - 1)
    :: else -> skip
    fi;
    if
    :: !found && IN_AWAITED(i) && BAD(x, (left[OWNER_OF(x)] == NO_CLAIM -> 0 : 1), cursor, AT(i)) ->
       found = 1 + i; bad = x
    :: else -> skip
    fi;
    x = 0; i++; if :: i < CAP -> goto count :: else -> i = 0 fi);
again:
  STEP(
    if
    :: MUTATE == 28 || ((quiet & (1 << i)) && (left[i] == 0 || left[i] == NO_CLAIM)) -> skip
    :: else -> found = UNSETTLED
    fi;
    i++; if :: i < P && found != UNSETTLED -> goto again :: else -> i = 0; left[0] = 0; left[P-1] = 0; left[P/2] = 0; quiet = 0 fi);
  STEP(
    if
    :: !found || found == UNSETTLED -> stuck = (found -> stuck : false); found = 0; bad = 0; cursor = 0; UNLOCK; goto woken
    :: found != UNSETTLED && found && STATE(bad) == FREE && LAP(bad) == batch / NB ->
       assert(strays); W = (W == cursor -> AT(found - 1) : W)
    :: else ->
       assert(strays); skips = (MUTATE == 38 -> skips : skips & ~(1 << ((found - 1) % BS))); word[found-1] = (word[found-1] == bad -> WORD(batch / NB, 0, HOLE) : word[found-1])
    fi;
    found = 0; bad = 0; cursor = 0; stuck = false);
  STEP(hole_gen++; UNLOCK);
  SIGNAL(STEP, SPACE, woken);
#endif

ready:
#ifdef LEASE
  atomic { !lock -> lock = true; waiting = false };
#endif
#ifdef EITHER
  CLEAR_AWAITED(false);
#endif
#if MUTATE == 18     /* signals taken before it moves taken_cursor */
  STEP(BUMP(TAKEN); t = false; WAKE(TAKEN));
#endif
  STEP(taken_cursor = (batch + 1) * BS; sealing = false; i = (batch % NB) * BS;
    do
    :: i < (batch % NB) * BS + BS -> if :: skips & (1 << (i % BS)) -> skip :: else -> deliver(i) fi; i++
    :: else -> break
    od;
    i = 0; skips = 0; stuck = false; if :: MUTATE == 18 -> goto taken :: else -> skip fi);
  SIGNAL(STEP, TAKEN, taken);
taken:
#ifdef LEASE
  atomic { lease[batch % NB] = batch + 1; leases++; batch++; lock = false; goto take };
#endif
#if MUTATE == 19     /* signals space before the words are free */
  STEP(BUMP(SPACE); t = false; WAKE(SPACE));
#endif
release:
  STEP(release_word((batch % NB) * BS + i); i++;
    if :: i < BS -> goto release :: else -> i = 0; batch++; if :: MUTATE == 19 -> goto take :: else -> skip fi fi);
  SIGNAL(STEP, SPACE, take)
}

#ifdef LEASE
proctype Releaser() {             /* the thread that drops the last reference to a batch */
  byte u, l, i; bool t;
end_idle:
  if
  :: atomic { !lock && leases > KEEP && lease[0] > 0 -> u = 0; lock = true }
#if NB > 1
  :: atomic { !lock && leases > KEEP && lease[1] > 0 -> u = 1; lock = true }
#endif
#if NB > 2
  :: atomic { !lock && leases > KEEP && lease[2] > 0 -> u = 2; lock = true }
#endif
  fi;
  atomic { l = (lease[u] - 1) / NB; lease[u] = 0; leases--; };
release:
  STEP(assert(LAP(word[u * BS + i]) == l); release_word(u * BS + i); i++;
    if :: i < BS -> goto release :: else -> i = 0; u = 0; l = 0 fi);
  SIGNAL(STEP, SPACE, space_signalled);
space_signalled:                       /* wakes a consumer that waits, to skip and to seal again; else skips here */
  if
  :: waiting -> STEP(wake_requested = true; if :: MUTATE == 17 -> goto unlock :: else -> skip fi); SIGNAL(STEP, DATA, unlock)
  :: else -> skip_held()
  fi;
unlock:
  atomic { lock = false; goto end_idle }
}
#endif

#if STRAYS > 0
/* Hits the cursor, or a word with a value that no step of the protocol leaves there. No check can tell
 * the values left out: COMMITTED over a row that is not written, and FREE or HOLE, of this lap or of one
 * that a claimer may have read, over a row that its owner writes or that is the learner's. Nor can a
 * recovery tell CLAIMED by the dead, over the row of another, from a claim of the dead that was being
 * made: with CRASHES it is left out, too. */
#define LEARNERS(s) ((s) / BS == batch % NB && AT(s) < looked)
#define LOOKS_LEGAL(l, s, at) \
  (((l) == DUE(at) && (s) == COMMITTED) || ((l) <= DUE(at) + (LEARNERS(at) -> 1 : 0) && ((s) == FREE || (s) == HOLE)))
proctype Scribbler() {
  byte i, l, o, s;
  atomic {
    strays++; refilled = true; stuck = false;
    do :: i < CAP - 1 -> i++ :: break od;
    do :: l < 2 -> l++ :: break od;
    if :: s = FREE :: s = CLAIMED :: s = COMMITTED :: s = HOLE :: s = SKIP fi;
    if :: s == CLAIMED -> if :: CRASHES == 0 -> o = 0 :: o = NOBODY fi :: else -> skip fi;
    if
    :: true -> W = l * CAP + i
    :: !LOOKS_LEGAL(l, s, i) ->
       if
       :: STATE(word[i]) == COMMITTED && LAP(word[i]) == DUE(i) ->
          lost = lost | BIT(half1[i])
       :: else -> skip
       fi;
       word[i] = WORD(l, o, s)
    fi;
    i = 0; l = 0; o = 0; s = 0
  }
}
#endif

/* Runs when no process can take a step any more. */
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
       assert(crashes > 0 || aborts > 0 || strays > 0 || ((sent >> (i * SENDS)) & ((1 << SENDS) - 1)) == (1 << QUOTA(i)) - 1);
       i++
    :: else -> break
    od;
    i = 0;
    do
    :: i < CAP ->
       assert(STATE(word[i]) != CLAIMED || strays > 0);
       if
       :: STATE(word[i]) == COMMITTED && !LEASED(i / BS) && (strays == 0 || LAP(word[i]) == DUE(i)) -> assert(WHOLE(i) && !(in_ring & BIT(half1[i]))); in_ring = in_ring | BIT(half1[i])
       :: else -> skip
       fi;
       if :: i / BS == batch % NB && !READY(word[i], i) -> unseen = false :: else -> skip fi;
       i++
    :: else -> break
    od;
    assert((got & in_ring) == 0 && ((got | in_ring) & ~sent) == 0 && (sent & ~(got | in_ring | lost)) == 0); /* none lost */
#if STRAYS > 0
    assert(!DAMAGED);             /* no overwritten word is left in the batch that is awaited */
#endif
    assert(!unseen);              /* no full batch is left while the consumer sleeps */
    assert(!sealing);             /* no flush waits for a claim that has ended */
    assert(crashes > 0 || aborts > 0 || seals > 0 || strays > 0 || (SENDS + (P - 1) * OTHERS) % BS != 0 || got == sent)
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
#if STRAYS > 0
    run Scribbler();
#endif
    i = 0
  }
}
