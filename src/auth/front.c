/* front.c - a connection before its login. See front.h.
 *
 * A session goes through stages, each of which says what to wait for: the PROXY header, the TLS
 * handshake, commands, a failure whose reply is held back, and (on TLS, after the login) the pump.
 */
#include "auth/front.h"

#include <sys/socket.h>
#include <unistd.h>

#include "auth/pump.h"
#include "auth/sasl.h"
#include "base/clock.h"
#include "base/codec.h"
#include "base/log.h"

enum { OUT_MAX = 256 * 1024 };

enum { STAGE_PROXY, STAGE_TLS, STAGE_COMMANDS, STAGE_DELAY, STAGE_PUMP, STAGE_END };

static _Atomic uint64_t sessions, pumping, logins, logins_failed;

void front_stats(struct front_stats *out)
{
    uint64_t all = sessions, after = pumping;
    *out = (struct front_stats){all, all - MIN(after, all), after, logins, logins_failed};
}

/* ------------------------------------------------------------------ TLS and what may be offered */

bool front_tls_offered(const struct front *f)
{
    if (f->tls || f->listener->tls != LISTEN_TLS_STARTTLS)
        return false;
    struct tls_context *context = tls_current_get();
    bool offered = context != NULL;
    if (context)
        tls_context_unref(&context);
    return offered;
}

void front_start_tls(struct front *f)
{
    struct tls_context *context = tls_current_get();
    panic_unless(context);
    stream_flush(&f->stream);
    if (f->listener->tls == LISTEN_TLS_IMPLICIT)
        stream_implicit_tls(&f->stream, context); /* may have begun right behind a PROXY header */
    else
        stream_start_tls(&f->stream, context);
    tls_context_unref(&context);
    buf_free(&f->user);
    f->stage = STAGE_TLS;
}

bool front_plaintext_allowed(const struct front *f)
{
    return f->tls || (f->listener->plaintext_login && f->arrival.loopback);
}

struct str front_mechanisms(struct front *f)
{
    return sasl_mechanisms(f->tls, front_plaintext_allowed(f), &f->arena);
}

/* ------------------------------------------------------------------ logging in */

static void request_fill(struct front *f, struct sasl_request *r, struct buf bindings[3])
{
    *r = (struct sasl_request){.service = str_from(f->protocol->name),
                               .peer = str_from(f->arrival.peer),
                               .session = str_from(f->arrival.session),
                               .tls = f->tls,
                               .plaintext = front_plaintext_allowed(f)};
    static const struct str types[3] = {STR_INIT("tls-exporter"), STR_INIT("tls-unique"),
                                        STR_INIT("tls-server-end-point")};
    for (size_t i = 0; i < 3; i++) {
        bindings[i] = BUF_INIT(256);
        if (f->tls && tls_channel_binding(f->stream.tls, types[i], &bindings[i]) < 0)
            buf_reset(&bindings[i]);
    }
    r->tls_exporter = buf_str(&bindings[0]);
    r->tls_unique = buf_str(&bindings[1]);
    r->tls_server_end_point = buf_str(&bindings[2]);
}

/* Keeps a failure until its reply may be sent. */
static void login_refused(struct front *f, const struct error *e, int64_t not_before)
{
    f->pending = *e;
    f->not_before = not_before;
    f->stage = STAGE_DELAY;
    if (e->class == ERROR_DENIED) {
        f->logins_failed++;
        logins_failed++;
    }
}

