/* cmd_fetch.c - FETCH, UID FETCH.
 *
 * A FETCH is a plan: the items, the messages as runs of UIDs, and where it is. fetch_continue() goes on
 * with it until enough output waits for the client; a session whose client does not read parks with its
 * plan. Rows are read in a snapshot that ends before anything is sent.
 */
#include "imap/fetch.h"
#include "imap/session.h"
#include "message/date.h"
#include "message/header.h"
#include "message/summary.h"
#include "message/transfer.h"

enum { BATCH_SEEN = 200, PIECE = 256 * 1024, INLINE_MAX = 256 * 1024 };

/* A large literal that is being sent. */
struct streaming {
    bool active;
    uint64_t email, offset, left;
};

struct fetch {
    struct arena arena;
    char tag[128];
    struct fetch_plan plan;
    struct uid_run *runs;
    size_t run_count, run; /* the run it is at, and the UID in it */
    uint32_t next;
    bool uid, missing;
    uint32_t seen_until; /* \Seen was set up to here */
    VEC(uint32_t) newly_seen;
    struct streaming streaming;
    struct message row; /* of the message that is being sent */
    struct str summary; /* its block, kept over a pause */
    size_t item;        /* the next item of that message */
    bool in_message, put_any;
};

void fetch_free(struct fetch **f)
{
    if (!*f)
        return;
    VEC_FREE(&(*f)->newly_seen);
    arena_free(&(*f)->arena);
    mem_free((void *)(uintptr_t)(*f)->summary.data);
    mem_free(*f);
    *f = NULL;
}

/* ------------------------------------------------------------------ items of one message */

struct item_context {
    struct imap_session *s;
    struct fetch *f;
    struct account_tx *tx;
    const struct summary *summary; /* NULL: damaged */
    struct error e;
};

static void literal_put(struct item_context *c, struct str data)
{
    struct buf *out = &c->s->stream.out;
    buf_add_char(out, '{');
    buf_add_u64(out, data.len);
    buf_add_literal(out, "}\r\n");
    buf_add(out, data);
}

/* Bytes of the message as a literal; large ones are sent in pieces. */
static int range_put(struct item_context *c, uint64_t offset, uint64_t size)
{
    struct buf *out = &c->s->stream.out;
    buf_add_char(out, '{');
    buf_add_u64(out, size);
    buf_add_literal(out, "}\r\n");
    if (size > INLINE_MAX) {
        c->f->streaming = (struct streaming){true, c->f->row.email, offset, size};
        return 0;
    }
    size_t before = out->len;
    if (size && message_read(c->tx, c->f->row.email, offset, size, out, &c->e) < 0)
        return -1;
    return out->len - before == size
               ? 0
               : error_set(&c->e, ERROR_CORRUPT, "A stored message is damaged");
}

/* "<o.n>": the part of a size that is asked for. */
static void partial_apply(const struct fetch_item *item, uint64_t *offset, uint64_t *size)
{
    if (!item->partial)
        return;
    uint64_t skip = MIN(item->partial_offset, *size);
    *offset += skip;
    *size = MIN(*size - skip, item->partial_count);
}

/* HEADER.FIELDS and .NOT: the fields in their order, and the blank line (RFC 9051 §6.4.5.1). */
static void fields_pick(const struct fetch_item *item, struct str header, struct buf *out)
{
    struct header_field field;
    size_t at = 0;
    while (header_next(header, &at, &field)) {
        bool named = false;
        for (size_t i = 0; i < item->field_count && !named; i++)
            named = str_equal_nocase(field.name, item->fields[i]);
        if (named == (item->section == SECTION_FIELDS)) {
            buf_add(out, field.raw);
            if (!str_ends(field.raw, STR("\n")))
                buf_add_literal(out, "\r\n");
        }
    }
    buf_add_literal(out, "\r\n");
}

/* The bytes that a section means: 1 found, 0 there is no such part (NIL). */
static int section_range(const struct item_context *c, const struct fetch_item *item,
                         uint64_t *offset, uint64_t *size)
{
    struct summary_part part, inner;
    int index = summary_find_part(c->summary, item->numbers, item->number_count);
    if (index < 0)
        return 0;
    summary_part(c->summary, (uint32_t)index, &part);
    bool whole = item->number_count == 0;
    if (whole)
        inner = part;
    else if (part.kind == PART_MESSAGE && (uint32_t)index + 1 < c->summary->part_count)
        summary_part(c->summary, (uint32_t)index + 1, &inner);
    else
        memset(&inner, 0, sizeof(inner));
    switch (item->section) {
    case SECTION_ALL:
        *offset = whole ? 0 : part.body_offset;
        *size = whole ? c->f->row.size : part.body_size;
        return 1;
    case SECTION_MIME:
        *offset = part.header_offset;
        *size = part.header_size;
        return 1;
    case SECTION_TEXT:
        *offset = inner.body_offset;
        *size = whole ? c->f->row.size - inner.body_offset : inner.body_size;
        return whole || part.kind == PART_MESSAGE;
    default: /* HEADER and its fields */
        *offset = inner.header_offset;
        *size = inner.header_size;
        return whole || part.kind == PART_MESSAGE;
    }
}

