/* test_commands.c - POP3's command lines, and what CAPA says in each state. */
#include "pop3/commands.h"
#include "unit.h"

static void parse(void **state UNUSED)
{
    static const struct {
        struct str line;
        const char *name; /* NULL: no such command */
        size_t count;
        const char *arguments[POP3_ARGUMENTS_MAX];
    } rows[] = {
        {STR_INIT("STAT"), "STAT", 0, {NULL}},
        {STR_INIT("stat"), "STAT", 0, {NULL}},
        {STR_INIT("sTaT"), "STAT", 0, {NULL}},
        {STR_INIT("STAT "), "STAT", 0, {NULL}},
        {STR_INIT("STAT x"), "STAT", 1, {"x"}}, /* the caller sees one too many */
        {STR_INIT("LIST"), "LIST", 0, {NULL}},
        {STR_INIT("LIST 1"), "LIST", 1, {"1"}},
        {STR_INIT("LIST 1 2"), "LIST", 1, {"1 2"}}, /* which is no number */
        {STR_INIT("TOP 1 2"), "TOP", 2, {"1", "2"}},
        {STR_INIT("TOP  1   2 "), "TOP", 2, {"1", "2"}},
        {STR_INIT("TOP 1"), "TOP", 1, {"1"}},
        {STR_INIT("TOP 1 2 3"), "TOP", 3, {"1", "2", "3"}},
        {STR_INIT("TOP 1 2 3 4 5 6"), "TOP", 3, {"1", "2", "3"}},
        {STR_INIT("AUTH"), "AUTH", 0, {NULL}},
        {STR_INIT("AUTH PLAIN"), "AUTH", 1, {"PLAIN"}},
        {STR_INIT("AUTH PLAIN ="), "AUTH", 2, {"PLAIN", "="}},
        {STR_INIT("USER a"), "USER", 1, {"a"}},
        /* RFC 1939 §7: a password may hold spaces, in front, at the end and twice */
        {STR_INIT("PASS a b"), "PASS", 1, {"a b"}},
        {STR_INIT("PASS  a  b "), "PASS", 1, {" a  b "}},
        {STR_INIT("PASS "), "PASS", 1, {""}},
        {STR_INIT("PASS"), "PASS", 0, {NULL}},
        {STR_INIT("QUIT"), "QUIT", 0, {NULL}},
        {STR_INIT(""), NULL, 0, {NULL}},
        {STR_INIT(" STAT"), NULL, 0, {NULL}},
        {STR_INIT("STA"), NULL, 0, {NULL}},
        {STR_INIT("STATX"), NULL, 0, {NULL}},
        {STR_INIT("STAT\t"), NULL, 0, {NULL}},
        {STR_INIT("STAT\0"), NULL, 0, {NULL}},
        {STR_INIT("APOP a 0123"), NULL, 0, {NULL}},
        {STR_INIT("LAST"), NULL, 0, {NULL}},
        {STR_INIT("\xFF\xFE"), NULL, 0, {NULL}},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct str arguments[POP3_ARGUMENTS_MAX];
        size_t count = 99;
        const struct pop3_command *c = pop3_command_parse(rows[i].line, arguments, &count);
        if ((c != NULL) != (rows[i].name != NULL) || count != rows[i].count)
            fail_msg("row %zu: " STR_FMT ", %zu arguments", i, STR_ARG(rows[i].line), count);
        if (c)
            assert_str(c->name, str_from(rows[i].name));
        for (size_t k = 0; k < count; k++)
            assert_str(arguments[k], str_from(rows[i].arguments[k]));
    }
    size_t count = 99;
    assert_null(pop3_command_parse(str_of(NULL, 0), NULL, &count));
    assert_int_equal(count, 0);
}

/* RFC 1939 §4, §5: which command belongs to which state. */
static void states(void **state UNUSED)
{
    static const struct {
        const char *name;
        bool before, after;
    } rows[] = {
        {"CAPA", true, true},  {"STLS", true, false}, {"USER", true, false}, {"PASS", true, false},
        {"AUTH", true, false}, {"STAT", false, true}, {"LIST", false, true}, {"RETR", false, true},
        {"DELE", false, true}, {"NOOP", false, true}, {"RSET", false, true}, {"TOP", false, true},
        {"UIDL", false, true}, {"QUIT", true, true},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct str arguments[POP3_ARGUMENTS_MAX];
        size_t count;
        const struct pop3_command *c =
            pop3_command_parse(str_from(rows[i].name), arguments, &count);
        assert_non_null(c);
        assert_int_equal(c->login != NULL, rows[i].before);
        assert_int_equal(c->run != NULL, rows[i].after);
        assert_true(c->arguments_min <= c->arguments_max);
        assert_true(c->arguments_max < POP3_ARGUMENTS_MAX); /* one too many must be seen */
    }
}

static void capabilities(void **state UNUSED)
{
#define COMMON "TOP\r\nUIDL\r\nPIPELINING\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nEXPIRE NEVER\r\n"
#define START  "+OK Capabilities follow\r\n" COMMON
#define END    "IMPLEMENTATION Posthouse\r\n.\r\n"
    static const struct {
        bool tls_offered, plaintext;
        const char *mechanisms, *expected;
    } rows[] = {
        {false, false, "", START END},
        {true, false, "", START "STLS\r\n" END},
        {false, true, "PLAIN LOGIN", START "USER\r\nSASL PLAIN LOGIN\r\n" END},
        {true, false, "SCRAM-SHA-256", START "STLS\r\nSASL SCRAM-SHA-256\r\n" END},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct buf out = BUF_INIT(4096);
        pop3_capabilities(&out, rows[i].tls_offered, rows[i].plaintext,
                          str_from(rows[i].mechanisms));
        assert_str(buf_str(&out), str_from(rows[i].expected));
        buf_free(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parse),
        cmocka_unit_test(states),
        cmocka_unit_test(capabilities),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
