/* envelope.c - MAIL and RCPT: paths, parameters, who is here. */
#include "base/log.h"
#include "message/address.h"
#include "smtp/session.h"
#include "store/trace.h"

void smtp_transaction_reset(struct smtp_session *s)
{
    s->recipients.len = 0;
    s->reverse_path = STR("");
    s->declared_size = 0;
    s->smtp_utf8 = s->eight_bit = s->too_large = s->chunk_refused = false;
    s->queue_id[0] = '\0';
    spool_free(&s->spool);
    arena_free(&s->arena);
    if (s->state != STATE_HELO)
        s->state = STATE_MAIL;
}

/* ------------------------------------------------------------------ syntax */

/* "FROM:<path> parameters": *path without its brackets and source route (RFC 5321 §4.1.2, appendix C),
 * *parameters what follows. */
static int path_read(struct str argument, struct str keyword, struct str *path,
                     struct str *parameters)
{
    if (!str_starts_nocase(argument, keyword))
        return -1;
    struct str rest = str_trim(str_from_pos(argument, keyword.len)); /* "FROM: <a@b>" is forgiven */
    if (rest.len == 0 || rest.data[0] != '<') {
        /* Some clients leave the brackets out. */
        size_t end = str_find_char(rest, ' ');
        *path = str_slice(rest, 0, end);
        *parameters = str_trim(str_from_pos(rest, end));
        return rest.len ? 0 : -1;
    }
    size_t i = 1;
    bool quoted = false;
    for (; i < rest.len && (quoted || rest.data[i] != '>'); i++) {
        if (rest.data[i] == '\\' && quoted)
            i++;
        else if (rest.data[i] == '"')
            quoted = !quoted;
    }
    if (i >= rest.len)
        return -1;
    *path = str_slice(rest, 1, i - 1);
    *parameters = str_from_pos(rest, i + 1);
    if (parameters->len && parameters->data[0] != ' ')
        return -1;
    *parameters = str_trim(*parameters);
    if (path->len && path->data[0] == '@') { /* <@one,@two:user@host>: the route is ignored */
        size_t colon = str_find_char(*path, ':');
        if (colon == path->len)
            return -1;
        *path = str_from_pos(*path, colon + 1);
    }
    return 0;
}

/* A parameter of MAIL: 0, or -1 after its reply. */
static int mail_parameter(struct smtp_session *s, struct str name, struct str value)
{
    if (str_equal_nocase(name, STR("SIZE"))) { /* RFC 1870 §6.1 */
        if (str_to_u64(value, UINT64_MAX, &s->declared_size) < 0) {
            smtp_bad(s, "501 5.5.4 SIZE is a number");
            return -1;
        }
        if (smtp_size_limit(s) && s->declared_size > smtp_size_limit(s)) {
            smtp_replyf(s, "552 5.3.4 The message is too large: up to %llu bytes are taken",
                        (unsigned long long)smtp_size_limit(s));
            return -1;
        }
        return 0;
    }
    if (str_equal_nocase(name, STR("BODY"))) { /* RFC 6152 §2 */
        s->eight_bit = str_equal_nocase(value, STR("8BITMIME"));
        if (s->eight_bit || str_equal_nocase(value, STR("7BIT")))
            return 0;
        smtp_bad(s, "501 5.5.4 BODY is 7BIT or 8BITMIME");
        return -1;
    }
    if (str_equal_nocase(name, STR("SMTPUTF8")) && value.len == 0) { /* RFC 6531 §3.4 */
        s->smtp_utf8 = true;
        return 0;
    }
    smtp_replyf(s, "555 5.5.4 Unknown parameter " STR_FMT, STR_ARG(str_slice(name, 0, 60)));
    s->errors++;
    return -1;
}

static int mail_parameters(struct smtp_session *s, struct str parameters)
{
    struct str parameter;
    if (parameters.len && !s->esmtp) {
        smtp_bad(s, "555 5.5.4 Parameters need EHLO");
        return -1;
    }
    while (parameters.len && str_next_part(&parameters, ' ', &parameter)) {
        if (parameter.len == 0)
            continue;
        size_t equals = str_find_char(parameter, '=');
        if (mail_parameter(s, str_slice(parameter, 0, equals),
                           str_from_pos(parameter, equals + 1)) < 0)
            return -1;
    }
    return 0;
}

/* ------------------------------------------------------------------ MAIL */

