/* lexer.c - IMAP's grammar. See lexer.h. */
#include "imap/lexer.h"

/* Bits as in enum message_flag of store/account.h; the login part has no store. */
static const struct {
    struct str name;
    uint8_t bit;
} system_flags[] = {
    {STR_INIT("\\Seen"), 1},    {STR_INIT("\\Answered"), 2}, {STR_INIT("\\Flagged"), 4},
    {STR_INIT("\\Deleted"), 8}, {STR_INIT("\\Draft"), 16},
};

bool imap_at_end(const struct imap_lexer *l)
{
    return l->rest.len == 0;
}

static char peek(const struct imap_lexer *l)
{
    return l->rest.len ? l->rest.data[0] : '\0';
}

bool imap_take(struct imap_lexer *l, char c)
{
    if (l->rest.len == 0 || l->rest.data[0] != c)
        return false;
    l->rest = str_from_pos(l->rest, 1);
    return true;
}

int imap_space(struct imap_lexer *l)
{
    return imap_take(l, ' ') ? 0 : -1;
}

static bool is_atom_char(char c)
{
    return (unsigned char)c > 32 && (unsigned char)c < 127 && c != '(' && c != ')' && c != '{' &&
           c != '%' && c != '*' && c != '"' && c != '\\';
}

static struct str take_while(struct imap_lexer *l, bool (*fits)(char))
{
    size_t i = 0;
    while (i < l->rest.len && fits(l->rest.data[i]))
        i++;
    struct str taken = str_slice(l->rest, 0, i);
    l->rest = str_from_pos(l->rest, i);
    return taken;
}

int imap_atom(struct imap_lexer *l, struct str *out)
{
    struct str before = l->rest;
    bool flag = imap_take(l, '\\');
    struct str atom = take_while(l, is_atom_char);
    if (atom.len == 0)
        return -1;
    *out = str_slice(before, 0, atom.len + flag);
    return 0;
}

static int quoted(struct imap_lexer *l, struct str *out)
{
    size_t end = 1, len = 0;
    for (; end < l->rest.len && l->rest.data[end] != '"'; end++) {
        end += l->rest.data[end] == '\\'; /* what is quoted is no end, but no line end either */
        char c = end < l->rest.len ? l->rest.data[end] : '\0';
        if (c == '\r' || c == '\n' || c == '\0')
            return -1;
    }
    if (end >= l->rest.len)
        return -1;
    char *plain = arena_alloc(l->arena, end);
    for (size_t i = 1; i < end; i++) {
        if (l->rest.data[i] == '\\' && i + 1 < end)
            i++;
        plain[len++] = l->rest.data[i];
    }
    *out = str_of(plain, len);
    l->rest = str_from_pos(l->rest, end + 1);
    return 0;
}

/* {n} CRLF bytes, {n+} CRLF bytes, and with a tilde (RFC 3516). */
static int literal(struct imap_lexer *l, struct str *out)
{
    struct str rest = l->rest;
    if (rest.len && rest.data[0] == '~')
        rest = str_from_pos(rest, 1);
    size_t close = str_find_char(rest, '}');
    if (rest.len == 0 || rest.data[0] != '{' || close == rest.len)
        return -1;
    struct str number = str_slice(rest, 1, close - 1);
    if (number.len && number.data[number.len - 1] == '+')
        number.len--;
    uint64_t len;
    rest = str_from_pos(rest, close + 1);
    if (str_to_u64(number, UINT32_MAX, &len) < 0)
        return -1;
    size_t line_end = str_starts(rest, STR("\r\n")) ? 2 : str_starts(rest, STR("\n")) ? 1 : 0;
    rest = str_from_pos(rest, line_end);
    if (line_end == 0 || rest.len < len)
        return -1;
    if (peek(l) != '~' && memchr(rest.data ? rest.data : "", '\0', (size_t)len))
        return -1; /* CHAR8: only a literal8 may hold a NUL (RFC 9051 §4.3.1) */
    *out = str_slice(rest, 0, (size_t)len);
    l->rest = str_from_pos(rest, (size_t)len);
    return 0;
}

int imap_string(struct imap_lexer *l, struct str *out)
{
    return peek(l) == '"' ? quoted(l, out) : literal(l, out);
}

static bool is_astring_char(char c)
{
    return is_atom_char(c) || c == ']' || (unsigned char)c > 127;
}

int imap_tag(struct imap_lexer *l, struct str *out)
{
    struct str tag = take_while(l, is_astring_char);
    if (tag.len == 0 || str_has_char(tag, '+') || !str_is_ascii(tag))
        return -1;
    *out = tag;
    return 0;
}

