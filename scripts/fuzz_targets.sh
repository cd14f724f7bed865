#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# fuzz_targets.sh FOLDER SECONDS JOBS: runs the libFuzzer programs FOLDER/fuzz_*, all at the same time with
# JOBS processes altogether (at least one each), for SECONDS, from FOLDER/seeds/TARGET (read only) and
# FOLDER/corpus/TARGET (grows). A finding is kept in FOLDER/findings and the others go on. Prints for
# each target its executions, coverage (edges; features), corpus, processor time and findings, then
# "N passed, N failed, N skipped".
set -u
folder=$(cd "$1" && pwd) || exit 1
seconds=$2 jobs=$3
targets=
for target in "$folder"/fuzz_*; do
    name=$(basename "$target")
    case $name in *.*) continue ;; esac
    [ -f "$target" ] && [ -x "$target" ] && targets="$targets $name"
done
count=$(echo "$targets" | wc -w)
[ "$count" -gt 0 ] || {
    echo "leat: no fuzz target in $folder" >&2
    exit 1
}
export ASAN_OPTIONS="allocator_may_return_null=1:detect_leaks=0:${ASAN_OPTIONS:-}"
mkdir -p "$folder/findings" "$folder/logs"

# one NAME PROCESSES: a target in so many processes; libFuzzer restarts those that end by a finding.
one() {
    mkdir -p "$folder/corpus/$1" "$folder/seeds/$1"
    "$folder/$1" -fork="$2" -ignore_crashes=1 -ignore_timeouts=1 -ignore_ooms=1 -max_total_time="$seconds" \
        -timeout=20 -rss_limit_mb=2048 -max_len=16384 -artifact_prefix="$folder/findings/$1-" \
        "$folder/corpus/$1" "$folder/seeds/$1" >"$folder/logs/$1.log" 2>&1
    echo $? >"$folder/logs/$1.status"
    times >"$folder/logs/$1.times" # of what has ended, in its second line
}

# Whole models are the most to search, so that these targets get the most of the processes.
weight() {
    case $1 in
    fuzz_run) echo 6 ;;
    fuzz_load | fuzz_quantize | fuzz_batcher) echo 5 ;;
    fuzz_external | fuzz_sequences) echo 3 ;;
    fuzz_cache) echo 2 ;;
    *) echo 1 ;;
    esac
}
weights=0
for name in $targets; do weights=$((weights + $(weight "$name"))); done
for name in $targets; do
    n=$((jobs * $(weight "$name") / weights))
    one "$name" $((n > 0 ? n : 1)) &
done
wait

passed=0 failed=0
printf '%-16s %12s %8s %9s %7s %10s %9s\n' target executions edges features corpus 'cpu time' findings
for name in $targets; do
    last=$(grep -E '^#[0-9]+: cov:' "$folder/logs/$name.log" | tail -n 1)
    number() { echo "$last" | sed -n "s/.*$1 \([0-9]*\).*/\1/p"; }
    found=$(find "$folder/findings" -name "$name-*" | wc -l)
    cpu=$(awk 'NR == 2 { split($1, u, "m"); split($2, s, "m"); printf "%ds", (u[1] + s[1]) * 60 + u[2] + s[2] }' \
        "$folder/logs/$name.times")
    printf '%-16s %12s %8s %9s %7s %10s %9s\n' "$name" "$(echo "$last" | sed 's/^#\([0-9]*\).*/\1/')" \
        "$(number cov:)" "$(number ft:)" "$(number corp:)" "$cpu" "$found"
    # A target that could not start has no line of its own.
    if [ "$found" -eq 0 ] && [ -n "$last" ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        tail -n 3 "$folder/logs/$name.log" | cut -c1-160 | sed 's/^/    /'
    fi
done
echo "$passed passed, $failed failed, 0 skipped"
[ $failed -eq 0 ]
