/* test_login.c - POP3's AUTHORIZATION state, from the greeting to the maildrop, on a socket with an
 * abstract name. */
#include "../../house.h"
#include "auth/attach.h"
#include "auth/front.h"
#include "auth/password.h"
#include "auth/sasl.h"
#include "base/codec.h"
#include "pop3/login.h"
#include "pop3/session.h"
#include "unit.h"

static struct sockaddr_un open_door, tls_only; /* passwords in the clear are allowed, or not */
static struct buf heard = BUF_INIT(BUF_UNBOUNDED);

static int setup(void **state UNUSED)
{
    static attach_handler *handlers[ATTACH_PROTOCOL_COUNT] = {[ATTACH_POP3] = pop3_session_start};
    static struct process_listener listeners[2];
    struct error e;
    uint64_t alice = house_make(
        "[limits]\nfree-space = 1M\nerrors = 10\n[login]\nfailure-time = 0\n"
        "failures-per-pair = 10000\nfailures-per-network = 10000\n"
        "[listener open]\nprotocol = pop3\naddress = /tmp/unused\nplaintext-login = yes\n"
        "[listener closed]\nprotocol = pop3\naddress = /tmp/unused2\nplaintext-login = no");
    house_deliver(alice, STR("Subject: a\r\n\r\n"));
    assert_int_equal(password_set(alice, STR(""), STR("wonder  land "), &e), 0);
    house_calls_from(PROCESS_EDGE);
    sasl_serve();
    session_attach_serve(handlers);
    listeners[0] = house_listener(0, &open_door);
    listeners[1] = house_listener(1, &tls_only);
    front_listen(&listeners[0], &pop3_front);
    front_listen(&listeners[1], &pop3_front);
    return 0;
}

static int teardown(void **state UNUSED)
{
    buf_free(&heard);
    assert_int_equal(house_end(), 0);
    return 0;
}

static int connect_to(const struct sockaddr_un *door)
{
    int fd = house_connect(door);
    assert_true(house_hear(fd, &heard, STR("\r\n")));
    assert_str(buf_str(&heard), STR("+OK mail.example.test Posthouse POP3 ready\r\n"));
    return fd;
}

static void expect_line(int fd, const char *line, const char *beginning)
{
    house_say(fd, str_from(line));
    house_say(fd, STR("\r\n"));
    house_hear(fd, &heard, STR("\r\n"));
    if (!str_starts(buf_str(&heard), str_from(beginning)))
        fail_msg("%s: " STR_FMT, line, STR_ARG(buf_str(&heard)));
}

static void expect_end(int fd)
{
    assert_true(house_hear(fd, &heard, STR("")));
    assert_str(buf_str(&heard), STR(""));
    close(fd);
}

static const char *base64(const char *text, size_t len)
{
    static char out[400];
    struct buf b = BUF_INIT(300);
    base64_encode(&b, str_of(text, len));
    snprintf(out, sizeof(out), STR_FMT, STR_ARG(buf_str(&b)));
    buf_free(&b);
    return out;
}

#define PLAIN     "\0alice@example.test\0wonder  land "
#define PLAIN_LEN (sizeof(PLAIN) - 1)

static void order(void **state UNUSED)
{
    static const char *const transaction[] = {"STAT", "LIST",   "UIDL",   "NOOP",
                                              "RSET", "RETR 1", "DELE 1", "TOP 1 0"};
    int fd = connect_to(&open_door);
    for (size_t i = 0; i < countof(transaction); i++)
        expect_line(fd, transaction[i], "-ERR Log in first");
    expect_line(fd, "QUIT", "+OK");
    expect_end(fd);
    fd = connect_to(&open_door);
    expect_line(fd, "PASS wonder  land ", "-ERR Send USER first");
    expect_line(fd, "USER", "-ERR Wrong");
    expect_line(fd, "USER ", "+OK"); /* an empty name is nobody */
    expect_line(fd, "PASS x", "-ERR");
    expect_line(fd, "PASS", "-ERR Wrong");
    expect_line(fd, "CAPA x", "-ERR Wrong");
    expect_line(fd, "QUIT x", "-ERR Wrong");
    expect_line(fd, "STLS", "-ERR TLS is not available");
    expect_line(fd, "APOP alice 0123", "-ERR Unknown");
    close(fd);
}

static void user_and_pass(void **state UNUSED)
{
    int fd = connect_to(&open_door);
    expect_line(fd, "USER alice@example.test", "+OK");
    expect_line(fd, "PASS wonder land", "-ERR [AUTH]"); /* RFC 3206 §4 */
    expect_line(fd, "PASS wonder  land ", "-ERR Send USER first");
    expect_line(fd, "USER nobody@example.test", "+OK"); /* who exists is not told */
    expect_line(fd, "PASS wonder  land ", "-ERR [AUTH]");
    expect_line(fd, "user bob@example.test", "+OK");
    expect_line(fd, "user alice@example.test", "+OK"); /* the last one counts */
    expect_line(fd, "pass wonder  land ", "+OK Logged in, 1 messages (14 octets)");
    expect_line(fd, "STAT", "+OK 1 14");
    expect_line(fd, "QUIT", "+OK");
    expect_end(fd);
}

