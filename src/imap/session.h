/* session.h - private to the room: an IMAP session after the login, in box.
 */
#ifndef IMAP_SESSION_H
#define IMAP_SESSION_H

#include "auth/attach.h"
#include "base/vec.h"
#include "imap/collect.h"
#include "imap/lexer.h"
#include "imap/view.h"
#include "run/conn.h"
#include "run/settings.h"
#include "run/stream.h"
#include "store/account.h"

enum { OUT_HIGH = 128 * 1024 }; /* unsent bytes above which a command waits for the client */

enum imap_state { IMAP_AUTHENTICATED = 1, IMAP_SELECTED = 2, IMAP_BOTH = 3 };

/* What a command does not let its client hear while it runs (RFC 9051 §7.5.1). */
enum imap_command_flag {
    COMMAND_UID = 1,        /* may be prefixed with UID */
    COMMAND_NO_EXPUNGE = 2, /* without UID: no EXPUNGE responses */
};

struct imap_session;
struct imap_command {
    struct str name;
    unsigned states;
    unsigned flags;
    /* Executes the arguments; answers by imap_ok and its like, at once or (FETCH) when done. */
    void (*run)(struct imap_session *s, struct imap_lexer *l, bool uid);
    const char *reference;
};
extern const struct imap_command imap_commands[];
extern const size_t imap_command_count;

struct fetch;
struct append;

/* Modification sequences that this session's own commands made: their FETCH was sent, or silenced. */
struct own_changes {
    uint64_t low, high;
};

struct imap_session {
    struct conn conn;
    struct stream stream;
    struct account *account;
    struct account_listener listener;
    const struct settings *settings;
    _Atomic bool ended;
    _Atomic uint64_t account_modseq; /* the newest commit that was heard of */
    uint64_t quota;
    char label[96];

    struct imap_collector collector;
    struct arena arena; /* of the present command */
    struct str tag;
    char tag_space[128];
    enum imap_state state;
    bool rev2; /* ENABLE IMAP4rev2 */
    bool read_only;
    struct view view;
    VEC(struct own_changes) own;
    uint64_t synced_modseq; /* account_modseq at the last look at the store */
    struct imap_set saved;  /* SEARCH RETURN (SAVE): UIDs; heap ranges */

    bool expunges_allowed; /* by the present command */
    _Atomic bool idling;
    struct fetch *fetch;   /* a FETCH that goes on when the client has read */
    struct append *append; /* a message literal that is being taken in */
    uint64_t swallow;      /* bytes of a literal that was refused */
    bool swallow_line;     /* and the rest of its line */
    bool logout;
    unsigned bad_commands;
    uint64_t commands;
};

/* ------------------------------------------------------------------ responses */

/* The end of a command: what changed meanwhile, then the tagged line. code: "[TRYCREATE]" or NULL. */
void imap_ok(struct imap_session *s, const char *code, const char *text);
void imap_no(struct imap_session *s, const char *code, const char *text);
void imap_bad(struct imap_session *s, const char *text);
/* The one place where errors become NO with a code (RFC 5530). */
void imap_error(struct imap_session *s, const struct error *e);
/* Untagged output. */
void imap_put(struct imap_session *s, const char *text);
void imap_put_mailbox(struct imap_session *s,
                      struct str name); /* quoted, as this session's names are */
void imap_put_flags(struct imap_session *s, struct account_tx *tx, uint8_t flags,
                    uint32_t keyword_set, bool recent);

/* Tells the client what changed in the selected mailbox; expunges: also those. */
void imap_sync(struct imap_session *s, bool expunges);
/* Notes modification sequences low..high as this session's own. */
void imap_own(struct imap_session *s, uint64_t low, uint64_t high);
void imap_unselect(struct imap_session *s);

/* A set in sequence numbers or UIDs, as runs of UIDs of the view, ascending and without overlap; in the
 * session's arena. -1 after BAD: a number that is not there. */
int imap_set_resolve(struct imap_session *s, const struct imap_set *set, bool uid,
                     struct uid_run **runs, size_t *count);

/* Starts a session on a connection that edge hands over. */
int imap_session_start(const struct attach *a, int fd, struct error *e);

/* ------------------------------------------------------------------ the commands */

void cmd_capability(struct imap_session *s, struct imap_lexer *l, bool uid);
void cmd_noop(struct imap_session *s, struct imap_lexer *l, bool uid);
void cmd_logout(struct imap_session *s, struct imap_lexer *l, bool uid);
void cmd_id(struct imap_session *s, struct imap_lexer *l, bool uid);
void cmd_enable(struct imap_session *s, struct imap_lexer *l, bool uid);
void cmd_idle(struct imap_session *s, struct imap_lexer *l, bool uid);
void cmd_namespace(struct imap_session *s, struct imap_lexer *l, bool uid);
void cmd_select(struct imap_session *s, struct imap_lexer *l, bool uid);
void cmd_examine(struct imap_session *s, struct imap_lexer *l, bool uid);
void cmd_close(struct imap_session *s, struct imap_lexer *l, bool uid);
void cmd_unselect(struct imap_session *s, struct imap_lexer *l, bool uid);
void cmd_create(struct imap_session *s, struct imap_lexer *l, bool uid);
void cmd_delete(struct imap_session *s, struct imap_lexer *l, bool uid);
void cmd_rename(struct imap_session *s, struct imap_lexer *l, bool uid);
void cmd_subscribe(struct imap_session *s, struct imap_lexer *l, bool uid);
void cmd_unsubscribe(struct imap_session *s, struct imap_lexer *l, bool uid);
void cmd_status(struct imap_session *s, struct imap_lexer *l, bool uid);
void cmd_list(struct imap_session *s, struct imap_lexer *l, bool uid);
void cmd_lsub(struct imap_session *s, struct imap_lexer *l, bool uid);
void cmd_append(struct imap_session *s, struct imap_lexer *l, bool uid);
void cmd_fetch(struct imap_session *s, struct imap_lexer *l, bool uid);
void cmd_store(struct imap_session *s, struct imap_lexer *l, bool uid);
void cmd_copy(struct imap_session *s, struct imap_lexer *l, bool uid);
void cmd_move(struct imap_session *s, struct imap_lexer *l, bool uid);
void cmd_expunge(struct imap_session *s, struct imap_lexer *l, bool uid);
void cmd_search(struct imap_session *s, struct imap_lexer *l, bool uid);

/* status items, shared by STATUS and LIST RETURN (STATUS ...) */
struct status_items {
    bool messages, recent, uidnext, uidvalidity, unseen, deleted, size;
};
int status_items_parse(struct imap_lexer *l, struct status_items *out);
void status_put(struct imap_session *s, const struct mailbox *m, const struct status_items *items);

/* FETCH and APPEND that go on over several runs. fetch_continue: true when it is done. */
bool fetch_continue(struct imap_session *s);
void fetch_free(struct fetch **f);
/* Is this the beginning of an APPEND whose message comes next? */
bool append_is_message(struct str so_far);
/* Begins taking the literal in; false: it was refused (the reply is put, the bytes are swallowed). */
bool append_begin(struct imap_session *s, struct str command, const struct imap_literal *literal);
/* Takes input for the literal; 1 the command is done, 0 more is needed. */
int append_input(struct imap_session *s);
void append_free(struct append **a);

#endif
