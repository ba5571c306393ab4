/* test_envelope.c - MAIL and RCPT: what is taken, what it becomes, and the reply to the rest. */
#include <sys/socket.h>

#include "delivery/post.h"
#include "smtp/session.h"

/* A session without a connection: its replies are read from the output buffer. */
static struct smtp_session session;
static int other_end;
static struct settings_listener listener = {
    .name = STR_INIT("smtp"), .address = STR_INIT(""), .protocol = LISTEN_SMTP};

#define X10 "1234567890"
#define X50 X10 X10 X10 X10 X10
#define X60 X50 X10

static int setup(void **state UNUSED)
{
    post_directory_make();
    post_open(PROCESS_MX);
    post_domain();
    post_account("alice@example.test", 0);
    post_account("\"a b\"@example.test", 0);
    post_account("\"a>b\"@example.test", 0);
    post_account("gr\xC3\xBCn@example.test", 0);
    return 0;
}

static int teardown(void **state UNUSED)
{
    post_close();
    post_directory_remove();
    return 0;
}

static int session_begin(void **state UNUSED)
{
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    session = (struct smtp_session){.settings = settings_ref(),
                                    .listener = &listener,
                                    .state = STATE_MAIL,
                                    .stage = STAGE_COMMAND,
                                    .esmtp = true};
    spool_init(&session.spool);
    snprintf(session.arrival.peer, sizeof(session.arrival.peer), "192.0.2.1");
    stream_init(&session.stream, ends[0], 4096, 65536);
    other_end = ends[1];
    return 0;
}

static int session_end(void **state UNUSED)
{
    smtp_transaction_reset(&session);
    VEC_FREE(&session.recipients);
    stream_close(&session.stream);
    fd_close(&other_end);
    settings_unref(&session.settings);
    return 0;
}

/* What the command answered; valid until the next one. */
static struct str said(int (*command)(struct smtp_session *, struct str), struct str argument)
{
    buf_reset(&session.stream.out);
    assert_int_equal(command(&session, argument), 0);
    struct str reply = buf_str(&session.stream.out);
    assert_true(str_ends(reply, STR("\r\n")));
    assert_int_equal(str_find_char(reply, '\n'), reply.len - 1); /* one line */
    for (size_t i = 0; i < reply.len - 2; i++)
        assert_false(ascii_is_control(reply.data[i]));
    assert_true(reply.len <= 512); /* RFC 5321 §4.5.3.1.5 */
    return reply;
}

static void check_reply(size_t row, struct str argument, struct str reply, const char *code)
{
    if (!str_starts(reply, str_from(code)))
        fail_msg("row %zu: " STR_FMT ": expected %s, got " STR_FMT, row, STR_ARG(argument), code,
                 STR_ARG(reply));
}

struct row {
    struct str argument;
    const char *code;
    const char *path; /* what is kept; NULL: nothing */
};

/* A refusal must leave the session as it was: no reverse-path, no flags, no RCPT. */
static void mail_rows(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        session.state = STATE_MAIL;
        uint32_t errors = session.errors;
        struct str reply = said(smtp_mail, rows[i].argument);
        check_reply(i, rows[i].argument, reply, rows[i].code);
        assert_int_equal(session.state, rows[i].path ? STATE_RCPT : STATE_MAIL);
        assert_int_equal(session.errors - errors,
                         rows[i].path || strstr(rows[i].code, "552") ? 0 : 1);
        assert_str(session.reverse_path, str_from(rows[i].path));
        if (!rows[i].path)
            assert_false(session.smtp_utf8 || session.eight_bit || session.declared_size);
    }
}

