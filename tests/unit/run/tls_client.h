/* tls_client.h - for tests: a TLS client on a blocking socket, by OpenSSL alone, and certificates.
 */
#ifndef TESTS_TLS_CLIENT_H
#define TESTS_TLS_CLIENT_H

#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "run/stream.h"
#include "run/tls.h"

struct tls_client {
    int fd;
    int version;          /* TLS1_2_VERSION or TLS1_3_VERSION; 0 = any */
    const char *host;     /* SNI, or NULL */
    SSL_SESSION *session; /* to resume; afterwards the newest that the server gave */
    void (*talk)(struct tls_client *c, SSL *ssl); /* after the handshake */
    bool connected, resumed;
    char common_name[80]; /* of the certificate that was shown */
    char received[512];   /* for talk() */
    size_t received_len;
    struct buf bindings[3]; /* exporter, unique, end-point, as the client sees them */
    pthread_t thread;
};

static int tls_client_new_session(SSL *ssl, SSL_SESSION *session)
{
    struct tls_client *c = SSL_get_app_data(ssl);
    SSL_SESSION_free(c->session);
    c->session = session;
    return 1;
}

static void *tls_client_main(void *argument)
{
    struct tls_client *c = argument;
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_min_proto_version(context, c->version ? c->version : TLS1_2_VERSION);
    SSL_CTX_set_max_proto_version(context, c->version);
    SSL_CTX_set_security_level(context, 0); /* so that it would do TLS 1.1 */
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context, tls_client_new_session);
    SSL *ssl = SSL_new(context);
    SSL_set_app_data(ssl, c);
    SSL_set_fd(ssl, c->fd);
    if (c->host)
        SSL_set_tlsext_host_name(ssl, c->host);
    if (c->session)
        SSL_set_session(ssl, c->session);
    c->connected = SSL_connect(ssl) == 1;
    if (c->connected) {
        c->resumed = SSL_session_reused(ssl) == 1;
        X509 *certificate = SSL_get1_peer_certificate(ssl);
        if (certificate)
            X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName,
                                      c->common_name, sizeof(c->common_name));
        X509_free(certificate);
        if (c->talk)
            c->talk(c, ssl);
        if (SSL_version(ssl) == TLS1_2_VERSION) /* a renewed ticket is not reported */
            tls_client_new_session(ssl, SSL_get1_session(ssl));
    }
    SSL_free(ssl);
    SSL_CTX_free(context);
    close(c->fd);
    return NULL;
}

/* Starts the client; what it returns is the server's end of the connection. */
static int tls_client_start(struct tls_client *c)
{
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    c->fd = fds[0];
    c->connected = c->resumed = false;
    assert_int_equal(pthread_create(&c->thread, NULL, tls_client_main, c), 0);
    return fds[1];
}

static void tls_client_end(struct tls_client *c)
{
    pthread_join(c->thread, NULL);
}

/* Waits for what the stream wants, at most 10 s. */
static void stream_wait(const struct stream *s, bool reading)
{
    unsigned want = stream_want(s, reading);
    struct pollfd p = {.fd = s->fd,
                       .events = (short)((want & CONN_READABLE ? POLLIN : 0) |
                                         (want & CONN_WRITABLE ? POLLOUT : 0))};
    assert_int_equal(poll(&p, 1, 10000), 1);
}

static int stream_handshake_all(struct stream *s)
{
    const char *why;
    int result;
    while ((result = stream_handshake(s, &why)) == 1)
        stream_wait(s, true);
    return result;
}

/* A context with one self-signed certificate per line of names[] ("a.example b.example"). */
static struct tls_context *context_for(const char *const *names, size_t count)
{
    struct tls_certificate certificates[8];
    struct buf chains[8], keys[8];
    struct error e = {0};
    for (size_t i = 0; i < count; i++) {
        struct str rest = str_from(names[i]), list[8];
        size_t names_count = 0;
        while (names_count < 8 && str_next_part(&rest, ' ', &list[names_count]))
            names_count++;
        chains[i] = BUF_INIT(65536);
        keys[i] = BUF_INIT(65536);
        assert_int_equal(tls_make_self_signed(list, names_count, 30, &chains[i], &keys[i], &e), 0);
        certificates[i] = (struct tls_certificate){buf_str(&chains[i]), buf_str(&keys[i])};
    }
    struct tls_context *context = NULL;
    assert_int_equal(tls_context_create(certificates, count, &context, &e), 0);
    for (size_t i = 0; i < count; i++) {
        buf_free(&chains[i]);
        buf_free(&keys[i]);
    }
    return context;
}

#endif
