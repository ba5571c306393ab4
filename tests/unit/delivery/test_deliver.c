/* test_deliver.c - one message into one account: once, within the quota, into the right mailbox. */
#include <pthread.h>

#include "delivery/changes.h"
#include "delivery/post.h"

static uint64_t alice;

static int setup(void **state UNUSED)
{
    struct error e;
    post_directory_make();
    post_open(PROCESS_COMMAND);
    usage_serve();
    account_control_serve();
    assert_int_equal(usage_start(&e), 0);
    post_domain();
    alice = post_account("alice@example.test", 0);
    return 0;
}

static int teardown(void **state UNUSED)
{
    usage_stop();
    post_close();
    post_directory_remove();
    return 0;
}

static void a_repeat_does_nothing(void **state UNUSED)
{
    struct post_message m = post_message("repeat", 100);
    struct error e;
    uint64_t before = post_count(alice, "INBOX");
    assert_int_equal(post_deliver(&m, alice, 0, "Q1", "", &e), 0);
    assert_int_equal(post_deliver(&m, alice, 0, "Q1", "", &e), 0);
    assert_int_equal(post_count(alice, "INBOX"), before + 1);
    assert_int_equal(post_deliver(&m, alice, 0, "Q1", "other", &e), 0); /* another target */
    assert_int_equal(post_deliver(&m, alice, 0, "Q2", "", &e), 0);
    assert_int_equal(post_count(alice, "INBOX"), before + 3);
    post_message_free(&m);
}

static void quota_may_be_exceeded_by_one(void **state UNUSED)
{
    struct post_message m = post_message("quota", 3000);
    struct error e = {0};
    uint64_t carol = post_account("carol@example.test", 5000);
    assert_int_equal(post_deliver(&m, carol, 5000, "K1", "", &e), 0);
    assert_int_equal(post_deliver(&m, carol, 5000, "K2", "", &e), 0);
    assert_int_equal(post_deliver(&m, carol, 5000, "K3", "", &e), -1);
    assert_int_equal(e.class, ERROR_QUOTA);
    assert_int_equal(post_deliver(&m, carol, 5000, "K2", "", &e), 0); /* what was done stays done */
    assert_int_equal(post_deliver(&m, carol, 0, "K3", "", &e), 0);    /* the refusal left no note */
    assert_int_equal(post_count(carol, "INBOX"), 3);
    post_message_free(&m);
}

static void mailbox_make(uint64_t id, const char *name)
{
    struct error e;
    struct account *account = NULL;
    struct account_tx *tx = NULL;
    struct arena arena = ARENA_INIT;
    struct mailbox mailbox;
    assert_int_equal(account_open(id, &account, &e), 0);
    assert_int_equal(account_begin(account, ACCOUNT_WRITE, &tx, &e), 0);
    assert_int_equal(mailbox_create(tx, str_from(name), USE_NONE, &arena, &mailbox, &e), 0);
    assert_int_equal(account_commit(&tx, &e), 0);
    account_close(&account);
    arena_free(&arena);
}

static void detail_names_a_mailbox(void **state UNUSED)
{
    struct post_message m = post_message("detail", 100);
    struct error e;
    uint64_t inbox = post_count(alice, "INBOX");
    mailbox_make(alice, "Lists");
    assert_int_equal(post_deliver(&m, alice, 0, "D1", "lISTS", &e), 0);
    assert_int_equal(post_count(alice, "Lists"), 1);
    assert_int_equal(post_deliver(&m, alice, 0, "D2", "nothing", &e), 0);
    assert_int_equal(post_deliver(&m, alice, 0, "D3", "Sent", &e), 0); /* not for strangers */
    assert_int_equal(post_count(alice, "INBOX"), inbox + 2);
    assert_int_equal(post_count(alice, "Sent"), 0);
    post_settings("[store]\ndetail-to-mailbox = no");
    assert_int_equal(post_deliver(&m, alice, 0, "D4", "lists", &e), 0);
    assert_int_equal(post_count(alice, "INBOX"), inbox + 3);
    post_settings("");
    post_message_free(&m);
}

