/* session.c - POP3 after the login. See session.h. */
#include "pop3/session.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/vec.h"
#include "pop3/commands.h"
#include "run/conn.h"
#include "run/settings.h"
#include "run/stream.h"

enum {
    PIECE = 64 * 1024,     /* of a message, read and stuffed at a time */
    OUT_HIGH = 128 * 1024, /* unsent bytes above which the session waits for the peer */
    IN_MAX = 16 * 1024,
    BAD_COMMANDS_MAX = 50,
};

struct drop_message {
    uint64_t email, size;
    uint32_t uid;
    bool deleted, retrieved; /* in this session */
};

/* A message (or its top) that is being sent, piece by piece. */
struct sending {
    bool active;
    uint64_t email, offset, size;
    bool line_start;
    bool in_body;        /* TOP: the blank line was passed */
    uint64_t lines_left; /* TOP: of the body; UINT64_MAX for RETR */
};

struct pop3_session {
    struct conn conn;
    struct stream stream;
    struct account *account;
    const struct settings *settings;
    struct account_listener listener;
    _Atomic bool ended; /* the account says: the session is over */
    uint64_t mailbox;
    uint32_t uidvalidity;
    VEC(struct drop_message) messages;
    struct sending sending;
    unsigned bad_commands;
    bool quitting;
    uint64_t account_id, retrieved_count, deleted_count;
    bool plaintext; /* for CAPA: what was offered before the login */
    char mechanisms[256];
    char label[96]; /* the log context */
};

/* ------------------------------------------------------------------ replies */

static void pop3_ok(struct pop3_session *s, const char *text)
{
    stream_printf(&s->stream, "+OK %s\r\n", text);
}

static int pop3_bad(struct pop3_session *s, const char *text)
{
    stream_printf(&s->stream, "-ERR %s\r\n", text);
    return 0;
}

/* The one place where errors become POP3 replies (response codes of RFC 2449 §8 and RFC 3206 §4). */
static int pop3_error(struct pop3_session *s, const struct error *e)
{
    const char *code = "";
    if (e->class == ERROR_TEMPORARY || e->class == ERROR_FULL)
        code = "[SYS/TEMP] ";
    else if (e->class == ERROR_CORRUPT || e->class == ERROR_INTERNAL)
        code = "[SYS/PERM] ";
    log_event(LOG_WARNING, "pop3-error", "class=%s error=%s cause=%s", error_class_name(e->class),
              log_quote(str_from(e->text)), log_quote(str_from(e->cause)));
    stream_printf(&s->stream, "-ERR %s%s\r\n", code, e->text);
    return 0;
}

/* ------------------------------------------------------------------ the maildrop */

static int maildrop_load(struct pop3_session *s, struct error *e)
{
    struct account_tx *tx CLEANUP(account_rollback) = NULL;
    struct arena arena CLEANUP(arena_free) = ARENA_INIT;
    struct mailbox inbox;
    if (account_begin(s->account, ACCOUNT_READ, &tx, e) < 0 ||
        mailbox_find(tx, STR("INBOX"), &arena, &inbox, e) < 0)
        return -1;
    s->mailbox = inbox.id;
    s->uidvalidity = inbox.uidvalidity;
    VEC_RESERVE(&s->messages, (size_t)inbox.messages);
    struct message_cursor cursor;
    struct message message;
    int more;
    message_cursor_open(&cursor, tx, inbox.id, 1, UINT32_MAX, 0, COLUMN_EMAIL);
    while ((more = message_cursor_next(&cursor, &message, e)) > 0)
        VEC_ADD(&s->messages, (struct drop_message){.email = message.email,
                                                    .size = message.size,
                                                    .uid = message.uid});
    message_cursor_close(&cursor);
    return more;
}

/* The message that an argument names. NULL after -ERR: no such number, or marked as deleted. */
static struct drop_message *message_named(struct pop3_session *s, struct str argument)
{
    uint64_t number;
    if (str_to_u64(argument, UINT32_MAX, &number) < 0 || number == 0 || number > s->messages.len) {
        pop3_bad(s, "No such message");
        return NULL;
    }
    struct drop_message *message = &s->messages.items[number - 1];
    if (message->deleted) {
        pop3_bad(s, "That message is marked as deleted");
        return NULL;
    }
    return message;
}

static void maildrop_totals(const struct pop3_session *s, size_t *count, uint64_t *size)
{
    *count = 0;
    *size = 0;
    for (size_t i = 0; i < s->messages.len; i++)
        if (!s->messages.items[i].deleted) {
            (*count)++;
            *size += s->messages.items[i].size;
        }
}

/* ------------------------------------------------------------------ commands */

