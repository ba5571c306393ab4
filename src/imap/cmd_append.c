/* cmd_append.c - APPEND: the message's literal goes straight into a memfd as it comes. */
#include "base/clock.h"
#include "delivery/deliver.h"
#include "delivery/usage.h"
#include "imap/session.h"
#include "message/date.h"
#include "message/scan.h"
#include "run/ipc.h"
#include "store/trace.h"

struct append {
    struct str mailbox; /* in the session's arena, as the next ones */
    struct imap_flags flags;
    int64_t received;
    int fd;
    uint64_t left, size;
    char last; /* byte, to tell a bare LF from CRLF */
    bool nul, failed, line;
};

/* "tag APPEND mailbox [(flags)] [date-time] " with nothing left: the message comes next. */
static int append_parse(struct str text, struct imap_lexer *l, struct append *out)
{
    struct str tag, name, date;
    l->rest = text;
    out->received = clock_real_seconds();
    if (imap_tag(l, &tag) < 0 || imap_space(l) < 0 || imap_atom(l, &name) < 0 ||
        !str_equal_nocase(name, STR("APPEND")) || imap_space(l) < 0 ||
        imap_mailbox(l, &out->mailbox) < 0 || imap_space(l) < 0)
        return -1;
    if (l->rest.len && l->rest.data[0] == '(' &&
        (imap_flags(l, false, &out->flags) < 0 || imap_space(l) < 0))
        return -1;
    if (l->rest.len && l->rest.data[0] == '"' &&
        (imap_string(l, &date) < 0 || date_parse_imap(date, &out->received) < 0 ||
         imap_space(l) < 0))
        return -1;
    imap_take(l, '~'); /* RFC 3516 literal8 */
    return imap_at_end(l) ? 0 : -1;
}

bool append_is_message(struct str so_far)
{
    size_t space = str_find_char(so_far, ' ');
    if (!str_starts_nocase(str_from_pos(so_far, space + 1), STR("APPEND ")))
        return false;
    struct arena arena CLEANUP(arena_free) = ARENA_INIT;
    struct imap_lexer l = {.arena = &arena};
    struct append parsed = {0};
    return append_parse(so_far, &l, &parsed) == 0;
}

/* Without a literal. */
void cmd_append(struct imap_session *s, struct imap_lexer *l UNUSED, bool uid UNUSED)
{
    imap_bad(s, "Say APPEND mailbox (flags) \"date\" {size}");
}

static int target_find(struct imap_session *s, struct str name, struct mailbox *out,
                       struct error *e)
{
    struct account_tx *tx CLEANUP(account_rollback) = NULL;
    struct account_usage usage;
    if (account_begin(s->account, ACCOUNT_READ, &tx, e) < 0)
        return -1;
    if (mailbox_find(tx, name, &s->arena, out, e) < 0 || out->no_select)
        return error_set(e, ERROR_NOT_FOUND, "There is no such mailbox");
    account_usage(tx, &usage);
    return s->quota && usage.bytes >= s->quota ? error_set(e, ERROR_QUOTA, "The mailbox is full")
                                               : 0;
}

static void append_refuse(struct imap_session *s, const struct error *e)
{
    if (e->class == ERROR_NOT_FOUND)
        imap_no(s, "[TRYCREATE]", "There is no such mailbox");
    else
        imap_error(s, e);
}

bool append_begin(struct imap_session *s, struct str command, const struct imap_literal *literal)
{
    struct imap_lexer l = {.arena = &s->arena, .utf8 = s->rev2};
    struct append *a = mem_alloc(sizeof(*a));
    struct error e = {0};
    struct mailbox target;
    uint64_t max = s->settings->imap.append_size ? s->settings->imap.append_size
                                                 : s->settings->limits.message_size;
    a->fd = -1;
    bool refused = true;
    if (append_parse(command, &l, a) < 0)
        imap_bad(s, "APPEND was not understood");
    else if (max && literal->size > max)
        imap_no(s, "[TOOBIG]", "The message is too large");
    else if (target_find(s, a->mailbox, &target, &e) < 0)
        append_refuse(s, &e);
    else if ((a->fd = memfd_make("append")) < 0)
        imap_no(s, "[UNAVAILABLE]", "No memory for the message");
    else
        refused = false;
    if (refused) {
        append_free(&a);
        return false;
    }
    a->left = literal->size;
    s->append = a;
    if (literal->sync)
        imap_put(s, "+ Go ahead\r\n");
    return true;
}