static void what_does_not_fit_is_refused(void **state UNUSED)
{
    struct post_message m = post_message("fit", 100), other = post_message("another", 200);
    struct error e = {0};
    uint64_t before = post_count(alice, "INBOX");
    struct delivery good = {.account = alice,
                            .queue_id = STR("F1"),
                            .recipient = STR("r"),
                            .message_fd = m.fd,
                            .message_size = m.text.len,
                            .summary = buf_str(&m.summary)};
    struct delivery bad = good;
    bad.summary = buf_str(&other.summary);
    assert_int_equal(deliver(&bad, &e), -1);
    bad = good;
    bad.summary = STR("garbage");
    assert_int_equal(deliver(&bad, &e), -1);
    bad = good;
    bad.message_size++;
    assert_int_equal(deliver(&bad, &e), -1);
    bad = good;
    bad.account = 0;
    assert_int_equal(deliver(&bad, &e), -1);
    bad = good;
    bad.message_fd = memfd_make("unsealed");
    assert_int_equal(fd_write_all(bad.message_fd, m.text.data, m.text.len), 0);
    assert_int_equal(deliver(&bad, &e), -1);
    fd_close(&bad.message_fd);
    assert_int_equal(post_count(alice, "INBOX"), before);
    assert_int_equal(deliver(&good, &e), 0);
    post_message_free(&m);
    post_message_free(&other);
}

enum { THREADS = 8, EACH = 20 };

static void *many(void *number)
{
    struct post_message m = post_message("many", 500);
    struct error e;
    for (int i = 0; i < EACH; i++) {
        char id[32];
        snprintf(id, sizeof(id), "T%d-%d", (int)(intptr_t)number % 4, i); /* each twice */
        if (post_deliver(&m, alice, 0, id, "", &e) < 0)
            abort();
    }
    post_message_free(&m);
    return NULL;
}

static void concurrent_repeats(void **state UNUSED)
{
    pthread_t threads[THREADS];
    uint64_t before = post_count(alice, "INBOX");
    for (intptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, many, (void *)i), 0);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(post_count(alice, "INBOX"), before + 4 * EACH);
}

static void core_learns_the_usage(void **state UNUSED)
{
    struct post_message m = post_message("usage", 2000);
    struct error e;
    struct arena arena = ARENA_INIT;
    struct account_entry entry;
    uint64_t dave = post_account("dave@example.test", 0);
    assert_int_equal(post_deliver(&m, dave, 0, "U1", "", &e), 0);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(directory_account_get(dave, &arena, &entry, &e), 0);
        if (entry.messages)
            break;
        usleep(100 * 1000);
    }
    assert_int_equal(entry.messages, 1);
    assert_int_equal(entry.usage, m.text.len);
    arena_free(&arena);
    post_message_free(&m);
}

/* Removing an account from the directory removes its files, also when the server was down meanwhile. */
static void files_of_removed_accounts_go(void **state UNUSED)
{
    struct post_message m = post_message("removed", 100);
    struct error e;
    uint64_t id, one = post_account("one@example.test", 0),
                 two = post_account("two@example.test", 0);
    assert_int_equal(post_deliver(&m, one, 0, "R1", "", &e), 0);
    assert_int_equal(post_deliver(&m, two, 0, "R2", "", &e), 0);
    changes_note_only();
    assert_int_equal(directory_account_remove(STR("one@example.test"), &id, &e), 0);
    assert_true(account_exists(one));
    assert_int_equal(changes_start(&e), 0);
    assert_int_equal(directory_account_remove(STR("two@example.test"), &id, &e), 0);
    for (int i = 0; i < 100 && (account_exists(one) || account_exists(two)); i++)
        usleep(50 * 1000);
    assert_false(account_exists(one));
    assert_false(account_exists(two));
    struct arena arena = ARENA_INIT;
    struct str left = STR("x");
    for (int i = 0; i < 100 && left.len; i++) {
        if (directory_value_get(STR("removed-accounts"), &arena, &left, &e) < 0)
            left = STR("");
        usleep(20 * 1000);
    }
    assert_int_equal(left.len, 0);
    changes_stop();
    arena_free(&arena);
    post_message_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_repeat_does_nothing),
        cmocka_unit_test(quota_may_be_exceeded_by_one),
        cmocka_unit_test(detail_names_a_mailbox),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(concurrent_repeats),
        cmocka_unit_test(core_learns_the_usage),
        cmocka_unit_test(files_of_removed_accounts_go),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
