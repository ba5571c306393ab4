/* cmd_misc.c - CAPABILITY, NOOP, LOGOUT, ID, ENABLE, IDLE, NAMESPACE. */
#include "imap/capability.h"
#include "imap/session.h"

void cmd_capability(struct imap_session *s, struct imap_lexer *l, bool uid UNUSED)
{
    if (!imap_at_end(l)) {
        imap_bad(s, "CAPABILITY has no arguments");
        return;
    }
    struct buf list = BUF_INIT(4096);
    imap_capabilities(&list, true, false, false, STR(""));
    stream_printf(&s->stream, "* CAPABILITY " STR_FMT "\r\n", STR_ARG(buf_str(&list)));
    buf_free(&list);
    imap_ok(s, NULL, "That is all");
}

void cmd_noop(struct imap_session *s, struct imap_lexer *l UNUSED, bool uid UNUSED)
{
    imap_ok(s, NULL, "Nothing done");
}

void cmd_logout(struct imap_session *s, struct imap_lexer *l UNUSED, bool uid UNUSED)
{
    imap_put(s, "* BYE Good-bye\r\n");
    stream_printf(&s->stream, STR_FMT " OK Logged out\r\n", STR_ARG(s->tag));
    s->logout = true;
}

void cmd_id(struct imap_session *s, struct imap_lexer *l UNUSED, bool uid UNUSED)
{
    imap_put(s, "* ID (\"name\" \"Posthouse\" \"version\" \"" POSTHOUSE_VERSION "\")\r\n");
    imap_ok(s, NULL, "Nice to meet you");
}

/* What is not known is passed over (RFC 9051 §6.3.1). */
void cmd_enable(struct imap_session *s, struct imap_lexer *l, bool uid UNUSED)
{
    struct str name;
    bool rev2 = false;
    do {
        if (imap_space(l) < 0 || imap_atom(l, &name) < 0) {
            imap_bad(s, "Say ENABLE capability");
            return;
        }
        rev2 |= str_equal_nocase(name, STR("IMAP4rev2"));
    } while (!imap_at_end(l));
    s->rev2 |= rev2;
    imap_put(s, rev2 ? "* ENABLED IMAP4rev2\r\n" : "* ENABLED\r\n");
    imap_ok(s, NULL, "Enabled");
}

void cmd_idle(struct imap_session *s, struct imap_lexer *l, bool uid UNUSED)
{
    if (!imap_at_end(l)) {
        imap_bad(s, "IDLE has no arguments");
        return;
    }
    imap_put(s, "+ Idling\r\n");
    /* Listening first, then looking: what changes in between is seen twice rather than not. */
    s->idling = true;
    imap_sync(s, true);
}

void cmd_namespace(struct imap_session *s, struct imap_lexer *l UNUSED, bool uid UNUSED)
{
    imap_put(s, "* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n");
    imap_ok(s, NULL, "That is all");
}
