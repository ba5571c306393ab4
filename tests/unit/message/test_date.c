/* test_date.c - dates of mail and of IMAP. */
#include "unit.h"

#include "message/date.h"

static void mail_dates(void **state UNUSED)
{
    static const struct {
        const char *text;
        int64_t seconds;
        int32_t zone;
    } rows[] = {
        {"Thu, 01 Jan 1970 00:00:00 +0000", 0, 0},
        {"Mon, 23 Nov 2026 18:00:00 +0200", 1795449600, 120},
        {"23 Nov 2026 18:00:00 +0200", 1795449600, 120},
        {"23 Nov 2026 18:00 +0200", 1795449600, 120},
        {"Mon, 23 Nov 2026 16:00:00 GMT", 1795449600, 0},
        {"Mon, 23 Nov 26 16:00:00 UT", 1795449600, 0},
        {"Mon, 23 Nov 2026 11:00:00 EST (a comment)", 1795449600, -300},
        {"Mon (x), 23 (y) Nov (z) 2026 16:00:00 +0000", 1795449600, 0},
        {"Mon Nov 23 16:00:00 2026", 1795449600, 0},
        {"Mon, 23-Nov-2026 16:00:00 +0000", 1795449600, 0},
        {"1 Jan 99 00:00:00 -0000", 915148800, 0},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        int64_t seconds = -1;
        int32_t zone = -1;
        if (date_parse(str_from(rows[i].text), &seconds, &zone) < 0 || seconds != rows[i].seconds ||
            zone != rows[i].zone)
            fail_msg("%s: %lld %d", rows[i].text, (long long)seconds, zone);
    }
    static const char *const broken[] = {"",
                                         "yesterday",
                                         "32 Jan 2020 00:00:00 +0000",
                                         "1 Foo 2020 00:00:00",
                                         "1 Jan 2020 25:00:00 +0000",
                                         "30 Feb 2020 00:00:00 +0000",
                                         "((((",
                                         "1 2 3 4 5 6"};
    for (size_t i = 0; i < countof(broken); i++) {
        int64_t seconds;
        int32_t zone;
        if (date_parse(str_from(broken[i]), &seconds, &zone) == 0)
            fail_msg("accepted: %s", broken[i]);
    }
}

static void imap_dates(void **state UNUSED)
{
    int64_t seconds;
    assert_int_equal(date_parse_imap(STR("23-Nov-2026 18:00:00 +0200"), &seconds), 0);
    assert_int_equal(seconds, 1795449600);
    assert_int_equal(date_parse_imap(STR(" 3-Nov-2026 18:00:00 -0130"), &seconds), 0);
    assert_int_equal(date_parse_imap(STR("3 Nov 2026 18:00:00 -0130"), &seconds), -1);
    assert_int_equal(date_parse_imap(STR("23-Nov-2026 18:00:00"), &seconds), -1);
    assert_int_equal(date_parse_imap_day(STR("1-Jan-1970"), &seconds), 0);
    assert_int_equal(seconds, 0);
    assert_int_equal(date_parse_imap_day(STR("1-Jan-1970x"), &seconds), -1);
    struct buf b = BUF_INIT(100);
    date_format_imap(&b, 1795449600, 120);
    assert_str_literal(buf_str(&b), "23-Nov-2026 18:00:00 +0200");
    buf_reset(&b);
    date_format_rfc5322(&b, 1795449600, -90);
    assert_str_literal(buf_str(&b), "Mon, 23 Nov 2026 14:30:00 -0130");
    buf_free(&b);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(mail_dates),
        cmocka_unit_test(imap_dates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
