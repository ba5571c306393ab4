/* tls.c - TLS by OpenSSL. See tls.h. */
#include "run/tls.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/log.h"

/* Mozilla's "intermediate" configuration, version 5.7: TLS 1.2 and 1.3, forward secrecy, AEAD only. */
static const char ciphers_tls12[] =
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
static const char groups[] = "X25519:P-256:P-384";

struct tls_context {
    _Atomic unsigned references;
    SSL_CTX **contexts; /* one per certificate; the first is the default */
    size_t count;
};

struct tls_session {
    SSL *ssl;
    struct tls_context *context;
};

static int context_index = -1; /* of the tls_context in an SSL_CTX's extra data */
static pthread_once_t once = PTHREAD_ONCE_INIT;
/* Ticket keys of this process, the same for every context and reload: sessions resume after SIGHUP. */
static unsigned char ticket_keys[80];

static void tls_once(void)
{
    context_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    random_bytes(ticket_keys, sizeof(ticket_keys));
}

static int openssl_error(struct error *e, const char *what)
{
    char text[200];
    unsigned long code = ERR_get_error();
    ERR_error_string_n(code, text, sizeof(text));
    ERR_clear_error();
    error_set(e, ERROR_INVALID, "%s", what);
    return error_cause(e, "%s", code ? text : "");
}

/* ------------------------------------------------------------------ contexts */

static bool certificate_matches(SSL_CTX *context, const char *name)
{
    X509 *certificate = SSL_CTX_get0_certificate(context);
    return certificate && X509_check_host(certificate, name, 0, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS,
                                          NULL) == 1;
}

/* RFC 6066 §3: chooses the certificate; an unknown name gets the default one. */
static int server_name_chosen(SSL *ssl, int *alert UNUSED, void *unused UNUSED)
{
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    struct tls_context *c = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), context_index);
    for (size_t i = 0; name && c && i < c->count; i++)
        if (certificate_matches(c->contexts[i], name)) {
            SSL_set_SSL_CTX(ssl, c->contexts[i]);
            break;
        }
    return SSL_TLSEXT_ERR_OK;
}

/* A key with a passphrase is not asked for on a terminal: it is an error that is said. */
static int no_passphrase(char *buffer UNUSED, int size UNUSED, int writing UNUSED, void *unused UNUSED)
{
    return 0;
}

static int chain_load(SSL_CTX *context, struct str chain, struct error *e)
{
    BIO *bio = BIO_new_mem_buf(chain.data, (int)chain.len);
    X509 *certificate = PEM_read_bio_X509_AUX(bio, NULL, no_passphrase, NULL);
    int result = -1;
    if (!certificate || SSL_CTX_use_certificate(context, certificate) != 1) {
        openssl_error(e, "the certificate file holds no PEM certificate");
        goto out;
    }
    X509 *next;
    while ((next = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL)))
        if (SSL_CTX_add0_chain_cert(context, next) != 1) {
            X509_free(next);
            openssl_error(e, "the certificate chain cannot be used");
            goto out;
        }
    ERR_clear_error(); /* the end of the file */
    result = 0;
out:
    X509_free(certificate);
    BIO_free(bio);
    return result;
}

static int key_load(SSL_CTX *context, struct str key, struct error *e)
{
    BIO *bio = BIO_new_mem_buf(key.data, (int)key.len);
    EVP_PKEY *private = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
    BIO_free(bio);
    if (!private)
        return openssl_error(e, "the key file holds no PEM private key without a passphrase");
    int fits = SSL_CTX_use_PrivateKey(context, private) == 1 && SSL_CTX_check_private_key(context) == 1;
    EVP_PKEY_free(private);
    return fits ? 0 : openssl_error(e, "the key does not belong to the certificate");
}

static SSL_CTX *context_make(const struct tls_certificate *certificate, struct tls_context *owner,
                             struct error *e)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    if (!context) {
        openssl_error(e, "TLS cannot be set up");
        return NULL;
    }
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_cipher_list(context, ciphers_tls12);
    SSL_CTX_set1_groups_list(context, groups);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                     SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    /* Tickets carry the session: nothing is kept here. One ticket is enough for mail programs. */
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(context, 1);
    SSL_CTX_set_session_id_context(context, (const unsigned char *)"posthouse", 9);
    SSL_CTX_set_tlsext_ticket_keys(context, ticket_keys, sizeof(ticket_keys));
    SSL_CTX_set_tlsext_servername_callback(context, server_name_chosen);
    SSL_CTX_set_ex_data(context, context_index, owner);
    if (chain_load(context, certificate->chain, e) < 0 || key_load(context, certificate->key, e) < 0) {
        SSL_CTX_free(context);
        return NULL;
    }
    return context;
}

