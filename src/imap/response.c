/* response.c - what an IMAP session says: tagged lines, errors, and what changed in the mailbox. */
#include "base/log.h"
#include "imap/session.h"

void imap_put(struct imap_session *s, const char *text)
{
    stream_put_literal(&s->stream, text);
}

static void tagged(struct imap_session *s, const char *what, const char *code, const char *text)
{
    stream_printf(&s->stream, STR_FMT " %s %s%s%s\r\n", STR_ARG(s->tag), what, code ? code : "",
                  code ? " " : "", text);
}

void imap_ok(struct imap_session *s, const char *code, const char *text)
{
    imap_sync(s, s->expunges_allowed);
    tagged(s, "OK", code, text);
}

void imap_no(struct imap_session *s, const char *code, const char *text)
{
    imap_sync(s, s->expunges_allowed);
    tagged(s, "NO", code, text);
}

void imap_bad(struct imap_session *s, const char *text)
{
    tagged(s, "BAD", NULL, text);
    s->bad_commands++;
}

void imap_error(struct imap_session *s, const struct error *e)
{
    static const struct {
        enum error_class class;
        const char *code;
    } codes[] = {
        {ERROR_NOT_FOUND, "[NONEXISTENT]"}, {ERROR_EXISTS, "[ALREADYEXISTS]"},
        {ERROR_INVALID, "[CANNOT]"},        {ERROR_DENIED, "[NOPERM]"},
        {ERROR_QUOTA, "[OVERQUOTA]"},       {ERROR_LIMIT, "[LIMIT]"},
        {ERROR_TEMPORARY, "[UNAVAILABLE]"}, {ERROR_FULL, "[UNAVAILABLE]"},
        {ERROR_CORRUPT, "[CORRUPTION]"},    {ERROR_INTERNAL, "[SERVERBUG]"},
    };
    const char *code = NULL;
    for (size_t i = 0; i < countof(codes); i++)
        if (codes[i].class == e->class)
            code = codes[i].code;
    if (e->class >= ERROR_TEMPORARY)
        log_event(LOG_WARNING, "imap-error", "class=%s error=%s cause=%s",
                  error_class_name(e->class), log_quote(str_from(e->text)),
                  log_quote(str_from(e->cause)));
    imap_no(s, code, e->text[0] ? e->text : "Internal error");
}

void imap_put_mailbox(struct imap_session *s, struct str name)
{
    struct buf text = BUF_INIT(16384);
    if (s->rev2)
        buf_add(&text, name);
    else
        utf7_encode(name, &text);
    stream_put_literal(&s->stream, "\"");
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] == '"' || text.data[i] == '\\')
            stream_put_literal(&s->stream, "\\");
        stream_put(&s->stream, str_of(text.data + i, 1));
    }
    stream_put_literal(&s->stream, "\"");
    buf_free(&text);
}

static const struct {
    uint8_t bit;
    struct str name;
} flag_names[] = {
    {FLAG_ANSWERED, STR_INIT("\\Answered")}, {FLAG_FLAGGED, STR_INIT("\\Flagged")},
    {FLAG_DELETED, STR_INIT("\\Deleted")},   {FLAG_SEEN, STR_INIT("\\Seen")},
    {FLAG_DRAFT, STR_INIT("\\Draft")},
};

void imap_put_flags(struct imap_session *s, struct account_tx *tx, uint8_t flags,
                    uint32_t keyword_set, bool recent)
{
    struct buf *out = &s->stream.out;
    bool first = true;
    buf_add_literal(out, "FLAGS (");
    for (size_t i = 0; i < countof(flag_names); i++)
        if (flags & flag_names[i].bit) {
            if (!first)
                buf_add_char(out, ' ');
            buf_add(out, flag_names[i].name);
            first = false;
        }
    if (recent) {
        buf_add(out, first ? STR("\\Recent") : STR(" \\Recent"));
        first = false;
    }
    if (keyword_set) {
        struct arena arena CLEANUP(arena_free) = ARENA_INIT;
        struct str *names;
        size_t count;
        keyword_set_names(tx, keyword_set, &arena, &names, &count, NULL);
        for (size_t i = 0; i < count; i++) {
            if (!first)
                buf_add_char(out, ' ');
            buf_add(out, names[i]);
            first = false;
        }
    }
    buf_add_char(out, ')');
}

