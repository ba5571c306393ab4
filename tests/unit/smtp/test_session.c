/* test_session.c - whole SMTP and LMTP sessions, from the greeting into the store, on sockets with abstract
 * names. */
#include <openssl/ssl.h>
#include <signal.h>

#include "../../house.h"
#include "run/tls.h"
#include "smtp/server.h"
#include "unit.h"

/* small: limits of one listener; tls: offers STARTTLS. */
enum { DOOR_SMTP, DOOR_LMTP, DOOR_SMALL, DOOR_TLS, DOORS };
static struct sockaddr_un doors[DOORS];
static uint64_t alice, bob, tight;
static struct buf heard = BUF_INIT(BUF_UNBOUNDED);

static void certificate_make(void)
{
    struct str name = STR("mail.example.test");
    struct buf chain = BUF_INIT(BUF_UNBOUNDED), key = BUF_INIT(BUF_UNBOUNDED);
    struct tls_context *context;
    struct error e;
    assert_int_equal(tls_make_self_signed(&name, 1, 1, &chain, &key, &e), 0);
    struct tls_certificate certificate = {buf_str(&chain), buf_str(&key)};
    assert_int_equal(tls_context_create(&certificate, 1, &context, &e), 0);
    tls_current_set(context);
    buf_free(&chain);
    buf_free(&key);
}

static int setup(void **state UNUSED)
{
    static struct process_listener listeners[DOORS];
    struct error e;
    signal(SIGPIPE, SIG_IGN); /* OpenSSL's client below writes without MSG_NOSIGNAL */
    struct str targets[] = {STR("alice@example.test"), STR("bob@example.test")};
    alice =
        house_make("[limits]\nfree-space = 1M\nmessage-size = 64K\nheader-size = 16K\nerrors = 6\n"
                   "commands = 12\nhops = 10\n[smtp]\ngreeting-delay = 0\n"
                   "[listener smtp]\nprotocol = smtp\naddress = /tmp/unused\ntls = off\n"
                   "[listener lmtp]\nprotocol = lmtp\naddress = /tmp/unused2\ntls = off\n"
                   "[listener small]\nprotocol = smtp\naddress = /tmp/unused3\nrecipients = 2\n"
                   "message-size = 100\ntls = off\n"
                   "[listener tls]\nprotocol = smtp\naddress = /tmp/unused4\ntls = starttls");
    bob = house_account("bob@example.test", 0);
    tight = house_account("tight@example.test", 1000);
    assert_int_equal(directory_alias_add(STR("both@example.test"), targets, 2, &e), 0);
    certificate_make();
    for (size_t i = 0; i < DOORS; i++) {
        listeners[i] = house_listener(i, &doors[i]);
        smtp_listen(&listeners[i]);
    }
    return 0;
}

static int teardown(void **state UNUSED)
{
    buf_free(&heard);
    assert_int_equal(house_end(), 0);
    tls_current_set(NULL);
    return 0;
}

/* ------------------------------------------------------------------ the client's side */

static void expect_reply(int fd, const char *beginning)
{
    house_hear(fd, &heard, STR("\r\n"));
    if (!str_starts(buf_str(&heard), str_from(beginning)))
        fail_msg("expected %s, got " STR_FMT, beginning, STR_ARG(buf_str(&heard)));
}

static void expect(int fd, const char *line, const char *beginning)
{
    house_say(fd, str_from(line));
    house_say(fd, STR("\r\n"));
    house_hear(fd, &heard, STR("\r\n"));
    if (!str_starts(buf_str(&heard), str_from(beginning)))
        fail_msg("%s: expected %s, got " STR_FMT, line, beginning, STR_ARG(buf_str(&heard)));
}

static void expect_end(int fd)
{
    assert_true(house_hear(fd, &heard, STR("")));
    assert_str(buf_str(&heard), STR(""));
    close(fd);
}

