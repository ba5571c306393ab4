/* scram.h - the arithmetic of SCRAM (RFC 5802 §3) and its messages (§7). Knows no account.
 */
#ifndef AUTH_SCRAM_H
#define AUTH_SCRAM_H

#include "base/arena.h"
#include "base/buf.h"

enum scram_hash { SCRAM_SHA1, SCRAM_SHA256, SCRAM_HASH_COUNT };
enum { SCRAM_KEY_LEN_MAX = 32, SCRAM_ITERATIONS_MAX = 1000000, SCRAM_NONCE_MAX = 256 };

size_t scram_key_len(enum scram_hash hash);
struct str
scram_hash_name(enum scram_hash hash); /* as the directory calls it: "SHA-1", "SHA-256" */

struct scram_secret {
    uint8_t stored_key[SCRAM_KEY_LEN_MAX], server_key[SCRAM_KEY_LEN_MAX];
};
/* password is prepared already. Takes milliseconds: iterations decide how many. */
void scram_derive(enum scram_hash hash, struct str password, struct str salt, uint32_t iterations,
                  struct scram_secret *out);

/* The client's first message, taken apart; views into it, except name and authzid (decoded, in the
 * arena). */
struct scram_first {
    char binding;            /* gs2-cbind-flag: 'n', 'y' or 'p' */
    struct str binding_type; /* with 'p' */
    struct str authzid;      /* empty: none */
    struct str name;
    struct str nonce;
    struct str gs2_header; /* up to and with the second comma */
    struct str bare;       /* the rest: part of what is signed */
};
int scram_first_parse(struct str message, struct arena *arena, struct scram_first *out) MUST_CHECK;

struct scram_final {
    struct str binding; /* c=, decoded, in the arena */
    struct str nonce;
    struct str proof;         /* p=, decoded, in the arena */
    struct str without_proof; /* part of what is signed */
};
int scram_final_parse(struct str message, struct arena *arena, struct scram_final *out) MUST_CHECK;

/* Does the proof fit the key? auth_message: client-first-message-bare "," server-first-message ","
 * client-final-message-without-proof. Constant time. */
bool scram_proof_check(enum scram_hash hash, struct str stored_key, struct str auth_message,
                       struct str proof);
/* The server's answer "v=..." */
void scram_server_final(enum scram_hash hash, struct str server_key, struct str auth_message,
                        struct buf *out);

#endif
