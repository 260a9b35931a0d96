/* SPDX-License-Identifier: Apache-2.0 */
#include "escrowd/front_order.h"

#include "libescrow/cleanup.h"

#include <event2/bufferevent_struct.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define ROWS 4096
#define SECOND_MS 1000

/* libevent gives the middle one to every event that nobody asks about, its own among them. */
enum priority { PRIORITY_FIRST = 2, PRIORITY_LATER, PRIORITY_LAST, PRIORITIES };
_Static_assert(PRIORITIES / 2 == PRIORITY_FIRST, "the middle one");

struct front_order {
    uint8_t key[16];
    uint16_t handshakes[ROWS]; /* in progress; there are fewer descriptors than it can count */
};

struct event_base *front_order_base_new(void)
{
    struct event_config *config = event_config_new();
    struct event_base *base = NULL;

    /* The changes of a turn in one go: a request turns reading off and on, which cancels out. */
    if (config && event_config_set_flag(config, EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST) == 0 &&
        event_config_set_max_dispatch_interval(config, NULL, 1, PRIORITY_LATER) == 0)
        base = event_base_new_with_config(config);
    if (config)
        event_config_free(config);
    if (base && event_base_priority_init(base, PRIORITIES) < 0) {
        event_base_free(base);
        return NULL;
    }
    return base;
}

struct front_order *front_order_new(void)
{
    struct front_order *order = calloc(1, sizeof(*order));

    if (order && RAND_bytes(order->key, sizeof(order->key)) != 1) {
        free(order);
        return NULL;
    }
    return order;
}

void front_order_free(struct front_order *order)
{
    free(order);
}

/* The bytes that tell a source from others; 0: none. */
static size_t source_of(int fd, uint8_t ret_bytes[static 8])
{
    union {
        struct sockaddr any;
        struct sockaddr_in ipv4;
        struct sockaddr_in6 ipv6;
    } peer = {0};
    socklen_t len = sizeof(peer);
    const uint8_t *ipv6 = peer.ipv6.sin6_addr.s6_addr;

    if (getpeername(fd, &peer.any, &len) < 0)
        return 0;
    if (peer.any.sa_family == AF_INET) {
        memcpy(ret_bytes, &peer.ipv4.sin_addr, 4);
        return 4;
    }
    if (peer.any.sa_family != AF_INET6)
        return 0;
    if (IN6_IS_ADDR_V4MAPPED(&peer.ipv6.sin6_addr)) {
        memcpy(ret_bytes, ipv6 + 12, 4);
        return 4;
    }
    memcpy(ret_bytes, ipv6, 8);
    return 8;
}

static bool find_row(const struct front_order *order, int fd, size_t *ret_row)
{
    uint8_t bytes[sizeof(order->key) + 8], digest[EVP_MAX_MD_SIZE];
    size_t len = source_of(fd, bytes + sizeof(order->key));

    memcpy(bytes, order->key, sizeof(order->key));
    if (len == 0 ||
        EVP_Digest(bytes, sizeof(order->key) + len, digest, NULL, EVP_sha256(), NULL) != 1)
        return false;
    *ret_row = ((size_t)digest[0] << 8 | digest[1]) % ROWS;
    return true;
}

/*
 * Only of reading, which is where the work begins: bufferevent_priority_set() also moves a callback
 * that may wait in the queue of its old priority, which spoils that queue. Reading that waits for
 * its turn already keeps that turn.
 */
static void set_priority(struct bufferevent *bufferevent, enum priority priority)
{
    (void)event_priority_set(&bufferevent->ev_read, (int)priority);
}

void front_order_enter(struct front_order *order, struct front_place *place,
                       struct bufferevent *bufferevent)
{
    bool is_few = false;

    if (find_row(order, bufferevent_getfd(bufferevent), &place->row)) {
        place->is_counted = true;
        is_few = ++order->handshakes[place->row] <= FRONT_ORDER_FEW;
    }
    set_priority(bufferevent, is_few ? PRIORITY_LATER : PRIORITY_LAST);
}

void front_order_ask(struct front_order *order, struct front_place *place,
                     struct bufferevent *bufferevent, int64_t now_ms)
{
    front_order_leave(order, place);
    if (now_ms - place->second_ms >= SECOND_MS) {
        place->second_ms = now_ms;
        place->asked = 0;
    }
    place->asked++;
    set_priority(bufferevent, place->asked > FRONT_ORDER_LITTLE ? PRIORITY_LAST : PRIORITY_FIRST);
}

void front_order_leave(struct front_order *order, struct front_place *place)
{
    if (place->is_counted)
        order->handshakes[place->row]--;
    place->is_counted = false;
}
