/* trace.c - `posthouse trace`: where a mail is, and why. */
#include <inttypes.h>

#include "admin/verbs.h"
#include "base/clock.h"
#include "store/trace.h"

enum { EVENTS = 1000, EVENTS_MAX = 20000 };

static json_t *event_json(const struct trace_event *event)
{
    const struct {
        const char *name;
        struct str text;
    } members[] = {{"queue-id", event->queue_id},     {"event", event->event},   {"peer", event->peer},
                   {"sender", event->sender},         {"recipient", event->recipient},
                   {"message-id", event->message_id}, {"reply", event->reply},   {"detail", event->detail}};
    json_t *o = json_object();
    json_object_set_new(o, "time", json_integer(event->time_ms));
    for (size_t i = 0; i < countof(members); i++)
        if (members[i].text.len)
            json_object_set_new(o, members[i].name, json_text(members[i].text));
    return o;
}

/* Arguments: key, limit. */
int verb_trace(const json_t *arguments, json_t *answer, struct error *e)
{
    struct arena arena CLEANUP(arena_free) = ARENA_INIT;
    struct trace_event *list;
    size_t count;
    struct str key = json_argument(arguments, "key");
    uint64_t limit = json_argument_number(arguments, "limit", EVENTS);
    if (key.len == 0)
        return error_set(e, ERROR_INVALID, "Say an address, a message id or a queue id");
    if (trace_find(key, (size_t)MIN(limit, (uint64_t)EVENTS_MAX), &arena, &list, &count, e) < 0)
        return -1;
    json_t *events = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(events, event_json(&list[i]));
    json_object_set_new(answer, "events", events);
    return 0;
}

/* ------------------------------------------------------------------ for people */

/* What an event means, as the beginning of a sentence. */
static const char *event_words(const char *event)
{
    static const struct {
        const char *event, *words;
    } all[] = {
        {"accept", "accepted"},        {"refuse", "refused"},          {"queue", "put into the queue"},
        {"deliver", "delivered"},      {"defer", "not delivered yet"}, {"hold", "held: not tried any more"},
        {"append", "stored by a mail program"},
    };
    for (size_t i = 0; i < countof(all); i++)
        if (strcmp(all[i].event, event) == 0)
            return all[i].words;
    return event;
}

static void member_print(const json_t *event, const char *name, const char *before, const char *after, FILE *out)
{
    const char *text = json_member(event, name);
    if (!text[0])
        return;
    fputs(before, out);
    print_safe(out, text);
    fputs(after, out);
}

static void event_print(const json_t *event, FILE *out)
{
    uint64_t ms = json_member_number(event, "time");
    fputs("  ", out);
    print_time(out, (int64_t)(ms / 1000));
    fprintf(out, "  %s", event_words(json_member(event, "event")));
    member_print(event, "sender", " from <", ">", out);
    member_print(event, "recipient", " to <", ">", out);
    member_print(event, "peer", ", peer ", "", out);
    member_print(event, "reply", "\n      ", "", out);
    member_print(event, "detail", "\n      ", "", out);
    putc('\n', out);
}

/* Events come in order of time; those of one message are told together, where its first one stands. */
void trace_print(const json_t *answer, FILE *out)
{
    json_t *events = json_object_get(answer, "events"), *event;
    size_t count = json_array_size(events), i;
    bool *told = mem_alloc_array(count + 1, sizeof(*told));
    if (count == 0)
        fputs("Nothing is known of that. Traces are kept for as long as setting store trace-age says.\n", out);
    json_array_foreach(events, i, event) {
        const char *id = json_member(event, "queue-id");
        if (told[i])
            continue;
        if (!id[0]) {
            event_print(event, out);
            continue;
        }
        fprintf(out, "%s", id);
        for (size_t j = i; j < count; j++) {
            const json_t *one = json_array_get(events, j);
            if (strcmp(json_member(one, "queue-id"), id) == 0 && json_member(one, "message-id")[0]) {
                member_print(one, "message-id", "  <", ">", out);
                break;
            }
        }
        putc('\n', out);
        for (size_t j = i; j < count; j++) {
            const json_t *one = json_array_get(events, j);
            if (strcmp(json_member(one, "queue-id"), id) == 0) {
                event_print(one, out);
                told[j] = true;
            }
        }
    }
    mem_free(told);
}
