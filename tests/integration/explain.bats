#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What escrowctl says of rules and decisions: policy check, and audit explain, which decides again.

bats_require_minimum_version 1.5.0
bats_load_library bats-support
bats_load_library bats-assert
load lib/chain

# Leaves a log with a release in it behind, and nothing that runs.
setup_file() {
    chain_folder "$BATS_FILE_TMPDIR"
    chain_serve 3 <<<"S3cret"
    chain_deposit <<<"S3cret"
    chain_agents
    sim failover SQL2
    sim wait opens SQL2 --timeout 60000
    wait_log agent-sql2 'the master key opens by itself again' 1 60
    chain_end
    cp -r "$CHAIN/audit" "$BATS_FILE_TMPDIR/audit"
}

setup() {
    cp -r "$BATS_FILE_TMPDIR/audit" "$BATS_TEST_TMPDIR/audit"
    cd "$BATS_TEST_TMPDIR" || return
    SEGMENT=$(echo audit/*)
    GRANT=$(jq -s 'map(select(.event == "release" and .decision == "allow"))[0].sequence' "$SEGMENT")
}

# explain [OPTION...] SEQUENCE: of the copy
explain() {
    ctl_offline audit explain --folder audit "$@"
}

# alter SED-SCRIPT: the log ends with the grant, and that is another one now.
alter() {
    sed -i -e "$GRANT q" "$SEGMENT"
    sed -i -e "$GRANT $1" "$SEGMENT"
}

@test "a release, rule by rule, and the same again" {
    run -0 --separate-stderr explain "$GRANT"
    assert_line --index 0 --regexp "^record $GRANT, 20[0-9T:.-]+Z: promote SSISDB of ssis for sql2: allow \(promotion\)$"
    assert_line --index 1 'The replica has just become primary.'
    assert_line --index 2 "asked by spiffe://test/agent/sql2, rules $(sha256sum <"$CHAIN/policy.yaml" | cut -d ' ' -f 1)"
    assert_line --index 3 --regexp '^ledger: sql[12] was the primary of epoch [12]; nothing was granted in it; releases of the database in the hour before: 0$'
    assert_line --regexp '^sql2 +answered +PRIMARY +SQL2 +[0-9]+ .* SQL2$'
    assert_line --regexp '^sql3 +answered +SECONDARY +SQL2 +[0-9]+ .* SQL3$'
    for rule in candidate session rival witnesses promotion brake; do
        assert_line --regexp "^$rule +passed +-$"
    done
    assert_line --regexp '^witnesses: [23] [(]2 needed[)]$'
    assert_line "decided again on the recorded rules and facts: the same"
}

@test "as JSON" {
    run -0 --separate-stderr explain --output json "$GRANT"
    jq -e '.agrees and .recorded == .again and .again.outcome == "allow"' <<<"$output"
}

@test "a verdict that does not follow from the record is told" {
    alter 's/"is_read_write":true/"is_read_write":false/g'
    run -4 --separate-stderr explain "$GRANT"
    assert_line --regexp '^candidate +failed +candidate_not_writable$'
    assert_regex "$stderr" "record $GRANT: decided again on the recorded rules and facts it is deny \(candidate_not_writable\), but allow \(promotion\) is recorded"
    run -4 --separate-stderr explain --output json "$GRANT"
    jq -e '.agrees == false' <<<"$output"
}

@test "other rules than those of the decision are told" {
    alter 's/"witness_count":2/"witness_count":9/'
    run -4 explain "$GRANT"
    assert_output --partial "witnesses_missing"
}

@test "facts that have not their form are told" {
    alter 's/"session":"found"/"session":"lost"/'
    run -4 explain "$GRANT"
    assert_output --partial "session"
}

@test "a record that is no decision, and one that is not there" {
    run -6 explain 1
    assert_output "escrowctl: record 1 is no decision but start"
    run -6 explain $((GRANT + 1))
    assert_output "escrowctl: record $((GRANT + 1)) is no decision but receipt; it belongs to record $GRANT: escrowctl audit explain $GRANT"
    run -0 --separate-stderr ctl_offline audit show --folder audit --from $((GRANT + 1))
    assert_line --regexp "^$((GRANT + 1)) .* receipt .* opened, grant $GRANT +spiffe://test/agent/sql2$"
    assert_line --regexp "^$((GRANT + 2)) .* settle .* grant_proved +grant $GRANT +-$"
    run -6 explain 100000
    assert_output --partial "no record 100000"
    run -2 explain nothing
    assert_output --partial "SEQUENCE is a number"
}

@test "over the network, with the role that may read the log" {
    CHAIN_NODES=(sql1 sql2 sql3)
    chain_swtpm && chain_sqlsim <<<"S3cret" && chain_escrowd && chain_person auditor
    run -0 --separate-stderr ctl_offline --config "$CHAIN/auditor.yaml" audit explain "$GRANT"
    assert_line "decided again on the recorded rules and facts: the same"
    chain_end
}

@test "a policy is checked, its digest is the one in the log" {
    run -0 --separate-stderr ctl_offline policy check "$CHAIN/policy.yaml"
    assert_line --regexp ': valid; groups 1, databases 1, replicas 3$'
    assert_line "rules $(jq -rs 'map(.rules | values)[-1]' "$SEGMENT")"
    run -0 --separate-stderr ctl_offline --output json policy check "$CHAIN/policy.yaml"
    jq -e '.groups == 1 and .replicas == 3' <<<"$output"
}

@test "every shipped example is a valid policy; the one that trusts silence says so" {
    for example in "$BATS_TEST_DIRNAME"/../../policy/examples/*.yaml; do
        run -0 ctl_offline policy check "$example"
        if [ "${example##*/}" = two-replicas.yaml ]; then
            assert_output --regexp 'warning: .*two-replicas.yaml:[0-9]+:[0-9]+: .*candidate\+silence'
        else
            refute_output --partial warning
        fi
    done
}

