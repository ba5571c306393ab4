/* Any bytes as a configuration file: parsed with the real table, and what parses prints and parses
 * again to the same. */
#include "run/settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = ARENA_INIT;
    struct buf errors = BUF_INIT(BUF_UNBOUNDED), once = BUF_INIT(BUF_UNBOUNDED),
               twice = BUF_INIT(BUF_UNBOUNDED);
    struct settings s = {0}, again = {0};
    if (settings_parse("fuzz", str_of(data, size), &arena, &s, &errors) == 0) {
        config_print(&settings_table, &s, &once);
        panic_unless(settings_parse("again", buf_str(&once), &arena, &again, &errors) == 0);
        config_print(&settings_table, &again, &twice);
        panic_unless(str_equal(buf_str(&once), buf_str(&twice)));
    } else {
        panic_unless(errors.len > 0);
    }
    buf_free(&errors);
    buf_free(&once);
    buf_free(&twice);
    arena_free(&arena);
    return 0;
}
