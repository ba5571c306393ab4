/* cmd_store.c - STORE, UID STORE. */
#include "imap/session.h"

struct storing {
    struct imap_session *s;
    struct uid_run *runs;
    size_t count;
    enum flags_operation operation;
    struct imap_flags flags;
    bool silent, uid;
    uint64_t low, high; /* modification sequences that were given */
    bool missing;       /* a message of the view is gone */
};

static int store_job(struct account_tx *tx, void *context, struct error *e)
{
    struct storing *x = context;
    x->low = account_modseq(tx) + 1;
    x->missing = false;
    for (size_t i = 0; i < x->count; i++)
        for (uint32_t k = 0; k < x->runs[i].count; k++) {
            struct message row;
            bool changed;
            uint32_t uid = x->runs[i].first + k;
            if (message_flags(tx, x->s->view.mailbox, uid, x->operation, x->flags.system,
                              x->flags.keywords, x->flags.keyword_count, UINT64_MAX, &row, &changed,
                              e) == 0)
                continue;
            if (e->class != ERROR_NOT_FOUND)
                return -1;
            x->missing = true;
        }
    x->high = account_modseq(tx);
    return 0;
}

/* RFC 9051 §6.4.6: without .SILENT the new flags of every message are told, changed or not. */
static void store_tell(struct storing *x)
{
    struct imap_session *s = x->s;
    struct account_tx *tx CLEANUP(account_rollback) = NULL;
    if (account_begin(s->account, ACCOUNT_READ, &tx, NULL) < 0)
        return;
    for (size_t i = 0; i < x->count; i++) {
        struct message_cursor cursor;
        struct message row;
        message_cursor_open(&cursor, tx, s->view.mailbox, x->runs[i].first,
                            x->runs[i].first + x->runs[i].count - 1, 0, 0);
        while (message_cursor_next(&cursor, &row, NULL) > 0) {
            struct buf *out = &s->stream.out;
            buf_add_literal(out, "* ");
            buf_add_u64(out, view_sequence(&s->view, row.uid));
            buf_add_literal(out, " FETCH (");
            if (x->uid) {
                buf_add_literal(out, "UID ");
                buf_add_u64(out, row.uid);
                buf_add_char(out, ' ');
            }
            imap_put_flags(s, tx, row.flags, row.keyword_set, row.uid >= s->view.first_recent);
            buf_add_literal(out, ")\r\n");
        }
        message_cursor_close(&cursor);
    }
}

static int store_parse(struct storing *x, struct imap_lexer *l, struct imap_set *set)
{
    struct str item;
    if (imap_space(l) < 0 || imap_set(l, set) < 0 || imap_space(l) < 0)
        return -1;
    x->operation = imap_take(l, '+') ? FLAGS_ADD : imap_take(l, '-') ? FLAGS_REMOVE : FLAGS_SET;
    if (imap_atom(l, &item) < 0 || imap_space(l) < 0 || imap_flags(l, true, &x->flags) < 0 ||
        !imap_at_end(l))
        return -1;
    x->silent = str_equal_nocase(item, STR("FLAGS.SILENT"));
    return x->silent || str_equal_nocase(item, STR("FLAGS")) ? 0 : -1;
}

void cmd_store(struct imap_session *s, struct imap_lexer *l, bool uid)
{
    struct storing x = {.s = s, .uid = uid};
    struct imap_set set;
    struct error e = {0};
    if (store_parse(&x, l, &set) < 0) {
        imap_bad(s, "Say STORE set FLAGS (flags)");
        return;
    }
    if (s->read_only) {
        imap_no(s, "[READ-ONLY]", "The mailbox was opened by EXAMINE");
        return;
    }
    if (imap_set_resolve(s, &set, uid, &x.runs, &x.count) < 0)
        return;
    if (account_write_reserved(s->account, store_job, &x, &e) < 0) {
        imap_error(s, &e);
        return;
    }
    imap_own(s, x.low, x.high);
    if (!x.silent)
        store_tell(&x);
    imap_ok(s, x.missing ? "[EXPUNGEISSUED]" : NULL, "Stored");
}
