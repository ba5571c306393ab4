/* ticket.c - signed proof of a login. See ticket.h.
 *
 * Text: "1 ACCOUNT QUOTA EXPIRES ADDRESS\n", then the HMAC of that line in hexadecimal.
 */
#include "auth/ticket.h"

#include <openssl/crypto.h>
#include <openssl/hmac.h>

#include "base/clock.h"
#include "base/codec.h"
#include "run/process.h"

enum { MAC_SIZE = 32 };

static void ticket_sign(struct str line, unsigned char out[static MAC_SIZE])
{
    struct str key = process_ticket_key();
    unsigned len = MAC_SIZE;
    if (!HMAC(EVP_sha256(), key.data, (int)key.len, (const unsigned char *)line.data, line.len, out,
              &len))
        fatal("HMAC failed");
}

void ticket_make(const struct ticket *t, struct buf *out)
{
    unsigned char mac[MAC_SIZE];
    size_t start = out->len;
    buf_printf(out, "1 %llu %llu %lld " STR_FMT "\n", (unsigned long long)t->account,
               (unsigned long long)t->quota, (long long)(clock_real_seconds() + TICKET_SECONDS),
               STR_ARG(t->address));
    ticket_sign(str_from_pos(buf_str(out), start), mac);
    hex_encode(out, str_of(mac, sizeof(mac)));
}

/* The fields of the line, without its end. */
static int ticket_parse(struct str line, struct ticket *out, uint64_t *expires)
{
    struct str part;
    if (!str_next_part(&line, ' ', &part) || !str_equal(part, STR("1")) ||
        !str_next_part(&line, ' ', &part) || str_to_u64(part, UINT64_MAX, &out->account) < 0 ||
        !str_next_part(&line, ' ', &part) || str_to_u64(part, UINT64_MAX, &out->quota) < 0 ||
        !str_next_part(&line, ' ', &part) || str_to_u64(part, INT64_MAX, expires) < 0 ||
        out->account == 0)
        return -1;
    out->address = line;
    return 0;
}

int ticket_check(struct str text, struct arena *arena, struct ticket *out, struct error *e)
{
    unsigned char mac[MAC_SIZE];
    struct buf shown CLEANUP(buf_free) = BUF_INIT(MAC_SIZE);
    uint64_t expires;
    size_t end = str_find_char(text, '\n');
    if (text.len > TICKET_MAX || end == text.len ||
        hex_decode(&shown, str_from_pos(text, end + 1)) < 0 || shown.len != MAC_SIZE)
        return error_set(e, ERROR_DENIED, "The login is not valid");
    ticket_sign(str_slice(text, 0, end + 1), mac);
    if (CRYPTO_memcmp(mac, shown.data, MAC_SIZE) != 0 ||
        ticket_parse(str_slice(text, 0, end), out, &expires) < 0)
        return error_set(e, ERROR_DENIED, "The login is not valid");
    if ((uint64_t)clock_real_seconds() > expires)
        return error_set(e, ERROR_DENIED, "The login took too long; try again");
    out->address = arena_copy(arena, out->address);
    return 0;
}

int ticket_account(struct str text, uint64_t *account)
{
    struct ticket t;
    uint64_t expires;
    if (ticket_parse(str_slice(text, 0, str_find_char(text, '\n')), &t, &expires) < 0)
        return -1;
    *account = t.account;
    return 0;
}
