/* test_data.c - where a message ends, whatever way its bytes are cut into pieces. */
#include "base/buf.h"
#include "smtp/data.h"
#include "unit.h"

static void collect(void *context, struct str piece)
{
    buf_add(context, piece);
}

/* Reads input in pieces of at most n bytes; what is left after the end, or -1 when there was none. */
static int read_pieces(struct data_reader *r, struct str input, size_t n, struct buf *out)
{
    while (input.len) {
        size_t used = 0;
        struct str piece = str_slice(input, 0, MIN(n, input.len));
        bool end = data_read(r, piece, &used, collect, out);
        assert_true(used <= piece.len && (end || used == piece.len));
        input = str_from_pos(input, used);
        if (end)
            return (int)input.len;
    }
    return -1;
}

static void check(const char *input, size_t len, bool repair, const char *expected, unsigned flaws,
                  int left)
{
    for (size_t n = 1; n <= len; n++) {
        struct buf out = BUF_INIT(BUF_UNBOUNDED);
        struct data_reader r = {.repair = repair};
        int got = read_pieces(&r, str_of(input, len), n, &out);
        if (got != left || r.flaws != flaws ||
            (expected && !str_equal(buf_str(&out), str_from(expected))))
            fail_msg("in pieces of %zu: \"%s\": left %d, flaws %u, out \"" STR_FMT "\"", n, input,
                     got, r.flaws, STR_ARG(buf_str(&out)));
        buf_free(&out);
    }
}
#define CHECK(input, repair, expected, flaws, left) \
    check(input, sizeof(input) - 1, repair, expected, flaws, left)

static void ends(void **state UNUSED)
{
    CHECK("a\r\n.\r\n", false, "a\r\n", 0, 0);
    CHECK(".\r\n", false, "", 0, 0);
    CHECK("a\r\n.\r\nNOOP\r\n", false, "a\r\n", 0, 6);
    CHECK("..\r\n...a\r\n.b\r\n.\r\n", false, ".\r\n..a\r\nb\r\n", 0, 0); /* RFC 5321 §4.5.2 */
    CHECK("a\r\n..\r\n", false, "a\r\n.\r\n", 0, -1);
    CHECK("a\r\n.", false, NULL, 0, -1);
    CHECK("a.\r\n.\r\n", false, "a.\r\n", 0, 0);
}

static void nothing_else_ends(void **state UNUSED)
{
    CHECK("a\n.\n", false, NULL, DATA_BARE_LF, -1);
    CHECK("a\r\n.\n", false, NULL, DATA_BARE_LF, -1);
    CHECK("a\n.\r\nRSET\r\n.\r\n", false, NULL, DATA_BARE_LF, 0);
    CHECK("a\r.\r\n.\r\n", false, NULL, DATA_BARE_CR, 0);
    CHECK("a\r\n.\r\r\n.\r\n", false, NULL, DATA_BARE_CR, 0);
    CHECK("a\0b\r\n.\r\n", false, NULL, DATA_NUL, 0);
}

static void repairs(void **state UNUSED)
{
    CHECK("a\nb\r\n.\r\n", true, "a\r\nb\r\n", DATA_BARE_LF, 0);
    CHECK("a\rb\r\n.\r\n", true, "a\r\nb\r\n", DATA_BARE_CR, 0);
    CHECK("a\0b\r\n.\r\n", true, "ab\r\n", DATA_NUL, 0);
    CHECK("a\n.\nb\r\n.\r\n", true, NULL, DATA_BARE_LF, 0); /* what looks like an end is none */
}

static void long_lines(void **state UNUSED)
{
    struct data_reader r = {.line_max = 5};
    struct buf out = BUF_INIT(BUF_UNBOUNDED);
    assert_int_equal(read_pieces(&r, STR("abc\r\nabc\r\n.\r\n"), 100, &out), 0);
    assert_int_equal(r.flaws, 0);
    r = (struct data_reader){.line_max = 5};
    assert_int_equal(read_pieces(&r, STR("abcd\r\n.\r\n"), 3, &out), 0);
    assert_int_equal(r.flaws, DATA_LONG_LINE);
    buf_free(&out);
}

static void chunks(void **state UNUSED)
{
    struct data_reader r = {0};
    struct buf out = BUF_INIT(BUF_UNBOUNDED);
    data_check_chunk(&r, STR("a\r"), false, collect, &out);
    data_check_chunk(&r, STR("\n.\r\n.b"), true, collect, &out);
    assert_int_equal(r.flaws, 0);
    assert_str_literal(buf_str(&out), "a\r\n.\r\n.b");
    r = (struct data_reader){0};
    data_check_chunk(&r, STR("a\r"), true, collect, &out);
    assert_int_equal(r.flaws, DATA_BARE_CR);
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(ends), cmocka_unit_test(nothing_else_ends),
                                       cmocka_unit_test(repairs), cmocka_unit_test(long_lines),
                                       cmocka_unit_test(chunks)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
