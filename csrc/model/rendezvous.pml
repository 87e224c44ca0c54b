/* The rendezvous of ../PROTOCOL.md, for spin: commands, answers, the learner's sleep for several
 * answers and the workers' for a command, first-ready waits, deaths and replacements.
 *
 * The row of a worker is written in two halves; what it has to write there is its action, the number
 * of the step, and how often its environment has been stepped. The assertions and Monitor state the properties; README.md describes them, the
 * variants and the mutations. As in ring_protocol.pml everything is sequentially consistent, one
 * step is one access to shared memory with the private computation that follows it, or one system
 * call; a worker can die before each of its steps; there are no time-outs. Spinning is left out: it
 * is a sequence of looks.
 */
#ifndef W
#define W 2                       /* workers, with a mailbox each */
#endif
#ifndef STEPS
#define STEPS 2
#endif
#ifndef NEEDED
#define NEEDED W                  /* answers that a step waits for */
#endif
#ifndef CRASHES
#define CRASHES 0
#endif
#ifndef MUTATE
#define MUTATE 0
#endif
#define LEARNER 3
#define DONE W                    /* event counts: `work` of worker w is w */
#define WORD(sequence, incarnation) ((sequence) * 4 + (incarnation))
#define SEQUENCE(x) ((x) / 4)
#define INCARNATION(x) ((x) % 4)

/* Shared memory. */
byte action[W], half1[W], half2[W], stepped[W];
byte command[W], answer[W];
byte answered, awaited;

/* Event counts, as in ring_words.pml: whether one has moved since a ticket was read, the sleeper
 * bit, and the processes that sleep. */
byte holds[W + 1], queue[W + 1];
bool sleeper[W + 1];
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
#define STEP(...) atomic { __VA_ARGS__ }
#define DIE atomic { crashes < CRASHES -> crashes++; LEAVE }
#define MORTAL(...) if :: atomic { __VA_ARGS__ } :: DIE fi
#define LEAVE gone[me] = true; queue[me] = queue[me] & ~ME; DROP(me); x = 0; c = 0; item = 0; n = 0; goto end_left

/* Private to the learner's process: `dead` is set by the thread that watches the workers. */
byte crashes, steps;              /* steps: taken so far */
bool gone[W], dead[W], nudged;
bool out[W];                      /* a command was given, and its answer not taken */
byte sequence[W], incarnation[W], expect[W], given[W];  /* given: commands to this incarnation */

proctype Worker(byte me) {
  byte x, c, last, item, own, n; bool t;
  own = 1;
next:
  MORTAL(TICKET(me));
  MORTAL(x = command[me];
    if
    :: (MUTATE == 11 || INCARNATION(x) == own) && SEQUENCE(x) != last -> DROP(me); goto act
    :: else -> x = 0
    fi);
  SLEEP(MORTAL, me, next);
end_asleep:
  if :: atomic { !ASLEEP(me) -> goto next } :: DIE fi;
act:
  MORTAL(assert(out[me]); item = action[me]);
  MORTAL(assert(out[me]); half1[me] = item);
  if
  :: MUTATE == 12 -> MORTAL(answer[me] = WORD(SEQUENCE(x), own))
  :: else -> skip
  fi;
  MORTAL(assert(out[me]); n++; half2[me] = item; stepped[me] = n; item = 0);
  if
  :: MUTATE == 2 -> MORTAL(c = answered + 1; item = awaited)
  :: else -> skip
  fi;
  MORTAL(last = SEQUENCE(x); x = 0; answer[me] = WORD(last, own));
  if
  :: MUTATE == 2 -> MORTAL(answered++)
  :: else ->
     MORTAL(answered++; c = answered);
     MORTAL(item = awaited)
  fi;
  MORTAL(t = (MUTATE == 3 -> c == item : c >= item) && item > 0; c = 0; item = 0; if :: t -> t = false :: else -> goto next fi);
  MORTAL(BUMP(DONE); if :: t -> t = false :: else -> goto next fi);
  MORTAL(WAKE(DONE); goto next);
end_left:                         /* the process that replaces it has the next incarnation */
  atomic { !gone[me] -> last = 0; n = 0; own = incarnation[me]; goto next }
}

