/* commands.c - the table of POP3 commands and capabilities. */
#include "pop3/commands.h"

#include "pop3/login.h"
#include "pop3/session.h"

static const struct pop3_command commands[] = {
    {STR_INIT("CAPA"), 0, 0, pop3_login_capa, pop3_capa, "RFC 2449 §5"},
    {STR_INIT("STLS"), 0, 0, pop3_login_stls, NULL, "RFC 2595 §4"},
    {STR_INIT("USER"), 1, 1, pop3_login_user, NULL, "RFC 1939 §7"},
    {STR_INIT("PASS"), 1, 1, pop3_login_pass, NULL, "RFC 1939 §7"},
    {STR_INIT("AUTH"), 0, 2, pop3_login_auth, NULL, "RFC 5034 §4"},
    {STR_INIT("STAT"), 0, 0, NULL, pop3_stat, "RFC 1939 §5"},
    {STR_INIT("LIST"), 0, 1, NULL, pop3_list, "RFC 1939 §5"},
    {STR_INIT("RETR"), 1, 1, NULL, pop3_retr, "RFC 1939 §5"},
    {STR_INIT("DELE"), 1, 1, NULL, pop3_dele, "RFC 1939 §5"},
    {STR_INIT("NOOP"), 0, 0, NULL, pop3_noop, "RFC 1939 §5"},
    {STR_INIT("RSET"), 0, 0, NULL, pop3_rset, "RFC 1939 §5"},
    {STR_INIT("TOP"), 2, 2, NULL, pop3_top, "RFC 1939 §7"},
    {STR_INIT("UIDL"), 0, 1, NULL, pop3_uidl, "RFC 1939 §7"},
    {STR_INIT("QUIT"), 0, 0, pop3_login_quit, pop3_quit, "RFC 1939 §4, §6"},
};

static const struct pop3_command *command_find(struct str name)
{
    for (size_t i = 0; i < countof(commands); i++)
        if (str_equal_nocase(commands[i].name, name))
            return &commands[i];
    return NULL;
}

const struct pop3_command *pop3_command_parse(struct str line, struct str *arguments, size_t *count)
{
    struct str rest = line, word;
    *count = 0;
    if (!rest.data || !str_next_part(&rest, ' ', &word))
        return NULL;
    const struct pop3_command *command = command_find(word);
    if (!command)
        return NULL;
    if (command->arguments_max == 1 && rest.data) {
        arguments[(*count)++] = rest; /* a password may hold spaces */
        return command;
    }
    while (str_next_part(&rest, ' ', &word))
        if (word.len && *count < POP3_ARGUMENTS_MAX)
            arguments[(*count)++] = word;
    return command;
}

/* When a capability is announced. */
enum { ALWAYS = 0, WITH_TLS_OFFER = 1, WITH_PLAINTEXT = 2, WITH_SASL = 4 };

static const struct {
    const char *line;
    unsigned when;
    const char *implemented_by;
} capabilities[] = {
    {"TOP", ALWAYS, "pop3_top"},
    {"UIDL", ALWAYS, "pop3_uidl"},
    {"PIPELINING", ALWAYS, "the input loops: replies wait until the input is used up"},
    {"RESP-CODES", ALWAYS, "pop3_error"},
    {"AUTH-RESP-CODE", ALWAYS, "pop3_auth_failed"},
    {"EXPIRE NEVER", ALWAYS, "nothing ever expires"},
    {"STLS", WITH_TLS_OFFER, "pop3_login_stls"},
    {"USER", WITH_PLAINTEXT, "pop3_login_user"},
    {"SASL", WITH_SASL, "pop3_login_auth"},
};

void pop3_capabilities(struct buf *out, bool tls_offered, bool plaintext, struct str mechanisms)
{
    unsigned have = (tls_offered ? WITH_TLS_OFFER : 0) | (plaintext ? WITH_PLAINTEXT : 0) |
                    (mechanisms.len ? WITH_SASL : 0);
    buf_add_literal(out, "+OK Capabilities follow\r\n");
    for (size_t i = 0; i < countof(capabilities); i++) {
        if ((capabilities[i].when & have) != capabilities[i].when)
            continue;
        buf_add(out, str_from(capabilities[i].line));
        if (capabilities[i].when & WITH_SASL) {
            buf_add_char(out, ' ');
            buf_add(out, mechanisms);
        }
        buf_add_literal(out, "\r\n");
    }
    buf_add_literal(out, "IMPLEMENTATION Posthouse\r\n.\r\n");
}
