/* directory.h - directory.db: domains, accounts, aliases, credentials. Core's, or a command's that
 * owns DATA.
 *
 * All verbs are safe from any thread; reads are served from memory-cached or short read
 * transactions, writes are one durable transaction each. Names: domains in A-label form, lower case
 * (domain_normalize); local parts compared without case (ASCII and, for UTF-8, simple case folding),
 * stored as given.
 */
#ifndef STORE_DIRECTORY_H
#define STORE_DIRECTORY_H

#include "base/arena.h"
#include "base/error.h"

int directory_open(const char *data_directory, struct error *e);
void directory_close(void);

/* Told after the commit, in the thread that made the change, outside all locks: whose sessions have
 * to end, or whose files have to go. At most four hooks, registered at start. */
enum directory_change {
    DIRECTORY_PASSWORD, /* a password was replaced or removed (a new one beside others ends nothing) */
    DIRECTORY_STATE,    /* disabled, receive-only or send-only from now on */
    DIRECTORY_REMOVED, /* the account is gone: its files too, please */
};
void directory_on_change(void (*changed)(uint64_t account, enum directory_change what));

struct domain {
    uint64_t id;
    struct str name;
    uint64_t quota;       /* bytes, soft; 0 = none */
    uint64_t usage;       /* sum of its accounts, as far as box has told */
    struct str catch_all; /* full address; empty = none */
    uint64_t accounts, aliases;
};
int directory_domain_add(struct str name, uint64_t quota, struct error *e);
int directory_domain_set(struct str name, const uint64_t *quota, const struct str *catch_all,
                         struct error *e); /* NULL = leave */
int directory_domain_remove(struct str name,
                            struct error *e); /* only without accounts and aliases */
int directory_domain_find(struct str name, struct arena *arena, struct domain *out,
                          struct error *e);
int directory_domain_list(struct arena *arena, struct domain **out, size_t *count, struct error *e);

enum account_state { ACCOUNT_ENABLED, ACCOUNT_DISABLED, ACCOUNT_RECEIVE_ONLY, ACCOUNT_SEND_ONLY };
struct account_entry {
    uint64_t id;        /* never reused */
    struct str address; /* local@domain */
    struct str name;    /* the person's, may be empty */
    enum account_state state;
    uint64_t quota, usage, messages; /* quota 0 = none; usage as far as box has told */
    int64_t created, last_login;     /* seconds; last_login 0 = never */
    bool administrator; /* gets postmaster's mail; the first account of all becomes one */
};
/* Everywhere below an address without "@" means that local part in the first domain (the one added
 * first), so that people may log in by their short name. */
/* A new account; password may be empty (nobody can log in until one is set). */
int directory_account_add(struct str address, struct str name, uint64_t quota, uint64_t *id,
                          struct error *e);
int directory_account_set(struct str address, const enum account_state *state,
                          const uint64_t *quota, const struct str *name, struct error *e);
int directory_account_administrator(struct str address, bool administrator, struct error *e);
int directory_account_remove(struct str address, uint64_t *id, struct error *e);
int directory_account_find(struct str address, struct arena *arena, struct account_entry *out,
                           struct error *e);
int directory_account_get(uint64_t id, struct arena *arena, struct account_entry *out,
                          struct error *e);
/* domain empty: of all. after/limit page through big directories (address order). */
int directory_account_list(struct str domain, struct str after, size_t limit, struct arena *arena,
                           struct account_entry **out, size_t *count, struct error *e);
/* Batched: kept in memory for up to two seconds, seen by every read at once. */
int directory_account_usage(uint64_t id, uint64_t bytes, uint64_t messages, struct error *e);
int directory_account_login(uint64_t id, struct error *e); /* last_login = now, batched */

/* An alias: an address that stands for one or more others, ours or not. */
struct alias {
    struct str address;
    struct str *targets;
    size_t target_count;
};
enum { ALIAS_TARGETS_MAX = 1000 };
int directory_alias_add(struct str address, const struct str *targets, size_t count,
                        struct error *e); /* adds targets when it exists */
int directory_alias_remove(struct str address, const struct str *targets, size_t count,
                           struct error *e); /* count 0: all of it */
int directory_alias_find(struct str address, struct arena *arena, struct alias *out,
                         struct error *e);
int directory_alias_list(struct str domain, struct arena *arena, struct alias **out, size_t *count,
                         struct error *e);

