/* test_fetch_plan.c - the items of a FETCH: what they mean, how they are answered, what is refused. */
#include "imap/fetch.h"
#include "store/account.h"
#include "unit.h"

static struct arena arena;

static int teardown(void **state UNUSED)
{
    arena_free(&arena);
    return 0;
}

/* "FLAGS BODY[1.HEADER]/1.1/<0.10> ..." : name, section, numbers, partial. FLAGS that were not asked come last. */
static struct str plan_text(const struct fetch_plan *plan)
{
    struct buf out = BUF_INIT(BUF_UNBOUNDED);
    for (size_t i = 0; i < plan->count; i++) {
        const struct fetch_item *item = &plan->items[i];
        if (item->kind == FETCH_FLAGS && !plan->flags_asked)
            continue;
        buf_printf(&out, "%s" STR_FMT, out.len ? " " : "", STR_ARG(item->name));
        if (item->kind == FETCH_BODY || item->kind == FETCH_BINARY ||
            item->kind == FETCH_BINARY_SIZE) {
            buf_printf(&out, "/%d", (int)item->section);
            for (size_t k = 0; k < item->number_count; k++)
                buf_printf(&out, ".%u", item->numbers[k]);
            for (size_t k = 0; k < item->field_count; k++)
                buf_printf(&out, "|" STR_FMT, STR_ARG(item->fields[k]));
        }
        if (item->partial)
            buf_printf(&out, "<%llu.%llu>", (unsigned long long)item->partial_offset,
                       (unsigned long long)item->partial_count);
    }
    if (plan->sets_seen)
        buf_add_literal(&out, " +seen");
    struct str copy = arena_copy(&arena, buf_str(&out));
    buf_free(&out);
    return copy;
}

static void plans(void **state UNUSED)
{
    static const struct {
        const char *in;
        bool uid;
        const char *out;
        unsigned columns;
    } rows[] = {
        {"FLAGS", false, "FLAGS", 0},
        {"(flags)", false, "FLAGS", 0},
        {"UID", false, "UID", 0},
        {"FLAGS", true, "FLAGS UID", 0},
        {"(UID FLAGS)", true, "UID FLAGS", 0},
        {"ALL", false, "FLAGS INTERNALDATE RFC822.SIZE ENVELOPE", COLUMN_EMAIL | COLUMN_SUMMARY},
        {"fast", false, "FLAGS INTERNALDATE RFC822.SIZE", COLUMN_EMAIL},
        {"FULL", true, "FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODY UID",
         COLUMN_EMAIL | COLUMN_SUMMARY},
        {"BODY", false, "BODY", COLUMN_EMAIL | COLUMN_SUMMARY},
        {"BODYSTRUCTURE", false, "BODYSTRUCTURE", COLUMN_EMAIL | COLUMN_SUMMARY},
        {"BODY[]", false, "BODY[]/0 +seen", COLUMN_EMAIL | COLUMN_SUMMARY},
        {"BODY.PEEK[]", false, "BODY[]/0", COLUMN_EMAIL | COLUMN_SUMMARY},
        {"body.peek[header]<0.100>", false, "BODY[header]/1<0.100>", COLUMN_EMAIL | COLUMN_SUMMARY},
        {"BODY[TEXT]", false, "BODY[TEXT]/4 +seen", COLUMN_EMAIL | COLUMN_SUMMARY},
        {"BODY.PEEK[1.2.3]", false, "BODY[1.2.3]/0.1.2.3", COLUMN_EMAIL | COLUMN_SUMMARY},
        {"BODY.PEEK[1.MIME]", false, "BODY[1.MIME]/5.1", COLUMN_EMAIL | COLUMN_SUMMARY},
        {"BODY.PEEK[2.1.HEADER.FIELDS (To \"x y\")]", false,
         "BODY[2.1.HEADER.FIELDS (To \"x y\")]/2.2.1|To|x y", COLUMN_EMAIL | COLUMN_SUMMARY},
        {"BODY.PEEK[HEADER.FIELDS.NOT (Received)]<5.1>", false,
         "BODY[HEADER.FIELDS.NOT (Received)]/3|Received<5.1>", COLUMN_EMAIL | COLUMN_SUMMARY},
        {"BINARY[1]", false, "BINARY[1]/0.1 +seen", COLUMN_EMAIL | COLUMN_SUMMARY},
        {"BINARY.PEEK[1.2]<1.2>", false, "BINARY[1.2]/0.1.2<1.2>", COLUMN_EMAIL | COLUMN_SUMMARY},
        {"BINARY.SIZE[2]", false, "BINARY.SIZE[2]/0.2", COLUMN_EMAIL | COLUMN_SUMMARY},
        {"RFC822", false, "RFC822/0 +seen", COLUMN_EMAIL | COLUMN_SUMMARY},
        {"(RFC822.HEADER RFC822.SIZE)", false, "RFC822.HEADER/1 RFC822.SIZE",
         COLUMN_EMAIL | COLUMN_SUMMARY},
        {"RFC822.TEXT", false, "RFC822.TEXT/4 +seen", COLUMN_EMAIL | COLUMN_SUMMARY},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct imap_lexer l = {.rest = str_from(rows[i].in), .arena = &arena};
        struct fetch_plan plan;
        const char *why = "";
        if (fetch_plan_parse(&l, rows[i].uid, &plan, &why) < 0)
            fail_msg("%s: %s", rows[i].in, why);
        assert_str(plan_text(&plan), str_from(rows[i].out));
        assert_int_equal(plan.columns, rows[i].columns);
        assert_int_equal(plan.items[plan.flags_item].kind, FETCH_FLAGS);
    }
}