/* What stands behind the login goes to the maildrop's session. */
static void pipelining(void **state UNUSED)
{
    int fd = connect_to(&open_door);
    house_say(fd, STR("USER alice@example.test\r\nPASS wonder  land \r\nSTAT\r\nQUIT\r\n"));
    assert_true(house_hear(fd, &heard, STR("")));
    assert_str(buf_str(&heard),
               STR("+OK Send the password\r\n+OK Logged in, 1 messages (14 octets)\r\n"
                   "+OK 1 14\r\n+OK Good-bye\r\n"));
    close(fd);
}

/* RFC 5034 §4. */
static void auth(void **state UNUSED)
{
    char line[500];
    int fd = connect_to(&open_door);
    house_say(fd, STR("AUTH\r\n"));
    assert_true(house_hear(fd, &heard, STR("\r\n.\r\n")));
    assert_true(str_find(buf_str(&heard), STR("\r\nPLAIN\r\n")) < heard.len);
    expect_line(fd, "AUTH NONSENSE", "-ERR");
    expect_line(fd, "AUTH PLAIN !!!", "-ERR That is not base64");
    expect_line(fd, "AUTH PLAIN =", "-ERR"); /* an empty initial response, which PLAIN has not */
    expect_line(fd, "AUTH PLAIN a b", "-ERR Wrong");
    expect_line(fd, "AUTH PLAIN", "+ \r\n");
    expect_line(fd, "*", "-ERR");
    expect_line(fd, "AUTH PLAIN", "+ \r\n");
    expect_line(fd, "!!!", "-ERR That is not base64");
    expect_line(fd, "AUTH PLAIN", "+ \r\n");
    expect_line(fd, base64("\0alice@example.test\0wrong", 25), "-ERR [AUTH]");
    expect_line(fd, "CAPA", "+OK");
    assert_true(house_hear(fd, &heard, STR("\r\n.\r\n")));
    snprintf(line, sizeof(line), "AUTH PLAIN %s", base64(PLAIN, PLAIN_LEN));
    expect_line(fd, line, "+OK Logged in, 1 messages");
    expect_line(fd, "AUTH PLAIN", "-ERR You are logged in already");
    close(fd);
    fd = connect_to(&open_door);
    expect_line(fd, "AUTH plain", "+ \r\n");
    expect_line(fd, base64(PLAIN, PLAIN_LEN), "+OK Logged in, 1 messages");
    close(fd);
}

/* RFC 2595 §2.1: no passwords where they could be read. */
static void without_tls(void **state UNUSED)
{
    char line[500];
    int fd = connect_to(&tls_only);
    house_say(fd, STR("CAPA\r\n"));
    assert_true(house_hear(fd, &heard, STR("\r\n.\r\n")));
    assert_int_equal(str_find(buf_str(&heard), STR("USER")), heard.len);
    assert_int_equal(str_find(buf_str(&heard), STR("PLAIN")), heard.len);
    expect_line(fd, "USER alice@example.test", "-ERR Passwords");
    expect_line(fd, "PASS wonder  land ", "-ERR Passwords");
    snprintf(line, sizeof(line), "AUTH PLAIN %s", base64(PLAIN, PLAIN_LEN));
    expect_line(fd, line, "-ERR");
    expect_line(fd, "STAT", "-ERR Log in first");
    close(fd);
}

static void capabilities(void **state UNUSED)
{
    int fd = connect_to(&open_door);
    house_say(fd, STR("CAPA\r\n"));
    assert_true(house_hear(fd, &heard, STR("\r\n.\r\n")));
    assert_true(str_find(buf_str(&heard), STR("\r\nUSER\r\n")) < heard.len);
    assert_true(str_find(buf_str(&heard), STR("\r\nSASL ")) < heard.len);
    assert_int_equal(str_find(buf_str(&heard), STR("STLS")), heard.len); /* no certificate here */
    /* RFC 2449 §5: what is available before the login is announced after it, too */
    struct buf before = BUF_INIT(4096);
    buf_add(&before, buf_str(&heard));
    expect_line(fd, "USER alice@example.test", "+OK");
    expect_line(fd, "PASS wonder  land ", "+OK");
    house_say(fd, STR("CAPA\r\n"));
    assert_true(house_hear(fd, &heard, STR("\r\n.\r\n")));
    assert_str(buf_str(&heard), buf_str(&before));
    buf_free(&before);
    close(fd);
}

static void bounds(void **state UNUSED)
{
    int fd = connect_to(&open_door), answers = 0;
    for (int i = 0; i < 12; i++)
        if (send(fd, "NONSENSE\r\n", 10, MSG_NOSIGNAL) < 0)
            break;
    while (house_hear(fd, &heard, STR("\r\n")))
        answers++;
    assert_in_range(answers, 10, 11);
    close(fd);
    fd = connect_to(&open_door);
    char big[20000];
    memset(big, 'A', sizeof(big));
    send(fd, big, sizeof(big), MSG_NOSIGNAL);
    assert_true(house_hear(fd, &heard, STR("\r\n")));
    assert_str(buf_str(&heard), STR("-ERR Line too long, good-bye\r\n"));
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order),  cmocka_unit_test(user_and_pass), cmocka_unit_test(pipelining),
        cmocka_unit_test(auth),   cmocka_unit_test(without_tls),   cmocka_unit_test(capabilities),
        cmocka_unit_test(bounds),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
