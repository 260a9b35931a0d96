#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The door of a real escrowd under attack (intruder.py does it): certificates that are none, TLS that
# is none, HTTP that can be read in two ways, and too much of everything. Each gets its reason code or
# nothing at all, is counted in the log, and the same processes serve the next honest client.

bats_require_minimum_version 1.5.0

# One escrowd for the whole file: a test leaves nothing behind that another one could see.
setup_file() {
    load lib/chain.bash
    chain_folder "$BATS_FILE_TMPDIR"
    # shellcheck disable=SC2034 # of lib/chain.bash
    CHAIN_LIMITS='{request: 4s}'
    chain_prepare 3
    chain_sqlsim <<<unused
    chain_member
    "$CHAIN_CERTS" revoke "$CHAIN/ca" "$CHAIN/pki/agent-sql2.pem" >>"$CHAIN/log/certificates" 2>&1
    chain_escrowd
    chain_hand_over
    export CHAIN_PORT ESCROWD_PID=${CHAIN_PIDS["escrowd"]}
    ROLES=$(roles)
    export ROLES
}

teardown_file() {
    chain_end
    sanitizer_reports
}

setup() {
    load lib/chain.bash
}

# roles: the processes of escrowd; another list means that one was started again.
roles() {
    pgrep --parent "$ESCROWD_PID" | paste -s -d ' '
}

# is ACTUAL WANTED
is() {
    echo "$1 (wanted: $2)"
    [ "$1" = "$2" ]
}

intrude() {
    "$BATS_TEST_DIRNAME/intruder.py" "$CHAIN" "$CHAIN_PORT" "$1"
}

# answered TRICK ANSWER: and the next honest client is served, by the same processes.
answered() {
    is "$(intrude "$1")" "$2, then 200"
    is "$(roles)" "$ROLES"
}

# unknown TRICK ANSWER REASON, known TRICK ANSWER REASON: the last test of this file looks for the
# count of that reason, without or with the identity of a verified certificate.
unknown() {
    answered "$1" "$2"
    printf 'null %s\n' "$3" >>"$CHAIN/counted"
}

known() {
    answered "$1" "$2"
    printf '"spiffe://test/admin" %s\n' "$3" >>"$CHAIN/counted"
}

strict() {
    known "$1" "400 malformed, closed" malformed
}

large() {
    known "$1" "413 too_large, closed" too_large
}

@test "an honest client is served" { answered right 200; }

@test "TLS: no certificate" { unknown no-certificate "no answer" not_tls; }
@test "TLS: a certificate of another CA of the same name and serial number" {
    unknown other-authority "no answer" not_tls
}
@test "TLS: a certificate issued by a client's" { unknown issued-by-a-leaf "no answer" not_tls; }
@test "TLS: an expired certificate" { unknown expired "no answer" certificate_expired; }
@test "TLS: a certificate of tomorrow" { unknown not-yet-valid "no answer" certificate_expired; }
@test "TLS: a revoked certificate" { unknown revoked "no answer" certificate_revoked; }
@test "TLS: a certificate for servers" { unknown for-servers "no answer" not_tls; }
@test "TLS: a certificate with two identities" {
    unknown two-identities "no answer" identity_unknown
}
@test "TLS: a certificate whose only identity is its common name" {
    unknown identity-in-the-common-name-alone "no answer" identity_unknown
}
@test "TLS: a certificate that is revoked while it makes requests, and while it waits" {
    answered revoked-while-connected \
        "200, waiting 403 certificate_revoked, closed, 403 certificate_revoked, closed"
    printf '"spiffe://test/agent/sql3" certificate_revoked\n%.0s' 1 2 >>"$CHAIN/counted"
}
@test "TLS: an identity that is not in the roster" {
    answered nobody "403 identity_unknown"
    printf '"spiffe://test/nobody" identity_unknown\n' >>"$CHAIN/counted"
}
@test "TLS: an identity whose role may not" {
    known role-that-may-not "403 role_not_allowed" role_not_allowed
}
@test "TLS: version 1.2" { unknown tls-1-2 "no answer" not_tls; }
@test "TLS: plain HTTP" { unknown plain-http "no answer" not_tls; }
@test "TLS: another protocol" { unknown garbage "no answer" not_tls; }
@test "TLS: a ClientHello larger than a record may be" {
    unknown hello-over-a-record "no answer" not_tls
}
@test "TLS: a ClientHello of 1.6 MB" { unknown hello-without-end "no answer" not_tls; }
@test "TLS: a ClientHello that drips in" { unknown hello-dripped closed deadline; }

