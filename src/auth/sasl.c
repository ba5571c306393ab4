/* sasl.c - SASL in core, and how edge asks. See sasl.h. */
#include "auth/sasl.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <pthread.h>

#include "auth/password.h"
#include "auth/prepare.h"
#include "auth/scram.h"
#include "auth/throttle.h"
#include "auth/ticket.h"
#include "base/clock.h"
#include "base/codec.h"
#include "base/log.h"
#include "run/ipc.h"
#include "run/settings.h"
#include "store/directory.h"

enum { EXCHANGES_MAX = 4096, EXCHANGE_MS = 60000, FAKE_SECRET = 32 };

static const struct str cancel_text = STR_INIT("The exchange was cancelled");

/* ------------------------------------------------------------------ mechanisms */

enum mechanism_kind { MECHANISM_PLAIN, MECHANISM_LOGIN, MECHANISM_SCRAM };

static const struct mechanism {
    struct str name;
    enum mechanism_kind kind;
    enum scram_hash hash;
    bool plus;
} mechanisms[] = {
    /* best first */
    {STR_INIT("SCRAM-SHA-256-PLUS"), MECHANISM_SCRAM, SCRAM_SHA256, true},
    {STR_INIT("SCRAM-SHA-256"), MECHANISM_SCRAM, SCRAM_SHA256, false},
    {STR_INIT("SCRAM-SHA-1-PLUS"), MECHANISM_SCRAM, SCRAM_SHA1, true},
    {STR_INIT("SCRAM-SHA-1"), MECHANISM_SCRAM, SCRAM_SHA1, false},
    {STR_INIT("PLAIN"), MECHANISM_PLAIN, SCRAM_SHA1, false},
    {STR_INIT("LOGIN"), MECHANISM_LOGIN, SCRAM_SHA1, false},
};

static bool mechanism_offered(const struct mechanism *m, bool tls, bool plaintext, bool scram)
{
    return m->kind == MECHANISM_SCRAM ? scram && (tls || !m->plus) : plaintext;
}

/* ------------------------------------------------------------------ edge's side */

enum ask_kind { ASK_START, ASK_STEP, ASK_CANCEL, ASK_PASSWORD };

static void ask(enum ask_kind kind, const struct sasl_request *r, uint64_t exchange, struct str a,
                struct str b, struct arena *arena, struct sasl_outcome *out, struct error *e)
{
    struct ipc_out request = {.failed = false};
    struct ipc_in reply CLEANUP(ipc_in_free) = {.failed = false};
    const struct str strings[] = {r->service,      r->peer,       r->session,
                                  r->tls_exporter, r->tls_unique, r->tls_server_end_point};
    *out = (struct sasl_outcome){.status = SASL_FAILED};
    ipc_put_u32(&request, kind);
    ipc_put_u64(&request, exchange);
    for (size_t i = 0; i < countof(strings); i++)
        ipc_put_str(&request, strings[i]);
    ipc_put_bool(&request, r->tls);
    ipc_put_bool(&request, r->plaintext);
    ipc_put_str(&request, a);
    ipc_put_bool(&request, b.data != NULL);
    ipc_put_str(&request, b);
    if (ipc_call(PROCESS_CORE, 0, IPC_AUTH_START, &request, 0, &reply, e) < 0)
        return;
    struct sasl_outcome got = {.status = (enum sasl_status)ipc_get_u32(&reply),
                               .exchange = ipc_get_u64(&reply)};
    got.challenge = arena_copy(arena, ipc_get_str(&reply, SASL_MESSAGE_MAX));
    got.ticket = arena_copy(arena, ipc_get_str(&reply, 4096));
    got.address = arena_copy(arena, ipc_get_str(&reply, 1024));
    got.account = ipc_get_u64(&reply);
    got.not_before_ms = ipc_get_i64(&reply);
    enum error_class class = (enum error_class)ipc_get_u32(&reply);
    struct str text = ipc_get_str(&reply, 256);
    if (ipc_get_end(&reply) < 0 || got.status > SASL_FAILED) {
        error_set(e, ERROR_TEMPORARY, "The login service was not understood");
        return;
    }
    if (got.status == SASL_FAILED)
        error_set(e, class, STR_FMT, STR_ARG(text));
    *out = got;
}

