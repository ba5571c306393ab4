/* log.h - one event, one line: time, level, process, event, then key=value pairs.
 *
 *     2026-11-23T18:00:01.123Z info mx smtp-accept session=7f3a queue-id=0Kx3... from=<a@b> size=4096
 *
 * Lines go to standard error in one write(2). The context (session, account, queue id) is set once
 * per thread by whoever takes up a session, and put in front of the pairs of every line.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/str.h"

enum log_level { LOG_ERROR, LOG_WARNING, LOG_INFO, LOG_DEBUG };

void log_set_process(const char *name); /* static text */
void log_set_level(enum log_level level);
int log_level_from_name(struct str name, enum log_level *out);

/* The pairs of this thread's context, as text ("session=7f3a account=12"); copied, at most 191
 * bytes. NULL clears it. */
void log_set_context(const char *format, ...) PRINTF(1, 2);
void log_clear_context(void);

/* event is a fixed word with dashes. Values that may hold spaces or strangers' bytes go through
 * log_quote(). */
void log_event(enum log_level level, const char *event, const char *format, ...) PRINTF(3, 4);

/* The bytes in double quotes, controls and non-ASCII beyond UTF-8 escaped, cut at 300 bytes. The
 * result lives in one of eight per-thread slots: use it in the same call. */
const char *log_quote(struct str s);

#endif
