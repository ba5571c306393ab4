/* TLS: certificates by name, resumption, versions, channel bindings, memory. */
#include "unit.h"

#include <malloc.h>

#include "tls_client.h"

/* Sanitizers have an allocator of their own. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MALLOC_COUNTS false
#else
#define MALLOC_COUNTS true
#endif

/* One connection: handshake, "x" from the client, an answer "y", the end. The server's view is in *info
 * and bindings (may be NULL). 0 or -1: no handshake. */
static char server_name[256];
static int connect_once(struct tls_context *context, struct tls_client *c, struct tls_info *info,
                        struct buf *bindings)
{
    static const struct str types[] = {STR_INIT("tls-exporter"), STR_INIT("tls-unique"),
                                       STR_INIT("tls-server-end-point")};
    struct stream s;
    stream_init(&s, tls_client_start(c), 1000, 1000);
    stream_start_tls(&s, context);
    int result = stream_handshake_all(&s);
    if (result == 0) {
        while (stream_fill(&s, 100) == 0)
            stream_wait(&s, true);
        tls_session_info(s.tls, info);
        snprintf(server_name, sizeof(server_name), "%s", info->server_name);
        info->server_name = server_name;
        for (size_t i = 0; bindings && i < countof(types); i++) {
            bindings[i] = BUF_INIT(100);
            if (tls_channel_binding(s.tls, types[i], &bindings[i]) < 0)
                buf_free(&bindings[i]);
        }
        stream_put_literal(&s, "y");
        assert_int_equal(stream_flush(&s), 0);
    }
    stream_close(&s);
    tls_client_end(c);
    return result;
}

static void exchange(struct tls_client *c, SSL *ssl)
{
    SSL_write(ssl, "x", 1);
    c->received_len = SSL_read(ssl, c->received, sizeof(c->received)) == 1; /* brings tickets too */
    SSL_shutdown(ssl); /* else OpenSSL would not resume the session */
}

static void test_server_names(void **state UNUSED)
{
    static const char *const certificates[] = {
        "default.example",    "*.wild.example wild.example",
        "exact.wild.example", "Two.Example 192.0.2.7",
        "two.example",
    };
    static const struct {
        const char *asked, *shown;
    } rows[] = {
        {NULL, "default.example"},
        {"unknown.example", "default.example"},
        {"wild.example", "*.wild.example"},
        {"a.wild.example", "*.wild.example"},
        {"A.WILD.example", "*.wild.example"},
        {"a.wild.example.", "*.wild.example"},
        {"exact.wild.example", "exact.wild.example"},
        {"a.b.wild.example", "default.example"},
        {"two.example", "Two.Example"}, /* the first of two */
        {"example", "default.example"},
    };
    struct tls_context *context = context_for(certificates, countof(certificates));
    for (size_t i = 0; i < countof(rows); i++) {
        struct tls_client c = {.host = rows[i].asked, .talk = exchange};
        struct tls_info info;
        assert_int_equal(connect_once(context, &c, &info, NULL), 0);
        assert_string_equal(c.common_name, rows[i].shown);
        assert_string_equal(info.server_name, rows[i].asked ? rows[i].asked : "");
        SSL_SESSION_free(c.session);
    }
    tls_context_unref(&context);
}

static void test_versions(void **state UNUSED)
{
    static const char *const names[] = {"mail.example"};
    struct tls_context *context = context_for(names, 1);
    struct tls_info info;
    struct tls_client old = {.version = TLS1_1_VERSION};
    assert_int_equal(connect_once(context, &old, &info, NULL), -1);
    assert_false(old.connected);
    struct tls_client c12 = {.version = TLS1_2_VERSION, .talk = exchange};
    assert_int_equal(connect_once(context, &c12, &info, NULL), 0);
    assert_string_equal(info.version, "TLSv1.2");
    assert_non_null(strstr(info.cipher, "ECDHE"));
    assert_true(info.bits >= 128);
    struct tls_client c13 = {.version = TLS1_3_VERSION, .talk = exchange};
    assert_int_equal(connect_once(context, &c13, &info, NULL), 0);
    assert_string_equal(info.version, "TLSv1.3");
    SSL_SESSION_free(c12.session);
    SSL_SESSION_free(c13.session);
    tls_context_unref(&context);
}

