#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Outside witnesses of sqlsim: clients and dissectors that we did not write.

bats_load_library bats-support
bats_load_library bats-assert
load sql

setup_file() {
    {
        make_ca ca
        make_certificate good sql1.test.invalid 2
    } 2>"$BATS_FILE_TMPDIR/openssl.err" || { cat "$BATS_FILE_TMPDIR/openssl.err" >&2 && return 1; }
}

# modules: npm's packages below $WITNESS, as the lock file names them; made once for each build. Where
# no registry can be reached the test is skipped.
modules() {
    WITNESS=$BUILD/witness
    mkdir -p "$WITNESS"
    if ! cmp -s "$BATS_TEST_DIRNAME/../witness/package-lock.json" "$WITNESS/installed"; then
        cp "$BATS_TEST_DIRNAME"/../witness/package{,-lock}.json "$WITNESS"
        if ! (cd "$WITNESS" && npm ci --ignore-scripts --no-audit --no-fund) >"$WITNESS/npm.log" 2>&1; then
            if grep -E 'ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT|ENETUNREACH' "$WITNESS/npm.log"; then
                skip "npm's registry cannot be reached"
            fi
            cat "$WITNESS/npm.log"
            return 1
        fi
        cp "$WITNESS/package-lock.json" "$WITNESS/installed"
    fi
    cp "$BATS_TEST_DIRNAME"/../witness/*.js "$WITNESS"
}

teardown() {
    sqlsim_stop
}

texts() {
    "$BUILD/tests/tools/tsql_texts"
}

@test "every T-SQL text of ours is one that a T-SQL parser takes" {
    modules
    texts >"$BATS_TEST_TMPDIR/texts"
    run node "$WITNESS/parse_tsql.js" <"$BATS_TEST_TMPDIR/texts"
    assert_success
    assert_equal "${#lines[@]}" "$(wc -l <"$BATS_TEST_TMPDIR/texts")"
    run jq -r '.errors[]' <<<"$output"
    assert_output ''
    # And it is one that can say no.
    run node "$WITNESS/parse_tsql.js" <<<'{"function": "none", "sample": "", "text": "OPEN MASTER KEY DECRYPTION BY PASSWORD = @p"}'
    assert_output --partial 'expecting STRING'
}

@test "all T-SQL is built in one place, and none of it is missing above" {
    local root=$BATS_TEST_DIRNAME/../..
    run diff <(texts | jq -r .function | sort -u) \
        <(sed -n -E 's/^(MUST_CHECK )?[a-z_ ]+[ *](tsql_[a-z_]+)\(.*/\2/p' "$root"/libescrow/tsql*.h |
            grep -v -E '^tsql_(quote|grants$)' | cat - <(echo tsql_grants) | sort -u)
    assert_success
    # What only T-SQL has, in a text of another source file; and a text in a call that sends one.
    run grep -rnE --include='*.c' --include='*.h' \
        '"[^"]*(\bsys\.[a-z]|DECRYPTION BY|SIGNBYCERT|CERT_ID|SERVERPROPERTY|DATABASEPROPERTYEX|@@[A-Z]|sp_[a-z]|N'\''|USE [[%])' \
        "$root"/{libescrow,client,escrowd} --exclude='tsql*.c'
    assert_output ''
    run grep -rnE --include='*.c' 'sql_batch(_secret)?\([^;]*"' "$root"/{libescrow,client,escrowd}
    assert_output ''
}

# A server that speaks German has other texts and the same numbers (switch language of sqlsim).
@test "what SQL Server says is shown, never compared: numbers decide" {
    run grep -rnE '(strstr|strcasestr|strn?(case)?cmp|strspn|regexec|fnmatch)[ (][^;]*(error|result|answer)(\.|->)(text|diagnosis)' \
        "$BATS_TEST_DIRNAME"/../../{libescrow,client,escrowd} --include='*.c' --exclude=json.c
    assert_output ''
}

