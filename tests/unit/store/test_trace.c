/* test_trace.c - events are found by each of their keys, in order, and go when they are old. */
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "run/ipc.h"
#include "store/trace.h"
#include "unit.h"

static char directory[64];

static int setup(void **state UNUSED)
{
    struct error e;
    snprintf(directory, sizeof(directory), "/tmp/posthouse-trace-XXXXXX");
    assert_non_null(mkdtemp(directory));
    assert_int_equal(trace_start(directory, 3600 * 1000, &e), 0);
    trace_serve();
    return 0;
}

static void files_remove(void)
{
    static const char *const names[] = {"trace.db", "trace.db-wal", "trace.db-shm"};
    for (size_t i = 0; i < countof(names); i++) {
        char path[128];
        snprintf(path, sizeof(path), "%s/%s", directory, names[i]);
        unlink(path);
    }
    rmdir(directory);
}

static int teardown(void **state UNUSED)
{
    trace_stop();
    files_remove();
    return 0;
}

static size_t found(const char *key, size_t limit, struct arena *arena, struct trace_event **events)
{
    struct error e;
    size_t count;
    assert_int_equal(trace_find(str_from(key), limit, arena, events, &count, &e), 0);
    return count;
}

static void send(const char *queue_id, const char *event, const char *sender, const char *recipient,
                 const char *message_id, int64_t time)
{
    struct trace_event t = {.time_ms = time,
                            .queue_id = str_from(queue_id),
                            .event = str_from(event),
                            .sender = str_from(sender),
                            .recipient = str_from(recipient),
                            .message_id = str_from(message_id),
                            .peer = STR("192.0.2.1"),
                            .reply = STR("250 ok"),
                            .detail = STR("size=1")};
    trace_send(&t);
}

static void found_by_each_key(void **state UNUSED)
{
    struct arena arena = ARENA_INIT;
    struct trace_event *events;
    int64_t now = clock_real_milliseconds();
    send("0ABC", "deliver", "", "alice@example.test", "", now + 5);
    send("0ABC", "accept", "Stranger@elsewhere.test", "alice@example.test", "id-1@elsewhere.test",
         now);
    send("0ABD", "accept", "other@elsewhere.test", "alice@example.test", "id-2@elsewhere.test",
         now + 1);
    static const char *const keys[] = {"0ABC", "0abc", "stranger@ELSEWHERE.test",
                                       "<id-1@elsewhere.test>", "ID-1@elsewhere.test"};
    for (size_t i = 0; i < countof(keys); i++) {
        if (found(keys[i], 100, &arena, &events) != 2)
            fail_msg("key %s", keys[i]);
        assert_str_literal(events[0].event, "accept");
        assert_str_literal(events[1].event, "deliver");
    }
    assert_str_literal(events[0].peer, "192.0.2.1");
    assert_str_literal(events[0].sender, "Stranger@elsewhere.test");
    assert_str_literal(events[0].reply, "250 ok");
    assert_str_literal(events[0].detail, "size=1");
    assert_int_equal(found("alice@example.test", 100, &arena, &events), 3);
    assert_int_equal(found("alice@example.test", 1, &arena, &events), 1);
    assert_str_literal(events[0].queue_id, "0ABD"); /* the newest */
    assert_int_equal(found("nobody@example.test", 100, &arena, &events), 0);
    assert_int_equal(found("", 100, &arena, &events), 0);
    arena_free(&arena);
}

/* A refused recipient has no queue id; each of its events stands for itself. */
static void refusals_without_queue_id(void **state UNUSED)
{
    struct arena arena = ARENA_INIT;
    struct trace_event *events;
    send("", "refuse", "spam@elsewhere.test", "no1@example.test", "", 0);
    send("", "refuse", "spam@elsewhere.test", "no2@example.test", "", 0);
    assert_int_equal(found("no1@example.test", 100, &arena, &events), 1);
    assert_int_equal(found("spam@elsewhere.test", 100, &arena, &events), 2);
    arena_free(&arena);
}

static void other_processes_send(void **state UNUSED)
{
    struct arena arena = ARENA_INIT;
    struct trace_event *events;
    struct ipc_out message = {0};
    ipc_loopback(PROCESS_CORE, PROCESS_MX);
    ipc_put_i64(&message, 12345);
    const char *fields[] = {"0FAR",       "accept",     "p",   "s@far.test",
                            "r@far.test", "m@far.test", "250", "d"};
    for (size_t i = 0; i < countof(fields); i++)
        ipc_put_str(&message, str_from(fields[i]));
    ipc_tell(PROCESS_CORE, 0, IPC_TRACE, &message);
    assert_int_equal(found("m@far.test", 100, &arena, &events), 1);
    assert_int_equal(events[0].time_ms, 12345);
    assert_str_literal(events[0].detail, "d");
    arena_free(&arena);
}

static void old_ones_go_and_the_rest_survives_a_restart(void **state UNUSED)
{
    struct arena arena = ARENA_INIT;
    struct trace_event *events;
    struct error e;
    send("0OLD", "accept", "old@example.test", "", "", clock_real_milliseconds() - 7200 * 1000);
    send("0NEW", "accept", "new@example.test", "", "", 0);
    trace_stop();
    send("0LOST", "accept", "lost@example.test", "", "", 0);
    assert_int_equal(trace_start(directory, 3600 * 1000, &e), 0);
    for (int i = 0; i < 100 && found("0OLD", 10, &arena, &events); i++)
        usleep(50 * 1000);
    assert_int_equal(found("0OLD", 10, &arena, &events), 0);
    assert_int_equal(found("old@example.test", 10, &arena, &events), 0);
    assert_int_equal(found("new@example.test", 10, &arena, &events), 1);
    assert_int_equal(found("lost@example.test", 10, &arena, &events), 0);
    arena_free(&arena);
}

static void too_many_are_dropped_not_kept_in_memory(void **state UNUSED)
{
    struct arena arena = ARENA_INIT;
    struct trace_event *events;
    static char big[2000];
    memset(big, 'x', sizeof(big) - 1);
    for (int i = 0; i < 30000; i++)
        send("0BIG", big, big, big, big, 0);
    size_t count = found("0BIG", 100000, &arena, &events);
    assert_true(count > 1000 && count <= 30000);
    assert_true(events[0].sender.len < 1000);
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(old_ones_go_and_the_rest_survives_a_restart),
        cmocka_unit_test(found_by_each_key),
        cmocka_unit_test(refusals_without_queue_id),
        cmocka_unit_test(other_processes_send),
        cmocka_unit_test(too_many_are_dropped_not_kept_in_memory),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