/* A session resumes, also over a reload and one change of the ticket key, but not over two. */
static void test_resumption(void **state UNUSED)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    static const char *const names[] = {"default.example", "mail.example"};
    for (size_t i = 0; i < countof(versions); i++) {
        struct tls_context *context = context_for(names, 2);
        struct tls_client c = {.version = versions[i], .host = "mail.example", .talk = exchange};
        struct tls_info info;
        assert_int_equal(connect_once(context, &c, &info, NULL), 0);
        assert_false(c.resumed || info.resumed);
        assert_int_equal(connect_once(context, &c, &info, NULL), 0);
        assert_true(c.resumed && info.resumed);
        assert_string_equal(info.server_name, "mail.example");
        tls_context_unref(&context);
        context = context_for(names, 2);
        tls_ticket_keys_rotate();
        assert_int_equal(connect_once(context, &c, &info, NULL), 0);
        assert_true(c.resumed && info.resumed);
        /* It got a ticket of the new key. */
        tls_ticket_keys_rotate();
        assert_int_equal(connect_once(context, &c, &info, NULL), 0);
        assert_true(c.resumed && info.resumed);
        tls_ticket_keys_rotate();
        tls_ticket_keys_rotate();
        assert_int_equal(connect_once(context, &c, &info, NULL), 0);
        assert_false(c.resumed || info.resumed);
        SSL_SESSION_free(c.session);
        tls_context_unref(&context);
    }
}

/* The client's view of the three bindings, by the texts of the RFCs. */
static void bindings_take(struct tls_client *c, SSL *ssl)
{
    static const char label[] = "EXPORTER-Channel-Binding";
    unsigned char data[64];
    exchange(c, ssl);
    assert_int_equal(
        SSL_export_keying_material(ssl, data, 32, label, sizeof(label) - 1, NULL, 0, 0), 1);
    buf_add_bytes(&c->bindings[0], data, 32);
    size_t len = c->resumed ? SSL_get_peer_finished(ssl, data, sizeof(data))
                            : SSL_get_finished(ssl, data, sizeof(data));
    buf_add_bytes(&c->bindings[1], data, len);
    X509 *certificate = SSL_get1_peer_certificate(ssl);
    unsigned hash_len = 0;
    X509_digest(certificate, EVP_sha256(), data, &hash_len);
    X509_free(certificate);
    buf_add_bytes(&c->bindings[2], data, hash_len);
}

static void test_channel_bindings(void **state UNUSED)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    static const char *const names[] = {"mail.example"};
    struct tls_context *context = context_for(names, 1);
    for (size_t i = 0; i < countof(versions); i++) {
        struct tls_client c = {.version = versions[i], .talk = bindings_take};
        for (int turn = 0; turn < 2; turn++) { /* full, resumed */
            struct tls_info info;
            struct buf bindings[3];
            for (size_t j = 0; j < 3; j++)
                c.bindings[j] = BUF_INIT(100);
            assert_int_equal(connect_once(context, &c, &info, bindings), 0);
            assert_int_equal(info.resumed, turn == 1);
            bool tls13 = versions[i] == TLS1_3_VERSION;
            if (tls13) { /* under 1.2 an empty context is not the same as none */
                assert_str(buf_str(&bindings[0]), buf_str(&c.bindings[0]));
                assert_int_equal(bindings[1].len, 0);
            } else {
                assert_str(buf_str(&bindings[1]), buf_str(&c.bindings[1]));
                assert_int_equal(bindings[1].len, 12);
            }
            assert_int_equal(bindings[0].len, 32);
            if (!c.resumed || tls13)
                assert_str(buf_str(&bindings[2]), buf_str(&c.bindings[2]));
            assert_int_equal(bindings[2].len, 32);
            for (size_t j = 0; j < 3; j++) {
                buf_free(&bindings[j]);
                buf_free(&c.bindings[j]);
            }
        }
        SSL_SESSION_free(c.session);
    }
    tls_context_unref(&context);
}

