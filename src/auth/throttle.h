/* throttle.h - counting failed logins, so that guessing is slow and nobody can lock another out.
 *
 * Failures count per (client's address, account) and per network (IPv4 /24, IPv6 /48). Past the setting
 * the password of that pair, or of that network, is not looked at any more for a while; the same account
 * from elsewhere is not touched, and an address that lately logged in to the account is not counted with
 * its network. Tables are of fixed size.
 */
#ifndef AUTH_THROTTLE_H
#define AUTH_THROTTLE_H

#include "base/str.h"

bool throttle_blocked(struct str peer, struct str account);
void throttle_failed(struct str peer, struct str account);
void throttle_succeeded(struct str peer, struct str account);

#endif
