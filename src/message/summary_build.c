/* summary_build.c - making the summary block of a message. See summary.h and summary_block.h. */
#include "message/address.h"
#include "message/charset.h"
#include "message/date.h"
#include "message/encoded_word.h"
#include "message/imap_render.h"
#include "message/mime.h"
#include "message/subject.h"
#include "message/summary_block.h"
#include "message/transfer.h"

enum {
    STRING_MAX = 64 * 1024,
    IDS_MAX = 200,
    ID_MAX = 998,
    PREVIEW_CHARACTERS = 200,
    PREVIEW_SOURCE = 8192,
    POOL_SEARCHED = 4096,
    SUBJECT_SOURCE = 16 * 1024, /* as it stands in the header */
    SUBJECT_MAX = 2048,
    PART_STRING_MAX = 1000,
};

struct range {
    uint32_t offset, length;
};

struct builder {
    struct str message;
    const struct summary_limits *limits;
    struct arena arena;
    struct mime_tree tree;
    struct buf pool; /* offsets are relative to it until the block is put together */
    struct range strings[SUMMARY_STRING_COUNT];
    uint32_t flags;
};

/* ------------------------------------------------------------------ the pool */

/* Where s stands in the pool; added unless its bytes are there already. Past the block's bound nothing
 * is added, and the summary says so. */
static struct range pool_add(struct builder *b, struct str s)
{
    if (s.len == 0)
        return (struct range){0, 0};
    /* Only the front of the pool is searched: what is worth sharing stands there, and the time stays
     * linear however many parts there are. */
    struct str front = str_slice(buf_str(&b->pool), 0, POOL_SEARCHED);
    size_t at = str_find(front, s);
    if (at == front.len) {
        at = b->pool.len;
        if (buf_add(&b->pool, s) < 0) {
            b->pool.failed = false;
            b->flags |= SUMMARY_TRUNCATED;
            return (struct range){0, 0};
        }
    }
    return (struct range){(uint32_t)at, (uint32_t)s.len};
}

static void string_set(struct builder *b, enum summary_string which, struct str s)
{
    b->strings[which] = pool_add(b, s);
}

/* ------------------------------------------------------------------ the message's header */

/* "Name <local@host>, ..." decoded; the first address's local part and display name as well. */
static void addresses_set(struct builder *b, struct str value, enum summary_string whole,
                          int first_mailbox, int first_display)
{
    struct header_address *list;
    struct buf text = BUF_INIT(STRING_MAX), folded = BUF_INIT(1024);
    size_t count = header_addresses(value, b->limits->max_addresses, &b->arena, &list);
    const struct header_address *first = NULL;
    for (size_t i = 0; i < count; i++) {
        const struct header_address *a = &list[i];
        if (a->kind != HEADER_ADDRESS)
            continue;
        if (!first)
            first = a;
        if (text.len)
            buf_add_literal(&text, ", ");
        encoded_words_decode(a->name, &text);
        buf_printf(&text, "%s<", a->name.len ? " " : "");
        charset_to_utf8(STR(""), a->mailbox, &text);
        if (a->host.len)
            buf_add_char(&text, '@');
        charset_to_utf8(STR(""), a->host, &text);
        buf_add_char(&text, '>');
    }
    string_set(b, whole, buf_str(&text));
    if (first && first_mailbox >= 0) {
        text_fold(str_slice(first->mailbox, 0, 255), &folded);
        string_set(b, (enum summary_string)first_mailbox, buf_str(&folded));
    }
    if (first && first_display >= 0) {
        buf_reset(&text);
        encoded_words_decode(first->name.len ? first->name : first->mailbox, &text);
        if (!first->name.len && first->host.len) {
            buf_add_char(&text, '@');
            buf_add(&text, first->host);
        }
        string_set(b, (enum summary_string)first_display, buf_str(&text));
    }
    buf_free(&text);
    buf_free(&folded);
}

static void subject_set(struct builder *b, struct str value)
{
    struct buf text = BUF_INIT(STRING_MAX), base = BUF_INIT(STRING_MAX);
    /* Cut after decoding: before, a word would be left that is none any more. */
    encoded_words_decode(str_slice(value, 0, SUBJECT_SOURCE), &text);
    buf_truncate(&text, utf8_cut(buf_str(&text), SUBJECT_MAX));
    string_set(b, SUMMARY_SUBJECT, buf_str(&text));
    base_subject(buf_str(&text), &base);
    string_set(b, SUMMARY_BASE_SUBJECT, buf_str(&base));
    buf_free(&text);
    buf_free(&base);
}

