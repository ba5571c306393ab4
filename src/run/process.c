/* process.c - a child process: from its start to its sandbox, and what master tells it later. */
#include "run/process.h"

#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/vec.h"
#include "run/conn.h"
#include "run/control.h"
#include "run/ipc_internal.h"
#include "run/sandbox.h"
#include "run/tls.h"

enum { TICKET_KEY_SIZE = 32, PATH_MAX_ = 400, PEM_MAX = 1024 * 1024 };

struct waiting_caller {
    enum process_kind kind;
    unsigned index;
    int fd;
};

static struct {
    const struct process *row;
    enum process_kind kind;
    unsigned index;
    char data_directory[PATH_MAX_];
    char run_directory[PATH_MAX_];
    unsigned char ticket_key[TICKET_KEY_SIZE];
    struct process_listener *listeners;
    size_t listener_count;
    VEC(struct waiting_caller) callers; /* until the workers run */
    bool started, stopping;
    atomic_bool retiring;
    int64_t started_at;
    int statm_fd;
    pthread_mutex_t status_lock;
    struct buf master_status;
    const struct settings *settings; /* the first ones: listeners point into them */
} self = {.kind = PROCESS_COMMAND, .statm_fd = -1, .status_lock = PTHREAD_MUTEX_INITIALIZER};

enum process_kind process_self(void)
{
    return self.kind;
}

unsigned process_index(void)
{
    return self.index;
}

const char *process_data_directory(void)
{
    return self.data_directory;
}

size_t process_listeners(const struct process_listener **out)
{
    *out = self.listeners;
    return self.listener_count;
}

struct str process_ticket_key(void)
{
    return str_of(self.ticket_key, sizeof(self.ticket_key));
}

void process_command_setup(const char *data_directory)
{
    snprintf(self.data_directory, sizeof(self.data_directory), "%s", data_directory);
    self.kind = PROCESS_COMMAND;
}

void process_master_status(struct buf *json)
{
    pthread_mutex_lock(&self.status_lock);
    buf_add(json, self.master_status.len ? buf_str(&self.master_status) : STR("[]"));
    pthread_mutex_unlock(&self.status_lock);
}

/* ------------------------------------------------------------------ status, for core */

uint64_t process_memory_kb(void)
{
    char text[128] = "";
    if (self.statm_fd < 0) /* a child has it open before its sandbox closes */
        self.statm_fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    ssize_t n = self.statm_fd >= 0 ? pread(self.statm_fd, text, sizeof(text) - 1, 0) : -1;
    struct str rest = str_of(text, n > 0 ? (size_t)n : 0), field;
    uint64_t pages = 0;
    if (str_next_part(&rest, ' ', &field) && str_next_part(&rest, ' ', &field) &&
        str_to_u64(field, UINT64_MAX / 4096, &pages) < 0)
        pages = 0;
    return pages * 4;
}

static int status_answer(struct ipc_in *request, struct ipc_out *reply, struct error *e)
{
    struct worker_stats w;
    struct buf json = BUF_INIT(16384);
    if (ipc_get_end(request) < 0)
        return error_set(e, ERROR_INVALID, "The request was not understood");
    workers_stats(&w);
    buf_printf(&json, "{\"kind\": \"%s\", \"index\": %u, ", self.row->name, self.index);
    if (self.row->status)
        self.row->status(&json);
    buf_printf(
        &json,
        " \"sandbox\": \"%s\", \"uptime\": %lld, \"memory-kb\": %llu, \"threads\": %u, \"threads-busy\": %u,"
        " \"connections\": %u, \"parked\": %u, \"runs\": %llu}",
        sandbox_state(), (long long)(clock_monotonic_ms() - self.started_at) / 1000,
        (unsigned long long)process_memory_kb(), w.threads, w.threads_busy, w.conns, w.conns_parked,
        (unsigned long long)w.runs);
    ipc_put_str(reply, buf_str(&json));
    buf_free(&json);
    return 0;
}

/* ------------------------------------------------------------------ what master says */

static void control_send(enum control what)
{
    struct packet_header header = {.kind = PACKET_TELL, .method = (uint16_t)what};
    struct ipc_out out = {.failed = false};
    if (packet_send(CONTROL_FD, &header, &out, 0) < 0)
        _exit(0); /* master is gone */
    ipc_out_free(&out);
}

