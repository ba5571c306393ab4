/* throttle.c - counting failed logins. See throttle.h. */
#include "auth/throttle.h"

#include <arpa/inet.h>
#include <pthread.h>

#include "base/clock.h"
#include "run/settings.h"

enum { SLOTS = 16384, WAYS = 8 };

struct counter {
    uint64_t key;
    uint32_t failures;
    int64_t since; /* clock_monotonic_ms() of the first one counted; for `known`: of the success */
};

static struct counter pairs[SLOTS], networks[SLOTS], known[SLOTS];
static uint64_t seed;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static uint64_t hash_add(uint64_t hash, const void *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ ((const unsigned char *)data)[i]) * UINT64_C(0x100000001b3);
    return hash ^ hash >> 29;
}

/* bits4, bits6: how much of the address counts. */
static uint64_t peer_hash(struct str peer, unsigned bits4, unsigned bits6)
{
    char text[64];
    unsigned char bytes[16] = {0};
    if (!seed)
        random_bytes(&seed, sizeof(seed));
    snprintf(text, sizeof(text), STR_FMT, STR_ARG(peer));
    bool v6 = inet_pton(AF_INET6, text, bytes) == 1;
    if (!v6 && inet_pton(AF_INET, text, bytes) != 1)
        return hash_add(seed, peer.data, peer.len);
    return hash_add(seed + v6, bytes, (v6 ? bits6 : bits4) / 8);
}

static uint64_t pair_hash(struct str peer, struct str account)
{
    uint64_t hash = peer_hash(peer, 32, 64);
    for (size_t i = 0; i < account.len; i++) {
        char c = ascii_lower(account.data[i]);
        hash = hash_add(hash, &c, 1);
    }
    return hash | 1;
}

/* The counter of a key: found, or (make) the oldest of its neighbourhood taken over. */
static struct counter *counter_find(struct counter *table, uint64_t key, int64_t window, bool make)
{
    int64_t now = clock_monotonic_ms();
    struct counter *oldest = NULL;
    for (size_t i = 0; i < WAYS; i++) {
        struct counter *c = &table[(key / 7 + i) % SLOTS];
        if (c->key == key && now - c->since <= window)
            return c;
        if (!oldest || c->since < oldest->since || c->key == key)
            oldest = c;
        if (c->key == key)
            break;
    }
    if (!make)
        return NULL;
    *oldest = (struct counter){.key = key, .since = now};
    return oldest;
}

bool throttle_blocked(struct str peer, struct str account)
{
    const struct settings *s CLEANUP(settings_unref) = settings_ref();
    int64_t window = (int64_t)s->login.failure_window;
    pthread_mutex_lock(&lock);
    uint64_t pair = pair_hash(peer, account);
    const struct counter *p = counter_find(pairs, pair, window, false);
    const struct counter *n = counter_find(networks, peer_hash(peer, 24, 48) | 1, window, false);
    bool trusted = counter_find(known, pair, 30 * INT64_C(86400000), false) != NULL;
    bool blocked = (p && s->login.failures_per_pair && p->failures >= s->login.failures_per_pair) ||
                   (n && !trusted && s->login.failures_per_network &&
                    n->failures >= s->login.failures_per_network);
    pthread_mutex_unlock(&lock);
    return blocked;
}

void throttle_failed(struct str peer, struct str account)
{
    const struct settings *s CLEANUP(settings_unref) = settings_ref();
    int64_t window = (int64_t)s->login.failure_window;
    pthread_mutex_lock(&lock);
    counter_find(pairs, pair_hash(peer, account), window, true)->failures++;
    counter_find(networks, peer_hash(peer, 24, 48) | 1, window, true)->failures++;
    pthread_mutex_unlock(&lock);
}

void throttle_succeeded(struct str peer, struct str account)
{
    const struct settings *s CLEANUP(settings_unref) = settings_ref();
    pthread_mutex_lock(&lock);
    uint64_t pair = pair_hash(peer, account);
    struct counter *p = counter_find(pairs, pair, (int64_t)s->login.failure_window, false);
    if (p)
        p->failures = 0;
    counter_find(known, pair, 30 * INT64_C(86400000), true)->since = clock_monotonic_ms();
    pthread_mutex_unlock(&lock);
}
