/* Any bytes as a summary block, such as a spoiled scan process or a damaged disk gives: refused, or used
 * without an access outside of it. The text of a message that it does not belong to is asked for, too. */
#include "message/summary.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void block_use(struct str block, struct str message)
{
    struct summary s;
    struct buf text = BUF_INIT(BUF_UNBOUNDED);
    uint64_t sum = 0;
    if (summary_open(&s, block) < 0)
        return;
    for (int i = 0; i < SUMMARY_STRING_COUNT; i++) {
        struct str string = summary_string(&s, (enum summary_string)i);
        for (size_t k = 0; k < string.len; k++)
            sum += (unsigned char)string.data[k];
    }
    for (uint32_t i = 0; i < s.part_count; i++) {
        struct summary_part p;
        summary_part(&s, i, &p);
        sum += p.type.len + p.subtype.len + p.charset.len + p.name.len;
    }
    static const uint32_t sections[][3] = {{1, 1, 1}, {2, 1, 1}, {1, 2, 9}, {UINT32_MAX, 0, 1}};
    for (size_t i = 0; i < countof(sections); i++)
        for (size_t n = 0; n <= 3; n++)
            panic_unless(summary_find_part(&s, sections[i], n) < (int)s.part_count);
    message_text(message, &s, 10000, &text);
    buf_free(&text);
    panic_unless(sum < UINT64_MAX); /* the bytes were read */
}

/* The bytes as a block; and a right block with one run of bytes replaced by them. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct str message = STR_INIT(
        "Subject: x\r\nFrom: a <a@b.test>\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b\r\n"
        "Content-Type: message/rfc822\r\n\r\nSubject: y\r\n\r\ntwo\r\n--b--\r\n");
    block_use(str_of(data, size), message);
    struct buf block = BUF_INIT(BUF_UNBOUNDED);
    summary_build(message, &summary_limits_default, &block);
    if (size > 2) {
        size_t at = (size_t)(data[0] << 8 | data[1]) % block.len,
               len = MIN(size - 2, block.len - at);
        memcpy(block.data + at, data + 2, len);
        block_use(buf_str(&block), message);
    }
    buf_free(&block);
    return 0;
}
