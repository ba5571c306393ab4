/* test_str.c - views of bytes. */
#include "unit.h"

static void finds(void **state UNUSED)
{
    struct str s = STR("Hello, World");
    assert_int_equal(str_find_char(s, 'o'), 4);
    assert_int_equal(str_find_last_char(s, 'o'), 8);
    assert_int_equal(str_find_char(s, 'x'), s.len);
    assert_int_equal(str_find(s, STR("World")), 7);
    assert_int_equal(str_find(s, STR("world")), s.len);
    assert_int_equal(str_find_nocase(s, STR("wORLD")), 7);
    assert_int_equal(str_find_nocase(STR("ab"), STR("abc")), 2);
    assert_int_equal(str_find(s, STR("")), 0);
    assert_int_equal(str_find(str_of(NULL, 0), STR("a")), 0);
}

static void compares(void **state UNUSED)
{
    assert_true(str_equal(STR("a"), STR("a")));
    assert_false(str_equal(STR("a"), STR("A")));
    assert_true(str_equal_nocase(STR("aB"), STR("Ab")));
    assert_true(str_equal(str_of(NULL, 0), STR("")));
    assert_true(str_compare(STR("a"), STR("ab")) < 0);
    assert_true(str_compare(STR("b"), STR("ab")) > 0);
    assert_true(str_compare_nocase(STR("ABC"), STR("abd")) < 0);
    assert_true(str_starts_nocase(STR("Subject: x"), STR("subject:")));
    assert_false(str_starts(STR("ab"), STR("abc")));
    assert_true(str_ends(STR("abc"), STR("bc")));
    assert_true(str_ends_nocase(STR("abC"), STR("Bc")));
    assert_false(str_ends(STR("c"), STR("bc")));
}

static void slices(void **state UNUSED)
{
    assert_str_literal(str_slice(STR("abcdef"), 2, 3), "cde");
    assert_str_literal(str_slice(STR("abc"), 2, 30), "c");
    assert_str_literal(str_slice(STR("abc"), 9, 1), "");
    assert_str_literal(str_trim(STR(" \t a b\r\n ")), "a b");
    assert_str_literal(str_trim(STR("  ")), "");
}

static void parts(void **state UNUSED)
{
    struct str rest = STR("a,,b"), part;
    assert_true(str_next_part(&rest, ',', &part));
    assert_str_literal(part, "a");
    assert_true(str_next_part(&rest, ',', &part));
    assert_str_literal(part, "");
    assert_true(str_next_part(&rest, ',', &part));
    assert_str_literal(part, "b");
    assert_false(str_next_part(&rest, ',', &part));
    rest = STR("");
    assert_true(str_next_part(&rest, ',', &part));
    assert_false(str_next_part(&rest, ',', &part));
    rest = STR("a,");
    assert_true(str_next_part(&rest, ',', &part));
    assert_true(str_next_part(&rest, ',', &part));
    assert_str_literal(part, "");
    assert_false(str_next_part(&rest, ',', &part));
}

static void numbers(void **state UNUSED)
{
    static const struct {
        struct str text;
        uint64_t max;
        int result;
        uint64_t value;
    } rows[] = {
        {STR_INIT("0"), 10, 0, 0},
        {STR_INIT("10"), 10, 0, 10},
        {STR_INIT("11"), 10, -1, 0},
        {STR_INIT(""), 10, -1, 0},
        {STR_INIT("-1"), 10, -1, 0},
        {STR_INIT("+1"), 10, -1, 0},
        {STR_INIT(" 1"), 10, -1, 0},
        {STR_INIT("1x"), 10, -1, 0},
        {STR_INIT("18446744073709551615"), UINT64_MAX, 0, UINT64_MAX},
        {STR_INIT("18446744073709551616"), UINT64_MAX, -1, 0},
        {STR_INIT("00000000000000000001"), UINT64_MAX, 0, 1},
        {STR_INIT("000000000000000000001"), UINT64_MAX, -1, 0},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        uint64_t value = 77;
        assert_int_equal(str_to_u64(rows[i].text, rows[i].max, &value), rows[i].result);
        assert_int_equal(value, rows[i].result ? 77 : rows[i].value);
    }
}

static void utf8(void **state UNUSED)
{
    static const struct {
        struct str text;
        bool valid;
    } rows[] = {
        {STR_INIT(""), true},
        {STR_INIT("abc"), true},
        {STR_INIT("gr\xC3\xBC\xC3\x9F"), true},
        {STR_INIT("\xE2\x82\xAC"), true},
        {STR_INIT("\xF0\x9F\x93\xAE"), true},
        {STR_INIT("\xC3"), false},
        {STR_INIT("\xC3("), false},
        {STR_INIT("\xC0\xAF"), false},         /* overlong */
        {STR_INIT("\xE0\x80\xAF"), false},     /* overlong */
        {STR_INIT("\xED\xA0\x80"), false},     /* surrogate */
        {STR_INIT("\xF4\x90\x80\x80"), false}, /* beyond U+10FFFF */
        {STR_INIT("\xFF"), false},
        {STR_INIT("a\x80"), false},
    };
    for (size_t i = 0; i < countof(rows); i++)
        assert_int_equal(str_is_utf8(rows[i].text), rows[i].valid);
    assert_false(str_is_ascii(STR("\xC3\xBC")));
    assert_true(str_is_ascii(STR("u")));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds), cmocka_unit_test(compares), cmocka_unit_test(slices),
        cmocka_unit_test(parts), cmocka_unit_test(numbers),  cmocka_unit_test(utf8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