/* The next <id> of a value, without its brackets, quotes normalised away (RFC 5256 §3). */
static bool id_next(struct str *value, struct str *id)
{
    for (;;) {
        size_t open = str_find_char(*value, '<');
        struct str rest = str_from_pos(*value, open + 1);
        size_t close = str_find_char(rest, '>');
        if (open == value->len || close == rest.len)
            return false;
        *id = str_trim(str_slice(rest, 0, close));
        *value = str_from_pos(rest, close + 1);
        if (id->len && id->len <= ID_MAX && str_has_char(*id, '@'))
            return true;
    }
}

static void references_set(struct builder *b, struct str references, struct str in_reply_to)
{
    struct buf text = BUF_INIT(STRING_MAX);
    struct str id;
    size_t count = 0;
    while (count < IDS_MAX && id_next(&references, &id)) {
        if (count++)
            buf_add_char(&text, ' ');
        buf_add(&text, id);
    }
    if (count == 0 && id_next(&in_reply_to, &id))
        buf_add(&text, id);
    string_set(b, SUMMARY_REFERENCES, buf_str(&text));
    buf_free(&text);
}

enum {
    H_SUBJECT,
    H_FROM,
    H_TO,
    H_CC,
    H_BCC,
    H_REPLY_TO,
    H_SENDER,
    H_MESSAGE_ID,
    H_REFERENCES,
    H_IN_REPLY_TO,
    H_DATE,
    H_LIST_ID,
    H_COUNT
};
static const struct str names[H_COUNT] = {
    STR_INIT("Subject"),    STR_INIT("From"),        STR_INIT("To"),     STR_INIT("Cc"),
    STR_INIT("Bcc"),        STR_INIT("Reply-To"),    STR_INIT("Sender"), STR_INIT("Message-ID"),
    STR_INIT("References"), STR_INIT("In-Reply-To"), STR_INIT("Date"),   STR_INIT("List-Id")};

static void header_strings(struct builder *b, struct str header, struct summary *out)
{
    struct str values[H_COUNT] = {{0}};
    struct header_field field;
    size_t at = 0;
    uint32_t seen = 0;
    while (header_next(header, &at, &field) && seen++ < b->limits->max_fields)
        for (size_t i = 0; i < H_COUNT; i++)
            if (!values[i].data && str_equal_nocase(field.name, names[i]))
                values[i] = header_unfold(field.value, &b->arena);
    subject_set(b, values[H_SUBJECT]);
    addresses_set(b, values[H_FROM], SUMMARY_FROM, SUMMARY_FROM_MAILBOX, SUMMARY_FROM_DISPLAY);
    addresses_set(b, values[H_TO], SUMMARY_TO, SUMMARY_TO_MAILBOX, SUMMARY_TO_DISPLAY);
    addresses_set(b, values[H_CC], SUMMARY_CC, SUMMARY_CC_MAILBOX, -1);
    addresses_set(b, values[H_BCC], SUMMARY_BCC, -1, -1);
    addresses_set(b, values[H_REPLY_TO], SUMMARY_REPLY_TO, -1, -1);
    addresses_set(b, values[H_SENDER], SUMMARY_SENDER, -1, -1);
    struct str id;
    if (id_next(&values[H_MESSAGE_ID], &id))
        string_set(b, SUMMARY_MESSAGE_ID, id);
    references_set(b, values[H_REFERENCES], values[H_IN_REPLY_TO]);
    string_set(b, SUMMARY_LIST_ID, str_slice(values[H_LIST_ID], 0, 998));
    out->has_date = date_parse(values[H_DATE], &out->date, &out->date_zone) == 0;
}

/* ------------------------------------------------------------------ body facts */

/* The beginning of a text part, as UTF-8 without tags. */
static void preview_text(const struct builder *b, const struct mime_part *part, bool html,
                         struct buf *out)
{
    struct buf raw = BUF_INIT(PREVIEW_SOURCE), text = BUF_INIT(4 * PREVIEW_SOURCE);
    struct str body = str_slice(b->message, part->body_offset, part->body_size);
    struct str source = str_slice(body, 0, PREVIEW_SOURCE);
    bool cut = source.len < body.len;
    size_t line_end = str_find_last_char(source, '\n');
    if (cut && line_end < source.len) /* not inside an encoded byte or a character */
        source.len = line_end + 1;
    transfer_decode(part->encoding, source, &raw);
    charset_to_utf8(parameter_find(&part->headers.type, STR("charset")), buf_str(&raw), &text);
    if (cut && str_ends(buf_str(&text), STR("\xEF\xBF\xBD"))) /* a soft line break was inside one */
        buf_truncate(&text, text.len - 3);
    if (html) /* only now: in other charsets "<" and "&" may be parts of characters */
        html_text(buf_str(&text), out);
    else
        buf_add(out, buf_str(&text));
    buf_free(&raw);
    buf_free(&text);
}

