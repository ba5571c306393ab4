/* str.c - views of bytes. */
#include "base/str.h"

struct str str_from(const char *c_string)
{
    return c_string ? str_of(c_string, strlen(c_string)) : str_of(NULL, 0);
}

bool str_equal(struct str a, struct str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

bool str_equal_nocase(struct str a, struct str b)
{
    return a.len == b.len && str_compare_nocase(a, b) == 0;
}

int str_compare(struct str a, struct str b)
{
    size_t common = MIN(a.len, b.len);
    int order = common ? memcmp(a.data, b.data, common) : 0;
    if (order)
        return order;
    return a.len < b.len ? -1 : a.len > b.len;
}

int str_compare_nocase(struct str a, struct str b)
{
    size_t common = MIN(a.len, b.len);
    for (size_t i = 0; i < common; i++) {
        int order = (unsigned char)ascii_lower(a.data[i]) - (unsigned char)ascii_lower(b.data[i]);
        if (order)
            return order;
    }
    return a.len < b.len ? -1 : a.len > b.len;
}

bool str_starts(struct str s, struct str prefix)
{
    return s.len >= prefix.len && str_equal(str_of(s.data, prefix.len), prefix);
}

bool str_starts_nocase(struct str s, struct str prefix)
{
    return s.len >= prefix.len && str_equal_nocase(str_of(s.data, prefix.len), prefix);
}

bool str_ends(struct str s, struct str suffix)
{
    return s.len >= suffix.len && str_equal(str_from_pos(s, s.len - suffix.len), suffix);
}

bool str_ends_nocase(struct str s, struct str suffix)
{
    return s.len >= suffix.len && str_equal_nocase(str_from_pos(s, s.len - suffix.len), suffix);
}

size_t str_find_char(struct str s, char c)
{
    const char *at = s.len ? memchr(s.data, c, s.len) : NULL;
    return at ? (size_t)(at - s.data) : s.len;
}

size_t str_find_last_char(struct str s, char c)
{
    const char *at = s.len ? memrchr(s.data, c, s.len) : NULL;
    return at ? (size_t)(at - s.data) : s.len;
}

size_t str_find(struct str s, struct str needle)
{
    if (needle.len == 0)
        return 0;
    const char *at = s.len ? memmem(s.data, s.len, needle.data, needle.len) : NULL;
    return at ? (size_t)(at - s.data) : s.len;
}

size_t str_find_nocase(struct str s, struct str needle)
{
    for (size_t i = 0; i + needle.len <= s.len; i++)
        if (str_starts_nocase(str_from_pos(s, i), needle))
            return i;
    return s.len;
}

bool str_has_char(struct str s, char c)
{
    return str_find_char(s, c) < s.len;
}

struct str str_from_pos(struct str s, size_t start)
{
    start = MIN(start, s.len);
    return str_of(start ? s.data + start : s.data, s.len - start);
}

struct str str_slice(struct str s, size_t start, size_t len)
{
    s = str_from_pos(s, start);
    return str_of(s.data, MIN(len, s.len));
}

struct str str_trim_end(struct str s)
{
    while (s.len && ascii_is_space(s.data[s.len - 1]))
        s.len--;
    return s;
}

struct str str_trim(struct str s)
{
    while (s.len && ascii_is_space(s.data[0]))
        s = str_from_pos(s, 1);
    return str_trim_end(s);
}

bool str_next_part(struct str *rest, char separator, struct str *part)
{
    if (!rest->data)
        return false;
    size_t at = str_find_char(*rest, separator);
    *part = str_of(rest->data, at);
    *rest = at < rest->len ? str_from_pos(*rest, at + 1) : str_of(NULL, 0);
    return true;
}

int str_to_u64(struct str s, uint64_t max, uint64_t *out)
{
    uint64_t value = 0;
    if (s.len == 0 || s.len > 20)
        return -1;
    for (size_t i = 0; i < s.len; i++) {
        if (!ascii_is_digit(s.data[i]))
            return -1;
        if (__builtin_mul_overflow(value, 10u, &value) ||
            __builtin_add_overflow(value, (uint64_t)(s.data[i] - '0'), &value))
            return -1;
    }
    if (value > max)
        return -1;
    *out = value;
    return 0;
}

int str_to_u32(struct str s, uint32_t max, uint32_t *out)
{
    uint64_t value;
    if (str_to_u64(s, max, &value) < 0)
        return -1;
    *out = (uint32_t)value;
    return 0;
}

bool str_is_ascii(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.data[i] > 127)
            return false;
    return true;
}

/* How many continuation bytes follow lead, and the range the first of them must be in. -1: no lead. */
static int utf8_follow(unsigned char lead, unsigned char *low, unsigned char *high)
{
    *low = 0x80;
    *high = 0xBF;
    if (lead < 0x80)
        return 0;
    if (lead >= 0xC2 && lead <= 0xDF)
        return 1;
    if (lead >= 0xE0 && lead <= 0xEF) {
        if (lead == 0xE0)
            *low = 0xA0;
        if (lead == 0xED)
            *high = 0x9F;
        return 2;
    }
    if (lead >= 0xF0 && lead <= 0xF4) {
        if (lead == 0xF0)
            *low = 0x90;
        if (lead == 0xF4)
            *high = 0x8F;
        return 3;
    }
    return -1;
}

bool str_is_utf8(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char low, high;
        int follow = utf8_follow((unsigned char)s.data[i], &low, &high);
        if (follow < 0 || (size_t)follow > s.len - i - 1)
            return false;
        for (; follow > 0; follow--) {
            unsigned char next = (unsigned char)s.data[++i];
            if (next < low || next > high)
                return false;
            low = 0x80;
            high = 0xBF;
        }
    }
    return true;
}

int ascii_hex_value(char c)
{
    if (ascii_is_digit(c))
        return c - '0';
    c = ascii_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}
