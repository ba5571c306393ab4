/* password.c - password hashes and logins with them. See password.h. */
#include "auth/password.h"

#include <argon2.h>
#include <crypt.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <pthread.h>

#include "auth/prepare.h"
#include "auth/scram.h"
#include "base/clock.h"
#include "base/codec.h"
#include "base/log.h"
#include "store/directory.h"

enum {
    REMEMBERED = 4096,
    REMEMBER_MS = 60000,
    MEMO_SIZE = 32,
    ARGON_MEMORY_MAX_KB = 1024 * 1024,
    ARGON_TIME_MAX = 20,
    ARGON_LANES_MAX = 64,
    CRYPT_ROUNDS_MAX = 1000000,
    BLOWFISH_COST_MAX = 15
};

/* ------------------------------------------------------------------ hashes */

int password_hash(struct str password, struct buf *out, struct error *e)
{
    struct crypt_data *data = mem_alloc(sizeof(*data));
    char setting[CRYPT_GENSALT_OUTPUT_SIZE], text[PASSWORD_MAX + 1];
    int result = -1;
    if (password.len == 0 || password.len > PASSWORD_MAX ||
        memchr(password.data, '\0', password.len)) {
        error_set(e, ERROR_INVALID, "A password has 1 to %d bytes and no NUL", PASSWORD_MAX);
    } else if (!crypt_gensalt_rn("$y$", 0, NULL, 0, setting, sizeof(setting))) {
        error_set(e, ERROR_INTERNAL, "The password cannot be hashed");
    } else {
        memcpy(text, password.data, password.len);
        text[password.len] = '\0';
        const char *hash = crypt_rn(text, setting, data, sizeof(*data));
        result = hash && hash[0] == '$'
                     ? buf_add(out, str_from(hash))
                     : error_set(e, ERROR_INTERNAL, "The password cannot be hashed");
        wipe(text, sizeof(text));
    }
    wipe(data, sizeof(*data));
    mem_free(data);
    return result;
}

static bool same(struct str a, struct str b)
{
    return a.len == b.len && CRYPTO_memcmp(a.data, b.data, a.len) == 0;
}

/* What a password says to a hash. MALFORMED: no password can fit. */
enum fit { FITS, DIFFERS, MALFORMED };

/* Costs that people may bring along: a login must not take seconds or the machine's memory. Of the kinds
 * of crypt(3) only those whose cost can be told are taken. */
static bool crypt_bounded(struct str hash)
{
    struct str rest = str_from_pos(hash, 3);
    uint32_t cost;
    if (hash.data[0] != '$') /* the old DES; "_" is its form with a count of rounds */
        return hash.data[0] != '_';
    if (str_starts(hash, STR("$1$")))
        return true;
    if (str_starts(hash, STR("$5$")) || str_starts(hash, STR("$6$"))) {
        if (!str_starts(rest, STR("rounds=")))
            return true;
        rest = str_from_pos(rest, 7);
        return str_to_u32(str_slice(rest, 0, str_find_char(rest, '$')), CRYPT_ROUNDS_MAX, &cost) ==
               0;
    }
    if (str_starts(hash, STR("$2")))
        return str_to_u32(str_slice(hash, 4, 2), BLOWFISH_COST_MAX, &cost) == 0;
    if (!str_starts(hash, STR("$y$")))
        return false;
    /* yescrypt: flags, log2 of N - 1, r - 1 as single digits of base 64 ("j9T$"); no further ones. */
    return rest.data[0] == 'j' && rest.data[1] <= 'F' && rest.data[2] <= 'T' && rest.data[3] == '$';
}

static enum fit crypt_try(struct str password, struct str hash)
{
    char text[PASSWORD_MAX + 1], setting[512];
    if (password.len > PASSWORD_MAX || hash.len >= sizeof(setting) || hash.len < 13 ||
        !crypt_bounded(hash) || memchr(hash.data, '\0', hash.len))
        return MALFORMED;
    if (memchr(password.data, '\0', password.len))
        return DIFFERS;
    struct crypt_data *data = mem_alloc(sizeof(*data));
    memcpy(text, password.data, password.len);
    text[password.len] = '\0';
    memcpy(setting, hash.data, hash.len);
    setting[hash.len] = '\0';
    const char *made = crypt_rn(text, setting, data, sizeof(*data));
    enum fit fit = !made || made[0] == '*' || strlen(made) != hash.len ? MALFORMED
                   : same(str_from(made), hash)                        ? FITS
                                                                       : DIFFERS;
    wipe(text, sizeof(text));
    wipe(data, sizeof(*data));
    mem_free(data);
    return fit;
}

