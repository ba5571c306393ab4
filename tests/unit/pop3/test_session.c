/* test_session.c - POP3's TRANSACTION and UPDATE states, over a socket pair, with a store behind. */
#include "../../house.h"
#include "auth/attach.h"
#include "pop3/session.h"
#include "unit.h"

static uint64_t account; /* a fresh one for each test */
static struct buf heard = BUF_INIT(BUF_UNBOUNDED);

static int setup(void **state UNUSED)
{
    house_make("[limits]\nfree-space = 1M");
    return 0;
}

static int teardown(void **state UNUSED)
{
    buf_free(&heard);
    assert_int_equal(house_end(), 0);
    return 0;
}

static int account_fresh(void **state UNUSED)
{
    static int number;
    char address[64];
    snprintf(address, sizeof(address), "user%d@example.test", number++);
    account = house_account(address, 0);
    return 0;
}

/* ------------------------------------------------------------------ the client's side */

static int login_with(struct str input)
{
    int ends[2];
    struct error e = {0};
    struct attach a = {.protocol = ATTACH_POP3,
                       .tag = STR(""),
                       .input = input,
                       .peer = STR("local"),
                       .listener = STR("pop3"),
                       .session = STR("test"),
                       .account = account,
                       .address = STR("alice@example.test")};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    if (pop3_session_start(&a, ends[1], &e) < 0)
        fail_msg("%s", e.text);
    return ends[0];
}

/* Says a line and takes exactly this as the answer. */
static void expect(int fd, const char *line, const char *expected)
{
    house_say(fd, str_from(line));
    house_say(fd, STR("\r\n"));
    house_hear(fd, &heard, str_from(expected));
    assert_str(buf_str(&heard), str_from(expected));
}

/* Says a line; the answer is one line that begins so. */
static void expect_line(int fd, const char *line, const char *beginning)
{
    house_say(fd, str_from(line));
    house_say(fd, STR("\r\n"));
    house_hear(fd, &heard, STR("\r\n"));
    if (!str_starts(buf_str(&heard), str_from(beginning)))
        fail_msg("%s: " STR_FMT, line, STR_ARG(buf_str(&heard)));
}

static int login(const char *greeting)
{
    int fd = login_with(STR(""));
    expect(fd, "NOOP", greeting);
    expect(fd, "NOOP", "+OK Nothing done\r\n");
    return fd;
}

static int login_any(void)
{
    int fd = login_with(STR(""));
    assert_true(house_hear(fd, &heard, STR("\r\n")));
    assert_true(str_starts(buf_str(&heard), STR("+OK ")));
    return fd;
}

/* The server ends its side, and says nothing more. */
static void expect_end(int fd)
{
    assert_true(house_hear(fd, &heard, STR("")));
    assert_str(buf_str(&heard), STR(""));
    close(fd);
}

static void quit(int fd)
{
    expect(fd, "QUIT", "+OK Good-bye\r\n");
    expect_end(fd);
}

/* The body of the answer to RETR or TOP: without its first line and its end, not unstuffed. */
static struct str expect_message(int fd, const char *line)
{
    house_say(fd, str_from(line));
    house_say(fd, STR("\r\n"));
    assert_true(house_hear(fd, &heard, STR("\r\n.\r\n")));
    struct str text = buf_str(&heard);
    assert_true(str_starts(text, STR("+OK ")));
    text = str_from_pos(text, str_find_char(text, '\n') + 1);
    return str_slice(text, 0, text.len - 3);
}

static int unsee_job(struct account_tx *tx, void *context UNUSED, struct error *e)
{
    struct arena arena = ARENA_INIT;
    struct mailbox mailbox;
    struct message after;
    bool changed;
    int result = mailbox_find(tx, STR("INBOX"), &arena, &mailbox, e);
    if (result == 0)
        result = message_flags(tx, mailbox.id, 1, FLAGS_REMOVE, FLAG_SEEN, NULL, 0, UINT64_MAX,
                               &after, &changed, e);
    arena_free(&arena);
    return result;
}

