/* data.h - the bytes after DATA: where they end, and what they are without their stuffing.
 *
 * Only CRLF.CRLF ends a message (RFC 5321 §4.1.1.4, §2.3.8). Bare CR, bare LF and NUL are noticed: the
 * message is refused after its end, or repaired when the setting says so. What follows something that
 * other servers may take for an end stays part of the message, so nothing can be smuggled.
 */
#ifndef SMTP_DATA_H
#define SMTP_DATA_H

#include "base/str.h"

enum data_flaw { DATA_BARE_CR = 1, DATA_BARE_LF = 2, DATA_NUL = 4, DATA_LONG_LINE = 8 };

struct data_reader {
    int state;         /* private */
    bool repair;       /* bare CR and LF become CRLF, NUL goes */
    uint64_t line_max; /* bytes of a line with its CRLF; 0 = no limit */
    uint64_t line;     /* bytes of the present line so far */
    unsigned flaws;    /* enum data_flaw, all that were met */
};

/* Reads input; bytes of the message go to sink(context, piece). *used: bytes taken. True: the end of
 * the message was reached (what follows in input is not of it). */
typedef void data_sink(void *context, struct str piece);
bool data_read(struct data_reader *r, struct str input, size_t *used, data_sink *sink,
               void *context);

/* The same checks on a BDAT chunk (RFC 3030), which has no stuffing and ends by its size. last: nothing
 * follows, so that a CR at its end is a bare one. */
void data_check_chunk(struct data_reader *r, struct str input, bool last, data_sink *sink,
                      void *context);

#endif