int imap_astring(struct imap_lexer *l, struct str *out)
{
    if (peek(l) == '"' || peek(l) == '{' ||
        (peek(l) == '~' && l->rest.len > 1 && l->rest.data[1] == '{'))
        return imap_string(l, out);
    *out = take_while(l, is_astring_char);
    return out->len ? 0 : -1;
}

int imap_nstring(struct imap_lexer *l, struct str *out, bool *nil)
{
    *nil = false;
    if (peek(l) == '"' || peek(l) == '{' || peek(l) == '~')
        return imap_string(l, out);
    struct str atom;
    if (imap_atom(l, &atom) < 0 || !str_equal_nocase(atom, STR("NIL")))
        return -1;
    *nil = true;
    *out = STR("");
    return 0;
}

static bool is_digit(char c)
{
    return ascii_is_digit(c);
}

int imap_number64(struct imap_lexer *l, uint64_t *out)
{
    return str_to_u64(take_while(l, is_digit), INT64_MAX, out);
}

int imap_number(struct imap_lexer *l, uint32_t *out)
{
    return str_to_u32(take_while(l, is_digit), UINT32_MAX, out);
}

/* ------------------------------------------------------------------ names */

static int utf16_add(struct buf *out, uint32_t code)
{
    char bytes[4];
    size_t len;
    if (code < 0x80) {
        bytes[0] = (char)code;
        len = 1;
    } else if (code < 0x800) {
        bytes[0] = (char)(0xC0 | code >> 6);
        bytes[1] = (char)(0x80 | (code & 63));
        len = 2;
    } else if (code < 0x10000) {
        bytes[0] = (char)(0xE0 | code >> 12);
        bytes[1] = (char)(0x80 | (code >> 6 & 63));
        bytes[2] = (char)(0x80 | (code & 63));
        len = 3;
    } else {
        bytes[0] = (char)(0xF0 | code >> 18);
        bytes[1] = (char)(0x80 | (code >> 12 & 63));
        bytes[2] = (char)(0x80 | (code >> 6 & 63));
        bytes[3] = (char)(0x80 | (code & 63));
        len = 4;
    }
    return buf_add_bytes(out, bytes, len);
}

static int base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (ascii_is_digit(c))
        return c - '0' + 52;
    return c == '+' ? 62 : c == ',' ? 63 : -1;
}

/* The part between & and -: UTF-16BE in base64 with a comma. */
static int utf7_shifted(struct str digits, struct buf *out)
{
    uint32_t bits = 0, high = 0;
    unsigned have = 0;
    for (size_t i = 0; i < digits.len; i++) {
        int digit = base64_digit(digits.data[i]);
        if (digit < 0)
            return -1;
        bits = (bits << 6 | (uint32_t)digit) & 0xFFFFFF;
        have += 6;
        if (have < 16)
            continue;
        have -= 16;
        uint32_t unit = bits >> have & 0xFFFF;
        if (unit >= 0xD800 && unit < 0xDC00) {
            if (high)
                return -1;
            high = unit;
        } else if (unit >= 0xDC00 && unit < 0xE000) {
            if (!high)
                return -1;
            utf16_add(out, 0x10000 + ((high - 0xD800) << 10) + (unit - 0xDC00));
            high = 0;
        } else {
            if (high)
                return -1;
            utf16_add(out, unit);
        }
    }
    return high || have >= 6 || (bits & ((1u << have) - 1)) ? -1 : 0;
}

int utf7_decode(struct str name, struct buf *out)
{
    while (name.len) {
        size_t shift = str_find_char(name, '&');
        buf_add(out, str_slice(name, 0, shift));
        if (shift == name.len)
            return 0;
        name = str_from_pos(name, shift + 1);
        size_t end = str_find_char(name, '-');
        if (end == name.len)
            return -1;
        if (end == 0)
            buf_add_char(out, '&');
        else if (utf7_shifted(str_slice(name, 0, end), out) < 0)
            return -1;
        name = str_from_pos(name, end + 1);
    }
    return 0;
}

/* The next character of UTF-8 that is known to be well-formed. */
static uint32_t utf8_next(struct str *text)
{
    const unsigned char *p = (const unsigned char *)text->data;
    size_t len = p[0] < 0x80 ? 1 : p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : 4;
    uint32_t code = len == 1 ? p[0] : p[0] & (0x7Fu >> len);
    for (size_t i = 1; i < len; i++)
        code = code << 6 | (p[i] & 63);
    *text = str_from_pos(*text, len);
    return code;
}

