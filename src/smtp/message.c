/* message.c - DATA and BDAT: the trace header, the end of the message, delivery, the reply. */
#include <arpa/inet.h>

#include "base/clock.h"
#include "base/log.h"
#include "delivery/deliver.h"
#include "message/date.h"
#include "message/header.h"
#include "message/scan.h"
#include "message/summary.h"
#include "run/ipc.h"
#include "smtp/session.h"
#include "store/trace.h"

extern _Atomic uint64_t smtp_messages_accepted, smtp_messages_refused; /* server.c */

/* ------------------------------------------------------------------ the beginning */

/* RFC 5321 §4.4: Return-Path and our Received line; the keyword after "with" is RFC 3848's (and 6531's). */
static void trace_header(struct smtp_session *s, struct buf *out)
{
    struct tls_info tls = {0};
    bool v6 = str_has_char(str_from(s->arrival.peer), ':');
    bool local = str_equal(str_from(s->arrival.peer), STR("local"));
    buf_printf(out, "Return-Path: <" STR_FMT ">\r\nReceived: from " STR_FMT,
               STR_ARG(s->reverse_path), STR_ARG(buf_str(&s->helo)));
    if (!local)
        buf_printf(out, " ([%s%s])", v6 ? "IPv6:" : "", s->arrival.peer);
    buf_printf(out, "\r\n\tby " STR_FMT " (Posthouse) with %s%s%s id %s",
               STR_ARG(s->settings->server.host_name),
               s->smtp_utf8           ? "UTF8"
               : s->esmtp && !s->lmtp ? "E"
                                      : "",
               s->lmtp ? "LMTP" : "SMTP", s->tls ? "S" : "", s->queue_id);
    if (s->tls) {
        tls_session_info(s->stream.tls, &tls);
        buf_printf(out, "\r\n\t(%s %s %d bits)", tls.version, tls.cipher, tls.bits);
    }
    /* More than one recipient is not written down: it would show Bcc. */
    if (s->recipients.len == 1)
        buf_printf(out, "\r\n\tfor <" STR_FMT ">", STR_ARG(s->recipients.items[0].address));
    buf_add_literal(out, ";\r\n\t");
    date_format_rfc5322(out, clock_real_seconds(), 0);
    buf_add_literal(out, "\r\n");
}

void message_begin(struct smtp_session *s)
{
    struct buf header = BUF_INIT(8192);
    queue_id_make(s->queue_id);
    spool_free(&s->spool);
    s->too_large = false;
    s->data = (struct data_reader){.repair = s->settings->smtp.bare_line_ends == 1,
                                   .line_max = s->settings->limits.line_length};
    trace_header(s, &header);
    spool_add(&s->spool, buf_str(&header), s->settings->limits.memory_in_flight);
    s->trace_header_size = header.len;
    buf_free(&header);
}

void message_sink(void *session, struct str piece)
{
    struct smtp_session *s = session;
    /* What will be refused is only read to its end. */
    if (s->too_large || (s->data.flaws && !s->data.repair))
        return;
    if (smtp_size_limit(s) &&
        s->spool.size - s->trace_header_size + piece.len > smtp_size_limit(s)) {
        s->too_large = true;
        return;
    }
    spool_add(&s->spool, piece, s->settings->limits.memory_in_flight);
}

int smtp_data(struct smtp_session *s, struct str argument)
{
    if (argument.len)
        return smtp_bad(s, "501 5.5.4 DATA has no parameters");
    message_begin(s);
    s->message_started = clock_monotonic_ms();
    smtp_reply(s, "354 Go ahead, and end with a dot on a line of its own");
    s->stage = STAGE_DATA;
    return 0;
}

