/* test_group.c - group commit: the jobs of many threads share a transaction, a job that fails undoes only
 * its own changes. */
#include "world.h"

#include <pthread.h>
#include <stdatomic.h>

#define MESSAGE STR("Subject: s\r\n\r\nbody\r\n")

enum { THREADS = 8, EACH = 40 };

static struct {
    pthread_barrier_t barrier;
    _Atomic unsigned refused, jobs, commits;
    struct message_prepared *message;
    uint64_t inbox;
} group;

struct job {
    unsigned number;
    bool fails, bad_sql;
    uint32_t uid;
};

/* Appends, gives a keyword of its own, makes a mailbox; then perhaps changes its mind. */
static int append_job(struct account_tx *tx, void *context, struct error *e)
{
    struct job *job = context;
    struct arena arena CLEANUP(arena_free) = ARENA_INIT;
    struct mailbox m;
    struct message row;
    uint64_t email;
    bool changed;
    group.jobs++;
    struct str name = arena_printf(&arena, "%s%u", job->fails ? "bad" : "good", job->number);
    if (message_append(tx, group.inbox, group.message, &job->uid, &email, e) < 0 ||
        message_flags(tx, group.inbox, job->uid, FLAGS_ADD, FLAG_SEEN, &name, 1, UINT64_MAX, &row,
                      &changed, e) < 0 ||
        mailbox_create(tx, name, USE_NONE, &arena, &m, e) < 0)
        return -1;
    if (job->bad_sql) { /* a broken statement that the job did not look at */
        db_run(db_query(tx->db, "INSERT INTO mailbox (name) VALUES ('INBOX')"));
        return 0;
    }
    return job->fails ? error_set(e, ERROR_DENIED, "job %u", job->number) : 0;
}

static void *worker(void *argument)
{
    unsigned first = (unsigned)(intptr_t)argument * EACH;
    pthread_barrier_wait(&group.barrier);
    for (unsigned i = first; i < first + EACH; i++) {
        struct job job = {.number = i, .fails = i % 3 == 0, .bad_sql = i % 6 == 0};
        struct error e = {0};
        int result = account_write(world, append_job, &job, &e);
        if ((result < 0) != job.fails)
            abort();
        if (job.fails && !job.bad_sql) { /* each its own error */
            char text[32];
            snprintf(text, sizeof(text), "job %u", i);
            if (e.class != ERROR_DENIED || strcmp(e.text, text) != 0)
                abort();
        }
        group.refused += result < 0;
    }
    return NULL;
}

static void on_commit(struct account_listener *l UNUSED, uint64_t modseq UNUSED)
{
    group.commits++;
}

static void on_end(struct account_listener *l UNUSED)
{
}

static void only_its_own_changes_are_undone(void **state UNUSED)
{
    struct buf summary = BUF_INIT(BUF_UNBOUNDED);
    pthread_t threads[THREADS];
    struct account_listener listener = {.changed = on_commit, .ended = on_end};
    summary_build(MESSAGE, &summary_limits_default, &summary);
    struct message_new new = {.data = MESSAGE, .summary = buf_str(&summary)};
    world_ok(message_prepare(&new, &group.message, e));
    struct account_tx *tx = world_begin(ACCOUNT_WRITE);
    group.inbox = world_mailbox(tx, "INBOX").id;
    account_listen(world, &listener);
    pthread_barrier_init(&group.barrier, NULL, THREADS);
    for (intptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, worker, (void *)i), 0);
    usleep(100 * 1000); /* the turn is taken: a group gathers */
    world_rollback(tx);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&group.barrier);
    account_unlisten(world, &listener);
    assert_int_equal(group.jobs, THREADS * EACH);
    if (group.commits >= THREADS * EACH - group.refused)
        fail_msg("%u commits for %d jobs: nothing was shared", group.commits, THREADS * EACH);

    unsigned kept = THREADS * EACH - group.refused, found = 0;
    struct mailbox *list;
    size_t count;
    tx = world_begin(ACCOUNT_READ);
    struct mailbox inbox = world_mailbox(tx, "INBOX");
    assert_int_equal(inbox.messages, kept);
    assert_int_equal(inbox.unseen, 0);
    assert_int_equal(inbox.uidnext, kept + 1); /* not even their UIDs are used */
    assert_str(world_uids(tx, inbox.id), arena_printf(&world_arena, "1-%u", kept));
    world_ok(mailbox_list(tx, &world_arena, &list, &count, e));
    for (size_t i = 0; i < count; i++) {
        assert_false(str_starts(list[i].name, STR("bad")));
        found += str_starts(list[i].name, STR("good"));
    }
    assert_int_equal(found, kept);
    struct str *keywords;
    world_ok(mailbox_keywords(tx, inbox.id, &world_arena, &keywords, &count, e));
    assert_int_equal(count, kept);
    world_rollback(tx);
    message_prepared_free(&group.message);
    buf_free(&summary);
    assert_str_literal(world_verify(), "");
}

static int failing(struct account_tx *tx, void *context UNUSED, struct error *e)
{
    world_append(tx, world_mailbox(tx, "INBOX").id, MESSAGE, 0);
    return error_set(e, ERROR_QUOTA, "full");
}

static void a_job_alone_is_undone_too(void **state UNUSED)
{
    assert_int_equal(world_error(account_write(world, failing, NULL, e)), ERROR_QUOTA);
    assert_int_equal(world_error(account_write_reserved(world, failing, NULL, e)), ERROR_QUOTA);
    struct account_tx *tx = world_begin(ACCOUNT_READ);
    assert_int_equal(world_mailbox(tx, "INBOX").messages, 0);
    world_rollback(tx);
    assert_str_literal(world_verify(), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(only_its_own_changes_are_undone, world_setup,
                                        world_teardown),
        cmocka_unit_test_setup_teardown(a_job_alone_is_undone_too, world_setup, world_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