int tls_context_create(const struct tls_certificate *certificates, size_t count,
                       struct tls_context **out, struct error *e)
{
    pthread_once(&once, tls_once);
    if (count == 0)
        return error_set(e, ERROR_INVALID, "no certificate is configured");
    struct tls_context *c = mem_alloc(sizeof(*c));
    c->references = 1;
    c->contexts = mem_alloc_array(count, sizeof(*c->contexts));
    for (c->count = 0; c->count < count; c->count++) {
        c->contexts[c->count] = context_make(&certificates[c->count], c, e);
        if (!c->contexts[c->count]) {
            tls_context_unref(&c);
            return -1;
        }
    }
    *out = c;
    return 0;
}

struct tls_context *tls_context_ref(struct tls_context *c)
{
    c->references++;
    return c;
}

void tls_context_unref(struct tls_context **c)
{
    if (*c && --(*c)->references == 0) {
        for (size_t i = 0; i < (*c)->count; i++)
            SSL_CTX_free((*c)->contexts[i]);
        mem_free((*c)->contexts);
        mem_free(*c);
    }
    *c = NULL;
}

static pthread_mutex_t current_lock = PTHREAD_MUTEX_INITIALIZER;
static struct tls_context *current;

void tls_current_set(struct tls_context *c)
{
    pthread_mutex_lock(&current_lock);
    struct tls_context *old = current;
    current = c;
    pthread_mutex_unlock(&current_lock);
    tls_context_unref(&old);
}

struct tls_context *tls_current_get(void)
{
    pthread_mutex_lock(&current_lock);
    struct tls_context *c = current ? tls_context_ref(current) : NULL;
    pthread_mutex_unlock(&current_lock);
    return c;
}

/* ------------------------------------------------------------------ sessions */

struct tls_session *tls_session_create(struct tls_context *context, int fd)
{
    struct tls_session *s = mem_alloc(sizeof(*s));
    s->context = tls_context_ref(context);
    s->ssl = SSL_new(context->contexts[0]);
    if (!s->ssl || SSL_set_fd(s->ssl, fd) != 1)
        fatal("out of memory (a TLS session)");
    SSL_set_accept_state(s->ssl);
    return s;
}

void tls_session_free(struct tls_session **s)
{
    if (*s) {
        ERR_clear_error();
        if (SSL_is_init_finished((*s)->ssl))
            SSL_shutdown((*s)->ssl);
        ERR_clear_error();
        SSL_free((*s)->ssl);
        tls_context_unref(&(*s)->context);
        mem_free(*s);
    }
    *s = NULL;
}

static enum tls_result result_of(struct tls_session *s, int returned)
{
    switch (SSL_get_error(s->ssl, returned)) {
    case SSL_ERROR_NONE:
        return TLS_DONE;
    case SSL_ERROR_WANT_READ:
        return TLS_WANT_READ;
    case SSL_ERROR_WANT_WRITE:
        return TLS_WANT_WRITE;
    case SSL_ERROR_ZERO_RETURN:
        return TLS_CLOSED;
    default:
        return TLS_FAILED;
    }
}

enum tls_result tls_session_handshake(struct tls_session *s, const char **why)
{
    ERR_clear_error();
    enum tls_result result = result_of(s, SSL_accept(s->ssl));
    if (result == TLS_FAILED || result == TLS_CLOSED) {
        const char *reason = ERR_reason_error_string(ERR_peek_error());
        *why = reason ? reason : "connection-lost";
        ERR_clear_error();
    }
    return result;
}

enum tls_result tls_session_read(struct tls_session *s, void *data, size_t max, size_t *got)
{
    ERR_clear_error();
    return result_of(s, SSL_read_ex(s->ssl, data, max, got));
}

enum tls_result tls_session_write(struct tls_session *s, const void *data, size_t len, size_t *put)
{
    ERR_clear_error();
    return result_of(s, SSL_write_ex(s->ssl, data, len, put));
}

bool tls_session_pending(const struct tls_session *s)
{
    return SSL_has_pending(s->ssl) == 1;
}

void tls_session_info(const struct tls_session *s, struct tls_info *out)
{
    const char *name = SSL_get_servername(s->ssl, TLSEXT_NAMETYPE_host_name);
    *out = (struct tls_info){.version = SSL_get_version(s->ssl),
                             .cipher = SSL_get_cipher_name(s->ssl),
                             .bits = SSL_get_cipher_bits(s->ssl, NULL),
                             .server_name = name ? name : "",
                             .resumed = SSL_session_reused(s->ssl) == 1};
}

