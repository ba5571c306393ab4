/* cmd_mailbox.c - CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE, STATUS. */
#include "imap/session.h"

struct naming {
    struct str from, to;
    struct arena *arena;
};

static int create_job(struct account_tx *tx, void *context, struct error *e)
{
    struct naming *n = context;
    struct mailbox made;
    return mailbox_create(tx, n->from, USE_NONE, n->arena, &made, e);
}

static int delete_job(struct account_tx *tx, void *context, struct error *e)
{
    return mailbox_delete(tx, ((struct naming *)context)->from, e);
}

static int rename_job(struct account_tx *tx, void *context, struct error *e)
{
    struct naming *n = context;
    return mailbox_rename(tx, n->from, n->to, e);
}

static int subscribe_job(struct account_tx *tx, void *context, struct error *e)
{
    return mailbox_subscribe(tx, ((struct naming *)context)->from, true, e);
}

static int unsubscribe_job(struct account_tx *tx, void *context, struct error *e)
{
    return mailbox_subscribe(tx, ((struct naming *)context)->from, false, e);
}

/* "a/b/" stands for "a/b", whose children are to come (RFC 9051 §6.3.4). */
static struct str without_separator(struct str name)
{
    return name.len > 1 && name.data[name.len - 1] == '/' ? str_slice(name, 0, name.len - 1) : name;
}

static void naming_run(struct imap_session *s, struct imap_lexer *l, bool two, const char *done,
                       int (*job)(struct account_tx *, void *, struct error *))
{
    struct naming n = {.arena = &s->arena};
    struct error e = {0};
    if (imap_space(l) < 0 || imap_mailbox(l, &n.from) < 0 ||
        (two && (imap_space(l) < 0 || imap_mailbox(l, &n.to) < 0)) || !imap_at_end(l)) {
        imap_bad(s, two ? "Two mailbox names are expected" : "A mailbox name is expected");
        return;
    }
    n.from = without_separator(n.from);
    n.to = without_separator(n.to);
    if (account_write_reserved(s->account, job, &n, &e) < 0)
        imap_error(s, &e);
    else
        imap_ok(s, NULL, done);
}

void cmd_create(struct imap_session *s, struct imap_lexer *l, bool uid UNUSED)
{
    naming_run(s, l, false, "Created", create_job);
}

void cmd_delete(struct imap_session *s, struct imap_lexer *l, bool uid UNUSED)
{
    naming_run(s, l, false, "Deleted", delete_job);
}

void cmd_rename(struct imap_session *s, struct imap_lexer *l, bool uid UNUSED)
{
    naming_run(s, l, true, "Renamed", rename_job);
}

void cmd_subscribe(struct imap_session *s, struct imap_lexer *l, bool uid UNUSED)
{
    naming_run(s, l, false, "Subscribed", subscribe_job);
}

void cmd_unsubscribe(struct imap_session *s, struct imap_lexer *l, bool uid UNUSED)
{
    naming_run(s, l, false, "Unsubscribed", unsubscribe_job);
}

/* ------------------------------------------------------------------ STATUS */

int status_items_parse(struct imap_lexer *l, struct status_items *out)
{
    static const struct {
        struct str name;
        size_t offset;
    } names[] = {
        {STR_INIT("MESSAGES"), offsetof(struct status_items, messages)},
        {STR_INIT("RECENT"), offsetof(struct status_items, recent)},
        {STR_INIT("UIDNEXT"), offsetof(struct status_items, uidnext)},
        {STR_INIT("UIDVALIDITY"), offsetof(struct status_items, uidvalidity)},
        {STR_INIT("UNSEEN"), offsetof(struct status_items, unseen)},
        {STR_INIT("DELETED"), offsetof(struct status_items, deleted)},
        {STR_INIT("SIZE"), offsetof(struct status_items, size)},
    };
    *out = (struct status_items){0};
    if (!imap_take(l, '('))
        return -1;
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
    return imap_take(l, ')') ? 0 : -1;
}

void status_put(struct imap_session *s, const struct mailbox *m, const struct status_items *items)
{
    const struct {
        bool wanted;
        const char *name;
        uint64_t value;
    } rows[] = {
        {items->messages, "MESSAGES", m->messages},
        {items->recent, "RECENT", 0},
        {items->uidnext, "UIDNEXT", m->uidnext},
        {items->uidvalidity, "UIDVALIDITY", m->uidvalidity},
        {items->unseen, "UNSEEN", m->unseen},
        {items->deleted, "DELETED", m->deleted},
        {items->size, "SIZE", m->size},
    };
    const char *between = "";
    imap_put(s, "* STATUS ");
    imap_put_mailbox(s, m->name);
    imap_put(s, " (");
    for (size_t i = 0; i < countof(rows); i++)
        if (rows[i].wanted) {
            uint64_t value = rows[i].value;
            if (i == 1) /* \Recent: not claimed by any session yet, at most all there are */
                value = MIN((uint64_t)(m->uidnext - m->first_recent), m->messages);
            stream_printf(&s->stream, "%s%s %llu", between, rows[i].name,
                          (unsigned long long)value);
            between = " ";
        }
    imap_put(s, ")\r\n");
}

void cmd_status(struct imap_session *s, struct imap_lexer *l, bool uid UNUSED)
{
    struct account_tx *tx CLEANUP(account_rollback) = NULL;
    struct str name;
    struct status_items items;
    struct mailbox m;
    struct error e = {0};
    if (imap_space(l) < 0 || imap_mailbox(l, &name) < 0 || imap_space(l) < 0 ||
        status_items_parse(l, &items) < 0 || !imap_at_end(l)) {
        imap_bad(s, "Say STATUS mailbox (items)");
        return;
    }
    int result = account_begin(s->account, ACCOUNT_READ, &tx, &e);
    if (result == 0)
        result = mailbox_find(tx, name, &s->arena, &m, &e);
    if (result == 0 && m.no_select)
        result = error_set(&e, ERROR_NOT_FOUND, "That name only holds other mailboxes");
    account_rollback(&tx);
    if (result < 0) {
        imap_error(s, &e);
        return;
    }
    status_put(s, &m, &items);
    imap_ok(s, NULL, "That is all");
}
