/* login.h - POP3 before the login, in edge: greeting, CAPA, STLS, USER/PASS, AUTH, QUIT.
 */
#ifndef POP3_LOGIN_H
#define POP3_LOGIN_H

#include "auth/front.h"

extern const struct front_protocol pop3_front;

/* The commands of AUTHORIZATION, for the table. */
int pop3_login_capa(struct front *f, struct str *arguments, size_t count);
int pop3_login_stls(struct front *f, struct str *arguments, size_t count);
int pop3_login_user(struct front *f, struct str *arguments, size_t count);
int pop3_login_pass(struct front *f, struct str *arguments, size_t count);
int pop3_login_auth(struct front *f, struct str *arguments, size_t count);
int pop3_login_quit(struct front *f, struct str *arguments, size_t count);

#endif