static int config_take(struct ipc_in *in)
{
    struct str path = ipc_get_str(in, 1024), text;
    int fd CLEANUP(fd_close) = ipc_get_fd(in);
    struct buf errors = BUF_INIT(65536);
    char name[1025];
    if (ipc_get_end(in) < 0 || memfd_map(fd, CONFIG_FILE_MAX, &text) < 0)
        return -1;
    snprintf(name, sizeof(name), STR_FMT, STR_ARG(path));
    int result = settings_load(name, text, &errors);
    if (result < 0)
        log_event(LOG_ERROR, "config-bad", "errors=%s", log_quote(buf_str(&errors)));
    memfd_unmap(&text);
    buf_free(&errors);
    const struct settings *settings = result == 0 ? settings_ref() : NULL;
    if (settings)
        log_set_level((enum log_level)settings->server.log_level);
    if (settings && !self.settings) {
        self.settings = settings; /* kept: listeners are named by their number in it */
        snprintf(self.data_directory, sizeof(self.data_directory), STR_FMT,
                 STR_ARG(settings->server.data_directory));
        snprintf(self.run_directory, sizeof(self.run_directory), STR_FMT,
                 STR_ARG(settings->server.run_directory));
    } else if (settings) {
        settings_unref(&settings);
    }
    return result;
}

static int listener_take(struct ipc_in *in)
{
    uint32_t number = ipc_get_u32(in);
    int fd = ipc_get_fd(in);
    if (ipc_get_end(in) < 0 || fd < 0 || !self.settings ||
        number >= self.settings->listener_count) {
        fd_close(&fd);
        return -1;
    }
    self.listeners = mem_resize(self.listeners, self.listener_count + 1, sizeof(*self.listeners));
    self.listeners[self.listener_count++] =
        (struct process_listener){.settings = &self.settings->listeners[number], .fd = fd};
    return 0;
}

static int certificates_take(struct ipc_in *in)
{
    struct tls_certificate list[64];
    uint32_t count = ipc_get_u32(in);
    struct error e;
    struct tls_context *context;
    for (uint32_t i = 0; i < MIN(count, (uint32_t)countof(list)); i++) {
        list[i].chain = ipc_get_blob(in, PEM_MAX);
        list[i].key = ipc_get_blob(in, PEM_MAX);
    }
    if (ipc_get_end(in) < 0 || count > countof(list))
        return -1;
    if (count == 0)
        return 0;
    if (tls_context_create(list, count, &context, &e) < 0) {
        log_event(LOG_ERROR, "certificate-bad", "error=%s cause=%s", log_quote(str_from(e.text)),
                  log_quote(str_from(e.cause)));
        return 0; /* the ones before stay */
    }
    tls_current_set(context);
    return 0;
}

static int caller_take(struct ipc_in *in)
{
    struct waiting_caller c = {(enum process_kind)ipc_get_u32(in), ipc_get_u32(in), ipc_get_fd(in)};
    if (ipc_get_end(in) < 0 || c.fd < 0)
        return -1;
    if (self.started)
        ipc_caller_add(c.fd, c.kind, c.index);
    else
        VEC_ADD(&self.callers, c);
    return 0;
}

static int peer_take(struct ipc_in *in)
{
    enum process_kind kind = (enum process_kind)ipc_get_u32(in);
    unsigned index = ipc_get_u32(in);
    int fd = ipc_get_fd(in);
    if (ipc_get_end(in) < 0 || fd < 0)
        return -1;
    return ipc_peer_set(kind, index, fd);
}

/* One message. 1: go on, 0: GO or STOP was said, -1: master is gone or makes no sense. */
static int control_receive(void)
{
    struct packet_header header;
    struct ipc_in in;
    int got = packet_receive(CONTROL_FD, &header, &in, 0);
    if (got <= 0)
        return got < 0 && errno == EINTR ? 1 : -1;
    int result = 0;
    struct str text;
    switch ((enum control)header.method) {
    case CONTROL_CONFIG:
        result = config_take(&in);
        if (self.started) { /* a file with mistakes changes nothing */
            if (result == 0 && self.row->reload)
                self.row->reload();
            result = 0;
        }
        break;
    case CONTROL_LISTENER:
        result = listener_take(&in);
        break;
    case CONTROL_CERTIFICATES:
        result = certificates_take(&in);
        break;
    case CONTROL_TICKET_KEY:
        text = ipc_get_str(&in, TICKET_KEY_SIZE);
        if (text.len == TICKET_KEY_SIZE)
            memcpy(self.ticket_key, text.data, TICKET_KEY_SIZE);
        break;
    case CONTROL_PEER_COUNT: {
        enum process_kind kind = (enum process_kind)ipc_get_u32(&in);
        ipc_peer_count_set(kind, ipc_get_u32(&in));
        break;
    }
    case CONTROL_PEER:
        result = peer_take(&in);
        break;
    case CONTROL_CALLER:
        result = caller_take(&in);
        break;
    case CONTROL_STATUS:
        text = ipc_get_blob(&in, 1024 * 1024);
        pthread_mutex_lock(&self.status_lock);
        buf_reset(&self.master_status);
        buf_add(&self.master_status, text);
        pthread_mutex_unlock(&self.status_lock);
        break;
    case CONTROL_GO:
    case CONTROL_STOP:
        self.stopping = header.method == CONTROL_STOP;
        ipc_in_free(&in);
        return 0;
    default:
        result = -1;
    }
    ipc_in_free(&in);
    return result < 0 ? -1 : 1;
}

