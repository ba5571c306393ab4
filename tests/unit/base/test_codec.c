/* test_codec.c - base64 and hexadecimal; the vectors are those of RFC 4648 §10. */
#include "unit.h"

#include "base/codec.h"

static void base64_vectors(void **state UNUSED)
{
    static const struct {
        struct str plain, encoded;
    } rows[] = {
        {STR_INIT(""), STR_INIT("")},
        {STR_INIT("f"), STR_INIT("Zg==")},
        {STR_INIT("fo"), STR_INIT("Zm8=")},
        {STR_INIT("foo"), STR_INIT("Zm9v")},
        {STR_INIT("foob"), STR_INIT("Zm9vYg==")},
        {STR_INIT("fooba"), STR_INIT("Zm9vYmE=")},
        {STR_INIT("foobar"), STR_INIT("Zm9vYmFy")},
        {STR_INIT("\0\xFF\xFE"), STR_INIT("AP/+")},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct buf b = BUF_INIT(100);
        assert_int_equal(base64_encode(&b, rows[i].plain), 0);
        assert_str(buf_str(&b), rows[i].encoded);
        buf_reset(&b);
        assert_int_equal(base64_decode(&b, rows[i].encoded), 0);
        assert_str(buf_str(&b), rows[i].plain);
        buf_free(&b);
    }
}

static void base64_refuses(void **state UNUSED)
{
    static const struct str rows[] = {
        STR_INIT("Zg"),   STR_INIT("Zg="),      STR_INIT("Zg==Zg=="), STR_INIT("Z==="),
        STR_INIT("===="), STR_INIT("Zh=="),     STR_INIT("Zm9="),     STR_INIT("Zm 9"),
        STR_INIT("Zm-_"), STR_INIT("Zg==\r\n"), STR_INIT("Z\0AA"),
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct buf b = BUF_INIT(100);
        buf_add_literal(&b, "kept");
        assert_int_equal(base64_decode(&b, rows[i]), -1);
        assert_str_literal(buf_str(&b), "kept");
        buf_free(&b);
    }
}

static void hexadecimal(void **state UNUSED)
{
    struct buf b = BUF_INIT(100);
    assert_int_equal(hex_encode(&b, STR("\x00\x1f\xff")), 0);
    assert_str_literal(buf_str(&b), "001fff");
    buf_reset(&b);
    assert_int_equal(hex_decode(&b, STR("001fFF")), 0);
    assert_str_literal(buf_str(&b), "\x00\x1f\xff");
    assert_int_equal(hex_decode(&b, STR("0")), -1);
    assert_int_equal(hex_decode(&b, STR("0g")), -1);
    buf_free(&b);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(base64_vectors),
        cmocka_unit_test(base64_refuses),
        cmocka_unit_test(hexadecimal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
