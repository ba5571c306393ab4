/* queue_id.c - queue ids. See queue.h. */
#include "base/clock.h"
#include "queue/queue.h"

/* 16 characters of 5 bits: 52 bits of time in microseconds (enough until 2112), 28 bits at random. The
 * alphabet is in ASCII's order, so ids sort by time; I, L, O and U are left out. */
void queue_id_make(char out[static QUEUE_ID_LEN + 1])
{
    static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    struct timespec now;
    uint32_t noise;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t time = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
    random_bytes(&noise, sizeof(noise));
    unsigned __int128 value =
        (unsigned __int128)(time & ((UINT64_C(1) << 52) - 1)) << 28 | (noise >> 4);
    for (int i = QUEUE_ID_LEN - 1; i >= 0; i--) {
        out[i] = alphabet[(unsigned)(value & 31)];
        value >>= 5;
    }
    out[QUEUE_ID_LEN] = '\0';
}
