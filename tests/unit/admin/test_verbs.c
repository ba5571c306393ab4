/* test_verbs.c - the answers of the verbs about mail, and their text for people. */
#include "admin/verbs.h"
#include "delivery/post.h"
#include "store/trace.h"

static int setup(void **state UNUSED)
{
    struct error e;
    post_directory_make();
    post_open(PROCESS_MX);
    post_domain();
    post_account("alice@example.test", 0);
    assert_int_equal(trace_start(post_directory, 1000000, &e), 0);
    assert_int_equal(queue_start(post_directory, &e), 0);
    struct post_message m = post_message("verbs", 100);
    const char *to[] = {"nobody@example.test", "x\xc3\xa9y@elsewhere.test"};
    assert_int_equal(post_accept(&m, "0VERB", to, 2, &e), 0);
    post_message_free(&m);
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

static json_t *ask(const char *verb, json_t *arguments, struct error *e)
{
    json_t *answer = json_object();
    int result = -1;
    for (size_t i = 0; i < mail_verb_count; i++)
        if (strcmp(mail_verbs[i].name, verb) == 0)
            result = mail_verbs[i].run(arguments, answer, e);
    json_decref(arguments);
    if (result == 0)
        return answer;
    json_decref(answer);
    return NULL;
}

/* What a print function writes must have this in it. */
#define assert_prints(call, words)                                                                 \
    do {                                                                                           \
        char *text_ = NULL;                                                                        \
        size_t size_ = 0;                                                                          \
        FILE *out = open_memstream(&text_, &size_);                                                \
        call;                                                                                      \
        fclose(out);                                                                               \
        if (!strstr(text_, words))                                                                 \
            fail_msg("\"%s\" is not in:\n%s", words, text_);                                       \
        free(text_);                                                                               \
    } while (0)

static void queue_verbs(void **state UNUSED)
{
    struct error e = {0};
    json_t *answer = ask("queue-list", json_object(), &e);
    assert_non_null(answer);
    assert_int_equal(json_array_size(json_object_get(answer, "entries")), 2);
    assert_prints(queue_print(answer, true, out), "to nobody@example.test: held");
    assert_prints(queue_print(answer, true, out), "0VERB  from <a@b.test>");
    json_decref(answer);
    answer = ask("queue-list", json_pack("{s:i}", "limit", 1), &e);
    assert_true(json_member_number(answer, "next") > 0);
    json_decref(answer);
    assert_null(ask("queue-retry", json_object(), &e));
    assert_int_equal(e.class, ERROR_INVALID);
    answer = ask("queue-remove", json_pack("{s:s}", "id", "0VERB"), &e);
    assert_non_null(answer);
    json_decref(answer);
    assert_null(ask("queue-remove", json_pack("{s:s}", "id", "0VERB"), &e));
    assert_int_equal(e.class, ERROR_NOT_FOUND);
    answer = ask("queue-list", json_object(), &e);
    assert_prints(queue_print(answer, true, out), "empty");
    json_decref(answer);
}

static void trace_verb(void **state UNUSED)
{
    struct error e = {0};
    struct trace_event bad = {.queue_id = STR("0BAD"), .event = STR("accept"), .sender = STR("\xff\x01@x.test"),
                              .message_id = STR("id@x.test"), .reply = STR("250 2.0.0 ok")};
    trace_send(&bad);
    json_t *answer = ask("trace", json_pack("{s:s}", "key", "id@x.test"), &e);
    assert_non_null(answer);
    assert_prints(trace_print(answer, out), "0BAD  <id@x.test>");
    assert_prints(trace_print(answer, out), "accepted from <??@x.test>");
    json_decref(answer);
    answer = ask("trace", json_pack("{s:s}", "key", "nobody@example.test"), &e);
    assert_prints(trace_print(answer, out), "put into the queue to <nobody@example.test>");
    json_decref(answer);
    assert_null(ask("trace", json_object(), &e));
}

static void status_verb(void **state UNUSED)
{
    struct error e = {0};
    json_t *answer = ask("status", json_object(), &e);
    assert_non_null(answer);
    assert_true(json_is_array(json_object_get(answer, "processes")));
    assert_non_null(json_object_get(json_object_get(answer, "queue"), "recipients"));
    assert_prints(status_print(answer, out), "queue: ");
    json_decref(answer);
    answer = json_pack("{s:s, s:{}, s:[{s:s, s:i, s:s, s:i, s:s, s:i}]}", "version", "1", "queue", "processes", "name",
                       "box", "pid", 77, "last-death", "signal 9", "uptime", 5, "sandbox", "seccomp=on", "sessions", 3);
    assert_prints(status_print(answer, out), "last death: signal 9");
    assert_prints(status_print(answer, out), "sessions 3");
    assert_prints(status_print(answer, out), "seccomp=on");
    json_decref(answer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(queue_verbs),
        cmocka_unit_test(trace_verb),
        cmocka_unit_test(status_verb),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
