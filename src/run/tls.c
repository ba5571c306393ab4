/* tls.c - TLS by OpenSSL: contexts, sessions, tickets, channel bindings. See tls.h.
 *
 * There is one SSL_CTX per certificate; a session begins with the first and changes to the one that
 * the client's server name asks for. Its socket is reached through a BIO of our own, because
 * OpenSSL's would raise SIGPIPE. Locks: current_lock and ticket_lock, each alone.
 */
#include "run/tls.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/vec.h"

/* Mozilla's "intermediate" configuration, version 5.7: TLS 1.2 and 1.3, forward secrecy, AEAD only. */
static const char ciphers_tls12[] =
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
static const char groups[] = "X25519:P-256:P-384";

enum {
    TICKET_LIFE = 12 * 3600 /* s: a key makes tickets so long, and resumes them twice as long */
};

/* A host name that a certificate is for, in lower case; may begin with "*.". */
struct host_name {
    struct str text; /* owned */
    size_t context;
};

struct tls_context {
    _Atomic unsigned references;
    SSL_CTX **contexts; /* one per certificate; the first is the default */
    size_t count;
    VEC(struct host_name) names; /* sorted */
};

struct tls_session {
    SSL *ssl;
    struct tls_context *context;
    int fd;
    struct buf early; /* bytes that come before what the socket gives */
    bool broken;      /* after a fatal error OpenSSL must not be asked to say goodbye */
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static BIO_METHOD *socket_method;

static int openssl_error(struct error *e, const char *what)
{
    char text[200];
    unsigned long code = ERR_get_error();
    ERR_error_string_n(code, text, sizeof(text));
    ERR_clear_error();
    error_set(e, ERROR_INVALID, "%s", what);
    return error_cause(e, "%s", code ? text : "");
}

/* ------------------------------------------------------------------ the socket */

static int socket_read(BIO *bio, char *data, int len)
{
    struct tls_session *s = BIO_get_data(bio);
    ssize_t n = (ssize_t)MIN(s->early.len, (size_t)len);
    BIO_clear_retry_flags(bio);
    if (n > 0) {
        memcpy(data, s->early.data, (size_t)n);
        buf_consume(&s->early, (size_t)n);
        if (s->early.len == 0)
            buf_free(&s->early);
        return (int)n;
    }
    do
        n = recv(s->fd, data, (size_t)len, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        BIO_set_retry_read(bio);
    if (n == 0)
        BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
    return (int)n;
}

static int socket_write(BIO *bio, const char *data, int len)
{
    struct tls_session *s = BIO_get_data(bio);
    ssize_t n;
    do
        n = send(s->fd, data, (size_t)len, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    BIO_clear_retry_flags(bio);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        BIO_set_retry_write(bio);
    return (int)n;
}

static long socket_control(BIO *bio, int command, long number UNUSED, void *pointer UNUSED)
{
    switch (command) {
    case BIO_CTRL_FLUSH:
        return 1;
    case BIO_CTRL_EOF:
        return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0;
    default:
        return 0;
    }
}

static BIO *socket_bio(struct tls_session *s)
{
    BIO *bio = BIO_new(socket_method);
    if (bio) {
        BIO_set_data(bio, s);
        BIO_set_init(bio, 1);
    }
    return bio;
}

/* ------------------------------------------------------------------ tickets */

/* RFC 5077 §4: the name says which key a ticket was made with. Keys live in this process only, and
 * are the same for all contexts, so that sessions resume after a reload. */
struct ticket_key {
    unsigned char name[16], cipher[32], mac[32];
    int64_t made; /* monotonic seconds; 0 = no key */
};
static pthread_mutex_t ticket_lock = PTHREAD_MUTEX_INITIALIZER;
static struct ticket_key ticket_keys[2]; /* the present one, the one before */

static void tickets_rotate_locked(void)
{
    ticket_keys[1] = ticket_keys[0];
    random_bytes(&ticket_keys[0], sizeof(ticket_keys[0]));
    ticket_keys[0].made = clock_monotonic_ms() / 1000 + 1;
}

void tls_ticket_keys_rotate(void)
{
    pthread_mutex_lock(&ticket_lock);
    tickets_rotate_locked();
    pthread_mutex_unlock(&ticket_lock);
}

/* Copies the key to make a ticket with, or (name given) the one it was made with. 1: the present key,
 * 2: the one before, so the client shall get a new ticket; 0: none. */
static int ticket_key_get(const unsigned char *name, struct ticket_key *out)
{
    int found = 0;
    pthread_mutex_lock(&ticket_lock);
    int64_t now = clock_monotonic_ms() / 1000;
    if (now - ticket_keys[0].made > TICKET_LIFE || !ticket_keys[0].made)
        tickets_rotate_locked();
    for (int i = 0; i < (name ? 2 : 1) && !found; i++) {
        const struct ticket_key *key = &ticket_keys[i];
        if (key->made && now - key->made <= 2 * TICKET_LIFE &&
            (!name || memcmp(name, key->name, sizeof(key->name)) == 0)) {
            *out = *key;
            found = i + 1;
        }
    }
    pthread_mutex_unlock(&ticket_lock);
    return found;
}

/* SSL_CTX_set_tlsext_ticket_key_evp_cb(3): encrypts or decrypts one ticket. */
static int ticket_crypt(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                        EVP_MAC_CTX *mac, int encrypting)
{
    struct ticket_key key;
    int found = ticket_key_get(encrypting ? NULL : name, &key);
    if (!found)
        return 0;
    if (encrypting) {
        memcpy(name, key.name, sizeof(key.name));
        random_bytes(iv, (size_t)EVP_CIPHER_get_iv_length(EVP_aes_256_cbc()));
    }
    char digest[] = "SHA256";
    OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key.mac, sizeof(key.mac)),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    if (EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, key.cipher, iv, encrypting) != 1 ||
        EVP_MAC_CTX_set_params(mac, parameters) != 1)
        found = -1;
    wipe(&key, sizeof(key));
    /* RFC 8446 §C.4: under TLS 1.3 a client uses a ticket once, so each resumption gives a new one. */
    return found == 1 && !encrypting && SSL_version(ssl) >= TLS1_3_VERSION ? 2 : found;
}

static void tls_once(void)
{
    socket_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "posthouse socket");
    if (!socket_method)
        fatal("out of memory (TLS)");
    BIO_meth_set_read(socket_method, socket_read);
    BIO_meth_set_write(socket_method, socket_write);
    BIO_meth_set_ctrl(socket_method, socket_control);
}

