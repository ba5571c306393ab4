/* cmd_select.c - SELECT, EXAMINE, CLOSE, UNSELECT. */
#include "imap/session.h"

struct selection {
    struct imap_session *s;
    struct str name;
    bool examine;
    struct mailbox mailbox;
    uint32_t first_recent;
};

/* In a write transaction only because \Recent is claimed. */
static int recent_job(struct account_tx *tx, void *context, struct error *e)
{
    struct selection *sel = context;
    return mailbox_claim_recent(tx, sel->mailbox.id, &sel->first_recent, e);
}

static int selection_find(struct selection *sel, struct error *e)
{
    struct account_tx *tx CLEANUP(account_rollback) = NULL;
    if (account_begin(sel->s->account, ACCOUNT_READ, &tx, e) < 0 ||
        mailbox_find(tx, sel->name, &sel->s->arena, &sel->mailbox, e) < 0)
        return -1;
    if (sel->mailbox.no_select)
        return error_set(e, ERROR_NOT_FOUND, "That name only holds other mailboxes");
    sel->first_recent = sel->mailbox.first_recent;
    return 0;
}

static void flags_put(struct imap_session *s, struct account_tx *tx)
{
    struct str *names;
    size_t count;
    struct buf *out = &s->stream.out;
    mailbox_keywords(tx, s->view.mailbox, &s->arena, &names, &count, NULL);
    for (int permanent = 0; permanent < 2; permanent++) {
        if (permanent && s->read_only) {
            buf_add_literal(out, "* OK [PERMANENTFLAGS ()] Nothing can be changed\r\n");
            break;
        }
        buf_add(out, permanent ? STR("* OK [PERMANENTFLAGS (") : STR("* FLAGS ("));
        buf_add_literal(out, "\\Answered \\Flagged \\Deleted \\Seen \\Draft");
        for (size_t i = 0; i < count; i++) {
            buf_add_char(out, ' ');
            buf_add(out, names[i]);
        }
        buf_add(out, permanent ? STR(" \\*)] These and new ones\r\n") : STR(")\r\n"));
    }
}

static uint32_t first_unseen(struct imap_session *s, struct account_tx *tx, const struct mailbox *m)
{
    struct message_cursor cursor;
    struct message row;
    uint32_t found = 0;
    if (m->unseen == 0)
        return 0;
    message_cursor_open(&cursor, tx, m->id, 1, UINT32_MAX, 0, 0);
    while (!found && message_cursor_next(&cursor, &row, NULL) > 0)
        if (!(row.flags & FLAG_SEEN))
            found = view_sequence(&s->view, row.uid);
    message_cursor_close(&cursor);
    return found;
}

static int selection_open(struct selection *sel, struct error *e)
{
    struct imap_session *s = sel->s;
    struct account_tx *tx CLEANUP(account_rollback) = NULL;
    struct uid_run *runs;
    size_t count;
    if (account_begin(s->account, ACCOUNT_READ, &tx, e) < 0 ||
        mailbox_get(tx, sel->mailbox.id, &s->arena, &sel->mailbox, e) < 0 ||
        mailbox_uids(tx, sel->mailbox.id, &runs, &count, e) < 0)
        return -1;
    view_set(&s->view, runs, count);
    mem_free(runs);
    s->view.mailbox = sel->mailbox.id;
    s->view.uidnext = sel->mailbox.uidnext;
    s->view.first_recent = sel->first_recent;
    s->view.modseq = s->view.expunge_modseq = s->synced_modseq = account_modseq(tx);
    s->state = IMAP_SELECTED;
    s->read_only = sel->examine;
    flags_put(s, tx);
    stream_printf(&s->stream, "* %u EXISTS\r\n", s->view.total);
    if (!s->rev2) {
        stream_printf(&s->stream, "* %u RECENT\r\n",
                      s->view.total - view_count_below(&s->view, s->view.first_recent));
        uint32_t unseen = first_unseen(s, tx, &sel->mailbox);
        if (unseen)
            stream_printf(&s->stream, "* OK [UNSEEN %u] The first one\r\n", unseen);
    }
    stream_printf(&s->stream,
                  "* OK [UIDVALIDITY %u] UIDs are valid\r\n* OK [UIDNEXT %u] The next UID\r\n",
                  sel->mailbox.uidvalidity, sel->mailbox.uidnext);
    if (s->rev2) { /* RFC 9051 §6.3.2 */
        imap_put(s, "* LIST () \"/\" ");
        imap_put_mailbox(s, sel->mailbox.name);
        imap_put(s, "\r\n");
    }
    return 0;
}

static void select_mailbox(struct imap_session *s, struct imap_lexer *l, bool examine)
{
    struct selection sel = {.s = s, .examine = examine};
    struct error e = {0};
    if (imap_space(l) < 0 || imap_mailbox(l, &sel.name) < 0 || !imap_at_end(l)) {
        imap_bad(s, "Say SELECT mailbox");
        return;
    }
    if (s->state == IMAP_SELECTED) {
        imap_unselect(s); /* also when the new one cannot be opened: RFC 9051 §6.3.2 */
        imap_put(s, "* OK [CLOSED] The mailbox before is closed\r\n");
    }
    if (selection_find(&sel, &e) < 0 ||
        (!examine && sel.mailbox.first_recent != sel.mailbox.uidnext &&
         account_write_reserved(s->account, recent_job, &sel, &e) < 0) ||
        selection_open(&sel, &e) < 0) {
        imap_unselect(s);
        imap_error(s, &e);
        return;
    }
    imap_ok(s, examine ? "[READ-ONLY]" : "[READ-WRITE]", "Selected");
}

void cmd_select(struct imap_session *s, struct imap_lexer *l, bool uid UNUSED)
{
    select_mailbox(s, l, false);
}

void cmd_examine(struct imap_session *s, struct imap_lexer *l, bool uid UNUSED)
{
    select_mailbox(s, l, true);
}

/* Expunges without telling (RFC 9051 §6.4.1). */
static int close_job(struct account_tx *tx, void *context, struct error *e)
{
    struct imap_session *s = context;
    VEC(uint32_t) uids = VEC_INIT;
    struct message_cursor cursor;
    struct message row;
    int more, result = 0;
    message_cursor_open(&cursor, tx, s->view.mailbox, 1, UINT32_MAX, 0, 0);
    while ((more = message_cursor_next(&cursor, &row, e)) > 0)
        if (row.flags & FLAG_DELETED)
            VEC_ADD(&uids, row.uid);
    message_cursor_close(&cursor);
    for (size_t i = 0; i < uids.len && result == 0 && more == 0; i++)
        result = message_expunge(tx, s->view.mailbox, uids.items[i], e);
    VEC_FREE(&uids);
    return more < 0 ? -1 : result;
}

void cmd_close(struct imap_session *s, struct imap_lexer *l UNUSED, bool uid UNUSED)
{
    struct error e = {0};
    bool failed = !s->read_only && account_write_reserved(s->account, close_job, s, &e) < 0 &&
                  e.class != ERROR_NOT_FOUND;
    imap_unselect(s);
    if (failed)
        imap_error(s, &e);
    else
        imap_ok(s, NULL, "Closed");
}

void cmd_unselect(struct imap_session *s, struct imap_lexer *l UNUSED, bool uid UNUSED)
{
    imap_unselect(s);
    imap_ok(s, NULL, "Closed, and nothing expunged");
}