void sasl_start(const struct sasl_request *request, struct str mechanism, struct str initial,
                struct arena *arena, struct sasl_outcome *out, struct error *e)
{
    ask(ASK_START, request, 0, mechanism, initial, arena, out, e);
}

void sasl_step(const struct sasl_request *request, uint64_t exchange, struct str answer,
               bool cancelled, struct arena *arena, struct sasl_outcome *out, struct error *e)
{
    ask(cancelled ? ASK_CANCEL : ASK_STEP, request, exchange, answer, STR(""), arena, out, e);
}

void sasl_password(const struct sasl_request *request, struct str user, struct str password,
                   struct arena *arena, struct sasl_outcome *out, struct error *e)
{
    ask(ASK_PASSWORD, request, 0, user, password, arena, out, e);
}

struct str sasl_mechanisms(bool tls, bool plaintext, struct arena *arena)
{
    static _Atomic int64_t asked;
    static _Atomic bool scram;
    int64_t now = clock_monotonic_ms();
    if (!asked || now - asked > 1000) {
        struct ipc_out request = {.failed = false};
        struct ipc_in reply CLEANUP(ipc_in_free) = {.failed = false};
        struct error e;
        scram = ipc_call(PROCESS_CORE, 0, IPC_AUTH_MECHANISMS, &request, 0, &reply, &e) == 0 &&
                ipc_get_bool(&reply);
        asked = now;
    }
    struct buf list = BUF_INIT(512);
    for (size_t i = 0; i < countof(mechanisms); i++)
        if (mechanism_offered(&mechanisms[i], tls, plaintext, scram))
            buf_printf(&list, "%s" STR_FMT, list.len ? " " : "", STR_ARG(mechanisms[i].name));
    struct str copy = arena_copy(arena, buf_str(&list));
    buf_free(&list);
    return copy;
}

/* ------------------------------------------------------------------ core: outstanding exchanges */

struct exchange {
    uint64_t id; /* 0: free */
    int64_t until;
    const struct mechanism *mechanism;
    struct buf user;        /* LOGIN: the name, when it has come */
    struct buf bare, first; /* SCRAM: client-first-message-bare, server-first-message */
    struct buf gs2;         /* the client's gs2 header, and the channel binding behind it */
    struct buf nonce;
    uint64_t account; /* 0: unknown, or not allowed */
    bool has_user;
};

static struct exchange *exchanges[EXCHANGES_MAX];
static pthread_mutex_t exchanges_lock = PTHREAD_MUTEX_INITIALIZER;

static void exchange_free(struct exchange *x)
{
    if (!x)
        return;
    struct buf *bufs[] = {&x->user, &x->bare, &x->first, &x->gs2, &x->nonce};
    for (size_t i = 0; i < countof(bufs); i++)
        buf_free(bufs[i]);
    mem_free(x);
}

static struct exchange *exchange_make(const struct mechanism *m)
{
    struct exchange *x = mem_alloc(sizeof(*x));
    struct buf *bufs[] = {&x->user, &x->bare, &x->first, &x->gs2, &x->nonce};
    for (size_t i = 0; i < countof(bufs); i++)
        buf_init(bufs[i], SASL_MESSAGE_MAX);
    random_bytes(&x->id, sizeof(x->id));
    x->id |= 1;
    x->mechanism = m;
    x->until = clock_monotonic_ms() + EXCHANGE_MS;
    return x;
}

/* Its slot is given by its id: a newer one takes an older one's place. */
static void exchange_keep(struct exchange *x)
{
    pthread_mutex_lock(&exchanges_lock);
    struct exchange **slot = &exchanges[x->id / 2 % EXCHANGES_MAX];
    struct exchange *old = *slot;
    *slot = x;
    pthread_mutex_unlock(&exchanges_lock);
    exchange_free(old);
}

