/* mime.c - the tree of MIME parts. See mime.h.
 *
 * One pass over the lines, with a stack of the multiparts that are open. A line that begins with "--"
 * is compared with the boundaries of the stack, innermost first: so a missing final boundary, or one
 * inside another, ends what it must end. The rules are those of RFC 2046 §5.1.
 */
#include "message/mime.h"

enum { STACK_MAX = 64 };

struct open_multipart {
    uint32_t part;
    struct str boundary;
    uint32_t children;
    bool closed; /* its final boundary was seen: what follows is its epilogue */
};

enum where { IN_HEADER, IN_BODY };

struct parser {
    struct str message;
    const struct summary_limits *limits;
    struct arena *arena;
    struct mime_tree *tree;
    struct open_multipart stack[STACK_MAX];
    size_t depth;
    uint32_t current; /* the part whose header or body is being read */
    enum where where;
    uint32_t nesting; /* of messages inside messages */
};

static enum part_encoding encoding_of(struct str name)
{
    static const struct {
        struct str name;
        enum part_encoding encoding;
    } names[] = {{STR_INIT("7bit"), ENCODING_7BIT},
                 {STR_INIT("8bit"), ENCODING_8BIT},
                 {STR_INIT("binary"), ENCODING_BINARY},
                 {STR_INIT("quoted-printable"), ENCODING_QUOTED_PRINTABLE},
                 {STR_INIT("base64"), ENCODING_BASE64}};
    if (name.len == 0)
        return ENCODING_7BIT;
    for (size_t i = 0; i < countof(names); i++)
        if (str_equal_nocase(name, names[i].name))
            return names[i].encoding;
    return ENCODING_UNKNOWN;
}

static void field_take(struct mime_headers *h, const struct header_field *f, struct arena *arena)
{
    /* All names of interest begin with C; most fields are passed over here. */
    if (f->name.len < 10 || ascii_lower(f->name.data[0]) != 'c' ||
        !str_starts_nocase(f->name, STR("Content-")))
        return;
    struct str what = str_from_pos(f->name, 8);
    struct str value = header_unfold(f->value, arena);
    if (str_equal_nocase(what, STR("Type")) && !h->type.value.len)
        parameters_parse(value, arena, &h->type);
    else if (str_equal_nocase(what, STR("Disposition")) && !h->has_disposition) {
        parameters_parse(value, arena, &h->disposition);
        h->has_disposition = h->disposition.value.len > 0;
    } else if (str_equal_nocase(what, STR("Transfer-Encoding")) && !h->encoding.len)
        h->encoding = str_trim(
            str_slice(value, 0, MIN(str_find_char(value, '('), str_find_char(value, ';'))));
    else if (str_equal_nocase(what, STR("ID")) && !h->id.len)
        h->id = value;
    else if (str_equal_nocase(what, STR("Description")) && !h->description.len)
        h->description = value;
    else if (str_equal_nocase(what, STR("MD5")) && !h->md5.len)
        h->md5 = value;
    else if (str_equal_nocase(what, STR("Language")) && !h->language.len)
        h->language = value;
    else if (str_equal_nocase(what, STR("Location")) && !h->location.len)
        h->location = value;
}

static bool is_type(struct str value)
{
    size_t slash = str_find_char(value, '/');
    return slash > 0 && slash + 1 < value.len && !str_has_char(str_from_pos(value, slash + 1), '/');
}

/* Reads the header of a part; default_type is what RFC 2046 §5.1.5 says for this place. */
static void headers_read(struct parser *p, struct mime_part *part, struct str default_type)
{
    struct str header = str_slice(p->message, part->header_offset, part->header_size);
    struct header_field field;
    size_t at = 0;
    uint32_t fields = 0;
    while (header_next(header, &at, &field)) {
        if (++fields > p->limits->max_fields) {
            p->tree->truncated = true;
            break;
        }
        field_take(&part->headers, &field, p->arena);
    }
    struct parameterized *type = &part->headers.type;
    if (type->value.len == 0 || !is_type(type->value)) {
        bool named = type->value.len > 0; /* "Content-Type: text" and the like */
        type->value = default_type;
        if (named && str_equal(default_type, STR("message/rfc822")))
            type->value = STR("text/plain");
    }
    part->encoding = encoding_of(part->headers.encoding);
}

static struct mime_part *part_open(struct parser *p, uint32_t parent, uint32_t number,
                                   uint64_t offset)
{
    size_t index = p->tree->count;
    struct mime_part *part = ARENA_PUSH(p->arena, p->tree->parts, p->tree->count);
    *part = (struct mime_part){.parent = parent, .number = number, .header_offset = offset};
    p->current = (uint32_t)index;
    p->where = IN_HEADER;
    return part;
}

static struct str default_type_of(const struct parser *p, const struct mime_part *part)
{
    if (p->current == 0)
        return STR("text/plain");
    const struct mime_part *parent = &p->tree->parts[part->parent];
    bool digest = parent->kind == PART_MULTIPART &&
                  str_equal(parent->headers.type.value, STR("multipart/digest"));
    return digest ? STR("message/rfc822") : STR("text/plain");
}