@test "the dissector sees what is wrong in a capture file" {
    SQLSIM_OPTIONS=(--pcap "$BATS_TEST_TMPDIR/run.pcap")
    simulate good
    run client timeout=1 -- batch "$QUORUM"
    assert_success
    run "$BATS_TEST_DIRNAME/../witness/dissect" "$BATS_TEST_TMPDIR/run.pcap" "$(sqlsim_port SQL1)"
    assert_success
    refute_line --partial wrong
    assert_line 'messages of type 1: 1'
    # One seed of several is enough: a byte that is altered need not be one that means something.
    for seed in 1 2 3 4 5 6; do
        sqlsim_ctl set garble "$seed"
        client timeout=1 -- batch "$QUORUM" || true
    done
    run "$BATS_TEST_DIRNAME/../witness/dissect" "$BATS_TEST_TMPDIR/run.pcap" "$(sqlsim_port SQL1)"
    assert_line --partial wrong
    assert_equal "$(stat -c %a "$BATS_TEST_TMPDIR/run.pcap")" 600
}

# model_texts: the texts that the model knows, in an order in which each of them works.
model_texts() {
    texts | jq -c -s '["tsql_quorum", "tsql_state", "tsql_states", "tsql_members", "tsql_local", "tsql_readers",
        "tsql_set_context", "tsql_find_session", "tsql_use", "tsql_commit_echo", "tsql_find_echo",
        "tsql_probe_certificate", "tsql_opens",
        "tsql_open_master_key", "tsql_add_service_master_key", "tsql_close_master_key",
        "tsql_catalog_startup"] as $order
        | map(select((.sample == "" or .sample == "SSISDB") and .function != "tsql_grants"))
        | if length == ($order | length) then sort_by(.function as $name | $order | index($name))
          else error("a text is missing in the order") end
        | .[] | {text}'
}

# tedious PASSWORD <REQUESTS: a line for the login, then one for each
tedious() {
    WITNESS_PASSWORD=$1 timeout 60 node "$WITNESS/tedious.js" "$(sqlsim_port SQL1)" agent \
        "$BATS_FILE_TMPDIR/ca.pem" sql1.test.invalid
}

# The names of what tedious saw as witness.py has them.
short() {
    jq -c 'select(has("rows")) | if .errors == [] then {columns: [.columns[][0]], rows}
        else {error: .errors[0][0], text: .errors[0][3]} end'
}

@test "tedious and python3-tds see the same: columns, rows and errors of every statement" {
    modules
    local errors=('USE [nowhere]' "OPEN MASTER KEY DECRYPTION BY PASSWORD = N'x'" 'bogus')
    local all=()
    simulate good '.group.name = "SSISDB" | .database.master_key_passwords = ["SSISDB"]'
    mapfile -t all < <(model_texts | jq -r .text && printf '%s\n' "${errors[@]}")
    [ "${#all[@]}" -eq 20 ]
    printf '%s\n' "${all[@]}" | jq -R -c '{text: .}' >"$BATS_TEST_TMPDIR/in"
    tedious pw-agent <"$BATS_TEST_TMPDIR/in" >"$BATS_TEST_TMPDIR/out"
    short <"$BATS_TEST_TMPDIR/out" >"$BATS_TEST_TMPDIR/tedious"
    timeout 60 "$BATS_TEST_DIRNAME/../sqlsim/witness.py" "$(sqlsim_port SQL1)" agent pw-agent \
        "${all[@]}" | jq -c . >"$BATS_TEST_TMPDIR/python"
    run diff "$BATS_TEST_TMPDIR/tedious" "$BATS_TEST_TMPDIR/python"
    assert_success
    assert_equal "$(wc -l <"$BATS_TEST_TMPDIR/python")" 20

    run jq -s -c '[.[].errors[] | .[:3]]' "$BATS_TEST_TMPDIR/out"
    assert_output '[[911,1,16],[15313,1,16],[102,1,15]]'
    run jq -s -c '.[0].infos | map(.[0])' "$BATS_TEST_TMPDIR/out"
    assert_output '[5701,5703]'
    run jq -s -c '.[2].columns[:4]' "$BATS_TEST_TMPDIR/out"
    assert_output '[["replica_server_name","NVarChar"],["cluster_type","IntN"],["is_distributed","IntN"],["sequence_number","NVarChar"]]'
    run jq -s -c '.[2].rows | map(.[4:8])' "$BATS_TEST_TMPDIR/out"
    assert_output '[[1,2,1,2]]'
    run jq -s -c '.[13].rows' "$BATS_TEST_TMPDIR/out"
    assert_output '[[256]]'
    run tedious pw-wrong <<<''
    assert_output --partial '"errors":[[18456,1,14,'
    # What they sent, the model knew, but for the last of the errors.
    run bash -c "'$BUILD/tests/sqlsim/sqlsim' ctl '$SQLSIM_CONTROL' state | jq -c '[.unknown[].statement]'"
    assert_output '["bogus","bogus"]'
    sqlsim_stop || true
}