static struct exchange *exchange_take(uint64_t id)
{
    pthread_mutex_lock(&exchanges_lock);
    struct exchange **slot = &exchanges[id / 2 % EXCHANGES_MAX], *x = *slot;
    if (x && x->id == id && x->until > clock_monotonic_ms())
        *slot = NULL;
    else
        x = NULL;
    pthread_mutex_unlock(&exchanges_lock);
    return x;
}

/* ------------------------------------------------------------------ core: the end of a login */

struct login {
    struct sasl_request request;
    struct arena arena;
    struct sasl_outcome outcome;
    struct error e;
    const char *mechanism;
    struct str user; /* for the log */
    int64_t started;
};

static void login_fail(struct login *l, enum error_class class, const char *text,
                       const char *reason)
{
    const struct settings *s CLEANUP(settings_unref) = settings_ref();
    error_set(&l->e, class, "%s", text);
    l->outcome.status = SASL_FAILED;
    l->outcome.not_before_ms = l->started + (int64_t)s->login.failure_time;
    if (class == ERROR_DENIED)
        throttle_failed(l->request.peer, l->user);
    log_event(LOG_INFO, "login-failed",
              "session=" STR_FMT " service=" STR_FMT " account=%s address=" STR_FMT
              " mechanism=%s tls=%s reason=%s",
              STR_ARG(l->request.session), STR_ARG(l->request.service), log_quote(l->user),
              STR_ARG(l->request.peer), l->mechanism, l->request.tls ? "yes" : "no", reason);
}

/* What an account may do: receive-only accounts read, send-only accounts do not. */
static bool service_allowed(enum account_state state, struct str service)
{
    bool sending = str_equal(service, STR("submission"));
    if (state == ACCOUNT_DISABLED)
        return false;
    return state == ACCOUNT_ENABLED || (state == ACCOUNT_RECEIVE_ONLY) != sending;
}

static void login_succeed(struct login *l, uint64_t account, uint64_t credential)
{
    struct account_entry entry;
    struct buf ticket = BUF_INIT(4096);
    if (directory_account_get(account, &l->arena, &entry, &l->e) < 0) {
        login_fail(l, ERROR_TEMPORARY, "The account cannot be read just now", "directory");
        return;
    }
    if (!service_allowed(entry.state, l->request.service)) {
        login_fail(l, ERROR_DENIED, "The name or the password is wrong", "state");
        return;
    }
    struct ticket t = {.account = account, .quota = entry.quota, .address = entry.address};
    ticket_make(&t, &ticket);
    l->outcome.status = SASL_DONE;
    l->outcome.ticket = arena_copy(&l->arena, buf_str(&ticket));
    l->outcome.address = entry.address;
    l->outcome.account = account;
    buf_free(&ticket);
    throttle_succeeded(l->request.peer, l->user);
    directory_account_login(account, NULL);
    directory_credential_used(credential,
                              arena_printf(&l->arena, STR_FMT " " STR_FMT, STR_ARG(l->request.peer),
                                           STR_ARG(l->request.service)),
                              NULL);
    log_event(LOG_INFO, "login",
              "session=" STR_FMT " service=" STR_FMT " account=%s address=" STR_FMT
              " mechanism=%s tls=%s",
              STR_ARG(l->request.session), STR_ARG(l->request.service), log_quote(entry.address),
              STR_ARG(l->request.peer), l->mechanism, l->request.tls ? "yes" : "no");
}

static void password_run(struct login *l, struct str user, struct str password)
{
    uint64_t account = 0, credential = 0;
    const char *reason = "";
    l->user = user;
    if (throttle_blocked(l->request.peer, user)) {
        login_fail(l, ERROR_DENIED, "The name or the password is wrong", "throttled");
        return;
    }
    if (password_login(user, password, &l->arena, &account, &credential, &reason, &l->e) < 0) {
        struct error e = l->e;
        login_fail(l, e.class == ERROR_DENIED ? ERROR_DENIED : ERROR_TEMPORARY, e.text, reason);
        return;
    }
    login_succeed(l, account, credential);
}

