# SPDX-License-Identifier: Apache-2.0
# bash: processes in the background of a test, each with its log, waited for by what they say and
# ended by their process ids. The caller sets CHAIN, a folder that goes away with the test.

# Global also where bats sources this inside of its load().
declare -gA CHAIN_PIDS=()

# chain_folder FOLDER: sets CHAIN, below bats' folder of the test or of the file, where the users of
# escrowd's roles can come.
chain_folder() {
    export CHAIN=$1/chain
    mkdir -p "$CHAIN"
    chmod 0755 "$BATS_RUN_TMPDIR" "$(dirname "$1")" "$1" "$CHAIN"
}

# spawn NAME COMMAND...: its standard error and output go to $CHAIN/log/NAME.
spawn() {
    local name=$1
    shift
    mkdir -p "$CHAIN/log"
    "$@" </dev/null >>"$CHAIN/log/$name" 2>&1 3>&- &
    CHAIN_PIDS[$name]=$!
}

# wait_log NAME PATTERN [COUNT [SECONDS]]: until COUNT lines of its log match. On failure the log.
wait_log() {
    local file=$CHAIN/log/$1 pattern=$2 count=${3:-1} seconds=${4:-30} tail_pid fd found
    exec {fd}< <(exec timeout "$seconds" tail -n +1 -F -s 0.05 "$file" 2>/dev/null)
    tail_pid=$!
    found=$(grep -E -c -m "$count" -- "$pattern" <&"$fd") || true
    kill "$tail_pid" 2>/dev/null || true
    exec {fd}<&-
    [ "$found" -ge "$count" ] || {
        printf 'no line %s (%s of %s) in %s:\n' "$pattern" "$found" "$count" "$file" >&2
        cat "$file" >&2
        return 1
    }
}

# count_log NAME PATTERN
count_log() {
    grep -s -E -c -- "$2" "$CHAIN/log/$1" || true
}

# end NAME [SIGNAL]: its exit status is the result.
end() {
    local pid=${CHAIN_PIDS[$1]} status=0
    unset "CHAIN_PIDS[$1]"
    kill -s "${2:-TERM}" "$pid" 2>/dev/null || true
    wait "$pid" || status=$?
    return "$status"
}

# end_all: in teardown. What does not end by itself within 20 s is killed, and fails the test.
end_all() {
    local name pid status=0
    for name in "${!CHAIN_PIDS[@]}"; do
        kill "${CHAIN_PIDS[$name]}" 2>/dev/null || true
    done
    for name in "${!CHAIN_PIDS[@]}"; do
        pid=${CHAIN_PIDS[$name]}
        if ! timeout 20 tail --pid="$pid" -s 0.05 -f /dev/null; then
            printf '%s did not end and was killed; its log:\n' "$name" >&2
            cat "$CHAIN/log/$name" >&2
            kill -KILL "$pid" 2>/dev/null || true
            status=1
        fi
        wait "$pid" 2>/dev/null || true
    done
    CHAIN_PIDS=()
    return "$status"
}

# sanitizer_reports: fails, and prints them, if any log holds one.
sanitizer_reports() {
    local files
    files=$(grep -s -l -E 'AddressSanitizer|LeakSanitizer|runtime error:' "$CHAIN"/log/*) || return 0
    # shellcheck disable=SC2086 # a list of files of ours
    cat $files >&2
    return 1
}
