/* Streams: lines, limits, slow peers, and the same over TLS. */
#include "unit.h"

#include "tls_client.h"

enum { IN_MAX = 65536, OUT_MAX = 4 * 1024 * 1024 };

static int peer; /* the other end of a plain stream */

static void plain_stream(struct stream *s, size_t in_max, size_t out_max)
{
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    peer = fds[0];
    stream_init(s, fds[1], in_max, out_max);
}

static void peer_says(const char *text)
{
    assert_int_equal(fd_write_all(peer, text, strlen(text)), 0);
}

static void test_lines(void **state UNUSED)
{
    struct stream s;
    struct str line;
    bool bare;
    plain_stream(&s, IN_MAX, OUT_MAX);
    assert_int_equal(stream_fill(&s, 1000), 0);
    peer_says("EHLO a");
    assert_int_equal(stream_fill(&s, 1000), 6);
    assert_int_equal(stream_fill(&s, 1000), 0); /* a short read: not asked again */
    assert_int_equal(stream_line(&s, 100, &line, &bare), 0);
    peer_says("b\r\n\r\nx\ny");
    assert_int_equal(stream_fill(&s, 1000), 8);
    assert_int_equal(stream_line(&s, 100, &line, &bare), 1);
    assert_str_literal(line, "EHLO ab");
    assert_false(bare);
    assert_int_equal(stream_line(&s, 100, &line, &bare), 1);
    assert_str_literal(line, "");
    assert_false(bare);
    assert_int_equal(stream_line(&s, 100, &line, &bare), 1);
    assert_str_literal(line, "x");
    assert_true(bare);
    assert_int_equal(stream_line(&s, 100, &line, &bare), 0);
    assert_true(stream_has_input(&s));
    stream_consume(&s, 1);
    assert_false(stream_has_input(&s));
    assert_int_equal(stream_fill(&s, 1000), 0);
    assert_null(s.in.data); /* at rest it holds no memory */
    close(peer);
    assert_int_equal(stream_fill(&s, 1000), -1);
    assert_true(s.eof);
    stream_close(&s);
}

static void test_line_limits(void **state UNUSED)
{
    struct stream s;
    struct str line;
    bool bare;
    plain_stream(&s, 32, OUT_MAX);
    peer_says("12345678\r\n123456789\r\n");
    while (stream_fill(&s, 1000) > 0)
        ;
    assert_int_equal(stream_line(&s, 8, &line, &bare), 1);
    assert_int_equal(stream_line(&s, 8, &line, &bare), -1);
    assert_int_equal(stream_line(&s, 9, &line, &bare), 1);
    peer_says("0123456789012345678901234567890123456789");
    while (stream_fill(&s, 1000) > 0)
        ;
    assert_int_equal(stream_input(&s).len, 32);
    assert_int_equal(stream_line(&s, 20, &line, &bare), -1);
    assert_int_equal(stream_line(&s, 1000, &line, &bare), -1); /* the buffer is full */
    stream_close(&s);
    close(peer);
}

static void test_half_close_and_reset(void **state UNUSED)
{
    struct stream s;
    plain_stream(&s, IN_MAX, OUT_MAX);
    peer_says("QUIT\r\n");
    shutdown(peer, SHUT_WR);
    assert_int_equal(stream_fill(&s, 1000), 6);
    assert_int_equal(stream_fill(&s, 1000), 0);
    assert_int_equal(stream_fill(&s, 1000), -1);
    assert_true(s.eof && !s.failed);
    assert_str_literal(stream_input(&s), "QUIT\r\n");
    assert_int_equal(stream_want(&s, true), 0);
    stream_printf(&s, "%d %s\r\n", 221, "bye");
    assert_int_equal(stream_want(&s, true), CONN_WRITABLE);
    assert_int_equal(stream_flush(&s), 0);
    char answer[16];
    assert_int_equal(recv(peer, answer, sizeof(answer), 0), 9);
    close(peer);
    stream_put_literal(&s, "more");
    assert_int_equal(stream_flush(&s), -1); /* and no SIGPIPE */
    assert_true(s.failed);
    stream_close(&s);
}

/* The nth byte of a long output. */
static char pattern(size_t n)
{
    return (char)('a' + n % 23 + n / 4096 % 3);
}

static void pattern_put(struct stream *s, size_t from, size_t len)
{
    char data[5000];
    for (size_t done = 0; done < len;) {
        size_t part = MIN(len - done, sizeof(data));
        for (size_t i = 0; i < part; i++)
            data[i] = pattern(from + done + i);
        stream_put(s, str_of(data, part));
        done += part;
    }
}

