/* session.c - the life of an IMAP session in box: input, commands, waiting, the end. */
#include "imap/session.h"

#include "base/clock.h"
#include "base/log.h"
#include "imap/capability.h"

enum { BAD_COMMANDS_MAX = 50, FILL_MAX = 64 * 1024, SWALLOW_MAX = 512 * 1024 * 1024 };

/* ------------------------------------------------------------------ one command */

static void command_run(struct imap_session *s, struct str text)
{
    struct imap_lexer l = {.rest = text, .arena = &s->arena, .utf8 = s->rev2};
    struct str tag, name;
    bool uid = false;
    s->commands++;
    s->tag = STR("*");
    s->expunges_allowed = true;
    if (imap_tag(&l, &tag) < 0 || tag.len >= sizeof(s->tag_space) || imap_space(&l) < 0 ||
        imap_atom(&l, &name) < 0) {
        imap_bad(s, "A command is a tag, a name and arguments");
        return;
    }
    memcpy(s->tag_space, tag.data, tag.len);
    s->tag = str_of(s->tag_space, tag.len);
    if (str_equal_nocase(name, STR("UID"))) {
        uid = true;
        if (imap_space(&l) < 0 || imap_atom(&l, &name) < 0) {
            imap_bad(s, "UID stands before another command");
            return;
        }
    }
    for (size_t i = 0; i < imap_command_count; i++) {
        const struct imap_command *c = &imap_commands[i];
        if (!str_equal_nocase(name, c->name) || (uid && !(c->flags & COMMAND_UID)))
            continue;
        if (!(c->states & (unsigned)s->state)) {
            imap_bad(s, "Select a mailbox first");
            return;
        }
        s->expunges_allowed = uid || !(c->flags & COMMAND_NO_EXPUNGE);
        c->run(s, &l, uid);
        return;
    }
    imap_bad(s, "Unknown command");
}

static void idle_end(struct imap_session *s, struct str line)
{
    s->idling = false;
    if (str_equal_nocase(line, STR("DONE")))
        imap_ok(s, NULL, "Idle is over");
    else
        imap_bad(s, "DONE was expected");
}

/* A literal that is not taken into the buffer: the message of an APPEND, or one that is too large. */
static void literal_take(struct imap_session *s, size_t length, const struct imap_literal *literal)
{
    struct str command = arena_copy(&s->arena, str_slice(stream_input(&s->stream), 0, length));
    stream_consume(&s->stream, length);
    size_t open = str_find_last_char(command, '{');
    struct str so_far = str_slice(command, 0, open);
    struct imap_lexer l = {.rest = so_far, .arena = &s->arena};
    struct str tag;
    s->tag = STR("*");
    if (imap_tag(&l, &tag) == 0 && tag.len < sizeof(s->tag_space)) {
        memcpy(s->tag_space, tag.data, tag.len);
        s->tag = str_of(s->tag_space, tag.len);
    }
    s->expunges_allowed = true;
    bool refused = true;
    if (append_is_message(so_far))
        refused = !append_begin(s, so_far, literal);
    else
        imap_no(s, "[TOOBIG]", "The literal is too large");
    if (!refused || literal->sync)
        return;
    /* RFC 7888 §4: what was announced without waiting comes anyway, with the rest of its line. */
    s->swallow = literal->size;
    s->swallow_line = true;
    if (literal->size > SWALLOW_MAX) {
        imap_put(s, "* BYE The literal is far too large\r\n");
        s->logout = true;
    }
}

/* Throws a refused literal away, and the end of its command's line. 1 done, 0 more is needed. */
static int swallow(struct imap_session *s)
{
    struct str input = stream_input(&s->stream);
    size_t len = (size_t)MIN(s->swallow, (uint64_t)input.len);
    stream_consume(&s->stream, len);
    s->swallow -= len;
    if (s->swallow)
        return 0;
    input = stream_input(&s->stream);
    size_t end = str_find_char(input, '\n');
    if (end == input.len) {
        stream_consume(&s->stream, input.len);
        return 0;
    }
    stream_consume(&s->stream, end + 1);
    s->swallow_line = false;
    return 1;
}

/* Takes one unit off the input. 1 done, 0 more is needed. */
static int unit_run(struct imap_session *s)
{
    struct imap_literal literal = {0};
    size_t length = 0;
    if (s->swallow || s->swallow_line)
        return swallow(s);
    if (s->append)
        return append_input(s);
    if (s->idling) {
        struct str line;
        bool bare_lf;
        int got = stream_line(&s->stream, 1024, &line, &bare_lf);
        if (got > 0)
            idle_end(s, line);
        return got != 0;
    }
    switch (imap_collect(&s->collector, stream_input(&s->stream), s->stream.in.max,
                         s->settings->imap.literal_size, append_is_message, &length, &literal)) {
    case COLLECT_MORE:
        return 0;
    case COLLECT_CONTINUE:
        imap_put(s, "+ Go ahead\r\n");
        return 1;
    case COLLECT_COMMAND: {
        struct str command =
            arena_copy(&s->arena, str_slice(stream_input(&s->stream), 0, s->collector.command));
        stream_consume(&s->stream, length);
        command_run(s, command);
        return 1;
    }
    case COLLECT_LITERAL:
        literal_take(s, length, &literal);
        return 1;
    default:
        imap_put(s, "* BYE The command is too long\r\n");
        s->logout = true;
        return 1;
    }
}

/* ------------------------------------------------------------------ a run */

