/* test_ipc.c - packets and their fields, and calls over real sockets with both sides in this process. What a
 * broken or dying peer does is played by a thread. */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "run/conn.h"
#include "run/ipc_internal.h"
#include "unit.h"

/* Methods of this test; free numbers. */
#define ECHO       ((enum ipc_method)200)
#define FAIL       ((enum ipc_method)201)
#define SLOW       ((enum ipc_method)202)
#define PASS_FD    ((enum ipc_method)203)
#define NOT_FOR_MX ((enum ipc_method)204)
#define TOO_BIG    ((enum ipc_method)205)
#define COUNT      ((enum ipc_method)206)
#define NOT_SERVED ((enum ipc_method)207)

static _Atomic unsigned told;

static unsigned open_files(void)
{
    unsigned count = 0;
    DIR *d = opendir("/proc/self/fd");
    assert_non_null(d);
    while (readdir(d))
        count++;
    closedir(d);
    return count;
}

/* Once what earlier tests left to the workers is closed. */
static unsigned open_files_settled(void)
{
    unsigned last = open_files();
    for (int same = 0; same < 5; same++) {
        usleep(10000);
        unsigned now = open_files();
        same = now == last ? same : 0;
        last = now;
    }
    return last;
}

/* Waits until as many files are open as before: sessions close theirs in worker threads. */
static void expect_open_files(unsigned before)
{
    for (int i = 0; i < 500 && open_files() != before; i++)
        usleep(10000);
    assert_int_equal(open_files(), before);
}

/* ------------------------------------------------------------------ fields */

static const char text[] = "text with \0 inside";
#define TEXT str_of(text, sizeof(text) - 1)

/* One field of each kind, small and large. */
static void put_all(struct ipc_out *o, struct str big)
{
    ipc_put_bool(o, true);
    ipc_put_bool(o, false);
    ipc_put_u32(o, UINT32_MAX);
    ipc_put_u64(o, UINT64_MAX - 1);
    ipc_put_i64(o, INT64_MIN);
    ipc_put_str(o, STR(""));
    ipc_put_str(o, TEXT);
    ipc_put_blob(o, TEXT);
    ipc_put_blob(o, big);
    ipc_put_fd(o, STDIN_FILENO, false);
}

/* Takes them off again. Whether all of it was there and right. */
static bool get_all(struct ipc_in *in, struct str big)
{
    bool same = ipc_get_bool(in);
    same &= !ipc_get_bool(in) && !in->failed;
    same &= ipc_get_u32(in) == UINT32_MAX;
    same &= ipc_get_u64(in) == UINT64_MAX - 1;
    same &= ipc_get_i64(in) == INT64_MIN;
    same &= ipc_get_str(in, 10).len == 0 && !in->failed;
    same &= str_equal(ipc_get_str(in, 100), TEXT);
    same &= str_equal(ipc_get_blob(in, 100), TEXT);
    same &= str_equal(ipc_get_blob(in, big.len), big);
    int fd = ipc_get_fd(in);
    same &= fd >= 0;
    fd_close(&fd);
    int end = ipc_get_end(in);
    assert_int_equal(end, in->failed ? -1 : 0);
    return same && end == 0;
}

static char big[IPC_INLINE_MAX * 3]; /* filled before there are threads */

static struct str big_text(void)
{
    return str_of(big, sizeof(big));
}

static void round_trip(void **state UNUSED)
{
    unsigned before = open_files_settled();
    static const enum packet_kind kinds[] = {PACKET_CALL, PACKET_TELL, PACKET_REPLY, PACKET_ERROR};
    int ends[2];
    assert_int_equal(packet_pair(ends), 0);
    for (size_t i = 0; i < countof(kinds); i++) {
        struct ipc_out o = {.failed = false};
        struct ipc_in in;
        struct packet_header sent = {.kind = (uint16_t)kinds[i],
                                     .method = 65535,
                                     .sequence = UINT32_MAX},
                             got = {.kind = 0};
        put_all(&o, big_text());
        assert_false(o.failed);
        assert_int_equal(packet_send(ends[0], &sent, &o, 0), 0);
        ipc_out_free(&o);
        assert_int_equal(packet_receive(ends[1], &got, &in, 0), 1);
        assert_int_equal(got.kind, kinds[i]);
        assert_int_equal(got.method, 65535);
        assert_int_equal(got.sequence, UINT32_MAX);
        assert_true(get_all(&in, big_text()));
        ipc_in_free(&in);
    }
    /* the same within one process; what is not taken is closed all the same */
    for (int taken = 0; taken < 2; taken++) {
        struct ipc_out o = {.failed = false};
        struct ipc_in in;
        put_all(&o, big_text());
        packet_turn(&o, &in);
        if (taken)
            assert_true(get_all(&in, big_text()));
        ipc_in_free(&in);
        ipc_out_free(&o);
    }
    close(ends[0]);
    struct packet_header header;
    struct ipc_in in;
    assert_int_equal(packet_receive(ends[1], &header, &in, 0), 0); /* the end */
    close(ends[1]);
    expect_open_files(before);
}

