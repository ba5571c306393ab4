/* master.c - starts the processes, starts them again, reloads, stops. See process.h.
 *
 * The only process with rights; it reads its configuration, keys and certificates as bytes, binds the
 * ports, and never sees a byte from the network. Children say one thing to it: that they are ready.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/vec.h"
#include "run/control.h"
#include "run/process.h"

enum {
    BACK_OFF_FIRST_MS = 100,
    BACK_OFF_MAX_MS = 3000,
    CALM_MS = 60000,
    FILES_WANTED = 65536,
    LOCK_WAIT_MS = 5000,
    LOCK_POLL_MS = 20,
    LOCK_FD_MIN = 10,
    BIND_WAIT_MS = 1000,
    TICKET_KEY_SIZE = 32,
    LISTEN_BACKLOG = 4096,
    CAUSE_MAX = 96,
};

struct child {
    const struct process *row;
    unsigned index;
    pid_t pid;   /* 0: not running */
    int control; /* -1: none */
    bool ready;
    unsigned restarts;
    int64_t started_ms, start_at_ms; /* the latter: when it is to be started again */
    unsigned back_off_ms;
    char last_death[CAUSE_MAX];
};

struct bound {         /* a socket that waits for connections */
    uint32_t listener; /* number in the settings */
    int fd;
    char path[108]; /* of a Unix socket */
};

static struct {
    const struct process *rows;
    size_t row_count;
    const char *config_path;
    struct buf config_text;
    const struct settings *settings; /* as at the start: sockets do not change at a reload */
    VEC(struct child) children;
    VEC(struct bound) sockets;
    unsigned char ticket_key[TICKET_KEY_SIZE];
    int lock_fd, signal_fd;
    uid_t uid;
    gid_t gid;
    int64_t started; /* seconds since 1970 */
    bool drop_user, notified, stopping;
} master = {.lock_fd = -1, .signal_fd = -1};

/* ------------------------------------------------------------------ checks at the start */

static int complain(const char *format, ...) PRINTF(1, 2);
static int complain(const char *format, ...)
{
    char text[700];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    fprintf(stderr, "posthouse serve: %s\n", text);
    return -1;
}

static int file_read(const char *path, size_t max, struct buf *out)
{
    int fd CLEANUP(fd_close) = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    for (;;) {
        char *room = out->len < max ? buf_reserve(out, MIN((size_t)65536, max - out->len)) : NULL;
        if (!room)
            return 0;
        ssize_t n = read(fd, room, MIN((size_t)65536, max - out->len));
        if (n <= 0)
            return (int)n;
        buf_added(out, (size_t)n);
    }
}

static int config_load(void)
{
    struct buf text = BUF_INIT(CONFIG_FILE_MAX), errors = BUF_INIT(65536);
    if (file_read(master.config_path, CONFIG_FILE_MAX, &text) < 0) {
        buf_free(&text);
        return complain(
            "cannot read %s: %s\n  (name another file with --config; `posthouse config` prints one to begin with)",
            master.config_path, strerror(errno));
    }
    int result = settings_load(master.config_path, buf_str(&text), &errors);
    if (result < 0) {
        fprintf(stderr, STR_FMT, STR_ARG(buf_str(&errors)));
        buf_free(&text);
    } else {
        buf_free(&master.config_text);
        master.config_text = text;
    }
    buf_free(&errors);
    return result;
}

static int user_find(void)
{
    struct str name = master.settings->server.user;
    char text[64];
    if (geteuid() != 0 || name.len == 0 || name.len >= sizeof(text))
        return 0;
    snprintf(text, sizeof(text), STR_FMT, STR_ARG(name));
    struct passwd *user = getpwnam(text);
    if (!user)
        return complain(
            "there is no user '%s' (setting server user): make one, for instance with\n"
            "  useradd --system --home-dir /var/lib/posthouse --shell /usr/sbin/nologin %s",
            text, text);
    master.uid = user->pw_uid;
    master.gid = user->pw_gid;
    master.drop_user = true;
    return 0;
}

