/* session.h - private to the room: one SMTP or LMTP connection in mx.
 */
#ifndef SMTP_SESSION_H
#define SMTP_SESSION_H

#include "base/vec.h"
#include "delivery/route.h"
#include "queue/queue.h"
#include "run/arrival.h"
#include "smtp/data.h"
#include "smtp/spool.h"

enum { SMTP_LINE_MAX = 4096, BDAT_PIECE = 64 * 1024 };

/* What a session waits for. */
enum smtp_stage { STAGE_PROXY, STAGE_GREETING, STAGE_TLS, STAGE_COMMAND, STAGE_DATA, STAGE_BDAT };

/* States of the dialogue in which a command is allowed (RFC 5321 §4.1.4). */
enum smtp_state {
    STATE_HELO = 1,
    STATE_MAIL = 2,
    STATE_RCPT = 4,
    STATE_DATA = 8,
    STATE_CHUNKS = 16,
    STATE_ANY = 31
};

struct smtp_recipient {
    struct str address; /* as it came, without <> */
    struct route route;
};

struct smtp_session {
    struct conn conn;
    struct stream stream;
    struct arrival arrival;
    const struct settings *settings;
    const struct settings_listener *listener;
    enum smtp_stage stage;
    enum smtp_state state;
    bool lmtp, esmtp, tls, early_talker;
    struct buf helo;
    bool stopping; /* the process is: no new message is begun */
    int64_t command_started, message_started;
    uint32_t errors, idle_commands, messages, recipients_refused;

    /* the transaction */
    struct arena arena;
    struct str reverse_path;
    uint64_t declared_size;
    bool smtp_utf8, eight_bit;
    VEC(struct smtp_recipient) recipients;

    /* the message */
    char queue_id[QUEUE_ID_LEN + 1];
    struct spool spool;
    struct data_reader data;
    uint64_t trace_header_size; /* Return-Path and Received, in front */
    bool too_large;
    uint64_t chunk_left; /* BDAT */
    bool chunk_last, chunk_refused;
};

/* One command: a row says when it may come. */
struct smtp_command {
    struct str name;
    unsigned states;                                         /* mask of enum smtp_state */
    unsigned protocols;                                      /* SMTP_ONLY, LMTP_ONLY or both */
    bool brings_mail;                                        /* does not count as idle */
    int (*run)(struct smtp_session *s, struct str argument); /* -1: close after the reply */
    const char *help, *reference;
};
enum { SMTP_ONLY = 1, LMTP_ONLY = 2, SMTP_AND_LMTP = 3 };
const struct smtp_command *smtp_command_find(struct str name);

/* Replies: one line, with an enhanced code (RFC 2034) unless it is the greeting. */
void smtp_reply(struct smtp_session *s, const char *text);
void smtp_replyf(struct smtp_session *s, const char *format, ...) PRINTF(2, 3);
/* The one place where errors become SMTP replies. */
const char *smtp_error_reply(const struct error *e, char text[static 300]);
void smtp_error(struct smtp_session *s, const struct error *e);
/* A reply that counts as an error of the client. */
int smtp_bad(struct smtp_session *s, const char *text);

/* commands */
int smtp_helo(struct smtp_session *s, struct str argument);
int smtp_ehlo(struct smtp_session *s, struct str argument);
int smtp_starttls(struct smtp_session *s, struct str argument);
int smtp_mail(struct smtp_session *s, struct str argument);
int smtp_rcpt(struct smtp_session *s, struct str argument);
int smtp_data(struct smtp_session *s, struct str argument);
int smtp_bdat(struct smtp_session *s, struct str argument);
int smtp_rset(struct smtp_session *s, struct str argument);
int smtp_noop(struct smtp_session *s, struct str argument);
int smtp_vrfy(struct smtp_session *s, struct str argument);
int smtp_expn(struct smtp_session *s, struct str argument);
int smtp_help(struct smtp_session *s, struct str argument);
int smtp_quit(struct smtp_session *s, struct str argument);

void smtp_transaction_reset(struct smtp_session *s);
bool smtp_tls_offered(const struct smtp_session *s);
uint64_t smtp_size_limit(const struct smtp_session *s);

/* message.c: begins the spool with the trace header; takes in bytes; at the end delivers and replies. */
void message_begin(struct smtp_session *s);
void message_sink(void *session, struct str piece);
void message_end(struct smtp_session *s);

#endif
