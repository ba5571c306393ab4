/* error.h - why something failed: a class, a text for the client, a text for the log.
 *
 * Made where it happened, carried up unchanged, and turned into an SMTP, IMAP or POP3 reply in
 * exactly one place per protocol.
 */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include "base/str.h"

enum error_class {
    ERROR_NONE,
    ERROR_NOT_FOUND, /* no such domain, account, mailbox, message */
    ERROR_EXISTS,    /* the name is taken */
    ERROR_INVALID,   /* what was asked makes no sense (syntax, bounds) */
    ERROR_DENIED,    /* not allowed to this user or in this state */
    ERROR_QUOTA,     /* the account or domain is full */
    ERROR_LIMIT,     /* a configured bound was passed */
    ERROR_TEMPORARY, /* try again: a process is restarting, a lock is busy */
    ERROR_FULL,      /* no room on the disk */
    ERROR_CORRUPT,   /* stored data is damaged */
    ERROR_INTERNAL,  /* something else of ours broke; the log says what */
};

struct error {
    enum error_class class;
    char text[160];  /* one line, may be shown to a client */
    char cause[240]; /* for the log: errno, SQLite's message; may be empty */
};

/* Sets *e (which may be NULL) and returns -1, so that "return error_set(...)" reads well. */
int error_set(struct error *e, enum error_class class, const char *format, ...) PRINTF(3, 4);
/* Adds the log's part to an error that was just set; returns -1. */
int error_cause(struct error *e, const char *format, ...) PRINTF(2, 3);

const char *error_class_name(enum error_class class);

#endif