int pop3_stat(struct pop3_session *s, struct str *arguments UNUSED, size_t argument_count UNUSED)
{
    size_t count;
    uint64_t size;
    maildrop_totals(s, &count, &size);
    stream_printf(&s->stream, "+OK %zu %llu\r\n", count, (unsigned long long)size);
    return 0;
}

/* LIST and UIDL alike: one line for a message that is named, all lines otherwise. */
static int listing(struct pop3_session *s, struct str *arguments, size_t argument_count,
                   void (*line)(struct pop3_session *, size_t number, const struct drop_message *))
{
    if (argument_count) {
        const struct drop_message *message = message_named(s, arguments[0]);
        if (message) {
            stream_put_literal(&s->stream, "+OK ");
            line(s, (size_t)(message - s->messages.items) + 1, message);
        }
        return 0;
    }
    size_t count;
    uint64_t size;
    maildrop_totals(s, &count, &size);
    stream_printf(&s->stream, "+OK %zu messages (%llu octets)\r\n", count,
                  (unsigned long long)size);
    for (size_t i = 0; i < s->messages.len; i++)
        if (!s->messages.items[i].deleted)
            line(s, i + 1, &s->messages.items[i]);
    stream_put_literal(&s->stream, ".\r\n");
    return 0;
}

static void list_line(struct pop3_session *s, size_t number, const struct drop_message *message)
{
    stream_printf(&s->stream, "%zu %llu\r\n", number, (unsigned long long)message->size);
}

int pop3_list(struct pop3_session *s, struct str *arguments, size_t argument_count)
{
    return listing(s, arguments, argument_count, list_line);
}

/* UIDVALIDITY and UID: unique in the maildrop for all time and the same in every session, as RFC 1939
 * §7 wants. */
static void uidl_line(struct pop3_session *s, size_t number, const struct drop_message *message)
{
    stream_printf(&s->stream, "%zu %08x%08x\r\n", number, s->uidvalidity, message->uid);
}

int pop3_uidl(struct pop3_session *s, struct str *arguments, size_t argument_count)
{
    return listing(s, arguments, argument_count, uidl_line);
}

static void sending_begin(struct pop3_session *s, const struct drop_message *message,
                          uint64_t lines)
{
    s->sending = (struct sending){.active = true,
                                  .email = message->email,
                                  .size = message->size,
                                  .line_start = true,
                                  .lines_left = lines};
}

int pop3_retr(struct pop3_session *s, struct str *arguments, size_t argument_count UNUSED)
{
    struct drop_message *message = message_named(s, arguments[0]);
    if (!message)
        return 0;
    message->retrieved = true;
    s->retrieved_count++;
    sending_begin(s, message, UINT64_MAX);
    return 0;
}

int pop3_top(struct pop3_session *s, struct str *arguments, size_t argument_count UNUSED)
{
    uint64_t lines;
    const struct drop_message *message = message_named(s, arguments[0]);
    if (!message)
        return 0;
    if (str_to_u64(arguments[1], UINT64_MAX - 1, &lines) < 0)
        return pop3_bad(s, "The number of lines is not a number");
    sending_begin(s, message, lines);
    return 0;
}

int pop3_dele(struct pop3_session *s, struct str *arguments, size_t argument_count UNUSED)
{
    struct drop_message *message = message_named(s, arguments[0]);
    if (!message)
        return 0;
    message->deleted = true;
    pop3_ok(s, "Marked as deleted");
    return 0;
}

int pop3_rset(struct pop3_session *s, struct str *arguments UNUSED, size_t argument_count UNUSED)
{
    for (size_t i = 0; i < s->messages.len; i++)
        s->messages.items[i].deleted = false;
    pop3_ok(s, "Nothing is marked as deleted");
    return 0;
}

int pop3_noop(struct pop3_session *s, struct str *arguments UNUSED, size_t argument_count UNUSED)
{
    pop3_ok(s, "Nothing done");
    return 0;
}

int pop3_capa(struct pop3_session *s, struct str *arguments UNUSED, size_t argument_count UNUSED)
{
    struct buf text = BUF_INIT(4096);
    pop3_capabilities(&text, false, s->plaintext, str_from(s->mechanisms));
    stream_put(&s->stream, buf_str(&text));
    buf_free(&text);
    return 0;
}

/* What QUIT does, in one transaction: removes what was marked, notes what was read as \Seen. What
 * another session removed meanwhile is gone already, and that is fine. */
