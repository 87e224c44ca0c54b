/* The loader's ring of ../PROTOCOL.md, for spin: announcements, gate, queue of buffers, claims of
 * runs, short batches, leases, deaths, cancelled batches, and the sleep on both sides.
 *
 * A slot holds one run, whose items are one number here: the item that the sampler put there. The
 * assertions and Monitor state the properties; README.md describes them, the variants and the
 * mutations. As in ring_protocol.pml everything is sequentially consistent, one step is one access
 * to shared memory with the private computation that follows it, or one system call; a worker can
 * die before each of its steps; there are no time-outs.
 */
#ifndef P
#define P 2                       /* workers */
#endif
#ifndef BS
#define BS 2                      /* slots of a batch */
#endif
#ifndef NB
#define NB 2                      /* buffers */
#endif
#ifndef E
#define E 3                       /* runs of an epoch: its last batch is short if BS does not divide it */
#endif
#ifndef EPOCHS
#define EPOCHS 1
#endif
#ifndef CRASHES
#define CRASHES 0
#endif
#ifndef KEEP
#define KEEP 0                    /* batches that the loop keeps for good */
#endif
#ifndef CANCELS
#define CANCELS 0                 /* breaks out of the loop, each followed by the next epoch */
#endif
#ifndef MUTATE
#define MUTATE 0
#endif
#define T (E * EPOCHS)
#define CAP (BS * NB)
#define CONSUMER 3
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

/* Shared memory. A row is written in two halves. */
byte word[CAP], half1[CAP], half2[CAP];
byte order[CAP];                  /* by slot: 1 + the item that belongs there */
byte entry[NB];                   /* announced batch e lies in ring batch entry[e % NB] */
byte W, gate, hole_gen, awaited;

/* Event counts, as in ring_words.pml: whether one has moved since a ticket was read, the sleeper
 * bit, and the processes that sleep. */
#define SPACE 0
#define DATA 1
byte holds[2], queue[2];
bool sleeper[2];
#define ME (1 << me)
#define ASLEEP(ec) (queue[ec] & ME)
#define TICKET(ec) holds[ec] = holds[ec] | ME; t = sleeper[ec]
#define DROP(ec) holds[ec] = holds[ec] & ~ME; t = false
#define HOLDS(ec) (holds[ec] & ME)
#define SLEEP(step, ec, look_again) \
  step(if :: HOLDS(ec) && sleeper[ec] == t -> sleeper[ec] = true :: else -> DROP(ec); goto look_again fi); \
  step(if :: HOLDS(ec) -> DROP(ec); queue[ec] = queue[ec] | ME :: else -> DROP(ec); goto look_again fi)
#define BUMP(ec) t = sleeper[ec]; sleeper[ec] = false; holds[ec] = 0
#define WAKE(ec) queue[ec] = 0
#define SIGNAL(step, ec, next) step(BUMP(ec); if :: t -> t = false :: else -> goto next fi); step(WAKE(ec); goto next)
#define STEP(...) atomic { __VA_ARGS__ }
#define DIE atomic { crashes < CRASHES -> crashes++; LEAVE }
#define MORTAL(...) if :: atomic { __VA_ARGS__ } :: DIE fi
#define LEAVE gone[me] = true; queue[SPACE] = queue[SPACE] & ~ME; DROP(SPACE); w = 0; x = 0; i = 0; g = 0; n = 0; claimed = false; item = 0; goto left

/* Private to the trainer's process. */
byte crashes, cancels, seen[P];
bool gone[P];
byte A;                           /* batches announced */
byte batch, looked;               /* the next one to take; how far it is finished (0..BS) */
byte drawn, expect;               /* items announced; items delivered */
byte drain_to;                    /* announced batches below this are cancelled */
byte uses[NB];                    /* by buffer: how often it was announced */
bool out[NB];                     /* announced or taken, and not released */
bool lock, waiting, nudged;       /* the interpreter lock; the consumer waits without it */
byte leases, lease[NB];           /* by buffer: 0, or 1 + the ring batch to release */
#define RB(e) entry[(e) % NB]     /* what the consumer keeps privately, too */

#define CLAIM_NEXT w = 0; x = 0; goto claim
#define SCAN_ON i++; x = 0; if :: i < CAP -> goto scan :: else -> i = 0; seen[me] = g; g = 0; goto at_cursor fi
#define MINE (word[w % CAP] == WORD(w / CAP, me, CLAIMED))

