/* login.c - IMAP before the login: greeting, CAPABILITY, NOOP, ID, STARTTLS, AUTHENTICATE, LOGIN, LOGOUT. */
#include "imap/login.h"

#include "base/codec.h"
#include "imap/capability.h"
#include "imap/collect.h"
#include "imap/lexer.h"

enum { INPUT_MAX = 20 * 1024, LITERAL_MAX = 4096 };

static void tagged(struct front *f, const char *text)
{
    stream_printf(&f->stream, STR_FMT " %s\r\n", STR_ARG(f->tag), text);
}

static void capabilities_put(struct front *f)
{
    struct buf list = BUF_INIT(4096);
    imap_capabilities(&list, false, front_tls_offered(f), front_plaintext_allowed(f),
                      front_mechanisms(f));
    stream_put(&f->stream, buf_str(&list));
    buf_free(&list);
}

static void greet(struct front *f)
{
    stream_put_literal(&f->stream, "* OK [CAPABILITY ");
    capabilities_put(f);
    stream_printf(&f->stream, "] " STR_FMT " Posthouse ready\r\n",
                  STR_ARG(f->settings->server.host_name));
}

static void challenge(struct front *f, struct str base64)
{
    stream_printf(&f->stream, "+ " STR_FMT "\r\n", STR_ARG(base64));
}

/* RFC 5530 §3. */
static void refuse(struct front *f, const struct error *e)
{
    const char *answer = "NO [AUTHENTICATIONFAILED]";
    if (e->class == ERROR_TEMPORARY || e->class == ERROR_FULL || e->class == ERROR_INTERNAL ||
        e->class == ERROR_CORRUPT)
        answer = "NO [UNAVAILABLE]";
    else if (e->class == ERROR_LIMIT)
        answer = "NO [LIMIT]";
    else if (e->class == ERROR_INVALID)
        answer = "BAD";
    stream_printf(&f->stream, STR_FMT " %s %s\r\n", STR_ARG(f->tag), answer, e->text);
}

static void bye(struct front *f, enum front_bye why)
{
    static const char *const texts[] = {
        [FRONT_BYE_TIMEOUT] = "* BYE You took too long to log in\r\n",
        [FRONT_BYE_STOPPING] = "* BYE [UNAVAILABLE] The server is being restarted\r\n",
        [FRONT_BYE_TOO_MANY] = "* BYE [UNAVAILABLE] Too many connections, try again later\r\n",
        [FRONT_BYE_BAD_COMMANDS] = "* BYE Too many errors\r\n",
    };
    stream_put_literal(&f->stream, texts[why]);
}

/* ------------------------------------------------------------------ commands; 0 goes on, -1 closes */

static int bad(struct front *f, const char *text)
{
    tagged(f, text);
    return front_bad_command(f) ? -1 : 0;
}

static int do_capability(struct front *f, struct imap_lexer *l)
{
    if (!imap_at_end(l))
        return bad(f, "BAD CAPABILITY has no arguments");
    stream_put_literal(&f->stream, "* CAPABILITY ");
    capabilities_put(f);
    stream_put_literal(&f->stream, "\r\n");
    tagged(f, "OK That is all");
    return 0;
}

static int do_noop(struct front *f, struct imap_lexer *l UNUSED)
{
    tagged(f, "OK Nothing done");
    return 0;
}

static int do_id(struct front *f, struct imap_lexer *l UNUSED)
{
    stream_put_literal(&f->stream,
                       "* ID (\"name\" \"Posthouse\" \"version\" \"" POSTHOUSE_VERSION "\")\r\n");
    tagged(f, "OK Nice to meet you");
    return 0;
}

static int do_logout(struct front *f, struct imap_lexer *l UNUSED)
{
    stream_put_literal(&f->stream, "* BYE Good-bye\r\n");
    tagged(f, "OK Logged out");
    return -1;
}

static int do_starttls(struct front *f, struct imap_lexer *l)
{
    if (!imap_at_end(l) || !front_tls_offered(f))
        return bad(f, f->tls ? "BAD TLS is active already" : "BAD TLS is not available here");
    tagged(f, "OK Begin the TLS handshake");
    front_start_tls(f);
    return 0;
}

static int do_login(struct front *f, struct imap_lexer *l)
{
    struct str user, password;
    if (!front_plaintext_allowed(f)) {
        tagged(f, "NO [PRIVACYREQUIRED] Passwords are accepted only over TLS: use STARTTLS first");
        return 0;
    }
    if (imap_space(l) < 0 || imap_astring(l, &user) < 0 || imap_space(l) < 0 ||
        imap_astring(l, &password) < 0 || !imap_at_end(l))
        return bad(f, "BAD Say LOGIN name password");
    front_login(f, user, password);
    return 0;
}