static int directory_make(struct str path, mode_t mode)
{
    char text[400];
    snprintf(text, sizeof(text), STR_FMT, STR_ARG(path));
    for (char *at = text + 1; (at = strchr(at, '/')); at++) { /* parents too */
        *at = '\0';
        mkdir(text, 0755);
        *at = '/';
    }
    if (mkdir(text, mode) == 0)
        chmod(text, mode); /* whatever the umask was */
    else if (errno != EEXIST)
        return complain("cannot make the directory %s: %s", text, strerror(errno));
    if (master.drop_user && chown(text, master.uid, master.gid) < 0)
        return complain("cannot give the directory %s to the service user: %s", text,
                        strerror(errno));
    if (access(text, R_OK | W_OK | X_OK) < 0)
        return complain("cannot write to the directory %s: %s", text, strerror(errno));
    return 0;
}

static int data_lock(void)
{
    char path[400];
    snprintf(path, sizeof(path), STR_FMT "/lock", STR_ARG(master.settings->server.data_directory));
    master.lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (master.lock_fd < 0)
        return complain("cannot open %s: %s", path, strerror(errno));
    /* Processes of a master that was killed hold it until the last of them is gone: see child_exec. */
    for (int waited_ms = 0; flock(master.lock_fd, LOCK_EX | LOCK_NB) < 0;
         waited_ms += LOCK_POLL_MS) {
        if (waited_ms >= LOCK_WAIT_MS)
            return complain(
                "%s is in use: another Posthouse serves these data, or a command works on them just now",
                path);
        poll(NULL, 0, LOCK_POLL_MS);
    }
    return 0;
}

static int world_check(void)
{
    struct rlimit files;
    struct statvfs disk;
    char path[400];
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    if (files.rlim_max < FILES_WANTED)
        log_event(LOG_WARNING, "few-files", "limit=%llu wanted=%d meaning=%s",
                  (unsigned long long)files.rlim_max, FILES_WANTED,
                  log_quote(STR(
                      "fewer connections at a time; raise it with LimitNOFILE= or ulimit -Hn")));
    if (user_find() < 0 || directory_make(master.settings->server.data_directory, 0700) < 0 ||
        directory_make(master.settings->server.run_directory, 0755) < 0 || data_lock() < 0)
        return -1;
    /* The folders that processes may open are there before their sandboxes close. */
    snprintf(path, sizeof(path), STR_FMT "/accounts",
             STR_ARG(master.settings->server.data_directory));
    if (directory_make(str_from(path), 0700) < 0)
        return -1;
    snprintf(path, sizeof(path), STR_FMT "/core", STR_ARG(master.settings->server.data_directory));
    if (directory_make(str_from(path), 0700) < 0)
        return -1;
    snprintf(path, sizeof(path), STR_FMT, STR_ARG(master.settings->server.data_directory));
    if (statvfs(path, &disk) == 0 &&
        (uint64_t)disk.f_bavail * disk.f_frsize < master.settings->limits.free_space)
        log_event(
            LOG_WARNING, "disk-full", "directory=%s free=%llu meaning=%s", path,
            (unsigned long long)disk.f_bavail * disk.f_frsize,
            log_quote(STR("no mail is accepted until there is more room (limits free-space)")));
    return 0;
}

/* ------------------------------------------------------------------ sockets */

