/* test_address.c - envelope addresses, domains, header lists. */
#include "unit.h"

#include "message/address.h"

static void envelope(void **state UNUSED)
{
    static const struct {
        struct str text;
        const char *local, *domain; /* NULL: refused */
    } rows[] = {
        {STR_INIT("a@b.test"), "a", "b.test"},
        {STR_INIT("a.b+c@d"), "a.b+c", "d"},
        {STR_INIT("\"a b\"@c.test"), "a b", "c.test"},
        {STR_INIT("\"a\\\"b\"@c.test"), "a\"b", "c.test"},
        {STR_INIT("\"\"@c.test"), "", "c.test"},
        {STR_INIT("gr\xC3\xBCn@b\xC3\xBC"
                  "cher.test"),
         "gr\xC3\xBCn",
         "b\xC3\xBC"
         "cher.test"},
        {STR_INIT("a@[192.0.2.1]"), "a", "[192.0.2.1]"},
        {STR_INIT("a@[IPv6:2001:db8::1]"), "a", "[IPv6:2001:db8::1]"},
        {STR_INIT("a@[300.0.2.1]"), NULL, NULL},
        {STR_INIT("a@[2001:db8::1]"), NULL, NULL},
        {STR_INIT(""), NULL, NULL},
        {STR_INIT("a"), NULL, NULL},
        {STR_INIT("@b"), NULL, NULL},
        {STR_INIT("a@"), NULL, NULL},
        {STR_INIT(".a@b"), NULL, NULL},
        {STR_INIT("a.@b"), NULL, NULL},
        {STR_INIT("a..b@c"), NULL, NULL},
        {STR_INIT("a b@c"), NULL, NULL},
        {STR_INIT("a@b..c"), NULL, NULL},
        {STR_INIT("a@-b.test"), NULL, NULL},
        {STR_INIT("a@b_c.test"), NULL, NULL},
        {STR_INIT("a@b@c"), NULL, NULL},
        {STR_INIT("\"a\n\"@c"), NULL, NULL},
        {STR_INIT("\"a@c"), NULL, NULL},
        {STR_INIT("a\xFF@b.test"), NULL, NULL},
        {STR_INIT("1234567890123456789012345678901234567890123456789012345678901234@b"),
         "1234567890123456789012345678901234567890123456789012345678901234", "b"},
        {STR_INIT("12345678901234567890123456789012345678901234567890123456789012345@b"), NULL,
         NULL},
    };
    struct arena arena = ARENA_INIT;
    for (size_t i = 0; i < countof(rows); i++) {
        struct address a;
        int result = address_parse(rows[i].text, &arena, &a);
        if (result != (rows[i].local ? 0 : -1))
            fail_msg("row %zu: %.*s", i, STR_ARG(rows[i].text));
        if (result < 0)
            continue;
        assert_str(a.local, str_from(rows[i].local));
        assert_str(a.domain, str_from(rows[i].domain));
        struct buf again = BUF_INIT(400);
        address_format(&again, &a);
        assert_str(buf_str(&again), rows[i].text);
        buf_free(&again);
    }
    arena_free(&arena);
}

static void domains(void **state UNUSED)
{
    static const struct {
        const char *from, *to;
    } rows[] = {
        {"Example.TEST", "example.test"},
        {"example.test.", "example.test"},
        {"b\xC3\xBC"
         "cher.test",
         "xn--bcher-kva.test"},
        {"xn--bcher-kva.test", "xn--bcher-kva.test"},
        {"stra\xC3\x9F"
         "e.test",
         "xn--strae-oqa.test"},
        {"a b.test", NULL},
        {"", NULL},
        {"[192.0.2.1]", "[192.0.2.1]"},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct buf b = BUF_INIT(300);
        int result = domain_normalize(str_from(rows[i].from), &b);
        assert_int_equal(result, rows[i].to ? 0 : -1);
        if (rows[i].to)
            assert_str(buf_str(&b), str_from(rows[i].to));
        buf_free(&b);
    }
}

/* Shown as name|route|mailbox|host; {group and } for its end. */
static void lists(void **state UNUSED)
{
    static const struct {
        const char *from, *to;
    } rows[] = {
        {"a@b.test", "||a|b.test;"},
        {"Ann <a@b.test>, \"Last, First\" <c@d.test>", "Ann||a|b.test;Last, First||c|d.test;"},
        {"a@b.test (Ann Other)", "Ann Other||a|b.test;"},
        {"Group: a@b, c@d;", "{Group;||a|b;||c|d;};"},
        {"undisclosed-recipients:;", "{undisclosed-recipients;};"},
        {"<@one,@two:a@b>", "|@one,@two|a|b;"},
        {"just a name", "||justaname|;"},
        {"Bj\xC3\xB6rn <b@c>", "Bj\xC3\xB6rn||b|c;"},
        {"A.B. C <x@y>", "A.B. C||x|y;"},
        {"\"quoted local\"@b", "||quoted local|b;"},
        {"a@b.test,,,c@d.test", "||a|b.test;||c|d.test;"},
        {"", ""},
        {",,;", ""},
        {"<>", "|||;"},
        {"a@[192.0.2.1]", "||a|[192.0.2.1];"},
        {"Group: a@b", "{Group;||a|b;};"},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct arena arena = ARENA_INIT;
        struct header_address *list;
        struct buf text = BUF_INIT(1000);
        size_t count = header_addresses(str_from(rows[i].from), 100, &arena, &list);
        for (size_t k = 0; k < count; k++) {
            if (list[k].kind == HEADER_GROUP_START)
                buf_printf(&text, "{%.*s;", STR_ARG(list[k].name));
            else if (list[k].kind == HEADER_GROUP_END)
                buf_add_literal(&text, "};");
            else
                buf_printf(&text, "%.*s|%.*s|%.*s|%.*s;", STR_ARG(list[k].name),
                           STR_ARG(list[k].route), STR_ARG(list[k].mailbox), STR_ARG(list[k].host));
        }
        assert_str(buf_str(&text), str_from(rows[i].to));
        buf_free(&text);
        arena_free(&arena);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(envelope),
        cmocka_unit_test(domains),
        cmocka_unit_test(lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
