/* directory_private.h - what the files of the directory share: handles, names, batched values.
 *
 * One handle writes, under the write lock; any number of handles read, each by one thread at a time.
 * Lock order: write lock, then one of the small locks (pool, batch), which are never held together.
 */
#ifndef STORE_DIRECTORY_PRIVATE_H
#define STORE_DIRECTORY_PRIVATE_H

#include "store/db.h"
#include "store/directory.h"

/* A handle for reading, or NULL with *e set. Give it back with directory_read_end, which passes result
 * through unless the handle has a pending error. */
struct db *directory_read(struct error *e);
int directory_read_end(struct db *db, int result, struct error *e);

/* The writing handle inside a transaction, or NULL with *e set. directory_write_end commits when result
 * is 0 and rolls back otherwise. */
struct db *directory_write(struct error *e);
int directory_write_end(struct db *db, int result, struct error *e);

void directory_changed(uint64_t account, enum directory_change what); /* calls the hooks */

/* An address taken apart. domain is 0 when the domain is not ours. */
struct directory_name {
    struct str local;
    struct str key;    /* the local part as it is compared */
    struct str domain; /* normalised */
    uint64_t domain_id;
};
/* -1: not an address (*e says so). db: to find the domain. */
int directory_name_parse(struct db *db, struct str address, struct arena *arena,
                         struct directory_name *out, struct error *e);
/* The local part as it is compared: NFC, each character in lower case. Invalid UTF-8 stays. */
struct str directory_local_key(struct str local, struct arena *arena);
/* local@domain, quoted where it has to be. */
struct str directory_address(struct str local, struct str domain, struct arena *arena);
/* 0 when it is not ours; normalised is set in any case that is a domain. Empty: the first domain. */
uint64_t directory_domain_id(struct db *db, struct str domain, struct arena *arena,
                             struct str *normalised);

/* Account id by name, 0 when there is none; and the alias of that name. */
uint64_t directory_account_id(struct db *db, const struct directory_name *name);
uint64_t directory_alias_id(struct db *db, const struct directory_name *name);

/* Values that are written in batches: overlays on what was read. */
void batch_start(void);
void batch_stop(void); /* writes what is left */
void batch_overlay_account(struct account_entry *entry);
void batch_overlay_credential(struct credential *credential, struct arena *arena);

#endif
