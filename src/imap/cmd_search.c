/* cmd_search.c - SEARCH, UID SEARCH, with ESEARCH (RFC 4731) and SEARCHRES (RFC 5182). */
#include "imap/search.h"

struct options {
    bool given, min, max, all, count, save;
};

static int options_parse(struct imap_lexer *l, struct options *out)
{
    static const struct {
        struct str name;
        size_t offset;
    } names[] = {{STR_INIT("MIN"), offsetof(struct options, min)},
                 {STR_INIT("MAX"), offsetof(struct options, max)},
                 {STR_INIT("ALL"), offsetof(struct options, all)},
                 {STR_INIT("COUNT"), offsetof(struct options, count)},
                 {STR_INIT("SAVE"), offsetof(struct options, save)}};
    if (!str_starts_nocase(l->rest, STR("RETURN ")))
        return 0;
    l->rest = str_from_pos(l->rest, 7);
    out->given = true;
    if (!imap_take(l, '('))
        return -1;
    if (imap_take(l, ')')) {
        out->all = true; /* RFC 9051 §6.4.4: an empty list means ALL */
        return imap_space(l);
    }
    do {
        struct str name;
        bool known = false;
        if (imap_atom(l, &name) < 0)
            return -1;
        for (size_t i = 0; i < countof(names); i++)
            if (str_equal_nocase(name, names[i].name)) {
                *((bool *)((char *)out + names[i].offset)) = true;
                known = true;
            }
        if (!known)
            return -1;
    } while (imap_take(l, ' '));
    return imap_take(l, ')') ? imap_space(l) : -1;
}

typedef VEC(uint32_t) uid_list;

static int rows_search(struct imap_session *s, struct search_key *key, uid_list *found,
                       struct error *e)
{
    struct account_tx *tx CLEANUP(account_rollback) = NULL;
    struct message_cursor cursor;
    struct message row;
    int more;
    if (account_begin(s->account, ACCOUNT_READ, &tx, e) < 0)
        return -1;
    struct search_message m = {.s = s, .tx = tx, .row = &row};
    message_cursor_open(&cursor, tx, s->view.mailbox, 1, view_last_uid(&s->view), 0,
                        search_columns(key));
    while ((more = message_cursor_next(&cursor, &row, e)) > 0) {
        if (!view_sequence(&s->view, row.uid))
            continue;
        int match = search_match(key, &m, e);
        search_message_reset(&m);
        if (match < 0) {
            more = -1;
            break;
        }
        if (match)
            VEC_ADD(found, row.uid);
    }
    message_cursor_close(&cursor);
    search_program_free(key);
    return more;
}

static uint32_t number_of(const struct imap_session *s, uint32_t uid_number, bool uid)
{
    return uid ? uid_number : view_sequence(&s->view, uid_number);
}

/* "1:3,7" */
static void compact_put(struct imap_session *s, const uid_list *found, bool uid)
{
    for (size_t i = 0; i < found->len;) {
        uint32_t first = number_of(s, found->items[i], uid), last = first;
        size_t k = i + 1;
        while (k < found->len && number_of(s, found->items[k], uid) == last + 1) {
            last++;
            k++;
        }
        stream_printf(&s->stream, last > first ? "%s%u:%u" : "%s%u", i ? "," : "", first, last);
        i = k;
    }
}

static void esearch_put(struct imap_session *s, const struct options *o, const uid_list *found,
                        bool uid)
{
    stream_printf(&s->stream, "* ESEARCH (TAG \"" STR_FMT "\")%s", STR_ARG(s->tag),
                  uid ? " UID" : "");
    if (found->len && o->min)
        stream_printf(&s->stream, " MIN %u", number_of(s, found->items[0], uid));
    if (found->len && o->max)
        stream_printf(&s->stream, " MAX %u", number_of(s, found->items[found->len - 1], uid));
    if (o->count)
        stream_printf(&s->stream, " COUNT %zu", found->len);
    if (found->len && o->all) {
        imap_put(s, " ALL ");
        compact_put(s, found, uid);
    }
    imap_put(s, "\r\n");
}

static void search_put(struct imap_session *s, const uid_list *found, bool uid)
{
    struct buf *out = &s->stream.out;
    buf_add_literal(out, "* SEARCH");
    for (size_t i = 0; i < found->len; i++) {
        buf_add_char(out, ' ');
        buf_add_u64(out, number_of(s, found->items[i], uid));
    }
    buf_add_literal(out, "\r\n");
}

/* RFC 5182 §2.1: with MIN or MAX alone only those are saved. */
static void result_save(struct imap_session *s, const struct options *o, const uid_list *found)
{
    bool only_ends = (o->min || o->max) && !o->all && !o->count;
    mem_free(s->saved.ranges);
    s->saved = (struct imap_set){0};
    if (found->len == 0)
        return;
    s->saved.ranges = mem_alloc_array(found->len, sizeof(*s->saved.ranges));
    for (size_t i = 0; i < found->len; i++) {
        if (only_ends && !(o->min && i == 0) && !(o->max && i + 1 == found->len))
            continue;
        struct imap_range *last = s->saved.count ? &s->saved.ranges[s->saved.count - 1] : NULL;
        if (last && last->high + 1 == found->items[i])
            last->high++;
        else
            s->saved.ranges[s->saved.count++] =
                (struct imap_range){found->items[i], found->items[i]};
    }
}

void cmd_search(struct imap_session *s, struct imap_lexer *l, bool uid)
{
    struct options o = {0};
    struct search_key *key;
    struct error e = {0};
    const char *why = "";
    if (imap_space(l) < 0 || options_parse(l, &o) < 0) {
        imap_bad(s, "Say SEARCH keys");
        return;
    }
    if (search_parse(s, l, &key, &why) < 0) {
        if (*why)
            imap_bad(s, why);
        else
            imap_no(s, "[BADCHARSET (UTF-8 US-ASCII ISO-8859-1)]", "That charset is not known");
        return;
    }
    uid_list found = VEC_INIT;
    if (rows_search(s, key, &found, &e) < 0) {
        if (o.save) { /* RFC 5182 §2.1: a failed SAVE empties the variable */
            mem_free(s->saved.ranges);
            s->saved = (struct imap_set){0};
        }
        imap_error(s, &e);
    } else {
        bool nothing_but_save = o.save && !o.min && !o.max && !o.all && !o.count;
        if (o.save)
            result_save(s, &o, &found);
        if (o.given || s->rev2) {
            if (!o.given)
                o.all = true;
            if (!nothing_but_save)
                esearch_put(s, &o, &found, uid);
        } else {
            search_put(s, &found, uid);
        }
        imap_ok(s, NULL, "Searched");
    }
    VEC_FREE(&found);
}
