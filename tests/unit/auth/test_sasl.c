/* test_sasl.c - logins as edge asks for them: every mechanism, channel binding, downgrade, throttling. The
 * client's side of SCRAM is computed here with OpenSSL. */
#include <ftw.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <unistd.h>

#include "auth/password.h"
#include "auth/sasl.h"
#include "auth/throttle.h"
#include "auth/ticket.h"
#include "base/clock.h"
#include "base/codec.h"
#include "run/ipc.h"
#include "run/settings.h"
#include "store/directory.h"
#include "unit.h"

static char directory[64];
static struct arena arena;
static uint64_t alice, bob;

static int remove_one(const char *path, const struct stat *st UNUSED, int type UNUSED,
                      struct FTW *walk UNUSED)
{
    return remove(path);
}

static uint64_t account_add(const char *address, const char *password)
{
    struct error e;
    uint64_t id;
    assert_int_equal(directory_account_add(str_from(address), STR(""), 77, &id, &e), 0);
    if (password)
        assert_int_equal(password_set(id, STR(""), str_from(password), &e), 0);
    return id;
}

static int setup(void **state UNUSED)
{
    struct buf text = BUF_INIT(BUF_UNBOUNDED), errors = BUF_INIT(BUF_UNBOUNDED);
    struct error e;
    snprintf(directory, sizeof(directory), "/tmp/posthouse-test-XXXXXX");
    assert_non_null(mkdtemp(directory));
    buf_printf(&text,
               "[server]\nhost-name = mail.example.test\ndata-directory = %s\n[login]\n"
               "failures-per-pair = 3\nfailures-per-network = 6\nfailure-time = 700ms\n"
               "failure-window = 1s\n",
               directory);
    if (settings_load("test", buf_str(&text), &errors) < 0)
        fail_msg("settings: " STR_FMT, STR_ARG(errors));
    buf_free(&text);
    buf_free(&errors);
    ipc_loopback(PROCESS_CORE, PROCESS_EDGE);
    assert_int_equal(directory_open(directory, &e), 0);
    sasl_serve();
    assert_int_equal(directory_domain_add(STR("example.test"), 0, &e), 0);
    alice = account_add("alice@example.test", "wonder land");
    bob = account_add("bob@example.test", "b\xC3\xBC"
                                          "ilder");
    assert_int_equal(password_set(alice, STR("phone"), STR("app-password"), &e), 0);
    return 0;
}

static int teardown(void **state UNUSED)
{
    directory_close();
    arena_free(&arena);
    nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return 0;
}

/* Each from an address of its own, so that throttling does not come between. */
static struct sasl_request request_make(bool tls)
{
    static unsigned number;
    number++;
    return (struct sasl_request){.service = STR("imap"),
                                 .session = STR("s"),
                                 .tls = tls,
                                 .plaintext = tls,
                                 .peer =
                                     arena_printf(&arena, "10.%u.%u.1", number / 256, number % 256),
                                 .tls_exporter = tls ? STR("exported-bytes") : STR(""),
                                 .tls_server_end_point = tls ? STR("end-point-hash") : STR("")};
}

static void logged_in(const struct sasl_outcome *out, uint64_t account)
{
    struct ticket ticket;
    struct error e;
    assert_int_equal(out->status, SASL_DONE);
    assert_int_equal(out->account, account);
    assert_int_equal(ticket_check(out->ticket, &arena, &ticket, &e), 0);
    assert_int_equal(ticket.account, account);
    assert_int_equal(ticket.quota, 77);
    assert_str(ticket.address, out->address);
}

static void refused(const struct sasl_outcome *out, const struct error *e, enum error_class class)
{
    assert_int_equal(out->status, SASL_FAILED);
    if (e->class != class)
        fail_msg("%s: %s", error_class_name(e->class), e->text);
    assert_int_equal(out->ticket.len, 0);
    assert_int_equal(out->account, 0);
    if (class == ERROR_DENIED) /* the client hears of it later */
        assert_true(out->not_before_ms > clock_monotonic_ms() + 200);
}