/* What an IMAP session does beside: \Seen is taken off message 1. */
static void unsee(void)
{
    struct error e = {0};
    struct account *a = NULL;
    assert_int_equal(account_open(account, &a, &e), 0);
    assert_int_equal(account_write_reserved(a, unsee_job, NULL, &e), 0);
    account_close(&a);
}

/* ------------------------------------------------------------------ tests */

static void listings(void **state UNUSED)
{
    int fd = login_any();
    expect(fd, "STAT", "+OK 0 0\r\n");
    expect(fd, "LIST", "+OK 0 messages (0 octets)\r\n.\r\n");
    expect(fd, "UIDL", "+OK 0 messages (0 octets)\r\n.\r\n");
    expect_line(fd, "LIST 1", "-ERR ");
    quit(fd);
    house_deliver(account, STR("Subject: one\r\n\r\n1\r\n"));
    house_deliver(account, STR("Subject: three\r\n\r\n1\r\n2\r\n3\r\n"));
    fd = login("+OK Logged in, 2 messages (46 octets)\r\n+OK Nothing done\r\n");
    expect(fd, "STAT", "+OK 2 46\r\n");
    expect(fd, "LIST", "+OK 2 messages (46 octets)\r\n1 19\r\n2 27\r\n.\r\n");
    expect(fd, "LIST 2", "+OK 2 27\r\n");
    /* the maildrop is what it was at the login */
    house_deliver(account, STR("Subject: late\r\n\r\n"));
    expect(fd, "STAT", "+OK 2 46\r\n");
    expect_line(fd, "LIST 3", "-ERR ");
    expect(fd, "DELE 1", "+OK Marked as deleted\r\n");
    expect(fd, "STAT", "+OK 1 27\r\n");
    expect(fd, "LIST", "+OK 1 messages (27 octets)\r\n2 27\r\n.\r\n"); /* numbers stay */
    quit(fd);
}

/* RFC 1939 §7: 1 to 70 characters from 0x21 to 0x7E, unique, and the same in every session. */
static void unique_ids(void **state UNUSED)
{
    char ids[3][80];
    for (int i = 0; i < 3; i++)
        house_deliver(account, STR("Subject: the same\r\n\r\n"));
    int fd = login_any();
    for (int i = 0; i < 3; i++) {
        char line[16];
        snprintf(line, sizeof(line), "UIDL %d", i + 1);
        expect_line(fd, line, "+OK ");
        struct str id = str_trim(str_from_pos(buf_str(&heard), 6));
        assert_true(id.len >= 1 && id.len <= 70);
        for (size_t k = 0; k < id.len; k++)
            assert_in_range(id.data[k], 0x21, 0x7E);
        snprintf(ids[i], sizeof(ids[i]), STR_FMT, STR_ARG(id));
        for (int k = 0; k < i; k++)
            assert_string_not_equal(ids[i], ids[k]);
    }
    expect(fd, "DELE 1", "+OK Marked as deleted\r\n");
    expect_line(fd, "UIDL 1", "-ERR ");
    quit(fd);
    char expected[300];
    fd = login_any();
    snprintf(expected, sizeof(expected), "+OK 2 messages (42 octets)\r\n1 %s\r\n2 %s\r\n.\r\n",
             ids[1], ids[2]);
    expect(fd, "UIDL", expected);
    quit(fd);
}

static void wrong_arguments(void **state UNUSED)
{
    static const char *const rows[] = {
        "",
        "NONSENSE",
        "STAT 1",
        "LIST 0",
        "LIST 2",
        "LIST -1",
        "LIST +1",
        "LIST 1x",
        "LIST 1 2",
        "LIST 4294967297",
        "LIST 99999999999999999999",
        "LIST ",
        "UIDL 0",
        "UIDL x",
        "RETR",
        "RETR 0",
        "RETR 2",
        "RETR 1 1",
        "RETR  1",
        "TOP",
        "TOP 1",
        "TOP 0 1",
        "TOP 2 1",
        "TOP 1 -1",
        "TOP 1 x",
        "TOP 1 1 1",
        "TOP 1 18446744073709551616",
        "DELE",
        "DELE 0",
        "DELE 2",
        "DELE x",
        "NOOP x",
        "RSET x",
        "QUIT x",
        "CAPA x",
    };
    house_deliver(account, STR("Subject: one\r\n\r\n1\r\n"));
    int fd = login_any();
    for (size_t i = 0; i < countof(rows); i++)
        expect_line(fd, rows[i], "-ERR ");
    /* AUTHORIZATION's commands are over (RFC 1939 §4) */
    expect_line(fd, "USER a", "-ERR ");
    expect_line(fd, "PASS a", "-ERR ");
    expect_line(fd, "AUTH PLAIN", "-ERR ");
    expect_line(fd, "STLS", "-ERR ");
    expect(fd, "STAT", "+OK 1 19\r\n");
    quit(fd);
}

