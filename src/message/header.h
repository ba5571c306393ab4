/* header.h - the header of a message or MIME part: finding its end, walking its fields, parameters.
 */
#ifndef MESSAGE_HEADER_H
#define MESSAGE_HEADER_H

#include "base/arena.h"
#include "base/buf.h"

/* Bytes of the header at the front of text, through the blank line. A text that begins with a blank
 * line has a header of just that. When no blank line comes, or a line that cannot be a field comes
 * first, all up to there is the header (without a blank line). */
size_t header_length(struct str text);

struct header_field {
    struct str name;  /* without the colon */
    struct str value; /* behind the colon, with folds, without the last line end */
    struct str raw;   /* all of it, line ends included */
};
/* Walks the fields: *at starts at 0. False at the end. Lines that are no field (an mbox "From " line,
 * garbage) are passed over. */
bool header_next(struct str header, size_t *at, struct header_field *out);

/* The first field of that name. False when there is none. */
bool header_find(struct str header, struct str name, struct header_field *out);

/* The value with folds removed (CRLF before white space goes), outer white space trimmed. */
struct str header_unfold(struct str value, struct arena *arena);

/* A structured value with parameters: Content-Type, Content-Disposition (RFC 2045 §5.1, RFC 2183), as
 * found in the wild. Parameter values of RFC 2231 (continuations, charsets) are decoded to UTF-8. */
struct parameter {
    struct str name;  /* lower case */
    struct str value; /* unquoted */
};
struct parameterized {
    struct str value;             /* lower case: "text/plain", "attachment" */
    struct parameter *parameters; /* decoded and joined, names without * parts */
    size_t count;
    struct parameter *raw; /* one by one as they stand: "filename*0*"; for BODYSTRUCTURE */
    size_t raw_count;
};
enum { PARAMETERS_MAX = 100 };
void parameters_parse(struct str value, struct arena *arena, struct parameterized *out);
struct str parameter_find(const struct parameterized *p, struct str name); /* empty = none */

#endif
