/* demo.c - a complete server on loopback. See demo.h. */
#include "admin/demo.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/vec.h"
#include "message/date.h"
#include "run/tls.h"

#define DEMO_DOMAIN "example.test"

enum {
    PORT_BASE_DEFAULT = 2000,
    PORT_MAX = 65535,
    READY_TIMEOUT_MS = 60000,
    CERTIFICATE_DAYS = 3650
};

/* What listens: one row is one section of the configuration and one line of the table. */
static const struct demo_service {
    const char *name;
    unsigned port;
    const char *protocol, *tls;
    const char *what;
} services[] = {
    {"smtp", 25, "smtp", "starttls", "SMTP, where mail comes in"},
    {"lmtp", 24, "lmtp", "off", "LMTP, delivery from another server"},
    {"imap", 143, "imap", "starttls", "IMAP"},
    {"imaps", 993, "imap", "implicit", "IMAP over TLS"},
    {"pop3", 110, "pop3", "starttls", "POP3"},
    {"pop3s", 995, "pop3", "implicit", "POP3 over TLS"},
};

static const struct demo_account {
    const char *address, *name, *password;
} accounts[] = {
    {"alice@" DEMO_DOMAIN, "Alice", "alice"},
    {"bob@" DEMO_DOMAIN, "Bob", "bob"},
};

struct demo {
    struct arena arena;
    struct str directory; /* absolute */
    unsigned base;
    struct str config;
};

static int complain(const char *format, ...) PRINTF(1, 2);
static int complain(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("posthouse demo: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    return -1;
}

static int demo_options(struct demo *demo, int argc, char **argv)
{
    static const struct option options[] = {{"dir", required_argument, NULL, 'd'},
                                            {"port-base", required_argument, NULL, 'p'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    const char *directory = "posthouse-demo";
    uint32_t base = PORT_BASE_DEFAULT;
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'd') {
            directory = optarg;
        } else if (option == 'p') {
            if (str_to_u32(str_from(optarg), PORT_MAX - 6190, &base) < 0)
                return complain("--port-base is a number from 0 to %d", PORT_MAX - 6190);
        } else {
            fputs(
                "usage: posthouse demo [--dir DIR] [--port-base N]\n\n"
                "Runs a complete server on loopback; its mail, accounts and configuration are kept in\n"
                "DIR (default: ./posthouse-demo). Each service listens on 127.0.0.1 and ::1 at N plus its\n"
                "standard port (default 2000: SMTP 2025, IMAP 2143). Ctrl-C stops it.\n",
                option == 'h' ? stdout : stderr);
            return option == 'h' ? 1 : -1;
        }
    }
    if (optind < argc)
        return complain("unexpected argument '%s'; see posthouse demo --help", argv[optind]);
    if (mkdir(directory, 0700) < 0 && errno != EEXIST)
        return complain("cannot make the directory %s: %m", directory);
    char *absolute = realpath(directory, NULL);
    if (!absolute)
        return complain("cannot use the directory %s: %m", directory);
    demo->directory = arena_copy(&demo->arena, str_from(absolute));
    free(absolute);
    demo->base = base;
    demo->config = arena_printf(&demo->arena, STR_FMT "/posthouse.conf", STR_ARG(demo->directory));
    return 0;
}

static int file_write(struct demo *demo, const char *name, struct str data)
{
    struct str path = arena_printf(&demo->arena, STR_FMT "/%s", STR_ARG(demo->directory), name);
    int fd CLEANUP(fd_close) = open(path.data, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || fd_write_all(fd, data.data, data.len) < 0 || fsync(fd) < 0)
        return complain("cannot write %s: %m", path.data);
    return 0;
}

static bool file_exists(struct demo *demo, const char *name)
{
    struct str path = arena_printf(&demo->arena, STR_FMT "/%s", STR_ARG(demo->directory), name);
    return access(path.data, F_OK) == 0;
}

static int certificate_write(struct demo *demo)
{
    if (file_exists(demo, "certificate.pem") && file_exists(demo, "key.pem"))
        return 0;
    static const struct str names[] = {STR_INIT("localhost"), STR_INIT("mail." DEMO_DOMAIN)};
    struct buf chain = BUF_INIT(BUF_UNBOUNDED), key = BUF_INIT(BUF_UNBOUNDED);
    struct error e;
    int result = tls_make_self_signed(names, countof(names), CERTIFICATE_DAYS, &chain, &key, &e);
    if (result < 0)
        complain("cannot make a certificate: %s", e.text);
    else
        result = file_write(demo, "key.pem", buf_str(&key));
    if (result == 0)
        result = file_write(demo, "certificate.pem", buf_str(&chain));
    wipe(key.data, key.len);
    buf_free(&chain);
    buf_free(&key);
    return result;
}

/* Written at every start, since the ports are the command line's. */
static int config_write(struct demo *demo)
{
    struct buf text = BUF_INIT(BUF_UNBOUNDED);
    struct str dir = demo->directory;
    buf_printf(&text,
               "# Written by `posthouse demo` at each start.\n"
               "[server]\n"
               "host-name = mail." DEMO_DOMAIN "\n"
               "data-directory = " STR_FMT "/data\n"
               "run-directory = " STR_FMT "/run\n"
               "\n[certificate demo]\n"
               "chain-file = " STR_FMT "/certificate.pem\n"
               "key-file = " STR_FMT "/key.pem\n",
               STR_ARG(dir), STR_ARG(dir), STR_ARG(dir), STR_ARG(dir));
    for (size_t i = 0; i < countof(services); i++) {
        const struct demo_service *s = &services[i];
        buf_printf(&text,
                   "\n[listener %s]\n"
                   "protocol = %s\n"
                   "address = 127.0.0.1:%u, [::1]:%u\n"
                   "tls = %s\n",
                   s->name, s->protocol, demo->base + s->port, demo->base + s->port, s->tls);
        if (strcmp(s->protocol, "imap") == 0 || strcmp(s->protocol, "pop3") == 0)
            buf_add_literal(&text, "plaintext-login = yes\n");
    }
    int result = file_write(demo, "posthouse.conf", buf_str(&text));
    buf_free(&text);
    return result;
}

/* Runs this program with other arguments, with input on its standard input, and waits. */
static int self_run(const char *const *arguments, struct str input)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return complain("pipe: %m");
    pid_t child = fork();
    if (child < 0)
        return complain("fork: %m");
    if (child == 0) {
        dup2(ends[0], STDIN_FILENO);
        execv("/proc/self/exe", (char *const *)(uintptr_t)arguments);
        _exit(127);
    }
    fd_close(&ends[0]);
    fd_write_all(ends[1], input.data, input.len); /* a child that reads nothing says why itself */
    fd_close(&ends[1]);
    int status;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return complain("waitpid: %m");
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -1;
}

