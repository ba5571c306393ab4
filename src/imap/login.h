/* login.h - IMAP before the login, in edge.
 */
#ifndef IMAP_LOGIN_H
#define IMAP_LOGIN_H

#include "auth/front.h"

extern const struct front_protocol imap_front;

#endif