/* RFC 3030 §2: the chunk's bytes follow the command at once, whatever the reply will be. */
int smtp_bdat(struct smtp_session *s, struct str argument)
{
    size_t space = str_find_char(argument, ' ');
    struct str option = str_trim(str_from_pos(argument, space));
    s->chunk_last = str_equal_nocase(option, STR("LAST"));
    if (str_to_u64(str_slice(argument, 0, space), UINT64_MAX / 2, &s->chunk_left) < 0 ||
        (option.len && !s->chunk_last)) {
        /* Where the chunk ends is not known: what follows cannot be told from commands. */
        smtp_reply(s, "501 5.5.4 Say BDAT size [LAST]; good-bye");
        return -1;
    }
    s->stage = STAGE_BDAT;
    if (s->state != STATE_CHUNKS)
        s->message_started = clock_monotonic_ms();
    if (s->state != STATE_DATA && s->state != STATE_CHUNKS) {
        s->chunk_refused = true;
        smtp_bad(s, "503 5.5.1 No recipient was accepted");
        return 0;
    }
    if (s->state == STATE_DATA)
        message_begin(s);
    s->state = STATE_CHUNKS;
    return 0;
}

/* ------------------------------------------------------------------ the end */

/* A complete message, sealed and summarised. */
struct finished {
    int fd;
    uint64_t size;
    struct buf summary;
    struct str message_id;
    int64_t received;
};

/* Hops: the Received lines that were there (RFC 5321 §6.3). */
static int header_check(struct smtp_session *s, struct str message, struct error *e)
{
    struct str own = str_from_pos(message, s->trace_header_size);
    struct str header = str_slice(own, 0, header_length(own));
    struct header_field field;
    uint64_t hops = 0;
    size_t at = 0;
    if (header.len > s->settings->limits.header_size)
        return error_set(e, ERROR_LIMIT, "The header is too large: up to %llu bytes are taken",
                         (unsigned long long)s->settings->limits.header_size);
    while (header_next(header, &at, &field))
        hops += str_equal_nocase(field.name, STR("Received"));
    if (hops > s->settings->limits.hops)
        return error_set(e, ERROR_DENIED, "loop");
    return 0;
}

/* What is wrong with the message as a whole; NULL: nothing. */
static const char *flaw_reply(const struct smtp_session *s)
{
    unsigned flaws = s->data.flaws;
    if (s->too_large)
        return "552 5.3.4 The message is too large";
    if (flaws & DATA_LONG_LINE)
        return "550 5.6.0 A line is longer than RFC 5321 allows";
    if (flaws && !s->data.repair)
        return flaws & DATA_NUL ? "550 5.6.0 The message has a NUL byte"
               : flaws & DATA_BARE_LF
                   ? "550 5.6.0 The message has a line that ends in a bare LF (RFC 5321, 2.3.8)"
                   : "550 5.6.0 The message has a bare CR (RFC 5321, 2.3.8)";
    if (s->spool.failed)
        return "452 4.3.1 Too much mail is on its way just now, try again later";
    return NULL;
}

static int finish(struct smtp_session *s, struct finished *f, struct error *e)
{
    struct str message;
    struct summary summary;
    f->size = s->spool.size;
    f->received = clock_real_seconds();
    f->fd = spool_seal(&s->spool, e);
    if (f->fd < 0)
        return -1;
    if (memfd_map(f->fd, SIZE_MAX, &message) < 0)
        return error_set(e, ERROR_TEMPORARY, "No memory for the message");
    int result = header_check(s, message, e);
    memfd_unmap(&message);
    if (result < 0)
        return -1;
    scan_summarize(f->fd, f->size, &f->summary);
    if (summary_open(&summary, buf_str(&f->summary)) < 0)
        return error_set(e, ERROR_INTERNAL, "The message could not be summarised");
    f->message_id = arena_lower(&s->arena, summary_string(&summary, SUMMARY_MESSAGE_ID));
    return 0;
}

static int deliver_one(struct smtp_session *s, const struct finished *f,
                       const struct smtp_recipient *r, struct error *e)
{
    struct delivery d = {.account = r->route.account,
                         .quota = r->route.quota,
                         .queue_id = str_from(s->queue_id),
                         .recipient = r->address,
                         .reverse_path = s->reverse_path,
                         .detail = r->route.detail,
                         .message_fd = f->fd,
                         .message_size = f->size,
                         .summary = buf_str(&f->summary),
                         .received = f->received};
    return deliver(&d, e);
}

