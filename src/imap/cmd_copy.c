/* cmd_copy.c - COPY, MOVE and their UID forms (RFC 9051 §6.4.7, §6.4.8). */
#include "imap/session.h"

struct copying {
    struct imap_session *s;
    struct str name;
    struct uid_run *runs;
    size_t count;
    bool move;
    uint32_t uidvalidity;
    VEC(struct uid_run) from, to; /* what was copied where, pairwise equal in number */
    bool no_target;
};

static void run_add(struct uid_run **items, size_t *len, uint32_t uid)
{
    struct uid_run *last = *len ? &(*items)[*len - 1] : NULL;
    if (last && last->first + last->count == uid) {
        last->count++;
        return;
    }
    if ((*len & (*len - 1)) == 0)
        *items = mem_resize(*items, *len ? *len * 2 : 1, sizeof(**items));
    (*items)[(*len)++] = (struct uid_run){uid, 1};
}

/* All or nothing: it is one transaction (RFC 9051 §6.4.7). */
static int copy_job(struct account_tx *tx, void *context, struct error *e)
{
    struct copying *x = context;
    struct arena arena CLEANUP(arena_free) = ARENA_INIT;
    struct mailbox target;
    struct account_usage usage;
    x->from.len = x->to.len = 0;
    if (mailbox_find(tx, x->name, &arena, &target, e) < 0 || target.no_select) {
        x->no_target = true;
        return error_set(e, ERROR_NOT_FOUND, "There is no such mailbox");
    }
    account_usage(tx, &usage);
    x->uidvalidity = target.uidvalidity;
    for (size_t i = 0; i < x->count; i++)
        for (uint32_t k = 0; k < x->runs[i].count; k++) {
            uint32_t uid = x->runs[i].first + k, new_uid;
            int result = x->move
                             ? message_move(tx, x->s->view.mailbox, uid, target.id, &new_uid, e)
                             : message_copy(tx, x->s->view.mailbox, uid, target.id, &new_uid, e);
            if (result < 0 && e->class == ERROR_NOT_FOUND)
                continue; /* another session expunged it */
            if (result < 0)
                return -1;
            run_add(&x->from.items, &x->from.len, uid);
            run_add(&x->to.items, &x->to.len, new_uid);
        }
    if (!x->move && x->s->quota) {
        account_usage(tx, &usage);
        if (usage.bytes > x->s->quota)
            return error_set(e, ERROR_QUOTA, "The mailbox is full");
    }
    return 0;
}

static void runs_put(struct buf *out, const struct uid_run *runs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        buf_printf(out, "%s%u", i ? "," : "", runs[i].first);
        if (runs[i].count > 1)
            buf_printf(out, ":%u", runs[i].first + runs[i].count - 1);
    }
}

static void copy_or_move(struct imap_session *s, struct imap_lexer *l, bool uid, bool move)
{
    struct copying x = {.s = s, .move = move};
    struct imap_set set;
    struct error e = {0};
    if (imap_space(l) < 0 || imap_set(l, &set) < 0 || imap_space(l) < 0 ||
        imap_mailbox(l, &x.name) < 0 || !imap_at_end(l)) {
        imap_bad(s, "Say COPY set mailbox");
        return;
    }
    if (move && s->read_only) {
        imap_no(s, "[READ-ONLY]", "The mailbox was opened by EXAMINE");
        return;
    }
    if (imap_set_resolve(s, &set, uid, &x.runs, &x.count) < 0)
        return;
    if ((move ? account_write_reserved : account_write)(s->account, copy_job, &x, &e) < 0) {
        if (x.no_target)
            imap_no(s, "[TRYCREATE]", "There is no such mailbox");
        else
            imap_error(s, &e);
    } else {
        struct buf code = BUF_INIT(BUF_UNBOUNDED);
        if (x.from.len) { /* RFC 4315 §3 */
            buf_printf(&code, "[COPYUID %u ", x.uidvalidity);
            runs_put(&code, x.from.items, x.from.len);
            buf_add_char(&code, ' ');
            runs_put(&code, x.to.items, x.to.len);
            buf_add_char(&code, ']');
        }
        if (move && code.len) { /* RFC 6851 §4.3: before the EXPUNGEs */
            stream_printf(&s->stream, "* OK " STR_FMT " Moved\r\n", STR_ARG(buf_str(&code)));
            imap_ok(s, NULL, "Moved");
        } else {
            imap_ok(s, code.len ? buf_c_string(&code) : NULL, move ? "Nothing to move" : "Copied");
        }
        buf_free(&code);
    }
    mem_free(x.from.items);
    mem_free(x.to.items);
}

void cmd_copy(struct imap_session *s, struct imap_lexer *l, bool uid)
{
    copy_or_move(s, l, uid, false);
}

void cmd_move(struct imap_session *s, struct imap_lexer *l, bool uid)
{
    copy_or_move(s, l, uid, true);
}