/* Every cut of a packet of each kind: refused as a packet, or found out by its fields; and never read past
 * its end (the address sanitizer sees that: the bytes stand in a room of their size). */
static void truncations(void **state UNUSED)
{
    unsigned before = open_files_settled();
    struct ipc_out o = {.failed = false};
    int ends[2];
    put_all(&o, big_text());
    assert_int_equal(packet_pair(ends), 0);
    for (size_t len = 0; len <= o.bytes.len; len++) {
        char *room = mem_alloc(MAX(len, (size_t)1));
        memcpy(room, o.bytes.data, len);
        struct ipc_in in = {.rest = str_of(room, len), .packet = room};
        for (unsigned i = 0; i < o.fd_count; i++)
            in.fds[in.fd_count++] = dup(o.fds[i]);
        assert_int_equal(get_all(&in, big_text()), len == o.bytes.len);
        ipc_in_free(&in);
    }
    for (unsigned kind = 0; kind <= PACKET_ERROR + 1; kind++) {
        struct packet_header header = {.kind = (uint16_t)kind}, got;
        struct ipc_in in;
        char whole[sizeof(header) + 4096];
        /* its magic is not known here: one packet is sent and read raw */
        assert_int_equal(packet_send(ends[0], &header, &o, 0), 0);
        ssize_t size = recv(ends[1], whole, sizeof(whole), 0); /* without its descriptors */
        assert_true(size > 0 && (size_t)size == sizeof(header) + o.bytes.len);
        for (ssize_t len = 1; len < size; len++) {
            assert_int_equal(send(ends[0], whole, (size_t)len, 0), len);
            int result = packet_receive(ends[1], &got, &in, 0);
            if (len < (ssize_t)sizeof(header)) {
                assert_int_equal(result, -1);
                assert_int_equal(errno, EBADMSG);
                continue;
            }
            assert_int_equal(result, 1);
            assert_false(get_all(&in, big_text()));
            ipc_in_free(&in);
        }
        assert_int_equal(send(ends[0], whole, (size_t)size, 0), size);
        assert_int_equal(packet_receive(ends[1], &got, &in, 0), 1);
        assert_false(get_all(&in, big_text())); /* the descriptors are missing */
        ipc_in_free(&in);
        whole[0] ^= 1;
        assert_int_equal(send(ends[0], whole, (size_t)size, 0), size);
        assert_int_equal(packet_receive(ends[1], &got, &in, 0), -1);
        assert_int_equal(errno, EBADMSG);
    }
    ipc_out_free(&o);
    close(ends[0]);
    close(ends[1]);
    expect_open_files(before);
}