static void mail_paths(void **state UNUSED)
{
    static const struct row rows[] = {
        {STR_INIT("FROM:<a@b.test>"), "250 2.1.0 <a@b.test>", "a@b.test"},
        {STR_INIT("from:<a@b.test>"), "250 2.1.0", "a@b.test"},
        {STR_INIT("FROM:<A@B.Test>"), "250 2.1.0", "A@B.Test"},
        {STR_INIT("FROM:<>"), "250 2.1.0 <>", ""},
        {STR_INIT("FROM: <a@b.test>"), "250", "a@b.test"}, /* common, and forgiven */
        {STR_INIT("FROM:  \t<a@b.test>"), "250", "a@b.test"},
        {STR_INIT("FROM:a@b.test"), "250", "a@b.test"},
        {STR_INIT("FROM:<a@b.test> "), "250", "a@b.test"},
        {STR_INIT("FROM:<a@[192.0.2.1]>"), "250", "a@[192.0.2.1]"},
        {STR_INIT("FROM:<a@[IPv6:2001:db8::1]>"), "250", "a@[IPv6:2001:db8::1]"},
        {STR_INIT("FROM:<a@localhost>"), "250", "a@localhost"},
        /* quoted local parts */
        {STR_INIT("FROM:<\"a b\"@c.test>"), "250", "\"a b\"@c.test"},
        {STR_INIT("FROM:<\"a>b\"@c.test>"), "250", "\"a>b\"@c.test"},
        {STR_INIT("FROM:<\"a\\\">b\"@c.test>"), "250", "\"a\\\">b\"@c.test"},
        {STR_INIT("FROM:<\"a@b:c\"@d.test>"), "250", "\"a@b:c\"@d.test"},
        {STR_INIT("FROM:<\"\"@c.test>"), "250", "\"\"@c.test"},
        {STR_INIT("FROM:<\"a b@c.test>"), "501 5.5.2", NULL},
        {STR_INIT("FROM:<\"a\\\"@c.test>"), "501 5.5.2", NULL},
        {STR_INIT("FROM:<\"a\"b@c.test>"), "501 5.1.7", NULL},
        {STR_INIT("FROM:<\"a\tb\"@c.test>"), "501 5.1.7", NULL},
        /* source routes: checked, and ignored */
        {STR_INIT("FROM:<@one.test:a@b.test>"), "250 2.1.0 <a@b.test>", "a@b.test"},
        {STR_INIT("FROM:<@one.test,@two.test:a@b.test>"), "250", "a@b.test"},
        {STR_INIT("FROM:<@one.test:\"a:b\"@b.test>"), "250", "\"a:b\"@b.test"},
        {STR_INIT("FROM:<@a:>"), "501", NULL}, /* not the null path */
        {STR_INIT("FROM:<@a:b>"), "501", NULL},
        {STR_INIT("FROM:<@a>"), "501", NULL},
        {STR_INIT("FROM:<@a:@b:c@d>"), "501", NULL},
        {STR_INIT("FROM:<@:a@b.test>"), "501", NULL},
        {STR_INIT("FROM:<@one.test,:a@b.test>"), "501", NULL},
        {STR_INIT("FROM:<@one.test,two.test:a@b.test>"), "501", NULL},
        {STR_INIT("FROM:<@o ne.test:a@b.test>"), "501", NULL},
        {STR_INIT("FROM:<@-one.test:a@b.test>"), "501", NULL},
        {STR_INIT("FROM:<one.test:a@b.test>"), "501", NULL},
        /* what is no path */
        {STR_INIT(""), "501 5.5.2", NULL},
        {STR_INIT("FROM"), "501 5.5.2", NULL},
        {STR_INIT("FROM:"), "501 5.5.2", NULL},
        {STR_INIT("FROM: "), "501 5.5.2", NULL},
        {STR_INIT("FROM <a@b.test>"), "501 5.5.2", NULL},
        {STR_INIT("FROM :<a@b.test>"), "501 5.5.2", NULL},
        {STR_INIT("TO:<a@b.test>"), "501 5.5.2", NULL},
        {STR_INIT("FROM:<a@b.test"), "501 5.5.2", NULL},
        {STR_INIT("FROM:<"), "501 5.5.2", NULL},
        {STR_INIT("FROM:a@b.test>"), "501 5.1.7", NULL},
        {STR_INIT("FROM:<<a@b.test>>"), "501", NULL},
        {STR_INIT("FROM:<a@b.test>SIZE=1"), "501 5.5.2", NULL},
        {STR_INIT("FROM:< a@b.test>"), "501 5.1.7", NULL},
        {STR_INIT("FROM:<a@b.test >"), "501 5.1.7", NULL},
        {STR_INIT("FROM:< >"), "501 5.1.7", NULL},
        {STR_INIT("FROM:<a>"), "501 5.1.7", NULL},
        {STR_INIT("FROM:<postmaster>"), "501 5.1.7", NULL},
        {STR_INIT("FROM:<a@>"), "501 5.1.7", NULL},
        {STR_INIT("FROM:<a@@b.test>"), "501 5.1.7", NULL},
        {STR_INIT("FROM:<a.@b.test>"), "501 5.1.7", NULL},
        {STR_INIT("FROM:<a@b..test>"), "501 5.1.7", NULL},
        {STR_INIT("FROM:<a@b.test.>"), "501 5.1.7", NULL},
        {STR_INIT("FROM:<a@[192.0.2]>"), "501 5.1.7", NULL},
        {STR_INIT("FROM:<a@[192.0.2.1>"), "501 5.1.7", NULL},
        {STR_INIT("FROM:<a@[2001:db8::1]>"), "501 5.1.7", NULL},
        {STR_INIT("FROM:<a@[IPv6:192.0.2.1]>"), "501 5.1.7", NULL},
        {STR_INIT("FROM:<a\x01@b.test>"), "501 5.1.7", NULL},
    };
    mail_rows(rows, countof(rows));
}

