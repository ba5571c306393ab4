/* server.c - the life of an SMTP or LMTP connection: stages, lines, time, limits. */
#include "smtp/server.h"

#include "base/clock.h"
#include "base/log.h"
#include "smtp/session.h"

/* ROUNDS_MAX: stages that one session runs before others have their turn. */
enum { OUT_MAX = 256 * 1024, OUT_HIGH = 32 * 1024, ROUNDS_MAX = 64 };

static _Atomic uint64_t sessions;
_Atomic uint64_t smtp_messages_accepted, smtp_messages_refused;

void smtp_stats(struct smtp_stats *out)
{
    *out = (struct smtp_stats){sessions, smtp_messages_accepted, smtp_messages_refused,
                               spool_in_flight()};
}

/* ------------------------------------------------------------------ replies */

void smtp_reply(struct smtp_session *s, const char *text)
{
    stream_put_literal(&s->stream, text);
    stream_put_literal(&s->stream, "\r\n");
}

void smtp_replyf(struct smtp_session *s, const char *format, ...)
{
    struct buf text = BUF_INIT(2048);
    va_list args;
    va_start(args, format);
    buf_vprintf(&text, format, args);
    va_end(args);
    stream_put(&s->stream, buf_str(&text));
    stream_put_literal(&s->stream, "\r\n");
    buf_free(&text);
}

const char *smtp_error_reply(const struct error *e, char text[static 300])
{
    static const struct {
        enum error_class class;
        const char *code;
    } codes[] = {
        {ERROR_NOT_FOUND, "550 5.1.1"}, {ERROR_QUOTA, "452 4.2.2"},  {ERROR_FULL, "452 4.3.1"},
        {ERROR_LIMIT, "552 5.3.4"},     {ERROR_DENIED, "550 5.7.1"}, {ERROR_INVALID, "554 5.6.0"},
        {ERROR_TEMPORARY, "451 4.3.0"},
    };
    const char *code = "451 4.3.5";
    for (size_t i = 0; i < countof(codes); i++)
        if (codes[i].class == e->class)
            code = codes[i].code;
    snprintf(text, 300, "%s %s", code, e->text[0] ? e->text : "Internal error");
    return text;
}

void smtp_error(struct smtp_session *s, const struct error *e)
{
    char text[300];
    if (e->class == ERROR_INTERNAL || e->class == ERROR_CORRUPT || e->class == ERROR_TEMPORARY)
        log_event(LOG_WARNING, "smtp-error", "class=%s error=%s cause=%s",
                  error_class_name(e->class), log_quote(str_from(e->text)),
                  log_quote(str_from(e->cause)));
    smtp_reply(s, smtp_error_reply(e, text));
}

int smtp_bad(struct smtp_session *s, const char *text)
{
    smtp_reply(s, text);
    s->errors += text[0] == '5'; /* 4xx is our trouble, or will pass */
    return 0;
}

/* ------------------------------------------------------------------ stages; 1 goes on, 0 waits, -1 closes */

static int greet(struct smtp_session *s)
{
    if (s->early_talker && s->settings->smtp.early_talker == 1) {
        smtp_reply(s, "554 5.5.1 You spoke before the greeting: not a mail server's manners");
        return -1;
    }
    smtp_replyf(s, "220 " STR_FMT " %s Posthouse ready", STR_ARG(s->settings->server.host_name),
                s->lmtp ? "LMTP" : "ESMTP");
    s->stage = STAGE_COMMAND;
    return 1;
}

static int stage_proxy(struct smtp_session *s)
{
    int done = arrival_proxy(&s->arrival, &s->stream);
    if (done <= 0)
        return done;
    if (arrival_admit(&s->arrival, s->settings, sessions) < 0) {
        smtp_replyf(s, "421 4.7.0 " STR_FMT " Too many connections, try again later",
                    STR_ARG(s->settings->server.host_name));
        return -1;
    }
    if (s->listener->tls == LISTEN_TLS_IMPLICIT) {
        struct tls_context *context = tls_current_get();
        if (!context)
            return -1;
        stream_implicit_tls(&s->stream, context); /* may have begun right behind a PROXY header */
        tls_context_unref(&context);
        s->stage = STAGE_TLS;
        return 1;
    }
    s->stage = STAGE_GREETING;
    s->conn.deadline = clock_monotonic_ms() + (int64_t)s->settings->smtp.greeting_delay;
    return 1;
}

/* RFC 5321 §3.1: the client waits for the greeting. One that does not is noticed. */
static int stage_greeting(struct smtp_session *s)
{
    if (stream_has_input(&s->stream) || stream_fill(&s->stream, SMTP_LINE_MAX) > 0)
        s->early_talker = true;
    if (s->stream.eof || s->stream.failed)
        return -1;
    if (!s->early_talker && clock_monotonic_ms() < s->conn.deadline && !s->lmtp)
        return 0;
    if (s->early_talker)
        log_event(LOG_INFO, "early-talker", "peer=%s", s->arrival.peer);
    return greet(s);
}