/* Credentials of an account. The main password has the empty name; app passwords have others. */
struct credential {
    uint64_t id;
    struct str name;
    struct str hash; /* "{SCHEME}..." or a crypt(3) string */
    int64_t created, last_used;
    struct str last_from; /* address and service of the last use */
};
enum { CREDENTIALS_MAX = 64, CREDENTIAL_NAME_MAX = 100, CREDENTIAL_HASH_MAX = 1024 };
/* Adds or replaces. A replaced credential gets a new id, so that what is still on its way for the old
 * one (a re-hash, keys) changes nothing. */
int directory_credential_set(uint64_t account, struct str name, struct str hash, struct error *e);
int directory_credential_rehash(uint64_t credential, struct str hash, struct error *e);
int directory_credential_remove(uint64_t account, struct str name, struct error *e);
int directory_credential_list(uint64_t account, struct arena *arena, struct credential **out,
                              size_t *count, struct error *e);
int directory_credential_used(uint64_t credential, struct str from, struct error *e); /* batched */

/* SCRAM (RFC 5802, 7677): one salt and iteration count per account, shared by all its passwords; the
 * keys per credential and hash. hash is "SHA-1" or "SHA-256". */
struct scram_keys {
    uint64_t credential;
    struct str stored_key, server_key;
};
int directory_scram_parameters(uint64_t account, struct arena *arena, struct str *salt,
                               uint32_t *iterations, struct error *e); /* made when missing */
/* The same without making them: ERROR_NOT_FOUND. */
int directory_scram_find(uint64_t account, struct arena *arena, struct str *salt,
                         uint32_t *iterations, struct error *e);
/* The iteration count for accounts that have none yet (setting login scram-iterations; until it is
 * told, and at least, 4096: RFC 7677 §3). */
void directory_scram_default(uint32_t iterations);
uint32_t directory_scram_default_get(void);
/* A password with its SCRAM keys for both hashes in one transaction, as directory_credential_set. */
struct scram_pair {
    struct str stored_key, server_key;
};
int directory_credential_set_keyed(uint64_t account, struct str name, struct str hash,
                                   const struct scram_pair *sha1, const struct scram_pair *sha256,
                                   struct error *e);
int directory_scram_set(uint64_t credential, struct str hash, struct str stored_key,
                        struct str server_key, struct error *e);
int directory_scram_list(uint64_t account, struct str hash, struct arena *arena,
                         struct scram_keys **out, size_t *count, struct error *e);
/* Every enabled account that has a password has keys for all its passwords: SCRAM may be offered. */
bool directory_scram_complete(
    void); /* cached; a write asks again. Disabled accounts do not count */

/* Small run-time values (secrets made once, such as the fake-salt key). */
int directory_value_get(struct str name, struct arena *arena, struct str *out, struct error *e);
int directory_value_set(struct str name, struct str value, struct error *e);

/* ------------------------------------------------------------------ resolving a recipient */

enum resolve_kind {
    RESOLVE_ACCOUNT, /* exactly one of our accounts */
    RESOLVE_LIST,    /* several targets, or targets elsewhere: goes through the queue */
    RESOLVE_REMOTE,  /* not one of our domains */
    RESOLVE_UNKNOWN, /* our domain, nobody there */
    RESOLVE_REFUSED, /* exists, but takes no mail (disabled, send-only) */
};
struct resolved_target {
    uint64_t account;   /* 0: remote */
    struct str address; /* the target's canonical address */
    struct str detail;  /* what followed the recipient delimiter, may be empty */
};
struct resolved {
    enum resolve_kind kind;
    struct resolved_target *targets; /* deduplicated; at most ALIAS_TARGETS_MAX */
    size_t target_count;
    struct str reason; /* for UNKNOWN and REFUSED: a sentence for the reply */
};
/* Exact address, then alias, then without the detail (alice+x), then postmaster and abuse of the
 * domain (RFC 5321 §4.5.1, RFC 2142: to the first administrator account when nobody has them), then
 * the catch-all. Aliases of aliases are followed; loops and depth are bounded. A local part without
 * a domain ("postmaster") belongs to the first domain. delimiter is the setting's characters.
 *
 * Postmaster's mail goes to the domain's first administrator, else to the first one of any domain, else
 * to the domain's first account, else to the first of all. Targets of an alias that do not exist or
 * take no mail are left out; when none remains, the alias is UNKNOWN or REFUSED. local is the semantic
 * local part (address_parse), not quoted. -1 with ERROR_LIMIT: more than ALIAS_TARGETS_MAX targets. */
int directory_resolve(struct str local, struct str domain, struct str delimiter,
                      struct arena *arena, struct resolved *out, struct error *e);

#endif