static void section_name_put(struct buf *out, const struct fetch_item *item)
{
    buf_add(out, item->name);
    if (item->partial)
        buf_printf(out, "<%llu>", (unsigned long long)item->partial_offset);
    buf_add_char(out, ' ');
}

static int body_item(struct item_context *c, const struct fetch_item *item)
{
    struct buf *out = &c->s->stream.out;
    uint64_t offset = 0, size = 0;
    section_name_put(out, item);
    if (!c->summary || !section_range(c, item, &offset, &size)) {
        buf_add_literal(out, "NIL");
        return 0;
    }
    if (item->section != SECTION_FIELDS && item->section != SECTION_FIELDS_NOT) {
        partial_apply(item, &offset, &size);
        return range_put(c, offset, size);
    }
    struct buf header = BUF_INIT(BUF_UNBOUNDED), picked = BUF_INIT(BUF_UNBOUNDED);
    int result = message_read(c->tx, c->f->row.email, offset, size, &header, &c->e);
    if (result == 0) {
        fields_pick(item, buf_str(&header), &picked);
        uint64_t start = 0, count = picked.len;
        partial_apply(item, &start, &count);
        literal_put(c, str_slice(buf_str(&picked), (size_t)start, (size_t)count));
    }
    buf_free(&header);
    buf_free(&picked);
    return result;
}

/* BINARY and BINARY.SIZE (RFC 9051 §6.4.5, RFC 3516 §4.2): the part without its transfer encoding. */
static int binary_item(struct item_context *c, const struct fetch_item *item)
{
    struct buf *out = &c->s->stream.out, raw = BUF_INIT(BUF_UNBOUNDED),
               plain = BUF_INIT(BUF_UNBOUNDED);
    struct summary_part part = {0};
    int index = c->summary ? summary_find_part(c->summary, item->numbers, item->number_count) : -1;
    section_name_put(out, item);
    if (index < 0) {
        buf_add(out, item->kind == FETCH_BINARY_SIZE ? STR("0") : STR("NIL"));
        return 0;
    }
    summary_part(c->summary, (uint32_t)index, &part);
    uint64_t offset = item->number_count ? part.body_offset : 0;
    uint64_t size = item->number_count ? part.body_size : c->f->row.size;
    int result = message_read(c->tx, c->f->row.email, offset, size, &raw, &c->e);
    if (result == 0) {
        transfer_decode(item->number_count && part.kind == PART_LEAF ? part.encoding
                                                                     : ENCODING_BINARY,
                        buf_str(&raw), &plain);
        uint64_t start = 0, count = plain.len;
        partial_apply(item, &start, &count);
        struct str data = str_slice(buf_str(&plain), (size_t)start, (size_t)count);
        if (item->kind == FETCH_BINARY_SIZE) {
            buf_add_u64(out, plain.len);
        } else {
            if (data.len && memchr(data.data, '\0', data.len))
                buf_add_char(out, '~');
            literal_put(c, data);
        }
    }
    buf_free(&raw);
    buf_free(&plain);
    return result;
}

static int item_put(struct item_context *c, const struct fetch_item *item)
{
    struct buf *out = &c->s->stream.out;
    const struct message *row = &c->f->row;
    switch (item->kind) {
    case FETCH_UID:
        buf_add_literal(out, "UID ");
        buf_add_u64(out, row->uid);
        return 0;
    case FETCH_FLAGS:
        imap_put_flags(c->s, c->tx, row->flags, row->keyword_set,
                       !c->s->rev2 && row->uid >= c->s->view.first_recent);
        return 0;
    case FETCH_INTERNALDATE:
        buf_add_literal(out, "INTERNALDATE \"");
        date_format_imap(out, row->received, 0);
        buf_add_char(out, '"');
        return 0;
    case FETCH_SIZE:
        buf_add_literal(out, "RFC822.SIZE ");
        buf_add_u64(out, row->size);
        return 0;
    case FETCH_ENVELOPE:
        buf_add_literal(out, "ENVELOPE ");
        buf_add(out, c->summary ? summary_string(c->summary, SUMMARY_ENVELOPE)
                                : STR("(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)"));
        return 0;
    case FETCH_BODYSTRUCTURE:
        buf_add_literal(out, "BODYSTRUCTURE ");
        buf_add(out, c->summary ? summary_string(c->summary, SUMMARY_BODYSTRUCTURE)
                                : STR("(\"application\" \"octet-stream\" NIL NIL NIL \"8bit\" 0)"));
        return 0;
    case FETCH_BODY_STRUCTURE:
        buf_add_literal(out, "BODY ");
        buf_add(out, c->summary ? summary_string(c->summary, SUMMARY_BODY)
                                : STR("(\"application\" \"octet-stream\" NIL NIL NIL \"8bit\" 0"));
        buf_add_char(out, ')');
        return 0;
    case FETCH_BODY:
        return body_item(c, item);
    default:
        return binary_item(c, item);
    }
}