/* authzid NUL authcid NUL password (RFC 4616 §2). */
static void plain_run(struct login *l, struct str message)
{
    struct str authorize, user, password;
    if (!str_next_part(&message, '\0', &authorize) || !str_next_part(&message, '\0', &user) ||
        !message.data) {
        login_fail(l, ERROR_INVALID, "The message of PLAIN was not understood", "syntax");
        return;
    }
    password = message;
    if (authorize.len && !str_equal_nocase(authorize, user)) {
        l->user = user;
        login_fail(l, ERROR_DENIED, "Acting for another account is not possible", "authzid");
        return;
    }
    password_run(l, user, password);
}

static void challenge(struct login *l, struct exchange *x, struct str text)
{
    l->outcome.status = SASL_CHALLENGE;
    l->outcome.exchange = x->id;
    l->outcome.challenge = arena_copy(&l->arena, text);
    exchange_keep(x);
}

static void login_step(struct login *l, struct exchange *x, struct str answer)
{
    if (x->has_user) {
        password_run(l, buf_str(&x->user), answer);
        exchange_free(x);
        return;
    }
    x->has_user = true;
    buf_add(&x->user, answer);
    challenge(l, x, STR("Password:"));
}

/* ------------------------------------------------------------------ SCRAM */

/* Unknown accounts get a salt that is always the same, so that they cannot be told from known ones. */
static void fake_parameters(struct login *l, struct str name, struct str *salt,
                            uint32_t *iterations)
{
    static unsigned char secret[FAKE_SECRET];
    static bool ready;
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    unsigned char made[32];
    unsigned len = sizeof(made);
    pthread_mutex_lock(&lock);
    if (!ready) {
        struct str stored;
        if (directory_value_get(STR("scram-fake-salt"), &l->arena, &stored, NULL) == 0 &&
            stored.len == FAKE_SECRET) {
            memcpy(secret, stored.data, FAKE_SECRET);
        } else {
            random_bytes(secret, sizeof(secret));
            directory_value_set(STR("scram-fake-salt"), str_of(secret, FAKE_SECRET), NULL);
        }
        ready = true;
    }
    pthread_mutex_unlock(&lock);
    struct str lower = arena_lower(&l->arena, name);
    HMAC(EVP_sha256(), secret, FAKE_SECRET, (const unsigned char *)lower.data, lower.len, made,
         &len);
    *salt = arena_copy(&l->arena, str_of(made, 16));
    *iterations = directory_scram_default_get();
}

/* RFC 5802 §6: what the client says about channel binding must fit what is offered. */
static const char *binding_check(struct login *l, const struct mechanism *m,
                                 const struct scram_first *first, struct str *data)
{
    *data = STR("");
    if (m->plus != (first->binding == 'p'))
        return "binding";
    if (first->binding == 'y' && l->request.tls)
        return "downgrade"; /* we offer -PLUS over TLS, and the client thinks that we do not */
    if (first->binding != 'p')
        return NULL;
    *data = str_equal(first->binding_type, STR("tls-exporter")) ? l->request.tls_exporter
            : str_equal(first->binding_type, STR("tls-unique")) ? l->request.tls_unique
            : str_equal(first->binding_type, STR("tls-server-end-point"))
                ? l->request.tls_server_end_point
                : STR("");
    return data->len ? NULL : "binding-type";
}