static int connect_to(int door)
{
    int fd = house_connect(&doors[door]);
    expect_reply(fd,
                 door == DOOR_LMTP ? "220 mail.example.test LMTP" : "220 mail.example.test ESMTP");
    return fd;
}

static void ehlo(int fd, const char *word)
{
    house_say(fd, str_from(word));
    house_say(fd, STR(" client.test\r\n"));
    assert_true(house_hear(fd, &heard, STR("\r\n250 HELP\r\n")));
    assert_true(str_starts(buf_str(&heard), STR("250-mail.example.test\r\n")));
}

static int begin(int door)
{
    int fd = connect_to(door);
    ehlo(fd, door == DOOR_LMTP ? "LHLO" : "EHLO");
    return fd;
}

static void envelope(int fd)
{
    expect(fd, "MAIL FROM:<a@b.test>", "250 2.1.0");
    expect(fd, "RCPT TO:<alice@example.test>", "250 2.1.5");
}

static void quit(int fd)
{
    expect(fd, "QUIT", "221 2.0.0");
    expect_end(fd);
}

/* ------------------------------------------------------------------ order */

static void order(void **state UNUSED)
{
    static const char *const early[] = {"MAIL FROM:<a@b.test>", "RCPT TO:<alice@example.test>",
                                        "DATA", "STARTTLS"};
    int fd = connect_to(DOOR_SMTP);
    for (size_t i = 0; i < countof(early); i++)
        expect(fd, early[i], "503 5.5.1 Say EHLO first");
    expect(fd, "NOOP", "250");
    expect(fd, "RSET", "250");
    expect(fd, "VRFY alice", "252");
    quit(fd);
    fd = begin(DOOR_SMTP);
    expect(fd, "RCPT TO:<alice@example.test>", "503 5.5.1 Say MAIL first");
    expect(fd, "DATA", "503 5.5.1 Say MAIL first");
    expect(fd, "MAIL FROM:<a@b.test>", "250");
    expect(fd, "DATA", "503 5.5.1 No recipient");
    expect(fd, "MAIL FROM:<c@d.test>", "503 5.5.1"); /* RFC 5321 §4.1.4: not nested */
    expect(fd, "RCPT TO:<alice@example.test>", "250");
    expect(fd, "MAIL FROM:<c@d.test>", "503 5.5.1");
    expect(fd, "DATA", "354");
    house_say(fd, STR("Subject: x\r\n\r\n.\r\n"));
    expect_reply(fd, "250 2.0.0 Taken as ");
    expect(fd, "DATA", "503 5.5.1 Say MAIL first");
    expect_reply(fd, "421 4.7.0"); /* it was the sixth error */
    expect_end(fd);
}

/* RSET, EHLO and a message's end forget the transaction, and only that (RFC 5321 §4.1.1.5, §4.1.4). */
static void forgetting(void **state UNUSED)
{
    int fd = begin(DOOR_SMTP);
    envelope(fd);
    expect(fd, "RSET", "250 2.0.0");
    expect(fd, "DATA", "503 5.5.1 Say MAIL first");
    envelope(fd);
    ehlo(fd, "EHLO");
    expect(fd, "DATA", "503 5.5.1 Say MAIL first");
    envelope(fd);
    expect(fd, "NOOP", "250"); /* forgets nothing */
    expect(fd, "VRFY x", "252");
    expect(fd, "EHLO (", "501");
    expect(fd, "RSET x", "501 5.5.4");
    expect(fd, "DATA", "354");
    house_say(fd, STR("\r\n.\r\n"));
    expect_reply(fd, "250");
    expect(fd, "RCPT TO:<alice@example.test>", "503 5.5.1 Say MAIL first");
    quit(fd);
    fd = begin(DOOR_SMTP);
    expect(fd, "MAIL FROM:<a@b.test> SIZE=70000", "552 5.3.4");
    expect(fd, "RCPT TO:<alice@example.test>", "503 5.5.1 Say MAIL first");
    expect(fd, "QUIT now", "501 5.5.4");
    expect(fd, "HELO client.test", "250 mail.example.test");
    expect(fd, "MAIL FROM:<a@b.test> SIZE=1", "555");
    quit(fd);
}

