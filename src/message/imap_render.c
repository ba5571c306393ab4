/* imap_render.c - ENVELOPE, BODYSTRUCTURE and BODY. See imap_render.h. */
#include "message/imap_render.h"

#include "message/address.h"

enum { QUOTED_MAX = 1000 };

void imap_put_string(struct buf *out, struct str s)
{
    bool quoted = s.len <= QUOTED_MAX, plain = true, nul = false;
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.data[i];
        if (c == '"' || c == '\\')
            plain = false;
        else if (c == 0)
            nul = true;
        else if (c == '\r' || c == '\n' || c > 126)
            quoted = false;
    }
    if (quoted && plain && !nul) {
        buf_add_char(out, '"');
        buf_add(out, s);
        buf_add_char(out, '"');
        return;
    }
    size_t nuls = 0;
    for (size_t i = 0; nul && i < s.len; i++)
        nuls += s.data[i] == '\0';
    if (!quoted)
        buf_printf(out, "{%zu}\r\n", s.len - nuls);
    else
        buf_add_char(out, '"');
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] == '\0')
            continue;
        if (quoted && (s.data[i] == '"' || s.data[i] == '\\'))
            buf_add_char(out, '\\');
        buf_add_char(out, s.data[i]);
    }
    if (quoted)
        buf_add_char(out, '"');
}

void imap_put_nstring(struct buf *out, struct str s)
{
    if (s.len == 0)
        buf_add_literal(out, "NIL");
    else
        imap_put_string(out, s);
}

/* ------------------------------------------------------------------ ENVELOPE */

enum envelope_field {
    FIELD_DATE,
    FIELD_SUBJECT,
    FIELD_FROM,
    FIELD_SENDER,
    FIELD_REPLY_TO,
    FIELD_TO,
    FIELD_CC,
    FIELD_BCC,
    FIELD_IN_REPLY_TO,
    FIELD_MESSAGE_ID,
    FIELD_COUNT
};
static const struct str field_names[FIELD_COUNT] = {
    STR_INIT("Date"),        STR_INIT("Subject"),   STR_INIT("From"), STR_INIT("Sender"),
    STR_INIT("Reply-To"),    STR_INIT("To"),        STR_INIT("Cc"),   STR_INIT("Bcc"),
    STR_INIT("In-Reply-To"), STR_INIT("Message-ID")};

static void address_render(struct buf *out, const struct header_address *a)
{
    if (a->kind == HEADER_GROUP_END) {
        buf_add_literal(out, "(NIL NIL NIL NIL)");
        return;
    }
    if (a->kind ==
        HEADER_GROUP_START) { /* RFC 9051 §7.5.2: the host is NIL, the mailbox the name */
        buf_add_literal(out, "(NIL NIL ");
        imap_put_string(out, a->name);
        buf_add_literal(out, " NIL)");
        return;
    }
    buf_add_char(out, '(');
    imap_put_nstring(out, a->name);
    buf_add_char(out, ' ');
    imap_put_nstring(out, a->route);
    buf_add_char(out, ' ');
    /* NIL would say that this is a group. */
    imap_put_string(out, a->mailbox.len ? a->mailbox : STR("MISSING_MAILBOX"));
    buf_add_char(out, ' ');
    imap_put_string(out, a->host.len ? a->host : STR("MISSING_DOMAIN"));
    buf_add_char(out, ')');
}

/* True when something was rendered (not NIL). */
static bool addresses_render(struct buf *out, struct str value, const struct summary_limits *limits,
                             struct arena *arena)
{
    struct header_address *list;
    size_t count = header_addresses(value, limits->max_addresses, arena, &list);
    if (count == 0) {
        buf_add_literal(out, "NIL");
        return false;
    }
    buf_add_char(out, '(');
    for (size_t i = 0; i < count; i++)
        address_render(out, &list[i]);
    buf_add_char(out, ')');
    return true;
}

void imap_envelope(struct buf *out, struct str header, const struct summary_limits *limits,
                   struct arena *arena)
{
    struct str values[FIELD_COUNT] = {{0}};
    struct header_field field;
    size_t at = 0;
    uint32_t seen = 0;
    while (header_next(header, &at, &field) && seen++ < limits->max_fields)
        for (size_t i = 0; i < FIELD_COUNT; i++)
            if (!values[i].data && str_equal_nocase(field.name, field_names[i]))
                values[i] = header_unfold(field.value, arena);
    buf_add_char(out, '(');
    imap_put_nstring(out, values[FIELD_DATE]);
    buf_add_char(out, ' ');
    imap_put_nstring(out, values[FIELD_SUBJECT]);
    struct str from = str_of(NULL, 0);
    for (size_t i = FIELD_FROM; i <= FIELD_BCC; i++) {
        size_t before = out->len + 1;
        buf_add_char(out, ' ');
        bool any = addresses_render(out, values[i], limits, arena);
        if (i == FIELD_FROM)
            from = arena_copy(arena, str_from_pos(buf_str(out), before));
        else if (!any && (i == FIELD_SENDER || i == FIELD_REPLY_TO)) {
            /* RFC 9051 §7.5.2: they default to From. */
            buf_truncate(out, before);
            buf_add(out, from);
        }
    }
    buf_add_char(out, ' ');
    imap_put_nstring(out, values[FIELD_IN_REPLY_TO]);
    buf_add_char(out, ' ');
    imap_put_nstring(out, values[FIELD_MESSAGE_ID]);
    buf_add_char(out, ')');
}