/* On success the connection is box's (plain) or pumped (TLS), and the client hears from box. */
static void login_attach(struct front *f, const struct sasl_outcome *outcome)
{
    struct error e = {0};
    int ends[2] = {-1, -1};
    int fd = -1;
    stream_flush(&f->stream);
    if (f->tls && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0)
        fd = ends[1];
    else if (!f->tls)
        fd = dup(f->stream.fd);
    if (fd < 0) {
        error_set(&e, ERROR_TEMPORARY, "Too many connections: try again later");
        login_refused(f, &e, 0);
        return;
    }
    struct attach a = {.protocol = f->protocol->attach,
                       .account = outcome->account,
                       .ticket = outcome->ticket,
                       .tag = f->tag,
                       .input = stream_input(&f->stream),
                       .tls = f->tls,
                       .plaintext = front_plaintext_allowed(f),
                       .mechanisms = front_mechanisms(f),
                       .peer = str_from(f->arrival.peer),
                       .listener = f->listener->name,
                       .session = str_from(f->arrival.session)};
    if (session_attach(&a, fd, &e) < 0) {
        fd_close(&ends[0]);
        log_event(LOG_WARNING, "attach-failed", "class=%s error=%s cause=%s",
                  error_class_name(e.class), log_quote(str_from(e.text)),
                  log_quote(str_from(e.cause)));
        login_refused(f, &e, 0);
        return;
    }
    logins++;
    stream_consume(&f->stream, a.input.len);
    f->stage = STAGE_END;
    if (!f->tls)
        return;
    f->pump = mem_alloc(sizeof(*f->pump));
    if (pump_start(f->pump, &f->stream, ends[0]) < 0) {
        mem_free(f->pump);
        f->pump = NULL;
        return;
    }
    f->stage = STAGE_PUMP;
    pumping++;
}

static void login_outcome(struct front *f, const struct sasl_outcome *outcome,
                          const struct error *e)
{
    f->in_sasl = false;
    if (outcome->status == SASL_FAILED) {
        login_refused(f, e, outcome->not_before_ms);
        return;
    }
    if (outcome->status == SASL_CHALLENGE || outcome->challenge.len) {
        struct buf text = BUF_INIT(2 * SASL_MESSAGE_MAX);
        base64_encode(&text, outcome->challenge);
        f->in_sasl = true;
        f->exchange = outcome->exchange;
        f->protocol->challenge(f, buf_str(&text));
        buf_free(&text);
    }
    if (outcome->status == SASL_DONE && !f->in_sasl)
        login_attach(f, outcome);
    if (outcome->status == SASL_DONE && f->in_sasl) {
        /* SCRAM's last message: the ticket is kept until the client has acknowledged it. */
        buf_reset(&f->ticket);
        buf_add(&f->ticket, outcome->ticket);
        f->account = outcome->account;
    }
}

enum login_kind { LOGIN_PASSWORD, LOGIN_START, LOGIN_STEP, LOGIN_CANCEL };

/* One question to core with the request's context; a and b by kind. */
static void login_ask(struct front *f, enum login_kind kind, struct str a, struct str b)
{
    struct sasl_request request;
    struct sasl_outcome outcome = {.status = SASL_FAILED};
    struct error e = {0};
    struct buf bindings[3];
    request_fill(f, &request, bindings);
    if (kind == LOGIN_PASSWORD)
        sasl_password(&request, a, b, &f->arena, &outcome, &e);
    else if (kind == LOGIN_START)
        sasl_start(&request, a, b, &f->arena, &outcome, &e);
    else
        sasl_step(&request, f->exchange, a, kind == LOGIN_CANCEL, &f->arena, &outcome, &e);
    login_outcome(f, &outcome, &e);
    for (size_t i = 0; i < 3; i++)
        buf_free(&bindings[i]);
}

void front_login(struct front *f, struct str user, struct str password)
{
    login_ask(f, LOGIN_PASSWORD, user, password);
}

void front_authenticate(struct front *f, struct str mechanism, struct str initial)
{
    buf_reset(&f->ticket);
    login_ask(f, LOGIN_START, mechanism, initial);
}

