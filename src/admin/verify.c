/* verify.c - `posthouse account verify` and `repair`: one account's file. The command asks for one
 * account after the other, so it can show how far it is. */
#include "admin/verbs.h"
#include "delivery/control.h"
#include "store/directory.h"

enum { REPORT_MAX = 1024 * 1024 };

static json_t *lines_json(struct str text)
{
    json_t *lines = json_array();
    struct str line;
    while (text.len && str_next_part(&text, '\n', &line))
        if (line.len)
            json_array_append_new(lines, json_text(line));
    return lines;
}

static int account_ask(const json_t *arguments, enum account_control what, json_t *answer, struct error *e)
{
    struct arena arena CLEANUP(arena_free) = ARENA_INIT;
    struct buf report CLEANUP(buf_free) = BUF_INIT(REPORT_MAX);
    struct account_entry account;
    struct str address = json_argument(arguments, "address");
    bool found = false;
    if (directory_account_find(address, &arena, &account, e) < 0 ||
        account_control(account.id, what, &report, &found, e) < 0)
        return -1;
    json_object_set_new(answer, "address", json_text(account.address));
    json_object_set_new(answer, "account", json_integer((json_int_t)account.id));
    json_object_set_new(answer, what == CONTROL_VERIFY ? "findings" : "repaired", lines_json(buf_str(&report)));
    json_object_set_new(answer, "sound", json_boolean(!found));
    return 0;
}

int verb_account_verify(const json_t *arguments, json_t *answer, struct error *e)
{
    return account_ask(arguments, CONTROL_VERIFY, answer, e);
}

int verb_account_repair(const json_t *arguments, json_t *answer, struct error *e)
{
    return account_ask(arguments, CONTROL_REPAIR, answer, e);
}

void verify_print(const json_t *answer, FILE *out)
{
    json_t *findings = json_object_get(answer, "findings"), *line;
    json_t *repaired = json_object_get(answer, "repaired");
    size_t i;
    print_safe(out, json_member(answer, "address"));
    if (findings)
        fputs(json_array_size(findings) ? ": not in order\n" : ": in order\n", out);
    else
        fputs(json_array_size(repaired) ? ": repaired\n" : ": nothing to repair\n", out);
    json_array_foreach(findings ? findings : repaired, i, line) {
        fputs("    ", out);
        print_safe(out, json_string_value(line));
        putc('\n', out);
    }
}