int smtp_mail(struct smtp_session *s, struct str argument)
{
    struct str path, parameters;
    struct address address;
    smtp_transaction_reset(s);
    if (path_read(argument, STR("FROM:"), &path, &parameters) < 0)
        return smtp_bad(s, "501 5.5.2 Say MAIL FROM:<address>");
    if (mail_parameters(s, parameters) < 0) {
        smtp_transaction_reset(s);
        return 0;
    }
    if (path.len && address_parse(path, &s->arena, &address) < 0)
        return smtp_bad(s, "501 5.1.7 That is not a mail address");
    if (path.len && address.utf8 && !s->smtp_utf8)
        return smtp_bad(s, "553 5.6.7 This address needs SMTPUTF8");
    s->reverse_path = arena_copy(&s->arena, path);
    s->state = STATE_RCPT;
    smtp_replyf(s, "250 2.1.0 <" STR_FMT "> is heard", STR_ARG(path));
    return 0;
}

/* ------------------------------------------------------------------ RCPT */

static void refusal_trace(struct smtp_session *s, struct str address, const char *reply)
{
    struct trace_event event = {.event = STR("refuse"),
                                .peer = str_from(s->arrival.peer),
                                .sender = arena_lower(&s->arena, s->reverse_path),
                                .recipient = arena_lower(&s->arena, address),
                                .reply = str_from(reply)};
    trace_send(&event);
    s->recipients_refused++;
    s->errors += reply[0] == '5';
    log_event(LOG_INFO, "rcpt-refused", "peer=%s from=%s to=%s reply=%s", s->arrival.peer,
              log_quote(s->reverse_path), log_quote(address), log_quote(str_from(reply)));
}

/* The reply to a verdict that is a refusal. */
static const char *refusal(const struct smtp_session *s, const struct route *route,
                           char text[static 300])
{
    const char *code = "550 5.1.1", *more = "No such person here";
    if (route->verdict == ROUTE_NOT_OURS) {
        code = "550 5.7.1";
        more = "That domain is not ours, and mail is relayed only for our own people after a login";
    } else if (route->verdict == ROUTE_DISABLED) {
        code = "550 5.2.1";
        more = "The mailbox takes no mail";
    } else if (route->verdict == ROUTE_OVER_QUOTA) {
        /* RFC 1870 §6.1: permanent when it could never fit. */
        bool never = route->quota && s->declared_size > route->quota;
        code = never ? "552 5.2.3" : "452 4.2.2";
        more = never ? "The message is larger than the mailbox" : "The mailbox is full";
    }
    if (route->reason.len && route->verdict != ROUTE_NOT_OURS && route->verdict != ROUTE_OVER_QUOTA)
        snprintf(text, 300, "%s " STR_FMT, code, STR_ARG(route->reason));
    else
        snprintf(text, 300, "%s %s", code, more);
    return text;
}

int smtp_rcpt(struct smtp_session *s, struct str argument)
{
    struct str path, parameters;
    struct address address = {.local = STR("postmaster"), .domain = STR("")};
    uint64_t max =
        s->listener->recipients ? s->listener->recipients : s->settings->limits.recipients;
    if (path_read(argument, STR("TO:"), &path, &parameters) < 0)
        return smtp_bad(s, "501 5.5.2 Say RCPT TO:<address>");
    if (parameters.len) {
        struct str name = str_slice(
            parameters, 0, MIN(str_find_char(parameters, '='), str_find_char(parameters, ' ')));
        smtp_replyf(s, "555 5.5.4 Unknown parameter " STR_FMT, STR_ARG(str_slice(name, 0, 60)));
        s->errors++;
        return 0;
    }
    /* RFC 5321 §4.1.1.3: <postmaster> without a domain is an address. */
    if (!str_equal_nocase(path, STR("postmaster")) && address_parse(path, &s->arena, &address) < 0)
        return smtp_bad(s, "501 5.1.3 That is not a mail address");
    if (address.utf8 && !s->smtp_utf8)
        return smtp_bad(s, "553 5.6.7 This address needs SMTPUTF8");
    if (max && s->recipients.len >= max) {
        smtp_reply(s, "452 4.5.3 Too many recipients: send them in another message");
        return 0;
    }
    struct smtp_recipient r = {.address = arena_copy(&s->arena, path)};
    struct error e = {0};
    char text[300];
    if (route_recipient(&address, s->declared_size, &s->arena, &r.route, &e) < 0) {
        smtp_error(s, &e);
        return 0;
    }
    if (r.route.verdict != ROUTE_LOCAL && r.route.verdict != ROUTE_QUEUE) {
        const char *reply = refusal(s, &r.route, text);
        smtp_reply(s, reply);
        refusal_trace(s, r.address, reply);
        return 0;
    }
    VEC_ADD(&s->recipients, r);
    s->state = STATE_DATA;
    smtp_replyf(s, "250 2.1.5 <" STR_FMT "> is welcome", STR_ARG(path));
    return 0;
}