static bool busy(const struct imap_session *s)
{
    return s->fetch || s->append || s->swallow || s->swallow_line;
}

/* Goes on until nothing can be done without waiting. 0 wait, -1 the session is over. */
static int session_work(struct imap_session *s)
{
    for (;;) {
        if (s->logout)
            return -1;
        if (stream_unsent(&s->stream) >= OUT_HIGH && stream_flush(&s->stream) != 0)
            return s->stream.failed ? -1 : 0;
        if (s->fetch) {
            if (fetch_continue(s))
                arena_reset(&s->arena);
            continue;
        }
        int done = unit_run(s);
        if (!busy(s))
            arena_reset(&s->arena);
        if (s->bad_commands >= BAD_COMMANDS_MAX) {
            imap_put(s, "* BYE Too many errors\r\n");
            return -1;
        }
        if (done)
            continue;
        ssize_t n = stream_fill(&s->stream, FILL_MAX);
        if (n <= 0)
            return n < 0 ? -1 : 0;
    }
}

static enum conn_verdict session_run(struct conn *conn, unsigned events)
{
    struct imap_session *s = CONTAINER_OF(conn, struct imap_session, conn);
    log_set_context("%s", s->label);
    int result = 0;
    if (s->ended) {
        imap_put(s, "* BYE The account was changed: please log in again\r\n");
        result = -1;
    } else if (events & CONN_STOPPING && !s->append && !s->fetch) {
        imap_put(s, "* BYE [UNAVAILABLE] The server is being restarted\r\n");
        result = -1;
    } else if (events & CONN_TIMEOUT && !(events & CONN_READABLE)) {
        imap_put(s, "* BYE You were silent for too long\r\n");
        result = -1;
    } else {
        if (s->idling && events & CONN_WOKEN)
            imap_sync(s, true);
        if (stream_flush(&s->stream) >= 0)
            result = session_work(s);
    }
    int flushed = stream_flush(&s->stream);
    if (result == 0 && flushed >= 0) {
        bool reading = stream_unsent(&s->stream) < OUT_HIGH && !s->fetch;
        conn->want = stream_want(&s->stream, reading);
        if (!(events & CONN_WOKEN) || events & CONN_READABLE || conn->deadline == 0)
            conn->deadline = clock_monotonic_ms() + (int64_t)s->settings->imap.idle_timeout;
        if (!busy(s))
            arena_free(&s->arena);
        stream_rest(&s->stream);
    }
    log_clear_context();
    return result < 0 || flushed < 0 ? CONN_CLOSE : CONN_PARK;
}

static void session_free(struct conn *conn)
{
    struct imap_session *s = CONTAINER_OF(conn, struct imap_session, conn);
    log_set_context("%s", s->label);
    log_event(LOG_INFO, "imap-end", "commands=%llu bytes-in=%llu bytes-out=%llu",
              (unsigned long long)s->commands, (unsigned long long)s->stream.bytes_in,
              (unsigned long long)s->stream.bytes_out);
    log_clear_context();
    account_unlisten(s->account, &s->listener);
    fetch_free(&s->fetch);
    append_free(&s->append);
    imap_unselect(s);
    account_close(&s->account);
    settings_unref(&s->settings);
    stream_close(&s->stream);
    arena_free(&s->arena);
    mem_free(s);
}

/* ------------------------------------------------------------------ the beginning */

static void account_changed(struct account_listener *l, uint64_t modseq)
{
    struct imap_session *s = CONTAINER_OF(l, struct imap_session, listener);
    s->account_modseq = modseq;
    if (s->idling)
        conn_wake(&s->conn);
}

static void account_ended(struct account_listener *l)
{
    struct imap_session *s = CONTAINER_OF(l, struct imap_session, listener);
    s->ended = true;
    conn_wake(&s->conn);
}

int imap_session_start(const struct attach *a, int fd, struct error *e)
{
    static const struct conn_class class = {"imap", session_run, session_free};
    const struct settings *settings = settings_ref();
    struct account *account = NULL;
    int result = account_open(a->account, &account, e);
    if (result == 0 && settings->imap.sessions_per_account &&
        account_sessions(account) >= settings->imap.sessions_per_account)
        result = error_set(e, ERROR_LIMIT, "Too many sessions of this account");
    if (result < 0) {
        account_close(&account);
        settings_unref(&settings);
        fd_close(&fd);
        return -1;
    }
    struct imap_session *s = mem_alloc(sizeof(*s));
    s->account = account;
    s->settings = settings;
    s->quota = a->quota;
    s->state = IMAP_AUTHENTICATED;
    s->account_modseq = 1;
    snprintf(s->label, sizeof(s->label), "session=" STR_FMT " account=%llu", STR_ARG(a->session),
             (unsigned long long)a->account);
    stream_init(&s->stream, fd, (size_t)settings->imap.command_size, BUF_UNBOUNDED);
    buf_add(&s->stream.in, a->input);
    s->conn.class = &class;
    s->conn.fd = fd;
    s->listener.changed = account_changed;
    s->listener.ended = account_ended;
    struct buf capabilities = BUF_INIT(4096);
    imap_capabilities(&capabilities, true, false, false, STR(""));
    stream_printf(&s->stream, STR_FMT " OK [CAPABILITY " STR_FMT "] Logged in\r\n", STR_ARG(a->tag),
                  STR_ARG(buf_str(&capabilities)));
    buf_free(&capabilities);
    account_listen(s->account, &s->listener);
    conn_start(&s->conn); /* from here on s belongs to the workers */
    return 0;
}