/* Another type than was asked for, and everything after it. */
static void wrong_types(void **state UNUSED)
{
    for (int first = 0; first < 6; first++)
        for (int asked = 0; asked < 6; asked++) {
            struct ipc_out o = {.failed = false};
            struct ipc_in in;
            first == 0   ? ipc_put_bool(&o, true)
            : first == 1 ? ipc_put_u32(&o, 7)
            : first == 2 ? ipc_put_u64(&o, 7)
            : first == 3 ? ipc_put_i64(&o, 7)
            : first == 4 ? ipc_put_str(&o, STR("seven"))
                         : ipc_put_fd(&o, STDIN_FILENO, false);
            ipc_put_u32(&o, 9);
            packet_turn(&o, &in);
            int fd = -1;
            asked == 0   ? (void)ipc_get_bool(&in)
            : asked == 1 ? (void)ipc_get_u32(&in)
            : asked == 2 ? (void)ipc_get_u64(&in)
            : asked == 3 ? (void)ipc_get_i64(&in)
            : asked == 4 ? (void)ipc_get_str(&in, 10)
                         : (void)(fd = ipc_get_fd(&in));
            fd_close(&fd);
            assert_int_equal(in.failed, first != asked);
            assert_int_equal(ipc_get_u32(&in), first == asked ? 9 : 0);
            assert_int_equal(ipc_get_end(&in), first == asked ? 0 : -1);
            ipc_in_free(&in);
        }
    /* a field too many is noticed, too */
    struct ipc_out o = {.failed = false};
    struct ipc_in in;
    ipc_put_u32(&o, 1);
    ipc_put_u32(&o, 2);
    packet_turn(&o, &in);
    assert_int_equal(ipc_get_u32(&in), 1);
    assert_int_equal(ipc_get_end(&in), -1);
    ipc_in_free(&in);
    /* and a bool that is neither */
    in = (struct ipc_in){.rest = STR("b\x02")};
    assert_false(ipc_get_bool(&in));
    assert_int_equal(ipc_get_end(&in), -1);
}

static void oversized(void **state UNUSED)
{
    unsigned before = open_files_settled();
    struct packet_header header = {.kind = PACKET_CALL};
    struct ipc_out o = {.failed = false};
    struct ipc_in in;
    int ends[2];
    assert_int_equal(packet_pair(ends), 0);
    /* longer than the reader takes: inline, and by memfd */
    for (size_t len = 100; len <= IPC_INLINE_MAX + 1; len += IPC_INLINE_MAX - 99) {
        for (int blob = 0; blob < 2; blob++) {
            blob ? ipc_put_blob(&o, str_slice(big_text(), 0, len))
                 : ipc_put_str(&o, str_slice(big_text(), 0, len));
            packet_turn(&o, &in);
            struct str got = blob ? ipc_get_blob(&in, len - 1) : ipc_get_str(&in, len - 1);
            assert_int_equal(got.len, 0);
            assert_int_equal(ipc_get_end(&in), -1);
            ipc_in_free(&in);
        }
    }
    /* more than a packet holds */
    for (int i = 0; i < 3; i++)
        ipc_put_str(&o, str_slice(big_text(), 0, IPC_INLINE_MAX));
    assert_int_equal(packet_send(ends[0], &header, &o, 0), -1);
    assert_int_equal(errno, EMSGSIZE);
    ipc_out_free(&o);
    /* blobs that do not fit any more go by memfd */
    for (int i = 0; i < 3; i++)
        ipc_put_blob(&o, str_slice(big_text(), 0, IPC_INLINE_MAX));
    assert_int_equal(packet_send(ends[0], &header, &o, 0), 0);
    ipc_out_free(&o);
    assert_int_equal(packet_receive(ends[1], &header, &in, 0), 1);
    for (int i = 0; i < 3; i++)
        assert_str(ipc_get_blob(&in, IPC_INLINE_MAX), str_slice(big_text(), 0, IPC_INLINE_MAX));
    assert_int_equal(ipc_get_end(&in), 0);
    ipc_in_free(&in);
    /* more descriptors than there is room for; the ones that were given away are closed */
    for (int i = 0; i <= IPC_FDS_MAX; i++)
        ipc_put_fd(&o, dup(STDIN_FILENO), true);
    assert_true(o.failed);
    ipc_out_free(&o);
    ipc_put_fd(&o, -1, true);
    assert_true(o.failed);
    ipc_out_free(&o);
    /* a length that lies */
    in = (struct ipc_in){.rest = STR("s\xFF\xFF\xFF\xFFxyz")};
    assert_int_equal(ipc_get_str(&in, SIZE_MAX).len, 0);
    assert_true(in.failed);
    static const int64_t lies[] = {-1, 0, 1};
    for (size_t i = 0; i < countof(lies); i++) { /* of a memfd: shorter, right, longer */
        uint64_t len = (uint64_t)(5 + lies[i]);
        char field[9] = {'m'};
        memcpy(field + 1, &len, sizeof(len));
        in = (struct ipc_in){.rest = str_of(field, 9), .fd_count = 1};
        in.fds[0] = memfd_from(STR("12345"), "test");
        struct str got = ipc_get_blob(&in, 100);
        assert_int_equal(got.len, lies[i] == 0 ? 5 : 0);
        assert_int_equal(ipc_get_end(&in), lies[i] == 0 ? 0 : -1);
        ipc_in_free(&in);
    }
    close(ends[0]);
    close(ends[1]);
    expect_open_files(before);
}

