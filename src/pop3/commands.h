/* commands.h - POP3 (RFC 1939): the one table of commands and capabilities.
 *
 * Before the login a command runs in edge (login), after it in box (session); the row holds both.
 */
#ifndef POP3_COMMANDS_H
#define POP3_COMMANDS_H

#include "base/buf.h"

struct front;
struct pop3_session;

enum { POP3_LINE_MAX = 512 }; /* RFC 2449 §4 says 255; SASL responses are bounded elsewhere */

struct pop3_command {
    struct str name;
    unsigned arguments_min, arguments_max;
    /* In AUTHORIZATION. 0 go on, -1 close after the reply. NULL: not allowed there. */
    int (*login)(struct front *f, struct str *arguments, size_t count);
    /* In TRANSACTION. NULL: not allowed there. */
    int (*run)(struct pop3_session *s, struct str *arguments, size_t count);
    const char *reference;
};

enum { POP3_ARGUMENTS_MAX = 3 };

/* One command line, split at spaces; the last argument of PASS keeps its spaces (RFC 1939 §7). NULL
 * when there is no such command. */
const struct pop3_command *pop3_command_parse(struct str line, struct str *arguments,
                                              size_t *count);

/* The lines of CAPA (RFC 2449), the same before and after the login (§5) but for STLS. Each capability
 * stands in the table beside what implements it. tls_offered: STLS may be used; plaintext: USER/PASS
 * may, or might, be used; mechanisms: the SASL list, empty for none. */
void pop3_capabilities(struct buf *out, bool tls_offered, bool plaintext, struct str mechanisms);

#endif