static void other_protocol(void **state UNUSED)
{
    int fd = connect_to(DOOR_SMTP);
    expect(fd, "LHLO client.test", "500 5.5.1 This is SMTP");
    quit(fd);
    fd = connect_to(DOOR_LMTP);
    expect(fd, "HELO client.test", "500 5.5.1 This is LMTP");
    expect(fd, "EHLO client.test", "500 5.5.1 This is LMTP");
    expect(fd, "MAIL FROM:<a@b.test>", "503 5.5.1");
    quit(fd);
}

/* ------------------------------------------------------------------ pipelining */

/* RFC 2920 §3.1: a whole session at once; the message follows its DATA without waiting. */
static void pipelining(void **state UNUSED)
{
    uint64_t before = house_inbox(alice).messages;
    int fd = begin(DOOR_SMTP);
    house_say(fd, STR("MAIL FROM:<a@b.test>\r\nRCPT TO:<nobody@example.test>\r\n"
                      "RCPT TO:<alice@example.test>\r\nDATA\r\n"
                      "Subject: x\r\n\r\nMAIL FROM:<c@d.test>\r\n..\r\n.\r\n"
                      "MAIL FROM:<>\r\nRSET\r\nNOOP\r\nQUIT\r\nMAIL FROM:<a@b.test>\r\n"));
    static const char *const replies[] = {"250 2.1.0", "550 5.1.1",       "250 2.1.5",
                                          "354",       "250 2.0.0 Taken", "250 2.1.0",
                                          "250 2.0.0", "250 2.0.0",       "221"};
    for (size_t i = 0; i < countof(replies); i++)
        expect_reply(fd, replies[i]);
    assert_false(house_hear(fd, &heard, STR("\r\n"))); /* nothing behind QUIT is executed */
    close(fd);
    assert_int_equal(house_inbox(alice).messages, before + 1);
}

/* No recipient was accepted: DATA is refused, and the message's lines are commands (RFC 2920 §3.1). */
static void pipelining_without_recipient(void **state UNUSED)
{
    int fd = begin(DOOR_SMTP);
    house_say(
        fd, STR("MAIL FROM:<a@b.test>\r\nRCPT TO:<nobody@example.test>\r\nDATA\r\n.\r\nNOOP\r\n"));
    static const char *const replies[] = {"250", "550", "503", "500", "250"};
    for (size_t i = 0; i < countof(replies); i++)
        expect_reply(fd, replies[i]);
    quit(fd);
}

/* Byte by byte: the same. */
static void drop_by_drop(void **state UNUSED)
{
    struct str text = STR("MAIL FROM:<a@b.test>\r\nRCPT TO:<alice@example.test>\r\nDATA\r\n"
                          "Subject: x\r\n\r\n..\r\n.\r\nBDAT 0\r\nRSET\r\n");
    int fd = begin(DOOR_SMTP);
    for (size_t i = 0; i < text.len; i++)
        house_say(fd, str_slice(text, i, 1));
    static const char *const replies[] = {"250", "250", "354", "250", "503", "250"};
    for (size_t i = 0; i < countof(replies); i++)
        expect_reply(fd, replies[i]);
    quit(fd);
}

/* ------------------------------------------------------------------ BDAT */