/* The number behind key in an Argon2 hash, at most max. */
static bool argon_parameter(struct str hash, struct str key, uint32_t max)
{
    size_t at = str_find(hash, key);
    struct str text = str_from_pos(hash, at + key.len);
    uint32_t value;
    size_t end = 0;
    while (end < text.len && ascii_is_digit(text.data[end]))
        end++;
    return at < hash.len && str_to_u32(str_slice(text, 0, end), max, &value) == 0;
}

static bool argon_bounded(struct str hash)
{
    return argon_parameter(hash, STR("$m="), ARGON_MEMORY_MAX_KB) &&
           argon_parameter(hash, STR(",t="), ARGON_TIME_MAX) &&
           argon_parameter(hash, STR(",p="), ARGON_LANES_MAX);
}

static enum fit argon_try(struct str password, struct str hash)
{
    char text[512];
    if (hash.len >= sizeof(text) || !argon_bounded(hash))
        return MALFORMED;
    memcpy(text, hash.data, hash.len);
    text[hash.len] = '\0';
    argon2_type type = str_starts(hash, STR("$argon2id$")) ? Argon2_id : Argon2_i;
    int result = argon2_verify(text, password.data, password.len, type);
    return result == ARGON2_OK ? FITS : result == ARGON2_VERIFY_MISMATCH ? DIFFERS : MALFORMED;
}

/* Schemes as Dovecot names them. digest: with the salt behind it when salted. */
static const struct scheme {
    struct str name;
    enum { SCHEME_CRYPT, SCHEME_ARGON, SCHEME_DIGEST, SCHEME_PLAIN } kind;
    const char *digest;
    bool salted;
} schemes[] = {
    {STR_INIT("SHA512-CRYPT"), SCHEME_CRYPT, NULL, false},
    {STR_INIT("SHA256-CRYPT"), SCHEME_CRYPT, NULL, false},
    {STR_INIT("BLF-CRYPT"), SCHEME_CRYPT, NULL, false},
    {STR_INIT("MD5-CRYPT"), SCHEME_CRYPT, NULL, false},
    {STR_INIT("CRYPT"), SCHEME_CRYPT, NULL, false},
    {STR_INIT("ARGON2ID"), SCHEME_ARGON, NULL, false},
    {STR_INIT("ARGON2I"), SCHEME_ARGON, NULL, false},
    {STR_INIT("SSHA512"), SCHEME_DIGEST, "SHA512", true},
    {STR_INIT("SSHA256"), SCHEME_DIGEST, "SHA256", true},
    {STR_INIT("SSHA"), SCHEME_DIGEST, "SHA1", true},
    {STR_INIT("SHA512"), SCHEME_DIGEST, "SHA512", false},
    {STR_INIT("SHA256"), SCHEME_DIGEST, "SHA256", false},
    {STR_INIT("SHA"), SCHEME_DIGEST, "SHA1", false},
    {STR_INIT("PLAIN"), SCHEME_PLAIN, NULL, false},
    {STR_INIT("CLEARTEXT"), SCHEME_PLAIN, NULL, false},
};

/* "{SCHEME.b64}data": the row, *data and *hex. NULL: no scheme, or an unknown one. */
static const struct scheme *scheme_find(struct str hash, struct str *data, bool *hex)
{
    size_t close = str_find_char(hash, '}');
    if (hash.len == 0 || hash.data[0] != '{' || close == hash.len)
        return NULL;
    struct str name = str_slice(hash, 1, close - 1);
    *data = str_from_pos(hash, close + 1);
    *hex = str_ends_nocase(name, STR(".HEX"));
    if (*hex || str_ends_nocase(name, STR(".B64")))
        name.len -= 4;
    for (size_t i = 0; i < countof(schemes); i++)
        if (str_equal_nocase(name, schemes[i].name))
            return &schemes[i];
    return NULL;
}

