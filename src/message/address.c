/* address.c - mail addresses. See address.h. */
#include "message/address.h"

#include <arpa/inet.h>
#include <idn2.h>
#include <netinet/in.h>

/* RFC 5322 §3.2.3 atext, with the bytes of UTF-8 (RFC 6531 §3.3). */
static bool is_atext(char c)
{
    return ascii_is_alnum(c) || (unsigned char)c > 127 ||
           (c && memchr("!#$%&'*+-/=?^_`{|}~", c, 19) != NULL);
}

/* ------------------------------------------------------------------ the envelope's strict syntax */

/* RFC 5321 §4.1.2 Dot-string; the number of bytes, 0 = none. */
static size_t dot_string(struct str text)
{
    size_t i = 0;
    for (;;) {
        size_t start = i;
        while (i < text.len && is_atext(text.data[i]))
            i++;
        if (i == start)
            return 0;
        if (i + 1 >= text.len || text.data[i] != '.')
            return i;
        i++;
    }
}

/* Quoted-string: qtextSMTP and quoted-pairSMTP. The number of bytes with the quotes, 0 = broken. */
static size_t quoted_string(struct str text, struct arena *arena, struct str *out)
{
    char *plain = arena_alloc(arena, text.len + 1);
    size_t len = 0;
    for (size_t i = 1; i < text.len; i++) {
        char c = text.data[i];
        if (c == '"') {
            *out = str_of(plain, len);
            return i + 1;
        }
        if (c == '\\' && ++i < text.len)
            c = text.data[i];
        if (ascii_is_control(c) || i >= text.len)
            return 0;
        plain[len++] = c;
    }
    return 0;
}

/* RFC 5321 §4.1.2 sub-domains: letters, digits, hyphens inside; UTF-8 for U-labels. */
static bool domain_valid(struct str domain)
{
    struct str rest = domain, label;
    if (domain.len == 0 || domain.len > ADDRESS_DOMAIN_MAX)
        return false;
    while (str_next_part(&rest, '.', &label)) {
        if (label.len == 0 || label.data[0] == '-' || label.data[label.len - 1] == '-')
            return false;
        bool ascii = str_is_ascii(label);
        if (ascii && label.len > 63)
            return false;
        for (size_t i = 0; i < label.len; i++)
            if (!ascii_is_alnum(label.data[i]) && label.data[i] != '-' &&
                (unsigned char)label.data[i] < 128)
                return false;
    }
    return true;
}

/* RFC 5321 §4.1.3: [192.0.2.1], [IPv6:2001:db8::1]. */
static bool literal_valid(struct str literal)
{
    char text[64];
    if (literal.len < 3 || literal.len >= sizeof(text) || literal.data[literal.len - 1] != ']')
        return false;
    struct str inner = str_slice(literal, 1, literal.len - 2);
    bool v6 = str_starts_nocase(inner, STR("IPv6:"));
    if (v6)
        inner = str_from_pos(inner, 5);
    memcpy(text, inner.data, inner.len);
    text[inner.len] = '\0';
    struct in6_addr address;
    return strlen(text) == inner.len && inet_pton(v6 ? AF_INET6 : AF_INET, text, &address) == 1;
}

int address_parse(struct str text, struct arena *arena, struct address *out)
{
    struct address a = {0};
    if (text.len == 0 || text.len > ADDRESS_LOCAL_MAX + ADDRESS_DOMAIN_MAX + 2)
        return -1;
    a.utf8 = !str_is_ascii(text);
    if (a.utf8 && !str_is_utf8(text))
        return -1;
    size_t used;
    if (text.data[0] == '"') {
        used = quoted_string(text, arena, &a.local);
    } else {
        used = dot_string(text);
        a.local = str_of(text.data, used);
    }
    if (used == 0 || used > ADDRESS_LOCAL_MAX || used >= text.len || text.data[used] != '@')
        return -1;
    a.domain = str_from_pos(text, used + 1);
    bool valid =
        a.domain.len && a.domain.data[0] == '[' ? literal_valid(a.domain) : domain_valid(a.domain);
    if (!valid)
        return -1;
    *out = a;
    return 0;
}

int address_format(struct buf *out, const struct address *a)
{
    if (a->local.len && dot_string(a->local) == a->local.len) {
        buf_add(out, a->local);
    } else {
        buf_add_char(out, '"');
        for (size_t i = 0; i < a->local.len; i++) {
            if (a->local.data[i] == '"' || a->local.data[i] == '\\')
                buf_add_char(out, '\\');
            buf_add_char(out, a->local.data[i]);
        }
        buf_add_char(out, '"');
    }
    buf_add_char(out, '@');
    return buf_add(out, a->domain);
}

