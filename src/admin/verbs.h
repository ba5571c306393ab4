/* verbs.h - what administration can do: each verb is a row, run by core while the server runs (asked over
 * the admin socket) and by the command itself when it does not.
 */
#ifndef ADMIN_VERBS_H
#define ADMIN_VERBS_H

#include <jansson.h>

#include "base/error.h"

struct admin_verb {
    const char *noun, *verb; /* "account", "add"; verb "" stands alone ("status") */
    const char *arguments;   /* positional: "address", "[domain]", "address target..." */
    const char *options;     /* "name=TEXT quota=SIZE password-stdin hash=HASH"; "all" alone: the
                                command line asks for one account after the other */
    const char *help;        /* one line */
    const char *example;
    bool server_only; /* makes sense only while the server runs */
    /* arguments: an object with the positional and option values as text, true, or a list ("..."). */
    int (*run)(json_t *arguments, json_t **result, struct error *e);
    /* Prints a result for people. NULL: "done" is enough. */
    void (*print)(const json_t *result);
};
extern const struct admin_verb admin_verbs[];
extern const size_t admin_verb_count;
const struct admin_verb *admin_verb_find(const char *noun, const char *verb);

#endif
