/* header.c - headers. See header.h. */
#include "message/header.h"

#include "message/charset.h"

/* The line at the front of text, with its end; *content without. */
static size_t line_length(struct str text, struct str *content)
{
    size_t end = str_find_char(text, '\n');
    size_t with = end < text.len ? end + 1 : text.len;
    size_t len = end;
    if (end < text.len && len && text.data[len - 1] == '\r')
        len--;
    *content = str_of(text.data, len);
    return with;
}

/* RFC 5322 §2.2: printable ASCII but the colon; white space before the colon is forgiven. */
static size_t field_name_length(struct str line)
{
    size_t i = 0;
    while (i < line.len && line.data[i] > 32 && line.data[i] < 127 && line.data[i] != ':')
        i++;
    size_t name = i;
    while (i < line.len && (line.data[i] == ' ' || line.data[i] == '\t'))
        i++;
    return name && i < line.len && line.data[i] == ':' ? name : 0;
}

size_t header_length(struct str text)
{
    size_t at = 0;
    while (at < text.len) {
        struct str line;
        size_t length = line_length(str_from_pos(text, at), &line);
        if (line.len == 0)
            return at + length;
        at += length;
    }
    return at;
}

bool header_next(struct str header, size_t *at, struct header_field *out)
{
    while (*at < header.len) {
        struct str line;
        size_t start = *at;
        *at += line_length(str_from_pos(header, start), &line);
        if (line.len == 0)
            return false;
        size_t name = field_name_length(line);
        if (name == 0)
            continue;
        size_t content_end = start + line.len;
        while (*at < header.len && (header.data[*at] == ' ' || header.data[*at] == '\t')) {
            size_t fold = *at;
            *at += line_length(str_from_pos(header, fold), &line);
            content_end = fold + line.len;
        }
        size_t colon = start + str_find_char(str_from_pos(header, start), ':');
        out->name = str_slice(header, start, name);
        out->value = str_slice(header, colon + 1, content_end - colon - 1);
        out->raw = str_slice(header, start, *at - start);
        return true;
    }
    return false;
}

bool header_find(struct str header, struct str name, struct header_field *out)
{
    size_t at = 0;
    while (header_next(header, &at, out))
        if (str_equal_nocase(out->name, name))
            return true;
    return false;
}

struct str header_unfold(struct str value, struct arena *arena)
{
    value = str_trim(value);
    if (!str_has_char(value, '\n') && !str_has_char(value, '\r'))
        return value;
    char *text = arena_alloc(arena, value.len + 1);
    size_t len = 0;
    for (size_t i = 0; i < value.len; i++)
        if (value.data[i] != '\r' && value.data[i] != '\n')
            text[len++] = value.data[i];
    return str_of(text, len);
}

/* ------------------------------------------------------------------ parameters */

struct reader {
    struct str text;
    size_t at;
};

static void skip_space(struct reader *r)
{
    unsigned depth = 0;
    while (r->at < r->text.len) {
        char c = r->text.data[r->at];
        if (c == '(')
            depth++;
        else if (c == ')' && depth)
            depth--;
        else if (c == '\\' && depth)
            r->at++;
        else if (!depth && !ascii_is_space(c))
            return;
        r->at++;
    }
    r->at = MIN(r->at, r->text.len);
}

/* A token, or a quoted string; up to white space or ";" for values that are neither. */
static struct str read_value(struct reader *r, struct arena *arena)
{
    if (r->at < r->text.len && r->text.data[r->at] == '"') {
        size_t end = r->at + 1, len = 0;
        while (end < r->text.len && r->text.data[end] != '"')
            end += r->text.data[end] == '\\' ? 2 : 1;
        char *plain = arena_alloc(arena, MIN(end, r->text.len) - r->at + 1);
        for (r->at++; r->at < r->text.len && r->text.data[r->at] != '"'; r->at++) {
            if (r->text.data[r->at] == '\\' && r->at + 1 < r->text.len)
                r->at++;
            if (r->text.data[r->at] != '\r' && r->text.data[r->at] != '\n')
                plain[len++] = r->text.data[r->at];
        }
        r->at = MIN(r->at + 1, r->text.len);
        return str_of(plain, len);
    }
    size_t start = r->at;
    while (r->at < r->text.len && r->text.data[r->at] != ';' && r->text.data[r->at] != '(' &&
           !ascii_is_space(r->text.data[r->at]))
        r->at++;
    return str_slice(r->text, start, r->at - start);
}

