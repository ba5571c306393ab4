/* test_search.c - what a SEARCH asks for: precedence, bounds, errors; and sets against the session's picture. */
#include "imap/search.h"
#include "message/summary.h"
#include "unit.h"

static struct imap_session session;

static int setup(void **state UNUSED)
{
    const struct uid_run runs[] = {{10, 5}, {20, 1}, {30, 5}}; /* 11 messages */
    view_set(&session.view, runs, countof(runs));
    session.tag = STR("a");
    buf_init(&session.stream.out, 100000);
    return 0;
}

static int teardown(void **state UNUSED)
{
    view_free(&session.view);
    arena_free(&session.arena);
    buf_free(&session.stream.out);
    return 0;
}

/* The program as text: "(and seen (not (or deleted set:10-12)))". */
static void key_print(const struct search_key *key, struct buf *out)
{
    static const char *const words[] = {
        [SEARCH_ALL] = "all",         [SEARCH_AND] = "and",       [SEARCH_OR] = "or",
        [SEARCH_NOT] = "not",         [SEARCH_SET] = "set",       [SEARCH_FLAGS] = "flags",
        [SEARCH_KEYWORD] = "keyword", [SEARCH_RECENT] = "recent", [SEARCH_DATE] = "date",
        [SEARCH_SENT_DATE] = "sent",  [SEARCH_SIZE] = "size",     [SEARCH_SUMMARY] = "summary",
        [SEARCH_HEADER] = "header",   [SEARCH_BODY] = "body",     [SEARCH_TEXT] = "text"};
    buf_printf(out, "%s%s", key->child_count ? "(" : "", words[key->kind]);
    if (key->kind == SEARCH_FLAGS)
        buf_printf(out, ":%d/%d", key->flags, key->wanted);
    if (key->kind == SEARCH_KEYWORD || key->kind == SEARCH_HEADER)
        buf_printf(out, ":" STR_FMT, STR_ARG(key->name));
    if (key->negated)
        buf_add_literal(out, "!");
    if (key->kind == SEARCH_SUMMARY)
        buf_printf(out, ":%d", key->field);
    if (key->text.data)
        buf_printf(out, ":" STR_FMT, STR_ARG(key->folded));
    if (key->kind == SEARCH_DATE || key->kind == SEARCH_SENT_DATE || key->kind == SEARCH_SIZE) {
        const int64_t ends[] = {key->from, key->until};
        for (size_t i = 0; i < 2; i++)
            if (ends[i] == INT64_MIN || ends[i] == INT64_MAX)
                buf_add_literal(out, ":*");
            else
                buf_printf(out, ":%lld", (long long)ends[i]);
    }
    for (size_t i = 0; i < key->run_count; i++)
        buf_printf(out, "%c%u-%u", i ? ',' : ':', key->runs[i].first,
                   key->runs[i].first + key->runs[i].count - 1);
    for (size_t i = 0; i < key->child_count; i++) {
        buf_add_char(out, ' ');
        key_print(key->children[i], out);
    }
    if (key->child_count)
        buf_add_char(out, ')');
}

/* NULL: refused, *why tells. */
static const char *parse(struct str text, const char **why)
{
    static struct buf out;
    struct imap_lexer l = {.rest = text, .arena = &session.arena};
    struct search_key *key;
    *why = NULL;
    buf_free(&out);
    out = BUF_INIT(BUF_UNBOUNDED);
    if (search_parse(&session, &l, &key, why) < 0) {
        assert_non_null(*why);
        return NULL;
    }
    assert_int_equal(session.stream.out.len, 0); /* nothing is told the client from in here */
    assert_int_equal(session.bad_commands, 0);
    key_print(key, &out);
    return buf_c_string(&out);
}

