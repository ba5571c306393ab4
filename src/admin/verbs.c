/* verbs.c - the table of administration verbs, and what they do. See verbs.h. */
#include "admin/verbs.h"

#include <inttypes.h>

#include "auth/password.h"
#include "base/clock.h"
#include "base/vec.h"
#include "delivery/control.h"
#include "message/address.h"
#include "queue/queue.h"
#include "run/ipc.h"
#include "run/process.h"
#include "store/directory.h"
#include "store/trace.h"

enum { LIST_MAX = 100000 };

/* ------------------------------------------------------------------ arguments and results */

static struct str text_of(json_t *arguments, const char *name)
{
    json_t *value = json_object_get(arguments, name);
    return json_is_string(value) ? str_of(json_string_value(value), json_string_length(value))
                                 : str_of(NULL, 0);
}

static json_t *json_str(struct str s)
{
    json_t *value = json_stringn(s.data ? s.data : "", s.len);
    return value ? value : json_string("(not UTF-8)");
}

static json_t *json_u64(uint64_t value)
{
    return json_integer((json_int_t)value);
}

/* "500M", "2G", "0" or "none". */
static int size_of(json_t *arguments, const char *name, bool *given, uint64_t *out, struct error *e)
{
    struct str text = text_of(arguments, name);
    uint64_t unit = 1;
    *given = text.data != NULL;
    if (!*given)
        return 0;
    if (str_equal(text, STR("none"))) {
        *out = 0;
        return 0;
    }
    char last = text.len ? ascii_upper(text.data[text.len - 1]) : '\0';
    if (last == 'K' || last == 'M' || last == 'G' || last == 'T') {
        unit = last == 'K'   ? 1ULL << 10
               : last == 'M' ? 1ULL << 20
               : last == 'G' ? 1ULL << 30
                             : 1ULL << 40;
        text.len--;
    }
    if (str_to_u64(text, UINT64_MAX / 2 / unit, out) < 0)
        return error_set(e, ERROR_INVALID, "%s is a size such as 500M, 2G or none", name);
    *out *= unit;
    return 0;
}

/* A domain as it is stored. */
static int domain_of(json_t *arguments, const char *name, struct buf *out, struct error *e)
{
    if (domain_normalize(text_of(arguments, name), out) < 0)
        return error_set(e, ERROR_INVALID, "'" STR_FMT "' is not a domain name",
                         STR_ARG(text_of(arguments, name)));
    return 0;
}

/* ------------------------------------------------------------------ domains */

static int domain_add(json_t *arguments, json_t **result UNUSED, struct error *e)
{
    struct buf name = BUF_INIT(300);
    bool given;
    uint64_t quota = 0;
    int status = domain_of(arguments, "domain", &name, e) < 0 ||
                         size_of(arguments, "quota", &given, &quota, e) < 0
                     ? -1
                     : directory_domain_add(buf_str(&name), quota, e);
    buf_free(&name);
    return status;
}

static json_t *domain_json(const struct domain *d)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "name", json_str(d->name), "accounts",
                     json_u64(d->accounts), "aliases", json_u64(d->aliases), "quota",
                     json_u64(d->quota), "usage", json_u64(d->usage), "catch-all",
                     json_str(d->catch_all));
}

static int domain_list(json_t *arguments UNUSED, json_t **result, struct error *e)
{
    struct arena arena CLEANUP(arena_free) = ARENA_INIT;
    struct domain *list;
    size_t count;
    if (directory_domain_list(&arena, &list, &count, e) < 0)
        return -1;
    *result = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(*result, domain_json(&list[i]));
    return 0;
}

static int domain_show(json_t *arguments, json_t **result, struct error *e)
{
    struct arena arena CLEANUP(arena_free) = ARENA_INIT;
    struct buf name = BUF_INIT(300);
    struct domain d;
    int status = domain_of(arguments, "domain", &name, e) < 0
                     ? -1
                     : directory_domain_find(buf_str(&name), &arena, &d, e);
    if (status == 0)
        *result = domain_json(&d);
    buf_free(&name);
    return status;
}

