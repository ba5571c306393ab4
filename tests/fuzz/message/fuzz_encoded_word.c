/* Any bytes as header text with encoded words: the result is UTF-8; what is encoded decodes to itself. */
#include <unistr.h>

#include "message/encoded_word.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_utf8(struct str s)
{
    return u8_check((const uint8_t *)s.data, s.len) == NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf decoded = BUF_INIT(BUF_UNBOUNDED), encoded = BUF_INIT(BUF_UNBOUNDED);
    if (encoded_words_decode(str_of(data, size), &decoded) == 0) {
        panic_unless(is_utf8(buf_str(&decoded)));
        panic_unless(encoded_words_encode(buf_str(&decoded), &encoded) == 0);
        for (size_t i = 0; i < encoded.len; i++)
            panic_unless((unsigned char)encoded.data[i] < 0x80);
    }
    buf_free(&decoded);
    buf_free(&encoded);
    return 0;
}