static int percent_decode(struct buf *out, struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        int high = i + 2 < text.len && text.data[i] == '%' ? ascii_hex_value(text.data[i + 1]) : -1;
        int low = high >= 0 ? ascii_hex_value(text.data[i + 2]) : -1;
        if (low >= 0) {
            buf_add_char(out, (char)(high << 4 | low));
            i += 2;
        } else {
            buf_add_char(out, text.data[i]);
        }
    }
    return 0;
}

/* A parameter as it stands: "name*2*=..." is name, section 2, encoded. */
struct raw_parameter {
    struct str name, value;
    uint32_t section;
    bool encoded, sectioned;
};

static void raw_name(struct raw_parameter *p, struct str name, struct arena *arena)
{
    p->encoded = name.len > 1 && name.data[name.len - 1] == '*';
    if (p->encoded)
        name.len--;
    size_t star = str_find_char(name, '*');
    if (star < name.len && str_to_u32(str_from_pos(name, star + 1), 999, &p->section) == 0) {
        p->sectioned = true;
        name.len = star;
    }
    p->name = arena_lower(arena, name);
}

/* RFC 2231 §3, §4: joins the sections of one parameter in order and decodes the encoded ones. */
static struct str sections_join(const struct raw_parameter *raw, size_t count, struct str name,
                                struct arena *arena)
{
    struct buf bytes = BUF_INIT(65536), text = BUF_INIT(65536 * 4);
    struct str charset = str_of(NULL, 0);
    bool any_encoded = false;
    for (uint32_t section = 0; section < PARAMETERS_MAX; section++) {
        const struct raw_parameter *p = NULL;
        for (size_t i = 0; i < count && !p; i++)
            if (raw[i].section == section && str_equal(raw[i].name, name) &&
                (raw[i].sectioned || raw[i].encoded))
                p = &raw[i];
        if (!p)
            break;
        struct str value = p->value;
        if (p->encoded && section == 0) { /* charset'language'text */
            struct str rest = value, language;
            if (str_next_part(&rest, '\'', &charset) && str_next_part(&rest, '\'', &language) &&
                rest.data)
                value = rest;
            else
                charset = str_of(NULL, 0);
        }
        any_encoded |= p->encoded;
        if (p->encoded)
            percent_decode(&bytes, value);
        else
            buf_add(&bytes, value);
    }
    if (any_encoded)
        charset_to_utf8(charset, buf_str(&bytes), &text);
    else
        buf_add(&text, buf_str(&bytes));
    struct str result = arena_copy(arena, buf_str(&text));
    buf_free(&bytes);
    buf_free(&text);
    return result;
}

void parameters_parse(struct str value, struct arena *arena, struct parameterized *out)
{
    struct reader r = {.text = value};
    struct raw_parameter *raw = NULL;
    size_t raw_count = 0;
    *out = (struct parameterized){0};
    skip_space(&r);
    size_t start = r.at;
    while (r.at < value.len && value.data[r.at] != ';' && value.data[r.at] != '(')
        r.at++;
    struct str main_value = arena_lower(arena, str_trim(str_slice(value, start, r.at - start)));
    out->value = main_value;
    while (r.at < value.len && raw_count < PARAMETERS_MAX) {
        skip_space(&r);
        if (r.at < value.len && value.data[r.at] == ';') {
            r.at++;
            continue;
        }
        start = r.at;
        while (r.at < value.len && value.data[r.at] != '=' && value.data[r.at] != ';')
            r.at++;
        struct str name = str_trim(str_slice(value, start, r.at - start));
        if (r.at >= value.len || value.data[r.at] == ';')
            continue;
        r.at++;
        skip_space(&r);
        struct raw_parameter p = {.value = read_value(&r, arena)};
        raw_name(&p, name, arena);
        if (p.name.len) {
            *ARENA_PUSH(arena, raw, raw_count) = p;
            *ARENA_PUSH(arena, out->raw, out->raw_count) =
                (struct parameter){arena_lower(arena, name), p.value};
        }
        while (r.at < value.len && value.data[r.at] != ';')
            r.at++;
    }
    for (size_t i = 0; i < raw_count; i++) {
        bool known = false;
        for (size_t k = 0; k < out->count && !known; k++)
            known = str_equal(out->parameters[k].name, raw[i].name);
        if (known)
            continue;
        struct parameter p = {.name = raw[i].name, .value = raw[i].value};
        if (raw[i].sectioned || raw[i].encoded)
            p.value = sections_join(raw, raw_count, raw[i].name, arena);
        *ARENA_PUSH(arena, out->parameters, out->count) = p;
    }
}

struct str parameter_find(const struct parameterized *p, struct str name)
{
    for (size_t i = 0; i < p->count; i++)
        if (str_equal(p->parameters[i].name, name))
            return p->parameters[i].value;
    return str_of(NULL, 0);
}