static int domain_set(json_t *arguments, json_t **result UNUSED, struct error *e)
{
    struct buf name = BUF_INIT(300);
    struct str catch_all = text_of(arguments, "catch-all");
    bool given, none = str_equal(catch_all, STR("none"));
    uint64_t quota = 0;
    int status = domain_of(arguments, "domain", &name, e) < 0 ||
                         size_of(arguments, "quota", &given, &quota, e) < 0
                     ? -1
                     : 0;
    if (none)
        catch_all = STR("");
    if (status == 0)
        status = directory_domain_set(buf_str(&name), given ? &quota : NULL,
                                      catch_all.data ? &catch_all : NULL, e);
    buf_free(&name);
    return status;
}

static int domain_remove(json_t *arguments, json_t **result UNUSED, struct error *e)
{
    struct buf name = BUF_INIT(300);
    int status = domain_of(arguments, "domain", &name, e) < 0
                     ? -1
                     : directory_domain_remove(buf_str(&name), e);
    buf_free(&name);
    return status;
}

static void domain_print(const json_t *d)
{
    printf("%-32s %6" PRId64 " accounts %6" PRId64 " aliases  %" PRId64 " bytes",
           json_string_value(json_object_get(d, "name")),
           (int64_t)json_integer_value(json_object_get(d, "accounts")),
           (int64_t)json_integer_value(json_object_get(d, "aliases")),
           (int64_t)json_integer_value(json_object_get(d, "usage")));
    if (json_integer_value(json_object_get(d, "quota")))
        printf(" of %" PRId64, (int64_t)json_integer_value(json_object_get(d, "quota")));
    if (json_string_length(json_object_get(d, "catch-all")))
        printf("  catch-all %s", json_string_value(json_object_get(d, "catch-all")));
    putchar('\n');
}

/* Prints each element of a list. */
static void each_print(const json_t *list, void (*print)(const json_t *))
{
    for (size_t i = 0; i < json_array_size(list); i++)
        print(json_array_get(list, i));
    if (json_array_size(list) == 0)
        puts("none");
}

static void domains_print(const json_t *list)
{
    each_print(list, domain_print);
}

/* ------------------------------------------------------------------ accounts */

static const char *const state_names[] = {"enabled", "disabled", "receive-only", "send-only"};

static int credential_store(uint64_t account, struct str name, json_t *arguments, struct error *e)
{
    struct str password = text_of(arguments, "password"), hash = text_of(arguments, "hash");
    if (hash.data)
        return password_hash_check(hash, e) < 0 ? -1
                                                : directory_credential_set(account, name, hash, e);
    return password_set(account, name, password, e);
}

static int account_add(json_t *arguments, json_t **result, struct error *e)
{
    uint64_t id, quota = 0;
    bool given;
    struct str name = text_of(arguments, "name"), address = text_of(arguments, "address");
    if (size_of(arguments, "quota", &given, &quota, e) < 0 ||
        directory_account_add(address, name.data ? name : STR(""), quota, &id, e) < 0)
        return -1;
    if ((text_of(arguments, "password").data || text_of(arguments, "hash").data) &&
        credential_store(id, STR(""), arguments, e) < 0) {
        uint64_t removed;
        directory_account_remove(address, &removed, NULL); /* all or nothing */
        return -1;
    }
    *result = json_pack("{s:o}", "id", json_u64(id));
    return 0;
}

static json_t *account_json(const struct account_entry *a)
{
    return json_pack("{s:o, s:o, s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:b}", "id", json_u64(a->id),
                     "address", json_str(a->address), "name", json_str(a->name), "state",
                     state_names[MIN((size_t)a->state, countof(state_names) - 1)], "quota",
                     json_u64(a->quota), "usage", json_u64(a->usage), "messages",
                     json_u64(a->messages), "created", json_integer(a->created), "last-login",
                     json_integer(a->last_login), "administrator", a->administrator);
}

static int account_list(json_t *arguments, json_t **result, struct error *e)
{
    struct arena arena CLEANUP(arena_free) = ARENA_INIT;
    struct account_entry *list;
    size_t count;
    struct str domain = text_of(arguments, "domain");
    if (directory_account_list(domain.data ? domain : STR(""), STR(""), LIST_MAX, &arena, &list,
                               &count, e) < 0)
        return -1;
    *result = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(*result, account_json(&list[i]));
    return 0;
}

