# SPDX-License-Identifier: Apache-2.0
# For bats, after escrowd.bash: a member on a swtpm of its own, which teardown ends by swtpm_stop.

# member_new: configuration, keys and policy of the real escrowd, and a running swtpm.
member_new() {
    ESCROWD=$BUILD/escrowd/escrowd STATUS=
    open_folders
    pki_new
    pki_client admin
    config_new
    for key in authority recovery; do
        openssl ecparam -name prime256v1 -genkey -noout -out "$PKI/$key.key"
    done
    openssl ec -in "$PKI/authority.key" -pubout -out "$BATS_TEST_TMPDIR/rules/authority.pem" 2>/dev/null
    openssl ec -in "$PKI/recovery.key" -pubout -out "$BATS_TEST_TMPDIR/rules/recovery.pem" 2>/dev/null
    echo "recovery_file: $BATS_TEST_TMPDIR/rules/recovery.pem" >>"$CONFIG"
    cat >"$BATS_TEST_TMPDIR/rules/policy.yaml" <<TEXT
groups:
  - name: ssis
    availability_group: AG-SSIS
    cluster_type: wsfc
    databases: [SSISDB]
    replicas:
      - {instance: node-a, server_name: SQLA}
      - {instance: node-b, server_name: SQLB}
      - {instance: node-c, server_name: SQLC}
TEXT
    mkdir "$BATS_TEST_TMPDIR/tpm"
    swtpm_start
}

swtpm_start() {
    swtpm socket --tpm2 --tpmstate "dir=$BATS_TEST_TMPDIR/tpm" --server \
        "type=unixio,path=$BATS_TEST_TMPDIR/swtpm.sock,mode=0666" --ctrl \
        "type=unixio,path=$BATS_TEST_TMPDIR/swtpm.sock.ctrl,mode=0666" \
        --flags not-need-init,startup-clear >/dev/null 2>&1 3>&- &
    SWTPM_PID=$!
    wait_for 30 test -S "$BATS_TEST_TMPDIR/swtpm.sock"
}

swtpm_stop() {
    [ -n "${SWTPM_PID:-}" ] || return 0
    kill -KILL "$SWTPM_PID" 2>/dev/null || true
    wait "$SWTPM_PID" 2>/dev/null || true
    rm -f "$BATS_TEST_TMPDIR/swtpm.sock" "$BATS_TEST_TMPDIR/swtpm.sock.ctrl"
    SWTPM_PID=
}

init() {
    "$ESCROWD" init --config "$CONFIG" 2>&1
}