/* Errors as they travel. */
static void errors(void **state UNUSED)
{
    for (int class = 0; class <= ERROR_INTERNAL; class ++) {
        struct error e = {.class = (enum error_class) class}, got = {0};
        struct ipc_out o = {.failed = false};
        struct ipc_in in;
        memset(e.text, 't', sizeof(e.text) - 1);
        memset(e.cause, 'c', sizeof(e.cause) - 1);
        packet_put_error(&o, &e);
        struct buf bytes = BUF_INIT(BUF_UNBOUNDED);
        buf_add(&bytes, buf_str(&o.bytes));
        packet_turn(&o, &in);
        packet_get_error(&in, &got);
        ipc_in_free(&in);
        assert_int_equal(got.class, class == ERROR_NONE ? ERROR_INTERNAL : class);
        if (class != ERROR_NONE) {
            assert_string_equal(got.text, e.text);
            assert_string_equal(got.cause, e.cause);
        }
        for (size_t len = 0; len < bytes.len; len++) { /* each cut of it is an error, too */
            in = (struct ipc_in){.rest = str_slice(buf_str(&bytes), 0, len)};
            got = (struct error){.class = ERROR_NONE};
            packet_get_error(&in, &got);
            assert_int_equal(got.class, ERROR_INTERNAL);
        }
        buf_free(&bytes);
    }
}

/* ------------------------------------------------------------------ calls */

static int serve_echo(struct ipc_in *request, struct ipc_out *reply, struct error *e)
{
    uint64_t number = ipc_get_u64(request);
    struct str blob = ipc_get_blob(request, 1 << 20);
    if (ipc_get_end(request) < 0)
        return error_set(e, ERROR_INVALID, "malformed");
    ipc_put_u64(reply, number);
    ipc_put_blob(reply, blob);
    ipc_put_u32(reply, request->caller);
    ipc_put_u32(reply, request->caller_index);
    return 0;
}

static int serve_fail(struct ipc_in *request, struct ipc_out *reply, struct error *e)
{
    if (ipc_get_bool(request)) {
        error_set(e, ERROR_QUOTA, "The mailbox is full");
        return error_cause(e, "for the log");
    }
    ipc_put_u32(reply, 1);
    return -1; /* without saying why */
}

static int serve_slow(struct ipc_in *request, struct ipc_out *reply, struct error *e UNUSED)
{
    usleep(ipc_get_u32(request) * 1000);
    ipc_put_str(reply, STR("late"));
    return 0;
}

/* Reads what the descriptor has, and gives another one back. */
static int serve_fd(struct ipc_in *request, struct ipc_out *reply, struct error *e)
{
    char byte = 0;
    int fd = ipc_get_fd(request);
    if (ipc_get_end(request) < 0 || pread(fd, &byte, 1, 0) != 1) {
        fd_close(&fd);
        return error_set(e, ERROR_INVALID, "malformed");
    }
    fd_close(&fd);
    byte++;
    ipc_put_fd(reply, memfd_from(str_of(&byte, 1), "answer"), true);
    return 0;
}

static int serve_too_big(struct ipc_in *request UNUSED, struct ipc_out *reply,
                         struct error *e UNUSED)
{
    for (int i = 0; i < 3; i++)
        ipc_put_str(reply, str_slice(big_text(), 0, IPC_INLINE_MAX));
    return 0;
}

static int serve_count(struct ipc_in *request, struct ipc_out *reply UNUSED, struct error *e UNUSED)
{
    told += ipc_get_u32(request);
    return 0;
}

/* Connects callers of kind mx, index 3, to the peer core of this process. */
static void peer_connect(void)
{
    int control[2];
    assert_int_equal(packet_pair(control), 0);
    ipc_caller_add(control[1], PROCESS_MX, 3);
    assert_int_equal(ipc_peer_set(PROCESS_CORE, 0, control[0]), 0);
}