/* The accounts and the welcome mail are made once: the marker says so. */
static int accounts_make(struct demo *demo)
{
    /* A first start that was interrupted left some of them, and nobody was served yet: begin anew. */
    static const char *const begun[] = {"directory.db", "directory.db-wal", "directory.db-shm"};
    for (size_t i = 0; i < countof(begun); i++)
        unlink(
            arena_printf(&demo->arena, STR_FMT "/data/core/%s", STR_ARG(demo->directory), begun[i])
                .data);
    const char *config = demo->config.data;
    const char *domain[] = {"posthouse", "domain", "add", DEMO_DOMAIN, "--config", config, NULL};
    if (self_run(domain, STR("")) < 0)
        return -1;
    for (size_t i = 0; i < countof(accounts); i++) {
        const struct demo_account *a = &accounts[i];
        const char *add[] = {"posthouse", "account",          "add",      a->address, "--name",
                             a->name,     "--password-stdin", "--config", config,     NULL};
        if (self_run(add, arena_printf(&demo->arena, "%s\n", a->password)) < 0)
            return -1;
    }
    return file_write(demo, "accounts-made", STR("The demo's accounts were made.\n"));
}

/* ------------------------------------------------------------------ the welcome mail, by LMTP */

static struct str welcome_text(struct demo *demo)
{
    struct buf date = BUF_INIT(64);
    date_format_rfc5322(&date, clock_real_seconds(), 0);
    struct str text = arena_printf(
        &demo->arena,
        "Date: " STR_FMT "\r\n"
        "From: Posthouse <postmaster@" DEMO_DOMAIN ">\r\n"
        "To: Alice <alice@" DEMO_DOMAIN ">\r\n"
        "Subject: Welcome to Posthouse\r\n"
        "Message-ID: <welcome.%lld@mail." DEMO_DOMAIN ">\r\n"
        "MIME-Version: 1.0\r\n"
        "Content-Type: text/plain; charset=utf-8\r\n"
        "\r\n"
        "Hello Alice,\r\n"
        "\r\n"
        "this mail came in by LMTP, was summarised by a process that can do nothing else,\r\n"
        "and was committed to your own database file before the server said yes.\r\n"
        "\r\n"
        "Send yourself another one:\r\n"
        "\r\n"
        "    swaks --server 127.0.0.1:%u --to alice@" DEMO_DOMAIN " --from me@elsewhere.test\r\n"
        "\r\n"
        "and see what became of it:\r\n"
        "\r\n"
        "    posthouse trace alice@" DEMO_DOMAIN " --config " STR_FMT "\r\n",
        STR_ARG(buf_str(&date)), (long long)clock_real_milliseconds(), demo->base + 25,
        STR_ARG(demo->config));
    buf_free(&date);
    return text;
}

