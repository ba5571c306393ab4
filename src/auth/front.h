/* front.h - a connection in edge before its login: PROXY header, TLS, SASL, limits, and the hand-over.
 *
 * What IMAP and POP3 (and later ManageSieve and submission) share until somebody is logged in. The
 * protocol's part is a struct front_protocol; this part owns the socket, counts sessions and bad
 * commands, keeps time, talks SASL with core, delays failures, hands the connection to box, and
 * pumps the bytes of TLS connections afterwards.
 */
#ifndef AUTH_FRONT_H
#define AUTH_FRONT_H

#include "auth/attach.h"
#include "base/arena.h"
#include "run/conn.h"
#include "run/arrival.h"

struct front;

enum front_bye {
    FRONT_BYE_TIMEOUT,
    FRONT_BYE_STOPPING,
    FRONT_BYE_TOO_MANY,
    FRONT_BYE_BAD_COMMANDS
};

struct front_protocol {
    const char *name; /* "imap": for the log and throttling */
    enum attach_protocol attach;
    size_t input_max; /* unread bytes kept before the login */
    void (*greet)(struct front *f);
    /* Takes one complete unit off the input and executes it. 1: done, there may be more; 0: not
     * complete yet; -1: close after what was written is sent. */
    int (*input)(struct front *f);
    /* An answer of the SASL exchange is needed: writes the challenge (base64, may be empty). */
    void (*challenge)(struct front *f, struct str base64);
    /* The login failed: writes the reply. e->class: ERROR_DENIED wrong credentials, ERROR_TEMPORARY
     * core or box cannot be reached, ERROR_LIMIT too many sessions, ERROR_INVALID broken exchange. */
    void (*refuse)(struct front *f, const struct error *e);
    void (*bye)(struct front *f, enum front_bye why);
};

struct front {
    struct conn conn;
    struct stream stream;
    const struct front_protocol *protocol;
    const struct settings_listener *listener;
    const struct settings *settings;
    struct arena arena; /* of the present command; reset between commands */
    struct str tag;     /* IMAP: the tag of the command; in tag_space */
    char tag_space[64];
    struct buf user;    /* POP3: the argument of USER */
    bool in_sasl;       /* the next line is a SASL response */
    uint32_t continued; /* IMAP: literals of the present command up to here were continued */
    bool tls;           /* the handshake is done */
    bool ending;        /* the process stops: box was told that its client has gone */
    uint32_t bad_commands;
    struct arrival arrival;
    /* the rest is private to front.c */
    int stage;
    uint64_t exchange;  /* of SASL, in core */
    int64_t not_before; /* a failure's reply waits until then */
    int64_t started;
    struct error pending; /* the failure to be told */
    uint32_t logins_failed;
    uint64_t account;  /* of that login */
    struct buf ticket; /* of a login whose last SCRAM message is not acknowledged yet */
    struct pump *pump; /* after the login, on TLS */
};

/* Starts accepting on a listening socket; in edge's start hook, once per listener. */
void front_listen(const struct process_listener *listener, const struct front_protocol *protocol);

/* May TLS be started now? (a certificate is there, the listener allows it, not yet in TLS) */
bool front_tls_offered(const struct front *f);
void front_start_tls(struct front *f); /* after the positive reply was put into the stream */

/* May passwords be sent as they are? (TLS, or the listener allows it and the peer is loopback) */
bool front_plaintext_allowed(const struct front *f);
/* The mechanisms that may be used now, separated by spaces; valid until the arena is reset. */
struct str front_mechanisms(struct front *f);

/* A plain user name and password (LOGIN, PASS). The reply comes later, by box or by refuse(). The
 * protocol's input() returns 1 afterwards. */
void front_login(struct front *f, struct str user, struct str password);
/* AUTHENTICATE: initial is the decoded initial response, data NULL when there is none. */
void front_authenticate(struct front *f, struct str mechanism, struct str initial);
/* A line while in_sasl: base64, or "*" to cancel. */
void front_sasl_line(struct front *f, struct str line);

/* Counts a bad command; true when it was one too many (bye was written: return -1). */
bool front_bad_command(struct front *f);

struct front_stats {
    uint64_t sessions, before_login, pumping, logins, logins_failed;
};
void front_stats(struct front_stats *out);

#endif