static void stuff(struct buf *out, struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] == '.' && (i == 0 || text.data[i - 1] == '\n'))
            buf_add_char(out, '.');
        buf_add_char(out, text.data[i]);
    }
    if (!str_ends(text, STR("\r\n")))
        buf_add_literal(out, "\r\n");
}

/* RFC 1939 §3. */
static void stuffing(void **state UNUSED)
{
    static const struct str rows[] = {
        STR_INIT("Subject: a\r\n\r\n.\r\n..\r\n...\r\n.a\r\na.\r\n \r\n.\r\n"),
        STR_INIT(".\r\n"),
        STR_INIT(".Subject: a\r\n"),
        STR_INIT("Subject: a\r\n\r\nno end"),
        STR_INIT("Subject: a\r\n\r\n."),
        STR_INIT("Subject: a\r\n\r\n\r\n\r\n"),
        STR_INIT("x"),
    };
    struct buf expected = BUF_INIT(BUF_UNBOUNDED);
    for (size_t i = 0; i < countof(rows); i++)
        house_deliver(account, rows[i]);
    int fd = login_any();
    for (size_t i = 0; i < countof(rows); i++) {
        char line[20];
        snprintf(line, sizeof(line), "RETR %zu", i + 1);
        buf_reset(&expected);
        stuff(&expected, rows[i]);
        assert_str(expect_message(fd, line), buf_str(&expected));
    }
    quit(fd);
    buf_free(&expected);
}

/* Messages are read in pieces of 64 KB: the border stands at every place of "\r\n.x\r\n". */
static void stuffing_at_borders(void **state UNUSED)
{
    struct buf text = BUF_INIT(BUF_UNBOUNDED), expected = BUF_INIT(BUF_UNBOUNDED);
    for (size_t shift = 0; shift < 6; shift++) {
        buf_reset(&text);
        buf_reset(&expected);
        buf_printf(&text, "S: %.*s\r\n\r\n", (int)shift, "aaaaaa");
        while (text.len < 150000)
            buf_add_literal(&text, ".x\r\n..\r\n");
        stuff(&expected, buf_str(&text));
        house_deliver(account, buf_str(&text));
        int fd = login_any();
        assert_str(expect_message(fd, "RETR 1"), buf_str(&expected));
        expect(fd, "DELE 1", "+OK Marked as deleted\r\n");
        quit(fd);
    }
    buf_free(&text);
    buf_free(&expected);
}

static void top(void **state UNUSED)
{
#define HEADER  "Subject: a\r\nX: .\r\n.Y: z\r\n\r\n"
#define STUFFED "Subject: a\r\nX: .\r\n..Y: z\r\n\r\n"
    house_deliver(account, STR(HEADER "one\r\n.two\r\n\r\nfour"));
    house_deliver(account, STR("Subject: no body\r\n"));
    house_deliver(account, STR("\r\nno header\r\nat all\r\n"));
    int fd = login_any();
    assert_str(expect_message(fd, "TOP 1 0"), STR(STUFFED));
    assert_str(expect_message(fd, "TOP 1 1"), STR(STUFFED "one\r\n"));
    assert_str(expect_message(fd, "TOP 1 2"), STR(STUFFED "one\r\n..two\r\n"));
    assert_str(expect_message(fd, "TOP 1 3"), STR(STUFFED "one\r\n..two\r\n\r\n"));
    assert_str(expect_message(fd, "TOP 1 4"), STR(STUFFED "one\r\n..two\r\n\r\nfour\r\n"));
    assert_str(expect_message(fd, "TOP 1 18446744073709551614"),
               STR(STUFFED "one\r\n..two\r\n\r\nfour\r\n"));
    assert_str(expect_message(fd, "TOP 2 5"), STR("Subject: no body\r\n"));
    assert_str(expect_message(fd, "TOP 3 0"), STR("\r\n"));
    assert_str(expect_message(fd, "TOP 3 1"), STR("\r\nno header\r\n"));
    expect(fd, "DELE 1", "+OK Marked as deleted\r\n");
    expect_line(fd, "TOP 1 0", "-ERR ");
    quit(fd);
}