static int account_show(json_t *arguments, json_t **result, struct error *e)
{
    struct arena arena CLEANUP(arena_free) = ARENA_INIT;
    struct account_entry a;
    if (directory_account_find(text_of(arguments, "address"), &arena, &a, e) < 0)
        return -1;
    *result = account_json(&a);
    return 0;
}

static int account_set(json_t *arguments, json_t **result UNUSED, struct error *e)
{
    struct str address = text_of(arguments, "address"), state_text = text_of(arguments, "state"),
               name = text_of(arguments, "name");
    enum account_state state = ACCOUNT_ENABLED;
    bool quota_given, state_given = false;
    uint64_t quota = 0;
    for (size_t i = 0; i < countof(state_names); i++)
        if (str_equal(state_text, str_from(state_names[i]))) {
            state = (enum account_state)i;
            state_given = true;
        }
    if (state_text.data && !state_given)
        return error_set(e, ERROR_INVALID, "state is enabled, disabled, receive-only or send-only");
    if (size_of(arguments, "quota", &quota_given, &quota, e) < 0)
        return -1;
    return directory_account_set(address, state_given ? &state : NULL, quota_given ? &quota : NULL,
                                 name.data ? &name : NULL, e);
}

static int account_remove(json_t *arguments, json_t **result UNUSED, struct error *e)
{
    uint64_t id;
    return directory_account_remove(text_of(arguments, "address"), &id, e);
}

static void account_print(const json_t *a)
{
    printf("%-36s %-12s %8" PRId64 " messages %12" PRId64 " bytes",
           json_string_value(json_object_get(a, "address")),
           json_string_value(json_object_get(a, "state")),
           (int64_t)json_integer_value(json_object_get(a, "messages")),
           (int64_t)json_integer_value(json_object_get(a, "usage")));
    if (json_integer_value(json_object_get(a, "quota")))
        printf(" of %" PRId64, (int64_t)json_integer_value(json_object_get(a, "quota")));
    if (json_string_length(json_object_get(a, "name")))
        printf("  %s", json_string_value(json_object_get(a, "name")));
    putchar('\n');
}

static void accounts_print(const json_t *list)
{
    each_print(list, account_print);
}

/* A list with what was found in one account. */
static int account_check(json_t *arguments, enum account_control what, json_t **result,
                         struct error *e)
{
    struct arena arena CLEANUP(arena_free) = ARENA_INIT;
    struct account_entry a;
    struct buf report = BUF_INIT(1024 * 1024);
    bool found = false;
    struct str address = text_of(arguments, "address");
    if (!address.data)
        return error_set(e, ERROR_INVALID, "Name an address, or say --all");
    if (directory_account_find(address, &arena, &a, e) < 0)
        return -1;
    int status = account_control(a.id, what, &report, &found, e);
    *result = json_pack("[{s:o, s:b, s:o}]", "address", json_str(a.address), "damaged",
                        found || status < 0, "report",
                        json_str(status < 0 ? str_from(e->text) : buf_str(&report)));
    buf_free(&report);
    return 0;
}

static int account_verify_verb(json_t *arguments, json_t **result, struct error *e)
{
    return account_check(arguments, CONTROL_VERIFY, result, e);
}

static int account_repair_verb(json_t *arguments, json_t **result, struct error *e)
{
    return account_check(arguments, CONTROL_REPAIR, result, e);
}

static void report_print(const json_t *row)
{
    const char *report = json_string_value(json_object_get(row, "report"));
    printf("%s: %s\n%s", json_string_value(json_object_get(row, "address")),
           json_is_true(json_object_get(row, "damaged")) ? "DAMAGED" : "fine",
           report ? report : "");
}

static void reports_print(const json_t *list)
{
    each_print(list, report_print);
}

/* ------------------------------------------------------------------ aliases */

static size_t targets_of(json_t *arguments, struct str *out, size_t max)
{
    const json_t *list = json_object_get(arguments, "target");
    size_t count = MIN(json_array_size(list), max);
    for (size_t i = 0; i < count; i++)
        out[i] = str_from(json_string_value(json_array_get(list, i)));
    return count;
}