static enum fit digest_try(struct str password, const struct scheme *scheme, struct str text,
                           bool hex)
{
    struct buf data = BUF_INIT(512);
    unsigned char made[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    const EVP_MD *digest = EVP_get_digestbyname(scheme->digest);
    enum fit fit = MALFORMED;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    size_t size = digest ? (size_t)EVP_MD_size(digest) : 0;
    if (digest && context && (hex ? hex_decode(&data, text) : base64_decode(&data, text)) == 0 &&
        (scheme->salted ? data.len >= size : data.len == size)) {
        struct str salt = str_from_pos(buf_str(&data), size);
        EVP_DigestInit_ex(context, digest, NULL);
        EVP_DigestUpdate(context, password.data, password.len);
        EVP_DigestUpdate(context, salt.data, salt.len);
        EVP_DigestFinal_ex(context, made, &len);
        fit = CRYPTO_memcmp(made, data.data, len) == 0 ? FITS : DIFFERS;
    }
    EVP_MD_CTX_free(context);
    buf_free(&data);
    return fit;
}

static enum fit password_try(struct str password, struct str hash)
{
    struct str data = hash;
    bool hex = false;
    if (hash.len && hash.data[0] != '{')
        return str_starts(hash, STR("$argon2")) ? argon_try(password, hash)
                                                : crypt_try(password, hash);
    const struct scheme *scheme = scheme_find(hash, &data, &hex);
    if (!scheme)
        return MALFORMED;
    switch (scheme->kind) {
    case SCHEME_CRYPT:
        return crypt_try(password, data);
    case SCHEME_ARGON:
        return argon_try(password, data);
    case SCHEME_PLAIN:
        return same(password, data) ? FITS : DIFFERS;
    default:
        return digest_try(password, scheme, data, hex);
    }
}

bool password_fits(struct str password, struct str hash)
{
    return password.len > 0 && password.len <= PASSWORD_MAX && password_try(password, hash) == FITS;
}

int password_hash_check(struct str hash, struct error *e)
{
    struct str data = hash;
    bool hex = false;
    if (hash.len && hash.data[0] == '{' && !scheme_find(hash, &data, &hex))
        return error_set(
            e, ERROR_INVALID,
            "The hash's scheme is not known; known are {SHA512-CRYPT}, {SHA256-CRYPT}, "
            "{BLF-CRYPT}, {ARGON2ID}, {SSHA512}, {SSHA256}, {SSHA}, {PLAIN} and crypt(3)");
    if (str_has_char(data, '\n') || data.len < 1 || data.len > 500)
        return error_set(e, ERROR_INVALID, "That is not a password hash");
    if (hash.data[0] != '{' && hash.data[0] != '$')
        return error_set(e, ERROR_INVALID, "A hash begins with {SCHEME} or with $");
    bool argon = str_starts(data, STR("$argon2"));
    if (argon ? !argon_bounded(data)
              : data.data[0] == '$' && data.len >= 13 && !crypt_bounded(data))
        return error_set(e, ERROR_LIMIT,
                         "The hash takes more memory or time than is allowed, or is of a kind "
                         "that is not known");
    /* Tried once: what cannot fit any password is better refused here than at the login. */
    if (password_try(STR("x"), hash) == MALFORMED)
        return error_set(e, ERROR_INVALID, "The hash is damaged: it does not fit any password");
    return 0;
}

bool password_is_current(struct str hash)
{
    return str_starts(hash, STR("$y$"));
}

/* ------------------------------------------------------------------ what was right a moment ago */

static struct memo {
    uint64_t account, credential;
    int64_t until;
    unsigned char key[MEMO_SIZE];
} memos[REMEMBERED];
static pthread_mutex_t memo_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned char memo_secret[MEMO_SIZE];
static bool memo_ready;

static void memo_key(uint64_t account, struct str password, unsigned char out[static MEMO_SIZE])
{
    unsigned char input[8 + PASSWORD_MAX];
    unsigned len = MEMO_SIZE;
    if (!memo_ready) {
        random_bytes(memo_secret, sizeof(memo_secret));
        memo_ready = true;
    }
    memcpy(input, &account, 8);
    memcpy(input + 8, password.data, password.len);
    HMAC(EVP_sha256(), memo_secret, MEMO_SIZE, input, 8 + password.len, out, &len);
    wipe(input, sizeof(input));
}

static bool memo_find(uint64_t account, struct str password, uint64_t *credential)
{
    unsigned char key[MEMO_SIZE];
    pthread_mutex_lock(&memo_lock);
    memo_key(account, password, key);
    const struct memo *m = &memos[account % REMEMBERED];
    bool found = m->account == account && m->until > clock_monotonic_ms() &&
                 CRYPTO_memcmp(m->key, key, MEMO_SIZE) == 0;
    if (found)
        *credential = m->credential;
    pthread_mutex_unlock(&memo_lock);
    return found;
}

static void memo_add(uint64_t account, struct str password, uint64_t credential)
{
    pthread_mutex_lock(&memo_lock);
    struct memo *m = &memos[account % REMEMBERED];
    *m = (struct memo){
        .account = account, .credential = credential, .until = clock_monotonic_ms() + REMEMBER_MS};
    memo_key(account, password, m->key);
    pthread_mutex_unlock(&memo_lock);
}

void password_forget(uint64_t account)
{
    pthread_mutex_lock(&memo_lock);
    if (memos[account % REMEMBERED].account == account)
        memos[account % REMEMBERED].account = 0;
    pthread_mutex_unlock(&memo_lock);
}

/* ------------------------------------------------------------------ setting and logging in */

static int keys_make(uint64_t account, struct str password,
                     struct scram_secret secrets[static SCRAM_HASH_COUNT], struct error *e)
{
    struct arena arena CLEANUP(arena_free) = ARENA_INIT;
    struct buf prepared = BUF_INIT(PASSWORD_MAX * 4);
    struct str salt;
    uint32_t iterations;
    int result =
        sasl_prepare(password, &prepared) < 0
            ? error_set(e, ERROR_INVALID, "The password has characters that cannot be used")
            : directory_scram_parameters(account, &arena, &salt, &iterations, e);
    for (int hash = 0; result == 0 && hash < SCRAM_HASH_COUNT; hash++)
        scram_derive((enum scram_hash)hash, buf_str(&prepared), salt, iterations, &secrets[hash]);
    wipe(prepared.data, prepared.len);
    buf_free(&prepared);
    return result;
}

int password_set(uint64_t account, struct str name, struct str password, struct error *e)
{
    struct scram_secret s[SCRAM_HASH_COUNT];
    struct buf hash = BUF_INIT(1024);
    int result = password_hash(password, &hash, e);
    if (result == 0)
        result = keys_make(account, password, s, e);
    if (result == 0) {
        struct scram_pair pairs[SCRAM_HASH_COUNT];
        for (int i = 0; i < SCRAM_HASH_COUNT; i++) {
            size_t len = scram_key_len((enum scram_hash)i);
            pairs[i] =
                (struct scram_pair){str_of(s[i].stored_key, len), str_of(s[i].server_key, len)};
        }
        result = directory_credential_set_keyed(account, name, buf_str(&hash), &pairs[SCRAM_SHA1],
                                                &pairs[SCRAM_SHA256], e);
    }
    wipe(s, sizeof(s));
    buf_free(&hash);
    password_forget(account);
    return result;
}

/* After a login with an old hash, or one without keys. What fails here is tried at the next login. */
static void credential_refresh(uint64_t account, const struct credential *c, struct str password,
                               struct arena *arena)
{
    struct scram_keys *keys;
    size_t count = 0;
    bool keyed = false;
    if (!password_is_current(c->hash)) {
        struct buf hash = BUF_INIT(1024);
        if (password_hash(password, &hash, NULL) == 0)
            directory_credential_rehash(c->id, buf_str(&hash), NULL);
        buf_free(&hash);
    }
    if (directory_scram_list(account, scram_hash_name(SCRAM_SHA256), arena, &keys, &count, NULL) ==
        0)
        for (size_t i = 0; i < count; i++)
            keyed |= keys[i].credential == c->id;
    struct scram_secret s[SCRAM_HASH_COUNT];
    if (keyed || keys_make(account, password, s, NULL) < 0)
        return;
    for (int i = 0; i < SCRAM_HASH_COUNT; i++) {
        size_t len = scram_key_len((enum scram_hash)i);
        directory_scram_set(c->id, scram_hash_name((enum scram_hash)i),
                            str_of(s[i].stored_key, len), str_of(s[i].server_key, len), NULL);
    }
    wipe(s, sizeof(s));
}

int password_login(struct str login, struct str password, struct arena *arena, uint64_t *account,
                   uint64_t *credential, const char **reason, struct error *e)
{
    struct account_entry entry;
    struct credential *list;
    size_t count;
    *reason = "password";
    error_set(e, ERROR_DENIED, "The name or the password is wrong");
    if (password.len == 0 || password.len > PASSWORD_MAX)
        return -1;
    struct error why;
    if (directory_account_find(login, arena, &entry, &why) < 0) {
        *reason = "unknown-account";
        if (why.class != ERROR_NOT_FOUND && why.class != ERROR_INVALID)
            *e = why;
        return -1;
    }
    *account = entry.id;
    if (entry.state == ACCOUNT_DISABLED) {
        *reason = "disabled";
        return -1;
    }
    if (memo_find(entry.id, password, credential))
        return 0;
    if (directory_credential_list(entry.id, arena, &list, &count, e) < 0)
        return -1;
    for (size_t i = 0; i < count; i++)
        if (password_fits(password, list[i].hash)) {
            *credential = list[i].id;
            credential_refresh(entry.id, &list[i], password, arena);
            memo_add(entry.id, password, list[i].id);
            return 0;
        }
    error_set(e, ERROR_DENIED, "The name or the password is wrong");
    return -1;
}
