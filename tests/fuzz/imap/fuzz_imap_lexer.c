/* Any bytes from a client before a command is known: collected, then read by every function of the lexer. */
#include "imap/collect.h"
#include "imap/lexer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool no_message(struct str so_far UNUSED)
{
    return false;
}

static void command_read(struct str command, unsigned which, bool utf8)
{
    struct arena arena = ARENA_INIT;
    struct imap_lexer l = {.rest = command, .arena = &arena, .utf8 = utf8};
    struct str s;
    struct imap_set set;
    struct imap_flags flags;
    uint32_t n32;
    uint64_t n64;
    bool nil;
    for (int round = 0; round < 100 && l.rest.len; round++, which = which * 31 + 7) {
        size_t before = l.rest.len;
        int result = -1;
        switch (which % 11) {
        case 0:
            result = imap_atom(&l, &s);
            break;
        case 1:
            result = imap_astring(&l, &s);
            break;
        case 2:
            result = imap_string(&l, &s);
            break;
        case 3:
            result = imap_nstring(&l, &s, &nil);
            break;
        case 4:
            result = imap_number(&l, &n32);
            break;
        case 5:
            result = imap_number64(&l, &n64);
            break;
        case 6:
            result = imap_mailbox(&l, &s);
            break;
        case 7:
            result = imap_pattern(&l, &s);
            break;
        case 8:
            result = imap_flags(&l, which & 16, &flags);
            break;
        case 9:
            result = imap_set(&l, &set);
            break;
        default:
            result = imap_space(&l);
            break;
        }
        panic_unless(l.rest.len <= before);
        if (result < 0 && l.rest.len)
            l.rest = str_from_pos(l.rest, 1);
    }
    arena_free(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    struct str input = str_of(data + 1, size - 1);
    struct imap_collector c = {0};
    struct imap_literal literal;
    size_t length = 0;
    enum imap_collected got;
    while ((got = imap_collect(&c, input, 65536, 1000, no_message, &length, &literal)) ==
           COLLECT_COMMAND) {
        panic_unless(length > 0 && length <= input.len);
        command_read(str_slice(input, 0, length), data[0], data[0] & 1);
        input = str_from_pos(input, length);
        c = (struct imap_collector){0};
    }
    struct buf decoded = BUF_INIT(BUF_UNBOUNDED), encoded = BUF_INIT(BUF_UNBOUNDED);
    if (utf7_decode(input, &decoded) == 0 && str_is_utf8(buf_str(&decoded))) {
        panic_unless(utf7_encode(buf_str(&decoded), &encoded) == 0);
        buf_reset(&decoded);
        panic_unless(utf7_decode(buf_str(&encoded), &decoded) == 0);
    }
    buf_free(&decoded);
    buf_free(&encoded);
    return 0;
}