@test "read intent is tedious' own: 978 without it on a secondary, 979 with it on a primary" {
    modules
    simulate good '.primary = "SQL2" | .instances[0].readable = "read_only"'
    for intent in 0 1; do
        WITNESS_READ_ONLY=$intent run tedious pw-agent <<<'{"text": "USE [SSISDB]"}'
        echo "$intent $(jq -c '.errors | map(.[0])' <<<"${lines[1]}")"
    done >"$BATS_TEST_TMPDIR/seen"
    assert_equal "$(cat "$BATS_TEST_TMPDIR/seen")" $'0 [978]\n1 []'
    sqlsim_stop
    simulate good '.groups = [{name: "AG1", databases: [.database + {name: "SSISDB"}],
        replicas: [{instance: "SQL1", primary_connections: "read_write"}, "SQL2"]}]
        | del(.database)'
    for intent in 0 1; do
        WITNESS_READ_ONLY=$intent run tedious pw-agent <<<'{"text": "USE [SSISDB]"}'
        echo "$intent $(jq -c '.errors | map(.[0])' <<<"${lines[1]}")"
    done >"$BATS_TEST_TMPDIR/seen"
    assert_equal "$(cat "$BATS_TEST_TMPDIR/seen")" $'0 []\n1 [979]'
}

@test "values of every type as tedious, python3-tds and our own driver see them" {
    modules
    simulate good
    sqlsim_ctl set SQL1.clock -3600000
    local view="SELECT group_database_id AS a, is_local AS b, database_id AS c, recovery_lsn AS d, end_of_log_lsn AS e, log_send_queue_size AS f, database_state AS g FROM sys.dm_hadr_database_replica_states"
    local times="SELECT GETUTCDATE() AS a, SYSUTCDATETIME() AS b" guid=5A1B000C-0000-4000-8000-000000000003
    local was=$(($(date +%s) - 3600)) seen
    printf '{"text": "%s"}\n' "$view" "$times" | tedious pw-agent >"$BATS_TEST_TMPDIR/tedious"
    run jq -s -c '.[1].columns | map(.[1])' "$BATS_TEST_TMPDIR/tedious"
    assert_output '["UniqueIdentifier","BitN","IntN","NumericN","NumericN","IntN","IntN"]'
    run jq -s -c '.[1].rows[]' "$BATS_TEST_TMPDIR/tedious"
    # tedious has numbers of 53 bits.
    assert_line --index 0 "[\"$guid\",true,5,41000000016800000,41000000017600000,null,0]"
    assert_line --index 1 "[\"$guid\",false,5,null,41000000017600000,\"0\",0]"
    run jq -s -c '.[2].columns | map(.[1])' "$BATS_TEST_TMPDIR/tedious"
    assert_output '["DateTimeN","DateTime2"]'

    timeout 60 "$BATS_TEST_DIRNAME/../sqlsim/witness.py" "$(sqlsim_port SQL1)" agent pw-agent \
        "$view" "$times" >"$BATS_TEST_TMPDIR/python"
    run jq -s -c '.[0].rows[0]' "$BATS_TEST_TMPDIR/python"
    assert_output "[\"${guid,,}\",true,5,\"41000000016800001\",\"41000000017600001\",null,0]"

    run client -- batch "$view" batch "$times"
    assert_line --index 0 "row	$guid	1	5	41000000016800001	41000000017600001	NULL	0"
    for seen in "$(jq -s -r '.[2].rows[0][0]' "$BATS_TEST_TMPDIR/tedious")" \
        "$(jq -s -r '.[2].rows[0][1]' "$BATS_TEST_TMPDIR/tedious")" \
        "$(jq -s -r '.[1].rows[0][0]' "$BATS_TEST_TMPDIR/python")" \
        "$(jq -s -r '.[1].rows[0][1]' "$BATS_TEST_TMPDIR/python")" \
        "$(cut -f 2 <<<"${lines[3]}")" "$(cut -f 3 <<<"${lines[3]}")"; do
        seen=$(TZ=UTC date -d "${seen%Z}" +%s)
        assert [ "$((seen - was))" -ge 0 ]
        assert [ "$((seen - was))" -lt 60 ]
    done
}