static void scram_first(struct login *l, struct exchange *x, struct str message)
{
    struct scram_first first;
    struct str binding, salt;
    uint32_t iterations = 0;
    struct account_entry entry;
    if (scram_first_parse(message, &l->arena, &first) < 0 ||
        (first.authzid.len && !str_equal_nocase(first.authzid, first.name))) {
        login_fail(l, ERROR_INVALID, "The message of SCRAM was not understood", "syntax");
        exchange_free(x);
        return;
    }
    l->user = first.name;
    const char *wrong = binding_check(l, x->mechanism, &first, &binding);
    if (wrong) {
        login_fail(l, ERROR_DENIED, "The channel binding does not fit", wrong);
        exchange_free(x);
        return;
    }
    if (directory_account_find(first.name, &l->arena, &entry, &l->e) == 0 &&
        entry.state != ACCOUNT_DISABLED &&
        directory_scram_find(entry.id, &l->arena, &salt, &iterations, &l->e) == 0)
        x->account = entry.id;
    else
        fake_parameters(l, first.name, &salt, &iterations);
    unsigned char noise[18];
    random_bytes(noise, sizeof(noise));
    buf_add(&x->nonce, first.nonce);
    base64_encode(&x->nonce, str_of(noise, sizeof(noise)));
    buf_add(&x->user, first.name);
    buf_add(&x->bare, first.bare);
    buf_add(&x->gs2, first.gs2_header);
    buf_add(&x->gs2, binding);
    buf_printf(&x->first, "r=" STR_FMT ",s=", STR_ARG(buf_str(&x->nonce)));
    base64_encode(&x->first, salt);
    buf_printf(&x->first, ",i=%u", iterations);
    x->has_user = true;
    challenge(l, x, buf_str(&x->first));
}

static void scram_final(struct login *l, struct exchange *x, struct str message)
{
    struct scram_final final;
    struct scram_keys *keys = NULL;
    size_t count = 0;
    l->user = arena_copy(&l->arena, buf_str(&x->user));
    if (scram_final_parse(message, &l->arena, &final) < 0) {
        login_fail(l, ERROR_INVALID, "The message of SCRAM was not understood", "syntax");
        return;
    }
    if (!str_equal(final.nonce, buf_str(&x->nonce)) ||
        !str_equal(final.binding, buf_str(&x->gs2))) {
        login_fail(l, ERROR_DENIED, "The name or the password is wrong", "binding");
        return;
    }
    struct str signed_text =
        arena_printf(&l->arena, STR_FMT "," STR_FMT "," STR_FMT, STR_ARG(buf_str(&x->bare)),
                     STR_ARG(buf_str(&x->first)), STR_ARG(final.without_proof));
    if (throttle_blocked(l->request.peer, l->user)) {
        login_fail(l, ERROR_DENIED, "The name or the password is wrong", "throttled");
        return;
    }
    if (x->account)
        directory_scram_list(x->account, scram_hash_name(x->mechanism->hash), &l->arena, &keys,
                             &count, NULL);
    for (size_t i = 0; i < count; i++) {
        if (!scram_proof_check(x->mechanism->hash, keys[i].stored_key, signed_text, final.proof))
            continue;
        struct buf last = BUF_INIT(512);
        scram_server_final(x->mechanism->hash, keys[i].server_key, signed_text, &last);
        login_succeed(l, x->account, keys[i].credential);
        if (l->outcome.status == SASL_DONE)
            l->outcome.challenge = arena_copy(&l->arena, buf_str(&last));
        buf_free(&last);
        return;
    }
    login_fail(l, ERROR_DENIED, "The name or the password is wrong",
               x->account ? "proof" : "unknown-account");
}

/* ------------------------------------------------------------------ core: requests */

static void start_run(struct login *l, struct str name, struct str initial)
{
    const struct mechanism *m = NULL;
    bool scram = directory_scram_complete();
    for (size_t i = 0; i < countof(mechanisms); i++)
        if (str_equal_nocase(name, mechanisms[i].name) &&
            mechanism_offered(&mechanisms[i], l->request.tls, l->request.plaintext, scram))
            m = &mechanisms[i];
    l->mechanism = m ? m->name.data : "unknown";
    if (!m) {
        login_fail(l, ERROR_INVALID, "That mechanism is not offered here", "mechanism");
        return;
    }
    struct exchange *x = exchange_make(m);
    if (m->kind == MECHANISM_LOGIN && initial.data)
        login_step(l, x, initial);
    else if (m->kind == MECHANISM_LOGIN)
        challenge(l, x, STR("Username:"));
    else if (!initial.data)
        challenge(l, x, STR(""));
    else if (m->kind == MECHANISM_SCRAM)
        scram_first(l, x, initial);
    else {
        plain_run(l, initial);
        exchange_free(x);
    }
}

