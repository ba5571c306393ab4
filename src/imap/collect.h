/* collect.h - finds out from the bytes so far whether a complete command is there.
 */
#ifndef IMAP_COLLECT_H
#define IMAP_COLLECT_H

#include "base/str.h"

struct imap_collector {
    size_t at;      /* bytes looked at: the beginning of the present line */
    bool continued; /* the continuation for the literal that ends this line was sent */
    size_t command; /* COLLECT_COMMAND: its bytes without its line's end, and spaces before that */
};

enum imap_collected {
    COLLECT_MORE,     /* read on */
    COLLECT_COMMAND,  /* *length bytes are a command, its CRLF included */
    COLLECT_CONTINUE, /* send "+ " and read on */
    COLLECT_LITERAL, /* a literal of *literal bytes begins at *length: over the bound, or the caller
                             asked to be told of each (which decides what to do) */
    COLLECT_TOO_LONG, /* the line is longer than max */
};
struct imap_literal {
    uint64_t size;
    bool sync; /* the client waits for a continuation */
};

/* input is all unread bytes. literal_max: larger literals are told by COLLECT_LITERAL; so is every literal
 * of an APPEND that stands where the message must (told by is_message(command so far)). */
enum imap_collected imap_collect(struct imap_collector *c, struct str input, size_t max,
                                 uint64_t literal_max, bool (*is_message)(struct str so_far),
                                 size_t *length, struct imap_literal *literal);

#endif
