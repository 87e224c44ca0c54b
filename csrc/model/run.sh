#!/bin/sh
# Check ring_protocol.pml, in the variants loader-* loader_ring.pml, and in the variants rendezvous-*
# rendezvous.pml, with spin.
#
#   run.sh quick              the small variants, and every mutation: under four minutes
#   run.sh full               the large variants: under half an hour, and up to 8 GB of memory
#   run.sh one NAME [N]       one variant, with mutation N if given
#   run.sh trace NAME N       a short path to the error that mutation N causes in that variant
#
# Each check prints one line: name, states, depth, seconds, verdict. The exit status is 0 if every
# variant passes and every mutation is caught. A search that is cut short, by depth or by memory,
# is a failure.
set -u
here=$(cd "$(dirname "$0")" && pwd)
cc=${CC:-$(command -v clang || echo cc)}    # clang compiles the verifiers twice as fast as gcc
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# name, kind, and compiler options. Kind `safety` finds failed assertions and states in which no
# process can move; kind `cycles` finds endless loops, each of which is an error, because no process
# may wait in a loop.
small='
send            safety -DNB=1
send-2x2        safety -DSENDS=2
send-2x1        safety -DBS=1
send-batch      safety -DNB=1 -DBURST=2
baton           safety -DP=3 -DSENDS=1 -DBS=3 -DNB=1
crash           safety -DNB=1 -DOTHERS=1 -DCRASHES=1
crash-batch     safety -DNB=1 -DBURST=2 -DOTHERS=1 -DCRASHES=1
crash-twice     safety -DP=1 -DSENDS=4 -DCRASHES=2 -DBYES=1
goodbye         safety -DBS=1 -DOTHERS=1 -DBYES=1
threads         safety -DTHREADS -DSENDS=1 -DCRASHES=1
abort           safety -DNB=1 -DOTHERS=1 -DABORTS=1
abort-twice     safety -DNB=1 -DABORTS=2
wait            safety -DNB=1 -DWAIT
flush           safety -DSENDS=1 -DSEALS=1 -DABORTS=1
flush-undo      safety -DNB=1 -DSENDS=1 -DSEALS=1 -DUNDOS=1
lease           safety -DBS=1 -DSENDS=1 -DNB=1 -DLEASE
lease-keep      safety -DP=1 -DBS=1 -DSENDS=5 -DLEASE -DKEEP=1
lease-flush     safety -DP=1 -DNB=1 -DSENDS=3 -DLEASE -DSEALS=1
either          safety -DNB=1 -DEITHER
stray           safety -DBS=1 -DNB=1 -DSENDS=1 -DSTRAYS=1
stray-flush     safety -DP=1 -DNB=1 -DSENDS=2 -DSTRAYS=1 -DSEALS=1
check           safety -DNB=1 -DSENDS=1 -DCHECKS=2 -DABORTS=1
crash-loop      cycles -DP=1 -DBS=1 -DSENDS=3 -DCRASHES=1
abort-loop      cycles -DBS=1 -DNB=1 -DSENDS=1 -DABORTS=1
flush-loop      cycles -DP=1 -DSENDS=3 -DSEALS=1 -DUNDOS=1
lease-loop      cycles -DP=1 -DBS=1 -DSENDS=3 -DLEASE -DKEEP=1
loader-one      safety -DP=1
loader-two      safety -DBS=1 -DNB=1 -DE=2
loader-two-2x1  safety -DNB=1 -DE=2
loader-keep     safety -DP=1 -DBS=1 -DE=4 -DKEEP=1
loader-keep-2   safety -DP=1 -DBS=1 -DNB=3 -DE=4 -DKEEP=2
loader-copy     safety -DP=1 -DBS=1 -DE=4 -DCOPY
loader-crash    safety -DP=1 -DNB=1 -DCRASHES=1
loader-cancel   safety -DP=1 -DNB=1 -DE=3 -DEPOCHS=2 -DCANCELS=1
loader-cancel-2 safety -DP=1 -DE=2 -DEPOCHS=2 -DCANCELS=1
loader-breaks   safety -DP=1 -DNB=1 -DE=2 -DEPOCHS=2 -DCANCELS=1 -DCRASHES=1
loader-loop     cycles -DP=1 -DNB=1 -DE=2 -DCRASHES=1
loader-loop-2   cycles -DP=1 -DNB=1 -DE=2 -DEPOCHS=2 -DCANCELS=1
rendezvous-steps    safety
rendezvous-first    safety -DNEEDED=1
rendezvous-crash    safety -DW=1 -DCRASHES=1
'
large='
send-3x2        safety -DSENDS=3
baton-crash     safety -DP=3 -DSENDS=1 -DBS=3 -DNB=1 -DCRASHES=1
crash-2x2       safety -DCRASHES=1
crash-2x1       safety -DBS=1 -DCRASHES=1
crash-abort     safety -DNB=1 -DOTHERS=1 -DCRASHES=1 -DABORTS=1
crash-goodbye   safety -DBS=1 -DNB=1 -DOTHERS=1 -DCRASHES=1 -DBYES=1
crashes         safety -DNB=1 -DOTHERS=1 -DCRASHES=2
batch-crash     safety -DBURST=2 -DCRASHES=1
batch-abort     safety -DBURST=2 -DSENDS=3 -DABORTS=1
threads-3       safety -DP=3 -DTHREADS -DBS=1 -DSENDS=1 -DCRASHES=1
wait-crash      safety -DNB=1 -DOTHERS=1 -DWAIT -DCRASHES=1
wait-flush      safety -DWAIT -DOTHERS=1 -DSEALS=1 -DABORTS=1
flush-crash     safety -DOTHERS=1 -DSEALS=1 -DCRASHES=1
flush-undo-2    safety -DNB=1 -DOTHERS=1 -DSEALS=2 -DUNDOS=2 -DABORTS=1
lease-2         safety -DBS=1 -DOTHERS=1 -DLEASE
lease-3         safety -DNB=3 -DBS=1 -DOTHERS=1 -DLEASE -DKEEP=1
lease-2x2       safety -DP=1 -DSENDS=5 -DLEASE -DKEEP=1
lease-crash     safety -DBS=1 -DOTHERS=1 -DLEASE -DKEEP=1 -DCRASHES=1
lease-flush-2   safety -DNB=1 -DOTHERS=1 -DLEASE -DSEALS=1
lease-flush-3   safety -DP=1 -DSENDS=4 -DLEASE -DSEALS=1 -DABORTS=1
lease-wait      safety -DP=1 -DBS=1 -DSENDS=5 -DLEASE -DKEEP=1 -DWAIT
either-crash    safety -DNB=1 -DOTHERS=1 -DEITHER -DCRASHES=1
stray-crash     safety -DBS=1 -DNB=1 -DSENDS=1 -DSTRAYS=1 -DCRASHES=1
stray-abort     safety -DBS=1 -DNB=1 -DSENDS=1 -DSTRAYS=1 -DABORTS=1
stray-2         safety -DNB=1 -DSENDS=1 -DSTRAYS=1
stray-2x1       safety -DBS=1 -DSENDS=1 -DSTRAYS=1
stray-crash-2   safety -DNB=1 -DSENDS=1 -DSTRAYS=1 -DCRASHES=1
stray-abort-2   safety -DNB=1 -DSENDS=1 -DSTRAYS=1 -DABORTS=1
send-loop       cycles -DSENDS=2
crash-loop-2    cycles -DNB=1 -DOTHERS=1 -DCRASHES=1
flush-loop-2    cycles -DSENDS=1 -DSEALS=1 -DUNDOS=1
lease-loop-2    cycles -DBS=1 -DOTHERS=1 -DLEASE -DKEEP=1
loader-2x1      safety -DBS=1 -DE=2
loader-2-keep   safety -DBS=1 -DE=3 -DKEEP=1
loader-2-short  safety -DNB=1 -DE=3
loader-2-crash  safety -DNB=1 -DE=3 -DCRASHES=1
loader-2-cancel safety -DBS=1 -DNB=1 -DE=2 -DEPOCHS=2 -DCANCELS=1
loader-kept     safety -DP=1 -DE=3 -DEPOCHS=2 -DKEEP=1 -DCRASHES=1
loader-3-keep   safety -DP=1 -DBS=1 -DNB=3 -DE=6 -DKEEP=2
loader-ahead    safety -DP=1 -DBS=1 -DE=2 -DEPOCHS=2 -DCANCELS=1
loader-breaks-2 safety -DP=1 -DE=3 -DEPOCHS=2 -DCANCELS=1 -DCRASHES=1
loader-loop-3   cycles -DP=1 -DE=3 -DEPOCHS=2 -DCANCELS=1
rendezvous-first-3  safety -DNEEDED=1 -DSTEPS=3
rendezvous-of-3     safety -DW=3 -DSTEPS=1 -DNEEDED=2
rendezvous-crash-2  safety -DCRASHES=1
rendezvous-crashes  safety -DW=1 -DSTEPS=3 -DCRASHES=2
rendezvous-lone     safety -DNEEDED=1 -DCRASHES=1
'
# mutation, and the variant that catches it and passes without it. README.md describes them.
mutations='
1 send         2 crash        3 baton        4 send         5 crash
6 send         7 crash        8 crash        9 crash-loop  10 flush
11 abort-twice 12 send-batch  13 crash       14 flush-undo  15 send-2x1
16 abort       17 lease-flush 18 wait        19 send        20 flush
21 send        22 abort       23 crash       24 send        25 flush-loop
26 lease-keep  27 lease-keep  28 stray       29 stray        30 stray
31 stray-abort 32 stray       33 stray-abort 34 stray        35 stray-crash
36 stray-flush 37 stray       38 stray-flush
'
loader_mutations='
1 loader-one     2 loader-one     3 loader-one      4 loader-two     5 loader-one
6 loader-keep    7 loader-one     8 loader-keep     9 loader-keep   10 loader-cancel
11 loader-cancel 12 loader-keep  13 loader-crash   14 loader-ahead  15 loader-one
16 loader-crash
'
rendezvous_mutations='
1 rendezvous-steps   2 rendezvous-steps   3 rendezvous-steps   4 rendezvous-steps
5 rendezvous-crash   6 rendezvous-crash   7 rendezvous-steps   8 rendezvous-first
9 rendezvous-crash  10 rendezvous-steps  11 rendezvous-crash  12 rendezvous-steps
'

