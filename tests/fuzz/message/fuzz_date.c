/* Any bytes as the dates of mail and of IMAP: what is understood is written and understood again as the same. */
#include "message/date.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = str_of(data, size);
    struct buf out = BUF_INIT(BUF_UNBOUNDED);
    int64_t seconds, again;
    int32_t zone, zone_again;
    if (date_parse(text, &seconds, &zone) == 0) {
        panic_unless(date_format_rfc5322(&out, seconds, zone) == 0);
        panic_unless(date_parse(buf_str(&out), &again, &zone_again) == 0);
        panic_unless(again == seconds && zone_again == zone);
    }
    buf_reset(&out);
    if (date_parse_imap(text, &seconds) == 0) {
        panic_unless(date_format_imap(&out, seconds, 0) == 0);
        panic_unless(date_parse_imap(buf_str(&out), &again) == 0 && again == seconds);
    }
    panic_unless(date_parse_imap_day(text, &seconds) < 0 || seconds % 86400 == 0);
    buf_free(&out);
    return 0;
}
