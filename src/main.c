/* main.c - one table of subcommands. */
#include <stdio.h>

#include "admin/cli.h"
#include "admin/config.h"
#include "admin/demo.h"
#include "admin/socket.h"
#include "process/core.h"
#include "process/table.h"
#include "base/base.h"
#include "base/str.h"

struct command {
    const char *name;
    const char *help;                  /* one line; NULL = not listed */
    int (*run)(int argc, char **argv); /* argv[0] is the command's name; the exit status */
};

static int help_command(int argc, char **argv);

static int version_command(int argc UNUSED, char **argv UNUSED)
{
    printf("posthouse %s\n", POSTHOUSE_VERSION);
    return 0;
}

static int serve_command(int argc, char **argv)
{
    const char *config = "/etc/posthouse/posthouse.conf";
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--config") == 0 && i + 1 < argc) {
            config = argv[++i];
        } else {
            bool help = strcmp(argv[i], "--help") == 0;
            fputs(
                "usage: posthouse serve [--config FILE]\n\n"
                "Runs the server in the foreground. SIGHUP reads the configuration and the certificates\n"
                "again, SIGTERM stops.\n",
                help ? stdout : stderr);
            return help ? 0 : 2;
        }
    }
    return master_run(processes, process_count, config);
}

static int process_command(int argc, char **argv)
{
    core_admin(&(struct core_admin){admin_socket_prepare, admin_socket_start, admin_socket_stop});
    /* Without the command's own name in front, as process_run() counts. */
    return process_run(processes, process_count, argc + 1, argv - 1);
}

static const struct command commands[] = {
    {"serve", "run the server", serve_command},
    {"domain", "the domains that mail is taken for", admin_command},
    {"account", "the people who have mail here", admin_command},
    {"alias", "addresses that stand for others", admin_command},
    {"password", "passwords and app passwords", admin_command},
    {"queue", "mail on its way", admin_command},
    {"trace", "what happened to a message", admin_command},
    {"status", "what runs", admin_command},
    {"demo", "run a complete server on loopback, to try things out", demo_command},
    {"config", "print all settings with their explanations, or check a configuration file",
     config_command},
    {"help", "this list, or more about one command", help_command},
    {"version", "the program's version", version_command},
    {"--process", NULL, process_command},
};

static void usage(FILE *to)
{
    fputs("usage: posthouse COMMAND [ARGUMENTS]\n\n", to);
    for (size_t i = 0; i < countof(commands); i++)
        if (commands[i].help)
            fprintf(to, "  %-10s %s\n", commands[i].name, commands[i].help);
    fputs("\nposthouse help COMMAND says more. Commands read the configuration from --config FILE\n"
          "(default: /etc/posthouse/posthouse.conf).\n",
          to);
}

static const struct command *command_find(const char *name)
{
    for (size_t i = 0; i < countof(commands); i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static int unknown(const char *name)
{
    fprintf(stderr, "posthouse: there is no command '%s'; see posthouse help\n", name);
    return 2;
}

/* "help account add" is "account add --help". */
static int help_command(int argc, char **argv)
{
    const struct command *command = argc > 1 ? command_find(argv[1]) : NULL;
    if (argc < 2 || (command && command->run == help_command)) {
        usage(stdout);
        return 0;
    }
    if (!command)
        return unknown(argv[1]);
    static char help[] = "--help";
    char **words = mem_alloc_array((size_t)argc, sizeof(*words));
    memcpy(words, argv + 1, (size_t)(argc - 1) * sizeof(*words));
    words[argc - 1] = help;
    int status = command->run(argc, words);
    mem_free(words);
    return status;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        usage(stderr);
        return 2;
    }
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        name = "help";
    if (strcmp(name, "--version") == 0)
        name = "version";
    const struct command *command = command_find(name);
    return command ? command->run(argc - 1, argv + 1) : unknown(name);
}
