/* test_clock.c - civil time, against libc over the whole range. */
#include "unit.h"

#include "base/clock.h"

static void agrees_with_libc(void **state UNUSED)
{
    for (int64_t seconds = -62135596800; seconds < 253402300800; seconds += 86399 * 37 + 12345) {
        time_t time = (time_t)seconds;
        struct tm tm;
        struct civil_time t;
        assert_non_null(gmtime_r(&time, &tm));
        civil_from_seconds(seconds, 0, &t);
        assert_int_equal(t.year, tm.tm_year + 1900);
        assert_int_equal(t.month, tm.tm_mon + 1);
        assert_int_equal(t.day, tm.tm_mday);
        assert_int_equal(t.hour, tm.tm_hour);
        assert_int_equal(t.minute, tm.tm_min);
        assert_int_equal(t.second, tm.tm_sec);
        assert_int_equal(t.weekday, tm.tm_wday);
        assert_int_equal(civil_to_seconds(&t), seconds);
    }
}

static void zones(void **state UNUSED)
{
    struct civil_time t;
    civil_from_seconds(0, -90, &t);
    assert_int_equal(t.year, 1969);
    assert_int_equal(t.hour, 22);
    assert_int_equal(t.minute, 30);
    assert_int_equal(civil_to_seconds(&t), 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_libc),
        cmocka_unit_test(zones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