@test "HTTP: a head that drips in" { known head-dripped closed deadline; }
@test "HTTP: a body that drips in" { known body-dripped closed deadline; }
@test "HTTP: a head of 9,000 bytes" { large head-too-large; }
@test "HTTP: a head without end" { large head-without-end; }
@test "HTTP: a first line without end" { large line-without-end; }
@test "HTTP: seventy headers" { strict headers-too-many; }
@test "HTTP: a body of 200,000 bytes" { large body-too-large; }
@test "HTTP: a body that says it has 1 GB" { large length-too-large; }
@test "HTTP: HEAD has no body" { known head "405, 200" method_not_allowed; }
@test "HTTP: OPTIONS" { known options "405 method_not_allowed" method_not_allowed; }
@test "HTTP: TRACE" { known trace "405 method_not_allowed" method_not_allowed; }
@test "HTTP: CONNECT" { strict authority-form; }
@test "HTTP: an unknown method" { strict unknown-method; }
@test "HTTP: OPTIONS *" { strict asterisk-form; }
# To a proxy's request evhttp answers without a word on the connection, and closes it all the same.
@test "HTTP: the absolute form of a target" { known absolute-form "400 malformed" malformed; }
@test "HTTP: version 0.9" { strict http-0-9; }
@test "HTTP: version 1.0" { strict http-1-0; }
@test "HTTP: version 2" { strict http-2; }
@test "HTTP: an expectation" { strict expectation; }

@test "smuggling: Content-Length twice" { strict length-twice; }
@test "smuggling: two different Content-Lengths" { strict length-twice-different; }
@test "smuggling: a list as Content-Length" { strict length-list; }
@test "smuggling: Content-Length with a sign" { strict length-signed; }
@test "smuggling: a hexadecimal Content-Length" { strict length-hexadecimal; }
@test "smuggling: a negative Content-Length" { strict length-negative; }
@test "smuggling: a Content-Length over 64 bits" { large length-over-64-bits; }
@test "smuggling: Content-Length and Transfer-Encoding" { strict length-and-chunks; }
@test "smuggling: Transfer-Encoding" { strict chunks; }
@test "smuggling: Transfer-Encoding twice" { strict chunks-twice; }
@test "smuggling: an obscured Transfer-Encoding" { strict chunks-obscured; }
@test "smuggling: Transfer-Encoding in another case" { strict chunks-of-another-case; }
@test "smuggling: Transfer-Encoding identity" { strict identity-encoding; }
# libevent does not tell a chunk that is none from one that is too large.
@test "smuggling: a chunk of negative size" { large chunk-negative; }
@test "smuggling: a chunk of 64 bits" { large chunk-huge; }
@test "smuggling: a chunk extension" { large chunk-extension; }
@test "smuggling: a trailer" { strict chunk-trailer; }
@test "smuggling: a request in a body of length 0" { strict second-request-in-the-body; }
@test "smuggling: a request behind a body" { strict second-request-behind-the-body; }
@test "smuggling: a request behind a head" { strict second-request-behind-the-head; }
@test "smuggling: a request behind a poll that waits" {
    answered pipelined-behind-a-poll "400 malformed, closed"
}
@test "smuggling: GET with a body" { strict body-of-get; }
@test "smuggling: a folded line" { strict folded-line; }
@test "smuggling: bare line feeds" { strict bare-lf; }
@test "smuggling: a bare carriage return" { strict bare-cr; }
@test "smuggling: NUL in a header" { strict nul; }
@test "smuggling: a space before the colon" { strict space-before-the-colon; }
@test "smuggling: a line without a colon" { strict line-without-a-colon; }
@test "smuggling: a header without a name" { strict line-without-a-name; }
@test "smuggling: no Host" { strict no-host; }
@test "smuggling: Host twice" { strict host-twice; }

@test "many: 5,000 silent connections, some in half a handshake" {
    unknown silence 200 overloaded
}
@test "many: 17 connections of one identity" {
    known seventeen-of-one-identity "17 times 200, the first is closed, 200 for another" overloaded
}
@test "many: 2,000 requests over one connection" { answered thousands-of-requests 200; }
@test "many: long polls whose clients vanish" { answered vanishing-pollers gone; }
@test "many: a connection that stays idle is closed at the deadline" { answered idle closed; }

@test "every refusal is in the log as a count, by identity and reason" {
    local actor reason count
    known http-0-9 "400 malformed, closed" malformed
    kill "$ESCROWD_PID"
    timeout 30 tail --pid="$ESCROWD_PID" -s 0.05 -f /dev/null
    cat "$CHAIN"/audit/*.jsonl | jq -s -r 'map(select(.event == "unproved"))
        | group_by([.actor, .reason])[] | "\(.[0].actor | @json) \(.[0].reason) \(map(.detail.count) | add)"' \
        >"$CHAIN/summaries"
    cat "$CHAIN/summaries"
    sort "$CHAIN/counted" | uniq -c | while read -r count actor reason; do
        found=$(grep -F "$actor $reason " "$CHAIN/summaries" | cut -d ' ' -f 3)
        echo "$actor $reason: ${found:-0} of $count"
        [ "${found:-0}" -ge "$count" ]
    done
}