proctype Worker(byte me) {
  byte w, x, i, g, n, item; bool t, claimed;
claim:
  MORTAL(TICKET(SPACE); item = 0);
#if MUTATE == 13     /* holes wait for the gate */
  MORTAL(if :: W >= gate -> goto no_room :: else -> skip fi);
#endif
  MORTAL(g = hole_gen; if :: g == seen[me] -> g = 0; goto at_cursor :: else -> skip fi);
scan:
  MORTAL(x = word[i]; if :: STATE(x) == HOLE -> skip :: else -> SCAN_ON fi);
  MORTAL(if :: word[i] == x -> word[i] = WORD(LAP(x), me, CLAIMED); w = LAP(x) * CAP + i; i = 0; g = 0; DROP(SPACE); x = 0; goto make :: else -> SCAN_ON fi);
at_cursor:
  MORTAL(w = W);
  MORTAL(
    if
    :: w >= gate + (MUTATE == 7 -> 1 : 0) -> w = 0; goto no_room
    :: gate > w + CAP -> g = gate - (MUTATE == 14 -> BS : CAP)
    :: else -> goto at_entry
    fi);
  MORTAL(if :: W == w -> W = g :: else -> skip fi; g = 0; CLAIM_NEXT);   /* those before are over */
at_entry:
  MORTAL(n = entry[(w / BS) % NB] * BS + w % BS);
  MORTAL(x = word[n % CAP];
    if
    :: LAP(x) < n / CAP -> assert(MUTATE > 0); n = 0; w = 0; x = 0; goto no_room
    :: LAP(x) == n / CAP && VACANT(x) -> skip
    :: else -> goto help
    fi);
  MORTAL(if :: word[n % CAP] == x -> word[n % CAP] = WORD(LAP(x), me, CLAIMED); claimed = true :: else -> n = 0; CLAIM_NEXT fi);
help:
  MORTAL(if :: W == w -> W = w + 1 :: else -> skip fi;
    if :: claimed -> claimed = false; DROP(SPACE); w = n; x = 0; n = 0; goto make :: else -> n = 0; CLAIM_NEXT fi);
no_room:
  SLEEP(MORTAL, SPACE, claim);
end_asleep:
  if :: atomic { !ASLEEP(SPACE) -> goto claim } :: DIE fi;

make:                             /* which item is it; make it; write it */
  MORTAL(assert(MINE); item = (MUTATE == 6 -> 1 + w : order[w % CAP]));
  MORTAL(assert(MINE); half1[w % CAP] = item);
  MORTAL(assert(MINE); half2[w % CAP] = item; item = 0);
  MORTAL(assert(MINE); word[w % CAP] = WORD(w / CAP, me, COMMITTED));
  MORTAL(if :: awaited == 1 + w -> n = w + 1; x = 0; if :: n % BS == 0 -> goto complete :: else -> goto pass fi :: else -> w = 0; goto claim fi);
pass:                             /* the baton, as in ring_protocol.pml */
  MORTAL(x = word[n % CAP];
    if
    :: FINISHED(x, w / CAP) -> n++; x = 0; if :: n % BS == 0 -> goto complete :: else -> goto pass fi
    :: else -> x = 0
    fi);
  MORTAL(if :: awaited == 1 + w -> awaited = 1 + n :: else -> w = 0; n = 0; goto claim fi);
  MORTAL(x = word[n % CAP];
    if
    :: FINISHED(x, w / CAP) -> w = n; n = w + 1; x = 0; if :: n % BS == 0 -> goto complete :: else -> goto pass fi
    :: STATE(x) == HOLE -> x = 0; goto complete
    :: else -> w = 0; n = 0; x = 0; goto claim
    fi);
complete:
  MORTAL(w = 0; n = 0; BUMP(DATA); if :: t -> t = false :: else -> goto claim fi);
  MORTAL(WAKE(DATA); goto claim);

left:                             /* the id goes to a new worker after its recovery */
  atomic { !gone[me] -> seen[me] = 0; goto claim }
}