static int stage_tls(struct smtp_session *s)
{
    const char *why = "";
    int done = stream_handshake(&s->stream, &why);
    if (done < 0)
        log_event(LOG_INFO, "tls-failed", "peer=%s reason=%s", s->arrival.peer, why);
    if (done != 0)
        return done < 0 ? -1 : 0;
    s->tls = true;
    if (s->listener->tls == LISTEN_TLS_IMPLICIT)
        return greet(s);
    s->stage = STAGE_COMMAND;
    return 1;
}

static int command_run(struct smtp_session *s, struct str line)
{
    size_t space = str_find_char(line, ' ');
    struct str argument = str_trim_end(str_from_pos(line, space + 1));
    const struct smtp_command *command = smtp_command_find(str_trim_end(str_slice(line, 0, space)));
    unsigned protocol = s->lmtp ? LMTP_ONLY : SMTP_ONLY;
    int result = 0;
    if (!command)
        smtp_bad(s, "500 5.5.2 Unknown command");
    else if (!(command->protocols & protocol))
        smtp_bad(s,
                 s->lmtp ? "500 5.5.1 This is LMTP: use LHLO" : "500 5.5.1 This is SMTP: use EHLO");
    else if (!(command->states & (unsigned)s->state))
        smtp_bad(s, s->state == STATE_HELO ? "503 5.5.1 Say EHLO first"
                    : s->state == STATE_CHUNKS
                        ? "503 5.5.1 A message in chunks is on its way: BDAT or RSET"
                    : s->state == STATE_MAIL ? "503 5.5.1 Say MAIL first"
                    : s->state == STATE_RCPT ? "503 5.5.1 No recipient was accepted"
                                             : "503 5.5.1 Not now");
    else
        result = command->run(s, argument);
    s->idle_commands = command && command->brings_mail ? s->idle_commands : s->idle_commands + 1;
    if (result == 0 && (s->errors >= s->settings->limits.errors ||
                        s->idle_commands >= s->settings->limits.commands)) {
        smtp_replyf(s, "421 4.7.0 " STR_FMT " Too many %s, good-bye",
                    STR_ARG(s->settings->server.host_name),
                    s->errors >= s->settings->limits.errors ? "errors" : "commands without mail");
        return -1;
    }
    return result;
}

/* Reads more; 1 there is some, 0 wait, -1 the client is gone. */
static int more_input(struct smtp_session *s, size_t max)
{
    ssize_t n = stream_fill(&s->stream, max);
    return n < 0 ? -1 : n > 0;
}

static int stage_command(struct smtp_session *s)
{
    struct str line;
    bool bare_lf;
    if (s->stopping)
        return 0;
    int got = stream_line(&s->stream, SMTP_LINE_MAX - 2, &line, &bare_lf);
    if (got < 0) {
        smtp_reply(s, "500 5.5.6 Line too long, good-bye");
        return -1;
    }
    if (got == 0)
        return more_input(s, SMTP_LINE_MAX);
    s->command_started = clock_monotonic_ms();
    if (bare_lf || str_has_char(line, '\r') || str_has_char(line, '\0'))
        smtp_bad(s, "500 5.5.2 A command line ends in CR LF and has no other control characters");
    else if (command_run(s, line) < 0)
        return -1;
    return 1;
}

static int stage_data(struct smtp_session *s)
{
    if (stream_input(&s->stream).len ==
        0) { /* what TLS still holds counts only once it is filled in */
        int more = more_input(s, BDAT_PIECE);
        if (more <= 0)
            return more;
    }
    struct str input = stream_input(&s->stream);
    size_t used = 0;
    bool end = data_read(&s->data, input, &used, message_sink, s);
    stream_consume(&s->stream, used);
    if (end) {
        s->stage = STAGE_COMMAND;
        s->command_started = clock_monotonic_ms();
        message_end(s);
    }
    return 1;
}

static int stage_bdat(struct smtp_session *s)
{
    if (s->chunk_left && stream_input(&s->stream).len == 0) {
        int more = more_input(s, BDAT_PIECE);
        if (more <= 0)
            return more;
    }
    struct str input =
        str_slice(stream_input(&s->stream), 0, MIN(s->chunk_left, (uint64_t)BDAT_PIECE));
    s->chunk_left -= input.len;
    bool last = s->chunk_last && s->chunk_left == 0;
    if (!s->chunk_refused)
        data_check_chunk(&s->data, input, last, message_sink, s);
    stream_consume(&s->stream, input.len);
    if (s->chunk_left)
        return 1;
    s->stage = STAGE_COMMAND;
    s->command_started = clock_monotonic_ms();
    if (s->chunk_refused)
        s->chunk_refused = false; /* the reply was put when the chunk was announced */
    else if (last)
        message_end(s);
    else
        smtp_replyf(s, "250 2.0.0 %llu bytes so far",
                    (unsigned long long)(s->spool.size - s->trace_header_size));
    return 1;
}

