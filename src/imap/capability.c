/* capability.c - the table of IMAP's capabilities. See capability.h. */
#include "imap/capability.h"

enum { ALWAYS = 3, BEFORE_LOGIN = 1, AFTER_LOGIN = 2 };

static const struct {
    const char *name;
    unsigned when;
    const char *implemented_by;
} capabilities[] = {
    {"IMAP4rev1", ALWAYS, "all of the room (RFC 3501)"},
    {"IMAP4rev2", ALWAYS, "all of the room (RFC 9051)"},
    {"LITERAL+", ALWAYS, "collect.c (RFC 7888)"},
    {"ID", ALWAYS, "cmd_misc.c, login.c (RFC 2971)"},
    {"SASL-IR", BEFORE_LOGIN, "login.c (RFC 4959)"},
    {"ENABLE", AFTER_LOGIN, "cmd_misc.c (RFC 5161)"},
    {"IDLE", AFTER_LOGIN, "cmd_misc.c (RFC 2177)"},
    {"NAMESPACE", AFTER_LOGIN, "cmd_mailbox.c (RFC 2342)"},
    {"UIDPLUS", AFTER_LOGIN, "cmd_append.c, cmd_copy.c, cmd_expunge.c (RFC 4315)"},
    {"UNSELECT", AFTER_LOGIN, "cmd_select.c (RFC 3691)"},
    {"MOVE", AFTER_LOGIN, "cmd_copy.c (RFC 6851)"},
    {"CHILDREN", AFTER_LOGIN, "cmd_list.c (RFC 3348)"},
    {"SPECIAL-USE", AFTER_LOGIN, "cmd_list.c (RFC 6154)"},
    {"LIST-EXTENDED", AFTER_LOGIN, "cmd_list.c (RFC 5258)"},
    {"LIST-STATUS", AFTER_LOGIN, "cmd_list.c (RFC 5819)"},
    {"ESEARCH", AFTER_LOGIN, "cmd_search.c (RFC 4731)"},
    {"SEARCHRES", AFTER_LOGIN, "cmd_search.c (RFC 5182)"},
    {"STATUS=SIZE", AFTER_LOGIN, "cmd_mailbox.c (RFC 8438)"},
};

void imap_capabilities(struct buf *out, bool logged_in, bool tls_offered, bool plaintext,
                       struct str mechanisms)
{
    unsigned now = logged_in ? AFTER_LOGIN : BEFORE_LOGIN;
    size_t start = out->len;
    for (size_t i = 0; i < countof(capabilities); i++)
        if (capabilities[i].when & now)
            buf_printf(out, "%s%s", out->len > start ? " " : "", capabilities[i].name);
    if (logged_in)
        return;
    if (tls_offered)
        buf_add_literal(out, " STARTTLS");
    if (!plaintext)
        buf_add_literal(out, " LOGINDISABLED"); /* RFC 9051 §6.2.3 */
    struct str name;
    while (mechanisms.len && str_next_part(&mechanisms, ' ', &name))
        if (name.len)
            buf_printf(out, " AUTH=" STR_FMT, STR_ARG(name));
}