/* The blank line, and the last line that is asked for, stand across the border of two pieces. */
static void top_at_borders(void **state UNUSED)
{
    struct buf text = BUF_INIT(BUF_UNBOUNDED), expected = BUF_INIT(BUF_UNBOUNDED);
    for (size_t before = 0; before < 8; before++) {
        buf_reset(&text);
        buf_reset(&expected);
        while (text.len < 65536 - 40 - 60)
            buf_add_literal(&text, "X-Header: 12345678901234567890123456789012345\r\n");
        buf_add_literal(&text, "X: ");
        while (text.len < 65536 - before)
            buf_add_char(&text, 'a');
        buf_add_literal(&text, "\r\n\r\n");
        buf_add(&expected, buf_str(&text));
        buf_add_literal(&expected, "1\r\n");
        buf_add_literal(&text, "1\r\n2\r\n3\r\n");
        house_deliver(account, buf_str(&text));
        int fd = login_any();
        assert_str(expect_message(fd, "TOP 1 1"), buf_str(&expected));
        expect(fd, "DELE 1", "+OK Marked as deleted\r\n");
        quit(fd);
    }
    buf_free(&text);
    buf_free(&expected);
}

/* RFC 1939 §5, §6: marks are undone by RSET, and only QUIT removes. */
static void deleting(void **state UNUSED)
{
    for (int i = 0; i < 3; i++)
        house_deliver(account, STR("Subject: a\r\n\r\n"));
    int fd = login_any();
    expect(fd, "DELE 2", "+OK Marked as deleted\r\n");
    expect_line(fd, "DELE 2", "-ERR ");
    expect_line(fd, "RETR 2", "-ERR ");
    expect_line(fd, "LIST 2", "-ERR ");
    expect(fd, "RSET", "+OK Nothing is marked as deleted\r\n");
    expect(fd, "STAT", "+OK 3 42\r\n");
    expect_line(fd, "LIST 2", "+OK 2 14");
    expect(fd, "DELE 1", "+OK Marked as deleted\r\n");
    close(fd); /* lost: nothing is removed */
    fd = login_any();
    expect(fd, "STAT", "+OK 3 42\r\n");
    expect(fd, "DELE 1", "+OK Marked as deleted\r\n");
    expect(fd, "DELE 3", "+OK Marked as deleted\r\n");
    quit(fd);
    fd = login_any();
    expect(fd, "STAT", "+OK 1 14\r\n");
    quit(fd);
}

/* Two sessions at a time do not disturb each other. */
static void two_sessions(void **state UNUSED)
{
    house_deliver(account, STR("Subject: one\r\n\r\n"));
    house_deliver(account, STR("Subject: two\r\n\r\n"));
    int first = login_any(), second = login_any();
    expect(first, "DELE 1", "+OK Marked as deleted\r\n");
    assert_str(expect_message(second, "RETR 1"), STR("Subject: one\r\n\r\n"));
    quit(first);
    expect_line(second, "RETR 1", "-ERR "); /* is gone meanwhile */
    expect(second, "STAT", "+OK 2 32\r\n");
    assert_str(expect_message(second, "RETR 2"), STR("Subject: two\r\n\r\n"));
    expect(second, "DELE 1", "+OK Marked as deleted\r\n");
    expect(second, "DELE 2", "+OK Marked as deleted\r\n");
    quit(second);
    first = login_any();
    expect(first, "STAT", "+OK 0 0\r\n");
    quit(first);
}