/* The main thread waits for what master says: to it, this is the end. */
void process_retire(void)
{
    if (!atomic_exchange(&self.retiring, true))
        shutdown(CONTROL_FD, SHUT_RD);
}

/* ------------------------------------------------------------------ the life of a child */

static unsigned workers_count(const struct settings *s)
{
    switch (self.kind) {
    case PROCESS_MX:
        return (unsigned)s->server.workers_mx;
    case PROCESS_EDGE:
        return (unsigned)s->server.workers_edge;
    case PROCESS_BOX:
        return (unsigned)s->server.workers_box;
    case PROCESS_CORE:
        return (unsigned)s->server.workers_core;
    default:
        return (unsigned)s->server.workers_scan;
    }
}

static int child_fail(const char *what, const struct error *e)
{
    log_event(LOG_ERROR, "start-failed", "step=%s error=%s cause=%s", what,
              log_quote(str_from(e->text)), log_quote(str_from(e->cause)));
    return 71;
}

/* The sandbox closes here. Landlock holds for threads made after it, so it comes before the first. */
static int child_start(void)
{
    static const struct ipc_service status[] = {
        {IPC_STATUS, 1 << PROCESS_CORE, status_answer},
    };
    struct error e = {0};
    if (self.row->prepare && self.row->prepare(&e) < 0)
        return child_fail("prepare", &e);
    sandbox_files(&self.row->sandbox, self.data_directory, self.run_directory);
    workers_start(workers_count(self.settings), false);
    ipc_serve(status, countof(status));
    sandbox_calls(&self.row->sandbox);
    if (self.row->start && self.row->start(&e) < 0)
        return child_fail("start", &e);
    self.started = true;
    for (size_t i = 0; i < self.callers.len; i++)
        ipc_caller_add(self.callers.items[i].fd, self.callers.items[i].kind,
                       self.callers.items[i].index);
    VEC_FREE(&self.callers);
    control_send(CONTROL_READY);
    return 0;
}

static void child_stop(void)
{
    unsigned left = workers_stop((unsigned)self.settings->server.stop_grace);
    if (left)
        log_event(LOG_WARNING, "stop", "connections-cut=%u", left);
    if (self.row->stop)
        self.row->stop();
}

int process_run(const struct process *rows, size_t count, int argc, char **argv)
{
    uint32_t index = 0;
    if (argc != 4 || str_to_u32(str_from(argv[3]), 1000, &index) < 0)
        return 64;
    for (size_t i = 0; i < count; i++)
        if (strcmp(rows[i].name, argv[2]) == 0)
            self.row = &rows[i];
    if (!self.row)
        return 64;
    self.kind = self.row->kind;
    self.index = index;
    self.started_at = clock_monotonic_ms();
    self.master_status = BUF_INIT(1024 * 1024);
    log_set_process(self.row->name);
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    prctl(PR_SET_NAME, self.row->name, 0, 0, 0);
    signal(SIGPIPE, SIG_IGN);
    /* Ctrl-C reaches the whole foreground group: master decides when we stop. */
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    mallopt(M_ARENA_MAX, 2); /* many threads, little memory */
    mallopt(M_TRIM_THRESHOLD, 256 * 1024);
    umask(077);
    fcntl(CONTROL_FD, F_SETFD, FD_CLOEXEC);
    process_memory_kb();
    sandbox_early();
    int more;
    while ((more = control_receive()) > 0)
        ;
    if (more < 0 || self.stopping)
        return more < 0 ? 70 : 0;
    int status = child_start();
    if (status)
        return status;
    while ((more = control_receive()) > 0)
        ;
    if (more < 0 && !self.retiring)
        return 70;
    child_stop();
    return 0;
}