/* Into the queue, for the recipients that choose() says. */
static int queue_some(struct smtp_session *s, const struct finished *f, bool all, struct error *e)
{
    struct queue_recipient *list = arena_alloc_array(&s->arena, s->recipients.len, sizeof(*list));
    size_t count = 0;
    for (size_t i = 0; i < s->recipients.len; i++)
        if (all || s->recipients.items[i].route.verdict == ROUTE_QUEUE)
            list[count++].address = s->recipients.items[i].address;
    struct queue_message m = {.id = str_from(s->queue_id),
                              .reverse_path = s->reverse_path,
                              .smtp_utf8 = s->smtp_utf8,
                              .eight_bit = s->eight_bit,
                              .received = f->received,
                              .origin = str_from(s->lmtp ? "lmtp" : "smtp"),
                              .recipients = list,
                              .recipient_count = count,
                              .message_fd = f->fd,
                              .message_size = f->size,
                              .summary = buf_str(&f->summary)};
    return count ? queue_accept(&m, e) : 0;
}

/* One account and nothing else: delivered directly, in its own commit. */
static bool is_direct(const struct smtp_session *s)
{
    const struct smtp_recipient *first = &s->recipients.items[0];
    for (size_t i = 0; i < s->recipients.len; i++) {
        const struct route *route = &s->recipients.items[i].route;
        if (route->verdict != ROUTE_LOCAL || route->account != first->route.account ||
            !str_equal(route->detail, first->route.detail))
            return false;
    }
    return true;
}

static void outcome_note(struct smtp_session *s, const struct finished *f, struct str recipient,
                         const char *event, const char *reply)
{
    struct trace_event t = {.queue_id = str_from(s->queue_id),
                            .event = str_from(event),
                            .peer = str_from(s->arrival.peer),
                            .sender = arena_lower(&s->arena, s->reverse_path),
                            .recipient = arena_lower(&s->arena, recipient),
                            .message_id = f->message_id,
                            .reply = str_from(reply),
                            .detail =
                                arena_printf(&s->arena, "size=%llu protocol=%s tls=%s",
                                             (unsigned long long)f->size, s->lmtp ? "lmtp" : "smtp",
                                             s->tls ? "yes" : "no")};
    trace_send(&t);
}

static void accepted_note(struct smtp_session *s, const struct finished *f, const char *reply)
{
    smtp_messages_accepted++;
    s->messages++;
    log_event(LOG_INFO, "smtp-accept",
              "peer=%s from=%s recipients=%zu to=%s size=%llu message-id=%s", s->arrival.peer,
              log_quote(s->reverse_path), s->recipients.len,
              log_quote(s->recipients.items[0].address), (unsigned long long)f->size,
              log_quote(f->message_id));
    for (size_t i = 0; i < s->recipients.len; i++)
        outcome_note(s, f, s->recipients.items[i].address, "accept", reply);
}

static void refused_note(struct smtp_session *s, const struct finished *f, const char *reply)
{
    smtp_messages_refused++;
    log_event(LOG_INFO, "smtp-refuse", "peer=%s from=%s size=%llu reply=%s", s->arrival.peer,
              log_quote(s->reverse_path), (unsigned long long)f->size, log_quote(str_from(reply)));
    for (size_t i = 0; i < s->recipients.len; i++)
        outcome_note(s, f, s->recipients.items[i].address, "refuse", reply);
}

/* Every recipient gets the same reply: SMTP has one, LMTP as many as there are recipients. */
static void reply_to_all(struct smtp_session *s, const char *reply)
{
    for (size_t i = 0; i < (s->lmtp ? s->recipients.len : 1); i++)
        smtp_reply(s, reply);
}

static const char *failure_reply(const struct error *e, char text[static 300])
{
    if (e->class == ERROR_DENIED) { /* header_check: RFC 5321 §6.3 */
        snprintf(text, 300,
                 "554 5.4.6 The message has been through too many servers: it is going in circles");
        return text;
    }
    if (e->class == ERROR_INTERNAL || e->class == ERROR_CORRUPT || e->class == ERROR_TEMPORARY)
        log_event(LOG_WARNING, "smtp-error", "class=%s error=%s cause=%s",
                  error_class_name(e->class), log_quote(str_from(e->text)),
                  log_quote(str_from(e->cause)));
    return smtp_error_reply(e, text);
}