static int update_job(struct account_tx *tx, void *context, struct error *e)
{
    struct pop3_session *s = context;
    for (size_t i = 0; i < s->messages.len; i++) {
        const struct drop_message *m = &s->messages.items[i];
        struct message after;
        bool changed;
        int result = 0;
        if (m->deleted)
            result = message_expunge(tx, s->mailbox, m->uid, e);
        else if (m->retrieved)
            result = message_flags(tx, s->mailbox, m->uid, FLAGS_ADD, FLAG_SEEN, NULL, 0,
                                   UINT64_MAX, &after, &changed, e);
        if (result < 0 && e->class != ERROR_NOT_FOUND)
            return -1;
    }
    return 0;
}

int pop3_quit(struct pop3_session *s, struct str *arguments UNUSED, size_t argument_count UNUSED)
{
    bool anything = false;
    for (size_t i = 0; i < s->messages.len; i++) {
        anything |= s->messages.items[i].deleted || s->messages.items[i].retrieved;
        s->deleted_count += s->messages.items[i].deleted;
    }
    struct error e = {0};
    s->quitting = true;
    if (anything && account_write_reserved(s->account, update_job, s, &e) < 0)
        pop3_error(s, &e);
    else
        pop3_ok(s, "Good-bye");
    return -1;
}

/* ------------------------------------------------------------------ sending a message */

/* Adds one piece of the message to the output, with dots stuffed (RFC 1939 §3) and, for TOP, up to
 * the last line that was asked for. Every stored line ends in CRLF, except perhaps the last. */
static void piece_stuff(struct pop3_session *s, struct str piece)
{
    struct sending *sending = &s->sending;
    while (piece.len && sending->active) {
        size_t end = str_find_char(piece, '\n');
        bool whole = end < piece.len;
        struct str line = str_slice(piece, 0, whole ? end + 1 : piece.len);
        piece = str_from_pos(piece, line.len);
        if (sending->line_start && sending->in_body && sending->lines_left == 0) {
            sending->offset = sending->size;
            return;
        }
        if (sending->line_start && line.data[0] == '.')
            stream_put_literal(&s->stream, ".");
        if (sending->line_start && !sending->in_body && (str_equal(line, STR("\r\n"))))
            sending->in_body = true;
        else if (whole && sending->in_body && sending->lines_left != UINT64_MAX)
            sending->lines_left--;
        stream_put(&s->stream, line);
        sending->line_start = whole;
    }
}

/* Goes on until the message is sent or enough waits for the peer. */
static void sending_continue(struct pop3_session *s)
{
    struct sending *sending = &s->sending;
    struct buf piece = BUF_INIT(PIECE);
    struct error e = {0};
    while (sending->active && !s->stream.failed && stream_unsent(&s->stream) < OUT_HIGH) {
        struct account_tx *tx CLEANUP(account_rollback) = NULL;
        buf_reset(&piece);
        if (account_begin(s->account, ACCOUNT_READ, &tx, &e) < 0 ||
            message_read(tx, sending->email, sending->offset, PIECE, &piece, &e) < 0) {
            /* Behind the first line nothing can be said any more but by hanging up. */
            if (sending->offset)
                s->stream.failed = true;
            else if (e.class == ERROR_NOT_FOUND)
                pop3_bad(s, "That message was removed by another session");
            else
                pop3_error(s, &e);
            sending->active = false;
            break;
        }
        if (sending->offset == 0)
            stream_printf(&s->stream, "+OK %llu octets\r\n", (unsigned long long)sending->size);
        /* CR LF is not cut: a CR at the end waits for the next piece. */
        struct str text = buf_str(&piece);
        if (text.len > 1 && str_ends(text, STR("\r")) && sending->offset + text.len < sending->size)
            text.len--;
        sending->offset += text.len;
        piece_stuff(s, text);
        if (sending->offset >= sending->size || piece.len == 0) {
            stream_put_literal(&s->stream, sending->line_start ? ".\r\n" : "\r\n.\r\n");
            sending->active = false;
        }
    }
    buf_free(&piece);
}

/* ------------------------------------------------------------------ the session */

/* Executes one command line; -1: the session is over. */
static int command_run(struct pop3_session *s, struct str line)
{
    struct str arguments[POP3_ARGUMENTS_MAX];
    size_t count;
    const struct pop3_command *command = pop3_command_parse(line, arguments, &count);
    const char *wrong = NULL;
    if (!command)
        wrong = "Unknown command";
    else if (!command->run)
        wrong = "You are logged in already";
    else if (count < command->arguments_min || count > command->arguments_max)
        wrong = "Wrong number of arguments";
    if (!wrong)
        return command->run(s, arguments, count);
    pop3_bad(s, wrong);
    if (++s->bad_commands < BAD_COMMANDS_MAX)
        return 0;
    pop3_bad(s, "Too many bad commands, good-bye");
    return -1;
}