static void preview_set(struct builder *b)
{
    for (size_t i = 0; i < b->tree.count; i++) {
        const struct mime_part *part = &b->tree.parts[i];
        bool html = str_equal(part->headers.type.value, STR("text/html"));
        if (part->kind != PART_LEAF ||
            (!html && !str_equal(part->headers.type.value, STR("text/plain"))) ||
            str_equal(part->headers.disposition.value, STR("attachment")))
            continue;
        struct buf text = BUF_INIT(4 * PREVIEW_SOURCE),
                   shown = BUF_INIT(4 * PREVIEW_CHARACTERS + 4);
        preview_text(b, part, html, &text);
        size_t characters = 0;
        for (size_t k = 0; k < text.len; k++) {
            bool space = ascii_is_space(text.data[k]) || ascii_is_control(text.data[k]);
            if (space && (shown.len == 0 || shown.data[shown.len - 1] == ' '))
                continue;
            if (((unsigned char)text.data[k] & 0xC0) != 0x80 && ++characters > PREVIEW_CHARACTERS)
                break;
            buf_add_char(&shown, space ? ' ' : text.data[k]);
        }
        string_set(b, SUMMARY_PREVIEW, str_trim_end(buf_str(&shown)));
        buf_free(&text);
        buf_free(&shown);
        return;
    }
}

static void body_flags(struct builder *b, uint64_t header_size)
{
    for (size_t i = 0; i < b->tree.count; i++) {
        const struct mime_part *part = &b->tree.parts[i];
        if (!str_is_ascii(str_slice(b->message, part->header_offset, part->header_size)))
            b->flags |= SUMMARY_EIGHT_BIT_HEADER;
        if (part->kind == PART_LEAF &&
            (str_equal(part->headers.disposition.value, STR("attachment")) ||
             (!str_starts(part->headers.type.value, STR("text/")) && !part->headers.id.len &&
              b->tree.count > 1)))
            b->flags |= SUMMARY_HAS_ATTACHMENT;
    }
    struct str body = str_from_pos(b->message, header_size);
    if (!str_is_ascii(body))
        b->flags |= SUMMARY_EIGHT_BIT_BODY;
    if (str_has_char(body, '\0'))
        b->flags |= SUMMARY_BINARY_BODY;
    for (size_t at = 0; at < body.len && !(b->flags & SUMMARY_BINARY_BODY);) {
        size_t line = str_find_char(str_from_pos(body, at), '\n');
        if (line > 999)
            b->flags |= SUMMARY_BINARY_BODY;
        at += line + 1;
    }
}

/* ------------------------------------------------------------------ putting the block together */

static void put(struct buf *out, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        buf_add_char(out, (char)(value >> 8 * i & 0xFF));
}

struct part_strings {
    struct range ranges[PART_STRINGS];
};

static void part_strings(struct builder *b, const struct mime_part *part, struct part_strings *out)
{
    const struct mime_headers *h = &part->headers;
    size_t slash = str_find_char(h->type.value, '/');
    struct str name = parameter_find(&h->disposition, STR("filename"));
    if (name.len == 0)
        name = parameter_find(&h->type, STR("name"));
    struct buf decoded = BUF_INIT(4096);
    encoded_words_decode(name, &decoded);
    struct str id = h->id;
    if (id.len > 2 && id.data[0] == '<' && id.data[id.len - 1] == '>')
        id = str_slice(id, 1, id.len - 2);
    struct str strings[PART_STRINGS] = {
        str_slice(h->type.value, 0, slash),
        str_from_pos(h->type.value, slash + 1),
        arena_lower(&b->arena, parameter_find(&h->type, STR("charset"))),
        buf_str(&decoded),
        h->disposition.value,
        id};
    for (size_t i = 0; i < PART_STRINGS; i++)
        out->ranges[i] =
            pool_add(b, str_slice(strings[i], 0, utf8_cut(strings[i], PART_STRING_MAX)));
    buf_free(&decoded);
}