static int setup(void **state UNUSED)
{
    static const struct ipc_service rows[] = {
        {ECHO, 1u << PROCESS_MX, serve_echo},         {FAIL, 1u << PROCESS_MX, serve_fail},
        {SLOW, 1u << PROCESS_MX, serve_slow},         {PASS_FD, 1u << PROCESS_MX, serve_fd},
        {TOO_BIG, 1u << PROCESS_MX, serve_too_big},   {COUNT, 1u << PROCESS_MX, serve_count},
        {NOT_FOR_MX, 1u << PROCESS_EDGE, serve_echo},
    };
    for (size_t i = 0; i < sizeof(big); i++)
        big[i] = (char)(i * 7);
    log_set_level(LOG_ERROR);
    ipc_serve(rows, countof(rows));
    workers_start(4, true);
    return 0;
}

static int teardown(void **state UNUSED)
{
    assert_int_equal(workers_stop(5000), 0);
    return 0;
}

static int call_echo(uint64_t number, struct str blob, struct error *e)
{
    struct ipc_out request = {.failed = false};
    struct ipc_in reply;
    ipc_put_u64(&request, number);
    ipc_put_blob(&request, blob);
    if (ipc_call(PROCESS_CORE, 0, ECHO, &request, 5000, &reply, e) < 0)
        return -1;
    bool same = ipc_get_u64(&reply) == number;
    same &= str_equal(ipc_get_blob(&reply, 1 << 20), blob);
    same &= ipc_get_u32(&reply) == PROCESS_MX && ipc_get_u32(&reply) == 3;
    same &= ipc_get_end(&reply) == 0;
    ipc_in_free(&reply);
    return same ? 0 : error_set(e, ERROR_CORRUPT, "another answer");
}

static enum error_class call_class(enum ipc_method method, bool field, struct error *e)
{
    struct ipc_out request = {.failed = false};
    struct ipc_in reply;
    *e = (struct error){.class = ERROR_NONE};
    ipc_put_bool(&request, field);
    if (ipc_call(PROCESS_CORE, 0, method, &request, 5000, &reply, e) == 0)
        ipc_in_free(&reply);
    return e->class;
}

static void calls(void **state UNUSED)
{
    struct error e = {0};
    assert_int_equal(ipc_peer_set(PROCESS_KIND_COUNT, 0, -1), -1);
    assert_int_equal(ipc_peer_set(PROCESS_CORE, IPC_PEERS_MAX, -1), -1);
    assert_int_equal(call_echo(1, TEXT, &e), -1); /* nobody is there yet */
    assert_int_equal(e.class, ERROR_TEMPORARY);
    peer_connect();
    assert_int_equal(call_echo(1, TEXT, &e), 0);
    unsigned before = open_files_settled();
    assert_int_equal(call_echo(UINT64_MAX, STR(""), &e), 0);
    assert_int_equal(call_echo(2, big_text(), &e), 0);
    assert_int_equal(call_class(FAIL, true, &e), ERROR_QUOTA);
    assert_string_equal(e.text, "The mailbox is full");
    assert_string_equal(e.cause, "for the log");
    assert_int_equal(call_class(FAIL, false, &e), ERROR_INTERNAL);
    assert_int_equal(call_class(ECHO, true, &e), ERROR_INVALID); /* another type of field */
    assert_int_equal(call_class(NOT_FOR_MX, true, &e), ERROR_DENIED);
    assert_int_equal(call_class(NOT_SERVED, true, &e), ERROR_DENIED);
    assert_int_equal(call_class(65535, true, &e), ERROR_DENIED);
    assert_int_equal(call_class(TOO_BIG, true, &e), ERROR_INTERNAL);
    struct ipc_out request = {.failed = false};
    struct ipc_in reply;
    for (int i = 0; i < 3; i++) /* a request that fits no packet is never sent */
        ipc_put_str(&request, str_slice(big_text(), 0, IPC_INLINE_MAX));
    assert_int_equal(ipc_call(PROCESS_CORE, 0, ECHO, &request, 0, &reply, &e), -1);
    assert_int_equal(e.class, ERROR_INTERNAL);
    assert_int_equal(call_echo(3, TEXT, &e), 0); /* and the connection is as it was */
    for (uint32_t i = 1; i <= 100; i++) {
        ipc_put_u32(&request, i);
        ipc_tell(PROCESS_CORE, 0, COUNT, &request);
    }
    assert_int_equal(call_echo(4, TEXT, &e),
                     0); /* the calls of a thread are served in their order */
    assert_int_equal(told, 5050);
    expect_open_files(before);
}

