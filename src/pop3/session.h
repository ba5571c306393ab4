/* session.h - POP3 after the login, in box: one maildrop, seen as it was at the login.
 *
 * Several sessions, and IMAP beside them, do not disturb each other: nothing is locked, and a message
 * that somebody else removed meanwhile is answered with -ERR when it is asked for. Messages are
 * removed at QUIT in one transaction; a connection that is lost removes nothing (RFC 1939 §6).
 */
#ifndef POP3_SESSION_H
#define POP3_SESSION_H

#include "auth/attach.h"
#include "store/account.h"

/* Takes over the connection (box's attach handler) and answers the login with +OK. */
int pop3_session_start(const struct attach *a, int fd, struct error *e);

struct pop3_session;
/* The commands of TRANSACTION, for the table. */
int pop3_stat(struct pop3_session *s, struct str *arguments, size_t count);
int pop3_list(struct pop3_session *s, struct str *arguments, size_t count);
int pop3_uidl(struct pop3_session *s, struct str *arguments, size_t count);
int pop3_retr(struct pop3_session *s, struct str *arguments, size_t count);
int pop3_top(struct pop3_session *s, struct str *arguments, size_t count);
int pop3_dele(struct pop3_session *s, struct str *arguments, size_t count);
int pop3_rset(struct pop3_session *s, struct str *arguments, size_t count);
int pop3_noop(struct pop3_session *s, struct str *arguments, size_t count);
int pop3_capa(struct pop3_session *s, struct str *arguments, size_t count);
int pop3_quit(struct pop3_session *s, struct str *arguments, size_t count);

#endif
