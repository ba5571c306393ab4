/* commands.c - the table of IMAP commands after the login. */
#include "imap/session.h"

const struct imap_command imap_commands[] = {
    {STR_INIT("CAPABILITY"), IMAP_BOTH, 0, cmd_capability, "RFC 9051 §6.1.1"},
    {STR_INIT("NOOP"), IMAP_BOTH, 0, cmd_noop, "RFC 9051 §6.1.2"},
    {STR_INIT("LOGOUT"), IMAP_BOTH, 0, cmd_logout, "RFC 9051 §6.1.3"},
    {STR_INIT("ID"), IMAP_BOTH, 0, cmd_id, "RFC 2971 §3.1"},
    {STR_INIT("ENABLE"), IMAP_BOTH, 0, cmd_enable, "RFC 9051 §6.3.1"},
    {STR_INIT("SELECT"), IMAP_BOTH, 0, cmd_select, "RFC 9051 §6.3.2"},
    {STR_INIT("EXAMINE"), IMAP_BOTH, 0, cmd_examine, "RFC 9051 §6.3.3"},
    {STR_INIT("CREATE"), IMAP_BOTH, 0, cmd_create, "RFC 9051 §6.3.4"},
    {STR_INIT("DELETE"), IMAP_BOTH, 0, cmd_delete, "RFC 9051 §6.3.5"},
    {STR_INIT("RENAME"), IMAP_BOTH, 0, cmd_rename, "RFC 9051 §6.3.6"},
    {STR_INIT("SUBSCRIBE"), IMAP_BOTH, 0, cmd_subscribe, "RFC 9051 §6.3.7"},
    {STR_INIT("UNSUBSCRIBE"), IMAP_BOTH, 0, cmd_unsubscribe, "RFC 9051 §6.3.8"},
    {STR_INIT("LIST"), IMAP_BOTH, 0, cmd_list, "RFC 9051 §6.3.9"},
    {STR_INIT("LSUB"), IMAP_BOTH, 0, cmd_lsub, "RFC 3501 §6.3.9"},
    {STR_INIT("NAMESPACE"), IMAP_BOTH, 0, cmd_namespace, "RFC 9051 §6.3.10"},
    {STR_INIT("STATUS"), IMAP_BOTH, 0, cmd_status, "RFC 9051 §6.3.11"},
    {STR_INIT("APPEND"), IMAP_BOTH, 0, cmd_append, "RFC 9051 §6.3.12"},
    {STR_INIT("IDLE"), IMAP_BOTH, 0, cmd_idle, "RFC 9051 §6.3.13"},
    {STR_INIT("CHECK"), IMAP_SELECTED, 0, cmd_noop, "RFC 3501 §6.4.1"},
    {STR_INIT("CLOSE"), IMAP_SELECTED, 0, cmd_close, "RFC 9051 §6.4.1"},
    {STR_INIT("UNSELECT"), IMAP_SELECTED, 0, cmd_unselect, "RFC 9051 §6.4.2"},
    {STR_INIT("EXPUNGE"), IMAP_SELECTED, COMMAND_UID, cmd_expunge, "RFC 9051 §6.4.3"},
    {STR_INIT("SEARCH"), IMAP_SELECTED, COMMAND_UID | COMMAND_NO_EXPUNGE, cmd_search, "RFC 9051 §6.4.4"},
    {STR_INIT("FETCH"), IMAP_SELECTED, COMMAND_UID | COMMAND_NO_EXPUNGE, cmd_fetch, "RFC 9051 §6.4.5"},
    {STR_INIT("STORE"), IMAP_SELECTED, COMMAND_UID | COMMAND_NO_EXPUNGE, cmd_store, "RFC 9051 §6.4.6"},
    {STR_INIT("COPY"), IMAP_SELECTED, COMMAND_UID, cmd_copy, "RFC 9051 §6.4.7"},
    {STR_INIT("MOVE"), IMAP_SELECTED, COMMAND_UID, cmd_move, "RFC 9051 §6.4.8"},
};
const size_t imap_command_count = countof(imap_commands);
