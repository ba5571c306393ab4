/* verbs.h - what an operator can ask for: one row per verb, answered by core while the server runs, or
 * by the command itself when it owns DATA. Arguments and answers are JSON objects, so `--json` prints
 * the answer as it is; the *_print functions make text for people of it.
 *
 * Verbs run in threads that may call box (not in workers of core).
 */
#ifndef ADMIN_VERBS_H
#define ADMIN_VERBS_H

#include <jansson.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/error.h"

struct admin_verb {
    const char *name;
    /* arguments: the caller's. answer: an empty object to be filled. */
    int (*run)(const json_t *arguments, json_t *answer, struct error *e);
};

/* status, queue-list, queue-retry, queue-remove, trace, account-verify, account-repair */
extern const struct admin_verb mail_verbs[];
extern const size_t mail_verb_count;

int verb_status(const json_t *arguments, json_t *answer, struct error *e);
int verb_queue_list(const json_t *arguments, json_t *answer, struct error *e);
int verb_queue_retry(const json_t *arguments, json_t *answer, struct error *e);
int verb_queue_remove(const json_t *arguments, json_t *answer, struct error *e);
int verb_trace(const json_t *arguments, json_t *answer, struct error *e);
int verb_account_verify(const json_t *arguments, json_t *answer, struct error *e);
int verb_account_repair(const json_t *arguments, json_t *answer, struct error *e);

void status_print(const json_t *answer, FILE *out);
void queue_print(const json_t *answer, bool first, FILE *out); /* one page; first: of all */
void trace_print(const json_t *answer, FILE *out);
void verify_print(const json_t *answer, FILE *out); /* of account-verify and account-repair */

/* For verbs. Text that is no UTF-8 gets '?' for what is wrong: JSON cannot hold it. */
json_t *json_text(struct str text);
struct str json_argument(const json_t *arguments, const char *name); /* empty when absent */
uint64_t json_argument_number(const json_t *arguments, const char *name, uint64_t fallback);
/* For printing. */
const char *json_member(const json_t *object, const char *name); /* "" when absent */
uint64_t json_member_number(const json_t *object, const char *name);
void print_time(FILE *out, int64_t seconds);        /* 2026-11-23 18:00:01 UTC */
void print_duration(FILE *out, uint64_t seconds);   /* 3d 4h, 5m 10s */
void print_size(FILE *out, uint64_t bytes);         /* 1.2 MB */
void print_safe(FILE *out, const char *text);       /* without control characters */

#endif