/* ------------------------------------------------------------------ what changed */

void imap_own(struct imap_session *s, uint64_t low, uint64_t high)
{
    if (low <= high)
        VEC_ADD(&s->own, (struct own_changes){low, high});
}

static bool is_own(const struct imap_session *s, uint64_t modseq)
{
    for (size_t i = 0; i < s->own.len; i++)
        if (modseq >= s->own.items[i].low && modseq <= s->own.items[i].high)
            return true;
    return false;
}

/* EXPUNGE from the last to the first, so that each number is right where it stands. */
static int expunges_tell(struct imap_session *s, struct account_tx *tx, struct error *e)
{
    struct uid_run *runs;
    size_t count;
    if (mailbox_expunged(tx, s->view.mailbox, s->view.expunge_modseq, &runs, &count, e) < 0)
        return -1;
    for (size_t i = count; i-- > 0;)
        for (uint32_t k = runs[i].count; k-- > 0;) {
            uint32_t uid = runs[i].first + k, sequence = view_sequence(&s->view, uid);
            if (!sequence)
                continue;
            stream_printf(&s->stream, "* %u EXPUNGE\r\n", sequence);
            view_remove(&s->view, uid);
        }
    mem_free(runs);
    return 0;
}

static int arrivals_tell(struct imap_session *s, struct account_tx *tx, const struct mailbox *m,
                         struct error *e)
{
    struct message_cursor cursor;
    struct message row;
    uint32_t before = s->view.total;
    int more;
    message_cursor_open(&cursor, tx, m->id, s->view.uidnext, UINT32_MAX, 0, 0);
    while ((more = message_cursor_next(&cursor, &row, e)) > 0)
        view_add(&s->view, row.uid, 1);
    message_cursor_close(&cursor);
    s->view.uidnext = m->uidnext;
    if (s->view.total != before) {
        stream_printf(&s->stream, "* %u EXISTS\r\n", s->view.total);
        if (!s->rev2)
            stream_printf(&s->stream, "* %u RECENT\r\n",
                          s->view.total - view_count_below(&s->view, s->view.first_recent));
    }
    return more;
}

static int flags_tell(struct imap_session *s, struct account_tx *tx, uint32_t below,
                      struct error *e)
{
    struct message_cursor cursor;
    struct message row;
    int more;
    if (below < 2)
        return 0;
    message_cursor_open(&cursor, tx, s->view.mailbox, 1, below - 1, s->view.modseq, 0);
    while ((more = message_cursor_next(&cursor, &row, e)) > 0) {
        uint32_t sequence = is_own(s, row.modseq) ? 0 : view_sequence(&s->view, row.uid);
        if (!sequence)
            continue;
        stream_printf(&s->stream, "* %u FETCH (UID %u ", sequence, row.uid);
        imap_put_flags(s, tx, row.flags, row.keyword_set, row.uid >= s->view.first_recent);
        imap_put(s, ")\r\n");
    }
    message_cursor_close(&cursor);
    return more;
}

static int sync_with(struct imap_session *s, struct account_tx *tx, bool expunges, struct error *e)
{
    struct arena arena CLEANUP(arena_free) = ARENA_INIT;
    struct mailbox m;
    uint64_t now = account_modseq(tx);
    if (mailbox_get(tx, s->view.mailbox, &arena, &m, e) < 0)
        return -1;
    uint32_t known = s->view.uidnext;
    if (expunges && m.modseq > s->view.expunge_modseq && expunges_tell(s, tx, e) < 0)
        return -1;
    if (m.modseq > s->view.modseq &&
        (arrivals_tell(s, tx, &m, e) < 0 || flags_tell(s, tx, known, e) < 0))
        return -1;
    s->view.modseq = now;
    if (expunges) {
        s->view.expunge_modseq = now;
        s->synced_modseq = now;
    }
    s->own.len = 0;
    return 0;
}