void front_sasl_line(struct front *f, struct str line)
{
    if (f->ticket.len) { /* the acknowledgement of the server's last SCRAM message */
        struct sasl_outcome done = {
            .status = SASL_DONE, .ticket = buf_str(&f->ticket), .account = f->account};
        f->in_sasl = false;
        if (line.len == 0) {
            login_attach(f, &done);
        } else {
            struct error e = {0};
            error_set(&e, ERROR_INVALID, "The exchange was cancelled");
            login_refused(f, &e, 0);
        }
        buf_free(&f->ticket);
        return;
    }
    if (str_equal(line, STR("*"))) {
        login_ask(f, LOGIN_CANCEL, STR(""), STR(""));
        return;
    }
    struct buf answer = BUF_INIT(SASL_MESSAGE_MAX);
    if (base64_decode(&answer, line) < 0) {
        struct error e = {0};
        error_set(&e, ERROR_INVALID, "That is not base64");
        f->in_sasl = false;
        login_refused(f, &e, 0);
    } else {
        login_ask(f, LOGIN_STEP, buf_str(&answer), STR(""));
    }
    wipe(answer.data, answer.len);
    buf_free(&answer);
}

bool front_bad_command(struct front *f)
{
    if (++f->bad_commands + f->logins_failed < f->settings->limits.errors)
        return false;
    f->protocol->bye(f, FRONT_BYE_BAD_COMMANDS);
    return true;
}

/* ------------------------------------------------------------------ the stages */

/* Each stage: 1 the next stage may run at once, 0 wait, -1 close. */

static int stage_tls(struct front *f)
{
    const char *why = "";
    int done = stream_handshake(&f->stream, &why);
    if (done < 0)
        log_event(LOG_INFO, "tls-failed", "peer=%s listener=" STR_FMT " reason=%s", f->arrival.peer,
                  STR_ARG(f->listener->name), why);
    if (done != 0)
        return done < 0 ? -1 : 0;
    f->tls = true;
    f->stage = STAGE_COMMANDS;
    if (f->listener->tls == LISTEN_TLS_IMPLICIT)
        f->protocol->greet(f);
    return 1;
}

static int stage_commands(struct front *f)
{
    for (;;) {
        int taken = f->protocol->input(f);
        if (!f->in_sasl)
            arena_free(&f->arena);
        if (taken < 0)
            return -1;
        if (f->stage != STAGE_COMMANDS)
            return f->stage == STAGE_END ? -1 : 1;
        if (taken > 0)
            continue;
        ssize_t n = stream_fill(&f->stream, f->protocol->input_max);
        if (n <= 0)
            return n < 0 ? -1 : 0;
    }
}

static int stage_delay(struct front *f)
{
    if (clock_monotonic_ms() < f->not_before)
        return 0;
    f->stage = STAGE_COMMANDS;
    f->protocol->refuse(f, &f->pending);
    return front_bad_command(f) ? -1 : 1;
}

/* The address is known: is there room, and then the greeting, or the handshake before it. */
static int session_begin(struct front *f)
{
    if (arrival_admit(&f->arrival, f->settings, sessions) < 0) {
        f->protocol->bye(f, FRONT_BYE_TOO_MANY);
        return -1;
    }
    f->stage = STAGE_COMMANDS;
    if (f->listener->tls != LISTEN_TLS_IMPLICIT) {
        f->protocol->greet(f);
        return 1;
    }
    struct tls_context *context = tls_current_get();
    if (!context) {
        log_event(LOG_ERROR, "no-certificate", "listener=" STR_FMT, STR_ARG(f->listener->name));
        return -1;
    }
    tls_context_unref(&context);
    front_start_tls(f);
    return 1;
}

static int stages_run(struct front *f)
{
    int result = 1;
    while (result > 0) {
        if (stream_flush(&f->stream) < 0)
            return -1;
        switch (f->stage) {
        case STAGE_PROXY:
            result = arrival_proxy(&f->arrival, &f->stream);
            if (result > 0)
                result = session_begin(f);
            break;
        case STAGE_TLS:
            result = stage_tls(f);
            break;
        case STAGE_COMMANDS:
            result = stage_commands(f);
            break;
        case STAGE_DELAY:
            result = stage_delay(f);
            break;
        case STAGE_PUMP:
            result = pump_run(f->pump);
            break;
        default:
            return -1;
        }
    }
    return result;
}