/* RFC 3030 §2, §4. */
static void chunks(void **state UNUSED)
{
    uint64_t before = house_inbox(alice).messages;
    int fd = begin(DOOR_SMTP);
    envelope(fd);
    house_say(fd, STR("BDAT 3\r\nSubBDAT 0\r\nbdat 9\r\nject: a\r\nBDAT 2\r\n\r\nBDAT 0 LAST\r\n"));
    expect_reply(fd, "250 2.0.0 3 bytes");
    expect_reply(fd, "250 2.0.0 3 bytes");
    expect_reply(fd, "250 2.0.0 12 bytes");
    expect_reply(fd, "250 2.0.0 14 bytes");
    expect_reply(fd, "250 2.0.0 Taken");
    envelope(fd);
    house_say(fd, STR("BDAT 20 last\r\nSubject: b\r\n\r\n.\r\nx\r\n\r\nNOOP\r\n"));
    expect_reply(fd, "250 2.0.0 Taken"); /* a dot means nothing in a chunk */
    expect_reply(fd, "500");             /* 20 bytes, not 22: an empty command is left */
    expect_reply(fd, "250");
    quit(fd);
    assert_int_equal(house_inbox(alice).messages, before + 2);
}

static void chunks_out_of_order(void **state UNUSED)
{
    int fd = begin(DOOR_SMTP);
    /* refused, but its bytes are no commands */
    house_say(fd, STR("BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n"));
    expect_reply(fd, "503 5.5.1");
    expect_reply(fd, "250");
    envelope(fd);
    house_say(fd, STR("BDAT 4\r\nabcd"));
    expect_reply(fd, "250 2.0.0 4 bytes");
    expect(fd, "DATA", "503 5.5.1 A message in chunks");
    expect(fd, "MAIL FROM:<a@b.test>", "503 5.5.1 A message in chunks");
    expect(fd, "RCPT TO:<alice@example.test>", "503 5.5.1 A message in chunks");
    expect(fd, "NOOP", "250");
    expect(fd, "RSET", "250");
    house_say(fd, STR("BDAT 2 LAST\r\n\r\n"));
    expect_reply(fd, "503 5.5.1");
    quit(fd);
}

/* Where a chunk ends must be known; else the session does. */
static void chunk_sizes(void **state UNUSED)
{
    static const char *const rows[] = {"BDAT",
                                       "BDAT x",
                                       "BDAT -1",
                                       "BDAT 1 FIRST",
                                       "BDAT LAST",
                                       "BDAT 0x10",
                                       "BDAT 1 LAST x",
                                       "BDAT 1LAST",
                                       "BDAT 18446744073709551615",
                                       "BDAT 18446744073709551616",
                                       "BDAT 9223372036854775808"};
    for (size_t i = 0; i < countof(rows); i++) {
        int fd = begin(DOOR_SMTP);
        envelope(fd);
        expect(fd, rows[i], "501 5.5.4");
        expect_end(fd);
    }
    int fd = begin(DOOR_SMTP); /* too large, told at its end; nothing is kept of it */
    envelope(fd);
    char piece[1024];
    memset(piece, 'a', sizeof(piece));
    house_say(fd, STR("BDAT 102400 LAST\r\n"));
    for (int i = 0; i < 100; i++)
        house_say(fd, str_of(piece, sizeof(piece)));
    expect_reply(fd, "552 5.3.4");
    envelope(fd);
    quit(fd);
}

/* ------------------------------------------------------------------ limits */

static void too_many_errors(void **state UNUSED)
{
    int fd = begin(DOOR_SMTP);
    expect(fd, "MAIL FROM:<a@b.test>", "250");
    for (int i = 0; i < 5; i++) /* refused recipients are errors, too */
        expect(fd, i % 2 ? "NONSENSE" : "RCPT TO:<nobody@example.test>", "5");
    expect(fd, "NONSENSE", "500");
    expect_reply(fd, "421 4.7.0 mail.example.test Too many errors");
    expect_end(fd);
}