static void refusals(void **state UNUSED)
{
    static const char *const bad[] = {
        "",
        "()",
        "(",
        ")",
        "(FLAGS",
        "FLAGS)",
        "(FLAGS ",
        "(FLAGS )",
        "( FLAGS)",
        "FLAGS UID",
        "(FLAGS  UID)",
        "FOO",
        "(ALL)",
        "(FLAGS FAST)",
        "FLAGS[]",
        "UID[1]",
        "BODY[",
        "BODY[]x",
        "BODY[FOO]",
        "BODY[1",
        "BODY[1.]",
        "BODY[.1]",
        "BODY[0]",
        "BODY[1.0]",
        "BODY[-1]",
        "BODY[4294967296]",
        "BODY[MIME]",
        "BODY[1TEXT]",
        "BODY[1..2]",
        "BODY[TEXT.1]",
        "BODY[HEADER.FIELDS]",
        "BODY[HEADER.FIELDS ()]",
        "BODY[HEADER.FIELDS (a)",
        "BODY[HEADER.FIELDS (a )]",
        "BODY[HEADER.FIELDS(a)]",
        "BODY[HEADER.FIELDS a]",
        "BODY[HEADER (a)]",
        "BODY[]<",
        "BODY[]<0>",
        "BODY[]<0.>",
        "BODY[]<.1>",
        "BODY[]<0.0>",
        "BODY[]<0.1",
        "BODY[]<-1.1>",
        "BODY[]<0.9223372036854775808>",
        "BODY[] <0.1>",
        "BINARY",
        "BINARY[TEXT]",
        "BINARY[1.MIME]",
        "BINARY.SIZE[1]<0.1>",
        "BODYSTRUCTURE[1]",
        "RFC822[]",
        "RFC822.PEEK",
        "BODY.PEEK",
    };
    for (size_t i = 0; i < countof(bad); i++) {
        struct imap_lexer l = {.rest = str_from(bad[i]), .arena = &arena};
        struct fetch_plan plan;
        const char *why = NULL;
        if (fetch_plan_parse(&l, false, &plan, &why) == 0)
            fail_msg("taken: %s", bad[i]);
        assert_non_null(why);
    }
}

static bool parses(struct str text)
{
    struct imap_lexer l = {.rest = text, .arena = &arena};
    struct fetch_plan plan;
    const char *why;
    return fetch_plan_parse(&l, true, &plan, &why) == 0;
}

static void bounds(void **state UNUSED)
{
    struct buf text = BUF_INIT(BUF_UNBOUNDED);
    for (int i = 0; i < FETCH_ITEMS_MAX; i++)
        buf_printf(&text, "%sBODY.PEEK[%d]", i ? " " : "(", i + 1);
    size_t end = text.len;
    buf_add_char(&text, ')');
    assert_true(parses(buf_str(&text)));
    buf_truncate(&text, end);
    buf_add_literal(&text, " BODY[])");
    assert_false(parses(buf_str(&text)));

    for (int more = 0; more < 2; more++) {
        buf_reset(&text);
        buf_add_literal(&text, "BODY[1");
        for (int i = 1; i < SECTION_DEPTH_MAX + more; i++)
            buf_add_literal(&text, ".1");
        buf_add_char(&text, ']');
        assert_int_equal(parses(buf_str(&text)), !more);

        buf_reset(&text);
        buf_add_literal(&text, "BODY[HEADER.FIELDS (a");
        for (int i = 1; i < FIELDS_MAX + more; i++)
            buf_add_literal(&text, " a");
        buf_add_literal(&text, ")]");
        assert_int_equal(parses(buf_str(&text)), !more);
    }
    buf_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plans),
        cmocka_unit_test(refusals),
        cmocka_unit_test(bounds),
    };
    return cmocka_run_group_tests(tests, NULL, teardown);
}
