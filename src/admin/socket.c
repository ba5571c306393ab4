/* socket.c - the admin socket. See socket.h. */
#include "admin/socket.h"

#include <grp.h>
#include <pwd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "admin/verbs.h"
#include "base/clock.h"
#include "base/log.h"
#include "run/conn.h"
#include "run/process.h"
#include "run/settings.h"
#include "run/stream.h"

enum { IDLE_MS = 60000, GROUPS_MAX = 256 };

static char socket_path[108];

static int path_set(const char *run_directory, struct sockaddr_un *address)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    int len =
        snprintf(address->sun_path, sizeof(address->sun_path), "%s/admin.sock", run_directory);
    return len > 0 && (size_t)len < sizeof(address->sun_path) ? 0 : -1;
}

/* ------------------------------------------------------------------ serving, in core */

struct admin_session {
    struct conn conn;
    struct stream stream;
    uid_t uid;
};

static gid_t admin_gid;
static bool admin_gid_known;

/* Root, we ourselves, or a member of the admin group . */
static bool is_allowed(int fd)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);
    gid_t groups[GROUPS_MAX];
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
        return false;
    if (peer.uid == 0 || peer.uid == geteuid() || (admin_gid_known && peer.gid == admin_gid))
        return true;
    len = sizeof(groups);
    if (!admin_gid_known || getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) < 0)
        return false;
    for (size_t i = 0; i < len / sizeof(gid_t); i++)
        if (groups[i] == admin_gid)
            return true;
    return false;
}

static json_t *request_run(struct str text)
{
    json_error_t where;
    struct error e = {0};
    json_t *result = NULL, *request = json_loadb(text.data, text.len, 0, &where), *arguments;
    const char *noun = NULL, *verb = NULL;
    if (!request || json_unpack(request, "{s:s, s:s, s:o}", "noun", &noun, "verb", &verb,
                                "arguments", &arguments) < 0) {
        error_set(&e, ERROR_INVALID, "The request was not understood");
    } else {
        const struct admin_verb *row = admin_verb_find(noun, verb);
        if (!row)
            error_set(&e, ERROR_NOT_FOUND,
                      "The running server does not know this verb: is it of another version?");
        else if (row->run(arguments, &result, &e) == 0)
            e.class = ERROR_NONE;
        log_event(LOG_INFO, "admin", "verb=%s-%s result=%s", noun, verb, error_class_name(e.class));
    }
    json_decref(request);
    json_t *answer = e.class ? json_pack("{s:s, s:i}", "error", e.text, "class", (int)e.class)
                             : json_pack("{s:o}", "result", result ? result : json_null());
    if (e.class && result)
        json_decref(result);
    return answer;
}

static void answer_put(struct stream *s, json_t *answer)
{
    char *text = json_dumps(answer, JSON_COMPACT);
    size_t len = text ? strlen(text) : 0;
    unsigned char head[4] = {(unsigned char)len, (unsigned char)(len >> 8),
                             (unsigned char)(len >> 16), (unsigned char)(len >> 24)};
    stream_put(s, str_of(head, 4));
    stream_put(s, str_of(text, len));
    free(text);
    json_decref(answer);
}

static enum conn_verdict session_run(struct conn *c, unsigned events)
{
    struct admin_session *s = CONTAINER_OF(c, struct admin_session, conn);
    if (events & (CONN_STOPPING | CONN_TIMEOUT) || stream_flush(&s->stream) < 0)
        return CONN_CLOSE;
    while (stream_fill(&s->stream, ADMIN_MESSAGE_MAX) > 0)
        ;
    struct str input = stream_input(&s->stream);
    while (input.len >= 4) {
        const unsigned char *head = (const unsigned char *)input.data;
        size_t len = head[0] | (size_t)head[1] << 8 | (size_t)head[2] << 16 | (size_t)head[3] << 24;
        if (len > ADMIN_MESSAGE_MAX - 4)
            return CONN_CLOSE;
        if (input.len < 4 + len)
            break;
        json_t *answer = request_run(str_slice(input, 4, len));
        stream_consume(&s->stream, 4 + len);
        answer_put(&s->stream, answer);
        input = stream_input(&s->stream);
    }
    if (stream_flush(&s->stream) < 0 || (s->stream.eof && stream_unsent(&s->stream) == 0))
        return CONN_CLOSE;
    c->want = stream_want(&s->stream, true);
    c->deadline = clock_monotonic_ms() + IDLE_MS;
    return CONN_PARK;
}

static void session_free(struct conn *c)
{
    struct admin_session *s = CONTAINER_OF(c, struct admin_session, conn);
    stream_close(&s->stream);
    mem_free(s);
}

