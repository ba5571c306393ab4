/* sandbox.c - what a process gives up: capabilities, files (Landlock), system calls (seccomp). */
#include "run/sandbox.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <seccomp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum {
    SANITIZED = 1
}; /* the sanitizers' own needs (reading /proc, ptrace) do not fit in a sandbox */
#else
enum { SANITIZED = 0 };
#endif

static char state[160] = "none";

const char *sandbox_state(void)
{
    return state;
}

static void state_add(const char *format, ...) PRINTF(1, 2);
static void state_add(const char *format, ...)
{
    size_t len = strcmp(state, "none") == 0 ? 0 : strlen(state);
    va_list args;
    va_start(args, format);
    if (len)
        state[len++] = ' ';
    vsnprintf(state + len, sizeof(state) - len, format, args);
    va_end(args);
}

void sandbox_early(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {{0}, {0}};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (!SANITIZED)
        prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    for (int capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; capability++)
        prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
    syscall(SYS_capset, &header, none);
}

/* ------------------------------------------------------------------ Landlock */

/* Access rights that came with later versions of the interface. */
#ifndef LANDLOCK_ACCESS_FS_REFER
#define LANDLOCK_ACCESS_FS_REFER (1ULL << 13)
#endif
#define ACCESS_FS_TRUNCATE (1ULL << 14)
#define ACCESS_FS_IOCTL    (1ULL << 15)

struct ruleset_attributes { /* of version 4: files and TCP ports */
    uint64_t handled_access_fs;
    uint64_t handled_access_net;
};

static int rule_add(int ruleset, const char *path, uint64_t access)
{
    struct landlock_path_beneath_attr rule = {.allowed_access = access,
                                              .parent_fd = open(path, O_PATH | O_CLOEXEC)};
    if (rule.parent_fd < 0)
        return -1;
    long result = syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    close(rule.parent_fd);
    return (int)result;
}

void sandbox_files(const struct sandbox *s, const char *data_directory, const char *run_directory)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (SANITIZED || abi < 1) {
        state_add(SANITIZED ? "landlock=off(sanitizer)" : "landlock=missing");
        if (!SANITIZED)
            log_event(
                LOG_WARNING, "sandbox", "landlock=missing meaning=%s",
                log_quote(STR("this kernel cannot restrict files; the rest of the sandbox holds")));
        return;
    }
    uint64_t all = (1ULL << 13) - 1; /* version 1 */
    all |= abi >= 2 ? LANDLOCK_ACCESS_FS_REFER : 0;
    all |= abi >= 3 ? ACCESS_FS_TRUNCATE : 0;
    all |= abi >= 5 ? ACCESS_FS_IOCTL : 0;
    struct ruleset_attributes attributes = {
        .handled_access_fs = all, .handled_access_net = abi >= 4 ? 3 : 0}; /* bind, connect */
    size_t size = abi >= 4 ? sizeof(attributes) : sizeof(uint64_t);
    int ruleset CLEANUP(fd_close) = (int)syscall(SYS_landlock_create_ruleset, &attributes, size, 0);
    if (ruleset < 0)
        fatal("landlock: %m");
    if (s->reads_data) {
        uint64_t access =
            all & ~(uint64_t)(LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_MAKE_CHAR |
                              LANDLOCK_ACCESS_FS_MAKE_BLOCK);
        for (size_t i = 0; i < countof(s->data_paths) && s->data_paths[i]; i++) {
            char path[600];
            if (strcmp(s->data_paths[i], "RUN") == 0)
                snprintf(path, sizeof(path), "%s", run_directory);
            else
                snprintf(path, sizeof(path), "%s/%s", data_directory, s->data_paths[i]);
            if (rule_add(ruleset, path, access) < 0)
                fatal("landlock %s: %m", path);
        }
    }
    if (syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
        fatal("landlock: %m");
    state_add("landlock=abi%ld", abi);
}

/* ------------------------------------------------------------------ seccomp */

#define CALL(name) SCMP_SYS(name)

