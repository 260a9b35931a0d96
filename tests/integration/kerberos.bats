#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Logins by Kerberos: keytab, KDC and SQL Server's side of it, and what a DBA reads when one is wrong.

bats_load_library bats-support
bats_load_library bats-assert
load sql
load kerberos
# shellcheck source=tests/integration/lib/processes.bash
. "$BATS_TEST_DIRNAME/lib/processes.bash"

setup_file() {
    {
        make_ca ca
        make_certificate good sql1.test.invalid 30
    } 2>"$BATS_FILE_TMPDIR/openssl.err"
}

setup() {
    # shellcheck disable=SC2034 # for kerberos.bash
    REALM=$BATS_TEST_TMPDIR/realm
    realm_make
    kdc_start
    realm_add escrow
    realm_keytab "$REALM/escrow.keytab" escrow
    simulate good ".instances[0].keytab = \"$REALM/service.keytab\"
        | .logins += [{name: \"ESCROW\\\\escrow\", rights: [\"VIEW SERVER STATE\"]},
                      {name: \"ESCROW\\\\disabled\", disabled: true}]"
    SERVICE=MSSQLSvc/sql1.test.invalid:$(sqlsim_port SQL1)
    realm_add "$SERVICE"
    realm_keytab "$REALM/service.keytab" "$SERVICE"
}

teardown() {
    local status=0
    sqlsim_stop || status=$?
    end_all || status=$?
    return "$status"
}

# by_ticket [KEY=VALUE...] -- COMMAND...
by_ticket() {
    client login= keytab="$REALM/escrow.keytab" krb5_conf="$REALM/krb5.conf" \
        kdc_port="$KDC_PORT" "$@"
}

# restart_kdc [OFFSET]
restart_kdc() {
    end kdc
    kdc_start "$@"
}

# assert_login
assert_login() {
    run by_ticket -- batch "$QUORUM"
    assert_success
}

# assert_refused START TEXT [KEY=VALUE...]: how the line begins, and what it has
assert_refused() {
    run by_ticket "${@:3}" -- batch "$QUORUM"
    assert_failure
    assert_line --partial "$2"
    assert_line --regexp "^$1 "
}

@test "a keytab logs in, by UDP and by TCP" {
    for limit in 1465 1; do
        realm_client "$REALM/krb5.conf" "udp_preference_limit = $limit"
        assert_login
        assert_line --index 0 $'row\t1'
    done
    run statements '[.packet, .tls, .login]'
    assert_line --index 0 '["SQLBatch",true,"ESCROW\\escrow"]'
    run sqlsim_ctl state
    assert_output --partial '"clear_bytes":0'
}

@test "nothing of the environment has a say, and no ticket reaches a file" {
    run env KRB5_CONFIG=/nonexistent KRB5CCNAME="FILE:$REALM/cache" KRB5_TRACE="$REALM/trace" \
        KRB5_CLIENT_KTNAME="$REALM/none" KRB5RCACHEDIR="$REALM" GSS_USE_PROXY=yes \
        "$BUILD/tests/integration/sql_client" port="$(sqlsim_port SQL1)" \
        tls_name=sql1.test.invalid ca="$BATS_FILE_TMPDIR/ca.pem" keytab="$REALM/escrow.keytab" \
        krb5_conf="$REALM/krb5.conf" kdc_port="$KDC_PORT" -- batch "$QUORUM"
    assert_success
    assert [ ! -e "$REALM/trace" ]
    assert [ ! -e "$REALM/cache" ]
}

@test "a keytab that is missing, empty, or holds an old key" {
    assert_refused denied "Kerberos: keytab $REALM/none: No such file" keytab="$REALM/none"
    : >"$REALM/empty"
    assert_refused denied "by keytab $REALM/empty: No Kerberos credentials" keytab="$REALM/empty"
    admin <<<'cpw -randkey escrow'
    assert_refused denied "no ticket for $SERVICE by keytab $REALM/escrow.keytab: Preauthentication"
    rm "$REALM/escrow.keytab"
    realm_keytab "$REALM/escrow.keytab" escrow
    assert_login
    assert_equal "$(statements | wc -l)" 1
}

@test "an account that is expired, disabled or gone" {
    admin <<<'modprinc -expire 2020-01-01 escrow'
    assert_refused denied "Client's entry in database has expired"
    admin <<<'modprinc -expire never -pwexpire 2020-01-01 escrow'
    assert_refused denied "Password has expired"
    admin <<<'modprinc -pwexpire never -allow_tix escrow'
    assert_refused denied "Client's credentials have been revoked"
    admin <<<'delprinc -force escrow'
    assert_refused denied "Client 'escrow@ESCROW.TEST' not found"
    assert_equal "$(statements)" ''
}

@test "a service that the realm does not know, or whose key SQL Server does not have" {
    assert_refused denied 'ESCROW.TEST not found in Kerberos database' tls_name=sql2.test.invalid
    admin <<<"cpw -randkey $SERVICE"
    assert_refused 'denied 18452' 'Login failed. The login is from an untrusted domain'
    rm "$REALM/service.keytab"
    assert_refused 'denied 18452' 'Login failed. The login is from an untrusted domain'
    realm_keytab "$REALM/service.keytab" "$SERVICE"
    assert_login
}

@test "an account that is no login, and one whose login is disabled" {
    realm_add other disabled
    realm_keytab "$REALM/other.keytab" other
    realm_keytab "$REALM/disabled.keytab" disabled
    assert_refused 'denied 18456' "Login failed for user 'ESCROW\\other'" \
        keytab="$REALM/other.keytab"
    assert_refused 'denied 18470' "Login failed for user 'ESCROW\\disabled'. Reason" \
        keytab="$REALM/disabled.keytab"
}

@test "a KDC that is gone, and is back" {
    end kdc
    assert_refused unavailable "Cannot contact any KDC for realm 'ESCROW.TEST'"
    kdc_start
    assert_login
}

@test "clocks: the KDC's against SQL Server's, and ours" {
    restart_kdc +1h
    assert_refused 'denied 18452' 'untrusted domain'
    realm_client "$REALM/krb5.conf" 'kdc_timesync = 0'
    assert_refused denied 'Clock skew too great'
    restart_kdc
    assert_login
}

@test "a krb5_conf that is not there, and one that libkrb5 would take for two" {
    assert_refused denied 'Kerberos: no ticket' krb5_conf=/nonexistent
    run by_ticket krb5_conf="$REALM/krb5.conf:/etc/krb5.conf" -- batch "$QUORUM"
    assert_equal "$status" 3
}