/* What was retrieved is \Seen for IMAP after QUIT; what was not is left alone. */
static void seen(void **state UNUSED)
{
    house_deliver(account, STR("Subject: one\r\n\r\n"));
    house_deliver(account, STR("Subject: two\r\n\r\n"));
    int fd = login_any();
    expect_message(fd, "RETR 1");
    close(fd); /* without QUIT */
    fd = login_any();
    expect_message(fd, "TOP 1 0");
    quit(fd);
    assert_int_equal(house_inbox(account).unseen, 2);
    fd = login_any();
    expect_message(fd, "RETR 1");
    quit(fd);
    assert_int_equal(house_inbox(account).unseen, 1);
    fd = login_any(); /* message 1 is \Seen now */
    unsee();
    assert_int_equal(house_inbox(account).unseen, 2);
    quit(fd); /* nothing was retrieved here */
    assert_int_equal(house_inbox(account).unseen, 2);
}

/* RFC 2449 §6.8: commands ahead of their replies, also those behind the login. */
static void pipelining(void **state UNUSED)
{
    house_deliver(account, STR("Subject: a\r\n\r\n.\r\n"));
    int fd = login_with(STR("STAT\r\nRETR 1\r\nTOP"));
    house_say(fd, STR(" 1 0\r\nDELE 1\r\nLIST\r\nRSET\nQUIT\r\nSTAT\r\n"));
    assert_true(house_hear(fd, &heard, STR("")));
    assert_str(buf_str(&heard), STR("+OK Logged in, 1 messages (17 octets)\r\n"
                                    "+OK 1 17\r\n"
                                    "+OK 17 octets\r\nSubject: a\r\n\r\n..\r\n.\r\n"
                                    "+OK 17 octets\r\nSubject: a\r\n\r\n.\r\n"
                                    "+OK Marked as deleted\r\n"
                                    "+OK 0 messages (0 octets)\r\n.\r\n"
                                    "+OK Nothing is marked as deleted\r\n"
                                    "+OK Good-bye\r\n"));
    close(fd);
}

static void bounds(void **state UNUSED)
{
    int fd = login_any(), answers = 0;
    for (int i = 0; i < 60; i++)
        if (send(fd, "NONSENSE\r\n", 10, MSG_NOSIGNAL) < 0)
            break;
    while (house_hear(fd, &heard, STR("\r\n")))
        answers++;
    assert_int_equal(answers, 51); /* fifty, and the good-bye */
    close(fd);
    char line[600];
    memset(line, 'A', sizeof(line));
    fd = login_any();
    house_say(fd, str_of(line, sizeof(line)));
    assert_true(house_hear(fd, &heard, STR("\r\n")));
    assert_str(buf_str(&heard), STR("-ERR Line too long, good-bye\r\n"));
    expect_end(fd);
}

static void capabilities(void **state UNUSED)
{
    int fd = login_any();
    house_say(fd, STR("CAPA\r\n"));
    assert_true(house_hear(fd, &heard, STR("\r\n.\r\n")));
    static const char *const lines[] = {"TOP",        "UIDL",           "PIPELINING",
                                        "RESP-CODES", "AUTH-RESP-CODE", "EXPIRE NEVER"};
    for (size_t i = 0; i < countof(lines); i++) {
        char line[40];
        snprintf(line, sizeof(line), "\r\n%s\r\n", lines[i]);
        assert_true(str_find(buf_str(&heard), str_from(line)) < heard.len);
    }
    assert_int_equal(str_find(buf_str(&heard), STR("STLS")), heard.len); /* RFC 2595 §4 */
    quit(fd);
}

#define EACH(test) cmocka_unit_test_setup(test, account_fresh)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(listings),
        EACH(unique_ids),
        EACH(wrong_arguments),
        EACH(stuffing),
        EACH(stuffing_at_borders),
        EACH(top),
        EACH(top_at_borders),
        EACH(deleting),
        EACH(two_sessions),
        EACH(seen),
        EACH(pipelining),
        EACH(bounds),
        EACH(capabilities),

    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
