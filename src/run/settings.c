/* settings.c - snapshots of the settings, and the checks that go beyond one row of the table. */
#include "run/settings.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/un.h>

/* ------------------------------------------------------------------------------- addresses */

static int unix_address(struct str text, struct sockaddr_storage *out, socklen_t *len,
                        const char **why)
{
    struct sockaddr_un *address = (struct sockaddr_un *)(void *)out;
    if (text.len >= sizeof(address->sun_path)) {
        *why = "is too long for the path of a socket (107 bytes)";
        return -1;
    }
    address->sun_family = AF_UNIX;
    memcpy(address->sun_path, text.data, text.len);
    *len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + text.len + 1);
    return 0;
}

int settings_address(struct str text, struct sockaddr_storage *out, socklen_t *len,
                     const char **why)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)out;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)out;
    char name[INET6_ADDRSTRLEN];
    uint32_t port;
    memset(out, 0, sizeof(*out));
    if (str_starts(text, STR("/")))
        return unix_address(text, out, len, why);
    size_t colon = str_find_last_char(text, ':');
    struct str host = str_slice(text, 0, colon);
    if (str_to_u32(str_from_pos(text, colon + 1), 65535, &port) < 0 || port == 0) {
        *why = "has no port from 1 to 65535 behind a colon";
        return -1;
    }
    bool brackets = str_starts(host, STR("[")) && str_ends(host, STR("]"));
    if (brackets)
        host = str_slice(host, 1, host.len - 2);
    if (host.len >= sizeof(name))
        host.len = 0;
    memcpy(name, host.data, host.len);
    name[host.len] = '\0';
    if (brackets && inet_pton(AF_INET6, name, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons((uint16_t)port);
        *len = sizeof(*v6);
        return 0;
    }
    if (!brackets && inet_pton(AF_INET, name, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons((uint16_t)port);
        *len = sizeof(*v4);
        return 0;
    }
    *why = "is no address with a port, such as 0.0.0.0:25 or [::]:25, and no absolute path";
    return -1;
}

unsigned settings_socket_mode(const struct settings_listener *l)
{
    unsigned mode = 0;
    for (size_t i = 0; i < l->socket_mode.len; i++)
        mode = mode * 8 + (unsigned)(l->socket_mode.data[i] - '0');
    return mode & 0777;
}

/* ---------------------------------------------------------------------------------- checks */

struct check {
    const char *file_name;
    const struct settings *settings;
    struct buf *errors;
    size_t count;
};

static void complain(struct check *c, const char *format, ...) PRINTF(2, 3);
static void complain(struct check *c, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (c->count++ < CONFIG_ERRORS_MAX) {
        buf_printf(c->errors, "%s: ", c->file_name);
        buf_vprintf(c->errors, format, args);
        buf_add_char(c->errors, '\n');
    }
    va_end(args);
}

/* The same address twice would be told as "in use" at the start, and by whom is hard to see. */
static void address_repeated(struct check *c, const struct settings_listener *before,
                             struct str address, struct str name)
{
    for (const struct settings_listener *l = c->settings->listeners; l <= before; l++) {
        struct str rest = l->address, other;
        while (list_next(&rest, &other) && other.data != address.data)
            if (str_equal(other, address))
                complain(c,
                         "[listener " STR_FMT "]: address: " STR_FMT
                         " is used by [listener " STR_FMT "] already",
                         STR_ARG(name), STR_ARG(address), STR_ARG(l->name));
    }
}

static void listener_check(struct check *c, const struct settings_listener *l)
{
    struct str rest = l->address, address;
    struct sockaddr_storage ignored;
    socklen_t len;
    const char *why;
    size_t count = 0;
    while (list_next(&rest, &address)) {
        count++;
        if (settings_address(address, &ignored, &len, &why) < 0)
            complain(c, "[listener " STR_FMT "]: address: '" STR_FMT "' %s", STR_ARG(l->name),
                     STR_ARG(address), why);
        address_repeated(c, l, address, l->name);
    }
    if (count == 0)
        complain(c, "[listener " STR_FMT "]: address: names no address", STR_ARG(l->name));
    if (l->tls == LISTEN_TLS_IMPLICIT && c->settings->certificate_count == 0)
        complain(c, "[listener " STR_FMT "]: tls = implicit needs a section [certificate NAME]",
                 STR_ARG(l->name));
    for (size_t i = 0; i < l->socket_mode.len; i++)
        if (l->socket_mode.data[i] < '0' || l->socket_mode.data[i] > '7') {
            complain(c, "[listener " STR_FMT "]: socket-mode: must be octal, such as 0660",
                     STR_ARG(l->name));
            break;
        }
}

static void host_name_check(struct check *c)
{
    struct str rest = c->settings->server.host_name, label;
    bool good = rest.len > 0;
    while (str_next_part(&rest, '.', &label)) {
        if (label.len == 0 || label.len > 63 || str_starts(label, STR("-")) ||
            str_ends(label, STR("-")))
            good = false;
        for (size_t i = 0; i < label.len; i++)
            if (!ascii_is_alnum(label.data[i]) && label.data[i] != '-')
                good = false;
    }
    if (!good)
        complain(c,
                 "[server]: host-name: '" STR_FMT
                 "' is no host name; write it in ASCII, such as mail.example.org",
                 STR_ARG(c->settings->server.host_name));
}

static int settings_check(const char *file_name, const struct settings *s, struct buf *errors)
{
    struct check c = {file_name, s, errors, 0};
    host_name_check(&c);
    for (size_t i = 0; i < s->listener_count; i++)
        listener_check(&c, &s->listeners[i]);
    if (s->limits.header_size > s->limits.message_size)
        complain(&c, "[limits]: header-size must not be larger than message-size");
    if (s->limits.memory_in_flight < s->limits.message_size)
        complain(&c, "[limits]: memory-in-flight must not be smaller than message-size");
    if (s->imap.literal_size > s->imap.command_size)
        complain(&c, "[imap]: literal-size must not be larger than command-size");
    return c.count ? -1 : 0;
}

int settings_parse(const char *file_name, struct str text, struct arena *arena,
                   struct settings *out, struct buf *errors)
{
    if (config_parse(&settings_table, file_name, text, arena, out, errors) < 0)
        return -1;
    return settings_check(file_name, out, errors);
}

/* ------------------------------------------------------------------------------- snapshots */

struct snapshot {
    struct settings settings; /* first: what settings_ref() gives is its address */
    struct arena arena;
    unsigned references; /* under the lock */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of `current` and all counts */
static struct snapshot *current;

static void snapshot_release(struct snapshot *s)
{
    pthread_mutex_lock(&lock);
    bool last = --s->references == 0;
    pthread_mutex_unlock(&lock);
    if (!last)
        return;
    arena_free(&s->arena);
    mem_free(s);
}

const struct settings *settings_ref(void)
{
    pthread_mutex_lock(&lock);
    struct snapshot *s = current;
    if (s)
        s->references++;
    pthread_mutex_unlock(&lock);
    panic_unless(s); /* settings_load() comes first */
    return &s->settings;
}

void settings_unref(const struct settings **s)
{
    if (*s)
        snapshot_release((struct snapshot *)(uintptr_t)*s);
    *s = NULL;
}

int settings_load(const char *file_name, struct str text, struct buf *errors)
{
    struct snapshot *s = mem_alloc(sizeof(*s));
    s->references = 1;
    if (settings_parse(file_name, text, &s->arena, &s->settings, errors) < 0) {
        snapshot_release(s);
        return -1;
    }
    pthread_mutex_lock(&lock);
    struct snapshot *old = current;
    current = s;
    pthread_mutex_unlock(&lock);
    if (old)
        snapshot_release(old);
    return 0;
}