static void test_bad_certificates(void **state UNUSED)
{
    struct buf chain = BUF_INIT(65536), key = BUF_INIT(65536), other = BUF_INIT(65536);
    struct buf other_key = BUF_INIT(65536);
    struct str name = STR("a.example"), comma = STR("a.example,DNS:b.example");
    struct error e = {0};
    struct tls_context *context = NULL;
    assert_int_equal(tls_make_self_signed(&name, 1, 30, &chain, &key, &e), 0);
    assert_int_equal(tls_make_self_signed(&comma, 1, 30, &other, &other_key, &e), 0);
    const struct tls_certificate rows[] = {
        {STR("nonsense"), buf_str(&key)},
        {buf_str(&chain), STR("")},
        {buf_str(&chain), buf_str(&other_key)},
        {buf_str(&key), buf_str(&chain)},
        {str_slice(buf_str(&chain), 0, chain.len / 2), buf_str(&key)},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        e = (struct error){0};
        assert_int_equal(tls_context_create(&rows[i], 1, &context, &e), -1);
        assert_int_equal(e.class, ERROR_INVALID);
        assert_true(strlen(e.text) > 0);
        assert_null(context);
    }
    assert_int_equal(tls_context_create(rows, 0, &context, &e), -1);
    /* A chain of several is taken. */
    assert_int_equal(buf_add(&chain, buf_str(&other)), 0);
    struct tls_certificate good = {buf_str(&chain), buf_str(&key)};
    assert_int_equal(tls_context_create(&good, 1, &context, &e), 0);
    /* The process's current one. */
    assert_null(tls_current_get());
    tls_current_set(context);
    struct tls_context *mine = tls_current_get();
    assert_ptr_equal(mine, context);
    tls_current_set(NULL);
    tls_context_unref(&mine);
    buf_free(&chain);
    buf_free(&key);
    buf_free(&other);
    buf_free(&other_key);
}

/* What an idle connection costs on the server's side. */
enum { IDLE = 40 };
static size_t heap_used(void)
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

static void test_idle_memory(void **state UNUSED)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    static const char *const names[] = {"mail.example"};
    if (!MALLOC_COUNTS)
        skip();
    struct tls_context *context = context_for(names, 1);
    for (size_t v = 0; v < countof(versions); v++) {
        static struct stream streams[IDLE];
        size_t before = 0;
        for (size_t i = 0; i < IDLE; i++) {
            struct tls_client c = {
                .version = versions[v], .host = "mail.example", .talk = exchange};
            if (i == 4) /* what is made once has been made */
                before = heap_used();
            stream_init(&streams[i], tls_client_start(&c), 65536, 65536);
            stream_start_tls(&streams[i], context);
            assert_int_equal(stream_handshake_all(&streams[i]), 0);
            while (stream_fill(&streams[i], 100) == 0)
                stream_wait(&streams[i], true);
            stream_put_literal(&streams[i], "y");
            assert_int_equal(stream_flush(&streams[i]), 0);
            stream_consume(&streams[i], 1);
            tls_client_end(&c);
            stream_rest(&streams[i]);
            SSL_SESSION_free(c.session);
        }
        size_t each = (heap_used() - before) / (IDLE - 4);
        print_message("idle TLS session (%s): %zu bytes\n", v ? "1.3" : "1.2", each);
        assert_true(each < 24 * 1024);
        for (size_t i = 0; i < IDLE; i++)
            stream_close(&streams[i]);
    }
    tls_context_unref(&context);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN); /* for the clients */
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_server_names),     cmocka_unit_test(test_versions),
        cmocka_unit_test(test_resumption),       cmocka_unit_test(test_channel_bindings),
        cmocka_unit_test(test_bad_certificates), cmocka_unit_test(test_idle_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
