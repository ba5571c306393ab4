/* status.c - `posthouse status`: the processes and how they are, and the queue. */
#include <inttypes.h>

#include "admin/verbs.h"
#include "queue/queue.h"
#include "run/ipc.h"
#include "run/process.h"

enum { ASK_MS = 1000, STATUS_MAX = 64 * 1024 };

static enum process_kind kind_of(const char *name)
{
    for (unsigned i = 0; i < PROCESS_KIND_COUNT; i++)
        if (strcmp(process_kind_name((enum process_kind)i), name) == 0)
            return (enum process_kind)i;
    return PROCESS_KIND_COUNT;
}

/* What a process says of itself; NULL with *e when it does not answer in time. */
static json_t *process_ask(enum process_kind kind, unsigned index, struct error *e)
{
    struct ipc_out request = {0};
    struct ipc_in reply CLEANUP(ipc_in_free) = {0};
    if (ipc_call(kind, index, IPC_STATUS, &request, ASK_MS, &reply, e) < 0)
        return NULL;
    struct str text = ipc_get_str(&reply, STATUS_MAX);
    json_t *status = ipc_get_end(&reply) < 0 ? NULL : json_loadb(text.data, text.len, 0, NULL);
    if (!status)
        error_set(e, ERROR_INTERNAL, "The answer was not understood");
    return status;
}

/* Master knows pid, restarts and the last death; the rest comes from the process itself. */
static void process_complete(json_t *process)
{
    struct error e = {0};
    enum process_kind kind = kind_of(json_member(process, "kind"));
    unsigned index = (unsigned)json_member_number(process, "index");
    if (kind >= PROCESS_COMMAND || kind == PROCESS_MASTER || index >= IPC_PEERS_MAX)
        return;
    json_t *own = process_ask(kind, index, &e);
    if (own) {
        json_object_update_missing(process, own);
        json_decref(own);
    } else {
        json_object_set_new(process, "answer", json_text(str_from(e.cause[0] ? e.cause : e.text)));
    }
}

int verb_status(const json_t *arguments UNUSED, json_t *answer, struct error *e)
{
    struct buf text CLEANUP(buf_free) = BUF_INIT(BUF_UNBOUNDED);
    uint64_t messages = 0, recipients = 0, bytes = 0;
    process_master_status(&text);
    json_t *processes = json_loadb(text.data, text.len, 0, NULL), *process;
    size_t i;
    if (!json_is_array(processes)) {
        json_decref(processes);
        return error_set(e, ERROR_INTERNAL, "The table of processes was not understood");
    }
    json_array_foreach(processes, i, process)
        process_complete(process);
    json_object_set_new(answer, "version", json_string(POSTHOUSE_VERSION));
    json_object_set_new(answer, "processes", processes);
    if (queue_counts(&messages, &recipients, &bytes, e) < 0)
        return -1;
    json_object_set_new(answer, "queue",
                        json_pack("{s:I, s:I, s:I}", "messages", (json_int_t)messages, "recipients",
                                  (json_int_t)recipients, "bytes", (json_int_t)bytes));
    return 0;
}

/* ------------------------------------------------------------------ for people */

/* Members that have a column of their own, or say nothing to people. */
static bool is_column(const char *name)
{
    static const char *const names[] = {"name", "kind", "index", "pid", "restarts", "last-death", "uptime",
                                        "memory-kb", "threads", "threads-busy", "connections", "parked",
                                        "sandbox", "runs", "answer", "queue"};
    for (size_t i = 0; i < countof(names); i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

static void process_print(const json_t *process, FILE *out)
{
    const char *name;
    json_t *value;
    fprintf(out, "%-8s %8" PRIu64 " ", json_member(process, "name"), json_member_number(process, "pid"));
    if (json_object_get(process, "uptime"))
        fprintf(out, "%9" PRIu64 "s %6" PRIu64 " %8.1f %4" PRIu64 "/%-4" PRIu64 " %7" PRIu64 " %7" PRIu64 "  ",
                json_member_number(process, "uptime"), json_member_number(process, "restarts"),
                (double)json_member_number(process, "memory-kb") / 1024,
                json_member_number(process, "threads-busy"), json_member_number(process, "threads"),
                json_member_number(process, "connections"), json_member_number(process, "parked"));
    else
        fprintf(out, "%10s %6" PRIu64 " %8s %9s %7s %7s  ", "-", json_member_number(process, "restarts"), "-", "-",
                "-", "-");
    print_safe(out, json_member(process, "sandbox"));
    putc('\n', out);
    json_object_foreach((json_t *)(uintptr_t)process, name, value)
        if (!is_column(name) && json_is_integer(value) && json_integer_value(value))
            fprintf(out, "           %s %" PRId64 "\n", name, (int64_t)json_integer_value(value));
    if (json_member(process, "answer")[0])
        fprintf(out, "           does not answer: %s\n", json_member(process, "answer"));
    if (json_member(process, "last-death")[0])
        fprintf(out, "           last death: %s\n", json_member(process, "last-death"));
}

void status_print(const json_t *answer, FILE *out)
{
    const json_t *queue = json_object_get(answer, "queue");
    json_t *processes = json_object_get(answer, "processes"), *process;
    size_t i;
    fprintf(out, "posthouse %s\n\n", json_member(answer, "version"));
    fprintf(out, "%-8s %8s %10s %6s %8s %9s %7s %7s  %s\n", "process", "pid", "uptime", "again", "MB", "threads",
            "conns", "parked", "sandbox");
    json_array_foreach(processes, i, process)
        process_print(process, out);
    fprintf(out, "\nqueue: %" PRIu64 " messages to %" PRIu64 " recipients, ", json_member_number(queue, "messages"),
            json_member_number(queue, "recipients"));
    print_size(out, json_member_number(queue, "bytes"));
    putc('\n', out);
}
