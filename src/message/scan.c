/* scan.c - what the scan process does, and how the others ask it. See scan.h. */
#include "message/scan.h"

#include <unistd.h>

#include "base/log.h"
#include "message/charset.h"
#include "message/summary.h"
#include "run/ipc.h"
#include "run/process.h"
#include "run/settings.h"

enum { SUMMARY_MAX = 4 * 1024 * 1024, TEXT_MAX = 64 * 1024 * 1024, RETRY_MS = 150 };

/* ------------------------------------------------------------------ asking */

/* One question to one scan process. max: of the text; 0 for a summary. */
static int ask(unsigned index, enum ipc_method method, int fd, size_t size, size_t max,
               struct buf *out, struct error *e)
{
    struct ipc_out request = {.failed = false};
    struct ipc_in reply CLEANUP(ipc_in_free) = {.failed = false};
    ipc_put_fd(&request, fd, false);
    ipc_put_u64(&request, size);
    ipc_put_u64(&request, max);
    if (ipc_call(PROCESS_SCAN, index, method, &request, 0, &reply, e) < 0)
        return -1;
    struct str answer = ipc_get_blob(&reply, max ? max : SUMMARY_MAX);
    if (ipc_get_end(&reply) < 0)
        return error_set(e, ERROR_INTERNAL, "The answer was not understood");
    return buf_add(out, answer);
}

/* A message may be what kills scan: it is asked about it twice, of two processes if there are two. */
static int ask_twice(enum ipc_method method, int fd, size_t size, size_t max, struct buf *out)
{
    static _Atomic unsigned turn;
    unsigned count = ipc_peer_count(PROCESS_SCAN), first = turn++ % count;
    struct error e = {0};
    size_t before = out->len;
    for (unsigned attempt = 0; attempt < 2; attempt++) {
        if (attempt)
            usleep(RETRY_MS * 1000); /* master is starting it again */
        if (ask((first + attempt) % count, method, fd, size, max, out, &e) == 0)
            return 0;
        buf_truncate(out, before);
        log_event(LOG_WARNING, "scan-failed", "attempt=%u class=%s cause=%s", attempt + 1,
                  error_class_name(e.class), log_quote(str_from(e.cause)));
    }
    return -1;
}

void scan_summarize(int message_fd, size_t size, struct buf *out)
{
    struct summary s;
    struct str message;
    size_t before = out->len;
    if (ask_twice(IPC_SCAN_SUMMARIZE, message_fd, size, 0, out) == 0 &&
        summary_open(&s, str_from_pos(buf_str(out), before)) == 0 && s.message_size == size)
        return;
    buf_truncate(out, before);
    log_event(LOG_ERROR, "scan-gave-up", "size=%zu action=%s", size,
              log_quote(STR("the message is kept with a plain summary")));
    if (memfd_map(message_fd, SIZE_MAX, &message) < 0)
        return;
    summary_build_plain(message, out);
    memfd_unmap(&message);
}

int scan_text(int message_fd, size_t size, size_t max, struct buf *out)
{
    return ask_twice(IPC_SCAN_TEXT, message_fd, size, MAX(max, (size_t)1), out);
}

int scan_folded_text(struct str message, struct buf *out)
{
    struct buf text = BUF_INIT(TEXT_MAX);
    int fd CLEANUP(fd_close) = memfd_from(message, "text");
    int result = fd < 0 ? -1 : scan_text(fd, message.len, TEXT_MAX, &text);
    text_fold(result == 0 ? buf_str(&text) : message, out);
    buf_free(&text);
    return result;
}

/* ------------------------------------------------------------------ answering */

/* What a message may have spoiled is thrown away after a while (setting scan-messages). Not by all scan
 * processes at once: who asks one that is just being replaced asks another. */
static void count_and_retire(void)
{
    static _Atomic uint64_t answered;
    const struct settings *settings CLEANUP(settings_unref) = settings_ref();
    uint64_t share = settings->server.scan_messages / settings->server.scans;
    if (process_self() == PROCESS_SCAN &&
        ++answered >= settings->server.scan_messages - share * process_index() / 2)
        process_retire();
}

static int answer(struct ipc_in *request, struct ipc_out *reply, struct error *e, bool text)
{
    const struct settings *settings CLEANUP(settings_unref) = settings_ref();
    struct summary_limits limits = summary_limits_default;
    int fd CLEANUP(fd_close) = ipc_get_fd(request);
    uint64_t size = ipc_get_u64(request), max = ipc_get_u64(request);
    struct str message;
    struct summary s;
    limits.max_depth = (uint32_t)settings->limits.mime_depth;
    limits.max_parts = (uint32_t)settings->limits.mime_parts;
    if (ipc_get_end(request) < 0 || memfd_map(fd, SIZE_MAX, &message) < 0)
        return error_set(e, ERROR_INVALID, "The message was not handed over properly");
    struct buf block = BUF_INIT(SUMMARY_MAX), decoded = BUF_INIT((size_t)max);
    int result = message.len == size
                     ? 0
                     : error_set(e, ERROR_INVALID, "The message was not handed over properly");
    if (result == 0)
        summary_build(message, &limits, &block);
    if (result == 0 && !text)
        ipc_put_blob(reply, buf_str(&block));
    if (result == 0 && text && summary_open(&s, buf_str(&block)) == 0)
        message_text(message, &s, (size_t)max, &decoded);
    if (result == 0 && text)
        ipc_put_blob(reply, buf_str(&decoded));
    memfd_unmap(&message);
    buf_free(&block);
    buf_free(&decoded);
    count_and_retire();
    return result;
}

static int summarize_answer(struct ipc_in *request, struct ipc_out *reply, struct error *e)
{
    return answer(request, reply, e, false);
}

static int text_answer(struct ipc_in *request, struct ipc_out *reply, struct error *e)
{
    return answer(request, reply, e, true);
}

void scan_serve(void)
{
    static const struct ipc_service rows[] = {
        {IPC_SCAN_SUMMARIZE, 1 << PROCESS_MX | 1 << PROCESS_BOX | 1 << PROCESS_COMMAND,
         summarize_answer},
        {IPC_SCAN_TEXT, 1 << PROCESS_BOX | 1 << PROCESS_COMMAND, text_answer},
    };
    ipc_serve(rows, countof(rows));
}
