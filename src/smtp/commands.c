/* commands.c - the table of SMTP and LMTP commands, and the short ones. */
#include "base/log.h"
#include "smtp/session.h"

static const struct smtp_command commands[] = {
    {STR_INIT("HELO"), STATE_ANY, SMTP_ONLY, false, smtp_helo, "HELO domain", "RFC 5321 §4.1.1.1"},
    {STR_INIT("EHLO"), STATE_ANY, SMTP_ONLY, false, smtp_ehlo, "EHLO domain", "RFC 5321 §4.1.1.1"},
    {STR_INIT("LHLO"), STATE_ANY, LMTP_ONLY, false, smtp_ehlo, "LHLO domain", "RFC 2033 §4.1"},
    {STR_INIT("STARTTLS"), STATE_ANY & ~STATE_HELO, SMTP_AND_LMTP, false, smtp_starttls, "STARTTLS",
     "RFC 3207"},
    {STR_INIT("MAIL"), STATE_MAIL, SMTP_AND_LMTP, true, smtp_mail,
     "MAIL FROM:<address> [SIZE=n] [BODY=7BIT|8BITMIME] [SMTPUTF8]", "RFC 5321 §4.1.1.2"},
    {STR_INIT("RCPT"), STATE_RCPT | STATE_DATA, SMTP_AND_LMTP, true, smtp_rcpt, "RCPT TO:<address>",
     "RFC 5321 §4.1.1.3"},
    {STR_INIT("DATA"), STATE_DATA, SMTP_AND_LMTP, true, smtp_data, "DATA", "RFC 5321 §4.1.1.4"},
    {STR_INIT("BDAT"), STATE_ANY, SMTP_AND_LMTP, true, smtp_bdat, "BDAT size [LAST]",
     "RFC 3030 §2"},
    {STR_INIT("RSET"), STATE_ANY, SMTP_AND_LMTP, false, smtp_rset, "RSET", "RFC 5321 §4.1.1.5"},
    {STR_INIT("VRFY"), STATE_ANY & ~STATE_CHUNKS, SMTP_AND_LMTP, false, smtp_vrfy, "VRFY address",
     "RFC 5321 §4.1.1.6"},
    {STR_INIT("EXPN"), STATE_ANY & ~STATE_CHUNKS, SMTP_AND_LMTP, false, smtp_expn, "EXPN list",
     "RFC 5321 §4.1.1.7"},
    {STR_INIT("HELP"), STATE_ANY, SMTP_AND_LMTP, false, smtp_help, "HELP [command]",
     "RFC 5321 §4.1.1.8"},
    {STR_INIT("NOOP"), STATE_ANY, SMTP_AND_LMTP, false, smtp_noop, "NOOP", "RFC 5321 §4.1.1.9"},
    {STR_INIT("QUIT"), STATE_ANY, SMTP_AND_LMTP, false, smtp_quit, "QUIT", "RFC 5321 §4.1.1.10"},
};

const struct smtp_command *smtp_command_find(struct str name)
{
    for (size_t i = 0; i < countof(commands); i++)
        if (str_equal_nocase(commands[i].name, name))
            return &commands[i];
    return NULL;
}

uint64_t smtp_size_limit(const struct smtp_session *s)
{
    return s->listener->message_size ? s->listener->message_size : s->settings->limits.message_size;
}

static uint64_t recipients_limit(const struct smtp_session *s)
{
    return s->listener->recipients ? s->listener->recipients : s->settings->limits.recipients;
}

bool smtp_tls_offered(const struct smtp_session *s)
{
    if (s->tls || s->listener->tls != LISTEN_TLS_STARTTLS)
        return false;
    struct tls_context *context = tls_current_get();
    bool offered = context != NULL;
    tls_context_unref(&context);
    return offered;
}

/* ------------------------------------------------------------------ EHLO's lines */

/* One extension: its line, and when it is offered. What implements it is named. */
struct extension {
    const char *line; /* NULL: made by print */
    bool (*offered)(const struct smtp_session *s);
    void (*print)(const struct smtp_session *s, struct buf *out);
    const char *implemented_by;
};

static void print_size(const struct smtp_session *s, struct buf *out)
{
    buf_printf(out, "SIZE %llu", (unsigned long long)smtp_size_limit(s));
}

static void print_limits(const struct smtp_session *s, struct buf *out)
{
    buf_printf(out, "LIMITS RCPTMAX=%llu", (unsigned long long)recipients_limit(s));
}

static const struct extension extensions[] = {
    {"PIPELINING", NULL, NULL, "stages_run(): replies wait until the input is used up (RFC 2920)"},
    {NULL, NULL, print_size, "parameters of MAIL, message_end() (RFC 1870)"},
    {"8BITMIME", NULL, NULL, "messages are stored as they come (RFC 6152)"},
    {"ENHANCEDSTATUSCODES", NULL, NULL, "every reply has one (RFC 2034)"},
    {"STARTTLS", smtp_tls_offered, NULL, "smtp_starttls() (RFC 3207)"},
    {"CHUNKING", NULL, NULL, "smtp_bdat() (RFC 3030)"},
    {"SMTPUTF8", NULL, NULL, "address_parse(), MAIL's parameter (RFC 6531)"},
    {NULL, NULL, print_limits, "smtp_rcpt() (RFC 9422)"},
    {"HELP", NULL, NULL, "smtp_help()"},
};

