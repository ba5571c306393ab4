/* cli.c - administration from the command line. See cli.h.
 *
 * Arguments become a JSON object by the verb's row. While the server runs, core is asked; when it does
 * not, this command becomes the owner of DATA (its lock says so) and runs the same verb itself.
 */
#include "admin/cli.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "admin/socket.h"
#include "admin/verbs.h"
#include "base/log.h"
#include "delivery/changes.h"
#include "delivery/control.h"
#include "run/ipc.h"
#include "run/process.h"
#include "run/settings.h"
#include "store/account.h"
#include "store/directory.h"

enum { WRONG_USAGE = 2, PASSWORD_LINE = 2048, SERVER_WAIT_MS = 10000, SERVER_POLL_MS = 100 };

struct call {
    const struct admin_verb *row;
    json_t *arguments;
    const char *config;
    bool json, help, password_stdin;
};

static int complain(const char *format, ...) PRINTF(1, 2);
static int complain(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("posthouse: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    return WRONG_USAGE;
}

/* ------------------------------------------------------------------ help */

static void verb_help(const struct admin_verb *row, FILE *to)
{
    struct str rest = str_from(row->options), option;
    fprintf(to, "  posthouse %s%s%s %s", row->noun, *row->verb ? " " : "", row->verb,
            row->arguments);
    while (rest.len && str_next_part(&rest, ' ', &option))
        fprintf(to, " [--%.*s]", STR_ARG(option));
    fprintf(to, "\n      %s\n      for example: %s\n", row->help, row->example);
}

static int noun_help(const char *noun, FILE *to)
{
    fputs("usage:\n", to);
    for (size_t i = 0; i < admin_verb_count; i++)
        if (strcmp(admin_verbs[i].noun, noun) == 0)
            verb_help(&admin_verbs[i], to);
    fputs("Each takes --json, and --config FILE (default /etc/posthouse/posthouse.conf).\n", to);
    return to == stdout ? 0 : WRONG_USAGE;
}

/* ------------------------------------------------------------------ parsing */

/* The option's declaration in the row: "name=TEXT" or "flag". 1 takes a value, 0 a flag, -1 unknown. */
static int option_kind(const struct admin_verb *row, struct str name)
{
    struct str rest = str_from(row->options), option;
    while (rest.len && str_next_part(&rest, ' ', &option)) {
        size_t equals = str_find_char(option, '=');
        if (str_equal(str_slice(option, 0, equals), name))
            return equals < option.len;
    }
    return -1;
}

static int option_take(struct call *c, int argc, char **argv, int *i)
{
    struct str text = str_from(argv[*i] + 2);
    size_t equals = str_find_char(text, '=');
    struct str name = str_slice(text, 0, equals);
    const char *value = equals < text.len ? text.data + equals + 1 : NULL;
    char key[64];
    snprintf(key, sizeof(key), STR_FMT, STR_ARG(name));
    if (str_equal(name, STR("json"))) {
        c->json = true;
        return 0;
    }
    if (str_equal(name, STR("help"))) {
        c->help = true;
        return 0;
    }
    int kind = str_equal(name, STR("config")) ? 1 : option_kind(c->row, name);
    if (kind < 0)
        return complain("unknown option --%s; see posthouse %s --help", key, c->row->noun);
    if (kind == 1 && !value && ++*i >= argc)
        return complain("--%s needs a value", key);
    if (kind == 1 && !value)
        value = argv[*i];
    if (str_equal(name, STR("config")))
        c->config = value;
    else if (str_equal(name, STR("password-stdin")))
        c->password_stdin = true;
    else if (json_object_set_new(c->arguments, key, kind ? json_string(value) : json_true()) < 0)
        return complain("--%s is not UTF-8", key);
    return 0;
}

/* Gives the positional arguments their names: "address [domain] target...". */
static int positional_take(struct call *c, char **words, size_t count)
{
    struct str rest = str_from(c->row->arguments), name;
    size_t at = 0;
    while (rest.len && str_next_part(&rest, ' ', &name)) {
        char key[64];
        bool optional = str_starts(name, STR("["));
        if (optional)
            name = str_slice(name, 1, name.len - 2);
        bool many = str_ends(name, STR("..."));
        if (many)
            name.len -= 3;
        snprintf(key, sizeof(key), STR_FMT, STR_ARG(name));
        if (many) {
            json_t *list = json_array();
            while (at < count)
                json_array_append_new(list, json_string(words[at++]));
            json_object_set_new(c->arguments, key, list);
        } else if (at < count) {
            if (json_object_set_new(c->arguments, key, json_string(words[at++])) < 0)
                return complain("%s is not UTF-8", key);
        } else if (!optional) {
            return complain("%s is missing; see posthouse %s --help", key, c->row->noun);
        }
    }
    return at < count ? complain("unexpected argument '%s'; see posthouse %s --help", words[at],
                                 c->row->noun)
                      : 0;
}

/* ------------------------------------------------------------------ passwords */

static int password_line(char *out, size_t max, bool hidden)
{
    struct termios before, quiet;
    bool terminal = hidden && tcgetattr(STDIN_FILENO, &before) == 0;
    if (terminal) {
        quiet = before;
        quiet.c_lflag &= ~(tcflag_t)ECHO;
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
    }
    char *got = fgets(out, (int)max, stdin);
    if (terminal) {
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
        fputc('\n', stderr);
    }
    if (!got)
        return -1;
    out[strcspn(out, "\r\n")] = '\0';
    return 0;
}

/* A verb that sets a password needs one: from --hash, standard input, or a prompt (twice). */
static int password_get(struct call *c)
{
    char first[PASSWORD_LINE], second[PASSWORD_LINE];
    int result = 0;
    if (option_kind(c->row, STR("password-stdin")) < 0 || json_object_get(c->arguments, "hash"))
        return 0;
    if (c->password_stdin) {
        if (password_line(first, sizeof(first), false) < 0)
            return complain("no password on standard input");
    } else if (isatty(STDIN_FILENO)) {
        fputs("Password: ", stderr);
        if (password_line(first, sizeof(first), true) < 0)
            return WRONG_USAGE;
        fputs("Once more: ", stderr);
        if (password_line(second, sizeof(second), true) < 0 || strcmp(first, second) != 0)
            result = complain("the two are not the same");
    } else {
        return complain(
            "give the password on standard input with --password-stdin, or a hash with --hash");
    }
    if (result == 0 && json_object_set_new(c->arguments, "password", json_string(first)) < 0)
        result = complain("the password is not UTF-8");
    wipe(first, sizeof(first));
    wipe(second, sizeof(second));
    return result;
}

/* ------------------------------------------------------------------ running */

static int settings_read(const char *path, struct error *e)
{
    struct buf text = BUF_INIT(CONFIG_FILE_MAX), errors = BUF_INIT(65536);
    FILE *file = fopen(path, "re");
    if (!file)
        return error_set(e, ERROR_INVALID, "cannot read %s: %s (name another file with --config)",
                         path, strerror(errno));
    char piece[4096];
    size_t n;
    while ((n = fread(piece, 1, sizeof(piece), file)) > 0)
        buf_add_bytes(&text, piece, n);
    fclose(file);
    int result = settings_load(path, buf_str(&text), &errors);
    if (result < 0) {
        fputs(buf_c_string(&errors), stderr);
        error_set(e, ERROR_INVALID, "the configuration has mistakes");
    }
    buf_free(&text);
    buf_free(&errors);
    return result;
}

/* Without a server: owns DATA and runs the verb here. *in_use: somebody else owns it. */
static int offline_run(struct call *c, json_t **result, bool *in_use, struct error *e)
{
    const struct settings *settings CLEANUP(settings_unref) = settings_ref();
    char data[300], core[320], lock_path[320];
    snprintf(data, sizeof(data), STR_FMT, STR_ARG(settings->server.data_directory));
    snprintf(core, sizeof(core), "%s/core", data);
    snprintf(lock_path, sizeof(lock_path), "%s/lock", data);
    mkdir(data, 0700);
    mkdir(core, 0700);
    int lock CLEANUP(fd_close) = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (lock < 0)
        return error_set(e, ERROR_DENIED, "Cannot open %s: %s", lock_path, strerror(errno));
    if (flock(lock, LOCK_EX | LOCK_NB) < 0) {
        *in_use = true;
        return error_set(
            e, ERROR_TEMPORARY,
            "The data are in use, but the server's admin socket does not answer: is it starting?");
    }
    if (c->row->server_only)
        return error_set(e, ERROR_TEMPORARY,
                         "The server does not run; start it with posthouse serve");
    process_command_setup(data);
    ipc_loopback(PROCESS_BOX, PROCESS_COMMAND);
    account_control_serve();
    if (accounts_init(data, settings->store.open_bytes, e) < 0 || directory_open(core, e) < 0)
        return -1;
    directory_scram_default((uint32_t)settings->login.scram_iterations);
    changes_note_only();
    int status = c->row->run(c->arguments, result, e);
    directory_close();
    accounts_shutdown();
    return status;
}

/* verify's exit status says whether something was found. */
static bool is_damaged(const json_t *result)
{
    for (size_t i = 0; i < json_array_size(result); i++)
        if (json_is_true(json_object_get(json_array_get(result, i), "damaged")))
            return true;
    return false;
}

/* By the running server, or here when none runs. */
static int verb_ask(struct call *c, json_t **result, struct error *e)
{
    const struct settings *settings CLEANUP(settings_unref) = settings_ref();
    /* A server that is just starting, or whose core is, will answer soon. */
    for (int waited_ms = 0;; waited_ms += SERVER_POLL_MS) {
        bool in_use = false, failed = true;
        int asked = admin_ask(settings->server.run_directory.data, c->row->noun, c->row->verb,
                              c->arguments, result, e, &failed);
        if (asked == 0)
            failed = offline_run(c, result, &in_use, e) < 0;
        if (!in_use || waited_ms >= SERVER_WAIT_MS)
            return failed ? -1 : 0;
        poll(NULL, 0, SERVER_POLL_MS);
    }
}

/* The same verb for each account; on a terminal it says how far it is. */
static int accounts_ask(struct call *c, json_t **result, struct error *e)
{
    bool terminal = isatty(STDERR_FILENO);
    json_t *accounts = NULL;
    struct call list = *c;
    list.row = admin_verb_find("account", "list");
    list.arguments = json_object();
    int status = verb_ask(&list, &accounts, e);
    *result = json_array();
    for (size_t i = 0; status == 0 && i < json_array_size(accounts); i++) {
        json_t *address = json_object_get(json_array_get(accounts, i), "address"), *part = NULL;
        struct call one = *c;
        if (terminal)
            fprintf(stderr, "\r\033[K%zu of %zu: %s", i + 1, json_array_size(accounts),
                    json_string_value(address));
        one.arguments = json_pack("{s:O}", "address", address);
        status = verb_ask(&one, &part, e);
        json_array_extend(*result, part);
        json_decref(part);
        json_decref(one.arguments);
    }
    if (terminal)
        fputs("\r\033[K", stderr);
    json_decref(accounts);
    json_decref(list.arguments);
    return status;
}

static int call_run(struct call *c)
{
    struct error e = {0};
    json_t *result = NULL;
    if (settings_read(c->config, &e) < 0)
        return complain("%s", e.text);
    bool all = json_is_true(json_object_get(c->arguments, "all"));
    if (all && json_object_get(c->arguments, "address"))
        return complain("an address, or --all; not both");
    if ((all ? accounts_ask(c, &result, &e) : verb_ask(c, &result, &e)) < 0) {
        fprintf(stderr, "posthouse: %s\n", e.text);
        if (e.cause[0])
            fprintf(stderr, "  (%s)\n", e.cause);
        json_decref(result);
        return 1;
    }
    if (c->json) {
        json_dumpf(result && !json_is_null(result) ? result : json_object(), stdout,
                   JSON_INDENT(2) | JSON_ENCODE_ANY);
        putchar('\n');
    } else if (c->row->print && result) {
        c->row->print(result);
    } else {
        puts("done");
    }
    int status = is_damaged(result);
    json_decref(result);
    return status;
}

int admin_command(int argc, char **argv)
{
    struct call c = {.config = "/etc/posthouse/posthouse.conf"};
    char *words[256];
    size_t count = 0;
    int from = 1;
    log_set_level(LOG_ERROR);
    c.row = admin_verb_find(argv[0], "");
    if (!c.row && argc > 1) {
        c.row = admin_verb_find(argv[0], argv[1]);
        from = 2;
    }
    if (!c.row) {
        bool asked = argc > 1 && strcmp(argv[1], "--help") == 0;
        if (argc > 1 && !asked)
            complain("%s has no verb '%s'", argv[0], argv[1]);
        return noun_help(argv[0], asked ? stdout : stderr);
    }
    c.arguments = json_object();
    for (int i = from; i < argc; i++) {
        int status = 0;
        if (strncmp(argv[i], "--", 2) == 0 && argv[i][2])
            status = option_take(&c, argc, argv, &i);
        else if (count < countof(words))
            words[count++] = argv[i];
        if (status)
            return status;
    }
    if (c.help) {
        verb_help(c.row, stdout);
        return 0;
    }
    int status = positional_take(&c, words, count);
    if (status == 0)
        status = password_get(&c);
    if (status == 0)
        status = call_run(&c);
    json_decref(c.arguments);
    return status;
}