/* RFC 5929 §4.1: the hash is that of the signature, but SHA-256 where that is MD5 or SHA-1. */
static int end_point_binding(SSL *ssl, struct buf *out)
{
    X509 *certificate = SSL_get_certificate(ssl);
    int digest_id;
    if (!certificate || !OBJ_find_sigid_algs(X509_get_signature_nid(certificate), &digest_id, NULL))
        return -1;
    if (digest_id == NID_md5 || digest_id == NID_sha1 || digest_id == NID_undef)
        digest_id = NID_sha256;
    const EVP_MD *digest = EVP_get_digestbynid(digest_id);
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    if (!digest || X509_digest(certificate, digest, hash, &len) != 1)
        return -1;
    return buf_add_bytes(out, hash, len);
}

int tls_channel_binding(struct tls_session *s, struct str type, struct buf *out)
{
    bool tls13 = SSL_version(s->ssl) >= TLS1_3_VERSION;
    unsigned char data[64];
    if (str_equal(type, STR("tls-exporter"))) {
        /* RFC 9266 §2: 32 bytes, no context; under 1.2 only with the extended master secret. */
        static const char label[] = "EXPORTER-Channel-Binding";
        if (!tls13 && SSL_get_extms_support(s->ssl) != 1)
            return -1;
        if (SSL_export_keying_material(s->ssl, data, 32, label, sizeof(label) - 1,
                                       (const unsigned char *)"", 0, 1) != 1)
            return -1;
        return buf_add_bytes(out, data, 32);
    }
    if (str_equal(type, STR("tls-unique"))) {
        /* RFC 5929 §3.1: the first Finished of the handshake: the client's, in a full one the first,
         * in an abbreviated one the server's. Not defined for TLS 1.3. */
        if (tls13 || SSL_get_extms_support(s->ssl) != 1)
            return -1;
        size_t len = SSL_session_reused(s->ssl) ? SSL_get_finished(s->ssl, data, sizeof(data))
                                                : SSL_get_peer_finished(s->ssl, data, sizeof(data));
        return len ? buf_add_bytes(out, data, len) : -1;
    }
    if (str_equal(type, STR("tls-server-end-point")))
        return end_point_binding(s->ssl, out);
    return -1;
}

/* ------------------------------------------------------------------ a certificate of our own */

static int pem_take(BIO *bio, struct buf *out)
{
    char *data;
    long len = BIO_get_mem_data(bio, &data);
    return len > 0 ? buf_add_bytes(out, data, (size_t)len) : -1;
}

static int names_set(X509 *certificate, const struct str *names, size_t count)
{
    struct buf text = BUF_INIT(4096);
    for (size_t i = 0; i < count; i++)
        buf_printf(&text, "%sDNS:" STR_FMT, i ? "," : "", STR_ARG(names[i]));
    X509_EXTENSION *extension =
        X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, buf_c_string(&text));
    buf_free(&text);
    int result = extension && X509_add_ext(certificate, extension, -1) == 1 ? 0 : -1;
    X509_EXTENSION_free(extension);
    return result;
}

int tls_make_self_signed(const struct str *names, size_t count, unsigned days, struct buf *chain,
                         struct buf *key, struct error *e)
{
    int result = -1;
    EVP_PKEY *private = EVP_EC_gen("P-256");
    X509 *certificate = X509_new();
    BIO *bio = BIO_new(BIO_s_mem());
    if (!private || !certificate || !bio)
        goto out;
    uint64_t serial;
    random_bytes(&serial, sizeof(serial));
    ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), serial >> 1);
    X509_set_version(certificate, X509_VERSION_3);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
    X509_gmtime_adj(X509_getm_notAfter(certificate), (long)days * 86400);
    X509_set_pubkey(certificate, private);
    X509_NAME *subject = X509_get_subject_name(certificate);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)names[0].data,
                               (int)names[0].len, -1, 0);
    X509_set_issuer_name(certificate, subject);
    if (names_set(certificate, names, count) < 0 || X509_sign(certificate, private, EVP_sha256()) == 0)
        goto out;
    if (PEM_write_bio_X509(bio, certificate) != 1 || pem_take(bio, chain) < 0)
        goto out;
    (void)BIO_reset(bio);
    if (PEM_write_bio_PrivateKey(bio, private, NULL, NULL, 0, NULL, NULL) != 1 || pem_take(bio, key) < 0)
        goto out;
    result = 0;
out:
    if (result < 0)
        openssl_error(e, "a certificate could not be made");
    BIO_free(bio);
    X509_free(certificate);
    EVP_PKEY_free(private);
    return result;
}