static void descriptors(void **state UNUSED)
{
    struct error e = {0};
    peer_connect();
    assert_int_equal(call_echo(1, TEXT, &e), 0);
    unsigned before = open_files_settled();
    for (int take = 0; take < 2; take++) {
        struct ipc_out request = {.failed = false};
        struct ipc_in reply;
        char byte = 0;
        int fd = memfd_from(STR("x"), "test");
        ipc_put_fd(&request, fd, take);
        assert_int_equal(ipc_call(PROCESS_CORE, 0, PASS_FD, &request, 0, &reply, &e), 0);
        assert_int_equal(fcntl(fd, F_GETFD) >= 0, !take); /* taken: closed here */
        if (!take)
            close(fd);
        int answer = ipc_get_fd(&reply);
        assert_int_equal(ipc_get_end(&reply), 0);
        assert_int_equal(pread(answer, &byte, 1, 0), 1);
        assert_int_equal(byte, 'y');
        assert_true(fcntl(answer, F_GETFD) & FD_CLOEXEC);
        close(answer);
        ipc_in_free(&reply);
    }
    for (int i = 0; i < 3; i++) { /* more than the method takes: refused, and closed there */
        struct ipc_out request = {.failed = false};
        struct ipc_in reply;
        for (int k = 0; k <= i; k++)
            ipc_put_fd(&request, STDIN_FILENO, false);
        ipc_put_u32(&request, 1);
        assert_int_equal(ipc_call(PROCESS_CORE, 0, PASS_FD, &request, 0, &reply, &e), -1);
        assert_int_equal(e.class, ERROR_INVALID);
    }
    expect_open_files(before);
}

/* ------------------------------------------------------------------ many at a time */

enum { CALLERS = 24, CALLS = 100 };

static void *caller_main(void *failures)
{
    for (uint64_t i = 0; i < CALLS; i++) {
        struct error e;
        uint64_t number = (uint64_t)pthread_self() + i;
        struct str blob = i % 10 == 0 ? big_text() : str_of(&number, sizeof(number));
        if (call_echo(number, blob, &e) < 0)
            (*(_Atomic unsigned *)failures)++;
    }
    return NULL;
}

/* Each thread gets its own answers, and its connection ends with it. */
static void many_calls(void **state UNUSED)
{
    static _Atomic unsigned failures;
    pthread_t threads[CALLERS];
    struct error e;
    peer_connect();
    assert_int_equal(call_echo(1, TEXT, &e), 0);
    unsigned before = open_files_settled();
    for (size_t i = 0; i < CALLERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, caller_main, (void *)&failures), 0);
    for (size_t i = 0; i < CALLERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(failures, 0);
    expect_open_files(before);
}

/* An answer that comes after its time is never taken for another one's. */
static void late_answer(void **state UNUSED)
{
    struct ipc_out request = {.failed = false};
    struct ipc_in reply;
    struct error e;
    peer_connect();
    ipc_put_u32(&request, 300);
    int64_t start = clock_monotonic_ms();
    assert_int_equal(ipc_call(PROCESS_CORE, 0, SLOW, &request, 50, &reply, &e), -1);
    assert_int_equal(e.class, ERROR_TEMPORARY);
    assert_in_range(clock_monotonic_ms() - start, 45, 280);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(call_echo((uint64_t)i, TEXT, &e), 0);
        usleep(80000);
    }
}

/* ------------------------------------------------------------------ a peer that breaks */

/* Plays the called process on the other end of a control socket, as a script says: a letter per request. */
struct false_peer {
    int control;
    const char *script;
    unsigned requests; /* seen */
    pthread_t thread;
};

static int false_peer_answer(int end, char what, struct packet_header header)
{
    struct ipc_out o = {.failed = false};
    ipc_put_u64(&o, 5);
    ipc_put_blob(&o, TEXT);
    ipc_put_u32(&o, PROCESS_MX);
    ipc_put_u32(&o, 3);
    header.kind = PACKET_REPLY;
    if (what == 's') /* another question's answer */
        header.sequence++;
    if (what == 'k')
        header.kind = PACKET_CALL;
    if (what == 'c') /* cut in the middle of a field */
        o.bytes.len -= 3;
    if (what == 'e') { /* no fields at all where an error's should be */
        header.kind = PACKET_ERROR;
        o.bytes.len = 0;
    }
    int result = what == 'g' ? (int)send(end, "garbage", 7, 0) : packet_send(end, &header, &o, 0);
    ipc_out_free(&o);
    return result;
}