static int socket_bind(const struct settings_listener *l, uint32_t number, struct str text)
{
    struct sockaddr_storage address;
    socklen_t len;
    const char *why = "";
    int on = 1;
    if (settings_address(text, &address, &len, &why) < 0)
        return complain("listener " STR_FMT ": " STR_FMT ": %s", STR_ARG(l->name), STR_ARG(text),
                        why);
    struct bound b = {.listener = number,
                      .fd =
                          socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    if (address.ss_family == AF_UNIX) {
        const struct sockaddr_un *local = (const void *)&address;
        snprintf(b.path, sizeof(b.path), "%.*s", (int)sizeof(b.path) - 1, local->sun_path);
        unlink(b.path); /* left by a server that was killed; DATA's lock says that none runs */
    } else {
        setsockopt(b.fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        if (address.ss_family == AF_INET6)
            setsockopt(b.fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    }
    int bound = b.fd < 0 ? -1 : bind(b.fd, (struct sockaddr *)&address, len);
    /* The ports of a server that was killed are free a moment after its lock. */
    for (int waited_ms = 0; bound < 0 && errno == EADDRINUSE && waited_ms < BIND_WAIT_MS;
         waited_ms += LOCK_POLL_MS) {
        poll(NULL, 0, LOCK_POLL_MS);
        bound = bind(b.fd, (struct sockaddr *)&address, len);
    }
    if (bound < 0 || listen(b.fd, LISTEN_BACKLOG) < 0) {
        const char *hint =
            errno == EADDRINUSE ? "\n  (another program has this port: `ss -ltnp` shows which)"
            : errno == EACCES   ? "\n  (ports below 1024 need root or CAP_NET_BIND_SERVICE)"
                                : "";
        return complain("listener " STR_FMT " cannot listen on " STR_FMT ": %s%s", STR_ARG(l->name),
                        STR_ARG(text), strerror(errno), hint);
    }
    if (b.path[0] && master.drop_user && chown(b.path, master.uid, master.gid) < 0)
        return complain("cannot give the socket %s to the service user: %s", b.path,
                        strerror(errno));
    if (b.path[0])
        chmod(b.path, (mode_t)settings_socket_mode(l));
    VEC_ADD(&master.sockets, b);
    return 0;
}

static int sockets_bind(void)
{
    for (size_t i = 0; i < master.settings->listener_count; i++) {
        const struct settings_listener *l = &master.settings->listeners[i];
        struct str rest = l->address, one;
        while (list_next(&rest, &one))
            if (socket_bind(l, (uint32_t)i, one) < 0)
                return -1;
    }
    if (master.sockets.len == 0)
        return complain(
            "no listener is configured: add a section such as\n  [listener smtp]\n  protocol = smtp\n  address = 0.0.0.0:25, [::]:25");
    return 0;
}

static enum process_kind owner_of(const struct settings_listener *l)
{
    return l->protocol == LISTEN_SMTP || l->protocol == LISTEN_LMTP ? PROCESS_MX : PROCESS_EDGE;
}

/* ------------------------------------------------------------------ talking to children */

static void control_send(struct child *c, enum control what, struct ipc_out *out)
{
    struct packet_header header = {.kind = PACKET_TELL, .method = (uint16_t)what};
    if (c->control >= 0 && packet_send(c->control, &header, out, MSG_DONTWAIT) < 0)
        log_event(LOG_WARNING, "control-failed", "process=%s-%u error=%s", c->row->name, c->index,
                  log_quote(str_from(strerror(errno))));
    ipc_out_free(out);
}

static void config_send(struct child *c)
{
    struct ipc_out out = {.failed = false};
    int fd = memfd_from(buf_str(&master.config_text), "config");
    if (fd < 0)
        fatal("memfd: %m");
    ipc_put_str(&out, str_from(master.config_path));
    ipc_put_fd(&out, fd, true);
    control_send(c, CONTROL_CONFIG, &out);
}

/* Read anew each time, so that SIGHUP brings renewed ones. */
static void certificates_send(struct child *c)
{
    const struct settings *settings CLEANUP(settings_unref) = settings_ref();
    struct ipc_out out = {.failed = false};
    VEC(struct buf) files = VEC_INIT;
    bool complete = true;
    for (size_t i = 0; i < settings->certificate_count; i++) {
        const struct str paths[2] = {settings->certificates[i].chain_file,
                                     settings->certificates[i].key_file};
        for (size_t k = 0; k < 2; k++) {
            struct buf file = BUF_INIT(1024 * 1024);
            if (file_read(paths[k].data, 1024 * 1024, &file) < 0 || file.len == 0) {
                log_event(LOG_ERROR, "certificate-missing", "file=%s error=%s", log_quote(paths[k]),
                          log_quote(str_from(strerror(errno))));
                complete = false;
            }
            VEC_ADD(&files, file);
        }
    }
    ipc_put_u32(&out, complete ? (uint32_t)files.len / 2 : 0);
    for (size_t i = 0; complete && i < files.len; i++)
        ipc_put_blob(&out, buf_str(&files.items[i]));
    control_send(c, CONTROL_CERTIFICATES, &out);
    for (size_t i = 0; i < files.len; i++) {
        wipe(files.items[i].data, files.items[i].len);
        buf_free(&files.items[i]);
    }
    VEC_FREE(&files);
}

static void listeners_send(struct child *c)
{
    for (size_t i = 0; i < master.sockets.len; i++) {
        struct ipc_out out = {.failed = false};
        const struct bound *b = &master.sockets.items[i];
        if (owner_of(&master.settings->listeners[b->listener]) != c->row->kind)
            continue;
        ipc_put_u32(&out, b->listener);
        ipc_put_fd(&out, b->fd, false);
        control_send(c, CONTROL_LISTENER, &out);
    }
}

/* A way to call from one child to another; both ends are told. */
static void peer_connect(struct child *caller, struct child *callee)
{
    int ends[2];
    struct ipc_out to_caller = {.failed = false}, to_callee = {.failed = false};
    if (caller->control < 0 || callee->control < 0 ||
        !(caller->row->calls & 1u << callee->row->kind))
        return;
    if (packet_pair(ends) < 0)
        fatal("socketpair: %m");
    ipc_put_u32(&to_caller, callee->row->kind);
    ipc_put_u32(&to_caller, callee->index);
    ipc_put_fd(&to_caller, ends[0], true);
    ipc_put_u32(&to_callee, caller->row->kind);
    ipc_put_u32(&to_callee, caller->index);
    ipc_put_fd(&to_callee, ends[1], true);
    control_send(callee, CONTROL_CALLER, &to_callee);
    control_send(caller, CONTROL_PEER, &to_caller);
}

static unsigned count_of(enum process_kind kind)
{
    unsigned count = 0;
    for (size_t i = 0; i < master.children.len; i++)
        count += master.children.items[i].row->kind == kind;
    return count;
}

static void counts_send(struct child *c)
{
    for (unsigned kind = 0; kind < PROCESS_KIND_COUNT; kind++) {
        struct ipc_out out = {.failed = false};
        ipc_put_u32(&out, kind);
        ipc_put_u32(&out, count_of((enum process_kind)kind));
        control_send(c, CONTROL_PEER_COUNT, &out);
    }
}

static void status_send(void)
{
    struct buf json = BUF_INIT(BUF_UNBOUNDED);
    buf_printf(&json,
               "[{\"name\": \"master\", \"pid\": %d, \"started\": %lld, \"memory-kb\": %llu,"
               " \"restarts\": 0, \"last-death\": \"\","
               " \"sandbox\": \"none: it starts the others and reads no mail\"}",
               (int)getpid(), (long long)master.started, (unsigned long long)process_memory_kb());
    for (size_t i = 0; i < master.children.len; i++) {
        const struct child *c = &master.children.items[i];
        bool several = count_of(c->row->kind) > 1;
        buf_printf(&json, ", {\"name\": \"%s", c->row->name);
        if (several && c->index)
            buf_printf(&json, "-%u", c->index + 1);
        buf_printf(
            &json,
            "\", \"kind\": \"%s\", \"index\": %u, \"pid\": %d, \"restarts\": %u, \"last-death\": \"%s\"}",
            c->row->name, c->index, (int)c->pid, c->restarts, c->last_death);
    }
    buf_add_char(&json, ']');
    for (size_t i = 0; i < master.children.len; i++)
        if (master.children.items[i].row->kind == PROCESS_CORE) {
            struct ipc_out out = {.failed = false};
            ipc_put_blob(&out, buf_str(&json));
            control_send(&master.children.items[i], CONTROL_STATUS, &out);
        }
    buf_free(&json);
}

/* ------------------------------------------------------------------ starting */

static void child_exec(const struct child *c, int control)
{
    char index[16];
    snprintf(index, sizeof(index), "%u", c->index);
    /* DATA stays locked while any process lives. */
    if (fcntl(master.lock_fd, F_DUPFD, LOCK_FD_MIN) < 0 || dup2(control, CONTROL_FD) < 0)
        _exit(71);
    if (control == CONTROL_FD)
        fcntl(CONTROL_FD, F_SETFD, 0);
    if (master.drop_user &&
        (setgroups(0, NULL) < 0 || setresgid(master.gid, master.gid, master.gid) < 0 ||
         setresuid(master.uid, master.uid, master.uid) < 0))
        _exit(77);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execl("/proc/self/exe", "posthouse", "--process", c->row->name, index, (char *)NULL);
    _exit(71);
}

static void child_start(struct child *c)
{
    int ends[2];
    if (packet_pair(ends) < 0)
        fatal("socketpair: %m");
    c->pid = fork();
    if (c->pid < 0)
        fatal("fork: %m");
    if (c->pid == 0)
        child_exec(c, ends[1]);
    fd_close(&ends[1]);
    c->control = ends[0];
    c->ready = false;
    c->started_ms = clock_monotonic_ms();
    c->start_at_ms = 0;
    config_send(c);
    counts_send(c);
    listeners_send(c);
    if (c->row->kind == PROCESS_MX || c->row->kind == PROCESS_EDGE)
        certificates_send(c);
    if (c->row->kind == PROCESS_CORE || c->row->kind == PROCESS_BOX) {
        struct ipc_out out = {.failed = false};
        ipc_put_str(&out, str_of(master.ticket_key, sizeof(master.ticket_key)));
        control_send(c, CONTROL_TICKET_KEY, &out);
    }
    for (size_t i = 0; i < master.children.len; i++) {
        struct child *other = &master.children.items[i];
        if (other == c)
            continue;
        peer_connect(c, other);
        peer_connect(other, c);
    }
    struct ipc_out go = {.failed = false};
    control_send(c, CONTROL_GO, &go);
    status_send();
}

static void children_make(void)
{
    for (size_t i = 0; i < master.row_count; i++) {
        unsigned count = master.rows[i].count ? master.rows[i].count(master.settings) : 1;
        for (unsigned k = 0; k < count; k++)
            VEC_ADD(&master.children, (struct child){.row = &master.rows[i],
                                                     .index = k,
                                                     .control = -1,
                                                     .back_off_ms = BACK_OFF_FIRST_MS});
    }
}

/* sd_notify(3) by hand: one datagram. */
static void notify(const char *text)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (!path || strlen(path) >= sizeof(address.sun_path))
        return;
    memcpy(address.sun_path, path, strlen(path) + 1);
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    if (path[0] == '@')
        address.sun_path[0] = '\0';
    int fd CLEANUP(fd_close) = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0)
        sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&address, len);
}