static struct sasl_outcome start(const struct sasl_request *r, const char *mechanism,
                                 struct str initial, struct error *e)
{
    struct sasl_outcome out;
    *e = (struct error){0};
    sasl_start(r, str_from(mechanism), initial, &arena, &out, e);
    return out;
}

static struct sasl_outcome step(const struct sasl_request *r, uint64_t exchange, struct str answer,
                                struct error *e)
{
    struct sasl_outcome out;
    *e = (struct error){0};
    sasl_step(r, exchange, answer, false, &arena, &out, e);
    return out;
}

/* ------------------------------------------------------------------ passwords */

#define PLAIN(text) str_of(text, sizeof(text) - 1)

static void plain(void **state UNUSED)
{
    struct sasl_request r = request_make(true);
    struct error e;
    struct sasl_outcome out = start(&r, "PLAIN", PLAIN("\0alice@example.test\0wonder land"), &e);
    logged_in(&out, alice);
    assert_str_literal(out.address, "alice@example.test");
    out = start(&r, "plain", PLAIN("Alice@Example.test\0alice@example.TEST\0wonder land"), &e);
    logged_in(&out, alice);
    out = start(&r, "PLAIN", PLAIN("\0alice\0app-password"), &e); /* short name, app password */
    logged_in(&out, alice);
    out = start(&r, "PLAIN", str_of(NULL, 0), &e); /* without an initial response */
    assert_int_equal(out.status, SASL_CHALLENGE);
    assert_int_equal(out.challenge.len, 0);
    out = step(&r, out.exchange,
               PLAIN("\0bob\0b\xC3\xBC"
                     "ilder"),
               &e);
    logged_in(&out, bob);

    static const struct {
        struct str message;
        enum error_class class;
    } bad[] = {
        {STR_INIT("\0alice\0wonder lane"), ERROR_DENIED},
        {STR_INIT("\0alice\0wonder land\0"),
         ERROR_DENIED}, /* a NUL is part of it, and fits nothing */
        {STR_INIT("\0alice\0"), ERROR_DENIED},
        {STR_INIT("\0nobody\0wonder land"), ERROR_DENIED},
        {STR_INIT("\0\0wonder land"), ERROR_DENIED},
        {STR_INIT("bob\0alice\0wonder land"), ERROR_DENIED}, /* for another */
        {STR_INIT(""), ERROR_INVALID},
        {STR_INIT("alice"), ERROR_INVALID},
        {STR_INIT("\0alice"), ERROR_INVALID},
    };
    for (size_t i = 0; i < countof(bad); i++) {
        r = request_make(true);
        out = start(&r, "PLAIN", bad[i].message, &e);
        refused(&out, &e, bad[i].class);
    }
    r = request_make(false); /* not in the clear */
    out = start(&r, "PLAIN", PLAIN("\0alice\0wonder land"), &e);
    refused(&out, &e, ERROR_INVALID);
}

static void login(void **state UNUSED)
{
    struct sasl_request r = request_make(true);
    struct error e;
    struct sasl_outcome out = start(&r, "LOGIN", str_of(NULL, 0), &e);
    assert_str_literal(out.challenge, "Username:");
    out = step(&r, out.exchange, STR("alice@example.test"), &e);
    assert_str_literal(out.challenge, "Password:");
    uint64_t used = out.exchange;
    out = step(&r, used, STR("wonder land"), &e);
    logged_in(&out, alice);
    out = step(&r, used, STR("wonder land"), &e); /* an exchange ends */
    refused(&out, &e, ERROR_INVALID);
    out = start(&r, "LOGIN", STR("bob"), &e);
    assert_str_literal(out.challenge, "Password:");
    sasl_step(&r, out.exchange, STR(""), true, &arena, &out, &e); /* "*" */
    refused(&out, &e, ERROR_INVALID);
    r = request_make(true);
    out = start(&r, "LOGIN", STR("bob"), &e);
    out = step(&r, out.exchange, STR("wrong"), &e);
    refused(&out, &e, ERROR_DENIED);
    r = request_make(true);
    sasl_password(&r, STR("alice"), STR("wonder land"), &arena, &out, &e);
    logged_in(&out, alice);
    r = request_make(false);
    sasl_password(&r, STR("alice"), STR("wonder land"), &arena, &out, &e);
    refused(&out, &e, ERROR_DENIED);
}