static int alias_change(json_t *arguments, struct error *e,
                        int (*change)(struct str, const struct str *, size_t, struct error *))
{
    struct str *targets = mem_alloc_array(ALIAS_TARGETS_MAX, sizeof(*targets));
    size_t count = targets_of(arguments, targets, ALIAS_TARGETS_MAX);
    int status = change(text_of(arguments, "address"), targets, count, e);
    mem_free(targets);
    return status;
}

static int alias_add(json_t *arguments, json_t **result UNUSED, struct error *e)
{
    if (json_array_size(json_object_get(arguments, "target")) == 0)
        return error_set(e, ERROR_INVALID,
                         "Say where mail for the alias goes: one or more addresses");
    return alias_change(arguments, e, directory_alias_add);
}

static int alias_remove(json_t *arguments, json_t **result UNUSED, struct error *e)
{
    return alias_change(arguments, e, directory_alias_remove);
}

static json_t *alias_json(const struct alias *a)
{
    json_t *targets = json_array();
    for (size_t i = 0; i < a->target_count; i++)
        json_array_append_new(targets, json_str(a->targets[i]));
    return json_pack("{s:o, s:o}", "address", json_str(a->address), "targets", targets);
}

static int alias_list(json_t *arguments, json_t **result, struct error *e)
{
    struct arena arena CLEANUP(arena_free) = ARENA_INIT;
    struct alias *list;
    size_t count;
    struct str domain = text_of(arguments, "domain");
    if (directory_alias_list(domain.data ? domain : STR(""), &arena, &list, &count, e) < 0)
        return -1;
    *result = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(*result, alias_json(&list[i]));
    return 0;
}

static int alias_show(json_t *arguments, json_t **result, struct error *e)
{
    struct arena arena CLEANUP(arena_free) = ARENA_INIT;
    struct alias a;
    if (directory_alias_find(text_of(arguments, "address"), &arena, &a, e) < 0)
        return -1;
    *result = alias_json(&a);
    return 0;
}

static void alias_print(const json_t *a)
{
    const json_t *targets = json_object_get(a, "targets");
    printf("%-36s ->", json_string_value(json_object_get(a, "address")));
    for (size_t i = 0; i < json_array_size(targets); i++)
        printf(" %s", json_string_value(json_array_get(targets, i)));
    putchar('\n');
}

static void aliases_print(const json_t *list)
{
    each_print(list, alias_print);
}

/* ------------------------------------------------------------------ passwords */

static int password_store(json_t *arguments, bool app, struct error *e)
{
    struct arena arena CLEANUP(arena_free) = ARENA_INIT;
    struct account_entry a;
    struct str name = app ? text_of(arguments, "name") : STR("");
    if (app && name.len == 0)
        return error_set(e, ERROR_INVALID, "An app password needs a name, such as \"phone\"");
    if (directory_account_find(text_of(arguments, "address"), &arena, &a, e) < 0)
        return -1;
    return credential_store(a.id, name, arguments, e);
}

static int password_set_verb(json_t *arguments, json_t **result UNUSED, struct error *e)
{
    return password_store(arguments, false, e);
}

static int password_add(json_t *arguments, json_t **result UNUSED, struct error *e)
{
    return password_store(arguments, true, e);
}

static int password_list(json_t *arguments, json_t **result, struct error *e)
{
    struct arena arena CLEANUP(arena_free) = ARENA_INIT;
    struct account_entry a;
    struct credential *list;
    size_t count;
    if (directory_account_find(text_of(arguments, "address"), &arena, &a, e) < 0 ||
        directory_credential_list(a.id, &arena, &list, &count, e) < 0)
        return -1;
    *result = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(*result,
                              json_pack("{s:o, s:o, s:o, s:o}", "name", json_str(list[i].name),
                                        "created", json_integer(list[i].created), "last-used",
                                        json_integer(list[i].last_used), "last-from",
                                        json_str(list[i].last_from)));
    return 0;
}

static int password_remove(json_t *arguments, json_t **result UNUSED, struct error *e)
{
    struct arena arena CLEANUP(arena_free) = ARENA_INIT;
    struct account_entry a;
    struct str name = text_of(arguments, "name");
    if (directory_account_find(text_of(arguments, "address"), &arena, &a, e) < 0)
        return -1;
    int status = directory_credential_remove(a.id, name.data ? name : STR(""), e);
    password_forget(a.id);
    return status;
}

