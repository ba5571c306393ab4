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

/* The mailbox behind a source route (RFC 5321 §4.1.2 A-d-l, appendix C): the route is checked and
 * ignored. -1: what stands there is none, or nothing stands behind it. */
static int route_skip(struct str *path)
{
    size_t colon = str_find_char(*path, ':');
    struct str route = str_slice(*path, 0, colon), hop;
    struct str mailbox = str_from_pos(*path, colon + 1);
    if (!str_has_char(mailbox, '@')) /* neither <@a:> nor <@a:postmaster> */
        return -1;
    while (str_next_part(&route, ',', &hop)) {
        struct buf domain = BUF_INIT(ADDRESS_DOMAIN_MAX + 1);
        bool valid =
            hop.len && hop.data[0] == '@' && domain_normalize(str_from_pos(hop, 1), &domain) == 0;
        buf_free(&domain);
        if (!valid)
            return -1;
    }
    *path = mailbox;
    return 0;
}

/* "FROM:<path> parameters": *path without its brackets and source route (RFC 5321 §4.1.2), *parameters
 * what follows. */
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
    return path->len && path->data[0] == '@' ? route_skip(path) : 0;
}

/* ------------------------------------------------------------------ parameters */

/* RFC 5321 §4.1.2 esmtp-keyword. */
static bool is_keyword(struct str name)
{
    for (size_t i = 0; i < name.len; i++)
        if (!ascii_is_alnum(name.data[i]) && (name.data[i] != '-' || i == 0))
            return false;
    return name.len > 0;
}

/* esmtp-value, with the UTF-8 of RFC 6531 §3.3. */
static bool is_value(struct str value)
{
    for (size_t i = 0; i < value.len; i++)
        if (ascii_is_control(value.data[i]) || value.data[i] == '=')
            return false;
    return value.len > 0 && str_is_utf8(value);
}

/* Takes the next one off *rest: "NAME" (value is empty then) or "NAME=value". 1, or 0: there is none;
 * -1: that is no parameter. */
static int parameter_next(struct str *rest, struct str *name, struct str *value)
{
    struct str parameter = STR("");
    while (parameter.len == 0)
        if (!str_next_part(rest, ' ', &parameter))
            return 0;
    size_t equals = str_find_char(parameter, '=');
    *name = str_slice(parameter, 0, equals);
    *value = str_from_pos(parameter, equals + 1);
    return is_keyword(*name) && (equals == parameter.len || is_value(*value)) ? 1 : -1;
}

/* RFC 5321 §4.1.1.11. Only a keyword is repeated in the reply. -1 */
static int parameter_unknown(struct smtp_session *s, struct str name)
{
    smtp_replyf(s, "555 5.5.4 Unknown parameter " STR_FMT, STR_ARG(str_slice(name, 0, 60)));
    s->errors++;
    return -1;
}

/* -1, after its reply: for what one parameter or all of them have wrong. */
static int parameter_bad(struct smtp_session *s, const char *text)
{
    smtp_bad(s, text);
    return -1;
}

static bool is_digits(struct str text)
{
    for (size_t i = 0; i < text.len; i++)
        if (!ascii_is_digit(text.data[i]))
            return false;
    return text.len > 0;
}

/* RFC 1870 §3 (4): 1 to 20 digits, which may be more than 64 bits. */
static int take_size(struct smtp_session *s, struct str value)
{
    if (!is_digits(value) || value.len > 20)
        return parameter_bad(s, "501 5.5.4 SIZE is a number");
    if (str_to_u64(value, UINT64_MAX, &s->declared_size) < 0)
        s->declared_size = UINT64_MAX;
    if (smtp_size_limit(s) && s->declared_size > smtp_size_limit(s)) { /* §6.1 */
        smtp_replyf(s, "552 5.3.4 The message is too large: up to %llu bytes are taken",
                    (unsigned long long)smtp_size_limit(s));
        return -1;
    }
    return 0;
}

static int take_body(struct smtp_session *s, struct str value)
{
    s->eight_bit = str_equal_nocase(value, STR("8BITMIME"));
    if (s->eight_bit || str_equal_nocase(value, STR("7BIT")))
        return 0;
    return parameter_bad(s, "501 5.5.4 BODY is 7BIT or 8BITMIME");
}

static int take_smtp_utf8(struct smtp_session *s, struct str value)
{
    if (value.len)
        return parameter_bad(s, "501 5.5.4 SMTPUTF8 has no value");
    s->smtp_utf8 = true;
    return 0;
}

/* The parameters of MAIL. take: 0, or -1 after its reply. */
static const struct {
    struct str name;
    int (*take)(struct smtp_session *s, struct str value);
    const char *reference;
} mail_rows[] = {
    {STR_INIT("SIZE"), take_size, "RFC 1870 §6.1"},
    {STR_INIT("BODY"), take_body, "RFC 6152 §2"},
    {STR_INIT("SMTPUTF8"), take_smtp_utf8, "RFC 6531 §3.4"},
};

static int mail_parameters(struct smtp_session *s, struct str parameters)
{
    struct str name, value;
    unsigned seen = 0;
    int got;
    if (parameters.len && !s->esmtp)
        return parameter_bad(s, "555 5.5.4 Parameters need EHLO");
    while ((got = parameter_next(&parameters, &name, &value)) > 0) {
        size_t i = 0;
        while (i < countof(mail_rows) && !str_equal_nocase(mail_rows[i].name, name))
            i++;
        if (i == countof(mail_rows))
            return parameter_unknown(s, name);
        if (seen & 1u << i) /* which of the two would count? */
            return parameter_bad(s, "501 5.5.4 The same parameter twice");
        seen |= 1u << i;
        if (mail_rows[i].take(s, value) < 0)
            return -1;
    }
    return got < 0 ? parameter_bad(s, "501 5.5.4 That is not a parameter") : 0;
}

/* RCPT has none of its own here. */
static int rcpt_parameters(struct smtp_session *s, struct str parameters)
{
    struct str name, value;
    int got = parameter_next(&parameters, &name, &value);
    if (got < 0)
        return parameter_bad(s, "501 5.5.4 That is not a parameter");
    return got > 0 ? parameter_unknown(s, name) : 0;
}

/* ------------------------------------------------------------------ MAIL */

/* 0: *path is the reverse-path, and the session has its parameters; -1 after its reply. */
static int mail_read(struct smtp_session *s, struct str argument, struct str *path)
{
    struct str parameters;
    struct address address;
    const char *bad = NULL;
    if (path_read(argument, STR("FROM:"), path, &parameters) < 0)
        bad = "501 5.5.2 Say MAIL FROM:<address>";
    else if (mail_parameters(s, parameters) < 0)
        return -1;
    else if (path->len && address_parse(*path, &s->arena, &address) < 0)
        bad = "501 5.1.7 That is not a mail address";
    else if (path->len && address.utf8 && !s->smtp_utf8)
        bad = "553 5.6.7 This address needs SMTPUTF8";
    if (bad)
        smtp_bad(s, bad);
    return bad ? -1 : 0;
}

int smtp_mail(struct smtp_session *s, struct str argument)
{
    struct str path;
    smtp_transaction_reset(s);
    if (mail_read(s, argument, &path) < 0) {
        smtp_transaction_reset(s);
        s->idle_commands++; /* it brings no mail after all */
        return 0;
    }
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
    if (rcpt_parameters(s, parameters) < 0)
        return 0;
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