/* What threads, memory, time, epoll and messages on open descriptors need. */
static const int common_calls[] = {
    CALL(read),
    CALL(write),
    CALL(readv),
    CALL(writev),
    CALL(pread64),
    CALL(pwrite64),
    CALL(close),
    CALL(fstat),
    CALL(lseek),
    CALL(mmap),
    CALL(munmap),
    CALL(mprotect),
    CALL(mremap),
    CALL(madvise),
    CALL(brk),
    CALL(futex),
    CALL(rt_sigaction),
    CALL(rt_sigprocmask),
    CALL(rt_sigreturn),
    CALL(rt_sigtimedwait),
    CALL(sigaltstack),
    CALL(clone),
    CALL(clone3),
    CALL(set_robust_list),
    CALL(rseq),
    CALL(exit),
    CALL(exit_group),
    CALL(getpid),
    CALL(gettid),
    CALL(tgkill),
    CALL(clock_gettime),
    CALL(clock_getres),
    CALL(clock_nanosleep),
    CALL(nanosleep),
    CALL(gettimeofday),
    CALL(getrandom),
    CALL(sched_yield),
    CALL(sched_getaffinity),
    CALL(getrlimit),
    CALL(prlimit64),
    CALL(sysinfo),
    CALL(epoll_create1),
    CALL(epoll_ctl),
    CALL(epoll_wait),
    CALL(epoll_pwait),
    CALL(eventfd2),
    CALL(timerfd_create),
    CALL(timerfd_settime),
    CALL(timerfd_gettime),
    CALL(poll),
    CALL(ppoll),
    CALL(sendmsg),
    CALL(recvmsg),
    CALL(sendto),
    CALL(recvfrom),
    CALL(setsockopt),
    CALL(getsockopt),
    CALL(shutdown),
    CALL(getsockname),
    CALL(getpeername),
    CALL(fcntl),
    CALL(dup),
    CALL(memfd_create),
    CALL(ftruncate),
    CALL(prctl),
    CALL(membarrier),
    CALL(restart_syscall),
    CALL(getuid),
    CALL(geteuid),
    CALL(getgid),
    CALL(getegid),
    CALL(uname),
    CALL(getcpu),
    CALL(set_tid_address),
    CALL(socketpair),
};
/* What SQLite and the folders of DATA need; Landlock says where. */
static const int file_calls[] = {
    CALL(open),      CALL(openat),          CALL(stat),      CALL(lstat),      CALL(newfstatat),
    CALL(statx),     CALL(access),          CALL(faccessat), CALL(faccessat2), CALL(unlink),
    CALL(unlinkat),  CALL(rename),          CALL(renameat),  CALL(renameat2),  CALL(mkdir),
    CALL(mkdirat),   CALL(rmdir),           CALL(fsync),     CALL(fdatasync),  CALL(fchmod),
    CALL(fchown),    CALL(flock),           CALL(statfs),    CALL(fstatfs),    CALL(fallocate),
    CALL(truncate),  CALL(getdents64),      CALL(getcwd),    CALL(readlink),   CALL(utimensat),
    CALL(fadvise64), CALL(sync_file_range),
};
static const int accept_calls[] = {CALL(accept4), CALL(accept)};
static const int admin_calls[] = {CALL(bind),  CALL(listen), CALL(accept4),
                                  CALL(chmod), CALL(chown),  CALL(umask)};

enum { FILES = 1, ACCEPTS = 2, ADMIN = 4 };
static const struct {
    const char *name;
    unsigned has;
} profiles[] = {
    {"mx", ACCEPTS}, {"edge", ACCEPTS}, {"scan", 0}, {"core", FILES | ADMIN}, {"box", FILES}};

/* Never needed by any of us once started: whoever calls one of these is not us any more. */
static const int deadly_calls[] = {CALL(execve),
                                   CALL(execveat),
                                   CALL(ptrace),
                                   CALL(process_vm_readv),
                                   CALL(process_vm_writev),
                                   CALL(mount),
                                   CALL(init_module),
                                   CALL(kexec_load),
                                   CALL(bpf),
                                   CALL(setuid),
                                   CALL(setgid),
                                   CALL(unshare),
                                   CALL(setns)};

static void rules_add(scmp_filter_ctx filter, uint32_t action, const int *calls, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (seccomp_rule_add(filter, action, calls[i], 0) < 0)
            log_event(LOG_DEBUG, "seccomp-rule", "call=%d", calls[i]);
}

void sandbox_calls(const struct sandbox *s)
{
    unsigned has = 0;
    if (SANITIZED) {
        state_add("seccomp=off(sanitizer)");
        return;
    }
    for (size_t i = 0; i < countof(profiles); i++)
        if (strcmp(profiles[i].name, s->seccomp) == 0)
            has = profiles[i].has;
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    if (!filter)
        fatal("seccomp: out of memory");
    seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    rules_add(filter, SCMP_ACT_ALLOW, common_calls, countof(common_calls));
    /* libc's fstat() is newfstatat(fd, "", ..., AT_EMPTY_PATH): of a descriptor, not of a path. */
    seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(newfstatat), 1,
                     SCMP_A3(SCMP_CMP_MASKED_EQ, AT_EMPTY_PATH, AT_EMPTY_PATH));
    if (has & FILES)
        rules_add(filter, SCMP_ACT_ALLOW, file_calls, countof(file_calls));
    if (has & ACCEPTS)
        rules_add(filter, SCMP_ACT_ALLOW, accept_calls, countof(accept_calls));
    if (has & ADMIN) /* no way out to the network */
        seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
                         SCMP_A0(SCMP_CMP_EQ, AF_UNIX, 0));
    if (has & ADMIN)
        rules_add(filter, SCMP_ACT_ALLOW, admin_calls, countof(admin_calls));
    rules_add(filter, SCMP_ACT_KILL_PROCESS, deadly_calls, countof(deadly_calls));
    int result = seccomp_load(filter);
    seccomp_release(filter);
    if (result < 0) {
        state_add("seccomp=missing");
        log_event(LOG_WARNING, "sandbox", "seccomp=missing error=%s",
                  log_quote(str_from(strerror(-result))));
        return;
    }
    state_add("seccomp=on");
}
