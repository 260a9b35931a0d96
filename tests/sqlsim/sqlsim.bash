# SPDX-License-Identifier: Apache-2.0
# bash: starts, steers and stops one sqlsim in a bats test. Its files lie in $BATS_TEST_TMPDIR.

# sqlsim_start <CONFIG: sets SQLSIM_PID. SQLSIM_OPTIONS may hold options. The control socket is
# added to the configuration, which holds passwords and so is never written to a file.
sqlsim_start() {
    local config
    SQLSIM_DIR=$(mktemp -d "$BATS_TEST_TMPDIR/sqlsim.XXXXXX")
    SQLSIM_CONTROL=$SQLSIM_DIR/control
    config=$(jq --arg control "$SQLSIM_CONTROL" '.control = $control') || return 1
    mkfifo "$SQLSIM_DIR/ready.fifo"
    "$BUILD/tests/sqlsim/sqlsim" "${SQLSIM_OPTIONS[@]}" - < <(printf '%s' "$config") \
        >"$SQLSIM_DIR/ready.fifo" 2>"$SQLSIM_DIR/err" 3>&- &
    SQLSIM_PID=$!
    if ! read -r -t 60 SQLSIM_READY <"$SQLSIM_DIR/ready.fifo"; then
        cat "$SQLSIM_DIR/err" >&2
        return 1
    fi
}

# sqlsim_port NODE
sqlsim_port() {
    jq -r --arg node "$1" '.ports[$node]' <<<"$SQLSIM_READY"
}

# sqlsim_ctl COMMAND [WORD...]
sqlsim_ctl() {
    "$BUILD/tests/sqlsim/sqlsim" ctl "$SQLSIM_CONTROL" "$@"
}

# sqlsim_stop: ends it; fails if it was sent a statement that it does not know.
sqlsim_stop() {
    local unknown status=0
    [ -n "${SQLSIM_PID:-}" ] || return 0
    unknown=$(sqlsim_ctl state | jq -c '.unknown') || unknown='"no answer"'
    kill "$SQLSIM_PID" 2>/dev/null
    wait "$SQLSIM_PID" || status=$?
    SQLSIM_PID=
    cat "$SQLSIM_DIR/err" >&2
    if [ "$unknown" != '[]' ] || [ "$status" -ne 0 ]; then
        printf 'sqlsim: exit status %s, unknown statements: %s\n' "$status" "$unknown" >&2
        return 1
    fi
}