void append_free(struct append **a)
{
    if (!*a)
        return;
    fd_close(&(*a)->fd);
    mem_free(*a);
    *a = NULL;
}

/* Writes a piece with bare LF made CRLF: what is stored is what SMTP would have brought. */
static void piece_write(struct append *a, struct str piece)
{
    struct buf out = BUF_INIT(BUF_UNBOUNDED);
    a->nul |= piece.len && memchr(piece.data, '\0', piece.len) != NULL;
    while (piece.len) {
        size_t end = str_find_char(piece, '\n');
        buf_add(&out, str_slice(piece, 0, end));
        char before = end ? piece.data[end - 1] : a->last;
        if (end < piece.len)
            buf_add(&out, before == '\r' ? STR("\n") : STR("\r\n"));
        a->last = end < piece.len ? '\n' : piece.data[piece.len - 1];
        piece = str_from_pos(piece, end + 1);
    }
    a->size += out.len;
    if (!a->failed && fd_write_all(a->fd, out.data, out.len) < 0)
        a->failed = true;
    buf_free(&out);
}

struct append_job {
    struct imap_session *s;
    struct append *append;
    struct message_prepared *prepared;
    uint32_t uidvalidity, uid;
    struct account_usage usage;
};

static int append_job(struct account_tx *tx, void *context, struct error *e)
{
    struct append_job *job = context;
    struct arena arena CLEANUP(arena_free) = ARENA_INIT;
    struct mailbox target;
    uint64_t email;
    if (mailbox_find(tx, job->append->mailbox, &arena, &target, e) < 0)
        return -1;
    job->uidvalidity = target.uidvalidity;
    if (message_append(tx, target.id, job->prepared, &job->uid, &email, e) < 0)
        return -1;
    account_usage(tx, &job->usage);
    if (job->s->quota && job->usage.bytes > job->s->quota)
        return error_set(e, ERROR_QUOTA, "The mailbox is full");
    return 0;
}

static int append_store(struct imap_session *s, struct append *a, struct append_job *job,
                        struct error *e)
{
    struct str message;
    struct buf summary = BUF_INIT(4 * 1024 * 1024);
    if (a->failed || memfd_seal(a->fd) < 0 || memfd_map(a->fd, SIZE_MAX, &message) < 0)
        return error_set(e, ERROR_TEMPORARY, "No memory for the message");
    scan_summarize(a->fd, a->size, &summary);
    struct message_new new = {.data = message,
                              .summary = buf_str(&summary),
                              .received = a->received,
                              .flags = a->flags.system,
                              .keywords = a->flags.keywords,
                              .keyword_count = a->flags.keyword_count};
    int result = disk_has_room() ? message_prepare(&new, &job->prepared, e)
                                 : error_set(e, ERROR_FULL, "The server's disk is full");
    if (result == 0)
        result = account_write(s->account, append_job, job, e);
    message_prepared_free(&job->prepared);
    memfd_unmap(&message);
    buf_free(&summary);
    return result;
}

static void append_finish(struct imap_session *s)
{
    struct append *a = s->append;
    struct append_job job = {.s = s, .append = a};
    struct error e = {0};
    char code[64];
    if (a->nul) {
        imap_no(s, "[CANNOT]", "The message has a NUL byte");
    } else if (append_store(s, a, &job, &e) < 0) {
        append_refuse(s, &e);
    } else {
        usage_note(account_id(s->account), &job.usage);
        snprintf(code, sizeof(code), "[APPENDUID %u %u]", job.uidvalidity, job.uid);
        imap_ok(s, code, "Appended");
    }
    append_free(&s->append);
}

int append_input(struct imap_session *s)
{
    struct append *a = s->append;
    struct str input = stream_input(&s->stream);
    if (a->left) {
        struct str piece = str_slice(input, 0, (size_t)MIN(a->left, (uint64_t)input.len));
        piece_write(a, piece);
        stream_consume(&s->stream, piece.len);
        a->left -= piece.len;
        if (a->left)
            return 0;
        input = stream_input(&s->stream);
    }
    size_t end = str_find_char(input, '\n');
    if (end == input.len)
        return 0;
    bool more = str_trim(str_slice(input, 0, end)).len > 0;
    stream_consume(&s->stream, end + 1);
    if (more) { /* a second message (RFC 3502) is not offered */
        imap_bad(s, "One message is expected");
        append_free(&s->append);
    } else {
        append_finish(s);
    }
    return 1;
}