static void ready_check(void)
{
    for (size_t i = 0; i < master.children.len; i++)
        if (!master.children.items[i].ready)
            return;
    if (master.notified)
        return;
    master.notified = true;
    log_event(LOG_INFO, "ready", "version=%s processes=%zu sockets=%zu", POSTHOUSE_VERSION,
              master.children.len, master.sockets.len);
    notify("READY=1\nSTATUS=Serving mail");
}

/* ------------------------------------------------------------------ deaths */

static void child_ended(struct child *c, int status)
{
    int64_t now = clock_monotonic_ms();
    fd_close(&c->control);
    c->pid = 0;
    bool was_ready = c->ready;
    c->ready = false;
    if (WIFSIGNALED(status))
        snprintf(c->last_death, sizeof(c->last_death), "signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    else
        snprintf(c->last_death, sizeof(c->last_death), "exit status %d", WEXITSTATUS(status));
    if (master.stopping)
        return;
    bool orderly = WIFEXITED(status) && WEXITSTATUS(status) == 0 && was_ready;
    log_event(orderly ? LOG_INFO : LOG_ERROR, "process-ended", "process=%s-%u cause=%s after=%llds",
              c->row->name, c->index, log_quote(str_from(c->last_death)),
              (long long)(now - c->started_ms) / 1000);
    if (!master.notified && !was_ready) {
        complain("process %s could not start (%s): the lines above say why", c->row->name,
                 c->last_death);
        master.stopping = true;
        return;
    }
    c->restarts += !orderly;
    if (orderly || now - c->started_ms > CALM_MS)
        c->back_off_ms = BACK_OFF_FIRST_MS;
    c->start_at_ms = now + (orderly ? 0 : c->back_off_ms);
    c->back_off_ms = MIN(c->back_off_ms * 2, (unsigned)BACK_OFF_MAX_MS);
    status_send();
}

static void children_reap(void)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        for (size_t i = 0; i < master.children.len; i++)
            if (master.children.items[i].pid == pid)
                child_ended(&master.children.items[i], status);
}