static void step_run(struct login *l, uint64_t id, struct str answer, bool cancelled)
{
    struct exchange *x = exchange_take(id);
    l->mechanism = x ? x->mechanism->name.data : "unknown";
    if (!x || cancelled) {
        login_fail(l, ERROR_INVALID, x ? cancel_text.data : "The exchange took too long",
                   x ? "cancelled" : "timeout");
        exchange_free(x);
        return;
    }
    if (x->mechanism->kind == MECHANISM_LOGIN) {
        login_step(l, x, answer);
    } else if (x->mechanism->kind == MECHANISM_PLAIN) {
        plain_run(l, answer);
        exchange_free(x);
    } else if (!x->has_user) {
        scram_first(l, x, answer);
    } else {
        scram_final(l, x, answer);
        exchange_free(x);
    }
}

static int auth_answer(struct ipc_in *request, struct ipc_out *reply, struct error *e)
{
    struct login l = {.arena = ARENA_INIT,
                      .mechanism = "password",
                      .user = STR(""),
                      .started = clock_monotonic_ms()};
    enum ask_kind kind = (enum ask_kind)ipc_get_u32(request);
    uint64_t exchange = ipc_get_u64(request);
    struct str *strings[] = {&l.request.service,    &l.request.peer,
                             &l.request.session,    &l.request.tls_exporter,
                             &l.request.tls_unique, &l.request.tls_server_end_point};
    for (size_t i = 0; i < countof(strings); i++)
        *strings[i] = ipc_get_str(request, 256);
    l.request.tls = ipc_get_bool(request);
    l.request.plaintext = ipc_get_bool(request);
    struct str a = ipc_get_str(request, SASL_MESSAGE_MAX);
    bool given = ipc_get_bool(request);
    struct str b = ipc_get_str(request, SASL_MESSAGE_MAX);
    if (ipc_get_end(request) < 0)
        return error_set(e, ERROR_INVALID, "The request was not understood");
    if (given && !b.data)
        b = STR("");
    if (kind == ASK_START)
        start_run(&l, a, given ? b : str_of(NULL, 0));
    else if (kind == ASK_PASSWORD && l.request.plaintext)
        password_run(&l, a, b);
    else if (kind == ASK_PASSWORD)
        login_fail(&l, ERROR_DENIED, "Passwords are accepted only over TLS", "plaintext");
    else
        step_run(&l, exchange, a, kind == ASK_CANCEL);
    ipc_put_u32(reply, l.outcome.status);
    ipc_put_u64(reply, l.outcome.exchange);
    ipc_put_str(reply, l.outcome.challenge);
    ipc_put_str(reply, l.outcome.ticket);
    ipc_put_str(reply, l.outcome.address);
    ipc_put_u64(reply, l.outcome.account);
    ipc_put_i64(reply, l.outcome.not_before_ms);
    ipc_put_u32(reply, l.e.class);
    ipc_put_str(reply, str_from(l.e.text));
    arena_free(&l.arena);
    return 0;
}

static int mechanisms_answer(struct ipc_in *request, struct ipc_out *reply, struct error *e)
{
    if (ipc_get_end(request) < 0)
        return error_set(e, ERROR_INVALID, "The request was not understood");
    ipc_put_bool(reply, directory_scram_complete());
    return 0;
}

void sasl_serve(void)
{
    static const struct ipc_service rows[] = {
        {IPC_AUTH_START, 1 << PROCESS_EDGE, auth_answer},
        {IPC_AUTH_MECHANISMS, 1 << PROCESS_EDGE, mechanisms_answer},
    };
    ipc_serve(rows, countof(rows));
}