static void programs(void **state UNUSED)
{
    static const struct {
        struct str in;
        const char *out;
    } rows[] = {
        {STR_INIT("ALL"), "(and all)"},
        {STR_INIT("seen unseen"), "(and flags:1/1 flags:1/0)"},
        {STR_INIT("ANSWERED DELETED DRAFT FLAGGED"),
         "(and flags:2/2 flags:8/8 flags:16/16 flags:4/4)"},
        {STR_INIT("UNANSWERED UNDELETED UNDRAFT UNFLAGGED"),
         "(and flags:2/0 flags:8/0 flags:16/0 flags:4/0)"},
        /* NOT and OR take one key each; what follows belongs to the AND. */
        {STR_INIT("NOT SEEN DELETED"), "(and (not flags:1/1) flags:8/8)"},
        {STR_INIT("OR SEEN DELETED DRAFT"), "(and (or flags:1/1 flags:8/8) flags:16/16)"},
        {STR_INIT("OR NOT SEEN OR DELETED DRAFT"),
         "(and (or (not flags:1/1) (or flags:8/8 flags:16/16)))"},
        {STR_INIT("OR (SEEN DELETED) NOT (DRAFT)"),
         "(and (or (and flags:1/1 flags:8/8) (not (and flags:16/16))))"},
        {STR_INIT("NOT NOT SEEN"), "(and (not (not flags:1/1)))"},
        {STR_INIT("NEW OLD RECENT"), "(and (and recent flags:1/0) recent! recent)"},
        {STR_INIT("KEYWORD $Junk UNKEYWORD word"), "(and keyword:$Junk keyword:word!)"},
        {STR_INIT("LARGER 100 SMALLER 200"), "(and size:101:* size:0:200)"},
        {STR_INIT("LARGER 9223372036854775807"), "(and size:*:*)"},
        {STR_INIT("ON 1-Feb-2024"), "(and date:1706745600:1706832000)"},
        {STR_INIT("BEFORE \"01-Feb-2024\""), "(and date:*:1706745600)"},
        {STR_INIT("SENTSINCE 1-Feb-2024"), "(and sent:1706745600:*)"},
        {STR_INIT("SUBJECT STRASSE"), "(and summary:3:strasse)"},
        {STR_INIT("SUBJECT \"Stra\xC3\x9F"
                  "e\""),
         "(and summary:3:strasse)"},
        {STR_INIT("CHARSET ISO-8859-1 SUBJECT \"Stra\xDF"
                  "e\""),
         "(and summary:3:strasse)"},
        {STR_INIT("CHARSET \"us-ascii\" TEXT {3}\r\na b"), "(and text:a b)"},
        {STR_INIT("HEADER X-Spam \"\""), "(and header:X-Spam:)"},
        {STR_INIT("BODY x SEEN"), "(and flags:1/1 body:x)"}, /* cheap ones first */
        {STR_INIT("TEXT a HEADER b c FROM d SEEN"),
         "(and flags:1/1 summary:5:d header:b:c text:a)"},
        /* Numbers and UIDs, against 10-14, 20, 30-34. */
        {STR_INIT("1:3,6"), "(and set:10-12,20-20)"},
        {STR_INIT("*"), "(and set:34-34)"},
        {STR_INIT("10:*"), "(and set:33-34)"},
        {STR_INIT("*:10"), "(and set:33-34)"},
        {STR_INIT("3:1,2:5,4"), "(and set:10-14)"},
        {STR_INIT("5:7"), "(and set:14-14,20-20,30-30)"},
        {STR_INIT("UID 1:12,20:30,100"), "(and set:10-12,20-20,30-30)"},
        {STR_INIT("UID *"), "(and set:34-34)"},
        {STR_INIT("UID 100:*"), "(and set:34-34)"},
        {STR_INIT("UID 100:4294967295"), "(and set)"}, /* not "*" */
        {STR_INIT("UID 15:19"), "(and set)"},
        {STR_INIT("UID 34:10,12,11:13"), "(and set:10-14,20-20,30-34)"},
        {STR_INIT("12"), "(and set)"}, /* beyond the last: nothing, but no error */
        {STR_INIT("1,12"), "(and set:10-10)"},
        {STR_INIT("$"), "(and set)"}, /* nothing was saved */
    };
    const char *why;
    for (size_t i = 0; i < countof(rows); i++) {
        const char *got = parse(rows[i].in, &why);
        if (!got || strcmp(got, rows[i].out) != 0)
            fail_msg("\"" STR_FMT "\": %s, expected %s", STR_ARG(rows[i].in), got ? got : why,
                     rows[i].out);
    }
    assert_int_equal(SUMMARY_SUBJECT, 3);
    assert_int_equal(SUMMARY_FROM, 5);
}

static void errors(void **state UNUSED)
{
    static const char *const bad[] = {
        "",
        " ",
        "SEEN ",
        "SEEN  DELETED",
        "FOO",
        "NOT",
        "NOT ",
        "OR SEEN",
        "OR SEEN ",
        "(",
        ")",
        "()",
        "( SEEN)",
        "(SEEN",
        "(SEEN ) ",
        "(SEEN))",
        "SEEN)",
        "SUBJECT",
        "SUBJECT ",
        "SUBJECT (a)",
        "HEADER a",
        "HEADER",
        "LARGER",
        "LARGER x",
        "LARGER -1",
        "LARGER 9223372036854775808",
        "ON",
        "ON yesterday",
        "ON 32-Feb-2024",
        "ON 1-Foo-2024",
        "KEYWORD",
        "KEYWORD \"a\"",
        "UID",
        "UID SEEN",
        "UID 0",
        "0",
        "1:",
        "1,",
        "CHARSET",
        "CHARSET utf-8",
        "CHARSET utf-8 ",
        "TEXT {5}\r\nabc",
        "TEXT \"a",
    };
    const char *why;
    for (size_t i = 0; i < countof(bad); i++) {
        const char *got = parse(str_from(bad[i]), &why);
        if (got || !*why)
            fail_msg("\"%s\": %s", bad[i], got ? got : "BADCHARSET");
    }
    assert_null(parse(STR("CHARSET KLINGON SEEN"), &why));
    assert_string_equal(why, ""); /* BADCHARSET */
}