static void states(void **state UNUSED)
{
    struct error e;
    static const struct {
        enum account_state state;
        bool imap, submission;
    } rows[] = {
        {ACCOUNT_ENABLED, true, true},
        {ACCOUNT_DISABLED, false, false},
        {ACCOUNT_RECEIVE_ONLY, true, false},
        {ACCOUNT_SEND_ONLY, false, true},
    };
    account_add("carol@example.test", "carol");
    for (size_t i = 0; i < countof(rows); i++)
        for (int service = 0; service < 2; service++) {
            struct sasl_request r = request_make(true);
            struct sasl_outcome out;
            assert_int_equal(directory_account_set(STR("carol"), &rows[i].state, NULL, NULL, &e),
                             0);
            r.service = service ? STR("submission") : STR("imap");
            sasl_password(&r, STR("carol"), STR("carol"), &arena, &out, &e);
            if ((out.status == SASL_DONE) != (service ? rows[i].submission : rows[i].imap))
                fail_msg("state %d service %d", (int)rows[i].state, service);
        }
}

/* A hash that somebody brought along: works, is made anew, and has SCRAM keys afterwards. */
static void old_hashes_are_renewed(void **state UNUSED)
{
    struct error e;
    struct sasl_outcome out;
    struct credential *list;
    size_t count;
    struct sasl_request r = request_make(true);
    uint64_t dave = account_add("dave@example.test", NULL);
    sasl_password(&r, STR("dave"), STR("secret"), &arena, &out, &e);
    refused(&out, &e, ERROR_DENIED);
    assert_int_equal(
        directory_credential_set(dave, STR(""), STR("{SSHA}gVK8WC9YyFT1gMsQHTGCgT3sSv5zYWx0"), &e),
        0);
    assert_false(directory_scram_complete());
    out = start(&r, "SCRAM-SHA-256", STR("n,,n=alice,r=abc"),
                &e); /* not offered as long as one lacks keys */
    refused(&out, &e, ERROR_INVALID);
    sasl_password(&r, STR("dave"), STR("secret"), &arena, &out, &e);
    logged_in(&out, dave);
    assert_int_equal(directory_credential_list(dave, &arena, &list, &count, &e), 0);
    assert_true(password_is_current(list[0].hash));
    assert_true(list[0].last_used > 0);
    assert_true(str_ends(list[0].last_from, STR(" imap")));
    assert_true(directory_scram_complete());
    assert_int_equal(password_set(dave, STR(""), STR("changed"), &e), 0);
    r = request_make(true); /* what was right a moment ago is forgotten */
    sasl_password(&r, STR("dave"), STR("secret"), &arena, &out, &e);
    refused(&out, &e, ERROR_DENIED);
    sasl_password(&r, STR("dave"), STR("changed"), &arena, &out, &e);
    logged_in(&out, dave);
}

/* ------------------------------------------------------------------ SCRAM, the client's side */

struct client {
    const char *mechanism, *user, *password;
    const char *gs2;    /* "n,,", "p=tls-exporter,," ... */
    struct str binding; /* behind gs2 in c= */
    bool other_nonce, wrong_proof;
};

static const EVP_MD *digest_of(const char *mechanism)
{
    return strstr(mechanism, "256") ? EVP_sha256() : EVP_sha1();
}

