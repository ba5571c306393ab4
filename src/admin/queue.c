/* queue.c - `posthouse queue`: what waits, why, and until when. */
#include <inttypes.h>

#include "admin/verbs.h"
#include "base/clock.h"
#include "queue/queue.h"

enum { PAGE = 500, PAGE_MAX = 5000 };

static json_t *entry_json(const struct queue_entry *entry)
{
    json_t *o = json_object();
    json_object_set_new(o, "id", json_text(entry->id));
    json_object_set_new(o, "sender", json_text(entry->reverse_path));
    json_object_set_new(o, "recipient", json_text(entry->recipient));
    json_object_set_new(o, "target", json_text(entry->target));
    json_object_set_new(o, "state", json_text(entry->state));
    json_object_set_new(o, "reason", json_text(entry->reason));
    json_object_set_new(o, "size", json_integer((json_int_t)entry->size));
    json_object_set_new(o, "received", json_integer(entry->received));
    json_object_set_new(o, "next-attempt", json_integer(entry->next_attempt));
    json_object_set_new(o, "attempts", json_integer(entry->attempts));
    return o;
}

/* Arguments: id (empty: all), after (from the last answer's "next"), limit. "next" is there when there
 * is more. */
int verb_queue_list(const json_t *arguments, json_t *answer, struct error *e)
{
    struct arena arena CLEANUP(arena_free) = ARENA_INIT;
    struct queue_entry *list;
    size_t count;
    struct str id = json_argument(arguments, "id");
    size_t limit = (size_t)MIN(json_argument_number(arguments, "limit", PAGE), (uint64_t)PAGE_MAX);
    if (queue_list(id, json_argument_number(arguments, "after", 0), limit, &arena, &list, &count, e) < 0)
        return -1;
    json_t *entries = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(entries, entry_json(&list[i]));
    json_object_set_new(answer, "entries", entries);
    if (count && count == limit)
        json_object_set_new(answer, "next", json_integer((json_int_t)list[count - 1].number));
    return 0;
}

/* Arguments: id; all messages only with "all". */
int verb_queue_retry(const json_t *arguments, json_t *answer, struct error *e)
{
    uint64_t count;
    struct str id = json_argument(arguments, "id");
    if (id.len == 0 && !json_is_true(json_object_get(arguments, "all")))
        return error_set(e, ERROR_INVALID, "Say which message, or all");
    if (queue_retry(id, &count, e) < 0)
        return -1;
    json_object_set_new(answer, "recipients", json_integer((json_int_t)count));
    return 0;
}

int verb_queue_remove(const json_t *arguments, json_t *answer, struct error *e)
{
    struct str id = json_argument(arguments, "id");
    if (id.len == 0)
        return error_set(e, ERROR_INVALID, "Say which message");
    if (queue_remove(id, e) < 0)
        return -1;
    json_object_set_new(answer, "removed", json_text(id));
    return 0;
}

/* ------------------------------------------------------------------ for people */

static void entry_when(const json_t *entry, FILE *out)
{
    int64_t now = clock_real_seconds(), next = (int64_t)json_member_number(entry, "next-attempt");
    if (strcmp(json_member(entry, "state"), "waiting") != 0)
        return;
    fputs(", next attempt ", out);
    if (next <= now) {
        fputs("now", out);
    } else {
        fputs("in ", out);
        print_duration(out, (uint64_t)(next - now));
    }
}

static void entry_target(const json_t *entry, FILE *out)
{
    fputs("    to ", out);
    print_safe(out, json_member(entry, "recipient"));
    if (strcmp(json_member(entry, "recipient"), json_member(entry, "target")) != 0) {
        fputs(" -> ", out);
        print_safe(out, json_member(entry, "target"));
    }
    fprintf(out, ": %s", json_member(entry, "state"));
    if (json_member_number(entry, "attempts"))
        fprintf(out, " after %" PRIu64 " attempts", json_member_number(entry, "attempts"));
    entry_when(entry, out);
    if (json_member(entry, "reason")[0]) {
        fputs(": ", out);
        print_safe(out, json_member(entry, "reason"));
    }
    putc('\n', out);
}

void queue_print(const json_t *answer, bool first, FILE *out)
{
    json_t *entries = json_object_get(answer, "entries"), *entry;
    const char *last = "";
    size_t i;
    if (first && json_array_size(entries) == 0)
        fputs("The queue is empty.\n", out);
    json_array_foreach(entries, i, entry) {
        const char *id = json_member(entry, "id");
        if (strcmp(id, last) != 0) {
            fprintf(out, "%s  from <", id);
            print_safe(out, json_member(entry, "sender"));
            fputs(">  ", out);
            print_size(out, json_member_number(entry, "size"));
            fputs("  since ", out);
            print_time(out, (int64_t)json_member_number(entry, "received"));
            putc('\n', out);
            last = id;
        }
        entry_target(entry, out);
    }
}
