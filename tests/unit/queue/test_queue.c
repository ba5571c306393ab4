/* test_queue.c - what the queue takes, how it delivers, tries again, and holds. */
#include <pthread.h>

#include "delivery/post.h"
#include "store/trace.h"

static uint64_t alice, bob;

/* What box answers to the next deliveries; 0: it works. */
static _Atomic enum error_class box_fails;
static _Atomic unsigned box_asked;

static int box_answer(struct ipc_in *request UNUSED, struct ipc_out *reply UNUSED, struct error *e)
{
    box_asked++;
    return error_set(e, box_fails, "not now");
}

static void box_set(enum error_class fails)
{
    static const struct ipc_service rows[] = {{IPC_DELIVER, 1 << PROCESS_MX, box_answer}};
    box_fails = fails;
    if (fails)
        ipc_serve(rows, 1);
    else
        deliver_serve();
}

static int setup(void **state UNUSED)
{
    struct error e;
    post_directory_make();
    post_open(PROCESS_MX);
    post_domain();
    alice = post_account("alice@example.test", 0);
    bob = post_account("bob@example.test", 0);
    struct str both[] = {STR("alice@example.test"), STR("bob@example.test")};
    assert_int_equal(directory_alias_add(STR("both@example.test"), both, 2, &e), 0);
    struct str away[] = {STR("bob@example.test"), STR("x@elsewhere.test")};
    assert_int_equal(directory_alias_add(STR("away@example.test"), away, 2, &e), 0);
    assert_int_equal(trace_start(post_directory, 1000000, &e), 0);
    if (queue_start(post_directory, &e) < 0)
        fail_msg("%s %s", e.text, e.cause);
    return 0;
}

static int teardown(void **state UNUSED)
{
    queue_stop();
    trace_stop();
    post_close();
    post_directory_remove();
    return 0;
}

static uint64_t recipients_left(void)
{
    struct error e;
    uint64_t messages, recipients, bytes;
    assert_int_equal(queue_counts(&messages, &recipients, &bytes, &e), 0);
    return recipients;
}

static void wait_left(uint64_t want)
{
    for (int i = 0; i < 500 && recipients_left() != want; i++)
        usleep(10 * 1000);
    assert_int_equal(recipients_left(), want);
}

static struct queue_entry entry_of(struct arena *arena, const char *id, size_t at)
{
    struct error e;
    struct queue_entry *list;
    size_t count;
    assert_int_equal(queue_list(str_from(id), 0, 100, arena, &list, &count, &e), 0);
    assert_true(at < count);
    return list[at];
}

static void accept_ok(const struct post_message *m, const char *id, const char *const *to,
                      size_t count)
{
    struct error e;
    if (post_accept(m, id, to, count, &e) < 0)
        fail_msg("%s %s", e.text, e.cause);
}

static void expands_and_delivers_once(void **state UNUSED)
{
    struct post_message m = post_message("expand", 300 * 1000);
    const char *to[] = {"both@example.test", "alice@example.test", "ALICE@example.test",
                        "bob@example.test"};
    accept_ok(&m, "EXPAND", to, 4);
    wait_left(0);
    assert_int_equal(post_count(alice, "INBOX"), 1);
    assert_int_equal(post_count(bob, "INBOX"), 1);
    accept_ok(&m, "EXPAND", to, 4); /* again, after it is finished: box knows */
    wait_left(0);
    assert_int_equal(post_count(alice, "INBOX"), 1);
    post_message_free(&m);
}

static void bytes_arrive_as_they_were(void **state UNUSED)
{
    struct post_message m = post_message("bytes", 700 * 1000);
    const char *to[] = {"bob@example.test"};
    accept_ok(&m, "BYTES", to, 1);
    wait_left(0);
    struct error e;
    struct account *account = NULL;
    struct account_tx *tx = NULL;
    struct message_cursor c;
    struct message row;
    struct buf text = BUF_INIT(BUF_UNBOUNDED);
    uint64_t last = 0;
    assert_int_equal(account_open(bob, &account, &e), 0);
    assert_int_equal(account_begin(account, ACCOUNT_READ, &tx, &e), 0);
    message_cursor_open(&c, tx, 1, 1, UINT32_MAX, 0, COLUMN_EMAIL);
    while (message_cursor_next(&c, &row, &e) == 1)
        last = row.email;
    message_cursor_close(&c);
    assert_int_equal(message_read(tx, last, 0, m.text.len, &text, &e), 0);
    assert_int_equal(text.len, m.text.len);
    assert_memory_equal(text.data, m.text.data, m.text.len);
    account_rollback(&tx);
    account_close(&account);
    buf_free(&text);
    post_message_free(&m);
}