/* RFC 5321 §4.5.3.1: 64 octets of local part, 255 of domain, and labels of 63 (RFC 1035 §2.3.4). */
static void lengths(void **state UNUSED)
{
    static const struct row rows[] = {
        {STR_INIT("FROM:<" X60 "1234@b.test>"), "250", X60 "1234@b.test"},
        {STR_INIT("FROM:<" X60 "12345@b.test>"), "501 5.1.7", NULL},
        {STR_INIT("FROM:<a@" X60 "123.test>"), "250", "a@" X60 "123.test"},
        {STR_INIT("FROM:<a@" X60 "1234.test>"), "501 5.1.7", NULL},
        {STR_INIT("FROM:<" X60 "1234@" X60 "." X60 "." X60 "." X60 "." X10 "1>"), "250",
         X60 "1234@" X60 "." X60 "." X60 "." X60 "." X10 "1"}, /* 64 and 255 */
        {STR_INIT("FROM:<a@" X60 "." X60 "." X60 "." X60 "." X10 "12>"), "501 5.1.7", NULL},
    };
    mail_rows(rows, countof(rows));
    assert_int_equal(sizeof(X60 "." X60 "." X60 "." X60 "." X10 "1") - 1, 255);
}

static void mail_parameters(void **state UNUSED)
{
    static const struct row rows[] = {
        {STR_INIT("FROM:<a@b.test> SIZE=1000"), "250", "a@b.test"},
        {STR_INIT("FROM:<a@b.test>   size=1000   body=8bitmime "), "250", "a@b.test"},
        {STR_INIT("FROM:a@b.test SIZE=1000"), "250", "a@b.test"},
        {STR_INIT("FROM:<a@b.test> SIZE=0"), "250", "a@b.test"},
        {STR_INIT("FROM:<a@b.test> SIZE=52428800"), "250", "a@b.test"},
        {STR_INIT("FROM:<a@b.test> SIZE=52428801"), "552 5.3.4", NULL},
        {STR_INIT("FROM:<a@b.test> SIZE=18446744073709551616"), "552 5.3.4", NULL},
        {STR_INIT("FROM:<a@b.test> SIZE=99999999999999999999"), "552 5.3.4", NULL},
        {STR_INIT("FROM:<a@b.test> SIZE=000000000000000000001"), "501 5.5.4", NULL},
        {STR_INIT("FROM:<a@b.test> SIZE"), "501 5.5.4", NULL},
        {STR_INIT("FROM:<a@b.test> SIZE="), "501 5.5.4", NULL},
        {STR_INIT("FROM:<a@b.test> SIZE=-1"), "501 5.5.4", NULL},
        {STR_INIT("FROM:<a@b.test> SIZE=1K"), "501 5.5.4", NULL},
        {STR_INIT("FROM:<a@b.test> SIZE=1=2"), "501 5.5.4", NULL},
        {STR_INIT("FROM:<a@b.test> SIZE=1\tBODY=7BIT"), "501 5.5.4", NULL},
        {STR_INIT("FROM:<a@b.test> BODY=7BIT"), "250", "a@b.test"},
        {STR_INIT("FROM:<a@b.test> BODY=BINARYMIME"), "501 5.5.4", NULL}, /* is not announced */
        {STR_INIT("FROM:<a@b.test> BODY"), "501 5.5.4", NULL},
        {STR_INIT("FROM:<a@b.test> SMTPUTF8"), "250", "a@b.test"},
        {STR_INIT("FROM:<a@b.test> SMTPUTF8=yes"), "501 5.5.4", NULL},
        {STR_INIT("FROM:<a@b.test> SMTPUTF8="), "501 5.5.4", NULL},
        {STR_INIT("FROM:<> SIZE=1 BODY=8BITMIME SMTPUTF8"), "250", ""},
        /* twice: which one would count? */
        {STR_INIT("FROM:<a@b.test> SIZE=1 SIZE=2"), "501 5.5.4", NULL},
        {STR_INIT("FROM:<a@b.test> SIZE=1 size=1"), "501 5.5.4", NULL},
        {STR_INIT("FROM:<a@b.test> BODY=7BIT SIZE=1 BODY=8BITMIME"), "501 5.5.4", NULL},
        {STR_INIT("FROM:<a@b.test> SMTPUTF8 SMTPUTF8"), "501 5.5.4", NULL},
        /* AUTH is not announced here: like any unknown one (RFC 5321 §4.1.1.11) */
        {STR_INIT("FROM:<a@b.test> AUTH=<>"), "555 5.5.4 Unknown parameter AUTH\r", NULL},
        {STR_INIT("FROM:<a@b.test> AUTH=a+40b.test"), "555 5.5.4", NULL},
        {STR_INIT("FROM:<a@b.test> RET=HDRS ENVID=1"), "555 5.5.4 Unknown parameter RET\r", NULL},
        {STR_INIT("FROM:<a@b.test> X-1"), "555 5.5.4 Unknown parameter X-1\r", NULL},
        {STR_INIT("FROM:<a@b.test> X=gr\xC3\xBCn"), "555 5.5.4", NULL},
        {STR_INIT("FROM:<a@b.test> " X60 X60 "=1"), "555 5.5.4 Unknown parameter " X60 "\r", NULL},
        /* no parameter at all, and never repeated */
        {STR_INIT("FROM:<a@b.test> X\x07Y=1"), "501 5.5.4 That", NULL},
        {STR_INIT("FROM:<a@b.test> \x1B[2J"), "501 5.5.4 That", NULL},
        {STR_INIT("FROM:<a@b.test> X=\x07"), "501 5.5.4 That", NULL},
        {STR_INIT("FROM:<a@b.test> X="), "501 5.5.4 That", NULL},
        {STR_INIT("FROM:<a@b.test> =1"), "501 5.5.4 That", NULL},
        {STR_INIT("FROM:<a@b.test> ="), "501 5.5.4 That", NULL},
        {STR_INIT("FROM:<a@b.test> -X"), "501 5.5.4 That", NULL},
        {STR_INIT("FROM:<a@b.test> X_Y"), "501 5.5.4 That", NULL},
        {STR_INIT("FROM:<a@b.test> gr\xC3\xBCn"), "501 5.5.4 That", NULL},
        {STR_INIT("FROM:<a@b.test> X=\xFF"), "501 5.5.4 That", NULL},
        {STR_INIT("FROM:<a@b.test> <c@d.test>"), "501 5.5.4 That", NULL},
        {STR_INIT("FROM:<a@b.test> SIZE=1 <c@d.test>"), "501 5.5.4 That", NULL},
    };
    mail_rows(rows, countof(rows));
}

