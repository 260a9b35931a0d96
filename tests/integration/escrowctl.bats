#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# escrowctl without an escrowd: authority, enroll, roster, approvals, options and exit codes. What
# it asks of a running escrowd stands in chain.bats.

bats_require_minimum_version 1.5.0
bats_load_library bats-support
bats_load_library bats-assert
bats_load_library bats-file

AGENT=spiffe://corp.example/sql1/agent
ADMIN=spiffe://corp.example/alice
# TPMT_PUBLIC up to the point: what a storage key, and an audit key, must be (libescrow/key.h).
STORAGE_POLICY=0020b5e22d4af1244db634c43bac0d110a16b0dfb3c549d34d3b53b2b150684cbe59
STORAGE=0023000b00030032${STORAGE_POLICY}000600800043001000030010
AUDIT=0023000b00050072000000100018000b00030010

escrowctl() {
    "$BUILD/client/escrowctl" "$@"
}

# point_of PEM: x and y as base64url, in that order.
point_of() {
    openssl pkey -in "$1" -pubout -outform DER | tail -c 64 |
        python3 -c 'import base64, sys
b = sys.stdin.buffer.read()
print(*(base64.urlsafe_b64encode(p).rstrip(b"=").decode() for p in (b[:32], b[32:])))'
}

# tpm_public HEAD-HEX PEM: a TPMT_PUBLIC with this key's point.
tpm_public() {
    openssl pkey -in "$2" -pubout -outform DER | tail -c 64 |
        python3 -c 'import base64, sys
b = sys.stdin.buffer.read()
area = bytes.fromhex(sys.argv[1]) + b"\0\x20" + b[:32] + b"\0\x20" + b[32:]
print(base64.urlsafe_b64encode(area).rstrip(b"=").decode())' "$1"
}

# statement LABEL: what `escrowd init` would write, with keys that claim to be a TPM's.
statement() {
    local x y name
    for name in storage audit answer; do
        openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.$name" 2>/dev/null
    done
    read -r x y < <(point_of "$1.answer")
    jq -n --arg member "$1" --arg x "$x" --arg y "$y" \
        --arg storage "$(tpm_public "$STORAGE" "$1.storage")" \
        --arg audit "$(tpm_public "$AUDIT" "$1.audit")" \
        --arg counter "000b$(openssl rand -hex 32)" '
        {v: 1, label: $member, storage: $storage, audit: $audit, answer: {x: $x, y: $y},
         counter: $counter, epoch: 3, ek: "none",
         pcrs: {selection: 128, digest: "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE"}}' >"$1.json"
}

enroll_agent() {
    escrowctl enroll --identity "$AGENT" --role agent --group AG1 --instance SQL1 \
        --act-key agent.key --out agent.enroll
}

enroll_admin() {
    escrowctl enroll --identity "$ADMIN" --role admin --group '*' --act-key admin.key \
        --out admin.enroll
}

edit() {
    local command=$1
    shift
    escrowctl roster "$command" --key a/authority.key --roster roster.jws "$@"
}

# show JQ-FILTER
show() {
    escrowctl --output json roster show --authority a/authority.pub roster.jws | jq -r "$1"
}

setup() {
    cd "$BATS_TEST_TMPDIR" || return
    escrowctl authority init a
    escrowctl roster new --key a/authority.key --recovery a/recovery.pub --roster roster.jws
}