static void time_print(const char *label, int64_t seconds)
{
    struct civil_time t;
    if (seconds == 0) {
        printf("  %s never", label);
        return;
    }
    civil_from_seconds(seconds, 0, &t);
    printf("  %s %04d-%02d-%02d %02d:%02d", label, t.year, t.month, t.day, t.hour, t.minute);
}

static void password_print(const json_t *p)
{
    const char *name = json_string_value(json_object_get(p, "name"));
    printf("%-20s", name && *name ? name : "(main password)");
    time_print("made", json_integer_value(json_object_get(p, "created")));
    time_print("last used", json_integer_value(json_object_get(p, "last-used")));
    printf("  %s\n", json_string_value(json_object_get(p, "last-from")));
}

static void passwords_print(const json_t *list)
{
    each_print(list, password_print);
}

/* ------------------------------------------------------------------ queue, trace, status */

static int queue_list_verb(json_t *arguments UNUSED, json_t **result, struct error *e)
{
    struct arena arena CLEANUP(arena_free) = ARENA_INIT;
    struct queue_entry *list;
    size_t count;
    if (queue_list(STR(""), 0, 10000, &arena, &list, &count, e) < 0)
        return -1;
    *result = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(
            *result,
            json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "id",
                      json_str(list[i].id), "from", json_str(list[i].reverse_path), "recipient",
                      json_str(list[i].recipient), "target", json_str(list[i].target), "state",
                      json_str(list[i].state), "reason", json_str(list[i].reason), "size",
                      json_u64(list[i].size), "received", json_integer(list[i].received),
                      "next-attempt", json_integer(list[i].next_attempt), "attempts",
                      json_u64(list[i].attempts)));
    return 0;
}

static void queue_row_print(const json_t *r)
{
    printf("%s  %-8s  %s -> %s  attempts %" PRId64 "  %s\n",
           json_string_value(json_object_get(r, "id")),
           json_string_value(json_object_get(r, "state")),
           json_string_value(json_object_get(r, "from")),
           json_string_value(json_object_get(r, "target")),
           (int64_t)json_integer_value(json_object_get(r, "attempts")),
           json_string_value(json_object_get(r, "reason")));
}

static void queue_print(const json_t *list)
{
    each_print(list, queue_row_print);
}

static int trace_verb(json_t *arguments, json_t **result, struct error *e)
{
    struct arena arena CLEANUP(arena_free) = ARENA_INIT;
    struct trace_event *list;
    size_t count;
    if (trace_find(text_of(arguments, "key"), 5000, &arena, &list, &count, e) < 0)
        return -1;
    *result = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(
            *result,
            json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "time",
                      json_integer(list[i].time_ms), "queue-id", json_str(list[i].queue_id),
                      "event", json_str(list[i].event), "peer", json_str(list[i].peer), "sender",
                      json_str(list[i].sender), "recipient", json_str(list[i].recipient),
                      "message-id", json_str(list[i].message_id), "reply", json_str(list[i].reply),
                      "detail", json_str(list[i].detail)));
    return 0;
}

static void event_print(const json_t *event)
{
    static const char *const fields[] = {"peer",       "sender", "recipient",
                                         "message-id", "reply",  "detail"};
    struct civil_time t;
    int64_t ms = json_integer_value(json_object_get(event, "time"));
    civil_from_seconds(ms / 1000, 0, &t);
    printf("%04d-%02d-%02d %02d:%02d:%02d.%03d  %-16s %-8s", t.year, t.month, t.day, t.hour,
           t.minute, t.second, (int)(ms % 1000),
           json_string_value(json_object_get(event, "queue-id")),
           json_string_value(json_object_get(event, "event")));
    for (size_t i = 0; i < countof(fields); i++) {
        const char *value = json_string_value(json_object_get(event, fields[i]));
        if (value && *value)
            printf(" %s%s%s", i < 4 ? fields[i] : "", i < 4 ? "=" : "", value);
    }
    putchar('\n');
}

static void trace_print(const json_t *list)
{
    each_print(list, event_print);
}