/* What the parameters leave in the session, and that nothing of them outlives a refusal. */
static void parameters_kept(void **state UNUSED)
{
    said(smtp_mail, STR("FROM:<a@b.test> SMTPUTF8 BODY=8BITMIME SIZE=1234"));
    assert_true(session.smtp_utf8 && session.eight_bit);
    assert_int_equal(session.declared_size, 1234);
    said(smtp_mail, STR("FROM:<a@b.test> SMTPUTF8 SIZE=12 NONSENSE"));
    assert_false(session.smtp_utf8 || session.eight_bit);
    assert_int_equal(session.declared_size, 0);
    said(smtp_mail, STR("FROM:<a@b.test> BODY=7BIT"));
    assert_false(session.smtp_utf8 || session.eight_bit);
    session.esmtp = false; /* RFC 5321 §4.1.1.2: after HELO there are none */
    check_reply(0, STR(""), said(smtp_mail, STR("FROM:<a@b.test> SIZE=1")), "555 5.5.4");
    check_reply(0, STR(""), said(smtp_mail, STR("FROM:<a@b.test>")), "250");
    session.esmtp = true;
    listener.message_size = 100;
    check_reply(0, STR(""), said(smtp_mail, STR("FROM:<a@b.test> SIZE=101")), "552 5.3.4");
    check_reply(0, STR(""), said(smtp_mail, STR("FROM:<a@b.test> SIZE=100")), "250");
    listener.message_size = 0;
}