static enum conn_verdict acceptor_run(struct conn *c, unsigned events)
{
    static const struct conn_class class = {"admin", session_run, session_free};
    if (events & CONN_STOPPING)
        return CONN_CLOSE;
    int fd;
    while ((fd = accept4(c->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
        if (!is_allowed(fd)) {
            log_event(LOG_WARNING, "admin-refused", "reason=user");
            fd_close(&fd);
            continue;
        }
        struct admin_session *s = mem_alloc(sizeof(*s));
        stream_init(&s->stream, fd, ADMIN_MESSAGE_MAX, BUF_UNBOUNDED);
        s->conn.class = &class;
        s->conn.fd = fd;
        conn_start(&s->conn);
    }
    c->want = CONN_READABLE;
    return CONN_PARK;
}

static void acceptor_free(struct conn *c)
{
    fd_close(&c->fd);
    mem_free(c);
}

int admin_socket_start(struct error *e)
{
    static const struct conn_class class = {"admin-accept", acceptor_run, acceptor_free};
    const struct settings *settings CLEANUP(settings_unref) = settings_ref();
    struct sockaddr_un address;
    ipc_loopback(PROCESS_CORE, PROCESS_CORE); /* status asks every process, this one too */
    if (path_set(settings->server.run_directory.data, &address) < 0)
        return error_set(e, ERROR_INVALID,
                         "The run directory's name is too long for a socket in it");
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    unlink(address.sun_path);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        listen(fd, 64) < 0) {
        int why = errno;
        fd_close(&fd);
        error_set(e, ERROR_INTERNAL, "The admin socket cannot be made");
        return error_cause(e, "%s: %s", address.sun_path, strerror(why));
    }
    /* The group's members could not connect otherwise: this process cannot give files to groups. Who may
     * do anything is decided by the credentials that the kernel tells. */
    chmod(address.sun_path, admin_gid_known ? 0666 : 0600);
    memcpy(socket_path, address.sun_path, sizeof(socket_path));
    struct conn *c = mem_alloc(sizeof(*c));
    c->class = &class;
    c->fd = fd;
    conn_start(c);
    return 0;
}

/* Before the sandbox closes: names of groups stand in files. */
int admin_socket_prepare(struct error *e UNUSED)
{
    const struct settings *settings CLEANUP(settings_unref) = settings_ref();
    char name[64];
    if (settings->server.admin_group.len == 0)
        return 0;
    snprintf(name, sizeof(name), STR_FMT, STR_ARG(settings->server.admin_group));
    struct group *group = getgrnam(name);
    if (group) {
        admin_gid = group->gr_gid;
        admin_gid_known = true;
    } else {
        log_event(LOG_WARNING, "no-admin-group", "group=%s meaning=%s", name,
                  log_quote(STR(
                      "there is no such group: only root and the service user may administer")));
    }
    return 0;
}

void admin_socket_stop(void)
{
    if (socket_path[0])
        unlink(socket_path);
}

/* ------------------------------------------------------------------ asking, in a command */

static int read_all(int fd, void *data, size_t len)
{
    char *at = data;
    while (len > 0) {
        ssize_t n = read(fd, at, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return -1;
        at += n;
        len -= (size_t)n;
    }
    return 0;
}

int admin_ask(const char *run_directory, const char *noun, const char *verb, json_t *arguments,
              json_t **result, struct error *e, bool *failed)
{
    struct sockaddr_un address;
    unsigned char head[4];
    *failed = true;
    if (path_set(run_directory, &address) < 0)
        return 0;
    int fd CLEANUP(fd_close) = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        if (errno == ENOENT || errno == ECONNREFUSED)
            return 0;
        error_set(
            e, ERROR_DENIED,
            "Cannot talk to the running server (%s): be root, the service user, or in the admin group",
            strerror(errno));
        return -1;
    }
    json_t *request =
        json_pack("{s:s, s:s, s:O}", "noun", noun, "verb", verb, "arguments", arguments);
    char *text = json_dumps(request, JSON_COMPACT);
    size_t len = strlen(text);
    for (int i = 0; i < 4; i++)
        head[i] = (unsigned char)(len >> 8 * i);
    int sent = fd_write_all(fd, head, 4) | fd_write_all(fd, text, len);
    wipe(text, len); /* a password may be in it */
    free(text);
    json_decref(request);
    if (sent < 0 || read_all(fd, head, 4) < 0) {
        error_set(
            e, ERROR_TEMPORARY,
            "The server did not answer: are you root, the service user, or in the admin group? Its log says more");
        return -1;
    }
    len = head[0] | (size_t)head[1] << 8 | (size_t)head[2] << 16 | (size_t)head[3] << 24;
    char *answer_text = mem_alloc(MIN(len, (size_t)ADMIN_MESSAGE_MAX * 4) + 1);
    json_t *answer = read_all(fd, answer_text, MIN(len, (size_t)ADMIN_MESSAGE_MAX * 4)) == 0
                         ? json_loadb(answer_text, len, 0, NULL)
                         : NULL;
    mem_free(answer_text);
    if (!answer) {
        error_set(e, ERROR_TEMPORARY, "The server's answer was not understood");
        return -1;
    }
    const char *wrong = json_string_value(json_object_get(answer, "error"));
    if (wrong) {
        error_set(e, (enum error_class)json_integer_value(json_object_get(answer, "class")), "%s",
                  wrong);
    } else {
        *failed = false;
        *result = json_incref(json_object_get(answer, "result"));
    }
    json_decref(answer);
    return 1;
}
