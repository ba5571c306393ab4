/* tls.h - TLS by OpenSSL: server contexts by host name, sessions.
 *
 * TLS 1.2 and 1.3 with Mozilla's intermediate list; tickets for resumption; buffers released while
 * idle. Certificates and keys come as PEM bytes (from master, as memfds), never as paths.
 */
#ifndef RUN_TLS_H
#define RUN_TLS_H

#include "base/buf.h"
#include "base/error.h"

struct tls_context; /* one generation of certificates; shared by its sessions, counted */
struct tls_session;

/* One certificate chain with its key, both PEM. Host names are read from the certificate's
 * subjectAltName (wildcards in the leftmost label are honoured at selection). */
struct tls_certificate {
    struct str chain;
    struct str key;
};
/* The first certificate is the one for clients without, or with an unknown, server name. */
int tls_context_create(const struct tls_certificate *certificates, size_t count,
                       struct tls_context **out, struct error *e);
struct tls_context *tls_context_ref(struct tls_context *c);
void tls_context_unref(struct tls_context **c);

/* The process's current context: swapped at reload, older sessions keep theirs. NULL = no TLS. */
void tls_current_set(struct tls_context *c); /* takes the reference */
struct tls_context *tls_current_get(void);   /* a new reference, or NULL */

/* A new ticket key from now on; the one before is good for resuming only, older ones for nothing. Happens
 * by itself every 12 hours. */
void tls_ticket_keys_rotate(void);

/* For run/stream.c: a server session on a non-blocking socket. */
enum tls_result {
    TLS_DONE = 0,
    TLS_WANT_READ = 1,
    TLS_WANT_WRITE = 2,
    TLS_CLOSED = 3,
    TLS_FAILED = 4
};
struct tls_session *tls_session_create(struct tls_context *context, int fd); /* takes a reference */
void tls_session_feed(struct tls_session *s,
                      struct str bytes);       /* were read from fd already; copied */
void tls_session_free(struct tls_session **s); /* sends close_notify if the peer takes it */
enum tls_result tls_session_handshake(struct tls_session *s, const char **why);
enum tls_result tls_session_read(struct tls_session *s, void *data, size_t max, size_t *got);
enum tls_result tls_session_write(struct tls_session *s, const void *data, size_t len, size_t *put);
bool tls_session_pending(
    const struct tls_session *s); /* bytes wait inside, maybe part of a record */

/* What was agreed, for Received and the log; valid after the handshake. */
struct tls_info {
    const char *version; /* "TLSv1.3" */
    const char *cipher;  /* "TLS_AES_256_GCM_SHA384" */
    int bits;
    const char *server_name; /* SNI or "" */
    bool resumed;
};
void tls_session_info(const struct tls_session *s, struct tls_info *out);

/* Channel binding for SCRAM-PLUS: tls-exporter (RFC 9266) under TLS 1.3, tls-unique under 1.2 (with
 * extended master secret), tls-server-end-point (RFC 5929) always. type is the RFC's name. */
int tls_channel_binding(struct tls_session *s, struct str type, struct buf *out) MUST_CHECK;

/* A self-signed P-256 certificate for names[] (the first is the CN), PEM; days of validity. */
int tls_make_self_signed(const struct str *names, size_t count, unsigned days, struct buf *chain,
                         struct buf *key, struct error *e);

#endif
