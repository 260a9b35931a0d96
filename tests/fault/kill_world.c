/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fault/kill_world.h"

#include "escrowd/keeper_member.h"
#include "libescrow/audit_reader.h"
#include "tests/fault/kill_judge.h"
#include "tests/fault/kill_shadow.h"
#include "tests/fault/steps.h"
#include "tests/unit/wall_clock.h"

#include <err.h>
#include <stdio.h>
#include <string.h>

#define JUDGE_TRIES 5

static void shadow_path(const struct kill_world *world, char ret_path[static 400])
{
    snprintf(ret_path, 400, "%s/shadow.sqlite", world->fx.folder);
}

void kill_forget(struct kill_world *world)
{
    char shadow[400];

    shadow_path(world, shadow);
    shadow_forget(shadow);
    oracle_free(world->oracle);
    world->oracle = oracle_new(world->fx.config.audit_folder);
}

void kill_cut_power(struct kill_world *world, enum disk_loss of_log, enum disk_loss of_store,
                    uint64_t seed)
{
    char shadow[400];

    disk_cut(world->disk, world->fx.config.audit_folder, of_log, of_store, seed);
    shadow_path(world, shadow);
    shadow_forget(shadow);
    swtpm_kill(&world->fx.swtpm);
    swtpm_restart(&world->fx.swtpm);
}

void kill_pass_time(struct kill_world *world, int64_t ms)
{
    world->passed_ms += ms;
    wall_clock_move(world->passed_ms);
}

void kill_store_path(const struct kill_world *world, char ret_path[static 400])
{
    snprintf(ret_path, 400, "%s/%s", world->fx.config.state_folder, MEMBER_STORE);
}

void kill_world_start(struct kill_world *world, const struct keeper_fixture *sibling)
{
    const struct fx_options options = {.sibling = sibling,
                                       .limits = "    brake: 1000\n    retries: 6\n"
                                                 "    approval_expiry: 10m\n",
                                       .in_keeper = steps_here,
                                       .may_lose = true,
                                       .only_ends = true};

    memset(world, 0, sizeof(*world));
    wall_clock_move(0);
    steps_forget();
    world->disk = disk_new();
    world->rosters = 1;
    fx_start_with(&world->fx, &options);
    world->oracle = oracle_new(world->fx.config.audit_folder);
    fx_publish(&world->fx);
    fx_wait_primary(&world->fx, "node-a");
}

void kill_world_stop(struct kill_world *world)
{
    EVP_PKEY_free(world->recipient);
    disk_free(world->disk);
    oracle_free(world->oracle);
    fx_stop(&world->fx);
}

bool kill_settle(struct kill_world *world)
{
    if (world->fx.pid)
        fx_ask(&world->fx, ROUTE_HEALTH, world->fx.actors[FX_AUDITOR].identity, "");
    return world->fx.pid != 0;
}

bool kill_is_well(struct kill_world *world)
{
    struct keeper_fixture *fx = &world->fx;

    for (int i = 0; i < KILL_TRIES && fx->pid; i++) {
        fx_ask(fx, ROUTE_HEALTH, fx->actors[FX_AUDITOR].identity, "");
        if (fx->reply.status == 200)
            return true;
        fx_serve(fx, KILL_TRY_MS);
    }
    return false;
}

void kill_wait_well(struct kill_world *world)
{
    const struct keeper_fixture *fx = &world->fx;

    if (kill_is_well(world))
        return;
    if (!fx->pid)
        errx(1, "the keeper ended: status %#x", (unsigned)fx->exit_status);
    fx_fail("the keeper is not ready", fx->reply.body);
}

static const char *judge_log(const struct kill_world *world)
{
    static const struct kill_rules rules = {.retries = KILL_RETRIES};
    struct audit_reading reading = {0};
    const char *wrong = oracle_check(world->oracle);

    if (!wrong && audit_read(world->fx.config.audit_folder, 1, NULL, NULL, &reading))
        wrong = "it does not verify";
    return wrong ? wrong : judge_epochs(world->oracle, &rules);
}

static const char *judge_store(const struct kill_world *world)
{
    const struct keeper_fixture *fx = &world->fx;
    char store[400], copy[400], shadow[400];
    const char *differs;

    kill_store_path(world, store);
    snprintf(copy, sizeof(copy), "%s/judged.sqlite", fx->folder);
    shadow_path(world, shadow);
    differs = judge_ledger(world->oracle, store, copy);
    return differs ? differs : shadow_judge(fx->config.audit_folder, fx->authority, copy, shadow);
}

void kill_judge(struct kill_world *world)
{
    const char *wrong, *differs = NULL;

    /* A record of the keeper's own may come while it is looked at. */
    for (int i = 0; i < JUDGE_TRIES; i++) {
        wrong = judge_log(world);
        if (wrong)
            fx_fail("the log", wrong);
        differs = judge_store(world);
        if (!differs)
            return;
        if (!kill_settle(world))
            fx_fail("while it was judged", "the keeper ended");
    }
    fx_fail("the ledger", differs);
}
