/* The timing wheel: nothing early, nothing late, nothing lost. */
#include "unit.h"

#include "run/wheel.h"

enum { COUNT = 2000 };

struct timer {
    struct wheel_node node;
    int64_t due;
    bool there;
};

static uint64_t seed = 1;
static int64_t below(int64_t limit)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (int64_t)((seed >> 20) % (uint64_t)limit);
}

/* Random deadlines up to spread ms away, a clock that jumps by up to step ms. */
static void wheel_simulate(int64_t spread, int64_t step, int64_t slack)
{
    struct wheel *w = mem_alloc(sizeof(*w));
    struct timer *timers = mem_alloc_array(COUNT, sizeof(*timers));
    int64_t now = 123456789;
    size_t left = COUNT, given = 0;
    for (size_t i = 0; i < COUNT; i++) {
        timers[i].due = now + below(spread);
        timers[i].there = true;
        wheel_add(w, &timers[i].node, now, timers[i].due);
    }
    for (size_t i = 0; i < COUNT; i += 7) { /* some are taken back */
        wheel_remove(w, &timers[i].node);
        timers[i].there = false;
        left--;
    }
    while (left) {
        int64_t next = wheel_next(w);
        assert_true(next > 0);
        int64_t before = now, jump = now + below(step);
        now = MAX(jump, next);
        struct wheel_node *following, *node = wheel_advance(w, now);
        assert_non_null(node);
        for (; node; node = following) {
            following = node->next;
            given++;
            struct timer *t = CONTAINER_OF(node, struct timer, node);
            assert_true(t->there);
            if (t->due > now) {
                wheel_add(w, node, now, t->due);
                continue;
            }
            assert_true(t->due + slack + WHEEL_TICK >= before);
            t->there = false;
            left--;
        }
        for (size_t i = 0; i < COUNT; i += 97)
            assert_false(timers[i].there && timers[i].due + WHEEL_TICK < now);
    }
    assert_int_equal(w->count, 0);
    assert_int_equal(wheel_next(w), 0);
    assert_true(given <= COUNT * WHEEL_LEVELS);
    mem_free(timers);
    mem_free(w);
}

static void test_spreads(void **state UNUSED)
{
    for (int64_t spread = 10; spread < INT64_C(1) << 44; spread *= 7)
        wheel_simulate(spread, MAX(spread / 50, 20), 8);
}

static void test_past_and_far(void **state UNUSED)
{
    struct wheel *w = mem_alloc(sizeof(*w));
    struct timer past = {0}, far = {0};
    int64_t now = 1000000;
    assert_in_range(wheel_add(w, &past.node, now, now - 5000), now, now + 2 * WHEEL_TICK);
    wheel_add(w, &far.node, now, INT64_C(1) << 55);
    assert_ptr_equal(wheel_advance(w, now + 20), &past.node);
    assert_null(wheel_advance(w, now + 100000));
    wheel_remove(w, &far.node);
    assert_int_equal(wheel_next(w), 0);
    mem_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spreads),
        cmocka_unit_test(test_past_and_far),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