/* ------------------------------------------------------------------ BODYSTRUCTURE */

struct renderer {
    struct buf *out;
    struct str message;
    const struct mime_tree *tree;
    bool extended;
    const struct summary_limits *limits;
    struct arena *arena;
};

static void parameters_render(struct buf *out, const struct parameterized *p,
                              struct str missing_name, struct str missing_value)
{
    bool missing = missing_name.len && parameter_find(p, missing_name).len == 0;
    if (p->raw_count == 0 && !missing) {
        buf_add_literal(out, "NIL");
        return;
    }
    buf_add_char(out, '(');
    for (size_t i = 0; i < p->raw_count; i++) {
        if (i)
            buf_add_char(out, ' ');
        imap_put_string(out, p->raw[i].name);
        buf_add_char(out, ' ');
        imap_put_string(out, p->raw[i].value);
    }
    if (missing) {
        if (p->raw_count)
            buf_add_char(out, ' ');
        imap_put_string(out, missing_name);
        buf_add_char(out, ' ');
        imap_put_string(out, missing_value);
    }
    buf_add_char(out, ')');
}

/* Disposition, language, location: the extension data that leaves and multiparts have in common. */
static void extension_render(struct renderer *r, const struct mime_headers *h)
{
    struct buf *out = r->out;
    if (h->has_disposition) {
        buf_add_char(out, '(');
        imap_put_string(out, h->disposition.value);
        buf_add_char(out, ' ');
        parameters_render(out, &h->disposition, STR(""), STR(""));
        buf_add_char(out, ')');
    } else {
        buf_add_literal(out, "NIL");
    }
    buf_add_char(out, ' ');
    struct str rest = h->language, language;
    size_t languages = 0;
    while (rest.len && str_next_part(&rest, ',', &language)) {
        language = str_trim(language);
        if (language.len == 0)
            continue;
        buf_add_char(out, languages++ ? ' ' : '(');
        imap_put_string(out, language);
    }
    if (languages)
        buf_add_char(out, ')');
    else
        buf_add_literal(out, "NIL");
    buf_add_char(out, ' ');
    imap_put_nstring(out, h->location);
}

static uint32_t part_render(struct renderer *r, uint32_t index);

/* A multipart's children, then its subtype. The index behind the last descendant. */
static uint32_t multipart_render(struct renderer *r, uint32_t index)
{
    const struct mime_part *part = &r->tree->parts[index];
    uint32_t next = index + 1;
    buf_add_char(r->out, '(');
    while (next < r->tree->count && r->tree->parts[next].parent == index)
        next = part_render(r, next);
    buf_add_char(r->out, ' ');
    imap_put_string(r->out, str_from_pos(part->headers.type.value, 10));
    if (r->extended) {
        buf_add_char(r->out, ' ');
        parameters_render(r->out, &part->headers.type, STR(""), STR(""));
        buf_add_char(r->out, ' ');
        extension_render(r, &part->headers);
    }
    buf_add_char(r->out, ')');
    return next;
}

static uint32_t leaf_render(struct renderer *r, uint32_t index)
{
    const struct mime_part *part = &r->tree->parts[index];
    const struct mime_headers *h = &part->headers;
    struct buf *out = r->out;
    uint32_t next = index + 1;
    size_t slash = str_find_char(h->type.value, '/');
    bool text = str_starts(h->type.value, STR("text/"));
    buf_add_char(out, '(');
    imap_put_string(out, str_slice(h->type.value, 0, slash));
    buf_add_char(out, ' ');
    imap_put_string(out, str_from_pos(h->type.value, slash + 1));
    buf_add_char(out, ' ');
    /* RFC 2045 §5.2: plain text without a charset is in ASCII. */
    parameters_render(out, &h->type, text && h->type.raw_count == 0 ? STR("charset") : STR(""),
                      STR("us-ascii"));
    buf_add_char(out, ' ');
    imap_put_nstring(out, h->id);
    buf_add_char(out, ' ');
    imap_put_nstring(out, h->description);
    buf_add_char(out, ' ');
    imap_put_string(out, h->encoding.len ? h->encoding : STR("7bit"));
    buf_printf(out, " %llu", (unsigned long long)part->body_size);
    if (part->kind == PART_MESSAGE) {
        const struct mime_part *inner = &r->tree->parts[next];
        buf_add_char(out, ' ');
        imap_envelope(out, str_slice(r->message, inner->header_offset, inner->header_size),
                      r->limits, r->arena);
        buf_add_char(out, ' ');
        next = part_render(r, next);
    }
    if (text || part->kind == PART_MESSAGE)
        buf_printf(out, " %u", part->body_lines);
    if (r->extended) {
        buf_add_char(out, ' ');
        imap_put_nstring(out, h->md5);
        buf_add_char(out, ' ');
        extension_render(r, h);
    }
    buf_add_char(out, ')');
    return next;
}

/* Recursion is bounded by the parser's max_depth. */
static uint32_t part_render(struct renderer *r, uint32_t index)
{
    return r->tree->parts[index].kind == PART_MULTIPART ? multipart_render(r, index)
                                                        : leaf_render(r, index);
}

void imap_bodystructure(struct buf *out, struct str message, const struct mime_tree *tree,
                        bool extended, const struct summary_limits *limits, struct arena *arena)
{
    struct renderer r = {out, message, tree, extended, limits, arena};
    part_render(&r, 0);
}
