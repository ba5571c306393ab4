/* changes.c - what follows a change in the directory. See changes.h. */
#include "delivery/changes.h"

#include <pthread.h>

#include "base/log.h"
#include "base/vec.h"
#include "delivery/control.h"
#include "store/directory.h"

enum { RETRY_SECONDS = 10, REMOVED_MAX = 1024 * 1024 };

/* Ids of accounts whose files are to be deleted, separated by spaces, in the directory's values. */
static const struct str removed_name = STR_INIT("removed-accounts");

struct change {
    uint64_t account;
    enum account_control what;
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_mutex_t removed_lock; /* of the value in the directory */
    pthread_t thread;
    VEC(struct change) list;
    bool running, stopping;
} changes = {.lock = PTHREAD_MUTEX_INITIALIZER,
             .wake = PTHREAD_COND_INITIALIZER,
             .removed_lock = PTHREAD_MUTEX_INITIALIZER};

/* ------------------------------------------------------------------ the list in the directory */

static struct str removed_get(struct arena *arena)
{
    struct str text;
    struct error e;
    return directory_value_get(removed_name, arena, &text, &e) == 0 ? text : STR("");
}

static void removed_set(struct str text)
{
    struct error e;
    if (directory_value_set(removed_name, text, &e) < 0)
        log_event(LOG_ERROR, "removed-accounts-lost", "error=%s cause=%s accounts=%s",
                  log_quote(str_from(e.text)), log_quote(str_from(e.cause)), log_quote(text));
}

static void removed_add(uint64_t account)
{
    struct arena arena CLEANUP(arena_free) = ARENA_INIT;
    pthread_mutex_lock(&changes.removed_lock);
    struct str text = removed_get(&arena);
    if (text.len < REMOVED_MAX)
        removed_set(arena_printf(&arena, STR_FMT "%s%llu", STR_ARG(text), text.len ? " " : "",
                                 (unsigned long long)account));
    pthread_mutex_unlock(&changes.removed_lock);
}

static void removed_done(uint64_t account)
{
    struct arena arena CLEANUP(arena_free) = ARENA_INIT;
    struct buf left CLEANUP(buf_free) = BUF_INIT(2 * REMOVED_MAX);
    pthread_mutex_lock(&changes.removed_lock);
    struct str rest = removed_get(&arena), part;
    uint64_t id;
    while (rest.len && str_next_part(&rest, ' ', &part))
        if (str_to_u64(part, UINT64_MAX, &id) == 0 && id != account)
            buf_printf(&left, "%s" STR_FMT, left.len ? " " : "", STR_ARG(part));
    removed_set(buf_str(&left));
    pthread_mutex_unlock(&changes.removed_lock);
}

/* ------------------------------------------------------------------ the thread */

static void change_add(uint64_t account, enum account_control what)
{
    pthread_mutex_lock(&changes.lock);
    VEC_ADD(&changes.list, (struct change){account, what});
    pthread_cond_signal(&changes.wake);
    pthread_mutex_unlock(&changes.lock);
}

static void change_seen(uint64_t account, enum directory_change what)
{
    if (what == DIRECTORY_REMOVED)
        removed_add(account);
    change_add(account, what == DIRECTORY_REMOVED ? CONTROL_DELETE : CONTROL_END_SESSIONS);
}

/* 0, or -1: to be tried again. A box that cannot be reached has no sessions that could be ended. */
static int change_carry_out(const struct change *c)
{
    struct error e;
    if (account_control(c->account, c->what, NULL, NULL, &e) < 0) {
        log_event(LOG_WARNING, "account-control-failed",
                  "account=%llu what=%s class=%s error=%s cause=%s", (unsigned long long)c->account,
                  c->what == CONTROL_DELETE ? "delete" : "end-sessions", error_class_name(e.class),
                  log_quote(str_from(e.text)), log_quote(str_from(e.cause)));
        return c->what == CONTROL_DELETE ? -1 : 0;
    }
    if (c->what == CONTROL_DELETE) {
        removed_done(c->account);
        log_event(LOG_INFO, "account-files-deleted", "account=%llu",
                  (unsigned long long)c->account);
    }
    return 0;
}

static void *changes_main(void *unused UNUSED)
{
    bool trouble = false;
    pthread_mutex_lock(&changes.lock);
    while (!changes.stopping) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += RETRY_SECONDS;
        if (changes.list.len == 0)
            pthread_cond_wait(&changes.wake, &changes.lock);
        else if (trouble) /* a new change is carried out at once, an old one with it */
            pthread_cond_timedwait(&changes.wake, &changes.lock, &until);
        __typeof__(changes.list) todo = changes.list;
        changes.list.items = NULL;
        changes.list.len = changes.list.capacity = 0;
        trouble = false;
        for (size_t i = 0; i < todo.len; i++) {
            pthread_mutex_unlock(&changes.lock);
            int result = change_carry_out(&todo.items[i]);
            pthread_mutex_lock(&changes.lock);
            if (result < 0)
                VEC_ADD(&changes.list, todo.items[i]);
            trouble |= result < 0;
            if (changes.stopping)
                break;
        }
        VEC_FREE(&todo);
    }
    pthread_mutex_unlock(&changes.lock);
    return NULL;
}

int changes_start(struct error *e)
{
    struct arena arena CLEANUP(arena_free) = ARENA_INIT;
    struct str rest = removed_get(&arena), part;
    uint64_t id;
    while (rest.len && str_next_part(&rest, ' ', &part))
        if (str_to_u64(part, UINT64_MAX, &id) == 0)
            change_add(id, CONTROL_DELETE);
    changes.stopping = false;
    if (pthread_create(&changes.thread, NULL, changes_main, NULL) != 0)
        return error_set(e, ERROR_INTERNAL, "The thread for account changes cannot be started");
    changes.running = true;
    directory_on_change(change_seen);
    return 0;
}

void changes_stop(void)
{
    if (!changes.running)
        return;
    pthread_mutex_lock(&changes.lock);
    changes.stopping = true;
    pthread_cond_signal(&changes.wake);
    pthread_mutex_unlock(&changes.lock);
    pthread_join(changes.thread, NULL);
    changes.running = false;
    VEC_FREE(&changes.list);
}

static void change_seen_offline(uint64_t account, enum directory_change what)
{
    if (what == DIRECTORY_REMOVED)
        removed_add(account);
}

void changes_note_only(void)
{
    directory_on_change(change_seen_offline);
}