static void *false_peer_main(void *argument)
{
    struct false_peer *p = argument;
    struct packet_header header;
    struct ipc_in in;
    int end = -1;
    for (const char *what = p->script; *what; what++) {
        if (end < 0) {
            if (packet_receive(p->control, &header, &in, 0) != 1)
                break;
            end = ipc_get_fd(&in);
            ipc_in_free(&in);
        }
        if (*what ==
            'u') { /* dies without having read it: the request has come, then the end goes */
            struct packet_header unread;
            recv(end, &unread, sizeof(unread), MSG_PEEK);
            fd_close(&end);
            continue;
        }
        int got = packet_receive(end, &header, &in, 0);
        if (got == 0) { /* the caller gave this connection up: the request comes over the next */
            fd_close(&end);
            what--;
            continue;
        }
        if (got < 0)
            break;
        ipc_in_free(&in);
        p->requests++;
        if (*what == 'd') /* dies over it */
            fd_close(&end);
        else
            false_peer_answer(end, *what, header);
    }
    fd_close(&end);
    fd_close(&p->control);
    return NULL;
}

static void broken_peers(void **state UNUSED)
{
    static const struct {
        const char *script;
        unsigned requests;       /* that the peer has seen in the end */
        enum error_class class1; /* of the first call; ERROR_NONE: it succeeds */
    } rows[] = {
        {"o", 1, ERROR_NONE},       {"do", 1, ERROR_TEMPORARY}, /* was perhaps executed: never sent again */
        {"uo", 1, ERROR_NONE},      /* was certainly not: sent once more */
        {"uu", 0, ERROR_TEMPORARY}, /* but not for ever */
        {"s", 1, ERROR_TEMPORARY},  {"k", 1, ERROR_TEMPORARY},  {"g", 1, ERROR_TEMPORARY},
        {"c", 1, ERROR_CORRUPT}, /* call_echo's own word */
        {"e", 1, ERROR_INTERNAL},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct false_peer p = {.script = rows[i].script};
        struct error e = {.class = ERROR_NONE};
        int control[2];
        unsigned before = open_files_settled();
        assert_int_equal(packet_pair(control), 0);
        p.control = control[1];
        assert_int_equal(ipc_peer_set(PROCESS_SCAN, (unsigned)i, control[0]), 0);
        assert_int_equal(pthread_create(&p.thread, NULL, false_peer_main, &p), 0);
        struct ipc_out request = {.failed = false};
        struct ipc_in reply;
        ipc_put_u64(&request, 5);
        ipc_put_blob(&request, TEXT);
        int result = ipc_call(PROCESS_SCAN, (unsigned)i, ECHO, &request, 2000, &reply, &e);
        if (result == 0) {
            bool same = ipc_get_u64(&reply) == 5 && str_equal(ipc_get_blob(&reply, 100), TEXT);
            same &= ipc_get_u32(&reply) == PROCESS_MX && ipc_get_u32(&reply) == 3;
            e.class = ipc_get_end(&reply) < 0 || !same ? ERROR_CORRUPT : ERROR_NONE;
            ipc_in_free(&reply);
        }
        if (e.class != rows[i].class1)
            fail_msg("%s: %s %s", rows[i].script, e.text, e.cause);
        assert_int_equal(ipc_peer_set(PROCESS_SCAN, (unsigned)i, -1), 0); /* it is gone */
        pthread_join(p.thread, NULL);
        assert_int_equal(p.requests, rows[i].requests);
        /* soon said, and nothing hangs */
        ipc_put_u64(&request, 5);
        assert_int_equal(ipc_call(PROCESS_SCAN, (unsigned)i, ECHO, &request, 2000, &reply, &e), -1);
        assert_int_equal(e.class, ERROR_TEMPORARY);
        ipc_put_u64(&request, 5);
        ipc_tell(PROCESS_SCAN, (unsigned)i, ECHO, &request);
        expect_open_files(before);
    }
}