static void block_put(struct builder *b, const struct summary *s, struct buf *out)
{
    struct part_strings *strings = arena_alloc_array(&b->arena, b->tree.count, sizeof(*strings));
    for (size_t i = 0; i < b->tree.count; i++)
        part_strings(b, &b->tree.parts[i], &strings[i]);
    unsigned used = 0;
    for (unsigned i = 0; i < SUMMARY_STRING_COUNT; i++)
        used += b->strings[i].length > 0;
    uint64_t base = BLOCK_HEADER + used * STRING_SIZE + b->tree.count * PART_SIZE;
    put(out, SUMMARY_VERSION, 1);
    put(out, used, 1);
    put(out, b->flags | (s->has_date ? (uint32_t)FLAG_HAS_DATE : 0), 2);
    put(out, b->tree.count, 4);
    put(out, b->message.len, 8);
    put(out, s->header_size, 8);
    put(out, (uint64_t)s->date, 8);
    put(out, (uint64_t)s->date_zone, 2);
    for (unsigned i = 0; i < SUMMARY_STRING_COUNT; i++)
        if (b->strings[i].length) {
            put(out, i, 1);
            put(out, base + b->strings[i].offset, 3);
            put(out, b->strings[i].length, 3);
        }
    for (size_t i = 0; i < b->tree.count; i++) {
        const struct mime_part *p = &b->tree.parts[i];
        put(out, p->kind, 1);
        put(out, p->encoding, 1);
        put(out, p->parent, 4);
        put(out, p->number, 4);
        put(out, p->header_offset, 8);
        put(out, p->header_size, 8);
        put(out, p->body_offset, 8);
        put(out, p->body_size, 8);
        put(out, p->body_lines, 4);
        put(out, 0, 8); /* reserved */
        for (size_t k = 0; k < PART_STRINGS; k++) {
            put(out, base + strings[i].ranges[k].offset, 3);
            put(out, strings[i].ranges[k].length, 2);
        }
    }
    buf_add(out, buf_str(&b->pool));
}

/* Leaves room in the block for the tables in front of the pool. */
static size_t pool_max(const struct summary_limits *limits, size_t parts)
{
    size_t tables = BLOCK_HEADER + SUMMARY_STRING_COUNT * STRING_SIZE + parts * PART_SIZE;
    return limits->max_block > tables ? limits->max_block - tables : 0;
}

void summary_build(struct str message, const struct summary_limits *limits, struct buf *out)
{
    struct builder b = {.message = message, .limits = limits, .arena = ARENA_INIT};
    struct summary s = {0};
    mime_parse(message, limits, &b.arena, &b.tree);
    buf_init(&b.pool, pool_max(limits, b.tree.count));
    b.flags = b.tree.truncated ? SUMMARY_TRUNCATED : 0;
    s.header_size = b.tree.parts[0].header_size;
    struct str header = str_slice(message, 0, s.header_size);
    struct buf text = BUF_INIT(limits->max_block);
    imap_envelope(&text, header, limits, &b.arena);
    struct str envelope =
        text.failed ? STR("(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)") : buf_str(&text);
    string_set(&b, SUMMARY_ENVELOPE, envelope);
    buf_reset(&text);
    imap_bodystructure(&text, message, &b.tree, true, limits, &b.arena);
    bool too_large = text.failed || text.len > b.pool.max - b.pool.len;
    string_set(&b, SUMMARY_BODYSTRUCTURE, buf_str(&text));
    buf_reset(&text);
    imap_bodystructure(&text, message, &b.tree, false, limits, &b.arena);
    /* A leaf's BODY is the beginning of its BODYSTRUCTURE: without the last parenthesis it shares
     * those bytes. */
    string_set(&b, SUMMARY_BODY, str_slice(buf_str(&text), 0, text.len - (text.len > 0)));
    too_large |=
        text.failed || !b.strings[SUMMARY_BODY].length || !b.strings[SUMMARY_ENVELOPE].length;
    buf_free(&text);
    if (too_large) { /* the structure does not fit into a block: say only what is true of any message */
        summary_build_plain(message, out);
    } else {
        header_strings(&b, header, &s);
        preview_set(&b);
        body_flags(&b, s.header_size);
        block_put(&b, &s, out);
    }
    buf_free(&b.pool);
    arena_free(&b.arena);
}

void summary_build_plain(struct str message, struct buf *out)
{
    struct builder b = {.message = message, .limits = &summary_limits_default, .arena = ARENA_INIT};
    struct summary s = {.header_size = header_length(message)};
    struct mime_part part = {.header_size = s.header_size,
                             .body_offset = s.header_size,
                             .body_size = message.len - s.header_size,
                             .headers.type.value = STR("application/octet-stream")};
    b.tree = (struct mime_tree){&part, 1, true};
    b.flags = SUMMARY_PLAIN | SUMMARY_TRUNCATED;
    b.pool = BUF_INIT(BUF_UNBOUNDED);
    struct str body =
        arena_printf(&b.arena, "(\"application\" \"octet-stream\" NIL NIL NIL \"8bit\" %llu",
                     (unsigned long long)part.body_size);
    string_set(&b, SUMMARY_ENVELOPE, STR("(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)"));
    string_set(&b, SUMMARY_BODYSTRUCTURE,
               arena_printf(&b.arena, STR_FMT " NIL NIL NIL NIL)", STR_ARG(body)));
    string_set(&b, SUMMARY_BODY, body);
    block_put(&b, &s, out);
    buf_free(&b.pool);
    arena_free(&b.arena);
}
