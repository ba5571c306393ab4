/* usage.c - how full accounts are. See usage.h. */
#include "delivery/usage.h"

#include <pthread.h>

#include "base/clock.h"
#include "base/vec.h"
#include "run/conn.h"
#include "run/ipc.h"
#include "store/directory.h"

enum { TELL_MS = 1000, PACKET_ENTRIES = 1000 };

struct figure {
    uint64_t account;
    struct account_usage usage;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static VEC(struct figure) figures;

void usage_note(uint64_t account, const struct account_usage *usage)
{
    pthread_mutex_lock(&lock);
    size_t i = 0;
    while (i < figures.len && figures.items[i].account != account)
        i++;
    if (i == figures.len)
        VEC_ADD(&figures, (struct figure){account, *usage});
    else
        figures.items[i].usage = *usage;
    pthread_mutex_unlock(&lock);
}

/* Takes what was noted and tells it; what core does not take is lost until the account changes again. */
static void usage_tell(void)
{
    pthread_mutex_lock(&lock);
    __typeof__(figures) told = figures;
    figures.items = NULL;
    figures.len = figures.capacity = 0;
    pthread_mutex_unlock(&lock);
    for (size_t start = 0; start < told.len; start += PACKET_ENTRIES) {
        struct ipc_out message = {0};
        size_t count = MIN(told.len - start, (size_t)PACKET_ENTRIES);
        ipc_put_u32(&message, (uint32_t)count);
        for (size_t i = start; i < start + count; i++) {
            ipc_put_u64(&message, told.items[i].account);
            ipc_put_u64(&message, told.items[i].usage.bytes);
            ipc_put_u64(&message, told.items[i].usage.messages);
        }
        ipc_tell(PROCESS_CORE, 0, IPC_ACCOUNT_USAGE, &message);
    }
    VEC_FREE(&told);
}

static enum conn_verdict teller_run(struct conn *c, unsigned events)
{
    usage_tell();
    c->want = 0;
    c->deadline = clock_monotonic_ms() + TELL_MS;
    return events & CONN_STOPPING ? CONN_CLOSE : CONN_PARK;
}

static void teller_free(struct conn *c)
{
    mem_free(c);
}

void usage_start(void)
{
    static const struct conn_class class = {"usage", teller_run, teller_free};
    struct conn *c = mem_alloc(sizeof(*c));
    c->class = &class;
    c->fd = -1;
    conn_start(c);
}

static int usage_take(struct ipc_in *request, struct ipc_out *reply UNUSED, struct error *e)
{
    uint32_t count = ipc_get_u32(request);
    for (uint32_t i = 0; i < count && !request->failed; i++) {
        uint64_t account = ipc_get_u64(request), bytes = ipc_get_u64(request),
                 messages = ipc_get_u64(request);
        if (!request->failed)
            directory_account_usage(account, bytes, messages, NULL);
    }
    return ipc_get_end(request) < 0 ? error_set(e, ERROR_INVALID, "The request was not understood") : 0;
}

void usage_serve(void)
{
    static const struct ipc_service rows[] = {
        {IPC_ACCOUNT_USAGE, 1 << PROCESS_BOX, usage_take},
    };
    ipc_serve(rows, countof(rows));
}