static void smtp_finish(struct smtp_session *s, const struct finished *f)
{
    struct error e = {0};
    char text[300];
    int result =
        is_direct(s) ? deliver_one(s, f, &s->recipients.items[0], &e) : queue_some(s, f, true, &e);
    if (result == 0) {
        snprintf(text, sizeof(text), "250 2.0.0 Taken as %s", s->queue_id);
        smtp_reply(s, text);
        stream_flush(&s->stream); /* the client need not wait for what is only written down */
        accepted_note(s, f, text);
    } else {
        const char *reply = failure_reply(&e, text);
        refused_note(s, f, reply);
        smtp_reply(s, reply);
    }
}

/* The recipient before i that is delivered to the same place; i when there is none. */
static size_t same_place(const struct smtp_session *s, size_t i)
{
    const struct route *route = &s->recipients.items[i].route;
    for (size_t k = 0; k < i && route->verdict == ROUTE_LOCAL; k++) {
        const struct route *other = &s->recipients.items[k].route;
        if (other->verdict == ROUTE_LOCAL && other->account == route->account &&
            str_equal(other->detail, route->detail))
            return k;
    }
    return i;
}

/* RFC 2033 §4.2: one reply for each recipient, in their order; who is named twice gets one copy. */
static void lmtp_finish(struct smtp_session *s, const struct finished *f)
{
    struct error queued = {0};
    int queue_result = queue_some(s, f, false, &queued);
    bool any = false;
    struct {
        int result;
        struct error error;
    } *done = arena_alloc_array(&s->arena, s->recipients.len, sizeof(*done));
    for (size_t i = 0; i < s->recipients.len; i++) {
        const struct smtp_recipient *r = &s->recipients.items[i];
        size_t before = same_place(s, i);
        char text[300];
        if (before < i) {
            done[i] = done[before];
        } else {
            done[i].error = queued;
            done[i].result = r->route.verdict == ROUTE_LOCAL ? deliver_one(s, f, r, &done[i].error)
                                                             : queue_result;
        }
        const char *reply = text;
        if (done[i].result == 0)
            snprintf(text, sizeof(text), "250 2.0.0 <" STR_FMT "> taken as %s",
                     STR_ARG(str_slice(r->address, 0, 200)), s->queue_id);
        else
            reply = failure_reply(&done[i].error, text);
        any |= done[i].result == 0;
        smtp_reply(s, reply);
        outcome_note(s, f, r->address, done[i].result == 0 ? "accept" : "refuse", reply);
    }
    if (any) {
        smtp_messages_accepted++;
        s->messages++;
        log_event(LOG_INFO, "lmtp-accept", "peer=%s from=%s recipients=%zu size=%llu message-id=%s",
                  s->arrival.peer, log_quote(s->reverse_path), s->recipients.len,
                  (unsigned long long)f->size, log_quote(f->message_id));
    } else {
        smtp_messages_refused++;
    }
}

void message_end(struct smtp_session *s)
{
    struct finished f = {.fd = -1,
                         .summary = BUF_INIT(4 * 1024 * 1024),
                         .size = s->spool.size,
                         .message_id = STR("")};
    struct error e = {0};
    char text[300];
    log_set_context("session=%s queue-id=%s", s->arrival.session, s->queue_id);
    const char *flaw = flaw_reply(s);
    if (!flaw && finish(s, &f, &e) < 0)
        flaw = failure_reply(&e, text);
    if (flaw) {
        refused_note(s, &f, flaw);
        reply_to_all(s, flaw);
        s->errors += flaw[0] == '5';
    } else if (s->lmtp) {
        lmtp_finish(s, &f);
    } else {
        smtp_finish(s, &f);
    }
    fd_close(&f.fd);
    buf_free(&f.summary);
    smtp_transaction_reset(s);
    log_set_context("session=%s", s->arrival.session);
}