/* Asks a process for its own part of the status. */
/* Asks a process for its figures. Master answers no questions: core has what it said last. */
static void process_status(json_t *row)
{
    const json_t *started = json_object_get(row, "started");
    if (started)
        json_object_set_new(row, "uptime",
                            json_integer(clock_real_seconds() - json_integer_value(started)));
    static const struct {
        const char *name;
        enum process_kind kind;
    } kinds[] = {{"core", PROCESS_CORE},
                 {"scan", PROCESS_SCAN},
                 {"box", PROCESS_BOX},
                 {"mx", PROCESS_MX},
                 {"edge", PROCESS_EDGE}};
    const char *kind = json_string_value(json_object_get(row, "kind"));
    for (size_t i = 0; kind && i < countof(kinds); i++) {
        if (strcmp(kind, kinds[i].name) != 0)
            continue;
        struct ipc_out request = {.failed = false};
        struct ipc_in reply CLEANUP(ipc_in_free) = {.failed = false};
        struct error e;
        unsigned index = (unsigned)json_integer_value(json_object_get(row, "index"));
        if (ipc_call(kinds[i].kind, index, IPC_STATUS, &request, 2000, &reply, &e) < 0) {
            json_object_set_new(row, "error", json_string(e.text));
            return;
        }
        struct str text = ipc_get_str(&reply, 65536);
        json_t *own = json_loadb(text.data ? text.data : "", text.len, 0, NULL);
        if (own)
            json_object_update_missing(row, own);
        json_decref(own);
    }
}

static int status_verb(json_t *arguments UNUSED, json_t **result, struct error *e)
{
    struct buf text = BUF_INIT(1024 * 1024);
    uint64_t messages = 0, recipients = 0, bytes = 0;
    process_master_status(&text);
    json_t *rows = json_loadb(text.data, text.len, 0, NULL);
    buf_free(&text);
    for (size_t i = 0; i < json_array_size(rows); i++)
        process_status(json_array_get(rows, i));
    if (queue_counts(&messages, &recipients, &bytes, e) < 0) {
        json_decref(rows);
        return -1;
    }
    *result = json_pack("{s:s, s:o, s:{s:o, s:o, s:o}}", "version", POSTHOUSE_VERSION, "processes",
                        rows ? rows : json_array(), "queue", "messages", json_u64(messages),
                        "recipients", json_u64(recipients), "bytes", json_u64(bytes));
    return 0;
}

static void status_row_print(const json_t *p)
{
    const char *sandbox = json_string_value(json_object_get(p, "sandbox"));
    const char *death = json_string_value(json_object_get(p, "last-death"));
    printf("%-8s %8" PRId64 " %8" PRId64 "s %9" PRId64 " KB %7" PRId64 " %7" PRId64 " %8" PRId64
           "  %s%s%s\n",
           json_string_value(json_object_get(p, "name")),
           (int64_t)json_integer_value(json_object_get(p, "pid")),
           (int64_t)json_integer_value(json_object_get(p, "uptime")),
           (int64_t)json_integer_value(json_object_get(p, "memory-kb")),
           (int64_t)json_integer_value(json_object_get(p, "connections")),
           (int64_t)json_integer_value(json_object_get(p, "parked")),
           (int64_t)json_integer_value(json_object_get(p, "restarts")), sandbox ? sandbox : "",
           death && *death ? "  last death: " : "", death ? death : "");
}

static void status_print(const json_t *s)
{
    const json_t *queue = json_object_get(s, "queue");
    printf("Posthouse %s\n%-8s %8s %9s %12s %7s %7s %8s  %s\n",
           json_string_value(json_object_get(s, "version")), "process", "pid", "uptime", "memory",
           "conns", "parked", "restarts", "sandbox");
    each_print(json_object_get(s, "processes"), status_row_print);
    printf("queue: %" PRId64 " messages, %" PRId64 " recipients, %" PRId64 " bytes\n",
           (int64_t)json_integer_value(json_object_get(queue, "messages")),
           (int64_t)json_integer_value(json_object_get(queue, "recipients")),
           (int64_t)json_integer_value(json_object_get(queue, "bytes")));
}

/* ------------------------------------------------------------------ the table */

