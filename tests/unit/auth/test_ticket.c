/* test_ticket.c - what was signed is accepted, anything else is not. */
#include "auth/ticket.h"
#include "unit.h"

static void made_and_checked(void **state UNUSED)
{
    struct ticket in = {.account = 42, .quota = 1000, .address = STR("a b@example.test")}, out;
    struct buf text = BUF_INIT(BUF_UNBOUNDED);
    struct arena arena = ARENA_INIT;
    struct error e = {0};
    uint64_t account;
    ticket_make(&in, &text);
    assert_true(text.len < TICKET_MAX);
    assert_int_equal(ticket_check(buf_str(&text), &arena, &out, &e), 0);
    assert_int_equal(out.account, 42);
    assert_int_equal(out.quota, 1000);
    assert_str(out.address, in.address);
    assert_int_equal(ticket_account(buf_str(&text), &account), 0);
    assert_int_equal(account, 42);
    for (size_t i = 0; i < text.len; i++) {
        text.data[i] ^= 1;
        if (ticket_check(buf_str(&text), &arena, &out, &e) == 0)
            fail_msg("byte %zu may be changed", i);
        assert_int_equal(e.class, ERROR_DENIED);
        text.data[i] ^= 1;
        assert_int_equal(ticket_check(str_slice(buf_str(&text), 0, i), &arena, &out, &e), -1);
    }
    arena_free(&arena);
    buf_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(made_and_checked)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