static void too_many_commands(void **state UNUSED)
{
    int fd = begin(DOOR_SMTP); /* one */
    for (int i = 0; i < 10; i++)
        expect(fd, "NOOP", "250");
    expect(fd, "RSET", "250");
    expect_reply(fd, "421 4.7.0 mail.example.test Too many commands without mail");
    expect_end(fd);
    fd = begin(DOOR_SMTP); /* what brings mail does not count */
    for (int i = 0; i < 20; i++) {
        envelope(fd);
        expect(fd, "DATA", "354");
        house_say(fd, STR(".\r\n"));
        expect_reply(fd, "250");
    }
    quit(fd);
    fd = begin(DOOR_SMTP); /* but a MAIL that is refused does, even when it is no error */
    for (int i = 0; i < 11; i++)
        expect(fd, "MAIL FROM:<a@b.test> SIZE=70000", "552");
    expect_reply(fd, "421 4.7.0");
    expect_end(fd);
}

static void command_lines(void **state UNUSED)
{
    char line[5000];
    memset(line, ' ', sizeof(line));
    memcpy(line, "NOOP", 4);
    int fd = connect_to(DOOR_SMTP);
    house_say(fd, str_of(line, 4094));
    expect(fd, "", "250");
    house_say(fd, STR("NOOP\n"));
    expect_reply(fd, "500 5.5.2");
    house_say(fd, STR("NO\0OP\r\n"));
    expect_reply(fd, "500 5.5.2");
    house_say(fd, STR("NO\rOP\r\n"));
    expect_reply(fd, "500 5.5.2");
    expect(fd, "", "500 5.5.2");
    expect(fd, " NOOP", "500 5.5.2");
    house_say(fd, str_of(line, 4095));
    expect(fd, "", "500 5.5.6");
    expect_end(fd);
}

static void limits_of_the_listener(void **state UNUSED)
{
    char long_line[200];
    int fd = connect_to(DOOR_SMALL);
    house_say(fd, STR("EHLO client.test\r\n"));
    assert_true(house_hear(fd, &heard, STR("\r\n250 HELP\r\n")));
    assert_true(str_find(buf_str(&heard), STR("\r\n250-SIZE 100\r\n")) < heard.len);
    assert_true(str_find(buf_str(&heard), STR("\r\n250-LIMITS RCPTMAX=2\r\n")) < heard.len);
    expect(fd, "MAIL FROM:<a@b.test> SIZE=101", "552 5.3.4");
    envelope(fd);
    expect(fd, "RCPT TO:<bob@example.test>", "250");
    expect(fd, "RCPT TO:<tight@example.test>", "452 4.5.3");
    expect(fd, "DATA", "354");
    snprintf(long_line, sizeof(long_line), "%0*d\r\n.\r\n", 98, 0);
    house_say(fd, str_from(long_line));
    expect_reply(fd, "250"); /* 100 bytes */
    envelope(fd);
    expect(fd, "DATA", "354");
    snprintf(long_line, sizeof(long_line), "%0*d\r\n.\r\n", 99, 0);
    house_say(fd, str_from(long_line));
    expect_reply(fd, "552 5.3.4");
    quit(fd);
}

/* RFC 5321 §6.3, and the bound of the header. */
static void headers(void **state UNUSED)
{
    int fd = begin(DOOR_SMTP);
    for (int hops = 10; hops <= 11; hops++) {
        envelope(fd);
        expect(fd, "DATA", "354");
        for (int i = 0; i < hops; i++)
            house_say(fd, STR("Received: by x.test; Mon, 1 Jan 2024 00:00:00 +0000\r\n"));
        house_say(fd, STR("\r\n.\r\n"));
        expect_reply(fd, hops <= 10 ? "250" : "554 5.4.6");
    }
    envelope(fd);
    expect(fd, "DATA", "354");
    for (int i = 0; i < 400; i++)
        house_say(fd, STR("X-Long: 123456789012345678901234567890123456789\r\n"));
    house_say(fd, STR("\r\n.\r\n"));
    expect_reply(fd, "552 5.3.4 The header");
    quit(fd);
}

/* ------------------------------------------------------------------ early talkers, STARTTLS */

