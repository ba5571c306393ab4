/* world.h - one account in a directory of its own in /tmp, and short forms of what tests do to it. */
#ifndef TESTS_STORE_WORLD_H
#define TESTS_STORE_WORLD_H

#include <ftw.h>
#include <sqlite3.h>
#include <unistd.h>

#include "base/clock.h"
#include "message/summary.h"
#include "store/account.h"
#include "store/tx.h"
#include "unit.h"

static char world_directory[64];
static struct account *world;
static struct account_tx *world_transactions[2]; /* reading, writing: of a test that failed */
static struct arena world_arena;

enum { WORLD_ID = 7 };

static inline int world_remove_one(const char *path, const struct stat *st UNUSED, int type UNUSED,
                                   struct FTW *walk UNUSED)
{
    return remove(path);
}

static inline void world_make(void)
{
    snprintf(world_directory, sizeof(world_directory), "/tmp/posthouse-test-XXXXXX");
    assert_non_null(mkdtemp(world_directory));
}

static inline void world_remove(void)
{
    nftw(world_directory, world_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static inline void world_forget(const struct account_tx *tx)
{
    for (size_t i = 0; i < countof(world_transactions); i++)
        if (tx == world_transactions[i])
            world_transactions[i] = NULL;
}

static inline void world_abandon(void)
{
    for (size_t i = 0; i < countof(world_transactions); i++)
        account_rollback(&world_transactions[i]);
}

static inline void world_open(void)
{
    struct error e;
    assert_int_equal(accounts_init(world_directory, 8 << 20, &e), 0);
    assert_int_equal(account_open(WORLD_ID, &world, &e), 0);
}

static inline void world_close(void)
{
    world_abandon();
    account_close(&world);
    accounts_shutdown();
    arena_free(&world_arena);
}

/* For each test: a fresh account. */
static inline int world_setup(void **state UNUSED)
{
    world_make();
    world_open();
    return 0;
}

static inline int world_teardown(void **state UNUSED)
{
    world_close();
    world_remove();
    return 0;
}

static inline struct account_tx *world_begin(enum account_access access)
{
    struct account_tx *tx = NULL;
    struct error e;
    if (account_begin(world, access, &tx, &e) < 0)
        fail_msg("begin: %s %s", e.text, e.cause);
    world_transactions[access == ACCOUNT_WRITE] = tx;
    return tx;
}

static inline void world_rollback(struct account_tx *tx)
{
    world_forget(tx);
    account_rollback(&tx);
}

static inline void world_commit(struct account_tx *tx)
{
    struct error e;
    world_forget(tx);
    if (account_commit(&tx, &e) < 0)
        fail_msg("commit: %s %s", e.text, e.cause);
}

static inline struct mailbox world_mailbox(struct account_tx *tx, const char *name)
{
    struct mailbox m;
    struct error e;
    if (mailbox_find(tx, str_from(name), &world_arena, &m, &e) < 0)
        fail_msg("%s: %s %s", name, e.text, e.cause);
    return m;
}

static inline struct mailbox world_create(struct account_tx *tx, const char *name)
{
    struct mailbox m;
    struct error e;
    if (mailbox_create(tx, str_from(name), USE_NONE, &world_arena, &m, &e) < 0)
        fail_msg("%s: %s %s", name, e.text, e.cause);
    return m;
}

/* The class of the error that a verb met; fails when it succeeded. */
#define world_error(call)                    \
    ({                                       \
        struct error e_ = {0};               \
        struct error *e UNUSED = &e_;        \
        if ((call) == 0)                     \
            fail_msg("%s succeeded", #call); \
        e_.class;                            \
    })
#define world_ok(call)                                       \
    do {                                                     \
        struct error e_ = {0};                               \
        struct error *e = &e_;                               \
        if ((call) != 0)                                     \
            fail_msg("%s: %s %s", #call, e->text, e->cause); \
    } while (0)

static inline uint32_t world_append_full(struct account_tx *tx, uint64_t mailbox, struct str text,
                                         uint8_t flags, const struct str *keywords,
                                         size_t keyword_count, uint64_t *email)
{
    struct buf summary = BUF_INIT(BUF_UNBOUNDED);
    struct message_prepared *p = NULL;
    uint32_t uid = 0;
    summary_build(text, &summary_limits_default, &summary);
    struct message_new new = {.data = text,
                              .summary = buf_str(&summary),
                              .received = 1000000000,
                              .flags = flags,
                              .keywords = keywords,
                              .keyword_count = keyword_count};
    world_ok(message_prepare(&new, &p, e));
    world_ok(message_append(tx, mailbox, p, &uid, email, e));
    message_prepared_free(&p);
    buf_free(&summary);
    return uid;
}

static inline uint32_t world_append(struct account_tx *tx, uint64_t mailbox, struct str text,
                                    uint8_t flags)
{
    uint64_t email;
    return world_append_full(tx, mailbox, text, flags, NULL, 0, &email);
}

static inline struct message world_message(struct account_tx *tx, uint64_t mailbox, uint32_t uid)
{
    struct message m;
    world_ok(message_find(tx, mailbox, uid, COLUMN_EMAIL, &world_arena, &m, e));
    return m;
}

/* "1-3,7" */
static inline struct str world_runs(struct uid_run *runs, size_t count)
{
    struct buf text = BUF_INIT(BUF_UNBOUNDED);
    for (size_t i = 0; i < count; i++) {
        buf_printf(&text, "%s%u", i ? "," : "", runs[i].first);
        if (runs[i].count > 1)
            buf_printf(&text, "-%u", runs[i].first + runs[i].count - 1);
    }
    mem_free(runs);
    struct str result = arena_copy(&world_arena, buf_str(&text));
    buf_free(&text);
    return result;
}

static inline struct str world_uids(struct account_tx *tx, uint64_t mailbox)
{
    struct uid_run *runs = NULL;
    size_t count = 0;
    world_ok(mailbox_uids(tx, mailbox, &runs, &count, e));
    return world_runs(runs, count);
}

static inline struct str world_expunged(struct account_tx *tx, uint64_t mailbox, uint64_t after)
{
    struct uid_run *runs = NULL;
    size_t count = 0;
    world_ok(mailbox_expunged(tx, mailbox, after, &runs, &count, e));
    return world_runs(runs, count);
}

static inline struct str world_read(struct account_tx *tx, uint64_t email, uint64_t offset,
                                    uint64_t len)
{
    struct buf out = BUF_INIT(BUF_UNBOUNDED);
    world_ok(message_read(tx, email, offset, len, &out, e));
    struct str result = arena_copy(&world_arena, buf_str(&out));
    buf_free(&out);
    return result;
}

/* Findings of account_verify; empty when all is well. */
static inline struct str world_verify(void)
{
    struct buf findings = BUF_INIT(BUF_UNBOUNDED);
    struct error e = {0};
    int result = account_verify(WORLD_ID, &findings, &e);
    if (result < 0 || (result == 0) != (findings.len == 0))
        fail_msg("verify: %d %s %s", result, e.text, e.cause);
    struct str text = arena_copy(&world_arena, buf_str(&findings));
    buf_free(&findings);
    return text;
}

/* What a stranger does to the file by hand. */
static inline void world_damage(const char *sql)
{
    char path[512], *message = NULL;
    sqlite3 *db;
    account_path(WORLD_ID, ".db", false, path);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    sqlite3_busy_timeout(db, 5000);
    if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK)
        fail_msg("%s: %s", sql, message);
    if (sqlite3_total_changes(db) == 0)
        fail_msg("%s changed nothing", sql);
    sqlite3_close(db);
}

#endif