static void test_full_peer(void **state UNUSED)
{
    enum { TOTAL = 3 * 1024 * 1024, HALF = TOTAL / 2 };
    struct stream s;
    plain_stream(&s, IN_MAX, TOTAL);
    pattern_put(&s, 0, HALF);
    assert_int_equal(stream_flush(&s), 1);
    assert_int_equal(stream_want(&s, false), CONN_WRITABLE);
    size_t got = 0, put = HALF;
    int left = 1;
    while (left || put < TOTAL) {
        char data[30000];
        ssize_t n = recv(peer, data, sizeof(data), MSG_DONTWAIT);
        assert_true(n > 0);
        for (ssize_t i = 0; i < n; i++)
            if (data[i] != pattern(got + (size_t)i))
                fail_msg("wrong byte at %zu", got + (size_t)i);
        got += (size_t)n;
        if (put < TOTAL) {
            size_t part = MIN((size_t)50000, TOTAL - put);
            pattern_put(&s, put, part);
            put += part;
        }
        left = stream_flush(&s);
        assert_int_not_equal(left, -1);
    }
    assert_int_equal(stream_unsent(&s), 0);
    assert_null(s.out.data);
    assert_int_equal(s.bytes_out, TOTAL);
    /* The limit counts what is unsent. */
    pattern_put(&s, 0, TOTAL);
    assert_false(s.failed);
    assert_int_equal(stream_flush(&s), 1);
    pattern_put(&s, 0, s.out_sent);
    assert_false(s.failed);
    stream_put(&s, STR("x"));
    assert_true(s.failed);
    assert_int_equal(stream_flush(&s), -1);
    stream_close(&s);
    close(peer);
}

static void *bulk_writer(void *unused UNUSED)
{
    char data[10000];
    for (size_t at = 0; at < 2000000; at += sizeof(data)) {
        for (size_t i = 0; i < sizeof(data); i++)
            data[i] = pattern(at + i);
        if (fd_write_all(peer, data, sizeof(data)) < 0)
            break;
    }
    close(peer);
    return NULL;
}

/* Reads all until the end, taking odd pieces. */
static size_t pattern_read(struct stream *s)
{
    size_t at = 0;
    for (;;) {
        ssize_t n = stream_fill(s, SIZE_MAX);
        struct str input = stream_input(s);
        size_t take = n > 0 && input.len > 1000 ? input.len - input.len % 7 : input.len;
        for (size_t i = 0; i < take; i++)
            if (input.data[i] != pattern(at + i))
                fail_msg("wrong byte at %zu", at + i);
        stream_consume(s, take);
        at += take;
        if (n < 0)
            return at;
        if (n == 0 && !stream_has_input(s))
            stream_wait(s, true);
    }
}

static void test_bulk_input(void **state UNUSED)
{
    struct stream s;
    pthread_t thread;
    plain_stream(&s, IN_MAX, OUT_MAX);
    assert_int_equal(pthread_create(&thread, NULL, bulk_writer, NULL), 0);
    assert_int_equal(pattern_read(&s), 2000000);
    assert_true(s.eof && !s.failed);
    pthread_join(thread, NULL);
    stream_close(&s);
}

/* --- TLS -------------------------------------------------------------------------------------- */

static struct tls_context *context;

static int contexts_make(void **state UNUSED)
{
    static const char *const names[] = {"mail.example"};
    context = context_for(names, 1);
    return 0;
}

static int contexts_free(void **state UNUSED)
{
    tls_context_unref(&context);
    return 0;
}

static void *starttls_client(void *argument)
{
    struct tls_client *c = argument;
    static const char plain[] = "STARTTLS\r\nINJECTED\r\n";
    char reply[5];
    if (fd_write_all(c->fd, plain, sizeof(plain) - 1) < 0 ||
        recv(c->fd, reply, sizeof(reply), MSG_WAITALL) != 5 || memcmp(reply, "220\r\n", 5) != 0) {
        close(c->fd);
        return NULL;
    }
    return tls_client_main(c);
}

static void says_noop(struct tls_client *c, SSL *ssl)
{
    SSL_write(ssl, "NOOP\r\n", 6);
    int n = SSL_read(ssl, c->received, sizeof(c->received));
    c->received_len = (size_t)MAX(n, 0);
    /* The end: close_notify. */
    n = SSL_read(ssl, c->received + c->received_len, 1);
    if (SSL_get_error(ssl, n) != SSL_ERROR_ZERO_RETURN)
        c->received_len = 0;
}

static void test_starttls(void **state UNUSED)
{
    struct stream s;
    struct str line;
    bool bare;
    struct tls_client c = {.talk = says_noop};
    plain_stream(&s, IN_MAX, OUT_MAX);
    c.fd = peer;
    assert_int_equal(pthread_create(&c.thread, NULL, starttls_client, &c), 0);
    while (stream_input(&s).len < 20) {
        stream_wait(&s, true);
        stream_fill(&s, 100);
    }
    assert_int_equal(stream_line(&s, 100, &line, &bare), 1);
    stream_put_literal(&s, "220\r\n"); /* not flushed: the handshake does that */
    stream_start_tls(&s, context);
    assert_false(stream_has_input(&s));
    assert_int_equal(stream_handshake_all(&s), 0);
    while (stream_fill(&s, 100) == 0)
        stream_wait(&s, true);
    assert_int_equal(stream_line(&s, 100, &line, &bare), 1);
    assert_str_literal(line, "NOOP");
    assert_true(s.drained); /* one recv(2) was enough */
    assert_false(stream_has_input(&s));
    stream_put_literal(&s, "250\r\n");
    assert_int_equal(stream_flush(&s), 0);
    stream_close(&s);
    tls_client_end(&c);
    assert_true(c.connected);
    assert_str_literal(str_of(c.received, c.received_len), "250\r\n");
    SSL_SESSION_free(c.session);
}

