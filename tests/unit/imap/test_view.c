/* test_view.c - a session's picture of its mailbox, against a plain array of UIDs. */
#include "imap/view.h"
#include "unit.h"

enum { UIDS_MAX = 2000 };

static struct {
    uint32_t uids[UIDS_MAX];
    size_t count;
} model;

static void model_add(uint32_t first, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        model.uids[model.count++] = first + i;
}

static void model_remove(uint32_t uid)
{
    for (size_t i = 0; i < model.count; i++)
        if (model.uids[i] == uid) {
            memmove(&model.uids[i], &model.uids[i + 1], (model.count - i - 1) * sizeof(uint32_t));
            model.count--;
            return;
        }
}

static void same(const struct view *v)
{
    assert_int_equal(v->total, model.count);
    assert_int_equal(view_last_uid(v), model.count ? model.uids[model.count - 1] : 0);
    assert_int_equal(view_uid(v, 0), 0);
    assert_int_equal(view_uid(v, (uint32_t)model.count + 1), 0);
    assert_int_equal(view_uid(v, UINT32_MAX), 0);
    uint32_t last = 0;
    for (size_t i = 0; i < model.count; i++) {
        uint32_t uid = model.uids[i], sequence = (uint32_t)i + 1;
        assert_int_equal(view_uid(v, sequence), uid);
        assert_int_equal(view_sequence(v, uid), sequence);
        assert_int_equal(view_count_below(v, uid), i);
        if (last + 1 < uid) {
            assert_int_equal(view_sequence(v, uid - 1), 0);
            assert_int_equal(view_count_below(v, uid - 1), i);
        }
        last = uid;
    }
    assert_int_equal(view_sequence(v, last + 1), 0);
    assert_int_equal(view_sequence(v, 0), 0);
    assert_int_equal(view_count_below(v, last + 1), model.count);
    assert_int_equal(view_count_below(v, UINT32_MAX), model.count);
    for (size_t i = 1; i < v->run_count; i++) /* kept as few runs */
        assert_true(v->runs[i - 1].first + v->runs[i - 1].count < v->runs[i].first);
}

static void empty(void **state UNUSED)
{
    struct view v = {0};
    model.count = 0;
    same(&v);
    view_remove(&v, 1);
    view_set(&v, NULL, 0);
    same(&v);
    view_add(&v, 5, 3);
    model_add(5, 3);
    same(&v);
    for (uint32_t uid = 5; uid < 8; uid++) {
        view_remove(&v, uid);
        model_remove(uid);
        same(&v);
    }
    view_free(&v);
}

static void borders(void **state UNUSED)
{
    const struct uid_run runs[] = {{1, 3}, {10, 1}, {20, 5}, {UINT32_MAX - 1, 1}};
    struct view v = {0};
    model.count = 0;
    for (size_t i = 0; i < countof(runs); i++)
        model_add(runs[i].first, runs[i].count);
    view_set(&v, runs, countof(runs));
    same(&v);
    static const uint32_t removals[] = {22, 1, 3, 10, 10, 4, 24, 20, UINT32_MAX - 1, 23};
    for (size_t i = 0; i < countof(removals); i++) {
        view_remove(&v, removals[i]);
        model_remove(removals[i]);
        same(&v);
    }
    assert_int_equal(v.total, 2); /* 2 and 21 */
    view_free(&v);
}

static void many_changes(void **state UNUSED)
{
    struct view v = {0};
    uint32_t next = 1, x = 7;
    model.count = 0;
    for (int i = 0; i < 600; i++) {
        x = x * 1664525 + 1013904223;
        if (x >> 30 == 0 && model.count + 50 < UIDS_MAX) {
            uint32_t count = 1 + (x >> 8) % 40;
            next += (x >> 20) % 3;
            view_add(&v, next, count);
            model_add(next, count);
            next += count;
        } else if (next > 1) {
            uint32_t uid = 1 + (x >> 4) % (next - 1);
            view_remove(&v, uid);
            model_remove(uid);
        }
        if (i % 10 == 0)
            same(&v);
    }
    same(&v);
    view_free(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty),
        cmocka_unit_test(borders),
        cmocka_unit_test(many_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
