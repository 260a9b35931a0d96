/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/keeper_admission.h"

#include "escrowd/clock.h"
#include "escrowd/keeper_state.h"

#include <stdlib.h>
#include <string.h>

#define US_PER_MS 1000
/* Before the first one is through: a TPM that takes 10 ms for each of its 14 commands. */
#define FIRST_GUESS_US (140 * US_PER_MS)
/* How much the last one counts for: a TPM that hung once is not slow. */
#define SMOOTHING 8
#define LEAST 2
#define FOR_GOOD INT64_MAX

struct admission {
    struct keeper *keeper;
    struct turns turns;
    size_t waiting;
    struct request_list under_way;
    struct event *look; /* somebody's place may be free */
    int64_t tpm_us;     /* smoothed time of a release at the TPM */
    bool is_learnt;
};

/* Its replicas are asked, and nothing of it is at the TPM soon. */
static bool is_asking(const struct request *request)
{
    return request->state == REQUEST_ASKING;
}

static size_t places(const struct admission *admission)
{
    int64_t places = (int64_t)ADMISSION_TPM_MS * US_PER_MS / admission->tpm_us;

    if (places > ADMISSION_MOST)
        return ADMISSION_MOST;
    return places < LEAST ? LEAST : (size_t)places;
}

/* How long it will be counted for by itself: 0 if it is not, FOR_GOOD until it is through. */
static int64_t counted_for_ms(const struct request *request, int64_t now_ms)
{
    int64_t left_ms = request->place.asked_ms + ADMISSION_QUICK_MS - now_ms;

    if (!is_asking(request))
        return FOR_GOOD;
    return left_ms > 0 ? left_ms : 0;
}

static size_t count_all(const struct admission *admission)
{
    const struct request *request;
    size_t all = 0;

    for (request = LIST_FIRST(&admission->under_way); request;
         request = LIST_NEXT(request, place.next))
        all++;
    return all;
}

/* Those that are counted of one identity; NULL: of all. */
static size_t count(const struct admission *admission, const char *whose)
{
    const struct request *request;
    int64_t now_ms = clock_boot_ms();
    size_t counted = 0;

    for (request = LIST_FIRST(&admission->under_way); request;
         request = LIST_NEXT(request, place.next)) {
        if (!whose || strcmp(request->identity, whose) == 0)
            counted += counted_for_ms(request, now_ms) > 0;
    }
    return counted;
}

/* Who may begin now; NULL: nobody, or nobody waits. */
static const struct turn *next_turn(const struct admission *admission)
{
    const struct turn *turn;
    size_t most = places(admission);

    if (count_all(admission) >= ADMISSION_IN_ALL || count(admission, NULL) >= most)
        return NULL;
    for (turn = turns_next(&admission->turns); turn; turn = TAILQ_NEXT(turn, next)) {
        if (count(admission, turn->whose) < (most + 1) / 2)
            return turn;
    }
    return NULL;
}

static void look_after(struct admission *admission, int64_t after_ms)
{
    const struct timeval after = {0, (suseconds_t)after_ms * US_PER_MS};

    /* Without it the next one that is through gives the place away. */
    (void)!event_add(admission->look, &after);
}

/* When the next one is not counted any more though it is not through. */
static int64_t next_uncounted_ms(const struct admission *admission)
{
    const struct request *request;
    int64_t now_ms = clock_boot_ms(), next_ms = ADMISSION_QUICK_MS;

    for (request = LIST_FIRST(&admission->under_way); request;
         request = LIST_NEXT(request, place.next)) {
        int64_t left_ms = counted_for_ms(request, now_ms);

        if (left_ms > 0 && left_ms < next_ms)
            next_ms = left_ms;
    }
    return next_ms;
}

static void give_turns(struct admission *admission)
{
    const struct turn *turn;

    while ((turn = next_turn(admission))) {
        turns_had(&admission->turns, turn);
        request_advance(turn->owner, REQUEST_TURN);
    }
    if (turns_next(&admission->turns))
        look_after(admission, next_uncounted_ms(admission));
}

static void on_look(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    give_turns(argument);
}

enum escrow_err admission_new(struct keeper *keeper, struct admission **ret_admission)
{
    struct admission *admission = calloc(1, sizeof(*admission));

    if (!admission)
        return ESCROW_ERR_NO_MEMORY;
    admission->keeper = keeper;
    admission->tpm_us = FIRST_GUESS_US;
    turns_init(&admission->turns);
    LIST_INIT(&admission->under_way);
    admission->look = evtimer_new(keeper->base, on_look, admission);
    if (!admission->look) {
        free(admission);
        return ESCROW_ERR_NO_MEMORY;
    }
    *ret_admission = admission;
    return ESCROW_OK;
}

void admission_free(struct admission *admission)
{
    if (!admission)
        return;
    event_free(admission->look);
    free(admission);
}

void admission_wait(struct request *request)
{
    struct admission *admission = request->keeper->admission;

    request->state = REQUEST_HELD;
    request->turn_by_ms = clock_boot_ms() + IPC_RELEASE_WAIT_MS;
    request_set_timer(request, IPC_RELEASE_WAIT_MS);
    if (request->state != REQUEST_HELD)
        return;
    turns_wait(&admission->turns, &request->turn, request->identity, request);
    admission->waiting++;
    give_turns(admission);
}

void admission_leave(struct request *request)
{
    turns_leave(&request->keeper->admission->turns, &request->turn);
    request->keeper->admission->waiting--;
}

enum reason admission_refuses(const struct request *request)
{
    if (request->is_gone)
        return REASON_ROLE_DOWN;
    if (request->keeper->is_stopping)
        return REASON_SHUTTING_DOWN;
    if (clock_boot_ms() >= request->turn_by_ms)
        return REASON_OVERLOADED;
    return keeper_lacks(request->keeper, KEEPER_NEEDS_ALL);
}

void admission_begin(struct request *request)
{
    LIST_INSERT_HEAD(&request->keeper->admission->under_way, request, place.next);
    request->place.is_taken = true;
}

void admission_asks(struct request *request)
{
    request->place.asked_ms = clock_boot_ms();
}

void admission_end(struct request *request)
{
    struct admission *admission = request->keeper->admission;

    if (!request->place.is_taken)
        return;
    request->place.is_taken = false;
    LIST_REMOVE(request, place.next);
    /* Not from here: whoever ends this one may be going through all requests. */
    if (!request->keeper->is_stopping && turns_next(&admission->turns))
        look_after(admission, 0);
}

void admission_drain(struct admission *admission)
{
    const struct turn *turn;

    while ((turn = turns_next(&admission->turns)))
        request_advance(turn->owner, REQUEST_TURN);
}

void admission_learn(struct admission *admission, int64_t took_us)
{
    if (!admission->is_learnt)
        admission->tpm_us = took_us;
    admission->is_learnt = true;
    admission->tpm_us += (took_us - admission->tpm_us) / SMOOTHING;
    if (admission->tpm_us < 1)
        admission->tpm_us = 1;
}

int64_t admission_tpm_ms(const struct admission *admission)
{
    const struct request *request;
    int64_t us = 0;

    for (request = LIST_FIRST(&admission->under_way); request;
         request = LIST_NEXT(request, place.next)) {
        if (!is_asking(request))
            us += admission->tpm_us;
    }
    return us / US_PER_MS;
}

void admission_numbers(const struct admission *admission, struct admission_numbers *ret_numbers)
{
    *ret_numbers = (struct admission_numbers){.waiting = admission->waiting,
                                              .under_way = count_all(admission)};
}