static int do_authenticate(struct front *f, struct imap_lexer *l)
{
    struct str mechanism, text = str_of(NULL, 0);
    if (imap_space(l) < 0 || imap_atom(l, &mechanism) < 0)
        return bad(f, "BAD Say AUTHENTICATE mechanism");
    struct buf initial = BUF_INIT(16384);
    bool broken = false;
    if (imap_take(l, ' ')) { /* RFC 4959: "=" is an empty initial response */
        text = l->rest;
        if (!str_equal(text, STR("=")))
            broken = base64_decode(&initial, text) < 0;
        text = str_of(initial.data ? initial.data : "", initial.len);
    }
    int result = 0;
    if (broken)
        result = bad(f, "BAD That is not base64");
    else
        front_authenticate(f, mechanism, text);
    wipe(initial.data, initial.len);
    buf_free(&initial);
    return result;
}

static const struct {
    struct str name;
    int (*run)(struct front *f, struct imap_lexer *l);
    const char *reference;
} commands[] = {
    {STR_INIT("CAPABILITY"), do_capability, "RFC 9051 §6.1.1"},
    {STR_INIT("NOOP"), do_noop, "RFC 9051 §6.1.2"},
    {STR_INIT("LOGOUT"), do_logout, "RFC 9051 §6.1.3"},
    {STR_INIT("STARTTLS"), do_starttls, "RFC 9051 §6.2.1"},
    {STR_INIT("AUTHENTICATE"), do_authenticate, "RFC 9051 §6.2.2"},
    {STR_INIT("LOGIN"), do_login, "RFC 9051 §6.2.3"},
    {STR_INIT("ID"), do_id, "RFC 2971 §3.1"},
};

static int command_run(struct front *f, struct str command)
{
    struct imap_lexer l = {.rest = command, .arena = &f->arena};
    struct str tag, name;
    if (imap_tag(&l, &tag) < 0 || tag.len >= sizeof(f->tag_space) || imap_space(&l) < 0 ||
        imap_atom(&l, &name) < 0) {
        stream_put_literal(&f->stream, "* BAD A command is a tag, a name and arguments\r\n");
        return front_bad_command(f) ? -1 : 0;
    }
    memcpy(f->tag_space, tag.data, tag.len);
    f->tag = str_of(f->tag_space, tag.len);
    for (size_t i = 0; i < countof(commands); i++)
        if (str_equal_nocase(name, commands[i].name))
            return commands[i].run(f, &l);
    return bad(f, "BAD Unknown command, or one that needs a login");
}

static bool no_message(struct str so_far UNUSED)
{
    return false;
}

static int sasl_input(struct front *f)
{
    struct str line;
    bool bare_lf;
    int got = stream_line(&f->stream, INPUT_MAX - 2, &line, &bare_lf);
    if (got <= 0)
        return got;
    front_sasl_line(f, arena_copy(&f->arena, line));
    return 1;
}

static int input(struct front *f)
{
    struct imap_collector c = {0};
    struct imap_literal literal = {0};
    struct str all = stream_input(&f->stream);
    size_t length = 0;
    if (f->in_sasl)
        return sasl_input(f);
    c.continued = false;
    for (;;) {
        switch (imap_collect(&c, all, INPUT_MAX - 1, LITERAL_MAX, no_message, &length, &literal)) {
        case COLLECT_MORE:
            return 0;
        case COLLECT_CONTINUE:
            /* Only once for each literal: how many were continued is kept by where they end. */
            if (f->continued < length) {
                f->continued = (uint32_t)length;
                stream_put_literal(&f->stream, "+ Go ahead\r\n");
            }
            continue;
        case COLLECT_COMMAND: {
            struct str command = arena_copy(&f->arena, str_slice(all, 0, c.command));
            stream_consume(&f->stream, length);
            f->continued = 0;
            return command_run(f, command) < 0 ? -1 : 1;
        }
        default:
            stream_put_literal(&f->stream, "* BYE The command is too long\r\n");
            return -1;
        }
    }
}

const struct front_protocol imap_front = {
    .name = "imap",
    .attach = ATTACH_IMAP,
    .input_max = INPUT_MAX,
    .greet = greet,
    .input = input,
    .challenge = challenge,
    .refuse = refuse,
    .bye = bye,
};