/* Sends text and reads one reply line (or several, "250-"); 0 when it begins with expected. */
static int lmtp_step(FILE *wire, struct str text, char expected)
{
    char line[1024];
    if (text.len && (fwrite(text.data, 1, text.len, wire) != text.len || fflush(wire) != 0))
        return -1;
    do {
        if (!fgets(line, sizeof(line), wire))
            return -1;
    } while (strlen(line) > 3 && line[3] == '-');
    return line[0] == expected ? 0 : -1;
}

static int welcome_send(struct demo *demo)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)(demo->base + 24)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        fd_close(&fd);
        return complain("cannot deliver the welcome mail: %m");
    }
    FILE *wire = fdopen(fd, "r+");
    if (!wire)
        return complain("fdopen: %m");
    setvbuf(wire, NULL, _IOFBF, 65536);
    struct str mail = arena_printf(&demo->arena, STR_FMT ".\r\n", STR_ARG(welcome_text(demo)));
    bool sent = lmtp_step(wire, STR(""), '2') == 0 &&
                lmtp_step(wire, STR("LHLO localhost\r\n"), '2') == 0 &&
                lmtp_step(wire, STR("MAIL FROM:<postmaster@" DEMO_DOMAIN ">\r\n"), '2') == 0 &&
                lmtp_step(wire, STR("RCPT TO:<alice@" DEMO_DOMAIN ">\r\n"), '2') == 0 &&
                lmtp_step(wire, STR("DATA\r\n"), '3') == 0 && lmtp_step(wire, mail, '2') == 0;
    lmtp_step(wire, STR("QUIT\r\n"), '2');
    fclose(wire);
    if (!sent)
        return complain("the welcome mail was not accepted; the log above says why");
    return file_write(demo, "welcome-sent", STR("The welcome mail was delivered.\n"));
}

/* ------------------------------------------------------------------ running the server */

static void table_print(struct demo *demo)
{
    const char *config = demo->config.data;
    printf("\nPosthouse runs. Everything listens on 127.0.0.1 and ::1 only.\n\n"
           "  service   port   what it is\n");
    for (size_t i = 0; i < countof(services); i++)
        printf("  %-8s %5u   %s\n", services[i].name, demo->base + services[i].port,
               services[i].what);
    printf("\n  account                password\n");
    for (size_t i = 0; i < countof(accounts); i++)
        printf("  %-22s %s\n", accounts[i].address, accounts[i].password);
    printf("\nRead the welcome mail:\n"
           "  curl 'imap://127.0.0.1:%u/INBOX;MAILINDEX=1' -u alice@" DEMO_DOMAIN ":alice\n"
           "  mutt -f 'imap://alice%%40" DEMO_DOMAIN ":alice@127.0.0.1:%u/INBOX'\n"
           "Send a first mail, then read it as bob:\n"
           "  swaks --server 127.0.0.1:%u --from alice@" DEMO_DOMAIN " --to bob@" DEMO_DOMAIN "\n"
           "  curl smtp://127.0.0.1:%u --mail-from alice@" DEMO_DOMAIN
           " --mail-rcpt bob@" DEMO_DOMAIN " -T FILE\n"
           "  curl 'pop3://127.0.0.1:%u/1' -u bob@" DEMO_DOMAIN ":bob\n"
           "See what became of it, and what runs:\n"
           "  posthouse trace bob@" DEMO_DOMAIN " --config %s\n"
           "  posthouse status --config %s\n",
           demo->base + 143, demo->base + 143, demo->base + 25, demo->base + 25, demo->base + 110,
           config, config);
    printf(
        "Thunderbird: new account alice@" DEMO_DOMAIN ", configure by hand: incoming IMAP, host\n"
        "  127.0.0.1, port %u, connection security SSL/TLS, normal password; accept the\n"
        "  self-signed certificate. (Sending from a mail program needs submission, which is not\n"
        "  there yet: use the lines above.)\n"
        "\nCtrl-C stops it; the mail stays in " STR_FMT ".\n\n",
        demo->base + 993, STR_ARG(demo->directory));
    fflush(stdout);
}