/* A new process in the old one's place: the next call of each thread finds it. */
static void replaced(void **state UNUSED)
{
    struct error e;
    for (int i = 0; i < 20; i++) {
        peer_connect();
        assert_int_equal(call_echo((uint64_t)i, TEXT, &e), 0);
        assert_int_equal(call_echo((uint64_t)i, big_text(), &e), 0);
    }
}

/* ------------------------------------------------------------------ a caller that breaks */

/* What a served process must bear from its callers: it hangs up, and serves the others. */
static void broken_callers(void **state UNUSED)
{
    struct packet_header call = {.kind = PACKET_CALL, .method = ECHO}, answer;
    struct ipc_out o = {.failed = false}, whole = {.failed = false};
    struct ipc_in in;
    struct error e;
    int control[2], ends[2], files[2];
    peer_connect();
    assert_int_equal(call_echo(1, TEXT, &e), 0);
    unsigned before = open_files_settled();
    ipc_put_u64(&whole, 1);
    ipc_put_blob(&whole, TEXT);
    for (size_t len = 0; len <= whole.bytes.len; len++) { /* each cut of a request */
        assert_int_equal(packet_pair(control), 0);
        ipc_caller_add(control[1], PROCESS_MX, 0);
        assert_int_equal(packet_pair(ends), 0);
        ipc_put_fd(&o, ends[1], true);
        assert_int_equal(packet_send(control[0], &call, &o, 0), 0);
        ipc_out_free(&o);
        size_t all = whole.bytes.len;
        whole.bytes.len = len;
        assert_int_equal(packet_send(ends[0], &call, &whole, 0), 0);
        whole.bytes.len = all;
        assert_int_equal(packet_receive(ends[0], &answer, &in, 0), 1);
        assert_int_equal(answer.kind, len == all ? PACKET_REPLY : PACKET_ERROR);
        ipc_in_free(&in);
        if (len % 2) { /* no request at all: hung up */
            call.kind = len % 4 == 1 ? PACKET_REPLY : 77;
            assert_int_equal(packet_send(ends[0], &call, &whole, 0), 0);
            call.kind = PACKET_CALL;
        } else {
            assert_int_equal(send(ends[0], "garbage", 7, 0), 7);
        }
        int got = packet_receive(ends[0], &answer, &in, 0);
        assert_true(got == 0 || (got < 0 && errno == ECONNRESET));
        close(ends[0]);
        close(control[0]);
    }
    ipc_out_free(&whole);
    /* over the control socket: what is no end is closed, and the next one is taken */
    assert_int_equal(packet_pair(control), 0);
    ipc_caller_add(control[1], PROCESS_MX, 0);
    assert_int_equal(pipe2(files, O_CLOEXEC), 0);
    ipc_put_fd(&o, files[1], true);
    assert_int_equal(packet_send(control[0], &call, &o, 0), 0);
    ipc_out_free(&o);
    char byte;
    assert_int_equal(read(files[0], &byte, 1), 0); /* its other end was closed there */
    close(files[0]);
    ipc_put_u32(&o, 1);
    assert_int_equal(packet_send(control[0], &call, &o, 0), 0); /* no descriptor */
    ipc_out_free(&o);
    assert_int_equal(packet_pair(ends), 0);
    ipc_put_fd(&o, ends[1], true);
    assert_int_equal(packet_send(control[0], &call, &o, 0), 0);
    ipc_out_free(&o);
    close(control[0]); /* the ends outlive it */
    ipc_put_u64(&o, 1);
    ipc_put_blob(&o, TEXT);
    assert_int_equal(packet_send(ends[0], &call, &o, 0), 0);
    ipc_out_free(&o);
    assert_int_equal(packet_receive(ends[0], &answer, &in, 0), 1);
    assert_int_equal(answer.kind, PACKET_REPLY);
    ipc_in_free(&in);
    close(ends[0]);
    assert_int_equal(call_echo(2, TEXT, &e), 0);
    expect_open_files(before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),  cmocka_unit_test(truncations),
        cmocka_unit_test(wrong_types), cmocka_unit_test(oversized),
        cmocka_unit_test(errors),      cmocka_unit_test(calls),
        cmocka_unit_test(descriptors), cmocka_unit_test(many_calls),
        cmocka_unit_test(late_answer), cmocka_unit_test(broken_peers),
        cmocka_unit_test(replaced),    cmocka_unit_test(broken_callers),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