/* Takes commands off the input until it is used up, the session ends or the peer must read first. */
static int input_run(struct pop3_session *s)
{
    for (;;) {
        sending_continue(s);
        if (stream_unsent(&s->stream) >= OUT_HIGH && stream_flush(&s->stream) != 0)
            return s->stream.failed ? -1 : 0;
        if (s->sending.active)
            continue;
        struct str line;
        bool bare_lf;
        int got = stream_line(&s->stream, POP3_LINE_MAX, &line, &bare_lf);
        if (got < 0) {
            pop3_bad(s, "Line too long, good-bye");
            return -1;
        }
        if (got == 0) {
            ssize_t n = stream_fill(&s->stream, IN_MAX);
            if (n < 0)
                return -1;
            if (n == 0)
                return 0;
            continue;
        }
        if (command_run(s, line) < 0)
            return -1;
    }
}

static enum conn_verdict session_run(struct conn *conn, unsigned events)
{
    struct pop3_session *s = CONTAINER_OF(conn, struct pop3_session, conn);
    log_set_context("%s", s->label);
    int64_t now = clock_monotonic_ms();
    int flushed = stream_flush(&s->stream);
    enum conn_verdict verdict = CONN_PARK;
    if (s->ended) {
        pop3_bad(s, "[SYS/TEMP] The account was changed: please log in again");
        verdict = CONN_CLOSE;
    } else if (events & CONN_STOPPING) {
        pop3_bad(s, "[SYS/TEMP] The server is being restarted");
        verdict = CONN_CLOSE;
    } else if (events & CONN_TIMEOUT && now >= conn->deadline) {
        verdict = CONN_CLOSE; /* RFC 1939 §3: without a reply, and nothing is removed */
    } else if (flushed < 0 || (flushed == 0 && input_run(s) < 0)) {
        verdict = CONN_CLOSE;
    }
    flushed = stream_flush(&s->stream);
    if (flushed < 0)
        verdict = CONN_CLOSE;
    conn->want = stream_want(&s->stream, flushed == 0);
    conn->deadline = now + (int64_t)s->settings->pop3.idle_timeout;
    log_clear_context();
    return verdict;
}

static void session_free(struct conn *conn)
{
    struct pop3_session *s = CONTAINER_OF(conn, struct pop3_session, conn);
    log_set_context("%s", s->label);
    log_event(LOG_INFO, "pop3-end", "retrieved=%llu deleted=%llu quit=%s bytes-out=%llu",
              (unsigned long long)s->retrieved_count, (unsigned long long)s->deleted_count,
              s->quitting ? "yes" : "no", (unsigned long long)s->stream.bytes_out);
    log_clear_context();
    account_unlisten(s->account, &s->listener);
    account_close(&s->account);
    settings_unref(&s->settings);
    stream_close(&s->stream);
    VEC_FREE(&s->messages);
    mem_free(s);
}

static void account_ended(struct account_listener *listener)
{
    struct pop3_session *s = CONTAINER_OF(listener, struct pop3_session, listener);
    s->ended = true;
    conn_wake(&s->conn);
}

static void account_changed(struct account_listener *listener UNUSED, uint64_t modseq UNUSED)
{
    /* the maildrop stays as it was at the login */
}

int pop3_session_start(const struct attach *a, int fd, struct error *e)
{
    static const struct conn_class class = {"pop3", session_run, session_free};
    struct pop3_session *s = mem_alloc(sizeof(*s));
    s->account_id = a->account;
    if (account_open(a->account, &s->account, e) < 0 || maildrop_load(s, e) < 0) {
        account_close(&s->account);
        VEC_FREE(&s->messages);
        mem_free(s);
        fd_close(&fd);
        return -1;
    }
    snprintf(s->label, sizeof(s->label), "session=" STR_FMT " account=%llu", STR_ARG(a->session),
             (unsigned long long)a->account);
    s->plaintext = a->plaintext;
    snprintf(s->mechanisms, sizeof(s->mechanisms), STR_FMT, STR_ARG(a->mechanisms));
    s->settings = settings_ref();
    stream_init(&s->stream, fd, IN_MAX, BUF_UNBOUNDED);
    buf_add(&s->stream.in, a->input);
    s->conn.class = &class;
    s->conn.fd = fd;
    s->listener.changed = account_changed;
    s->listener.ended = account_ended;
    size_t count;
    uint64_t size;
    maildrop_totals(s, &count, &size);
    stream_printf(&s->stream, "+OK Logged in, %zu messages (%llu octets)\r\n", count,
                  (unsigned long long)size);
    account_listen(s->account, &s->listener);
    conn_start(&s->conn); /* from here on s belongs to the workers */
    return 0;
}
