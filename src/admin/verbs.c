/* verbs.c - the table of verbs about mail, and what they share. See verbs.h. */
#include "admin/verbs.h"

#include <inttypes.h>

#include "base/clock.h"

const struct admin_verb mail_verbs[] = {
    {"status", verb_status},
    {"queue-list", verb_queue_list},
    {"queue-retry", verb_queue_retry},
    {"queue-remove", verb_queue_remove},
    {"trace", verb_trace},
    {"account-verify", verb_account_verify},
    {"account-repair", verb_account_repair},
};
const size_t mail_verb_count = countof(mail_verbs);

json_t *json_text(struct str text)
{
    json_t *value = json_stringn(text.data ? text.data : "", text.len);
    if (value)
        return value;
    char *copy = mem_alloc(text.len);
    for (size_t i = 0; i < text.len; i++)
        copy[i] = (unsigned char)text.data[i] < 128 ? text.data[i] : '?';
    value = json_stringn(copy, text.len);
    mem_free(copy);
    return value;
}

struct str json_argument(const json_t *arguments, const char *name)
{
    const json_t *value = json_object_get(arguments, name);
    return json_is_string(value) ? str_of(json_string_value(value), json_string_length(value)) : STR("");
}

uint64_t json_argument_number(const json_t *arguments, const char *name, uint64_t fallback)
{
    const json_t *value = json_object_get(arguments, name);
    return json_is_integer(value) && json_integer_value(value) >= 0 ? (uint64_t)json_integer_value(value)
                                                                    : fallback;
}

const char *json_member(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text ? text : "";
}

uint64_t json_member_number(const json_t *object, const char *name)
{
    return json_argument_number(object, name, 0);
}

/* ------------------------------------------------------------------ for people */

void print_time(FILE *out, int64_t seconds)
{
    struct civil_time t;
    civil_from_seconds(seconds, 0, &t);
    fprintf(out, "%04d-%02d-%02d %02d:%02d:%02d UTC", t.year, t.month, t.day, t.hour, t.minute, t.second);
}

void print_duration(FILE *out, uint64_t seconds)
{
    static const struct {
        uint64_t seconds;
        const char *name;
    } units[] = {{86400, "d"}, {3600, "h"}, {60, "m"}, {1, "s"}};
    size_t i = 0;
    while (i < countof(units) - 1 && seconds < units[i].seconds)
        i++;
    fprintf(out, "%" PRIu64 "%s", seconds / units[i].seconds, units[i].name);
    if (i < countof(units) - 1)
        fprintf(out, " %" PRIu64 "%s", seconds % units[i].seconds / units[i + 1].seconds, units[i + 1].name);
}

void print_size(FILE *out, uint64_t bytes)
{
    static const char *const units[] = {"B", "KB", "MB", "GB", "TB", "PB", "EB"};
    size_t unit = 0;
    double value = (double)bytes;
    while (value >= 1024 && unit < countof(units) - 1) {
        value /= 1024;
        unit++;
    }
    fprintf(out, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
}

void print_safe(FILE *out, const char *text)
{
    for (; *text; text++)
        putc(ascii_is_control(*text) ? '?' : *text, out);
}