static struct str hmac(const EVP_MD *md, struct str key, struct str data)
{
    unsigned char out[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    HMAC(md, key.data, (int)key.len, (const unsigned char *)data.data, data.len, out, &len);
    return arena_copy(&arena, str_of(out, len));
}

static struct str base64(struct str data)
{
    struct buf text = BUF_INIT(1000);
    base64_encode(&text, data);
    struct str copy = arena_copy(&arena, buf_str(&text));
    buf_free(&text);
    return copy;
}

/* salt and count of "r=...,s=...,i=..." */
static struct str server_first_salt(struct str challenge, int *iterations)
{
    struct str rest = challenge, part;
    struct buf salt = BUF_INIT(100);
    uint32_t count;
    assert_true(str_next_part(&rest, ',', &part) && str_starts(part, STR("r=")));
    assert_true(str_next_part(&rest, ',', &part) && str_starts(part, STR("s=")));
    assert_int_equal(base64_decode(&salt, str_from_pos(part, 2)), 0);
    assert_true(str_next_part(&rest, ',', &part) && str_starts(part, STR("i=")));
    assert_int_equal(str_to_u32(str_from_pos(part, 2), 1000000, &count), 0);
    assert_true(count >= 4096); /* RFC 7677 §4 */
    *iterations = (int)count;
    struct str copy = arena_copy(&arena, buf_str(&salt));
    buf_free(&salt);
    return copy;
}

static struct sasl_outcome scram(const struct sasl_request *r, const struct client *c,
                                 struct error *e)
{
    const EVP_MD *md = digest_of(c->mechanism);
    size_t len = (size_t)EVP_MD_size(md);
    struct str bare = arena_printf(&arena, "n=%s,r=client-nonce", c->user);
    struct sasl_outcome out =
        start(r, c->mechanism, arena_printf(&arena, "%s" STR_FMT, c->gs2, STR_ARG(bare)), e);
    if (out.status != SASL_CHALLENGE)
        return out;
    struct str first = out.challenge, part, rest = first;
    assert_true(str_starts(first, STR("r=client-nonce")));
    str_next_part(&rest, ',', &part);
    assert_true(part.len >= 2 + 12 + 18); /* the server's part */
    int iterations;
    struct str salt = server_first_salt(first, &iterations);
    unsigned char salted[EVP_MAX_MD_SIZE], stored[EVP_MAX_MD_SIZE], proof[EVP_MAX_MD_SIZE];
    PKCS5_PBKDF2_HMAC(c->password, (int)strlen(c->password), (const unsigned char *)salt.data,
                      (int)salt.len, iterations, md, (int)len, salted);
    struct str client_key = hmac(md, str_of(salted, len), STR("Client Key"));
    EVP_Digest(client_key.data, len, stored, NULL, md, NULL);
    struct buf binding = BUF_INIT(500);
    buf_add(&binding, str_from(c->gs2));
    buf_add(&binding, c->binding);
    struct str without =
        arena_printf(&arena, "c=" STR_FMT "," STR_FMT "%s", STR_ARG(base64(buf_str(&binding))),
                     STR_ARG(part), c->other_nonce ? "x" : "");
    buf_free(&binding);
    struct str text = arena_printf(&arena, STR_FMT "," STR_FMT "," STR_FMT, STR_ARG(bare),
                                   STR_ARG(first), STR_ARG(without));
    struct str signature = hmac(md, str_of(stored, len), text);
    for (size_t i = 0; i < len; i++)
        proof[i] = (unsigned char)(client_key.data[i] ^ signature.data[i]);
    proof[0] ^= c->wrong_proof;
    out = step(r, out.exchange,
               arena_printf(&arena, STR_FMT ",p=" STR_FMT, STR_ARG(without),
                            STR_ARG(base64(str_of(proof, len)))),
               e);
    if (out.status == SASL_DONE) { /* the server proves that it knows the key */
        struct str server_key = hmac(md, str_of(salted, len), STR("Server Key"));
        assert_str(out.challenge,
                   arena_printf(&arena, "v=" STR_FMT, STR_ARG(base64(hmac(md, server_key, text)))));
    }
    return out;
}

static void scram_logs_in(void **state UNUSED)
{
    static const struct client clients[] = {
        {.mechanism = "SCRAM-SHA-1", .user = "alice", .password = "wonder land", .gs2 = "n,,"},
        {.mechanism = "SCRAM-SHA-256",
         .user = "alice@example.test",
         .password = "wonder land",
         .gs2 = "n,,"},
        {.mechanism = "SCRAM-SHA-256", .user = "ALICE", .password = "app-password", .gs2 = "n,,"},
        {.mechanism = "SCRAM-SHA-256",
         .user = "alice",
         .password = "wonder land",
         .gs2 = "n,a=alice,"},
        {.mechanism = "SCRAM-SHA-1-PLUS",
         .user = "alice",
         .password = "wonder land",
         .gs2 = "p=tls-exporter,,",
         .binding = STR_INIT("exported-bytes")},
        {.mechanism = "SCRAM-SHA-256-PLUS",
         .user = "alice",
         .password = "wonder land",
         .gs2 = "p=tls-server-end-point,,",
         .binding = STR_INIT("end-point-hash")},
    };
    for (size_t i = 0; i < countof(clients); i++) {
        struct sasl_request r = request_make(true);
        struct error e;
        struct sasl_outcome out = scram(&r, &clients[i], &e);
        if (out.status != SASL_DONE)
            fail_msg("row %zu: %s", i, e.text);
        logged_in(&out, alice);
    }
    struct sasl_request r = request_make(false); /* without TLS: SCRAM, also with "y" */
    struct client c = clients[1];
    struct error e;
    struct sasl_outcome out = scram(&r, &c, &e);
    logged_in(&out, alice);
    c.gs2 = "y,,";
    out = scram(&r, &c, &e);
    logged_in(&out, alice);
    c = (struct client){.mechanism = "SCRAM-SHA-256",
                        .user = "bob",
                        .password = "b\xC3\xBC"
                                    "ilder",
                        .gs2 = "n,,"};
    out = scram(&r, &c, &e);
    logged_in(&out, bob);
}

static void scram_refuses(void **state UNUSED)
{
    static const struct {
        struct client client;
        bool tls;
        enum error_class class;
    } rows[] = {
        {{.mechanism = "SCRAM-SHA-256", .user = "alice", .password = "wrong", .gs2 = "n,,"},
         true,
         ERROR_DENIED},
        {{.mechanism = "SCRAM-SHA-1", .user = "alice", .password = "wrong", .gs2 = "n,,"},
         true,
         ERROR_DENIED},
        {{.mechanism = "SCRAM-SHA-256", .user = "bob", .password = "wonder land", .gs2 = "n,,"},
         true,
         ERROR_DENIED},
        {{.mechanism = "SCRAM-SHA-256", .user = "nobody", .password = "x", .gs2 = "n,,"},
         true,
         ERROR_DENIED},
        {{.mechanism = "SCRAM-SHA-256",
          .user = "alice",
          .password = "wonder land",
          .gs2 = "n,,",
          .wrong_proof = true},
         true,
         ERROR_DENIED},
        {{.mechanism = "SCRAM-SHA-256",
          .user = "alice",
          .password = "wonder land",
          .gs2 = "n,,",
          .other_nonce = true},
         true,
         ERROR_DENIED},
        {{.mechanism = "SCRAM-SHA-256",
          .user = "alice",
          .password = "wonder land",
          .gs2 = "n,a=bob,"},
         true,
         ERROR_INVALID},
        /* Somebody took -PLUS out of the list that the client saw. */
        {{.mechanism = "SCRAM-SHA-256", .user = "alice", .password = "wonder land", .gs2 = "y,,"},
         true,
         ERROR_DENIED},
        /* Another TLS session's binding: somebody in between. */
        {{.mechanism = "SCRAM-SHA-256-PLUS",
          .user = "alice",
          .password = "wonder land",
          .gs2 = "p=tls-exporter,,",
          .binding = STR_INIT("exported-bytez")},
         true,
         ERROR_DENIED},
        {{.mechanism = "SCRAM-SHA-256-PLUS",
          .user = "alice",
          .password = "wonder land",
          .gs2 = "p=tls-exporter,,"},
         true,
         ERROR_DENIED},
        {{.mechanism = "SCRAM-SHA-256-PLUS",
          .user = "alice",
          .password = "wonder land",
          .gs2 = "p=tls-exporter,,",
          .binding = STR_INIT("end-point-hash")},
         true,
         ERROR_DENIED},
        /* A type that there is not in this session, or at all. */
        {{.mechanism = "SCRAM-SHA-256-PLUS",
          .user = "alice",
          .password = "wonder land",
          .gs2 = "p=tls-unique,,"},
         true,
         ERROR_DENIED},
        {{.mechanism = "SCRAM-SHA-256-PLUS",
          .user = "alice",
          .password = "wonder land",
          .gs2 = "p=other,,"},
         true,
         ERROR_DENIED},
        /* -PLUS without a binding, a binding without -PLUS, -PLUS without TLS. */
        {{.mechanism = "SCRAM-SHA-256-PLUS",
          .user = "alice",
          .password = "wonder land",
          .gs2 = "n,,"},
         true,
         ERROR_DENIED},
        {{.mechanism = "SCRAM-SHA-256",
          .user = "alice",
          .password = "wonder land",
          .gs2 = "p=tls-exporter,,",
          .binding = STR_INIT("exported-bytes")},
         true,
         ERROR_DENIED},
        {{.mechanism = "SCRAM-SHA-256-PLUS",
          .user = "alice",
          .password = "wonder land",
          .gs2 = "p=tls-exporter,,"},
         false,
         ERROR_INVALID},
        {{.mechanism = "SCRAM-MD5", .user = "alice", .password = "wonder land", .gs2 = "n,,"},
         true,
         ERROR_INVALID},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct sasl_request r = request_make(rows[i].tls);
        struct error e;
        struct sasl_outcome out = scram(&r, &rows[i].client, &e);
        if (out.status == SASL_DONE)
            fail_msg("row %zu logged in", i);
        refused(&out, &e, rows[i].class);
    }
}

/* Who asks about an account cannot see whether there is one. */
static void unknown_accounts_look_like_others(void **state UNUSED)
{
    struct sasl_request r = request_make(true);
    struct error e;
    int known_count, fake_count;
    struct sasl_outcome out = start(&r, "SCRAM-SHA-256", STR("n,,n=alice,r=abc"), &e);
    struct str known = server_first_salt(out.challenge, &known_count);
    out = start(&r, "SCRAM-SHA-256", STR("n,,n=nobody,r=abc"), &e);
    struct str fake = server_first_salt(out.challenge, &fake_count);
    assert_int_equal(fake.len, known.len);
    assert_int_equal(fake_count, known_count);
    out = start(&r, "SCRAM-SHA-1", STR("n,,n=NoBody,r=xyz"), &e); /* always the same for a name */
    assert_str(server_first_salt(out.challenge, &fake_count), fake);
    out = start(&r, "SCRAM-SHA-256", STR("n,,n=nobody2,r=abc"), &e);
    assert_false(str_equal(server_first_salt(out.challenge, &fake_count), fake));
}

static void broken_exchanges(void **state UNUSED)
{
    struct sasl_request r = request_make(true);
    struct error e;
    struct sasl_outcome out = step(&r, 4711, STR("x"), &e);
    refused(&out, &e, ERROR_INVALID);
    out = start(&r, "SCRAM-SHA-256", STR("garbage"), &e);
    refused(&out, &e, ERROR_INVALID);
    out = start(&r, "SCRAM-SHA-256", str_of(NULL, 0), &e);
    assert_int_equal(out.status, SASL_CHALLENGE);
    out = step(&r, out.exchange, STR("n,,n=alice,r=abc"), &e);
    assert_int_equal(out.status, SASL_CHALLENGE);
    uint64_t exchange = out.exchange;
    out = step(&r, exchange, STR("garbage"), &e);
    refused(&out, &e, ERROR_INVALID);
    out = step(&r, exchange, STR("c=biws,r=abc,p=YQ=="), &e); /* a proof may be tried once */
    refused(&out, &e, ERROR_INVALID);
}

static void mechanisms_offered(void **state UNUSED)
{
    assert_str_literal(sasl_mechanisms(true, true, &arena),
                       "SCRAM-SHA-256-PLUS SCRAM-SHA-256 SCRAM-SHA-1-PLUS SCRAM-SHA-1 PLAIN LOGIN");
    assert_str_literal(sasl_mechanisms(false, true, &arena),
                       "SCRAM-SHA-256 SCRAM-SHA-1 PLAIN LOGIN");
    assert_str_literal(sasl_mechanisms(false, false, &arena), "SCRAM-SHA-256 SCRAM-SHA-1");
}

/* ------------------------------------------------------------------ throttling */

static void throttles_pairs(void **state UNUSED)
{
    struct sasl_request r = request_make(true), other = request_make(true);
    struct error e;
    struct sasl_outcome out;
    for (int i = 0; i < 3; i++) {
        sasl_password(&r, STR("alice"), STR("wrong"), &arena, &out, &e);
        refused(&out, &e, ERROR_DENIED);
    }
    struct str text = arena_copy(&arena, str_from(e.text));
    sasl_password(&r, STR("ALICE"), STR("wonder land"), &arena, &out, &e); /* right, but too late */
    refused(&out, &e, ERROR_DENIED);
    assert_str(str_from(e.text), text); /* and nobody can tell */
    struct client c = {
        .mechanism = "SCRAM-SHA-256", .user = "alice", .password = "wonder land", .gs2 = "n,,"};
    out = scram(&r, &c, &e);
    refused(&out, &e, ERROR_DENIED);
    sasl_password(&r, STR("bob"),
                  STR("b\xC3\xBC"
                      "ilder"),
                  &arena, &out, &e); /* another account from there */
    logged_in(&out, bob);
    sasl_password(&other, STR("alice"), STR("wonder land"), &arena, &out,
                  &e); /* she herself, elsewhere */
    logged_in(&out, alice);
    usleep(1100 * 1000); /* the window is over */
    sasl_password(&r, STR("alice"), STR("wonder land"), &arena, &out, &e);
    logged_in(&out, alice);
}

static void throttles_networks(void **state UNUSED)
{
    static const struct {
        const char *known, *guesser, *same, *other;
    } rows[] = {
        {"192.0.2.1", "192.0.2.%d", "192.0.2.200", "192.0.3.1"},
        {"2001:db8:1::1", "2001:db8:1:%d::1", "2001:db8:1:ffff::1", "2001:db8:2::1"},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        char name[20];
        throttle_succeeded(str_from(rows[i].known), STR("alice")); /* was there before */
        for (int k = 2; k < 8; k++) {
            assert_false(throttle_blocked(str_from(rows[i].same), STR("carl")));
            struct str rest = str_from(rows[i].guesser), before;
            str_next_part(&rest, '%', &before);
            struct str peer = arena_printf(&arena, STR_FMT "%d" STR_FMT, STR_ARG(before), k,
                                           STR_ARG(str_from_pos(rest, 1)));
            snprintf(name, sizeof(name), "guess%d", k);
            throttle_failed(peer, str_from(name));
        }
        assert_true(throttle_blocked(str_from(rows[i].same), STR("carl")));
        assert_false(throttle_blocked(str_from(rows[i].other), STR("carl")));
        assert_false(throttle_blocked(str_from(rows[i].known), STR("alice")));
        assert_true(throttle_blocked(str_from(rows[i].known), STR("carl")));
    }
}

static void success_forgives(void **state UNUSED)
{
    struct str peer = STR("198.51.100.1");
    for (int i = 0; i < 4; i++) {
        throttle_failed(peer, STR("eve"));
        throttle_succeeded(peer, STR("Eve"));
    }
    assert_false(throttle_blocked(peer, STR("eve")));
    assert_false(throttle_blocked(STR(""), STR("eve"))); /* a Unix socket */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain),
        cmocka_unit_test(login),
        cmocka_unit_test(states),
        cmocka_unit_test(old_hashes_are_renewed),
        cmocka_unit_test(scram_logs_in),
        cmocka_unit_test(scram_refuses),
        cmocka_unit_test(unknown_accounts_look_like_others),
        cmocka_unit_test(broken_exchanges),
        cmocka_unit_test(mechanisms_offered),
        cmocka_unit_test(throttles_pairs),
        cmocka_unit_test(throttles_networks),
        cmocka_unit_test(success_forgives),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