static void others_wait_remote(void **state UNUSED)
{
    struct post_message m = post_message("remote", 100);
    struct arena arena = ARENA_INIT;
    struct error e;
    const char *to[] = {"away@example.test"};
    accept_ok(&m, "REMOTE", to, 1);
    wait_left(1);
    struct queue_entry entry = entry_of(&arena, "REMOTE", 0);
    assert_str_literal(entry.state, "remote");
    assert_str_literal(entry.target, "x@elsewhere.test");
    assert_str_literal(entry.recipient, "away@example.test");
    assert_int_equal(queue_remove(STR("REMOTE"), &e), 0);
    assert_int_equal(queue_remove(STR("REMOTE"), &e), -1);
    assert_int_equal(e.class, ERROR_NOT_FOUND);
    wait_left(0);
    arena_free(&arena);
    post_message_free(&m);
}

/* Somebody who may not relay cannot reach others, and nobody's mail is lost: it is held. */
static void strangers_are_not_relayed(void **state UNUSED)
{
    struct post_message m = post_message("relay", 100);
    struct arena arena = ARENA_INIT;
    struct error e;
    const char *to[] = {"y@elsewhere.test", "nobody@example.test"};
    accept_ok(&m, "RELAY", to, 2);
    for (size_t i = 0; i < 2; i++)
        assert_str_literal(entry_of(&arena, "RELAY", i).state, "held");
    assert_int_equal(queue_remove(STR("RELAY"), &e), 0);
    arena_free(&arena);
    post_message_free(&m);
}

static void failures_are_tried_again(void **state UNUSED)
{
    struct post_message m = post_message("retry", 100);
    struct arena arena = ARENA_INIT;
    const char *to[] = {"alice@example.test"};
    uint64_t before = post_count(alice, "INBOX");
    box_set(ERROR_TEMPORARY);
    box_asked = 0;
    int64_t start = clock_monotonic_ms();
    accept_ok(&m, "RETRY", to, 1);
    while (box_asked < 1)
        usleep(1000);
    assert_true(clock_monotonic_ms() - start < 500); /* the first attempt is at once */
    for (int i = 0; i < 100 && entry_of(&arena, "RETRY", 0).attempts == 0; i++)
        usleep(10 * 1000);
    struct queue_entry entry = entry_of(&arena, "RETRY", 0);
    assert_int_equal(entry.attempts, 1);
    assert_str_literal(entry.state, "waiting");
    assert_str_literal(entry.reason, "not now");
    box_set(ERROR_NONE);
    wait_left(0); /* after a second */
    assert_true(clock_monotonic_ms() - start >= 900);
    assert_int_equal(post_count(alice, "INBOX"), before + 1);
    arena_free(&arena);
    post_message_free(&m);
}

static void retry_now(void **state UNUSED)
{
    struct post_message m = post_message("retry", 100);
    struct arena arena = ARENA_INIT;
    struct error e;
    const char *to[] = {"alice@example.test"};
    uint64_t count;
    box_set(ERROR_QUOTA);
    accept_ok(&m, "NOW", to, 1);
    for (int i = 0; i < 500 && entry_of(&arena, "NOW", 0).attempts < 2; i++)
        usleep(10 * 1000);
    box_set(ERROR_NONE); /* the next attempt would be in 5 s */
    int64_t start = clock_monotonic_ms();
    assert_int_equal(queue_retry(STR("NOW"), &count, &e), 0);
    assert_int_equal(count, 1);
    wait_left(0);
    assert_true(clock_monotonic_ms() - start < 2000);
    arena_free(&arena);
    post_message_free(&m);
}

static void too_old_is_held(void **state UNUSED)
{
    struct post_message m = post_message("old", 100);
    struct arena arena = ARENA_INIT;
    struct error e;
    struct queue_recipient r = {.address = STR("alice@example.test")};
    struct queue_message q = {.id = STR("OLD"),
                              .received = clock_real_seconds() - 6 * 86400,
                              .recipients = &r,
                              .recipient_count = 1,
                              .message_fd = m.fd,
                              .message_size = m.text.len,
                              .summary = buf_str(&m.summary)};
    uint64_t count, before = post_count(alice, "INBOX");
    box_set(ERROR_TEMPORARY);
    assert_int_equal(queue_accept(&q, &e), 0);
    for (int i = 0; i < 100 && entry_of(&arena, "OLD", 0).attempts == 0; i++)
        usleep(10 * 1000);
    assert_str_literal(entry_of(&arena, "OLD", 0).state, "held");
    box_set(ERROR_NONE);
    assert_int_equal(queue_retry(STR(""), &count, &e), 0);
    wait_left(0);
    assert_int_equal(post_count(alice, "INBOX"), before + 1);
    arena_free(&arena);
    post_message_free(&m);
}

static void bad_requests_are_refused(void **state UNUSED)
{
    struct post_message m = post_message("bad", 100);
    struct error e = {0};
    struct queue_recipient r = {.address = STR("alice@example.test")};
    struct queue_message good = {.id = STR("BAD"),
                                 .recipients = &r,
                                 .recipient_count = 1,
                                 .message_fd = m.fd,
                                 .message_size = m.text.len,
                                 .summary = buf_str(&m.summary)};
    struct queue_message q = good;
    q.recipient_count = 0;
    assert_int_equal(queue_accept(&q, &e), -1);
    q = good;
    q.message_size++;
    assert_int_equal(queue_accept(&q, &e), -1);
    q = good;
    q.summary = STR("?");
    assert_int_equal(queue_accept(&q, &e), -1);
    q = good;
    q.id = STR("");
    assert_int_equal(queue_accept(&q, &e), -1);
    q = good;
    r.address = STR("@@");
    assert_int_equal(queue_accept(&q, &e), -1);
    assert_int_equal(recipients_left(), 0);
    post_message_free(&m);
}