/* ------------------------------------------------------------------ contexts */

static void host_name_add(struct tls_context *c, const ASN1_STRING *value)
{
    struct str name = str_of(ASN1_STRING_get0_data(value), (size_t)ASN1_STRING_length(value));
    if (name.len == 0 || name.len > 255 || str_has_char(name, '\0'))
        return;
    char *copy = mem_alloc(name.len);
    for (size_t i = 0; i < name.len; i++)
        copy[i] = ascii_lower(name.data[i]);
    VEC_ADD(&c->names, (struct host_name){str_of(copy, name.len), c->count});
}

/* Notes the names of certificate number c->count: the DNS names of subjectAltName, or the common name
 * if it has none (RFC 6125 §6.4.4). */
static void host_names_read(struct tls_context *c, X509 *certificate)
{
    size_t before = c->names.len;
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type == GEN_DNS)
            host_name_add(c, name->d.dNSName);
    }
    GENERAL_NAMES_free(names);
    const X509_NAME *subject = X509_get_subject_name(certificate);
    int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    if (c->names.len == before && at >= 0)
        host_name_add(c, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
    ERR_clear_error();
}

static int host_name_order(const void *left, const void *right)
{
    const struct host_name *a = left, *b = right;
    int order = str_compare(a->text, b->text);
    return order ? order : (a->context > b->context) - (a->context < b->context);
}

/* The first certificate for exactly this text, or NULL. */
static SSL_CTX *host_name_find(const struct tls_context *c, struct str text)
{
    size_t low = 0, high = c->names.len;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (str_compare(c->names.items[middle].text, text) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == c->names.len || !str_equal(c->names.items[low].text, text))
        return NULL;
    return c->contexts[c->names.items[low].context];
}

/* RFC 6066 §3: chooses the certificate, the exact name before a wildcard for its leftmost label (RFC
 * 6125 §6.4.3); an unknown name gets the default one. */
static int server_name_chosen(SSL *ssl, int *alert UNUSED, void *argument)
{
    const struct tls_context *c = argument;
    struct str asked = str_from(SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name));
    char name[256];
    if (str_ends(asked, STR(".")))
        asked.len--;
    if (asked.len == 0 || asked.len >= sizeof(name))
        return SSL_TLSEXT_ERR_NOACK;
    for (size_t i = 0; i < asked.len; i++)
        name[i] = ascii_lower(asked.data[i]);
    SSL_CTX *found = host_name_find(c, str_of(name, asked.len));
    size_t dot = str_find_char(asked, '.');
    if (!found && dot > 0 && dot < asked.len) {
        name[dot - 1] = '*';
        found = host_name_find(c, str_of(name + dot - 1, asked.len - dot + 1));
    }
    if (!found)
        return SSL_TLSEXT_ERR_NOACK;
    if (found != SSL_get_SSL_CTX(ssl))
        SSL_set_SSL_CTX(ssl, found);
    return SSL_TLSEXT_ERR_OK;
}

