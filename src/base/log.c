/* log.c - one event, one line. */
#include "base/log.h"

#include <unistd.h>

#include "base/clock.h"

static const char *process_name = "posthouse";
static enum log_level log_threshold = LOG_INFO;
static const char level_names[][8] = {"error", "warning", "info", "debug"};
static _Thread_local char context[192];

void log_set_process(const char *name)
{
    process_name = name;
}

void log_set_level(enum log_level level)
{
    log_threshold = level;
}

int log_level_from_name(struct str name, enum log_level *out)
{
    for (size_t i = 0; i < countof(level_names); i++)
        if (str_equal(name, str_from(level_names[i]))) {
            *out = (enum log_level)i;
            return 0;
        }
    return -1;
}

void log_set_context(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(context, sizeof(context), format, args);
    va_end(args);
}

void log_clear_context(void)
{
    context[0] = '\0';
}

void log_event(enum log_level level, const char *event, const char *format, ...)
{
    if (level > log_threshold)
        return;
    int saved = errno;
    int64_t now = clock_real_milliseconds();
    struct civil_time t;
    civil_from_seconds(now / 1000, 0, &t);
    char line[2048];
    int head = snprintf(line, sizeof(line), "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ %s %s %s%s%s ",
                        t.year, t.month, t.day, t.hour, t.minute, t.second, (int)(now % 1000),
                        level_names[level], process_name, event, context[0] ? " " : "", context);
    size_t len = MIN((size_t)MAX(head, 0), sizeof(line) - 2);
    va_list args;
    va_start(args, format);
    errno = saved; /* for %m */
    int tail = vsnprintf(line + len, sizeof(line) - len - 1, format, args);
    va_end(args);
    len = MIN(len + (size_t)MAX(tail, 0), sizeof(line) - 2);
    while (len && line[len - 1] == ' ')
        len--;
    line[len++] = '\n';
    ssize_t ignored = write(STDERR_FILENO, line, len); /* nowhere to report a failure to */
    (void)ignored;
    errno = saved;
}

const char *log_quote(struct str s)
{
    enum { SLOTS = 8, SHOWN = 300, SLOT_SIZE = SHOWN * 4 + 8 };
    static _Thread_local char slots[SLOTS][SLOT_SIZE];
    static _Thread_local unsigned next;
    char *slot = slots[next++ % SLOTS];
    bool cut = s.len > SHOWN;
    s.len = MIN(s.len, (size_t)SHOWN);
    bool text = str_is_utf8(s);
    size_t len = 0;
    slot[len++] = '"';
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.data[i];
        if (c == '"' || c == '\\') {
            slot[len++] = '\\';
            slot[len++] = (char)c;
        } else if (c < 32 || c == 127 || (c > 127 && !text)) {
            static const char hex[] = "0123456789abcdef";
            slot[len++] = '\\';
            slot[len++] = 'x';
            slot[len++] = hex[c >> 4];
            slot[len++] = hex[c & 15];
        } else {
            slot[len++] = (char)c;
        }
    }
    if (cut)
        for (int i = 0; i < 3; i++)
            slot[len++] = '.';
    slot[len++] = '"';
    slot[len] = '\0';
    return slot;
}