/* Starts what is due; the milliseconds until the next one is. */
static int children_restart(void)
{
    int64_t now = clock_monotonic_ms(), wait = 60000;
    for (size_t i = 0; i < master.children.len; i++) {
        struct child *c = &master.children.items[i];
        if (c->pid || !c->start_at_ms)
            continue;
        if (c->start_at_ms <= now)
            child_start(c);
        else
            wait = MIN(wait, c->start_at_ms - now);
    }
    return (int)wait;
}

/* ------------------------------------------------------------------ reload and stop */

static void reload(void)
{
    if (config_load() < 0) {
        log_event(LOG_ERROR, "reload-failed", "file=%s meaning=%s", master.config_path,
                  log_quote(STR("the settings before stay in force")));
        return;
    }
    for (size_t i = 0; i < master.children.len; i++) {
        config_send(&master.children.items[i]);
        if (master.children.items[i].row->kind == PROCESS_MX ||
            master.children.items[i].row->kind == PROCESS_EDGE)
            certificates_send(&master.children.items[i]);
    }
    log_event(LOG_INFO, "reloaded", "file=%s", master.config_path);
}

/* Stops the processes of a mask of kinds and waits for them, at most the grace and a second. */
static void kinds_stop(unsigned kinds)
{
    int64_t end = clock_monotonic_ms() + (int64_t)master.settings->server.stop_grace + 1000;
    bool running;
    for (size_t i = 0; i < master.children.len; i++)
        if (kinds & 1u << master.children.items[i].row->kind && master.children.items[i].pid) {
            struct ipc_out out = {.failed = false};
            control_send(&master.children.items[i], CONTROL_STOP, &out);
        }
    do {
        children_reap();
        running = false;
        for (size_t i = 0; i < master.children.len; i++)
            running |=
                kinds & 1u << master.children.items[i].row->kind && master.children.items[i].pid;
        if (running)
            usleep(5000);
    } while (running && clock_monotonic_ms() < end);
    for (size_t i = 0; i < master.children.len; i++) {
        struct child *c = &master.children.items[i];
        if (!(kinds & 1u << c->row->kind) || !c->pid)
            continue;
        log_event(LOG_WARNING, "stop-forced", "process=%s-%u", c->row->name, c->index);
        kill(c->pid, SIGKILL);
        waitpid(c->pid, NULL, 0);
        c->pid = 0;
    }
}