die() {
    echo "run.sh: $*" >&2
    exit 2
}
names() { echo "$1" | awk 'NF { print $1 }'; }

# build NAME MUTATION CC-FLAGS...: makes $work/pan; sets kind and defines
build() {
    name=$1 mutation=$2
    shift 2
    line=$(echo "$small$large" | grep -E "^$name +") || die "no variant is called $name"
    kind=$(echo "$line" | awk '{ print $2 }')
    defines=$(echo "$line" | sed 's/^[^ ]* *[^ ]* *//')
    [ "$mutation" = 0 ] || defines="$defines -DMUTATE=$mutation"
    rm -rf "${work:?}"/* && cp "$here"/*.pml "$work" && cd "$work" || die "cannot write to $work"
    case $name in loader-*) model=loader_ring.pml ;; rendezvous-*) model=rendezvous.pml ;; *) model=ring_protocol.pml ;; esac
    # shellcheck disable=SC2086  # the definitions are words
    spin -a $defines $model >spin.log 2>&1 || die "spin: $(tail -3 spin.log)"
    if [ "$kind" = cycles ]; then set -- "$@" -DNP; else set -- "$@" -DSAFETY; fi
    "$cc" -w "$@" -o pan pan.c || die "$cc does not compile the verifier of $name"
}

passed=0 failed=0
# check NAME MUTATION CC-FLAGS...: one line, and one count
check() {
    start=$(date +%s)
    build "$@"
    search='-n -m50000 -w22'
    [ "$kind" = safety ] || search="$search -l"
    # shellcheck disable=SC2086
    ./pan $search >out 2>&1
    status=$?
    states=$(sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' out)
    depth=$(sed -n 's/.*depth reached \([0-9]*\).*/\1/p' out)
    error=$(sed -n 's/^pan:1: *\(.*\) (at depth.*/\1/p' out | tr -s ' ' | cut -c1-60)
    label=$name verdict="FAIL: ${error:-the search ended with status $status}"
    if [ "$mutation" != 0 ]; then
        label="$name, mutation $mutation" verdict="FAIL: not caught"
        [ -z "$error" ] || verdict="caught: $error"
    elif [ $status = 0 ] && grep -q 'errors: 0' out; then
        verdict=pass
    fi
    if [ -z "$states" ] || grep -qE 'depth too small|out of memory|MEMLIM|truncated' out ||
        { [ -z "$error" ] && grep -q 'Search not completed' out; }; then
        verdict="FAIL: the search was cut short"
    fi
    case $verdict in
    FAIL*) failed=$((failed + 1)) ;;
    *) passed=$((passed + 1)) ;;
    esac
    printf '%-26s %10s states  depth %5s  %4s s  %s\n' \
        "$label" "${states:--}" "${depth:--}" $(($(date +%s) - start)) "$verdict"
}