int utf7_encode(struct str name, struct buf *out)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";
    if (!str_is_utf8(name))
        return -1;
    while (name.len) {
        char c = name.data[0];
        if ((unsigned char)c >= 32 && (unsigned char)c < 127) {
            buf_add(out, c == '&' ? STR("&-") : str_slice(name, 0, 1));
            name = str_from_pos(name, 1);
            continue;
        }
        uint32_t bits = 0;
        unsigned have = 0;
        buf_add_char(out, '&');
        while (name.len &&
               ((unsigned char)name.data[0] < 32 || (unsigned char)name.data[0] > 126)) {
            uint32_t code = utf8_next(&name);
            uint32_t units[2] = {code, 0};
            size_t count = 1;
            if (code > 0xFFFF) {
                units[0] = 0xD800 + ((code - 0x10000) >> 10);
                units[1] = 0xDC00 + ((code - 0x10000) & 0x3FF);
                count = 2;
            }
            for (size_t i = 0; i < count; i++) {
                bits = bits << 16 | units[i];
                have += 16;
                while (have >= 6) {
                    have -= 6;
                    buf_add_char(out, alphabet[bits >> have & 63]);
                }
            }
        }
        if (have)
            buf_add_char(out, alphabet[bits << (6 - have) & 63]);
        buf_add_char(out, '-');
    }
    return out->failed ? -1 : 0;
}

/* Well-formed UTF-8 is taken as it is also before ENABLE: some clients send it, and nothing else can
 * be meant. */
static int name_decode(struct imap_lexer *l, struct str raw, struct str *out)
{
    if (raw.len > 4096 || memchr(raw.data ? raw.data : "", '\0', raw.len))
        return -1;
    if (l->utf8 || !str_is_ascii(raw)) {
        *out = raw;
        return str_is_utf8(raw) ? 0 : -1;
    }
    struct buf name = BUF_INIT(8192);
    /* What is not modified UTF-7 (a lone "&") is taken as it stands. */
    *out = utf7_decode(raw, &name) < 0 ? raw : arena_copy(l->arena, buf_str(&name));
    buf_free(&name);
    return 0;
}

int imap_mailbox(struct imap_lexer *l, struct str *out)
{
    struct str raw;
    if (imap_astring(l, &raw) < 0 || name_decode(l, raw, out) < 0)
        return -1;
    if (str_equal_nocase(*out, STR("INBOX")))
        *out = STR("INBOX");
    return 0;
}

static bool is_list_char(char c)
{
    return is_astring_char(c) || c == '%' || c == '*';
}

int imap_pattern(struct imap_lexer *l, struct str *out)
{
    struct str raw;
    if (peek(l) == '"' || peek(l) == '{') {
        if (imap_string(l, &raw) < 0)
            return -1;
    } else {
        raw = take_while(l, is_list_char);
        if (raw.len == 0)
            return -1;
    }
    return name_decode(l, raw, out);
}

/* ------------------------------------------------------------------ flags and sets */

uint8_t imap_system_flag(struct str name)
{
    for (size_t i = 0; i < countof(system_flags); i++)
        if (str_equal_nocase(name, system_flags[i].name))
            return system_flags[i].bit;
    return 0;
}

int imap_flags(struct imap_lexer *l, bool bare, struct imap_flags *out)
{
    *out = (struct imap_flags){0};
    bool list = imap_take(l, '(');
    if (!list && !bare)
        return -1;
    if (list && imap_take(l, ')'))
        return 0;
    do {
        struct str flag;
        if (imap_atom(l, &flag) < 0)
            return -1;
        uint8_t bit = imap_system_flag(flag);
        out->system |= bit;
        if (bit || str_equal_nocase(flag, STR("\\Recent")))
            continue;
        if (flag.data[0] == '\\' || out->keyword_count >= 1000)
            return -1; /* RFC 9051 §2.3.2: no other system flags */
        *ARENA_PUSH(l->arena, out->keywords, out->keyword_count) = flag;
    } while (imap_take(l, ' '));
    return !list || imap_take(l, ')') ? 0 : -1;
}

static int set_number(struct imap_lexer *l, uint32_t *out)
{
    if (imap_take(l, '*')) {
        *out = UINT32_MAX;
        return 0;
    }
    if (imap_number(l, out) < 0 || *out == 0)
        return -1;
    *out = MIN(*out, UINT32_MAX - 1);
    return 0;
}

int imap_set(struct imap_lexer *l, struct imap_set *out)
{
    *out = (struct imap_set){0};
    if (imap_take(l, '$')) {
        out->saved = true;
        return 0;
    }
    do {
        struct imap_range r;
        if (out->count >= IMAP_RANGES_MAX || set_number(l, &r.low) < 0)
            return -1;
        r.high = r.low;
        if (imap_take(l, ':') && set_number(l, &r.high) < 0)
            return -1;
        if (r.low > r.high && r.low != UINT32_MAX)
            r = (struct imap_range){r.high, r.low};
        *ARENA_PUSH(l->arena, out->ranges, out->count) = r;
    } while (imap_take(l, ','));
    return 0;
}