void imap_sync(struct imap_session *s, bool expunges)
{
    struct error e = {0};
    if (s->state != IMAP_SELECTED || s->synced_modseq >= s->account_modseq)
        return;
    struct account_tx *tx CLEANUP(account_rollback) = NULL;
    if (account_begin(s->account, ACCOUNT_READ, &tx, &e) < 0 ||
        sync_with(s, tx, expunges, &e) < 0) {
        /* The mailbox was deleted by another session, or its log does not reach back: the picture
         * cannot be brought up to date. RFC 9051 §7.1.5 (CLOSED) has no better word than BYE. */
        log_event(LOG_INFO, "imap-sync-lost", "class=%s error=%s", error_class_name(e.class),
                  log_quote(str_from(e.text)));
        if (e.class == ERROR_NOT_FOUND) {
            imap_put(s,
                     "* BYE [UNAVAILABLE] The selected mailbox is gone: please connect again\r\n");
            s->logout = true;
        }
    }
}

void imap_unselect(struct imap_session *s)
{
    view_free(&s->view);
    VEC_FREE(&s->own);
    mem_free(s->saved.ranges);
    s->saved = (struct imap_set){0};
    s->state = IMAP_AUTHENTICATED;
    s->read_only = false;
}

/* ------------------------------------------------------------------ sets */

static int range_order(const void *a, const void *b)
{
    const struct imap_range *x = a, *y = b;
    return x->low < y->low ? -1 : x->low > y->low;
}

/* Sorted, and those that overlap made one: what is asked twice costs once. */
static size_t ranges_merge(struct imap_range *ranges, size_t count)
{
    size_t kept = 0;
    if (count)
        qsort(ranges, count, sizeof(*ranges), range_order);
    for (size_t i = 1; i < count; i++)
        if (ranges[i].low <= ranges[kept].high)
            ranges[kept].high = MAX(ranges[kept].high, ranges[i].high);
        else
            ranges[++kept] = ranges[i];
    return count ? kept + 1 : 0;
}

/* The UIDs of merged ranges that are in the view. */
static void ranges_apply(struct imap_session *s, const struct imap_range *ranges,
                         size_t range_count, struct uid_run **runs, size_t *count)
{
    const struct view *v = &s->view;
    size_t i = 0;
    for (size_t k = 0; k < range_count; k++) {
        for (; i < v->run_count && v->runs[i].first <= ranges[k].high; i++) {
            uint32_t end = v->runs[i].first + v->runs[i].count - 1;
            uint32_t first = MAX(ranges[k].low, v->runs[i].first), last = MIN(ranges[k].high, end);
            struct uid_run *before = *count ? &(*runs)[*count - 1] : NULL;
            if (first <= last && before && before->first + before->count == first)
                before->count += last - first + 1;
            else if (first <= last)
                *ARENA_PUSH(&s->arena, *runs, *count) = (struct uid_run){first, last - first + 1};
            if (end > ranges[k].high) /* the next range may have a part of it too */
                break;
        }
    }
}

int imap_set_resolve(struct imap_session *s, const struct imap_set *set, bool uid,
                     struct uid_run **runs, size_t *count)
{
    const struct imap_set *from = set->saved ? &s->saved : set;
    struct imap_range *ranges = arena_alloc_array(&s->arena, from->count + 1, sizeof(*ranges));
    size_t range_count = 0;
    *runs = NULL;
    *count = 0;
    for (size_t i = 0; i < from->count; i++) {
        struct imap_range r = from->ranges[i];
        if (uid || set->saved) {
            uint32_t last = MAX(view_last_uid(&s->view), 1U);
            r.low = r.low == UINT32_MAX ? last : r.low;
            r.high = r.high == UINT32_MAX ? last : r.high;
        } else {
            /* "1:*" of an empty mailbox: strictly there is no such number, but many clients ask so. */
            if (s->view.total == 0 && r.high == UINT32_MAX)
                continue;
            r.low = r.low == UINT32_MAX ? s->view.total : r.low;
            r.high = r.high == UINT32_MAX ? s->view.total : r.high;
        }
        if (r.low > r.high)
            r = (struct imap_range){r.high, r.low};
        if (!uid && !set->saved) {
            if (r.low == 0 || r.high > s->view.total) {
                imap_bad(s, "There is no message with that number");
                return -1;
            }
            r = (struct imap_range){view_uid(&s->view, r.low), view_uid(&s->view, r.high)};
        }
        ranges[range_count++] = r;
    }
    range_count = ranges_merge(ranges, range_count);
    ranges_apply(s, ranges, range_count, runs, count);
    return 0;
}