static void bounds(void **state UNUSED)
{
    const char *why;
    for (int words = 0; words < 2; words++) {
        struct buf text = BUF_INIT(BUF_UNBOUNDED);
        for (int depth = 0; depth < SEARCH_DEPTH_MAX; depth++)
            buf_add(&text, words ? STR("NOT ") : STR("("));
        size_t before = text.len;
        buf_add_literal(&text, "SEEN");
        for (int depth = 0; depth < SEARCH_DEPTH_MAX && !words; depth++)
            buf_add_char(&text, ')');
        if (!parse(buf_str(&text), &why))
            fail_msg("%s", why);
        buf_truncate(&text, before);
        buf_add(&text, words ? STR("NOT SEEN") : STR("(SEEN)"));
        for (int depth = 0; depth < SEARCH_DEPTH_MAX && !words; depth++)
            buf_add_char(&text, ')');
        assert_null(parse(buf_str(&text), &why));
        buf_reset(&text);
        for (int i = 0; i < 100000; i++) /* far too deep must not use up the stack */
            buf_add(&text, words ? STR("OR ") : STR("("));
        assert_null(parse(buf_str(&text), &why));
        buf_free(&text);
    }
    struct buf many = BUF_INIT(BUF_UNBOUNDED);
    for (int i = 0; i < SEARCH_KEYS_MAX; i++)
        buf_printf(&many, "%sSEEN", i ? " " : "");
    assert_non_null(parse(buf_str(&many), &why));
    buf_add_literal(&many, " SEEN");
    assert_null(parse(buf_str(&many), &why));
    buf_free(&many);
}

/* A set that asks for everything over and over costs no more than once. */
static void repeated_sets(void **state UNUSED)
{
    struct imap_set set = {.count = 50000};
    struct uid_run *runs;
    size_t count;
    set.ranges = arena_alloc_array(&session.arena, set.count, sizeof(*set.ranges));
    for (size_t i = 0; i < set.count; i++)
        set.ranges[i] = (struct imap_range){1, UINT32_MAX};
    VEC(struct uid_run) odd = VEC_INIT;
    for (uint32_t uid = 1; uid < 100000; uid += 2)
        VEC_ADD(&odd, (struct uid_run){uid, 1});
    struct view before = session.view;
    session.view = (struct view){0};
    view_set(&session.view, odd.items, odd.len);
    for (int uid = 0; uid < 2; uid++) {
        assert_int_equal(imap_set_resolve(&session, &set, uid, &runs, &count), 0);
        assert_int_equal(count, odd.len);
        assert_memory_equal(runs, odd.items, odd.len * sizeof(*runs));
    }
    view_free(&session.view);
    session.view = before;
    VEC_FREE(&odd);
}

static void numbers_out_of_range(void **state UNUSED)
{
    struct imap_range range = {5, 12};
    struct imap_set set = {.ranges = &range, .count = 1};
    struct uid_run *runs;
    size_t count;
    assert_int_equal(imap_set_resolve(&session, &set, false, &runs, &count), -1);
    assert_true(str_starts(buf_str(&session.stream.out), STR("a BAD ")));
    buf_reset(&session.stream.out);
    session.bad_commands = 0;
    range = (struct imap_range){5, 11};
    assert_int_equal(imap_set_resolve(&session, &set, false, &runs, &count), 0);
    assert_int_equal(count, 3);
    range = (struct imap_range){1, UINT32_MAX - 1};
    assert_int_equal(imap_set_resolve(&session, &set, true, &runs, &count), 0);
    assert_int_equal(count, 3);
    struct view before = session.view;
    session.view = (struct view){0}; /* an empty mailbox */
    range = (struct imap_range){1, UINT32_MAX};
    assert_int_equal(imap_set_resolve(&session, &set, false, &runs, &count), 0);
    assert_int_equal(count, 0);
    assert_int_equal(imap_set_resolve(&session, &set, true, &runs, &count), 0);
    assert_int_equal(count, 0);
    session.view = before;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(programs),
        cmocka_unit_test(errors),
        cmocka_unit_test(bounds),
        cmocka_unit_test(repeated_sets),
        cmocka_unit_test(numbers_out_of_range),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