#define PASSWORD_OPTIONS "password-stdin hash=HASH"

const struct admin_verb admin_verbs[] = {
    {"domain", "add", "domain", "quota=SIZE", "take mail for a domain",
     "posthouse domain add example.org", false, domain_add, NULL},
    {"domain", "list", "", "", "all domains", "posthouse domain list", false, domain_list,
     domains_print},
    {"domain", "show", "domain", "", "one domain", "posthouse domain show example.org", false,
     domain_show, domain_print},
    {"domain", "set", "domain", "quota=SIZE catch-all=ADDRESS",
     "change a domain's quota or catch-all (none takes it away)",
     "posthouse domain set example.org --catch-all me@example.org", false, domain_set, NULL},
    {"domain", "remove", "domain", "",
     "stop taking mail for a domain that has no accounts and aliases left",
     "posthouse domain remove example.org", false, domain_remove, NULL},
    {"account", "add", "address", "name=TEXT quota=SIZE " PASSWORD_OPTIONS,
     "make an account; asks for its password",
     "posthouse account add ann@example.org --name \"Ann Other\" --quota 5G", false, account_add,
     NULL},
    {"account", "list", "[domain]", "", "all accounts, or those of a domain",
     "posthouse account list example.org", false, account_list, accounts_print},
    {"account", "show", "address", "", "one account", "posthouse account show ann@example.org",
     false, account_show, account_print},
    {"account", "set", "address", "name=TEXT quota=SIZE state=STATE",
     "change an account; states: enabled, disabled, receive-only, send-only",
     "posthouse account set ann@example.org --state disabled", false, account_set, NULL},
    {"account", "remove", "address", "", "remove an account and all its mail",
     "posthouse account remove ann@example.org", false, account_remove, NULL},
    {"account", "verify", "[address]", "all",
     "check an account's file; exit status 1 when something is wrong",
     "posthouse account verify --all", false, account_verify_verb, reports_print},
    {"account", "repair", "[address]", "all",
     "mend what verify finds; of a file that is damaged beyond that, what can be read is taken into a new one",
     "posthouse account repair ann@example.org", false, account_repair_verb, reports_print},
    {"alias", "add", "address target...", "", "an address that stands for others",
     "posthouse alias add team@example.org ann@example.org bob@elsewhere.org", false, alias_add,
     NULL},
    {"alias", "list", "[domain]", "", "all aliases, or those of a domain", "posthouse alias list",
     false, alias_list, aliases_print},
    {"alias", "show", "address", "", "one alias", "posthouse alias show team@example.org", false,
     alias_show, alias_print},
    {"alias", "remove", "address [target...]", "", "remove an alias, or some of its targets",
     "posthouse alias remove team@example.org bob@elsewhere.org", false, alias_remove, NULL},
    {"password", "set", "address", PASSWORD_OPTIONS,
     "set the main password; ends the account's sessions", "posthouse password set ann@example.org",
     false, password_set_verb, NULL},
    {"password", "add", "address name", PASSWORD_OPTIONS, "add an app password",
     "posthouse password add ann@example.org phone", false, password_add, NULL},
    {"password", "list", "address", "", "an account's passwords and their last use",
     "posthouse password list ann@example.org", false, password_list, passwords_print},
    {"password", "remove", "address [name]", "", "remove an app password, or the main one",
     "posthouse password remove ann@example.org phone", false, password_remove, NULL},
    {"queue", "list", "", "", "what waits in the queue, and why", "posthouse queue list", true,
     queue_list_verb, queue_print},
    {"trace", "", "key", "", "what happened to a message: by address, message id or queue id",
     "posthouse trace ann@example.org", true, trace_verb, trace_print},
    {"status", "", "", "", "processes, sandboxes, connections, memory, queue", "posthouse status",
     true, status_verb, status_print},
};
const size_t admin_verb_count = countof(admin_verbs);

const struct admin_verb *admin_verb_find(const char *noun, const char *verb)
{
    for (size_t i = 0; i < admin_verb_count; i++)
        if (strcmp(admin_verbs[i].noun, noun) == 0 && strcmp(admin_verbs[i].verb, verb) == 0)
            return &admin_verbs[i];
    return NULL;
}