@test "tedious: parameters, attentions, several result sets, long rows, small and large packets" {
    modules
    SQLSIM_OPTIONS=(--pcap "$BATS_TEST_TMPDIR/run.pcap")
    simulate good
    # A value that would close its literal; and where no parameter may stand, 102.
    run tedious pw-agent <<'TEXT'
{"text": "SELECT ars.role, CONVERT(nvarchar(20), DATABASEPROPERTYEX(@d, N'Updateability')) AS updateability FROM sys.availability_groups AS ag INNER JOIN sys.dm_hadr_availability_replica_states AS ars ON ars.group_id = ag.group_id AND ars.is_local = 1 WHERE ag.is_distributed = 0 AND ag.name = @g", "parameters": {"d": "SSISDB", "g": "AG1"}}
{"text": "SELECT ars.role, CONVERT(nvarchar(20), DATABASEPROPERTYEX(@d, N'Updateability')) AS updateability FROM sys.availability_groups AS ag INNER JOIN sys.dm_hadr_availability_replica_states AS ars ON ars.group_id = ag.group_id AND ars.is_local = 1 WHERE ag.is_distributed = 0 AND ag.name = @g", "parameters": {"d": "it's", "g": "AG1"}}
{"text": "OPEN MASTER KEY DECRYPTION BY PASSWORD = @p", "parameters": {"p": "x"}}
TEXT
    assert_line --index 1 --partial '"rows":[[1,"READ_WRITE"]]'
    assert_line --index 2 --partial '"rows":[[1,null]]'
    assert_line --index 3 --partial '[[102,1,15,'
    run sqlsim_ctl log SQL1
    assert_output --partial '"packet":"RPC"'

    sqlsim_ctl trouble SQL1 extra 3 --statement quorum_state
    for size in 512 4096 8000; do
        WITNESS_PACKET_SIZE=$size run tedious pw-agent <<<"{\"text\": \"$QUORUM\"}"
        assert_line --index 1 --partial '"infos":[[0,"what PRINT says"]]'
        assert_equal "$(jq -c '[.rows[] | (.[1] | length? // 0)]' <<<"${lines[1]}")" '[0,4000,4000,0]'
    done
    sqlsim_ctl trouble SQL1 off
    sqlsim_ctl trouble SQL1 block --statement quorum_state --count 1
    run tedious pw-agent <<<"{\"text\": \"$QUORUM\", \"timeout\": 200}
{\"text\": \"$QUORUM\"}"
    assert_line --index 1 --partial '"end":"ETIMEOUT"'
    assert_line --index 2 --partial '"rows":[[1]]'
    assert_equal "$(sqlsim_ctl state | jq .instances.SQL1.attentions)" 1

    run "$BATS_TEST_DIRNAME/../witness/dissect" "$BATS_TEST_TMPDIR/run.pcap" "$(sqlsim_port SQL1)"
    refute_line --partial wrong
    assert_line 'messages of type 3: 3'
    assert_line 'messages of type 6: 1'
    sqlsim_stop || true # the OPEN with a parameter was unknown
}