summary() {
    echo "$passed passed, $failed failed"
    [ "$failed" = 0 ]
}

command -v spin >/dev/null || die "spin is not installed (Debian: apt-get install spin)"
command -v "$cc" >/dev/null || die "no C compiler: $cc"
case ${1-} in
quick) # -O0: compiling takes longer than the search
    for variant in $(names "$small"); do check "$variant" 0 -O0 -DMEMLIM=3500; done
    # shellcheck disable=SC2086
    set -- $mutations $loader_mutations $rendezvous_mutations
    while [ $# -gt 0 ]; do
        check "$2" "$1" -O0 -DMEMLIM=3500
        shift 2
    done
    summary
    ;;
full)
    for variant in $(names "$large"); do check "$variant" 0 -O2 -DCOLLAPSE -DMEMLIM=8000; done
    summary
    ;;
one)
    check "${2?name of a variant}" "${3-0}" -O2 -DCOLLAPSE -DMEMLIM=8000
    summary
    ;;
trace)
    build "${2?name of a variant}" "${3?number of a mutation}" -O1 -DREACH -DMEMLIM=8000
    if [ "$kind" = cycles ]; then ./pan -n -m5000 -l -i; else ./pan -n -m5000 -i; fi >out 2>&1
    # shellcheck disable=SC2086
    spin -t -p -g -l $defines $model
    ;;
*)
    die "usage: run.sh quick | full | one NAME [MUTATION] | trace NAME MUTATION"
    ;;
esac
