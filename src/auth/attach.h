/* attach.h - after the login: edge hands the connection to box.
 *
 * On a plain connection box gets the socket itself and edge forgets it. On TLS box gets one end of a
 * socketpair and edge pumps bytes. What the client sent behind the login, already read, goes along.
 * Box answers the login command (the tagged OK, POP3's +OK), or refuses the attachment with an error
 * that edge turns into the protocol's own NO.
 */
#ifndef AUTH_ATTACH_H
#define AUTH_ATTACH_H

#include "base/error.h"
#include "base/str.h"

enum attach_protocol { ATTACH_IMAP, ATTACH_POP3, ATTACH_PROTOCOL_COUNT };

struct attach {
    enum attach_protocol protocol;
    struct str ticket; /* from the login (auth/ticket.h): says which account */
    struct str tag;    /* IMAP: of the command to answer; POP3: empty */
    struct str input;  /* bytes read behind the login command */
    bool tls;
    bool plaintext;        /* what was offered before the login: passwords as they are, */
    struct str mechanisms; /* and the SASL list; POP3 goes on announcing it */
    struct str peer;       /* client's address as text, for the log */
    struct str listener;   /* name of the listener's section */
    struct str session;    /* the session's id in log lines, kept over the hand-over */
    /* filled in for the handler in box, from the checked ticket: */
    uint64_t account;
    struct str address;
    uint64_t quota;
};

/* edge: gives fd away (closed here in any case). -1: *e says why, the connection is still edge's to
 * answer only if it kept another descriptor (TLS: its own side; plain: a dup made before). */
int session_attach(const struct attach *a, int fd, struct error *e);

/* box: handler takes fd over (also when it fails). Register both before workers accept calls. */
typedef int attach_handler(const struct attach *a, int fd, struct error *e);
void session_attach_serve(attach_handler *handlers[static ATTACH_PROTOCOL_COUNT]);

#endif
