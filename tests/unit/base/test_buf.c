/* test_buf.c - buffers with a maximum, and arenas. */
#include "unit.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/vec.h"

static void grows(void **state UNUSED)
{
    struct buf b = BUF_INIT(100000);
    for (int i = 0; i < 10000; i++)
        assert_int_equal(buf_add_literal(&b, "0123456789"), 0);
    assert_int_equal(b.len, 100000);
    assert_int_equal(buf_add_char(&b, 'x'), -1);
    assert_true(b.failed);
    assert_int_equal(b.len, 100000);
    buf_reset(&b);
    assert_false(b.failed);
    assert_int_equal(buf_add_char(&b, 'x'), 0);
    buf_free(&b);
    assert_null(b.data);
}

static void does_not_append_a_part(void **state UNUSED)
{
    struct buf b = BUF_INIT(5);
    assert_int_equal(buf_add_literal(&b, "abc"), 0);
    assert_int_equal(buf_add_literal(&b, "def"), -1);
    assert_str_literal(buf_str(&b), "abc");
    assert_int_equal(buf_printf(&b, "%d", 123456), -1);
    assert_int_equal(buf_add_u64(&b, 42), 0);
    assert_str_literal(buf_str(&b), "abc42");
    assert_true(b.failed);
    buf_free(&b);
}

static void formats(void **state UNUSED)
{
    struct buf b = BUF_INIT(BUF_UNBOUNDED);
    buf_printf(&b, "%s %05d|", "x", 42);
    buf_add_u64(&b, 0);
    buf_add_u64(&b, UINT64_MAX);
    assert_str_literal(buf_str(&b), "x 00042|018446744073709551615");
    buf_reset(&b);
    char large[1000];
    memset(large, 'y', sizeof(large));
    buf_printf(&b, "%.*s", (int)sizeof(large), large);
    assert_int_equal(b.len, sizeof(large));
    buf_free(&b);
}

static void consumes(void **state UNUSED)
{
    struct buf b = BUF_INIT(100);
    buf_add_literal(&b, "abcdef");
    buf_consume(&b, 2);
    assert_str_literal(buf_str(&b), "cdef");
    buf_truncate(&b, 1);
    assert_string_equal(buf_c_string(&b), "c");
    buf_consume(&b, 1);
    assert_int_equal(b.len, 0);
    buf_free(&b);
}

static void arenas(void **state UNUSED)
{
    struct arena a = ARENA_INIT;
    for (int round = 0; round < 3; round++) {
        for (size_t size = 0; size < 3000; size += 7) {
            unsigned char *memory = arena_alloc(&a, size);
            assert_int_equal((uintptr_t)memory % _Alignof(max_align_t), 0);
            for (size_t i = 0; i < size; i++)
                assert_int_equal(memory[i], 0);
            memset(memory, 0xAA, size);
        }
        arena_reset(&a);
    }
    assert_str_literal(arena_printf(&a, "%d-%s", 5, "five"), "5-five");
    assert_str_literal(arena_lower(&a, STR("AbC")), "abc");
    int *numbers = NULL;
    size_t count = 0;
    for (int i = 0; i < 1000; i++)
        *ARENA_PUSH(&a, numbers, count) = i;
    for (int i = 0; i < 1000; i++)
        assert_int_equal(numbers[i], i);
    arena_free(&a);
}

static void vectors(void **state UNUSED)
{
    VEC(int) v = VEC_INIT;
    for (int i = 0; i < 100; i++)
        VEC_ADD(&v, i);
    VEC_REMOVE(&v, 0);
    VEC_REMOVE(&v, v.len - 1);
    assert_int_equal(v.len, 98);
    assert_int_equal(v.items[0], 1);
    assert_int_equal(v.items[97], 98);
    VEC_FREE(&v);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows),   cmocka_unit_test(does_not_append_a_part),
        cmocka_unit_test(formats), cmocka_unit_test(consumes),
        cmocka_unit_test(arenas),  cmocka_unit_test(vectors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