static void stop(void)
{
    master.stopping = true;
    notify("STOPPING=1");
    kinds_stop(1 << PROCESS_MX | 1 << PROCESS_EDGE); /* first what takes in, then what keeps */
    kinds_stop(1 << PROCESS_CORE);
    kinds_stop(1 << PROCESS_BOX);
    kinds_stop(1 << PROCESS_SCAN);
    for (size_t i = 0; i < master.sockets.len; i++)
        if (master.sockets.items[i].path[0])
            unlink(master.sockets.items[i].path);
    log_event(LOG_INFO, "stopped", "version=%s", POSTHOUSE_VERSION);
}

/* ------------------------------------------------------------------ the loop */

static void child_heard(struct child *c)
{
    struct packet_header header;
    struct ipc_in in;
    int got = packet_receive(c->control, &header, &in, MSG_DONTWAIT);
    if (got > 0) {
        if (header.method == CONTROL_READY && !c->ready) {
            c->ready = true;
            log_event(LOG_DEBUG, "process-ready", "process=%s-%u pid=%d", c->row->name, c->index,
                      (int)c->pid);
            ready_check();
        }
        ipc_in_free(&in);
    } else if (got == 0 || errno != EAGAIN) {
        fd_close(&c->control); /* its death follows */
    }
}

static void signals_heard(void)
{
    struct signalfd_siginfo info;
    while (read(master.signal_fd, &info, sizeof(info)) == sizeof(info)) {
        if (info.ssi_signo == SIGHUP)
            reload();
        else if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT)
            master.stopping = true;
    }
}

static void loop(void)
{
    while (!master.stopping) {
        struct pollfd fds[256] = {{.fd = master.signal_fd, .events = POLLIN}};
        size_t count = 1;
        int wait = children_restart();
        for (size_t i = 0; i < master.children.len && count < countof(fds); i++)
            fds[count++] =
                (struct pollfd){.fd = master.children.items[i].control, .events = POLLIN};
        if (poll(fds, count, wait) < 0 && errno != EINTR)
            fatal("poll: %m");
        signals_heard();
        for (size_t i = 1; i < count; i++)
            if (fds[i].revents && fds[i].fd == master.children.items[i - 1].control &&
                fds[i].fd >= 0)
                child_heard(&master.children.items[i - 1]);
        children_reap();
    }
}

static int signals_block(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    master.signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return master.signal_fd < 0 ? complain("signalfd: %s", strerror(errno)) : 0;
}

int master_run(const struct process *rows, size_t count, const char *config_path)
{
    master.rows = rows;
    master.row_count = count;
    master.config_path = config_path;
    master.started = clock_real_seconds();
    log_set_process("master");
    umask(077);
    if (config_load() < 0)
        return 78;
    master.settings = settings_ref();
    log_set_level((enum log_level)master.settings->server.log_level);
    random_bytes(master.ticket_key, sizeof(master.ticket_key));
    if (world_check() < 0 || sockets_bind() < 0 || signals_block() < 0)
        return 71;
    children_make();
    for (size_t i = 0; i < master.children.len; i++)
        child_start(&master.children.items[i]);
    loop();
    bool failed = !master.notified;
    stop();
    return failed ? 71 : 0;
}
