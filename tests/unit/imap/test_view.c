/* test_view.c - UIDs and sequence numbers against the simplest picture there is: an array. */
#include <stdlib.h>

#include "imap/view.h"
#include "unit.h"

enum { MOST = 400 };
static uint32_t model[MOST];
static size_t model_count;

static void compare(const struct view *v)
{
    assert_int_equal(v->total, model_count);
    for (size_t i = 0; i < model_count; i++) {
        assert_int_equal(view_uid(v, (uint32_t)i + 1), model[i]);
        assert_int_equal(view_sequence(v, model[i]), i + 1);
        assert_int_equal(view_count_below(v, model[i]), i);
    }
    assert_int_equal(view_uid(v, 0), 0);
    assert_int_equal(view_uid(v, (uint32_t)model_count + 1), 0);
    assert_int_equal(view_last_uid(v), model_count ? model[model_count - 1] : 0);
}

static void like_an_array(void **state UNUSED)
{
    struct view v = {0};
    uint32_t next = 1;
    srand(7);
    for (int round = 0; round < 2000; round++) {
        if (model_count == 0 || (rand() % 3 && model_count < MOST - 10)) {
            uint32_t count = 1 + (uint32_t)rand() % 5;
            next += (uint32_t)rand() % 3; /* gaps */
            view_add(&v, next, count);
            for (uint32_t i = 0; i < count; i++)
                model[model_count++] = next++;
        } else {
            size_t at = (size_t)rand() % model_count;
            uint32_t uid = model[at];
            view_remove(&v, uid);
            memmove(&model[at], &model[at + 1], (model_count - at - 1) * sizeof(model[0]));
            model_count--;
            assert_int_equal(view_sequence(&v, uid), 0);
        }
        if (round % 50 == 0)
            compare(&v);
    }
    compare(&v);
    while (model_count) {
        view_remove(&v, model[0]);
        memmove(&model[0], &model[1], --model_count * sizeof(model[0]));
    }
    compare(&v);
    view_free(&v);
}

static void from_runs(void **state UNUSED)
{
    struct view v = {0};
    const struct uid_run runs[] = {{3, 2}, {10, 1}};
    view_set(&v, runs, 2);
    assert_int_equal(v.total, 3);
    assert_int_equal(view_uid(&v, 3), 10);
    assert_int_equal(view_sequence(&v, 5), 0);
    view_remove(&v, 999); /* not there: nothing happens */
    assert_int_equal(v.total, 3);
    view_free(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(like_an_array),
                                       cmocka_unit_test(from_runs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