enum { THREADS = 8, EACH = 25 };

static void *accepting(void *number)
{
    struct post_message m = post_message("many", 2000);
    struct error e;
    const char *to[] = {"both@example.test"};
    for (int i = 0; i < EACH; i++) {
        char id[32];
        snprintf(id, sizeof(id), "MANY-%d-%d", (int)(intptr_t)number, i);
        if (post_accept(&m, id, to, 1, &e) < 0)
            abort();
    }
    post_message_free(&m);
    return NULL;
}

static void many_at_once(void **state UNUSED)
{
    pthread_t threads[THREADS];
    uint64_t before = post_count(alice, "INBOX");
    for (intptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, accepting, (void *)i), 0);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    wait_left(0);
    assert_int_equal(post_count(alice, "INBOX"), before + THREADS * EACH);
}

/* A message with more recipients than are in memory at a time, and another one behind it. */
static void many_recipients(void **state UNUSED)
{
    struct post_message m = post_message("crowd", 500);
    struct error e;
    enum { CROWD = 1200 };
    static struct queue_recipient list[CROWD];
    static char names[CROWD][40];
    for (int i = 0; i < CROWD; i++) {
        snprintf(names[i], sizeof(names[i]), "bob+%d@example.test", i);
        list[i].address = str_from(names[i]);
    }
    uint64_t before = post_count(bob, "INBOX");
    struct queue_message q = {.id = STR("CROWD"),
                              .received = clock_real_seconds(),
                              .recipients = list,
                              .recipient_count = CROWD,
                              .message_fd = m.fd,
                              .message_size = m.text.len,
                              .summary = buf_str(&m.summary)};
    assert_int_equal(queue_accept(&q, &e), 0);
    for (int i = 0; i < 6000 && recipients_left(); i++)
        usleep(10 * 1000);
    assert_int_equal(post_count(bob, "INBOX"), before + CROWD);
    post_message_free(&m);
}

static void lists_in_pages(void **state UNUSED)
{
    struct post_message m = post_message("pages", 100);
    struct arena arena = ARENA_INIT;
    struct error e;
    struct queue_entry *list;
    size_t count;
    const char *to[] = {"y@elsewhere.test", "nobody@example.test", "no@example.test"};
    accept_ok(&m, "PAGE1", to, 3);
    accept_ok(&m, "PAGE2", to, 3);
    assert_int_equal(queue_list(STR(""), 0, 4, &arena, &list, &count, &e), 0);
    assert_int_equal(count, 4);
    assert_str_literal(list[3].id, "PAGE2");
    assert_int_equal(queue_list(STR(""), list[3].number, 4, &arena, &list, &count, &e), 0);
    assert_int_equal(count, 2);
    assert_int_equal(queue_remove(STR("PAGE1"), &e), 0);
    assert_int_equal(queue_remove(STR("PAGE2"), &e), 0);
    arena_free(&arena);
    post_message_free(&m);
}

static void ids_sort_and_differ(void **state UNUSED)
{
    char last[QUEUE_ID_LEN + 1] = "", id[QUEUE_ID_LEN + 1];
    for (int i = 0; i < 2000; i++) {
        queue_id_make(id);
        assert_int_equal(strlen(id), QUEUE_ID_LEN);
        assert_int_not_equal(strcmp(id, last), 0);
        if (memcmp(id, last, 10) < 0) /* the time's characters */
            fail_msg("%s after %s", id, last);
        memcpy(last, id, sizeof(id));
    }
}

static void the_trace_tells(void **state UNUSED)
{
    struct arena arena = ARENA_INIT;
    struct error e;
    struct trace_event *events;
    size_t count;
    assert_int_equal(trace_find(STR("RETRY"), 100, &arena, &events, &count, &e), 0);
    assert_int_equal(count, 3);
    assert_str_literal(events[0].event, "queue");
    assert_str_literal(events[1].event, "defer");
    assert_str_literal(events[1].reply, "not now");
    assert_str_literal(events[2].event, "deliver");
    assert_str_literal(events[2].recipient, "alice@example.test");
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(expands_and_delivers_once),
        cmocka_unit_test(bytes_arrive_as_they_were),
        cmocka_unit_test(others_wait_remote),
        cmocka_unit_test(strangers_are_not_relayed),
        cmocka_unit_test(failures_are_tried_again),
        cmocka_unit_test(retry_now),
        cmocka_unit_test(too_old_is_held),
        cmocka_unit_test(bad_requests_are_refused),
        cmocka_unit_test(many_at_once),
        cmocka_unit_test(many_recipients),
        cmocka_unit_test(lists_in_pages),
        cmocka_unit_test(ids_sort_and_differ),
        cmocka_unit_test(the_trace_tells),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
