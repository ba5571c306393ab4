/* password.h - password hashes: ours (yescrypt), and those that people bring along.
 */
#ifndef AUTH_PASSWORD_H
#define AUTH_PASSWORD_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"

enum { PASSWORD_MAX = 1024 };

/* A new hash of the present scheme: "$y$...". */
int password_hash(struct str password, struct buf *out, struct error *e);

/* Does the password fit? hash: a crypt(3) string, or "{SCHEME}..." with SHA512-CRYPT, SHA256-CRYPT,
 * BLF-CRYPT, MD5-CRYPT, CRYPT, ARGON2ID, ARGON2I, SSHA512, SSHA256, SSHA, SHA512, SHA256, SHA or PLAIN (the
 * digests also as ".hex" and ".b64"). A hash of unknown or unreasonably costly kind fits nothing. */
bool password_fits(struct str password, struct str hash);

/* May this be imported? -1: the scheme is not known, or its cost is out of bounds. */
int password_hash_check(struct str hash, struct error *e);
bool password_is_current(struct str hash); /* else it is made anew at the next login */

/* A login: an account's address and password, however they came. ERROR_DENIED with *reason a word for the
 * log when it fails. *credential: which password it was. Re-hashes old hashes and makes SCRAM keys that are
 * missing. A success is remembered for a short while (keyed, in memory), so that a client that logs in
 * often does not cost a hash each time. */
int password_login(struct str login, struct str password, struct arena *arena, uint64_t *account,
                   uint64_t *credential, const char **reason, struct error *e);
void password_forget(uint64_t account); /* after a change */

/* Sets a password: hash and SCRAM keys in one transaction. name: "" the main one, else an app password's. */
int password_set(uint64_t account, struct str name, struct str password, struct error *e);

#endif