/* Goes on with the items of the present message. 1 the message is done, 0 paused, -1 failed. */
static int message_put(struct item_context *c)
{
    struct fetch *f = c->f;
    struct buf *out = &c->s->stream.out;
    if (!f->in_message) {
        buf_add_literal(out, "* ");
        buf_add_u64(out, view_sequence(&c->s->view, f->row.uid));
        buf_add_literal(out, " FETCH (");
        f->in_message = true;
        f->put_any = false;
        f->item = 0;
    }
    while (f->item < f->plan.count) {
        const struct fetch_item *item = &f->plan.items[f->item++];
        if (item->skip)
            continue;
        if (f->put_any)
            buf_add_char(out, ' ');
        f->put_any = true;
        if (item_put(c, item) < 0)
            return -1;
        if (f->streaming.active)
            return 0;
    }
    buf_add_literal(out, ")\r\n");
    f->in_message = false;
    return 1;
}

/* ------------------------------------------------------------------ \Seen */

struct seen_job {
    struct imap_session *s;
    struct fetch *f;
    uint64_t low, high;
};

/* Sets \Seen on the next messages that lack it. */
static int seen_run(struct account_tx *tx, void *context, struct error *e)
{
    struct seen_job *job = context;
    struct fetch *f = job->f;
    size_t looked = 0;
    job->low = account_modseq(tx) + 1;
    f->newly_seen.len = 0;
    uint32_t until = 0;
    for (size_t i = f->run; i < f->run_count && looked < BATCH_SEEN; i++) {
        uint32_t first = i == f->run ? f->next : f->runs[i].first;
        for (uint32_t uid = first; uid < f->runs[i].first + f->runs[i].count && looked < BATCH_SEEN;
             uid++) {
            struct message row;
            bool changed;
            looked++;
            until = uid;
            if (message_flags(tx, job->s->view.mailbox, uid, FLAGS_ADD, FLAG_SEEN, NULL, 0,
                              UINT64_MAX, &row, &changed, e) < 0) {
                if (e->class != ERROR_NOT_FOUND)
                    return -1;
            } else if (changed) {
                VEC_ADD(&f->newly_seen, uid);
            }
        }
    }
    job->high = account_modseq(tx);
    f->seen_until = until;
    return 0;
}

static bool is_newly_seen(const struct fetch *f, uint32_t uid)
{
    for (size_t i = 0; i < f->newly_seen.len; i++)
        if (f->newly_seen.items[i] == uid)
            return true;
    return false;
}

/* ------------------------------------------------------------------ the loop */

static void fetch_end(struct imap_session *s, const struct error *failed)
{
    struct fetch *f = s->fetch;
    s->fetch = NULL;
    snprintf(s->tag_space, sizeof(s->tag_space), "%s", f->tag);
    s->tag = str_from(s->tag_space);
    if (failed)
        imap_error(s, failed);
    else
        imap_ok(s, f->missing ? "[EXPUNGEISSUED]" : NULL, "Fetched");
    fetch_free(&f);
}

/* A large literal: piece by piece. When its bytes cannot be read any more, nothing right can be said. */
static void streaming_continue(struct imap_session *s)
{
    struct streaming *t = &s->fetch->streaming;
    struct account_tx *tx CLEANUP(account_rollback) = NULL;
    struct error e = {0};
    size_t before = s->stream.out.len;
    uint64_t piece = MIN(t->left, (uint64_t)PIECE);
    if (account_begin(s->account, ACCOUNT_READ, &tx, &e) < 0 ||
        message_read(tx, t->email, t->offset, piece, &s->stream.out, &e) < 0 ||
        s->stream.out.len - before != piece) {
        s->stream.failed = true;
        s->logout = true;
        return;
    }
    t->offset += piece;
    t->left -= piece;
    t->active = t->left > 0;
}