/* The header of the current part ended at end (its body begins there): what kind of part is it? */
static void header_end(struct parser *p, uint64_t end)
{
    struct mime_part *part = &p->tree->parts[p->current];
    part->header_size = end - part->header_offset;
    part->body_offset = end;
    headers_read(p, part, default_type_of(p, part));
    p->where = IN_BODY;
    struct parameterized *type = &part->headers.type;
    bool plain_encoding =
        part->encoding != ENCODING_BASE64 && part->encoding != ENCODING_QUOTED_PRINTABLE;
    bool deep = p->depth + p->nesting >= p->limits->max_depth || p->depth + 1 >= STACK_MAX;
    bool multipart = str_starts(type->value, STR("multipart/"));
    bool message = str_equal(type->value, STR("message/rfc822")) ||
                   str_equal(type->value, STR("message/global"));
    struct str boundary = str_trim_end(parameter_find(type, STR("boundary")));
    if (multipart && (boundary.len == 0 || deep)) {
        p->tree->truncated |= deep;
        type->value = STR("application/octet-stream");
    } else if (multipart) {
        part->kind = PART_MULTIPART;
        p->stack[p->depth++] = (struct open_multipart){.part = p->current, .boundary = boundary};
    } else if (message && plain_encoding && !deep && p->tree->count < p->limits->max_parts) {
        part->kind = PART_MESSAGE;
        p->nesting++;
        part_open(p, p->current, 1, end);
    } else if (message) {
        p->tree->truncated |= deep;
        type->value = STR("application/octet-stream");
    }
}

static uint32_t lines_count(struct str body)
{
    uint32_t lines = 0;
    const char *at = body.data, *end = body.data + body.len;
    while (at < end && (at = memchr(at, '\n', (size_t)(end - at)))) {
        lines++;
        at++;
    }
    return lines;
}

/* The body ends at end, or where it begins when that is later: the line end in front of a delimiter may
 * belong to the header, or to the delimiter before. Gives the end. */
static uint64_t body_end(struct parser *p, struct mime_part *part, uint64_t end)
{
    end = MAX(end, part->body_offset);
    part->body_size = end - part->body_offset;
    part->body_lines = lines_count(str_slice(p->message, part->body_offset, part->body_size));
    return end;
}

/* Ends the current part and its ancestors up to (not including) the part `until`, at offset end. */
static void parts_end(struct parser *p, uint32_t until, uint64_t end)
{
    if (p->where == IN_HEADER) {
        uint64_t header_stop = MAX(end, p->tree->parts[p->current].header_offset);
        uint32_t last = p->current;
        header_end(p, header_stop);
        /* A message without a body inside a message: its own header is empty too. */
        while (p->current != last && p->where == IN_HEADER) {
            last = p->current;
            header_end(p, header_stop);
        }
    }
    uint32_t index = p->current;
    while (index != until) {
        struct mime_part *part = &p->tree->parts[index];
        if (part->kind == PART_MESSAGE)
            p->nesting--;
        end = body_end(p, part, end); /* so a part does not end before the ones inside it */
        while (p->depth && p->stack[p->depth - 1].part == index)
            p->depth--;
        if (index == 0)
            break;
        index = part->parent;
    }
    p->current = until;
    p->where = IN_BODY;
}

/* Is line (without its end) a delimiter of boundary? 1 a delimiter, 2 the final one, 0 no. */
static int delimiter_kind(struct str line, struct str boundary)
{
    struct str rest = str_from_pos(line, 2);
    if (!str_starts(rest, boundary))
        return 0;
    rest = str_from_pos(rest, boundary.len);
    if (str_starts(rest, STR("--")))
        return 2;
    return str_trim(rest).len == 0 ? 1 : 0;
}

/* The end of what stands before a delimiter: the line end in front belongs to the delimiter. */
static uint64_t before_line(struct str message, uint64_t at)
{
    if (at && message.data[at - 1] == '\n')
        at--;
    if (at && message.data[at - 1] == '\r')
        at--;
    return at;
}

/* A line that begins with "--". True when it was a delimiter. */
static bool delimiter_line(struct parser *p, struct str line, uint64_t start, uint64_t next)
{
    for (size_t i = p->depth; i-- > 0;) {
        struct open_multipart *m = &p->stack[i];
        int kind = m->closed ? 0 : delimiter_kind(line, m->boundary);
        if (kind == 0)
            continue;
        if (kind == 1 && p->tree->count >= p->limits->max_parts) {
            p->tree->truncated = true; /* the rest stays in the body of the last part */
            return true;
        }
        parts_end(p, m->part, before_line(p->message, start));
        if (kind == 2)
            m->closed = true;
        else
            part_open(p, m->part, ++m->children, next);
        return true;
    }
    return false;
}

/* RFC 3501's grammar has no multipart without parts: one that has none gets an empty one. */
static void empty_multiparts_fill(struct parser *p)
{
    struct mime_tree *tree = p->tree;
    for (size_t i = 0; i < tree->count; i++) {
        bool has_child = i + 1 < tree->count && tree->parts[i + 1].parent == i;
        if (tree->parts[i].kind == PART_MULTIPART && !has_child)
            tree->parts[i].kind = PART_LEAF, tree->parts[i].headers.type.value = STR("text/plain");
    }
}

void mime_parse(struct str message, const struct summary_limits *limits, struct arena *arena,
                struct mime_tree *out)
{
    struct parser parser = {.message = message, .limits = limits, .arena = arena, .tree = out};
    struct parser *p = &parser;
    *out = (struct mime_tree){0};
    part_open(p, 0, 0, 0);
    uint64_t at = 0;
    while (at < message.len) {
        /* In the body of a message that is not a multipart nothing more can happen. */
        if (p->where == IN_BODY && p->depth == 0)
            break;
        struct str rest = str_from_pos(message, at);
        size_t end = str_find_char(rest, '\n');
        uint64_t next = at + end + (end < rest.len);
        struct str line = str_slice(rest, 0, end);
        if (line.len && line.data[line.len - 1] == '\r')
            line.len--;
        bool delimiter =
            p->depth && str_starts(line, STR("--")) && delimiter_line(p, line, at, next);
        if (!delimiter && p->where == IN_HEADER && line.len == 0)
            header_end(p, next);
        at = next;
    }
    parts_end(p, UINT32_MAX, message.len);
    empty_multiparts_fill(p);
}