int domain_normalize(struct str domain, struct buf *out)
{
    if (domain.len && domain.data[0] == '[') {
        if (!literal_valid(domain))
            return -1;
        for (size_t i = 0; i < domain.len; i++)
            buf_add_char(out, ascii_lower(domain.data[i]));
        return 0;
    }
    if (domain.len && domain.data[domain.len - 1] == '.')
        domain.len--;
    if (!domain_valid(domain))
        return -1;
    if (str_is_ascii(domain)) {
        for (size_t i = 0; i < domain.len; i++)
            buf_add_char(out, ascii_lower(domain.data[i]));
        return 0;
    }
    /* RFC 5891 §5 (lookup): NFC, case mapping as UTS #46 does without its transitional part. */
    char text[ADDRESS_DOMAIN_MAX + 1];
    uint8_t *ascii = NULL;
    memcpy(text, domain.data, domain.len);
    text[domain.len] = '\0';
    if (idn2_lookup_u8((const uint8_t *)text, &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL) !=
        IDN2_OK)
        return -1;
    /* The mapping may give characters that no host name has: U+24A3 becomes "(h)". */
    struct str mapped = str_from((const char *)ascii);
    int result = domain_valid(mapped) ? buf_add(out, mapped) : -1;
    idn2_free(ascii);
    return result;
}

/* ------------------------------------------------------------------ lenient lists of headers */

/* Reads header text token by token: CFWS is passed over, quoted strings are unquoted. */
struct list_reader {
    struct str text;
    size_t at;
    struct arena *arena;
};

static char peek(const struct list_reader *r)
{
    return r->at < r->text.len ? r->text.data[r->at] : '\0';
}

/* RFC 5322 §3.2.2: white space, folds, and comments (nested, bounded by the text's length). The text
 * of the last comment is given: old mail has names there. */
static struct str skip_cfws(struct list_reader *r)
{
    struct str comment = str_of(NULL, 0);
    while (r->at < r->text.len) {
        if (ascii_is_space(peek(r))) {
            r->at++;
        } else if (peek(r) == '(') {
            size_t start = ++r->at;
            unsigned depth = 1;
            for (; r->at < r->text.len && depth; r->at++) {
                char c = peek(r);
                if (c == '\\' && r->at + 1 < r->text.len)
                    r->at++;
                else if (c == '(')
                    depth++;
                else if (c == ')')
                    depth--;
            }
            comment = str_slice(r->text, start, r->at - start - (depth == 0));
        } else {
            break;
        }
    }
    return comment;
}

static struct str read_quoted(struct list_reader *r)
{
    size_t end = r->at + 1, len = 0;
    while (end < r->text.len && r->text.data[end] != '"')
        end += r->text.data[end] == '\\' ? 2 : 1;
    char *plain = arena_alloc(r->arena, MIN(end, r->text.len) - r->at + 1);
    for (r->at++; r->at < r->text.len; r->at++) {
        char c = peek(r);
        if (c == '"') {
            r->at++;
            break;
        }
        if (c == '\\' && r->at + 1 < r->text.len)
            c = r->text.data[++r->at];
        if (c != '\r' && c != '\n')
            plain[len++] = c;
    }
    return str_of(plain, len);
}

static bool is_special(char c)
{
    return c == '<' || c == '>' || c == ',' || c == ';' || c == ':' || c == '"' || c == '(' ||
           c == '@' || ascii_is_space(c);
}

/* Words up to a special character, joined by one space as a display name is; *joined is the same
 * without spaces, as a local part is. */
static void read_words(struct list_reader *r, struct buf *name, struct buf *joined,
                       struct str *comment)
{
    for (;;) {
        struct str found = skip_cfws(r);
        if (found.len)
            *comment = found;
        struct str word;
        if (peek(r) == '"') {
            word = read_quoted(r);
        } else {
            size_t start = r->at;
            while (r->at < r->text.len && !is_special(peek(r)))
                r->at++;
            word = str_slice(r->text, start, r->at - start);
            if (word.len == 0)
                return;
        }
        if (name->len)
            buf_add_char(name, ' ');
        buf_add(name, word);
        buf_add(joined, word);
    }
}

static struct str take(struct list_reader *r, const struct buf *b)
{
    return arena_copy(r->arena, buf_str(b));
}

