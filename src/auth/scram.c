/* scram.c - SCRAM's arithmetic and messages. See scram.h. */
#include "auth/scram.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "base/codec.h"

static const EVP_MD *hash_function(enum scram_hash hash)
{
    return hash == SCRAM_SHA1 ? EVP_sha1() : EVP_sha256();
}

size_t scram_key_len(enum scram_hash hash)
{
    return hash == SCRAM_SHA1 ? 20 : 32;
}

struct str scram_hash_name(enum scram_hash hash)
{
    return hash == SCRAM_SHA1 ? STR("SHA-1") : STR("SHA-256");
}

static void hmac(enum scram_hash hash, struct str key, struct str data, uint8_t *out)
{
    unsigned len = 0;
    if (!HMAC(hash_function(hash), key.data, (int)key.len, (const uint8_t *)data.data, data.len,
              out, &len))
        fatal("HMAC failed");
}

static void digest(enum scram_hash hash, const uint8_t *data, size_t len, uint8_t *out)
{
    if (!EVP_Digest(data, len, out, NULL, hash_function(hash), NULL))
        fatal("digest failed");
}

void scram_derive(enum scram_hash hash, struct str password, struct str salt, uint32_t iterations,
                  struct scram_secret *out)
{
    uint8_t salted[SCRAM_KEY_LEN_MAX], client_key[SCRAM_KEY_LEN_MAX];
    size_t len = scram_key_len(hash);
    if (PKCS5_PBKDF2_HMAC(password.data ? password.data : "", (int)password.len,
                          (const uint8_t *)salt.data, (int)salt.len, (int)iterations,
                          hash_function(hash), (int)len, salted) != 1)
        fatal("PBKDF2 failed");
    hmac(hash, str_of(salted, len), STR("Client Key"), client_key);
    digest(hash, client_key, len, out->stored_key);
    hmac(hash, str_of(salted, len), STR("Server Key"), out->server_key);
    wipe(salted, sizeof(salted));
    wipe(client_key, sizeof(client_key));
}

bool scram_proof_check(enum scram_hash hash, struct str stored_key, struct str auth_message,
                       struct str proof)
{
    uint8_t key[SCRAM_KEY_LEN_MAX], stored[SCRAM_KEY_LEN_MAX];
    size_t len = scram_key_len(hash);
    if (proof.len != len || stored_key.len != len)
        return false;
    hmac(hash, stored_key, auth_message, key);
    for (size_t i = 0; i < len; i++)
        key[i] ^= (uint8_t)proof.data[i];
    digest(hash, key, len, stored);
    bool right = CRYPTO_memcmp(stored, stored_key.data, len) == 0;
    wipe(key, sizeof(key));
    return right;
}

void scram_server_final(enum scram_hash hash, struct str server_key, struct str auth_message,
                        struct buf *out)
{
    uint8_t signature[SCRAM_KEY_LEN_MAX];
    hmac(hash, server_key, auth_message, signature);
    buf_add_literal(out, "v=");
    base64_encode(out, str_of(signature, scram_key_len(hash)));
}

/* ------------------------------------------------------------------ messages */

/* saslname: "=2C" and "=3D" stand for "," and "="; any other "=" is an error (RFC 5802 §5.1). */
static int name_decode(struct str text, struct arena *arena, struct str *out)
{
    char *data = arena_alloc(arena, text.len + 1);
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        if (c == '=') {
            struct str code = str_slice(text, i, 3);
            if (str_equal(code, STR("=2C")))
                c = ',';
            else if (str_equal(code, STR("=3D")))
                c = '=';
            else
                return -1;
            i += 2;
        }
        data[len++] = c;
    }
    *out = str_of(data, len);
    return len && str_is_utf8(*out) && !str_has_char(*out, '\0') ? 0 : -1;
}

/* Takes "<letter>=<value>" off *rest, up to the next comma. */
static int attribute_take(struct str *rest, char letter, struct str *value)
{
    struct str part;
    if (!str_next_part(rest, ',', &part) || part.len < 3 || part.data[0] != letter ||
        part.data[1] != '=')
        return -1;
    *value = str_from_pos(part, 2);
    return 0;
}

/* What may follow: attributes that we do not know and ignore; none of them may be "m". */
static int extensions_check(struct str rest)
{
    struct str part;
    if (!rest.data)
        return 0;
    while (str_next_part(&rest, ',', &part))
        if (part.len < 3 || !ascii_is_alpha(part.data[0]) || part.data[1] != '=' ||
            part.data[0] == 'm' || !str_is_utf8(part))
            return -1;
    return 0;
}

static int nonce_check(struct str nonce)
{
    if (!nonce.len || nonce.len > SCRAM_NONCE_MAX)
        return -1;
    for (size_t i = 0; i < nonce.len; i++)
        if (nonce.data[i] < 0x21 || nonce.data[i] > 0x7E)
            return -1;
    return 0;
}

static int binding_flag_parse(struct str flag, struct scram_first *out)
{
    if (flag.len < 1)
        return -1;
    out->binding = flag.data[0];
    if (flag.len == 1)
        return out->binding == 'n' || out->binding == 'y' ? 0 : -1;
    if (!str_starts(flag, STR("p=")) || flag.len == 2)
        return -1;
    out->binding_type = str_from_pos(flag, 2);
    for (size_t i = 0; i < out->binding_type.len; i++) {
        char c = out->binding_type.data[i];
        if (!ascii_is_alnum(c) && c != '.' && c != '-')
            return -1;
    }
    return 0;
}

int scram_first_parse(struct str message, struct arena *arena, struct scram_first *out)
{
    struct scram_first first = {0};
    struct str rest = message, part;
    if (!str_next_part(&rest, ',', &part) || binding_flag_parse(part, &first) < 0)
        return -1;
    if (!str_next_part(&rest, ',', &part) || !rest.data)
        return -1;
    if (part.len && (!str_starts(part, STR("a=")) ||
                     name_decode(str_from_pos(part, 2), arena, &first.authzid) < 0))
        return -1;
    first.bare = rest;
    first.gs2_header = str_slice(message, 0, message.len - rest.len);
    if (attribute_take(&rest, 'n', &part) < 0 || name_decode(part, arena, &first.name) < 0)
        return -1;
    if (attribute_take(&rest, 'r', &first.nonce) < 0 || nonce_check(first.nonce) < 0 ||
        extensions_check(rest) < 0)
        return -1;
    *out = first;
    return 0;
}

static int value_decode(struct str text, struct arena *arena, struct str *out)
{
    struct buf decoded = BUF_INIT(text.len);
    int result = base64_decode(&decoded, text);
    if (result == 0)
        *out = arena_copy(arena, buf_str(&decoded));
    buf_free(&decoded);
    return result;
}

int scram_final_parse(struct str message, struct arena *arena, struct scram_final *out)
{
    struct scram_final final = {0};
    size_t comma = str_find_last_char(message, ',');
    if (comma >= message.len)
        return -1;
    final.without_proof = str_slice(message, 0, comma);
    struct str rest = final.without_proof, proof = str_from_pos(message, comma + 1), binding;
    if (attribute_take(&rest, 'c', &binding) < 0 ||
        value_decode(binding, arena, &final.binding) < 0)
        return -1;
    if (attribute_take(&rest, 'r', &final.nonce) < 0 || nonce_check(final.nonce) < 0 ||
        extensions_check(rest) < 0)
        return -1;
    struct str value;
    if (attribute_take(&proof, 'p', &value) < 0 || value_decode(value, arena, &final.proof) < 0)
        return -1;
    *out = final;
    return 0;
}
