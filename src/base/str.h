/* str.h - a view of bytes: pointer and length, not owned, not terminated.
 *
 * The string type between functions and rooms. Case folding here is ASCII only, as the mail
 * protocols mean it (RFC 5234 §2.3); Unicode folding stands in message/.
 */
#ifndef BASE_STR_H
#define BASE_STR_H

#include <stdarg.h>

#include "base/base.h"

struct str {
    const char *data; /* may be NULL when len is 0 */
    size_t len;
};

#define STR(literal) ((struct str){"" literal, sizeof(literal) - 1})
#define STR_INIT(literal)               \
    {                                   \
        "" literal, sizeof(literal) - 1 \
    } /* for static tables */
#define STR_FMT    "%.*s"
#define STR_ARG(s) (int)MIN((s).len, (size_t)INT32_MAX), (s).data ? (s).data : ""

static inline struct str str_of(const void *data, size_t len)
{
    return (struct str){data, len};
}
struct str str_from(const char *c_string); /* NULL gives the empty view */

bool str_equal(struct str a, struct str b);
bool str_equal_nocase(struct str a, struct str b);
int str_compare(struct str a, struct str b);        /* bytewise, shorter first */
int str_compare_nocase(struct str a, struct str b); /* ASCII folded */
bool str_starts(struct str s, struct str prefix);
bool str_starts_nocase(struct str s, struct str prefix);
bool str_ends(struct str s, struct str suffix);
bool str_ends_nocase(struct str s, struct str suffix);

/* Positions; s.len when there is none. */
size_t str_find_char(struct str s, char c);
size_t str_find_last_char(struct str s, char c);
size_t str_find(struct str s, struct str needle);
size_t str_find_nocase(struct str s, struct str needle);
bool str_has_char(struct str s, char c);

/* Views into s; positions past the end are brought back to it. */
struct str str_from_pos(struct str s, size_t start);
struct str str_slice(struct str s, size_t start, size_t len);
struct str str_trim(struct str s);     /* SP HTAB CR LF at both ends */
struct str str_trim_end(struct str s); /* at the end */

/* Takes the part before separator off *rest and moves *rest behind it. False when *rest was
 * exhausted (data NULL): so "a,,b" gives three parts and "" one. */
bool str_next_part(struct str *rest, char separator, struct str *part);

/* The one number parser: 1 to 20 digits, nothing else, at most max. 0, or -1 and *out untouched. */
int str_to_u64(struct str s, uint64_t max, uint64_t *out) MUST_CHECK;
int str_to_u32(struct str s, uint32_t max, uint32_t *out) MUST_CHECK;

bool str_is_ascii(struct str s); /* no byte above 127 */
bool str_is_utf8(struct str s);  /* well-formed as in RFC 3629 §4 */

static inline char ascii_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}
static inline char ascii_upper(char c)
{
    return c >= 'a' && c <= 'z' ? (char)(c - 32) : c;
}
static inline bool ascii_is_digit(char c)
{
    return c >= '0' && c <= '9';
}
static inline bool ascii_is_alpha(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
static inline bool ascii_is_alnum(char c)
{
    return ascii_is_alpha(c) || ascii_is_digit(c);
}
static inline bool ascii_is_space(char c) /* SP HTAB CR LF */
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}
static inline bool ascii_is_control(char c)
{
    return (unsigned char)c < 32 || c == 127;
}
int ascii_hex_value(char c); /* 0 to 15, or -1 */

#endif
