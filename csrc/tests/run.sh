#!/bin/sh
# run.sh LABEL WRAPPER ARGUMENTS PROGRAM...: runs all test programs, one after the other, and sums up.
# The exit status of a program is 0 (passed), 77 (skipped) or another number (failed); above 128 it is
# that of a signal, and SIGALRM (14) is the watchdog. The program has named the case before it began.
label=$1 wrapper=$2 arguments=$3
shift 3
passed=0 skipped=0 failed=
for program; do
    # Wrapper and arguments are lists of words.
    # shellcheck disable=SC2086
    $wrapper "$program" $arguments
    status=$?
    case $status in
    0) passed=$((passed + 1)) ;;
    77) skipped=$((skipped + 1)) ;;
    *) failed="$failed ${program##*/}" ;;
    esac
    if [ $status -eq 142 ]; then
        echo "${program##*/}: the case above hung; the watchdog ended it"
    elif [ $status -gt 128 ]; then
        echo "${program##*/}: ended by signal $((status - 128))"
    fi
done
echo "$label: $passed passed, $skipped skipped, failed:${failed:- none}"
[ -z "$failed" ] && [ "$passed" -gt 0 ]