/* After "@": the domain, its parts joined. */
static struct str read_domain(struct list_reader *r, struct str *comment)
{
    struct buf domain = BUF_INIT(4096), spaced = BUF_INIT(8192);
    read_words(r, &spaced, &domain, comment);
    struct str result = take(r, &domain);
    buf_free(&domain);
    buf_free(&spaced);
    return result;
}

/* "<" [route ":"] local "@" domain ">" */
static void read_angle(struct list_reader *r, struct header_address *a)
{
    size_t start = ++r->at;
    skip_cfws(r);
    if (peek(r) == '@') { /* obsolete route, RFC 5322 §4.4 */
        while (r->at < r->text.len && peek(r) != ':' && peek(r) != '>')
            r->at++;
        if (peek(r) == ':') {
            a->route = str_trim(str_slice(r->text, start, r->at - start));
            r->at++;
        }
    }
    struct buf local = BUF_INIT(4096), spaced = BUF_INIT(8192);
    struct str comment;
    read_words(r, &spaced, &local, &comment);
    while (peek(r) == ':' || peek(r) == ',' || peek(r) == ';') { /* nonsense inside the brackets */
        buf_add_char(&local, peek(r));
        r->at++;
        read_words(r, &spaced, &local, &comment);
    }
    a->mailbox = take(r, &local);
    buf_free(&local);
    buf_free(&spaced);
    if (peek(r) == '@') {
        r->at++;
        a->host = read_domain(r, &comment);
    }
    while (r->at < r->text.len && peek(r) != '>' && peek(r) != ',')
        r->at++;
    if (peek(r) == '>')
        r->at++;
}

/* One entry up to "," or ";" or the end, or a group's start. False: nothing was there. */
static bool read_entry(struct list_reader *r, struct header_address *a)
{
    struct buf name = BUF_INIT(16384), joined = BUF_INIT(16384);
    struct str comment = str_of(NULL, 0);
    bool found = true;
    memset(a, 0, sizeof(*a));
    read_words(r, &name, &joined, &comment);
    if (peek(r) == '<') {
        a->name = take(r, &name);
        read_angle(r, a);
    } else if (peek(r) == '@') {
        r->at++;
        a->mailbox = take(r, &joined);
        a->host = read_domain(r, &comment);
        a->name = comment;
    } else if (peek(r) == ':' && name.len) {
        r->at++;
        a->kind = HEADER_GROUP_START;
        a->name = take(r, &name);
    } else if (name.len) {
        a->mailbox = take(r, &joined); /* a bare word: a local part without a domain */
    } else {
        found = false;
    }
    buf_free(&name);
    buf_free(&joined);
    return found;
}

/* Cuts the list off at max entries; a group that is open there ends. */
static size_t list_cut(struct header_address *list, size_t count, size_t max)
{
    bool in_group = false;
    if (count <= max)
        return count;
    for (size_t i = 0; i < max; i++)
        in_group =
            list[i].kind == HEADER_GROUP_START || (in_group && list[i].kind != HEADER_GROUP_END);
    if (in_group && list[max - 1].kind == HEADER_GROUP_START)
        return max - 1;
    if (in_group)
        list[max - 1] = (struct header_address){.kind = HEADER_GROUP_END};
    return max;
}

size_t header_addresses(struct str value, size_t max, struct arena *arena,
                        struct header_address **out)
{
    struct list_reader r = {.text = value, .arena = arena};
    struct header_address *list = NULL, a;
    size_t count = 0;
    bool in_group = false;
    while (r.at < value.len && count < max) {
        size_t before = r.at;
        if (read_entry(&r, &a)) {
            if (a.kind == HEADER_GROUP_START && in_group)
                *ARENA_PUSH(arena, list, count) = (struct header_address){.kind = HEADER_GROUP_END};
            in_group |= a.kind == HEADER_GROUP_START;
            *ARENA_PUSH(arena, list, count) = a;
            if (a.kind == HEADER_GROUP_START)
                continue;
        }
        skip_cfws(&r);
        /* What stands between an entry and its separator is noise. */
        while (r.at < value.len && peek(&r) != ',' && peek(&r) != ';' && peek(&r) != '<' &&
               r.at == before)
            r.at++;
        if (peek(&r) == ';' && in_group) {
            *ARENA_PUSH(arena, list, count) = (struct header_address){.kind = HEADER_GROUP_END};
            in_group = false;
        }
        if (peek(&r) == ',' || peek(&r) == ';')
            r.at++;
        else if (r.at == before)
            r.at++;
    }
    if (in_group)
        *ARENA_PUSH(arena, list, count) = (struct header_address){.kind = HEADER_GROUP_END};
    *out = list;
    return list_cut(list, count, max);
}
