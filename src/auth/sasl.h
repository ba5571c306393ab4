/* sasl.h - SASL: the exchange runs in core, edge carries its messages.
 *
 * Mechanisms: PLAIN (RFC 4616), LOGIN, SCRAM-SHA-1 and SCRAM-SHA-256 (RFC 5802, 7677), and both with
 * -PLUS over TLS (RFC 9266 tls-exporter, RFC 5929 tls-server-end-point and tls-unique). A mechanism is
 * offered only where it may be used: plaintext ones where sasl_request.plaintext says so, SCRAM while
 * every enabled account has keys, -PLUS over TLS.
 */
#ifndef AUTH_SASL_H
#define AUTH_SASL_H

#include "base/arena.h"
#include "base/error.h"

/* Where the login comes from; the same in every step of an exchange. */
struct sasl_request {
    struct str service; /* "imap", "pop3", "submission", ... */
    struct str peer;    /* client's address as text: for throttling and the log */
    struct str session; /* id in log lines */
    bool tls;
    bool plaintext; /* passwords may come as they are: TLS, or allowed on loopback */
    /* Channel bindings of the TLS session, empty when there is none of that type. */
    struct str tls_exporter, tls_unique, tls_server_end_point;
};

enum sasl_status {
    SASL_CHALLENGE, /* send challenge, come back with the answer */
    SASL_DONE,      /* logged in */
    SASL_FAILED,    /* e says why: ERROR_DENIED credentials or throttled, ERROR_INVALID a broken
                       message or unknown mechanism, ERROR_TEMPORARY core cannot be reached */
};
struct sasl_outcome {
    enum sasl_status status;
    uint64_t exchange;     /* SASL_CHALLENGE: which exchange to go on with */
    struct str challenge;  /* raw bytes (not base64), in the arena. With SASL_DONE: data that the
                               server still has to say (SCRAM's server-final message), sent as one
                               more challenge whose answer is empty; usually empty */
    struct str ticket;     /* SASL_DONE: for session_attach() */
    struct str address;    /* SASL_DONE: the account's canonical address */
    uint64_t account;      /* SASL_DONE: for choosing the box; the ticket is what counts */
    int64_t not_before_ms; /* SASL_FAILED: clock_monotonic_ms() before which the client must not be
                               told (setting login failure-time) */
};

enum { SASL_MESSAGE_MAX = 12 * 1024 }; /* decoded bytes of one message */

/* edge: begins an exchange. initial.data NULL: the client sent no initial response. */
void sasl_start(const struct sasl_request *request, struct str mechanism, struct str initial,
                struct arena *arena, struct sasl_outcome *out, struct error *e);
/* edge: the client's answer to the last challenge; cancelled: it sent "*". */
void sasl_step(const struct sasl_request *request, uint64_t exchange, struct str answer,
               bool cancelled, struct arena *arena, struct sasl_outcome *out, struct error *e);
/* edge: user name and password of LOGIN or PASS: like PLAIN, in one step. */
void sasl_password(const struct sasl_request *request, struct str user, struct str password,
                   struct arena *arena, struct sasl_outcome *out, struct error *e);
/* edge: names separated by spaces, best first; asks core at most once a second per process. */
struct str sasl_mechanisms(bool tls, bool plaintext, struct arena *arena);

void sasl_serve(void); /* core: registers IPC_AUTH_*; directory_open() was called */

#endif