@test "authority init makes private keys that only their owner reads, and never overwrites" {
    assert_equal "$(stat -c %a a/authority.key a/recovery.key a/authority.pub | xargs)" "600 600 644"
    before=$(sha256sum a/*)
    run -7 escrowctl authority init a
    assert_output --partial "nothing was overwritten"
    assert_equal "$(sha256sum a/*)" "$before"
    run -7 escrowctl roster new --key a/authority.key --recovery a/recovery.pub --roster roster.jws
}

@test "a roster grows by statements and requests, one version each time" {
    statement e1
    statement e2
    enroll_agent
    enroll_admin
    edit add-member e1.json e2.json
    edit add-key agent.enroll admin.enroll
    assert_equal "$(show .version)" 3
    assert_equal "$(show '[.members[].label] | join(" ")')" "e1 e2"
    assert_equal "$(show '.keys[] | select(.role == "agent") | .identity')" "$AGENT"
    assert_equal "$(show '.keys[] | select(.role == "agent") | .instances[0]')" SQL1
    assert_equal "$(show '.keys[] | select(.role == "admin") | .groups[0]')" '*'

    edit remove-member e2
    edit remove-key "$ADMIN"
    assert_equal "$(show .version)" 5
    assert_equal "$(show '[.members[].label, .keys[].identity] | join(" ")')" "e1 $AGENT"
    run -6 edit remove-key "$ADMIN"
    assert_equal "$(show .version)" 5
}

@test "the key Name that enroll prints is the one in the roster" {
    name=$(escrowctl --output json enroll --identity "$ADMIN" --role admin --group '*' \
        --act-key admin.key --out admin.enroll | jq -r .key)
    edit add-key admin.enroll
    assert_equal "$(show '.keys[0].key')" "$name"
    # Enrolled again with the same key: the same Name, and no second entry for it.
    enroll_admin
    run -4 edit add-key admin.enroll
    assert_output --partial "twice"
}

@test "who is taken into a roster is printed with the Name of the key, to be compared" {
    statement e1
    enroll_admin
    run -0 edit add-member e1.json
    assert_line --regexp '^e1 +none +000b[0-9a-f]{64}$'
    assert_equal "$(grep -c 000b <<<"$output")" 1
    run -0 edit add-key admin.enroll
    assert_line --regexp "^admin +$ADMIN +[*] +- +$(show '.keys[0].key')$"
    refute_line --regexp '^e1 '
    enroll_agent
    run -0 --separate-stderr edit add-key agent.enroll --output json
    jq -e --arg agent "$AGENT" '.keys == 2 and .new_members == []
        and (.new_keys | map(.identity) == [$agent])' <<<"$output"
    run -0 edit remove-key "$ADMIN"
    refute_output --partial 000b
}

@test "a request that its own key did not sign is refused" {
    enroll_agent
    enroll_admin
    # The admin's entry under the agent's signature.
    printf '%s.%s\n' "$(cut -d. -f1,2 admin.enroll)" "$(cut -d. -f3 agent.enroll)" >mixed.enroll
    run -10 edit add-key mixed.enroll
    # A payload changed after signing.
    payload=$(cut -d. -f2 agent.enroll | jose b64 dec -i- | jq -c '.role = "admin" | .instances = []' |
        jose b64 enc -I-)
    printf '%s.%s.%s\n' "$(cut -d. -f1 agent.enroll)" "$payload" "$(cut -d. -f3 agent.enroll)" \
        >bent.enroll
    run -10 edit add-key bent.enroll
    run -4 edit add-key a/authority.pub
    assert_equal "$(show .version)" 1
}

@test "a statement with a storage key that could leave its TPM is refused" {
    statement e1
    bad=$(tpm_public "${STORAGE/00030032/00030020}" e1.storage)
    jq --arg bad "$bad" '.storage = $bad' e1.json >bad.json
    run -4 edit add-member bad.json
    assert_output --partial "storage"
    # One without the policy: its TPM would rewrap what is wrapped to it.
    bad=$(tpm_public "${STORAGE/$STORAGE_POLICY/0000}" e1.storage)
    jq --arg bad "$bad" '.storage = $bad' e1.json >bad.json
    run -4 edit add-member bad.json
    jq '.extra = 1' e1.json >bad.json
    run -4 edit add-member bad.json
    jq 'del(.ek)' e1.json >bad.json
    run -4 edit add-member bad.json
    assert_equal "$(show .version)" 1
}

@test "only the authority's roster is edited or shown" {
    escrowctl authority init b
    run -10 escrowctl roster add-key --key b/authority.key --roster roster.jws x
    run -10 escrowctl roster show --authority b/authority.pub roster.jws
    run -3 escrowctl roster show --authority a/authority.key roster.jws
    run -6 escrowctl roster show --authority a/authority.pub missing.jws
    chmod 640 a/authority.key
    run -3 edit remove-key "$AGENT"
    assert_output --partial "chmod 600"
}

@test "approvals name member, group, epoch and key" {
    statement e1
    statement e2
    enroll_agent
    enroll_admin
    edit add-member e1.json e2.json
    edit add-key agent.enroll admin.enroll

    escrowctl authority approve-host --key a/authority.key --member e1.json --group AG1 \
        --group AG2 --out host.json
    assert_equal "$(jq -r '[.approvals[] | .kind, .group, .epoch] | join(" ")' host.json)" \
        "host AG1 3 host AG2 3"
    assert_equal "$(jq -r '.approvals[0].counter' host.json)" "$(jq -r .counter e1.json)"
    assert_equal "$(jq -cS '.approvals[0].pcrs' host.json)" "$(jq -cS .pcrs e1.json)"
    run -0 escrowctl authority approve-host --key a/authority.key --member e1.json --group AG1 \
        --out host.json
    # The statement's digest is 32 bytes of 01.
    assert_line --regexp '^host +e1 +AG1 +- +3 +7 +(01){32}$'

    escrowctl authority approve-node --key a/authority.key --member e2.json --roster roster.jws \
        --out node.json
    assert_equal "$(jq -r '[.approvals[] | .kind, .group, .act_keys[0]] | join(" ")' node.json)" \
        "node AG1 $(show '.keys[] | select(.role == "agent") | .key')"
    assert_equal "$(jq -r '.approvals[0].counter' node.json)" "$(jq -r .counter e2.json)"

    # An agent is approved only for groups that the roster gives it.
    run -6 escrowctl authority approve-node --key a/authority.key --member e1.json \
        --roster roster.jws --group AG2 --out none.json
    assert_not_exist none.json
    run -6 escrowctl authority approve-node --key a/authority.key --member e1.json \
        --roster roster.jws --identity "$ADMIN" --out none.json
    run -2 escrowctl authority approve-host --key a/authority.key --member e1.json --group 'A:G' \
        --out none.json
}

@test "command lines that make no sense are refused before anything happens" {
    run -2 escrowctl
    run -2 escrowctl nonsense
    assert_line --index 0 "escrowctl: there is no command 'nonsense'"
    run -2 escrowctl roster
    run -2 escrowctl roster nonsense
    assert_line --index 0 "escrowctl: there is no command 'roster nonsense'"
    run -2 escrowctl authority init
    run -2 escrowctl authority init one two
    run -2 escrowctl --output xml list
    run -2 escrowctl --config
    run -2 escrowctl enroll --identity
    run -2 escrowctl enroll --identity a --identity b
    run -2 escrowctl enroll --identity "$AGENT" --role agent --group AG1 --act-key k --out o
    assert_not_exist k
    run -2 escrowctl enroll --identity "$AGENT" --role root --group AG1 --act-key k --out o
    run -2 escrowctl enroll --identity https://corp.example --role admin --group '*' --act-key k \
        --out o
    run -2 escrowctl deposit --group AG1 --database SSISDB --password secret
    run -2 escrowctl deposit --group AG1 --database SSISDB --generate --password-fd 0
    run -2 escrowctl deposit --group AG1 --database SSISDB --state retired --password-fd 0
}

@test "help is what one types first, and of a family of commands its members are shown" {
    run -0 escrowctl --help
    local whole=$output
    for words in -h help; do
        run -0 escrowctl $words
        assert_output "$whole"
        run -0 escrowctl $words deposit
        assert_line --index 0 --partial "usage: escrowctl deposit"
    done
    run -2 escrowctl audit
    assert_line --index 0 "escrowctl: there is no command 'audit'"
    assert_line --index 1 "there are:"
    assert_line --index 2 --partial "  audit show"
    assert_line --index 3 --partial "  audit explain"
    assert_equal "${#lines[@]}" 4
    for program in escrowd/escrowd client/escrow-agent; do
        run -0 "$BUILD/$program" -h
        assert_output "$("$BUILD/$program" --help)"
    done
    run -2 "$BUILD/escrowd/escrowd" serve
    assert_line --index 0 "escrowd: there is no command 'serve'"
    # What a person runs has no priorities for journald.
    run -8 "$BUILD/client/escrow-agent" notify --socket "$PWD/nobody"
    assert_line --index 0 --partial "escrow-agent: no agent listens at"
    run -3 "$BUILD/escrowd/escrowd" init --config "$PWD/nothing.yaml"
    assert_output "escrowd: $PWD/nothing.yaml: No such file or directory"
}

@test "every command has a summary, and its help an example" {
    run -0 escrowctl --help
    escrowctl --help | sed -n 's/^  \([a-z][a-z -]*[a-z]\)  .*/\1/p' >commands
    assert [ "$(wc -l <commands)" -ge 14 ]
    while read -r command; do
        # shellcheck disable=SC2086 # one word or two
        run -0 escrowctl $command --help
        assert_output --partial "usage: escrowctl $command"
        assert_output --regexp "  escrowctl $command( |$)"
    done <commands
    run -0 escrowctl --version
}

@test "a configuration is refused by line" {
    cat >bad.yaml <<'YAML'
escrowds:
  - address: 127.0.0.1
    port: 99999
    server_id: spiffe://corp.example/escrowd/e1
    ca_file: /nowhere/ca.pem
nonsense: 1
YAML
    run -3 escrowctl --config bad.yaml list
    assert_output --partial "bad.yaml:3:"
    assert_output --partial "bad.yaml:6:"
    run -3 escrowctl --config missing.yaml list
}

@test "the example configuration has its form" {
    run -3 escrowctl --config "$BATS_TEST_DIRNAME/../../client/escrowctl.yaml" list
    assert_output "escrowctl: /etc/escrowd/authority.pub: there is no such key file"
}

@test "a result that cannot be written is a failure" {
    help_to_full() {
        escrowctl --help >/dev/full
    }
    run -14 help_to_full
}
