/* config.c - `posthouse config`. */
#include "admin/config.h"

#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <unistd.h>

#include "run/settings.h"

static const char usage[] =
    "usage: posthouse config [--config FILE]      the settings in use, with their explanations\n"
    "       posthouse config --defaults           all settings with their defaults: a file to start from\n"
    "       posthouse config check [--config FILE]\n"
    "                                             is the file right? All mistakes, with their lines\n\n"
    "FILE is " CONFIG_PATH_DEFAULT " unless it is given.\n";

static int file_read(const char *path, struct buf *out)
{
    int fd CLEANUP(fd_close) = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = -1;
    while (fd >= 0) {
        char *room = buf_reserve(out, 65536);
        if (!room) {
            fprintf(stderr, "%s: the file is larger than %d bytes\n", path, CONFIG_FILE_MAX);
            return -1;
        }
        n = read(fd, room, 65536);
        if (n <= 0)
            break;
        buf_added(out, (size_t)n);
    }
    if (n < 0)
        fprintf(stderr, "%s: cannot be read: %s\n", path, strerror(errno));
    return n < 0 ? -1 : 0;
}

static int config_show(const char *path, bool check)
{
    struct buf text = BUF_INIT(CONFIG_FILE_MAX + 65536), errors = BUF_INIT(BUF_UNBOUNDED),
               out = BUF_INIT(BUF_UNBOUNDED);
    struct arena arena = ARENA_INIT;
    struct settings settings = {0};
    int result = file_read(path, &text);
    if (result == 0) {
        result = settings_parse(path, buf_str(&text), &arena, &settings, &errors);
        fwrite(errors.data, 1, errors.len, stderr);
    }
    if (result == 0 && check)
        buf_printf(&out, "%s: correct\n", path);
    else if (result == 0)
        config_print(&settings_table, &settings, &out);
    fwrite(out.data, 1, out.len, stdout);
    buf_free(&text);
    buf_free(&errors);
    buf_free(&out);
    arena_free(&arena);
    return result == 0 && fflush(stdout) == 0 ? 0 : 1;
}

int config_command(int argc, char **argv)
{
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"defaults", no_argument, NULL, 'd'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    const char *path = CONFIG_PATH_DEFAULT;
    bool defaults = false;
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'c') {
            path = optarg;
        } else if (option == 'd') {
            defaults = true;
        } else {
            fputs(usage, option == 'h' ? stdout : stderr);
            return option == 'h' ? 0 : 2;
        }
    }
    bool check = optind < argc && strcmp(argv[optind], "check") == 0;
    if (optind + check < argc || (check && defaults)) {
        fputs(usage, stderr);
        return 2;
    }
    if (!defaults)
        return config_show(path, check);
    struct buf out = BUF_INIT(BUF_UNBOUNDED);
    config_print(&settings_table, NULL, &out);
    fwrite(out.data, 1, out.len, stdout);
    buf_free(&out);
    return fflush(stdout) == 0 ? 0 : 1;
}