/* A PROXY header and the first bytes of the handshake may come in one piece. */
static void test_implicit_tls_after_header(void **state UNUSED)
{
    struct stream s;
    struct tls_client c = {.talk = says_noop};
    stream_init(&s, tls_client_start(&c), IN_MAX, OUT_MAX);
    while (stream_input(&s).len == 0) {
        stream_wait(&s, true);
        stream_fill(&s, 100);
    }
    stream_implicit_tls(&s, context);
    assert_int_equal(stream_handshake_all(&s), 0);
    stream_put_literal(&s, "250\r\n");
    while (stream_fill(&s, 100) == 0)
        stream_wait(&s, true);
    assert_str_literal(stream_input(&s), "NOOP\r\n");
    assert_int_equal(stream_flush(&s), 0);
    stream_close(&s);
    tls_client_end(&c);
    assert_str_literal(str_of(c.received, c.received_len), "250\r\n");
    SSL_SESSION_free(c.session);
}

/* Sends 2,000,000 bytes and ends its side; reads 2,000,000 back. */
static void bulk_both(struct tls_client *c, SSL *ssl)
{
    char data[10000];
    for (size_t at = 0; at < 2000000; at += sizeof(data)) {
        for (size_t i = 0; i < sizeof(data); i++)
            data[i] = pattern(at + i);
        SSL_write(ssl, data, sizeof(data));
    }
    SSL_shutdown(ssl);
    size_t at = 0;
    int n;
    while ((n = SSL_read(ssl, data, sizeof(data))) > 0) {
        for (int i = 0; i < n; i++)
            if (data[i] != pattern(at + (size_t)i))
                return;
        at += (size_t)n;
    }
    if (at == 2000000)
        snprintf(c->received, sizeof(c->received), "all");
}

static void test_tls_bulk(void **state UNUSED)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    for (size_t i = 0; i < countof(versions); i++) {
        struct stream s;
        struct tls_client c = {.version = versions[i], .talk = bulk_both};
        stream_init(&s, tls_client_start(&c), 10000, OUT_MAX); /* less than a TLS record */
        stream_start_tls(&s, context);
        assert_int_equal(stream_handshake_all(&s), 0);
        assert_int_equal(pattern_read(&s), 2000000);
        assert_true(s.eof && !s.failed);
        pattern_put(&s, 0, 2000000);
        while (stream_flush(&s) == 1)
            stream_wait(&s, false);
        assert_false(s.failed);
        stream_close(&s);
        tls_client_end(&c);
        assert_string_equal(c.received, "all");
        SSL_SESSION_free(c.session);
    }
}

static void vanishes(struct tls_client *c, SSL *ssl)
{
    SSL_write(ssl, "bye", 3);
    shutdown(c->fd, SHUT_RDWR);
}

static void test_tls_peer_vanishes(void **state UNUSED)
{
    struct stream s;
    struct tls_client c = {.talk = vanishes};
    stream_init(&s, tls_client_start(&c), IN_MAX, OUT_MAX);
    stream_start_tls(&s, context);
    assert_int_equal(stream_handshake_all(&s), 0);
    tls_client_end(&c);
    ssize_t n;
    while ((n = stream_fill(&s, 100)) >= 0)
        stream_wait(&s, true);
    assert_true(s.eof || s.failed); /* a reset, when it had not read all */
    assert_str_literal(stream_input(&s), "bye");
    stream_put_literal(&s, "too late");
    assert_int_equal(stream_flush(&s), -1); /* and no SIGPIPE */
    stream_close(&s);
    SSL_SESSION_free(c.session);
}

static void test_not_tls(void **state UNUSED)
{
    struct stream s;
    const char *why = "";
    plain_stream(&s, IN_MAX, OUT_MAX);
    stream_start_tls(&s, context);
    assert_int_equal(stream_handshake(&s, &why), 1);
    assert_int_equal(stream_want(&s, true), CONN_READABLE);
    peer_says("EHLO this is not TLS\r\n");
    assert_int_equal(stream_handshake(&s, &why), -1);
    assert_true(strlen(why) > 0);
    stream_close(&s);
    close(peer);
    plain_stream(&s, IN_MAX, OUT_MAX);
    stream_start_tls(&s, context);
    close(peer);
    assert_int_equal(stream_handshake(&s, &why), -1);
    stream_close(&s);
}

int main(void)
{
    signal(SIGPIPE, SIG_DFL);
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_line_limits),
        cmocka_unit_test(test_half_close_and_reset),
        cmocka_unit_test(test_full_peer),
        cmocka_unit_test(test_bulk_input),
        cmocka_unit_test(test_starttls),
        cmocka_unit_test(test_implicit_tls_after_header),
        cmocka_unit_test(test_tls_bulk),
        cmocka_unit_test(test_tls_peer_vanishes),
        cmocka_unit_test(test_not_tls),
    };
    return cmocka_run_group_tests(tests, contexts_make, contexts_free);
}
