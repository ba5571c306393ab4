/* Any bytes as a message: the summary opens, its IMAP data can be parsed, every part lies in its
 * parent. */
#include "../../parts.h"
#include "imap_data.h"
#include "message/summary.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str message = str_of(data, size);
    struct buf block = BUF_INIT(BUF_UNBOUNDED), text = BUF_INIT(BUF_UNBOUNDED),
               plain = BUF_INIT(BUF_UNBOUNDED);
    struct summary s;
    summary_build(message, &summary_limits_default, &block);
    panic_unless(summary_open(&s, buf_str(&block)) == 0);
    panic_unless(s.message_size == size && s.header_size <= size && s.part_count >= 1);
    panic_unless(imap_data_depth(summary_string(&s, SUMMARY_ENVELOPE)) == 0);
    panic_unless(imap_data_depth(summary_string(&s, SUMMARY_BODYSTRUCTURE)) == 0);
    panic_unless(imap_data_depth(summary_string(&s, SUMMARY_BODY)) <= 1);
    parts_check(&s, size);
    message_text(message, &s, 100000, &text);
    panic_unless(text.len <= 100000);
    summary_build_plain(message, &plain);
    panic_unless(summary_open(&s, buf_str(&plain)) == 0);
    panic_unless(imap_data_depth(summary_string(&s, SUMMARY_BODYSTRUCTURE)) == 0);
    buf_free(&block);
    buf_free(&text);
    buf_free(&plain);
    return 0;
}
