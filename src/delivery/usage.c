/* usage.c - how full accounts are. See usage.h. */
#include "delivery/usage.h"

#include <pthread.h>

#include "run/ipc.h"
#include "store/directory.h"

enum { TELL_SECONDS = 1, PACKET_ENTRIES = 1000, ACCOUNTS_MAX = 1 << 20 };

struct figure {
    uint64_t account; /* 0: free */
    struct account_usage usage;
};

/* Figures by account: open addressing, at most half full. */
struct figures {
    struct figure *items;
    size_t capacity, len;
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t thread;
    struct figures noted;
    bool running, stopping;
} teller = {.lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};

static struct figure *figure_find(const struct figures *f, uint64_t account)
{
    size_t at = (size_t)(account * UINT64_C(0x9E3779B97F4A7C15) >> 32) & (f->capacity - 1);
    while (f->items[at].account && f->items[at].account != account)
        at = (at + 1) & (f->capacity - 1);
    return &f->items[at];
}

/* replace: a figure that is there already is older. */
static void figure_put(struct figures *f, const struct figure *new, bool replace)
{
    if (2 * (f->len + 1) > f->capacity) {
        if (f->capacity >= ACCOUNTS_MAX)
            return; /* told again at the account's next change */
        struct figures grown = {.capacity = MAX(f->capacity * 2, (size_t)64)};
        grown.items = mem_alloc_array(grown.capacity, sizeof(*grown.items));
        for (size_t i = 0; i < f->capacity; i++)
            if (f->items[i].account)
                figure_put(&grown, &f->items[i], true);
        mem_free(f->items);
        *f = grown;
    }
    struct figure *at = figure_find(f, new->account);
    if (at->account && !replace)
        return;
    f->len += at->account == 0;
    *at = *new;
}

void usage_note(uint64_t account, const struct account_usage *usage)
{
    struct figure figure = {account, *usage};
    pthread_mutex_lock(&teller.lock);
    bool first = teller.noted.len == 0;
    figure_put(&teller.noted, &figure, true);
    if (first)
        pthread_cond_signal(&teller.wake);
    pthread_mutex_unlock(&teller.lock);
}

static int packet_tell(const struct figure *figures, size_t count)
{
    struct ipc_out request = {0};
    struct ipc_in reply CLEANUP(ipc_in_free) = {0};
    struct error e;
    ipc_put_u32(&request, (uint32_t)count);
    for (size_t i = 0; i < count; i++) {
        ipc_put_u64(&request, figures[i].account);
        ipc_put_u64(&request, figures[i].usage.bytes);
        ipc_put_u64(&request, figures[i].usage.messages);
    }
    return ipc_call(PROCESS_CORE, 0, IPC_ACCOUNT_USAGE, &request, 0, &reply, &e);
}

/* Tells what was noted; what core does not take now is told the next time. */
static void usage_tell(void)
{
    pthread_mutex_lock(&teller.lock);
    struct figures told = teller.noted;
    teller.noted = (struct figures){0};
    pthread_mutex_unlock(&teller.lock);
    size_t len = 0;
    for (size_t i = 0; i < told.capacity; i++)
        if (told.items[i].account)
            told.items[len++] = told.items[i];
    for (size_t start = 0; start < len; start += PACKET_ENTRIES) {
        size_t count = MIN(len - start, (size_t)PACKET_ENTRIES);
        if (packet_tell(told.items + start, count) == 0)
            continue;
        pthread_mutex_lock(&teller.lock);
        for (size_t i = start; i < len; i++)
            figure_put(&teller.noted, &told.items[i], false);
        pthread_mutex_unlock(&teller.lock);
        break;
    }
    mem_free(told.items);
}

/* Waits for a figure, then a second for more. */
static void *teller_main(void *unused UNUSED)
{
    bool stop = false;
    while (!stop) {
        pthread_mutex_lock(&teller.lock);
        while (!teller.stopping && teller.noted.len == 0)
            pthread_cond_wait(&teller.wake, &teller.lock);
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += TELL_SECONDS;
        while (!teller.stopping &&
               pthread_cond_timedwait(&teller.wake, &teller.lock, &until) == 0) {
        }
        stop = teller.stopping;
        pthread_mutex_unlock(&teller.lock);
        usage_tell();
    }
    return NULL;
}

int usage_start(struct error *e)
{
    teller.stopping = false;
    if (pthread_create(&teller.thread, NULL, teller_main, NULL) != 0)
        return error_set(e, ERROR_INTERNAL, "The thread for usage cannot be started");
    teller.running = true;
    accounts_on_change(usage_note);
    return 0;
}

void usage_stop(void)
{
    if (!teller.running)
        return;
    accounts_on_change(NULL);
    pthread_mutex_lock(&teller.lock);
    teller.stopping = true;
    pthread_cond_signal(&teller.wake);
    pthread_mutex_unlock(&teller.lock);
    pthread_join(teller.thread, NULL);
    teller.running = false;
    mem_free(teller.noted.items);
    teller.noted = (struct figures){0};
}

/* ------------------------------------------------------------------ core */

static int usage_take(struct ipc_in *request, struct ipc_out *reply UNUSED, struct error *e)
{
    uint32_t count = ipc_get_u32(request);
    for (uint32_t i = 0; i < count && !request->failed; i++) {
        uint64_t account = ipc_get_u64(request), bytes = ipc_get_u64(request),
                 messages = ipc_get_u64(request);
        if (!request->failed && account)
            directory_account_usage(account, bytes, messages, NULL);
    }
    return ipc_get_end(request) < 0 ? error_set(e, ERROR_INVALID, "The request was not understood")
                                    : 0;
}

void usage_serve(void)
{
    static const struct ipc_service rows[] = {
        {IPC_ACCOUNT_USAGE, 1 << PROCESS_BOX | 1 << PROCESS_COMMAND, usage_take},
    };
    ipc_serve(rows, countof(rows));
}