static int64_t stage_deadline(const struct front *f, int64_t now)
{
    if (f->stage == STAGE_PUMP)
        return 0; /* box keeps the time of the session */
    if (f->stage == STAGE_DELAY)
        return f->not_before;
    return f->started + (int64_t)f->settings->imap.login_timeout > now
               ? f->started + (int64_t)f->settings->imap.login_timeout
               : now;
}

static enum conn_verdict front_run(struct conn *conn, unsigned events)
{
    struct front *f = CONTAINER_OF(conn, struct front, conn);
    int64_t now = clock_monotonic_ms();
    log_set_context("session=%s", f->arrival.session);
    int result = 0;
    if (events & CONN_STOPPING && f->stage != STAGE_PUMP) {
        f->protocol->bye(f, FRONT_BYE_STOPPING);
        result = -1;
    } else if (f->stage != STAGE_PUMP && f->stage != STAGE_DELAY &&
               now >= f->started + (int64_t)f->settings->imap.login_timeout) {
        f->protocol->bye(f, FRONT_BYE_TIMEOUT);
        result = -1;
    } else {
        if (events & CONN_STOPPING && !f->ending) { /* box ends its side; then the client is told */
            f->ending = true;
            shutdown(f->pump->inside.fd, SHUT_WR);
        }
        result = stages_run(f);
        if (result < 0 && f->ending)
            f->protocol->bye(f, FRONT_BYE_STOPPING);
    }
    int flushed = stream_flush(&f->stream);
    log_clear_context();
    if (result < 0 || flushed < 0)
        return CONN_CLOSE;
    conn->deadline = stage_deadline(f, now);
    if (f->stage == STAGE_PUMP) {
        conn->fd = f->pump->epoll_fd;
        conn->want = CONN_READABLE;
        return CONN_PARK;
    }
    conn->want = stream_want(&f->stream, f->stage != STAGE_DELAY);
    stream_rest(&f->stream);
    return CONN_PARK;
}

static void front_free(struct conn *conn)
{
    struct front *f = CONTAINER_OF(conn, struct front, conn);
    bool pumped = f->pump != NULL;
    if (f->stage != STAGE_END && !pumped)
        log_event(LOG_INFO, "login-end", "session=%s service=%s peer=%s tls=%s failed-logins=%u",
                  f->arrival.session, f->protocol->name, f->arrival.peer, f->tls ? "yes" : "no",
                  f->logins_failed);
    if (pumped) {
        pump_close(f->pump);
        mem_free(f->pump);
        pumping--;
    }
    sessions--;
    arrival_leave(&f->arrival);
    stream_close(&f->stream);
    buf_free(&f->user);
    buf_free(&f->ticket);
    arena_free(&f->arena);
    settings_unref(&f->settings);
    mem_free(f);
}

/* ------------------------------------------------------------------ arriving */

static const struct front_protocol *protocols[4]; /* by enum listener_protocol */

static void front_arrived(const struct process_listener *listener, int fd,
                          const struct sockaddr_storage *source)
{
    static const struct conn_class class = {"front", front_run, front_free};
    struct front *f = mem_alloc(sizeof(*f));
    f->protocol = protocols[listener->settings->protocol];
    f->listener = listener->settings;
    f->settings = settings_ref();
    f->started = clock_monotonic_ms();
    f->user = BUF_INIT(1024);
    f->ticket = BUF_INIT(4096);
    arrival_init(&f->arrival, listener->settings, source);
    stream_init(&f->stream, fd, f->protocol->input_max, OUT_MAX);
    f->conn.class = &class;
    f->conn.fd = fd;
    sessions++;
    conn_start(&f->conn);
}

void front_listen(const struct process_listener *listener, const struct front_protocol *protocol)
{
    /* Written once, before the first of its listeners is watched. */
    if (!protocols[listener->settings->protocol])
        protocols[listener->settings->protocol] = protocol;
    arrivals_accept(listener, front_arrived);
}