static int stages_run(struct smtp_session *s)
{
    static int (*const stages[])(struct smtp_session *) = {
        [STAGE_PROXY] = stage_proxy, [STAGE_GREETING] = stage_greeting,
        [STAGE_TLS] = stage_tls,     [STAGE_COMMAND] = stage_command,
        [STAGE_DATA] = stage_data,   [STAGE_BDAT] = stage_bdat,
    };
    for (int round = 0; round < ROUNDS_MAX; round++) {
        int result = stages[s->stage](s);
        if (result <= 0)
            return result;
        if (s->stopping && s->stage == STAGE_COMMAND)
            return 0;
        /* A client that does not read its replies gets no more of them. */
        if (stream_unsent(&s->stream) >= OUT_HIGH && stream_flush(&s->stream) != 0)
            return s->stream.failed ? -1 : 0;
    }
    conn_wake(&s->conn);
    return 0;
}

/* RFC 5321 §4.5.3.2. A command has its time from the end of the one before, so that a byte now and then
 * keeps no session; a message as a whole has its time, too. */
static int64_t deadline_of(const struct smtp_session *s, int64_t now)
{
    if (s->stage == STAGE_GREETING)
        return s->conn.deadline;
    if (s->stage != STAGE_DATA && s->stage != STAGE_BDAT)
        return s->command_started + (int64_t)s->settings->smtp.command_timeout;
    return MIN(now + (int64_t)s->settings->smtp.data_timeout,
               s->message_started + (int64_t)s->settings->smtp.message_timeout);
}

static enum conn_verdict session_run(struct conn *conn, unsigned events)
{
    struct smtp_session *s = CONTAINER_OF(conn, struct smtp_session, conn);
    log_set_context("session=%s", s->arrival.session);
    int result = 0;
    s->stopping |= (events & CONN_STOPPING) != 0;
    if (events & CONN_TIMEOUT && s->stage != STAGE_GREETING && !(events & CONN_READABLE)) {
        smtp_replyf(s, "421 4.4.2 " STR_FMT " Timeout", STR_ARG(s->settings->server.host_name));
        result = -1;
    } else if (stream_flush(&s->stream) < 0) {
        result = -1;
    } else if (stream_unsent(&s->stream) < OUT_HIGH) {
        result = stages_run(s);
    }
    if (result == 0 && s->stopping && s->stage != STAGE_DATA && s->stage != STAGE_BDAT) {
        smtp_replyf(s, "421 4.3.2 " STR_FMT " The server is being restarted",
                    STR_ARG(s->settings->server.host_name));
        result = -1;
    }
    int flushed = stream_flush(&s->stream);
    if (result >= 0 && flushed >= 0) {
        conn->want = stream_want(&s->stream, stream_unsent(&s->stream) < OUT_HIGH);
        conn->deadline = deadline_of(s, clock_monotonic_ms());
        stream_rest(&s->stream);
    }
    log_clear_context();
    return result < 0 || flushed < 0 ? CONN_CLOSE : CONN_PARK;
}

static void session_free(struct conn *conn)
{
    struct smtp_session *s = CONTAINER_OF(conn, struct smtp_session, conn);
    log_event(LOG_INFO, "smtp-end",
              "session=%s peer=%s listener=" STR_FMT
              " helo=%s tls=%s messages=%u refused-recipients=%u errors=%u",
              s->arrival.session, s->arrival.peer, STR_ARG(s->listener->name),
              log_quote(buf_str(&s->helo)), s->tls ? "yes" : "no", s->messages,
              s->recipients_refused, s->errors);
    smtp_transaction_reset(s);
    arena_free(&s->arena);
    VEC_FREE(&s->recipients);
    spool_free(&s->spool);
    buf_free(&s->helo);
    arrival_leave(&s->arrival);
    stream_close(&s->stream);
    settings_unref(&s->settings);
    sessions--;
    mem_free(s);
}

static void arrived(const struct process_listener *listener, int fd,
                    const struct sockaddr_storage *source)
{
    static const struct conn_class class = {"smtp", session_run, session_free};
    struct smtp_session *s = mem_alloc(sizeof(*s));
    s->listener = listener->settings;
    s->settings = settings_ref();
    s->lmtp = listener->settings->protocol == LISTEN_LMTP;
    s->state = STATE_HELO;
    s->helo = BUF_INIT(512);
    spool_init(&s->spool);
    arrival_init(&s->arrival, listener->settings, source);
    stream_init(&s->stream, fd, BDAT_PIECE, OUT_MAX);
    s->conn.class = &class;
    s->conn.fd = fd;
    s->command_started = clock_monotonic_ms();
    sessions++;
    conn_start(&s->conn);
}

void smtp_listen(const struct process_listener *listener)
{
    arrivals_accept(listener, arrived);
}