static pid_t serve_start(struct demo *demo, int *notify_fd)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    struct str path = arena_printf(&demo->arena, STR_FMT "/notify", STR_ARG(demo->directory));
    if (path.len >= sizeof(name.sun_path)) {
        complain("the directory's name is too long for a socket in it: choose a shorter --dir");
        return -1;
    }
    memcpy(name.sun_path, path.data, path.len);
    unlink(path.data);
    *notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (*notify_fd < 0 || bind(*notify_fd, (struct sockaddr *)&name, sizeof(name)) < 0) {
        complain("cannot make %s: %m", path.data);
        return -1;
    }
    pid_t child = fork();
    if (child < 0)
        complain("fork: %m");
    if (child == 0) {
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        setenv("NOTIFY_SOCKET", path.data, 1);
        execl("/proc/self/exe", "posthouse", "serve", "--config", demo->config.data, (char *)NULL);
        _exit(127);
    }
    return child;
}

/* Waits until the server says READY=1. 0, or -1: it ended, or took too long. */
static int serve_wait_ready(pid_t child, int notify_fd)
{
    int64_t end = clock_monotonic_ms() + READY_TIMEOUT_MS;
    while (clock_monotonic_ms() < end) {
        struct pollfd wait = {.fd = notify_fd, .events = POLLIN};
        poll(&wait, 1, 100);
        char text[512];
        ssize_t n = recv(notify_fd, text, sizeof(text), 0);
        if (n > 0 && str_find(str_of(text, (size_t)n), STR("READY=1")) < (size_t)n)
            return 0;
        siginfo_t info = {0};
        if (waitid(P_PID, (id_t)child, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid)
            return -1;
    }
    return complain("the server did not become ready within %d s", READY_TIMEOUT_MS / 1000);
}

/* Passes SIGINT, SIGTERM and SIGHUP on until the server has ended; its exit status. */
static int serve_attend(pid_t child, const sigset_t *signals)
{
    for (;;) {
        int status;
        pid_t ended = waitpid(child, &status, WNOHANG);
        if (ended == child)
            return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        int number = sigwaitinfo(signals, NULL);
        /* A terminal's Ctrl-C reaches the server by itself; a second SIGTERM does no harm. */
        if (number == SIGINT || number == SIGTERM)
            kill(child, SIGTERM);
        else if (number == SIGHUP)
            kill(child, SIGHUP);
    }
}

int demo_command(int argc, char **argv)
{
    struct demo demo = {.arena = ARENA_INIT};
    int parsed = demo_options(&demo, argc, argv);
    if (parsed)
        return parsed > 0 ? 0 : 2;
    if (certificate_write(&demo) < 0 || config_write(&demo) < 0)
        return 1;
    if (!file_exists(&demo, "accounts-made") && accounts_make(&demo) < 0)
        return 1;

    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGHUP);
    sigaddset(&signals, SIGCHLD);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    int notify_fd CLEANUP(fd_close) = -1;
    pid_t child = serve_start(&demo, &notify_fd);
    if (child < 0)
        return 1;
    if (serve_wait_ready(child, notify_fd) == 0) {
        if (!file_exists(&demo, "welcome-sent"))
            welcome_send(&demo);
        table_print(&demo);
    } else {
        complain(
            "the lines above say why. Ports in use? Choose others: posthouse demo --port-base 3000\n"
            "  (or: make run PORT_BASE=3000)");
        kill(child, SIGTERM);
    }
    int status = serve_attend(child, &signals);
    arena_free(&demo.arena);
    return status;
}
