/* fetch.h - private to the room: the items of a FETCH.
 */
#ifndef IMAP_FETCH_H
#define IMAP_FETCH_H

#include "imap/lexer.h"

enum fetch_kind {
    FETCH_UID,
    FETCH_FLAGS,
    FETCH_INTERNALDATE,
    FETCH_SIZE,
    FETCH_ENVELOPE,
    FETCH_BODYSTRUCTURE,
    FETCH_BODY_STRUCTURE, /* BODY without a section */
    FETCH_BODY,           /* BODY[...], RFC822 and its like */
    FETCH_BINARY,
    FETCH_BINARY_SIZE,
};
enum fetch_section {
    SECTION_ALL,
    SECTION_HEADER,
    SECTION_FIELDS,
    SECTION_FIELDS_NOT,
    SECTION_TEXT,
    SECTION_MIME
};

struct fetch_item {
    enum fetch_kind kind;
    struct str name; /* as it is answered: "BODY[1.HEADER]" */
    enum fetch_section section;
    const uint32_t *numbers; /* of the section */
    size_t number_count;
    const struct str *fields;
    size_t field_count;
    bool partial;
    uint64_t partial_offset, partial_count;
    bool skip; /* FLAGS that are told only when \Seen was just set */
};

enum { FETCH_ITEMS_MAX = 200, SECTION_DEPTH_MAX = 64, FIELDS_MAX = 1000 };

struct fetch_plan {
    struct fetch_item *items;
    size_t count;
    size_t flags_item; /* where FLAGS stands */
    bool flags_asked;
    bool sets_seen;   /* something without PEEK is fetched */
    unsigned columns; /* enum message_column */
};

/* Parses the items ("ALL", "FLAGS", "(UID BODY[])"); -1 with *why. uid: UID FETCH, which always answers
 * with the UID. */
int fetch_plan_parse(struct imap_lexer *l, bool uid, struct fetch_plan *out, const char **why);

#endif