static void starttls_refused(void **state UNUSED)
{
    int fd = begin(DOOR_SMTP);
    assert_int_equal(str_find(buf_str(&heard), STR("STARTTLS")), heard.len);
    expect(fd, "STARTTLS", "454 4.7.0");
    quit(fd);
    fd = begin(DOOR_TLS);
    assert_true(str_find(buf_str(&heard), STR("\r\n250-STARTTLS\r\n")) < heard.len);
    expect(fd, "STARTTLS now", "501 5.5.4");
    quit(fd);
}

static void tls_expect(SSL *ssl, const char *line, const char *end, const char *beginning)
{
    SSL_write(ssl, line, (int)strlen(line));
    buf_reset(&heard);
    char byte;
    while (!str_ends(buf_str(&heard), str_from(end)) && SSL_read(ssl, &byte, 1) == 1)
        buf_add_char(&heard, byte);
    if (!str_starts(buf_str(&heard), str_from(beginning)))
        fail_msg("%s: expected %s, got " STR_FMT, line, beginning, STR_ARG(buf_str(&heard)));
}

/* RFC 3207 §4.2: what came in the clear behind STARTTLS is dropped, what was said before forgotten. */
static void starttls(void **state UNUSED)
{
    struct timeval patience = {.tv_sec = 5};
    int fd = begin(DOOR_TLS);
    envelope(fd);
    house_say(fd, STR("STARTTLS\r\nDATA\r\nNOOP\r\n"));
    expect_reply(fd, "220 2.0.0");
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL *ssl = SSL_new(context);
    SSL_set_fd(ssl, fd);
    assert_int_equal(SSL_connect(ssl), 1);
    tls_expect(ssl, "MAIL FROM:<a@b.test>\r\n", "\r\n", "503 5.5.1 Say EHLO first");
    tls_expect(ssl, "EHLO client.test\r\n", "250 HELP\r\n", "250-mail.example.test");
    assert_int_equal(str_find(buf_str(&heard), STR("STARTTLS")), heard.len);
    tls_expect(ssl, "RCPT TO:<alice@example.test>\r\n", "\r\n", "503 5.5.1 Say MAIL first");
    tls_expect(ssl, "STARTTLS\r\n", "\r\n", "503 5.5.1 TLS is active already");
    tls_expect(ssl, "QUIT\r\n", "\r\n", "221");
    SSL_free(ssl);
    SSL_CTX_free(context);
    close(fd);
}

/* ------------------------------------------------------------------ LMTP */

/* RFC 2033 §4.2: after the message one reply for each recipient that was accepted, in their order. */
static void lmtp(void **state UNUSED)
{
    uint64_t before = house_inbox(alice).messages, tight_before = house_inbox(tight).messages;
    char filler[82];
    memset(filler, 'x', 80);
    memcpy(filler + 80, "\r\n", 2);
    int fd = begin(DOOR_LMTP);
    expect(fd, "MAIL FROM:<a@b.test>", "250");
    expect(fd, "RCPT TO:<alice@example.test>", "250");
    expect(fd, "RCPT TO:<nobody@example.test>", "550");
    expect(fd, "RCPT TO:<tight@example.test>", "250");
    expect(fd, "RCPT TO:<tight+x@example.test>",
           "250");                                    /* is full only when the first one is there */
    expect(fd, "RCPT TO:<both@example.test>", "250"); /* goes to the queue */
    expect(fd, "RCPT TO:<bob@example.test>", "250");
    expect(fd, "DATA", "354");
    for (int i = 0; i < 20; i++)
        house_say(fd, str_of(filler, sizeof(filler)));
    house_say(fd, STR(".\r\n"));
    expect_reply(fd, "250 2.0.0 <alice@example.test>");
    expect_reply(fd, "250 2.0.0 <tight@example.test>");
    expect_reply(fd, "452 4.2.2");
    expect_reply(fd, "250 2.0.0 <both@example.test>");
    expect_reply(fd, "250 2.0.0 <bob@example.test>");
    expect(fd, "NOOP", "250 2.0.0 Nothing done"); /* and no reply more */
    assert_in_range(house_inbox(alice).messages, before + 1, before + 2);
    assert_int_equal(house_inbox(tight).messages, tight_before + 1);
    /* a refusal of the message as a whole is said to each */
    expect(fd, "MAIL FROM:<a@b.test>", "250");
    expect(fd, "RCPT TO:<alice@example.test>", "250");
    expect(fd, "RCPT TO:<bob@example.test>", "250");
    expect(fd, "DATA", "354");
    house_say(fd, STR("bare\n\r\n.\r\n"));
    expect_reply(fd, "550 5.6.0");
    expect_reply(fd, "550 5.6.0");
    expect(fd, "DATA", "503"); /* no recipients: no replies to come */
    /* the same with chunks: one reply for each, but only to the last one */
    expect(fd, "MAIL FROM:<a@b.test>", "250");
    expect(fd, "RCPT TO:<alice@example.test>", "250");
    expect(fd, "RCPT TO:<bob@example.test>", "250");
    house_say(fd, STR("BDAT 2\r\n\r\nBDAT 3 LAST\r\nx\r\n"));
    expect_reply(fd, "250 2.0.0 2 bytes");
    expect_reply(fd, "250 2.0.0 <alice@example.test>");
    expect_reply(fd, "250 2.0.0 <bob@example.test>");
    quit(fd);
}