/* RFC 6531 §3.3, §3.5: the extension is asked for, or the address is refused with 553. */
static void smtp_utf8(void **state UNUSED)
{
    static const struct row rows[] = {
        {STR_INIT("FROM:<gr\xC3\xBCn@b.test>"), "553 5.6.7", NULL},
        {STR_INIT("FROM:<a@b\xC3\xBC.test>"), "553 5.6.7", NULL},
        {STR_INIT("FROM:<\"gr\xC3\xBCn\"@b.test>"), "553 5.6.7", NULL},
        {STR_INIT("FROM:<gr\xC3\xBCn@b.test> SMTPUTF8"), "250", "gr\xC3\xBCn@b.test"},
        {STR_INIT("FROM:<\"gr\xC3\xBC n\"@b.test> SMTPUTF8"), "250", "\"gr\xC3\xBC n\"@b.test"},
        {STR_INIT("FROM:<a@b\xC3\xBC.test> SMTPUTF8"), "250", "a@b\xC3\xBC.test"},
        {STR_INIT("FROM:<gr\xFC@b.test> SMTPUTF8"), "501 5.1.7", NULL},
        {STR_INIT("FROM:<gr\xC3@b.test> SMTPUTF8"), "501 5.1.7", NULL},
        {STR_INIT("FROM:<\xED\xA0\x80@b.test> SMTPUTF8"), "501 5.1.7", NULL}, /* a surrogate */
    };
    mail_rows(rows, countof(rows));
    said(smtp_mail, STR("FROM:<a@b.test>"));
    check_reply(0, STR(""), said(smtp_rcpt, STR("TO:<gr\xC3\xBCn@example.test>")), "553 5.6.7");
    said(smtp_mail, STR("FROM:<a@b.test> SMTPUTF8"));
    check_reply(0, STR(""), said(smtp_rcpt, STR("TO:<gr\xC3\xBCn@example.test>")), "250 2.1.5");
}

