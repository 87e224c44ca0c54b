#!/bin/sh
# run.sh LABEL WRAPPER ARGUMENTS PROGRAM...: runs all test programs, one after the other, and sums up.
# The exit status of a program is 0 (passed), 77 (skipped) or another number (failed).
label=$1 wrapper=$2 arguments=$3
shift 3
passed=0 skipped=0 failed=
for program; do
    # Wrapper and arguments are lists of words.
    # shellcheck disable=SC2086
    $wrapper "$program" $arguments
    case $? in
    0) passed=$((passed + 1)) ;;
    77) skipped=$((skipped + 1)) ;;
    *) failed="$failed ${program##*/}" ;;
    esac
done
echo "$label: $passed passed, $skipped skipped, failed:${failed:- none}"
[ -z "$failed" ] && [ "$passed" -gt 0 ]