/* Rows from where the plan is, until enough waits. 1 the plan is done, 0 paused, -1 failed. */
static int rows_run(struct imap_session *s, struct account_tx *tx, struct error *e)
{
    struct fetch *f = s->fetch;
    unsigned columns = f->plan.columns;
    while (f->run < f->run_count) {
        struct uid_run *r = &f->runs[f->run];
        uint32_t last = r->first + r->count - 1;
        if (f->plan.sets_seen && !s->read_only)
            last = MIN(last, f->seen_until);
        struct message_cursor cursor;
        int more = 0;
        bool paused = false;
        message_cursor_open(&cursor, tx, s->view.mailbox, f->next, last, 0, columns);
        while (!paused && (more = message_cursor_next(&cursor, &f->row, e)) > 0) {
            struct summary summary;
            struct item_context c = {.s = s, .f = f, .tx = tx};
            struct str block = f->row.summary;
            c.summary =
                columns & COLUMN_SUMMARY && summary_open(&summary, block) == 0 ? &summary : NULL;
            f->missing |= f->row.uid != f->next;
            f->next = f->row.uid + 1;
            f->plan.items[f->plan.flags_item].skip =
                !f->plan.flags_asked && !is_newly_seen(f, f->row.uid);
            int done = message_put(&c);
            if (done < 0) {
                *e = c.e;
                more = -1;
                break;
            }
            if (done == 0) { /* a large literal: the summary is kept for the items behind it */
                mem_free((void *)(uintptr_t)f->summary.data);
                char *copy = mem_alloc(block.len + 1);
                memcpy(copy, block.data ? block.data : "", block.len);
                f->summary = str_of(copy, block.len);
            }
            paused = done == 0 || s->stream.out.len >= OUT_HIGH;
        }
        message_cursor_close(&cursor);
        if (more < 0)
            return -1;
        if (paused)
            return 0;
        f->missing |= f->next <= last;
        if (last < r->first + r->count - 1) { /* \Seen has to be set on the next ones first */
            f->next = last + 1;
            return 0;
        }
        f->run++;
        f->next = f->run < f->run_count ? f->runs[f->run].first : 0;
    }
    return 1;
}

/* The rest of a message whose large literal was sent. */
static int message_resume(struct imap_session *s, struct account_tx *tx, struct error *e)
{
    struct fetch *f = s->fetch;
    struct summary summary;
    struct item_context c = {.s = s, .f = f, .tx = tx};
    c.summary = summary_open(&summary, f->summary) == 0 ? &summary : NULL;
    int done = message_put(&c);
    if (done < 0)
        *e = c.e;
    return done;
}

bool fetch_continue(struct imap_session *s)
{
    struct fetch *f = s->fetch;
    struct error e = {0};
    if (f->streaming.active) {
        streaming_continue(s);
        return false;
    }
    if (f->plan.sets_seen && !s->read_only && !f->in_message && f->run < f->run_count &&
        f->next > f->seen_until) {
        struct seen_job job = {.s = s, .f = f};
        if (account_write_reserved(s->account, seen_run, &job, &e) < 0) {
            fetch_end(s, &e);
            return true;
        }
        imap_own(s, job.low, job.high);
    }
    struct account_tx *tx CLEANUP(account_rollback) = NULL;
    int result = account_begin(s->account, ACCOUNT_READ, &tx, &e);
    if (result == 0 && f->in_message) {
        result = message_resume(s, tx, &e);
        if (result > 0)
            result = 0;
    } else if (result == 0) {
        result = rows_run(s, tx, &e);
    }
    account_rollback(&tx);
    if (result < 0 && f->in_message) { /* in the middle of a response nothing else can be said */
        s->logout = s->stream.failed = true;
        return true;
    }
    if (result == 0)
        return false;
    fetch_end(s, result < 0 ? &e : NULL);
    return true;
}

void cmd_fetch(struct imap_session *s, struct imap_lexer *l, bool uid)
{
    struct fetch *f = mem_alloc(sizeof(*f));
    struct imap_set set;
    struct imap_lexer own = {.arena = &f->arena};
    if (imap_space(l) < 0 || imap_set(l, &set) < 0 || imap_space(l) < 0) {
        imap_bad(s, "Say FETCH set (items)");
        fetch_free(&f);
        return;
    }
    own.rest = arena_copy(&f->arena, l->rest); /* the plan outlives the command's bytes */
    const char *why = "The items were not understood";
    if (fetch_plan_parse(&own, uid, &f->plan, &why) < 0) {
        imap_bad(s, why);
        fetch_free(&f);
        return;
    }
    struct uid_run *runs;
    if (imap_set_resolve(s, &set, uid, &runs, &f->run_count) < 0) {
        fetch_free(&f);
        return;
    }
    f->runs = arena_alloc_array(&f->arena, f->run_count + 1, sizeof(*runs));
    if (f->run_count)
        memcpy(f->runs, runs, f->run_count * sizeof(*runs));
    f->next = f->run_count ? f->runs[0].first : 0;
    f->uid = uid;
    snprintf(f->tag, sizeof(f->tag), STR_FMT, STR_ARG(s->tag));
    s->fetch = f;
}