/* A key with a passphrase is not asked for on a terminal: it is an error that is said. */
static int no_passphrase(char *buffer UNUSED, int size UNUSED, int writing UNUSED,
                         void *unused UNUSED)
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
    int fits =
        SSL_CTX_use_PrivateKey(context, private) == 1 && SSL_CTX_check_private_key(context) == 1;
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
    /* A missing close_notify is an end of file like any other: mail protocols mark their own ends. */
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                     SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(context, 1); /* one recv(2) per record instead of two */
    /* Tickets carry the session: nothing is kept here. One ticket is enough for mail programs. */
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(context, 1);
    SSL_CTX_set_session_id_context(context, (const unsigned char *)"posthouse", 9);
    SSL_CTX_set_timeout(context, TICKET_LIFE);
    SSL_CTX_set_tlsext_ticket_key_evp_cb(context, ticket_crypt);
    SSL_CTX_set_tlsext_servername_callback(context, server_name_chosen);
    SSL_CTX_set_tlsext_servername_arg(context, owner);
    if (chain_load(context, certificate->chain, e) < 0 ||
        key_load(context, certificate->key, e) < 0) {
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
        host_names_read(c, SSL_CTX_get0_certificate(c->contexts[c->count]));
    }
    if (c->names.len)
        qsort(c->names.items, c->names.len, sizeof(c->names.items[0]), host_name_order);
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
        for (size_t i = 0; i < (*c)->names.len; i++)
            mem_free((void *)(uintptr_t)(*c)->names.items[i].text.data);
        VEC_FREE(&(*c)->names);
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
    s->fd = fd;
    s->early = BUF_INIT(BUF_UNBOUNDED);
    BIO *bio = socket_bio(s);
    if (!s->ssl || !bio)
        fatal("out of memory (a TLS session)");
    SSL_set_bio(s->ssl, bio, bio);
    SSL_set_accept_state(s->ssl);
    return s;
}

void tls_session_feed(struct tls_session *s, struct str bytes)
{
    buf_add(&s->early, bytes);
}

void tls_session_free(struct tls_session **s)
{
    if (*s) {
        ERR_clear_error();
        if (!(*s)->broken && SSL_is_init_finished((*s)->ssl))
            SSL_shutdown((*s)->ssl);
        ERR_clear_error();
        SSL_free((*s)->ssl);
        buf_free(&(*s)->early);
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
        s->broken = true;
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
    if (!certificate || X509_get_signature_info(certificate, &digest_id, NULL, NULL, NULL) != 1)
        return -1;
    if (digest_id == NID_undef)
        return -1; /* Ed25519: not defined */
    if (digest_id == NID_md5 || digest_id == NID_sha1)
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

/* One entry of subjectAltName: an address when it reads like one, else a host name. */
static GENERAL_NAME *general_name(struct str text)
{
    char name[256];
    if (text.len == 0 || text.len >= sizeof(name) || str_has_char(text, '\0'))
        return NULL;
    memcpy(name, text.data, text.len);
    name[text.len] = '\0';
    GENERAL_NAME *general = GENERAL_NAME_new();
    ASN1_OCTET_STRING *address = a2i_IPADDRESS(name);
    ASN1_IA5STRING *host = address ? NULL : ASN1_IA5STRING_new();
    if (general && address) {
        GENERAL_NAME_set0_value(general, GEN_IPADD, address);
    } else if (general && host && ASN1_STRING_set(host, name, (int)text.len) == 1) {
        GENERAL_NAME_set0_value(general, GEN_DNS, host);
    } else {
        GENERAL_NAME_free(general);
        ASN1_OCTET_STRING_free(address);
        ASN1_IA5STRING_free(host);
        general = NULL;
    }
    return general;
}

static int names_set(X509 *certificate, const struct str *names, size_t count)
{
    GENERAL_NAMES *list = sk_GENERAL_NAME_new_null();
    int result = list && count ? 0 : -1;
    for (size_t i = 0; i < count && result == 0; i++) {
        GENERAL_NAME *name = general_name(names[i]);
        if (!name || sk_GENERAL_NAME_push(list, name) == 0) {
            GENERAL_NAME_free(name);
            result = -1;
        }
    }
    if (result == 0 && X509_add1_ext_i2d(certificate, NID_subject_alt_name, list, 0, 0) != 1)
        result = -1;
    GENERAL_NAMES_free(list);
    return result;
}

int tls_make_self_signed(const struct str *names, size_t count, unsigned days, struct buf *chain,
                         struct buf *key, struct error *e)
{
    int result = -1;
    EVP_PKEY *private = EVP_EC_gen("P-256");
    X509 *certificate = X509_new();
    BIO *bio = BIO_new(BIO_s_mem());
    if (!private || !certificate || !bio || count == 0)
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
    if (names_set(certificate, names, count) < 0 ||
        X509_sign(certificate, private, EVP_sha256()) == 0)
        goto out;
    if (PEM_write_bio_X509(bio, certificate) != 1 || pem_take(bio, chain) < 0)
        goto out;
    (void)BIO_reset(bio);
    if (PEM_write_bio_PrivateKey(bio, private, NULL, NULL, 0, NULL, NULL) != 1 ||
        pem_take(bio, key) < 0)
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