/* A thread of the learner's process that knows when a worker ends. */
proctype Watch() {
  byte w; bool t;
end_idle:
  if
  :: atomic { gone[0] && !dead[0] -> w = 0 }
#if W > 1
  :: atomic { gone[1] && !dead[1] -> w = 1 }
#endif
#if W > 2
  :: atomic { gone[2] && !dead[2] -> w = 2 }
#endif
  fi;
  STEP(dead[w] = true);
  STEP(nudged = true);
  STEP(if :: MUTATE == 5 -> t = false :: else -> BUMP(DONE); t = (MUTATE == 6 -> t : true) fi);
  STEP(if :: t -> WAKE(DONE); t = false :: else -> skip fi; w = 0; goto end_idle)
}

#define ANSWERED(w) (out[w] && (MUTATE == 7 -> SEQUENCE(x) > 0 : SEQUENCE(x) == sequence[w]) && INCARNATION(x) == incarnation[w])
inline count() {                  /* each answer is one look */
  STEP(there = 0; i = 0);
  do
  :: i < W -> STEP(x = answer[i]; if :: ANSWERED(i) -> there++ :: else -> skip fi; x = 0; i++)
  :: else -> break
  od;
  STEP(i = 0)
}
#define SET_NEEDED needed = out[0] + (W > 1 -> out[1 % W] : 0) + (W > 2 -> out[2 % W] : 0); if :: needed > NEEDED -> needed = NEEDED :: else -> skip fi

proctype Learner() {
  byte x, i, there, needed, base; bool t; byte me = LEARNER;
  atomic { do :: i < W -> incarnation[i] = 1; i++ :: else -> break od; i = 0 };
give:                             /* replacements, then commands to all that are idle */
  do
  :: i < W ->
     if
     :: atomic { dead[i] -> out[i] = false; incarnation[i]++; given[i] = 0; half1[i] = 0; half2[i] = 0; dead[i] = false; gone[i] = false }
     :: atomic { else -> skip }
     fi;
     if
     :: atomic { !out[i] || MUTATE == 8 -> expect[i] = steps + 1; action[i] = expect[i]; given[i]++; out[i] = true }
        if
        :: MUTATE == 10 -> STEP(BUMP(i)); STEP(if :: t -> WAKE(i) :: else -> skip fi; t = false)
        :: else -> skip
        fi;
        STEP(sequence[i]++; command[i] = WORD(sequence[i], incarnation[i]));
        if
        :: MUTATE == 10 -> skip
        :: else -> STEP(BUMP(i)); STEP(if :: t -> WAKE(i) :: else -> skip fi; t = false)
        fi
     :: else -> skip
     fi;
     STEP(i++)
  :: else -> break
  od;
  STEP(i = 0; SET_NEEDED);
wait:
  STEP(TICKET(DONE));
  if
  :: MUTATE == 9 -> skip
  :: else -> STEP(if :: nudged -> nudged = false; DROP(DONE); needed = 0; goto give :: else -> skip fi)
  fi;
  if
  :: MUTATE == 4 -> count(); STEP(base = answered)
  :: else -> STEP(base = answered); count()
  fi;
  STEP(if :: there >= needed -> DROP(DONE); goto take :: else -> awaited = base + needed - there; base = 0; there = 0 fi);
  if
  :: MUTATE == 1 -> skip
  :: else -> count(); STEP(if :: there >= needed -> awaited = 0; DROP(DONE); goto take :: else -> there = 0 fi)
  fi;
  SLEEP(STEP, DONE, woken);
end_asleep:
  !ASLEEP(DONE);
woken:
  STEP(awaited = 0; goto wait);
take:
  STEP(there = 0; base = 0; needed = 0);
  do
  :: i < W ->
     STEP(x = answer[i];
       if
       :: ANSWERED(i) ->
          assert(half1[i] == half2[i]);                 /* not torn */
          assert(half1[i] == expect[i]);                /* of this command, not a late one */
          assert(stepped[i] == given[i]);               /* stepped once for each command */
          half1[i] = 0; half2[i] = 0; out[i] = false
       :: else -> skip
       fi; x = 0; i++)
  :: else -> break
  od;
  STEP(i = 0; steps++);
  if
  :: steps < STEPS -> goto give
  :: else -> skip
  fi
}

/* Runs when no process can take a step any more. */
proctype Monitor() {
  timeout;
  atomic { assert(steps == STEPS) }   /* no wake was lost */
}

init {
  byte i;
  atomic {
    do :: i < W -> run Worker(i); i++ :: else -> break od;
    run Watch(); run Learner(); run Monitor(); i = 0
  }
}
