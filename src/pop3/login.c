/* login.c - POP3 before the login. See login.h. */
#include "pop3/login.h"

#include "base/codec.h"
#include "pop3/commands.h"

/* RFC 5034 §4: an AUTH line or a response may be longer than other lines. */
enum { LOGIN_LINE_MAX = 16 * 1024 };

static void reply(struct front *f, const char *text)
{
    stream_printf(&f->stream, "%s\r\n", text);
}

static void greet(struct front *f)
{
    stream_printf(&f->stream, "+OK " STR_FMT " Posthouse POP3 ready\r\n",
                  STR_ARG(f->settings->server.host_name));
}

static void challenge(struct front *f, struct str base64)
{
    stream_printf(&f->stream, "+ " STR_FMT "\r\n", STR_ARG(base64));
}

/* RFC 3206 §4: [AUTH] when the credentials are wrong, [SYS/TEMP] when trying again may help. */
static void refuse(struct front *f, const struct error *e)
{
    const char *code = "[AUTH]";
    if (e->class == ERROR_TEMPORARY || e->class == ERROR_FULL || e->class == ERROR_INTERNAL)
        code = "[SYS/TEMP]";
    else if (e->class == ERROR_LIMIT)
        code = "[IN-USE]";
    else if (e->class == ERROR_INVALID)
        code = "";
    stream_printf(&f->stream, "-ERR %s%s%s\r\n", code, *code ? " " : "", e->text);
}

static void bye(struct front *f, enum front_bye why)
{
    static const char *const texts[] = {
        [FRONT_BYE_TIMEOUT] = "-ERR You took too long to log in",
        [FRONT_BYE_STOPPING] = "-ERR [SYS/TEMP] The server is being restarted",
        [FRONT_BYE_TOO_MANY] = "-ERR [SYS/TEMP] Too many connections, try again later",
        [FRONT_BYE_BAD_COMMANDS] = "-ERR Too many errors, good-bye",
    };
    reply(f, texts[why]);
}

/* ------------------------------------------------------------------ commands */

int pop3_login_capa(struct front *f, struct str *arguments UNUSED, size_t count UNUSED)
{
    struct buf text = BUF_INIT(4096);
    pop3_capabilities(&text, front_tls_offered(f), front_plaintext_allowed(f), front_mechanisms(f));
    stream_put(&f->stream, buf_str(&text));
    buf_free(&text);
    return 0;
}

int pop3_login_stls(struct front *f, struct str *arguments UNUSED, size_t count UNUSED)
{
    if (!front_tls_offered(f)) {
        reply(f, f->tls ? "-ERR TLS is active already" : "-ERR TLS is not available here");
        return 0;
    }
    reply(f, "+OK Begin TLS negotiation");
    front_start_tls(f);
    return 0;
}

/* RFC 2595 §2.1: no password in the clear without TLS. */
static bool plaintext_refused(struct front *f)
{
    if (front_plaintext_allowed(f))
        return false;
    reply(f, "-ERR Passwords are accepted only over TLS: use STLS first");
    return true;
}

int pop3_login_user(struct front *f, struct str *arguments, size_t count UNUSED)
{
    if (plaintext_refused(f))
        return 0;
    buf_reset(&f->user);
    if (buf_add(&f->user, arguments[0]) < 0)
        reply(f, "-ERR The name is too long");
    else
        reply(f, "+OK Send the password"); /* whether the name exists is not said here */
    return 0;
}

int pop3_login_pass(struct front *f, struct str *arguments, size_t count UNUSED)
{
    if (plaintext_refused(f))
        return 0;
    if (f->user.len == 0) {
        reply(f, "-ERR Send USER first");
        return 0;
    }
    front_login(f, buf_str(&f->user), arguments[0]);
    buf_reset(&f->user);
    return 0;
}

int pop3_login_auth(struct front *f, struct str *arguments, size_t count)
{
    if (count == 0) { /* the old way of asking for the list, which some clients still use */
        struct str rest = front_mechanisms(f), name;
        reply(f, "+OK Mechanisms follow");
        while (str_next_part(&rest, ' ', &name))
            if (name.len)
                stream_printf(&f->stream, STR_FMT "\r\n", STR_ARG(name));
        reply(f, ".");
        return 0;
    }
    struct buf initial = BUF_INIT(LOGIN_LINE_MAX);
    struct str response = str_of(NULL, 0);
    bool broken = false;
    if (count == 2) { /* RFC 5034 §4: "=" is an empty initial response */
        if (!str_equal(arguments[1], STR("=")))
            broken = base64_decode(&initial, arguments[1]) < 0;
        response = str_of(initial.data ? initial.data : "", initial.len);
    }
    if (broken)
        reply(f, "-ERR That is not base64");
    else
        front_authenticate(f, arguments[0], response);
    wipe(initial.data, initial.len);
    buf_free(&initial);
    return 0;
}

int pop3_login_quit(struct front *f, struct str *arguments UNUSED, size_t count UNUSED)
{
    reply(f, "+OK Good-bye");
    return -1;
}

/* ------------------------------------------------------------------ input */

static int command_run(struct front *f, struct str line)
{
    struct str arguments[POP3_ARGUMENTS_MAX];
    size_t count;
    const struct pop3_command *command = pop3_command_parse(line, arguments, &count);
    if (command && command->login && count >= command->arguments_min &&
        count <= command->arguments_max)
        return command->login(f, arguments, count);
    reply(f, !command          ? "-ERR Unknown command"
             : !command->login ? "-ERR Log in first"
                               : "-ERR Wrong number of arguments");
    return front_bad_command(f) ? -1 : 0;
}

static int input(struct front *f)
{
    struct str line;
    bool bare_lf;
    int got = stream_line(&f->stream, LOGIN_LINE_MAX, &line, &bare_lf);
    if (got < 0) {
        reply(f, "-ERR Line too long, good-bye");
        return -1;
    }
    if (got == 0)
        return 0;
    /* The line's bytes move when more input is read: the command works on its own copy. */
    line = arena_copy(&f->arena, line);
    if (f->in_sasl) {
        front_sasl_line(f, line);
        return 1;
    }
    return command_run(f, line) < 0 ? -1 : 1;
}

const struct front_protocol pop3_front = {
    .name = "pop3",
    .attach = ATTACH_POP3,
    .input_max = LOGIN_LINE_MAX,
    .greet = greet,
    .input = input,
    .challenge = challenge,
    .refuse = refuse,
    .bye = bye,
};