static int helo_take(struct smtp_session *s, struct str argument)
{
    /* RFC 5321 §4.1.4: the name is not verified; it must be something that can be written down. */
    for (size_t i = 0; i < argument.len; i++)
        if (ascii_is_control(argument.data[i]) || argument.data[i] == '(' ||
            argument.data[i] == ')' || (unsigned char)argument.data[i] > 126)
            return smtp_bad(s, "501 5.5.4 That is not a host name");
    if (argument.len == 0 || argument.len > 255)
        return smtp_bad(s, "501 5.5.4 Say your host name");
    smtp_transaction_reset(s);
    buf_reset(&s->helo);
    buf_add(&s->helo, str_slice(argument, 0, str_find_char(argument, ' ')));
    s->state = STATE_MAIL;
    return 1;
}

int smtp_helo(struct smtp_session *s, struct str argument)
{
    if (helo_take(s, argument) != 1)
        return 0;
    s->esmtp = false;
    smtp_replyf(s, "250 " STR_FMT, STR_ARG(s->settings->server.host_name));
    return 0;
}

int smtp_ehlo(struct smtp_session *s, struct str argument)
{
    if (helo_take(s, argument) != 1)
        return 0;
    s->esmtp = true;
    stream_printf(&s->stream, "250-" STR_FMT "\r\n", STR_ARG(s->settings->server.host_name));
    for (size_t i = 0; i < countof(extensions); i++) {
        const struct extension *x = &extensions[i];
        if (x->offered && !x->offered(s))
            continue;
        struct buf line = BUF_INIT(200);
        if (x->print)
            x->print(s, &line);
        else
            buf_add(&line, str_from(x->line));
        stream_printf(&s->stream, "250%c" STR_FMT "\r\n", i + 1 < countof(extensions) ? '-' : ' ',
                      STR_ARG(buf_str(&line)));
        buf_free(&line);
    }
    return 0;
}

/* ------------------------------------------------------------------ the short commands */

int smtp_starttls(struct smtp_session *s, struct str argument)
{
    if (argument.len)
        return smtp_bad(s, "501 5.5.4 STARTTLS has no parameters");
    struct tls_context *context = smtp_tls_offered(s) ? tls_current_get() : NULL;
    if (!context)
        return smtp_bad(s, s->tls ? "503 5.5.1 TLS is active already"
                                  : "454 4.7.0 TLS is not available");
    if (stream_has_input(&s->stream))
        log_event(LOG_WARNING, "starttls-injection", "peer=%s bytes=%zu", s->arrival.peer,
                  stream_input(&s->stream).len);
    smtp_reply(s, "220 2.0.0 Begin the TLS handshake");
    stream_flush(&s->stream);
    /* RFC 3207 §4.2: what was said before is forgotten, and what was sent ahead is thrown away. */
    smtp_transaction_reset(s);
    s->state = STATE_HELO;
    s->esmtp = false;
    buf_reset(&s->helo);
    stream_start_tls(&s->stream, context);
    tls_context_unref(&context);
    s->stage = STAGE_TLS;
    return 0;
}

int smtp_rset(struct smtp_session *s, struct str argument)
{
    if (argument.len) /* RFC 5321 §4.3.2 */
        return smtp_bad(s, "501 5.5.4 RSET has no parameters");
    smtp_transaction_reset(s);
    smtp_reply(s, "250 2.0.0 Forgotten");
    return 0;
}

int smtp_noop(struct smtp_session *s, struct str argument UNUSED)
{
    smtp_reply(s, "250 2.0.0 Nothing done");
    return 0;
}

int smtp_vrfy(struct smtp_session *s, struct str argument)
{
    if (argument.len == 0)
        return smtp_bad(s, "501 5.5.4 Whom?");
    smtp_reply(s, "252 2.1.5 Send mail, and see"); /* RFC 5321 §3.5.3 */
    return 0;
}

int smtp_expn(struct smtp_session *s, struct str argument UNUSED)
{
    return smtp_bad(s, "502 5.5.1 Lists are not shown");
}

int smtp_help(struct smtp_session *s, struct str argument)
{
    const struct smtp_command *command = argument.len ? smtp_command_find(argument) : NULL;
    if (argument.len && !command)
        return smtp_bad(s, "504 5.5.4 There is no such command");
    if (command) {
        smtp_replyf(s, "214 2.0.0 %s (%s)", command->help, command->reference);
        return 0;
    }
    unsigned protocol = s->lmtp ? LMTP_ONLY : SMTP_ONLY;
    for (size_t i = 0; i < countof(commands); i++)
        if (commands[i].protocols & protocol)
            stream_printf(&s->stream, "214-2.0.0 %s\r\n", commands[i].help);
    smtp_reply(s, "214 2.0.0 Posthouse: mail for people here is welcome");
    return 0;
}

int smtp_quit(struct smtp_session *s, struct str argument)
{
    if (argument.len)
        return smtp_bad(s, "501 5.5.4 QUIT has no parameters");
    smtp_replyf(s, "221 2.0.0 " STR_FMT " Good-bye", STR_ARG(s->settings->server.host_name));
    return -1;
}
