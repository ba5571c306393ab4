/* peers.c - who is connected. */
#include "run/peers.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>

enum { BUCKETS = 4096 };

struct peer_entry {
    struct peer_entry *next;
    unsigned char key[16];
    uint64_t sessions;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct peer_entry *buckets[BUCKETS];
static uint64_t hash_seed; /* so that nobody can choose addresses that share a bucket */

/* The 16 bytes that stand for the address: IPv4 as mapped, IPv6 its /64, a Unix socket zeros. */
static void peer_key(const struct sockaddr_storage *address, unsigned char key[static 16])
{
    memset(key, 0, 16);
    if (address->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const void *)address;
        key[10] = key[11] = 0xFF;
        memcpy(key + 12, &v4->sin_addr, 4);
    } else if (address->ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const void *)address;
        bool mapped = IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr);
        memcpy(key, &v6->sin6_addr, mapped ? 16 : 8);
    }
}

void peer_text(const struct sockaddr_storage *address, char out[static 64])
{
    snprintf(out, 64, "local");
    if (address->ss_family == AF_INET) {
        inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)address)->sin_addr, out, 64);
    } else if (address->ss_family == AF_INET6) {
        const struct in6_addr *v6 =
            &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
        if (IN6_IS_ADDR_V4MAPPED(v6))
            inet_ntop(AF_INET, (const char *)v6 + 12, out, 64);
        else
            inet_ntop(AF_INET6, v6, out, 64);
    }
}

bool peer_is_loopback(const struct sockaddr_storage *address)
{
    if (address->ss_family == AF_UNIX)
        return true;
    unsigned char key[16];
    peer_key(address, key);
    if (key[10] == 0xFF && key[11] == 0xFF)
        return key[12] == 127;
    const struct sockaddr_in6 *v6 = (const void *)address;
    return address->ss_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
}

/* FNV-1a over the key, seeded. */
static size_t bucket_of(const unsigned char *key)
{
    if (!hash_seed)
        random_bytes(&hash_seed, sizeof(hash_seed));
    uint64_t hash = hash_seed | 1;
    for (size_t i = 0; i < 16; i++)
        hash = (hash ^ key[i]) * UINT64_C(0x100000001b3);
    return (size_t)(hash >> 32) % BUCKETS;
}

struct peer_entry *peer_enter(const struct sockaddr_storage *address, uint64_t max)
{
    unsigned char key[16];
    peer_key(address, key);
    pthread_mutex_lock(&lock);
    struct peer_entry **head = &buckets[bucket_of(key)], *entry = *head;
    while (entry && memcmp(entry->key, key, 16) != 0)
        entry = entry->next;
    if (!entry) {
        entry = mem_alloc(sizeof(*entry));
        memcpy(entry->key, key, 16);
        entry->next = *head;
        *head = entry;
    }
    if (max && entry->sessions >= max)
        entry = NULL;
    else
        entry->sessions++;
    pthread_mutex_unlock(&lock);
    return entry;
}

void peer_leave(struct peer_entry **entry)
{
    if (!*entry)
        return;
    pthread_mutex_lock(&lock);
    if (--(*entry)->sessions == 0) {
        struct peer_entry **at = &buckets[bucket_of((*entry)->key)];
        while (*at != *entry)
            at = &(*at)->next;
        *at = (*entry)->next;
        mem_free(*entry);
    }
    pthread_mutex_unlock(&lock);
    *entry = NULL;
}