static void rcpt(void **state UNUSED)
{
    static const struct row rows[] = {
        {STR_INIT("TO:<alice@example.test>"), "250 2.1.5 <alice@example.test>",
         "alice@example.test"},
        {STR_INIT("to:<Alice@EXAMPLE.test>"), "250 2.1.5", "Alice@EXAMPLE.test"},
        {STR_INIT("TO: <alice@example.test>"), "250 2.1.5", "alice@example.test"},
        {STR_INIT("TO:alice@example.test"), "250 2.1.5", "alice@example.test"},
        {STR_INIT("TO:<\"alice\"@example.test>"), "250 2.1.5", "\"alice\"@example.test"},
        {STR_INIT("TO:<\"a b\"@example.test>"), "250 2.1.5", "\"a b\"@example.test"},
        {STR_INIT("TO:<\"a>b\"@example.test>"), "250 2.1.5", "\"a>b\"@example.test"},
        {STR_INIT("TO:<@one.test,@two.test:alice@example.test>"), "250 2.1.5 <alice@example.test>",
         "alice@example.test"},
        {STR_INIT("TO:<postmaster>"), "250 2.1.5", "postmaster"},
        {STR_INIT("TO:<PostMaster>"), "250 2.1.5", "PostMaster"},
        {STR_INIT("TO:<@one.test:postmaster>"), "501", NULL},
        {STR_INIT("TO:<@one.test:>"), "501", NULL},
        {STR_INIT("TO:<>"), "501 5.1.3", NULL},
        {STR_INIT("TO:"), "501 5.5.2", NULL},
        {STR_INIT("FROM:<alice@example.test>"), "501 5.5.2", NULL},
        {STR_INIT("TO:<alice@example.test"), "501 5.5.2", NULL},
        {STR_INIT("TO:alice@example.test>"), "501 5.1.3", NULL},
        {STR_INIT("TO:<alice>"), "501 5.1.3", NULL},
        {STR_INIT("TO:<nobody@example.test>"), "550 5.1.1", NULL},
        {STR_INIT("TO:<alice@elsewhere.test>"), "550 5.7.1", NULL},
        {STR_INIT("TO:<alice@[192.0.2.1]>"), "550 5.7.1", NULL},
        {STR_INIT("TO:<alice@example.test> NOTIFY=NEVER"), "555 5.5.4 Unknown parameter NOTIFY\r",
         NULL},
        {STR_INIT("TO:<alice@example.test> SIZE=1"), "555 5.5.4", NULL}, /* is MAIL's */
        {STR_INIT("TO:<alice@example.test> A\x07=1"), "501 5.5.4", NULL},
        {STR_INIT("TO:<alice@example.test> <bob@example.test>"), "501 5.5.4", NULL},
        {STR_INIT("TO:<alice@example.test>X"), "501 5.5.2", NULL},
    };
    size_t taken = 0;
    said(smtp_mail, STR("FROM:<a@b.test>"));
    for (size_t i = 0; i < countof(rows); i++) {
        uint32_t errors = session.errors;
        check_reply(i, rows[i].argument, said(smtp_rcpt, rows[i].argument), rows[i].code);
        taken += rows[i].path != NULL;
        assert_int_equal(session.recipients.len, taken);
        assert_int_equal(session.errors - errors, rows[i].path ? 0 : 1);
        if (rows[i].path)
            assert_str(session.recipients.items[taken - 1].address, str_from(rows[i].path));
    }
    assert_int_equal(session.state, STATE_DATA);
}

/* RFC 5321 §4.5.3.1.10: 452, and the recipients that were taken stay. */
static void too_many_recipients(void **state UNUSED)
{
    listener.recipients = 2;
    said(smtp_mail, STR("FROM:<a@b.test>"));
    check_reply(0, STR(""), said(smtp_rcpt, STR("TO:<nobody@example.test>")), "550 5.1.1");
    assert_int_equal(session.state, STATE_RCPT);
    check_reply(1, STR(""), said(smtp_rcpt, STR("TO:<alice@example.test>")), "250");
    check_reply(2, STR(""), said(smtp_rcpt, STR("TO:<alice@example.test>")), "250");
    check_reply(3, STR(""), said(smtp_rcpt, STR("TO:<alice@example.test>")), "452 4.5.3");
    assert_int_equal(session.recipients.len, 2);
    assert_int_equal(session.errors, 1);
    listener.recipients = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(mail_paths, session_begin, session_end),
        cmocka_unit_test_setup_teardown(lengths, session_begin, session_end),
        cmocka_unit_test_setup_teardown(mail_parameters, session_begin, session_end),
        cmocka_unit_test_setup_teardown(parameters_kept, session_begin, session_end),
        cmocka_unit_test_setup_teardown(smtp_utf8, session_begin, session_end),
        cmocka_unit_test_setup_teardown(rcpt, session_begin, session_end),
        cmocka_unit_test_setup_teardown(too_many_recipients, session_begin, session_end),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