proctype Server() {
  byte o, i; bool t;
end_idle:
  if
  :: atomic { gone[0] -> o = 0 }
#if P > 1
  :: atomic { gone[1] -> o = 1 }
#endif
  fi;
recover:
  atomic {
    do :: i < CAP && (word[i] & 31) != WORD(0, o, CLAIMED) -> i++ :: else -> break od;
    if :: i < CAP -> word[i] = WORD(LAP(word[i]), 0, HOLE); goto recover :: else -> i = 0 fi
  };
  STEP(hole_gen++);
  STEP(BUMP(SPACE)); STEP(WAKE(SPACE); t = false);
  STEP(if :: MUTATE == 16 -> skip :: else -> BUMP(DATA) fi); STEP(if :: MUTATE == 16 -> skip :: else -> WAKE(DATA) fi; t = false);
  atomic { gone[o] = false; o = 0; goto end_idle }
}

/* ---- the trainer's process: the consumer, under its interpreter lock except in its wait ---- */
#define ROWS (E - drawn % E < BS -> E - drawn % E : BS)
#define OPEN gate = (A + 1) * BS
#define SKIP_TAIL word[(r * BS + i) % CAP] = WORD(r / NB, 0, SKIP); i++
inline bind() {                   /* announced batch A goes into ring batch r, whose buffer is free */
  STEP(n = ROWS; if :: MUTATE == 1 -> OPEN :: else -> skip fi);
  if :: MUTATE == 4 -> STEP(entry[A % NB] = r) :: else -> skip fi;
  STEP(do :: i < n -> order[(r * BS + i) % CAP] = drawn + 1 + i; i++ :: else -> break od);   /* nobody is there yet */
  do
  :: i >= n && i < BS && MUTATE != 3 && MUTATE != 5 ->
     STEP(assert(MUTATE > 0 || word[(r * BS + i) % CAP] == WORD(r / NB, 0, FREE)); SKIP_TAIL)
  :: else -> break
  od;
  if :: MUTATE == 15 -> STEP(OPEN) :: else -> skip fi;
  STEP(entry[A % NB] = r);
  STEP(OPEN; drawn = drawn + n; A++);
  do
  :: MUTATE == 5 && i >= n && i < BS -> STEP(SKIP_TAIL)
  :: else -> break
  od;
  STEP(i = 0; n = 0; r = 0; if :: MUTATE == 2 -> skip :: else -> BUMP(SPACE) fi);
  STEP(if :: t -> WAKE(SPACE) :: else -> skip fi; t = false)
}
#define IDLE(u) (u < NB && (!out[u % NB] || (MUTATE == 12 && lease[u % NB] > 0)))
inline announce() {               /* into any free buffer */
  do
  :: drawn < T && A < batch + NB && (IDLE(0) || IDLE(1) || IDLE(2)) ->
     STEP(if :: IDLE(0) -> r = 0 :: IDLE(1) -> r = 1 :: IDLE(2) -> r = 2 fi; out[r] = true; uses[r] = uses[r] + 1; r = (uses[r] - 1) * NB + r);
     bind()
  :: else -> break
  od
}
#define SLOT_OF(b) (RB(b) * BS + i) % CAP
#define LAP_OF(b) (RB(b) / NB)
inline skip_vacant(b) {           /* FREE and HOLE words of batch b become SKIP */
  do
  :: i < BS ->
     STEP(x = word[SLOT_OF(b)]; v = LAP(x) == LAP_OF(b) && (VACANT(x) || (MUTATE == 10 && STATE(x) == CLAIMED)); if :: v -> skip :: else -> x = 0; i++ fi);
     if
     :: v -> STEP(if :: word[SLOT_OF(b)] == x -> word[SLOT_OF(b)] = WORD(LAP(x), 0, SKIP) :: else -> skip fi; x = 0; v = false)
     :: else -> skip
     fi
  :: else -> break
  od
}
inline release_word(s) {
  assert(STATE(word[s]) == COMMITTED || STATE(word[s]) == SKIP);
  half1[s] = 0; half2[s] = 0; order[s] = (MUTATE == 0 -> 0 : order[s]);   /* nobody needs them any more */
  word[s] = WORD(LAP(word[s]) + 1, 0, FREE)
}
#define MAY_CANCEL (cancels < CANCELS && expect > 0 && expect < T && drain_to == 0)

