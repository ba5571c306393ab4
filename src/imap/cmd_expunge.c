/* cmd_expunge.c - EXPUNGE, UID EXPUNGE (RFC 4315 §2.1). */
#include "imap/session.h"

struct expunging {
    struct imap_session *s;
    struct uid_run *runs;
    size_t count;
};

static int expunge_job(struct account_tx *tx, void *context, struct error *e)
{
    struct expunging *x = context;
    VEC(uint32_t) uids = VEC_INIT;
    int more = 0, result = 0;
    for (size_t i = 0; i < x->count && more == 0; i++) {
        struct message_cursor cursor;
        struct message row;
        message_cursor_open(&cursor, tx, x->s->view.mailbox, x->runs[i].first,
                            x->runs[i].first + x->runs[i].count - 1, 0, 0);
        while ((more = message_cursor_next(&cursor, &row, e)) > 0)
            if (row.flags & FLAG_DELETED)
                VEC_ADD(&uids, row.uid);
        message_cursor_close(&cursor);
    }
    for (size_t i = 0; i < uids.len && result == 0 && more == 0; i++)
        result = message_expunge(tx, x->s->view.mailbox, uids.items[i], e);
    VEC_FREE(&uids);
    return more < 0 ? -1 : result;
}

void cmd_expunge(struct imap_session *s, struct imap_lexer *l, bool uid)
{
    struct imap_range all = {1, UINT32_MAX};
    struct imap_set set = {.ranges = &all, .count = 1};
    struct expunging x = {.s = s};
    struct error e = {0};
    if ((uid && (imap_space(l) < 0 || imap_set(l, &set) < 0)) || !imap_at_end(l)) {
        imap_bad(s, uid ? "Say UID EXPUNGE set" : "EXPUNGE has no arguments");
        return;
    }
    if (s->read_only) {
        imap_no(s, "[READ-ONLY]", "The mailbox was opened by EXAMINE");
        return;
    }
    if (imap_set_resolve(s, &set, true, &x.runs, &x.count) < 0)
        return;
    if (account_write_reserved(s->account, expunge_job, &x, &e) < 0)
        imap_error(s, &e);
    else
        imap_ok(s, NULL, "Expunged");
}
