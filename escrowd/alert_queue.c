/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/alert_queue.h"

#include "escrowd/alert.h"
#include "libescrow/json.h"

#include <stdlib.h>
#include <string.h>

struct topic {
    char *key;       /* NULL: the place is free */
    json_t *alert;   /* NULL: none waits */
    uint64_t since;  /* the order in which they began to wait */
    int64_t due_ms;  /* not before */
    json_int_t more; /* that came before the one that waits, and after the one delivered last */
};

struct alert_queue {
    struct topic topics[ALERT_TOPICS_MAX];
    uint64_t last;
    uint64_t untold; /* not delivered, and no alert has said so yet */
    struct alert_numbers numbers;
};

struct alert_queue *alert_queue_new(void)
{
    return calloc(1, sizeof(struct alert_queue));
}

static void empty(struct topic *topic)
{
    free(topic->key);
    json_decref(topic->alert);
    *topic = (struct topic){0};
}

void alert_queue_free(struct alert_queue *queue)
{
    if (!queue)
        return;
    for (size_t i = 0; i < ALERT_TOPICS_MAX; i++)
        empty(&queue->topics[i]);
    free(queue);
}

void alert_queue_missed(struct alert_queue *queue)
{
    queue->untold++;
}

static void lose(struct alert_queue *queue)
{
    queue->numbers.lost++;
    queue->untold++;
}

/* What makes two alerts the same to who is told; owned by the caller, NULL without memory. */
static char *key_of(const json_t *alert)
{
    CLEANUP(json_free_p)
    json_t *key = json_pack("[O, O, O]", json_object_get(alert, "event"),
                            json_object_get(alert, "group"), json_object_get(alert, "reason"));

    return key ? json_text(key) : NULL;
}

/* True: a is the better one to give up: it says nothing any more, or has waited longer. */
static bool is_older(const struct topic *a, const struct topic *b)
{
    if (!a->alert != !b->alert)
        return !a->alert;
    return a->alert ? a->since < b->since : a->due_ms < b->due_ms;
}

/* A place for a new topic; if all are taken, that of the oldest. */
static struct topic *make_place(struct alert_queue *queue)
{
    struct topic *oldest = &queue->topics[0];

    for (size_t i = 0; i < ALERT_TOPICS_MAX; i++) {
        if (!queue->topics[i].key)
            return &queue->topics[i];
        if (is_older(&queue->topics[i], oldest))
            oldest = &queue->topics[i];
    }
    if (oldest->alert)
        lose(queue);
    empty(oldest);
    return oldest;
}

static struct topic *find(struct alert_queue *queue, const char *key)
{
    for (size_t i = 0; i < ALERT_TOPICS_MAX; i++) {
        if (queue->topics[i].key && strcmp(queue->topics[i].key, key) == 0)
            return &queue->topics[i];
    }
    return NULL;
}

void alert_queue_add(struct alert_queue *queue, json_t *alert, int64_t now_ms)
{
    CLEANUP(cleanup_free) char *key = alert ? key_of(alert) : NULL;
    struct topic *topic;

    if (!key) {
        json_decref(alert);
        lose(queue);
        return;
    }
    topic = find(queue, key);
    if (!topic) {
        topic = make_place(queue);
        topic->key = TAKE(key);
        topic->due_ms = now_ms;
    }
    if (topic->alert) {
        json_decref(topic->alert);
        topic->more++;
        queue->numbers.suppressed++;
    } else {
        topic->since = ++queue->last;
    }
    topic->alert = alert;
}

static struct topic *find_due(struct alert_queue *queue, int64_t now_ms, bool is_last)
{
    struct topic *next = NULL;

    for (size_t i = 0; i < ALERT_TOPICS_MAX; i++) {
        struct topic *topic = &queue->topics[i];

        if (topic->alert && (is_last || topic->due_ms <= now_ms) &&
            (!next || topic->since < next->since))
            next = topic;
    }
    return next;
}

static char *write_text(json_t *alert, json_int_t suppressed, json_int_t undelivered)
{
    char *text = NULL;

    if (json_object_set_new(alert, "suppressed", json_integer(suppressed)) == 0 &&
        json_object_set_new(alert, "undelivered", json_integer(undelivered)) == 0)
        text = json_text(alert);
    if (text && strlen(text) > ALERT_BYTES_MAX) {
        free(text);
        text = NULL;
    }
    return text;
}

char *alert_queue_take(struct alert_queue *queue, int64_t now_ms, bool is_last)
{
    struct topic *topic;

    while ((topic = find_due(queue, now_ms, is_last)) != NULL) {
        char *text = write_text(topic->alert, topic->more, (json_int_t)queue->untold);

        json_decref(topic->alert);
        topic->alert = NULL;
        topic->more = 0;
        topic->due_ms = now_ms + ALERT_PERIOD_MS;
        if (text) {
            queue->untold = 0;
            return text;
        }
        lose(queue);
    }
    return NULL;
}

void alert_queue_numbers(const struct alert_queue *queue, struct alert_numbers *ret_numbers)
{
    *ret_numbers = queue->numbers;
    for (size_t i = 0; i < ALERT_TOPICS_MAX; i++)
        ret_numbers->waiting += queue->topics[i].alert != NULL;
}