proctype Consumer() {
  byte x, i, n, r, b; bool t, v; byte me = CONSUMER;
take:
  atomic { !lock -> lock = true; waiting = false };
  if
  :: atomic { MAY_CANCEL -> cancels++; drain_to = A; drawn = (expect / E + 1) * E; expect = drawn; b = batch }
cancel:                           /* all at once, so that no worker makes what nobody wants */
     if
     :: b < drain_to -> skip_vacant(b); STEP(i = 0; b++); goto cancel
     :: else -> STEP(b = 0; looked = 0; if :: drain_to == batch -> drain_to = 0 :: else -> skip fi)
     fi
  :: true
  fi;
  announce();
  if
  :: atomic { batch == A && drawn == T -> lock = false; goto finished }
  :: else -> atomic { waiting = true; lock = false }
  fi;
wait:
  STEP(TICKET(DATA));
  STEP(if :: nudged -> nudged = false; DROP(DATA); goto take :: else -> skip fi;
    if :: batch == A -> goto doze :: else -> skip fi;       /* every buffer is held */
    if :: batch < drain_to -> skip :: MUTATE == 3 && RB(batch) % 2 == 1 -> skip :: else -> goto look fi);
  skip_vacant(batch);             /* after the ticket: a later recovery signals data */
  STEP(i = 0);
look:
  STEP(x = word[(RB(batch) * BS + looked) % CAP];
    if
    :: FINISHED(x, LAP_OF(batch)) || (MUTATE == 11 && batch < drain_to && !VACANT(x)) ->
       x = 0; looked++; if :: looked == BS -> DROP(DATA); looked = 0; goto ready :: else -> goto look fi
    :: else -> x = 0
    fi);
  STEP(awaited = 1 + RB(batch) * BS + looked);
  STEP(x = word[(RB(batch) * BS + looked) % CAP]; if :: FINISHED(x, LAP_OF(batch)) -> x = 0; goto wait :: else -> x = 0 fi);
doze:
  SLEEP(STEP, DATA, woken);
end_asleep:
  !ASLEEP(DATA);
woken:
  STEP(awaited = 0);
  goto take;
ready:
  if
  :: atomic { batch < drain_to -> r = RB(batch); batch++; if :: batch == drain_to -> drain_to = 0 :: else -> skip fi; goto give_back }
  :: else -> skip
  fi;
  atomic { !lock -> lock = true; waiting = false };
  STEP(r = RB(batch);
    do
    :: i < BS ->
       if
       :: STATE(word[(r * BS + i) % CAP]) == COMMITTED ->
          assert(half1[(r * BS + i) % CAP] == half2[(r * BS + i) % CAP]);      /* not torn */
          assert(half1[(r * BS + i) % CAP] == expect + 1);                     /* the sampler's item, once, in order */
          expect++; n++
       :: else -> skip
       fi; i++
    :: else -> break
    od;
    assert(n == BS || expect % E == 0);                                        /* the sampler's batches */
    i = 0; n = 0; batch++;
    if
#ifdef COPY                       /* the last buffer that circulates is copied and given back */
    :: leases + 1 >= NB -> goto give_back
#endif
    :: else -> lease[r % NB] = r + 1; leases++; r = 0
    fi);
  atomic { lock = false; goto take };
give_back:
  do
  :: i < BS -> STEP(release_word((r * BS + i) % CAP); i++)
  :: else -> break
  od;
  STEP(i = 0; out[r % NB] = false; r = 0; if :: waiting -> skip :: else -> lock = false fi; goto take);
finished: assert(expect == T)     /* a loop that ends has seen every item */
}

proctype Releaser() {             /* the thread that drops the last reference to a batch */
  byte u, i; bool t;
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
  STEP(lease[u] = 0; leases--);
  do
  :: i < BS -> STEP(release_word(u * BS + i); i++)
  :: else -> break
  od;
  STEP(i = 0; out[u] = false; u = 0; if :: waiting -> skip :: else -> goto unlock fi);
  STEP(if :: MUTATE == 8 -> goto unlock :: MUTATE == 9 -> skip :: else -> nudged = true fi);
  STEP(BUMP(DATA));
  STEP(if :: t -> WAKE(DATA) :: else -> skip fi; t = false; nudged = (MUTATE == 9 -> true : nudged));
unlock:
  atomic { lock = false; goto end_idle }
}

/* Runs when no process can take a step any more. */
proctype Monitor() {
  byte i;
  timeout;
  atomic {
    assert(expect == T);          /* all delivered: nobody waits for ever */
    assert(!gone[0] && !gone[P - 1]);
    do :: i < CAP -> assert(STATE(word[i]) != CLAIMED); i++ :: else -> break od
  }
}

init {
  byte i;
  atomic {
    do :: i < P -> run Worker(i); i++ :: else -> break od;
    run Server(); run Consumer(); run Releaser(); run Monitor(); i = 0
  }
}