/* The same person twice gets the message once by SMTP, and two replies by LMTP. */
static void twice(void **state UNUSED)
{
    uint64_t before = house_inbox(bob).messages;
    int fd = begin(DOOR_SMTP);
    expect(fd, "MAIL FROM:<a@b.test>", "250");
    expect(fd, "RCPT TO:<bob@example.test>", "250");
    expect(fd, "RCPT TO:<BOB@example.test>", "250");
    expect(fd, "DATA", "354");
    house_say(fd, STR("Subject: once\r\n\r\n.\r\n"));
    expect_reply(fd, "250");
    quit(fd);
    assert_int_equal(house_inbox(bob).messages, before + 1);
    fd = begin(DOOR_LMTP);
    expect(fd, "MAIL FROM:<a@b.test>", "250");
    expect(fd, "RCPT TO:<bob@example.test>", "250");
    expect(fd, "RCPT TO:<bob@example.test>", "250");
    expect(fd, "DATA", "354");
    house_say(fd, STR("Subject: once\r\n\r\n.\r\n"));
    expect_reply(fd, "250");
    expect_reply(fd, "250");
    quit(fd);
}

/* The client goes in the middle of a message: nothing is delivered (RFC 5321 §4.1.1.5). */
static void lost(void **state UNUSED)
{
    uint64_t before = house_inbox(alice).messages;
    static const char *const texts[] = {"DATA\r\nSubject: x\r\n\r\nbody\r\n.\r",
                                        "BDAT 5 LAST\r\nabcd", "BDAT 4\r\nabcd"};
    for (size_t i = 0; i < countof(texts); i++) {
        int fd = begin(DOOR_SMTP);
        envelope(fd);
        house_talk(fd, texts[i], strlen(texts[i]), NULL); /* until the server has closed, too */
    }
    assert_int_equal(house_inbox(alice).messages, before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order),
        cmocka_unit_test(forgetting),
        cmocka_unit_test(other_protocol),
        cmocka_unit_test(pipelining),
        cmocka_unit_test(pipelining_without_recipient),
        cmocka_unit_test(drop_by_drop),
        cmocka_unit_test(chunks),
        cmocka_unit_test(chunks_out_of_order),
        cmocka_unit_test(chunk_sizes),
        cmocka_unit_test(too_many_errors),
        cmocka_unit_test(too_many_commands),
        cmocka_unit_test(command_lines),
        cmocka_unit_test(limits_of_the_listener),
        cmocka_unit_test(headers),
        cmocka_unit_test(starttls_refused),
        cmocka_unit_test(starttls),
        cmocka_unit_test(lmtp),
        cmocka_unit_test(twice),
        cmocka_unit_test(lost),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
