/* search.h - private to the room: the program of a SEARCH.
 */
#ifndef IMAP_SEARCH_H
#define IMAP_SEARCH_H

#include "imap/session.h"
#include "store/search.h"

enum search_kind {
    SEARCH_ALL,
    SEARCH_AND,
    SEARCH_OR,
    SEARCH_NOT,
    SEARCH_SET,
    SEARCH_FLAGS,
    SEARCH_KEYWORD,
    SEARCH_RECENT,
    SEARCH_DATE,
    SEARCH_SENT_DATE,
    SEARCH_SIZE,
    SEARCH_SUMMARY,
    SEARCH_HEADER,
    SEARCH_BODY,
    SEARCH_TEXT,
};

struct search_key {
    enum search_kind kind;
    struct search_key **children; /* AND, OR, NOT */
    size_t child_count;
    struct uid_run *runs; /* SET */
    size_t run_count;
    uint8_t flags, wanted;         /* FLAGS: (flags & mask) == wanted */
    bool negated;                  /* KEYWORD, RECENT */
    int64_t from, until;           /* DATE, SIZE: from <= x < until */
    int field;                     /* SUMMARY: enum summary_string */
    struct str name, text, folded; /* HEADER's name; the needle, and case folded */
    struct search_hits *hits;      /* BODY, TEXT: of the index; search_program_free() frees it */
};

enum { SEARCH_DEPTH_MAX = 50, SEARCH_KEYS_MAX = 2000 };

/* Parses the keys up to the end of the command, as one AND. -1 with *why ("" means BADCHARSET). */
int search_parse(struct imap_session *s, struct imap_lexer *l, struct search_key **out,
                 const char **why);

/* Does a row match? 1, 0, -1 with *e. What is needed of the message is read at most once. */
struct search_message {
    struct imap_session *s;
    struct account_tx *tx;
    const struct message *row;
    struct buf header, text; /* folded; read when first needed */
    bool have_header, have_text;
};
int search_match(struct search_key *key, struct search_message *m, struct error *e);
void search_message_reset(struct search_message *m);

/* Frees what matching has added to the keys. */
void search_program_free(struct search_key *key);

/* Columns that the keys need. */
unsigned search_columns(const struct search_key *key);

#endif