@test "the shipped examples, and the README, are of one escrow" {
    cd "$BATS_TEST_DIRNAME/../.."
    run -0 python3 - <<'PYTHON'
import yaml
def read(path):
    with open(path, encoding="utf-8") as file:
        return yaml.safe_load(file)
group = read("policy/examples/three-replicas.yaml")["groups"][0]
escrowd = read("escrowd/escrowd.yaml")
agent = read("client/agent.yaml")
admin = read("client/escrowctl.yaml")
with open("README.md", encoding="utf-8") as file:
    readme = file.read()
instance = agent["instances"][0]
logins = {known["name"]: known.get("agent_login", "escrow_agent") for known in escrowd["instances"]}
assert sorted(logins) == sorted(replica["instance"] for replica in group["replicas"])
assert instance["group"] == group["name"] and set(instance["databases"]) <= set(group["databases"])
assert instance["availability_group"] == group["availability_group"]
assert logins[instance["name"]] == instance["login"]
assert f"--role agent --login {instance['login']} " in readme
assert f"--role prober --login {escrowd['instances'][0]['login']} " in readme
assert f"--instance {instance['name']} " in readme and f"--group {group['name']} " in readme
identity = f"spiffe://corp.example/escrowd/{escrowd['member']}"
assert f"server --id {identity} " in readme
assert agent["escrowds"][0]["server_id"] == admin["escrowds"][0]["server_id"] == identity
# The names that escrow-certs and enroll give in the README.
for path, made in ((escrowd["tls"]["certificate_file"], f"escrowd-{escrowd['member']}.pem"),
                   (instance["certificate_file"], f"agent-{instance['name']}.pem"),
                   (instance["act_key_file"], f"{instance['name']}.act"),
                   (admin["certificate_file"], "admin-alice.pem"),
                   (admin["act_key_file"], "alice.act")):
    assert path.endswith("/" + made) and made in readme, (path, made)
PYTHON
}

# Cuts the manual page's examples into block.1 and so on; a line that goes on is one line again.
cut_manual() {
    awk '/^```/ { inside = !inside; count += inside; next }
        inside { print > sprintf("block.%02d", count) }' "$BATS_TEST_DIRNAME/../../policy/policy.5.scd"
}

# unwrapped BLOCK
unwrapped() {
    sed -z 's/\n    / /g' "$1"
}

@test "every policy of the manual page does what the page says" {
    local policies=0 refused=0 warned=0
    cut_manual
    for block in block.*; do
        [ "$(head -n 1 "$block")" = "groups:" ] || continue
        policies=$((policies + 1))
        cp "$block" policy.yaml
        next=$(printf 'block.%02d' $((10#${block#block.} + 1)))
        case $(head -c 8 "$next" 2>/dev/null) in
        policy.y*)
            run -3 ctl_offline policy check policy.yaml
            assert_output "$(unwrapped "$next" | sed 's/^/escrowctl: /')"
            refused=$((refused + 1))
            ;;
        warning:)
            run -0 ctl_offline policy check policy.yaml
            assert_equal "$(grep ^warning: <<<"$output")" "$(unwrapped "$next")"
            warned=$((warned + 1))
            ;;
        *)
            run -0 ctl_offline policy check policy.yaml
            refute_output --partial warning
            ;;
        esac
    done
    assert_equal "$policies $refused $warned" "5 2 2"
}

@test "everything that is wrong in a policy is said at once, with line and column" {
    sed -e 's/witnesses:.*/witnesses: most/' -e 's/instance: sql2/instance: sql1/' \
        -e 's/cluster_type:.*/cluster_type: heartbeat/' \
        "$BATS_TEST_DIRNAME/../../policy/examples/two-replicas.yaml" >policy.yaml
    printf '    retires: 5\n' >>policy.yaml
    run -3 ctl_offline policy check policy.yaml
    assert_line --regexp 'policy.yaml:[0-9]+:[0-9]+: .*heartbeat'
    assert_line --regexp 'policy.yaml:[0-9]+:[0-9]+: .*retires'
    run -3 ctl_offline policy check missing.yaml
    assert_output --partial "missing.yaml"
    run -2 ctl_offline policy check
    assert_output --partial "an argument is missing"
}
