/* ipc_packet.c - typed fields in packets, and packets on sockets. See ipc.h and ipc_packet.h.
 *
 * A field is one letter and its value: numbers in the machine's own order (both ends are the same
 * program on the same machine), text with a 32-bit length in front. The letter is checked, so a
 * caller and a callee that disagree find out at the first field.
 */
#include "run/ipc_packet.h"

#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define PACKET_MAGIC 0x31545350u /* "PST1" */

enum field {
    FIELD_BOOL = 'b',
    FIELD_U32 = 'w',
    FIELD_U64 = 'q',
    FIELD_I64 = 'i',
    FIELD_STR = 's',
    FIELD_BLOB = 'm', /* length, and the bytes come by memfd */
    FIELD_FD = 'f',
};

/* ------------------------------------------------------------------------------- writing */

static void put_bytes(struct ipc_out *o, enum field field, const void *data, size_t len)
{
    if (o->bytes.max == 0) /* zero-initialised: the first field */
        buf_init(&o->bytes, IPC_PACKET_MAX - sizeof(struct packet_header));
    if (buf_add_char(&o->bytes, (char)field) < 0 ||
        (len && buf_add_bytes(&o->bytes, data, len) < 0))
        o->failed = true;
}

static void put_descriptor(struct ipc_out *o, int fd, bool own)
{
    if (o->fd_count == IPC_FDS_MAX) {
        o->failed = true;
        if (own)
            fd_close(&fd);
        return;
    }
    o->owned[o->fd_count] = own;
    o->fds[o->fd_count++] = fd;
}

void ipc_out_free(struct ipc_out *o)
{
    for (unsigned i = 0; i < o->fd_count; i++)
        if (o->owned[i])
            fd_close(&o->fds[i]);
    buf_free(&o->bytes);
    *o = (struct ipc_out){.failed = false};
}

void ipc_put_bool(struct ipc_out *o, bool value)
{
    char byte = value;
    put_bytes(o, FIELD_BOOL, &byte, 1);
}

void ipc_put_u32(struct ipc_out *o, uint32_t value)
{
    put_bytes(o, FIELD_U32, &value, sizeof(value));
}

void ipc_put_u64(struct ipc_out *o, uint64_t value)
{
    put_bytes(o, FIELD_U64, &value, sizeof(value));
}

void ipc_put_i64(struct ipc_out *o, int64_t value)
{
    put_bytes(o, FIELD_I64, &value, sizeof(value));
}

void ipc_put_str(struct ipc_out *o, struct str value)
{
    uint32_t len = (uint32_t)MIN(value.len, (size_t)IPC_PACKET_MAX);
    put_bytes(o, FIELD_STR, &len, sizeof(len));
    if (buf_add(&o->bytes, value) < 0)
        o->failed = true;
}

void ipc_put_blob(struct ipc_out *o, struct str value)
{
    if (value.len <= IPC_INLINE_MAX &&
        o->bytes.len + value.len + 64 < IPC_PACKET_MAX - sizeof(struct packet_header)) {
        ipc_put_str(o, value);
        return;
    }
    uint64_t len = value.len;
    int fd = memfd_from(value, "blob");
    put_bytes(o, FIELD_BLOB, &len, sizeof(len));
    if (fd < 0)
        o->failed = true;
    else
        put_descriptor(o, fd, true);
}

void ipc_put_fd(struct ipc_out *o, int fd, bool take)
{
    put_bytes(o, FIELD_FD, NULL, 0);
    if (fd < 0)
        o->failed = true;
    else
        put_descriptor(o, fd, take);
}

/* ------------------------------------------------------------------------------- reading */

/* Takes a field of this type with len bytes off the front; false makes all further gets fail. */
static bool get_bytes(struct ipc_in *in, enum field field, void *out, size_t len)
{
    if (in->failed || in->rest.len < 1 + len || in->rest.data[0] != (char)field) {
        in->failed = true;
        return false;
    }
    if (len)
        memcpy(out, in->rest.data + 1, len);
    in->rest = str_from_pos(in->rest, 1 + len);
    return true;
}

void ipc_in_free(struct ipc_in *in)
{
    for (unsigned i = in->fd_next; i < in->fd_count; i++)
        fd_close(&in->fds[i]);
    mem_free(in->packet);
    arena_free(&in->arena);
    *in = (struct ipc_in){.failed = false};
}

bool ipc_get_bool(struct ipc_in *in)
{
    char byte = 0;
    if (get_bytes(in, FIELD_BOOL, &byte, 1) && byte != 0 && byte != 1)
        in->failed = true;
    return byte == 1;
}

uint32_t ipc_get_u32(struct ipc_in *in)
{
    uint32_t value = 0;
    get_bytes(in, FIELD_U32, &value, sizeof(value));
    return value;
}

uint64_t ipc_get_u64(struct ipc_in *in)
{
    uint64_t value = 0;
    get_bytes(in, FIELD_U64, &value, sizeof(value));
    return value;
}

int64_t ipc_get_i64(struct ipc_in *in)
{
    int64_t value = 0;
    get_bytes(in, FIELD_I64, &value, sizeof(value));
    return value;
}

struct str ipc_get_str(struct ipc_in *in, size_t max)
{
    uint32_t len = 0;
    if (!get_bytes(in, FIELD_STR, &len, sizeof(len)) || len > in->rest.len || len > max) {
        in->failed = true;
        return STR("");
    }
    struct str value = str_slice(in->rest, 0, len);
    in->rest = str_from_pos(in->rest, len);
    return value;
}

/* The memfd is read, not mapped: what the sender does to it later changes nothing here, whether it is
 * sealed or not. */
static int blob_read(int fd, size_t len, struct arena *arena, struct str *out)
{
    struct stat st;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size < 0 || (size_t)st.st_size != len)
        return -1;
    char *data = arena_alloc(arena, MAX(len, (size_t)1));
    for (size_t done = 0; done < len;) {
        ssize_t n = pread(fd, data + done, len - done, (off_t)done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return -1;
        done += (size_t)n;
    }
    *out = str_of(data, len);
    return 0;
}

struct str ipc_get_blob(struct ipc_in *in, size_t max)
{
    if (in->failed || in->rest.len == 0 || in->rest.data[0] != FIELD_BLOB)
        return ipc_get_str(in, max);
    uint64_t len = 0;
    struct str value = STR("");
    if (!get_bytes(in, FIELD_BLOB, &len, sizeof(len)) || in->fd_next == in->fd_count) {
        in->failed = true;
        return value;
    }
    int fd CLEANUP(fd_close) = in->fds[in->fd_next++];
    if (len > max || blob_read(fd, (size_t)len, &in->arena, &value) < 0)
        in->failed = true;
    return value;
}

int ipc_get_fd(struct ipc_in *in)
{
    if (!get_bytes(in, FIELD_FD, NULL, 0))
        return -1;
    if (in->fd_next == in->fd_count) {
        in->failed = true;
        return -1;
    }
    return in->fds[in->fd_next++];
}

int ipc_get_end(struct ipc_in *in)
{
    if (in->rest.len || in->fd_next < in->fd_count)
        in->failed = true;
    return in->failed ? -1 : 0;
}

void packet_put_error(struct ipc_out *o, const struct error *e)
{
    ipc_out_free(o);
    ipc_put_u32(o, (uint32_t)e->class);
    ipc_put_str(o, str_of(e->text, strnlen(e->text, sizeof(e->text))));
    ipc_put_str(o, str_of(e->cause, strnlen(e->cause, sizeof(e->cause))));
}

void packet_get_error(struct ipc_in *in, struct error *e)
{
    struct error ignored;
    e = e ? e : &ignored;
    uint32_t class = ipc_get_u32(in);
    struct str text = ipc_get_str(in, sizeof(e->text) - 1);
    struct str cause = ipc_get_str(in, sizeof(e->cause) - 1);
    if (ipc_get_end(in) < 0 || class == ERROR_NONE || class > ERROR_INTERNAL) {
        error_set(e, ERROR_INTERNAL, "internal error");
        error_cause(e, "malformed error from another process");
        return;
    }
    error_set(e, (enum error_class) class, STR_FMT, STR_ARG(text));
    error_cause(e, STR_FMT, STR_ARG(cause));
}

void packet_turn(struct ipc_out *o, struct ipc_in *in)
{
    *in = (struct ipc_in){.rest = buf_str(&o->bytes), .packet = o->bytes.data, .failed = o->failed};
    for (unsigned i = 0; i < o->fd_count; i++) {
        int fd = o->owned[i] ? o->fds[i] : dup(o->fds[i]);
        if (fd < 0)
            in->failed = true;
        else
            in->fds[in->fd_count++] = fd;
        o->owned[i] = false;
    }
    o->bytes.data = NULL;
    ipc_out_free(o);
}

/* ------------------------------------------------------------------------------- sockets */

int packet_pair(int ends[static 2])
{
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends);
}

union descriptors {
    char bytes[CMSG_SPACE(sizeof(int) * IPC_FDS_MAX)];
    struct cmsghdr align;
};

int packet_send(int fd, const struct packet_header *header, const struct ipc_out *o, int flags)
{
    if (o->failed || o->bytes.failed) {
        errno = EMSGSIZE;
        return -1;
    }
    struct packet_header sent = *header;
    sent.magic = PACKET_MAGIC;
    struct iovec parts[2] = {{&sent, sizeof(sent)}, {o->bytes.data, o->bytes.len}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    union descriptors control;
    if (o->fd_count) {
        memset(&control, 0, sizeof(control));
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * o->fd_count);
        struct cmsghdr *c = CMSG_FIRSTHDR(&message);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * o->fd_count);
        memcpy(CMSG_DATA(c), o->fds, sizeof(int) * o->fd_count);
    }
    ssize_t n;
    do
        n = sendmsg(fd, &message, flags | MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -1 : 0;
}

/* Where packets are received, one per thread; what came is copied out in its real size. */
static pthread_key_t room_key;
static pthread_once_t room_once = PTHREAD_ONCE_INIT;

static void room_key_make(void)
{
    if (pthread_key_create(&room_key, mem_free) != 0)
        fatal("pthread_key_create");
}

static char *receive_room(void)
{
    static _Thread_local char *room;
    if (!room) {
        pthread_once(&room_once, room_key_make);
        room = mem_alloc(IPC_PACKET_MAX);
        pthread_setspecific(room_key, room);
    }
    return room;
}

static void descriptors_take(struct msghdr *message, struct ipc_in *in)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
            if (in->fd_count < IPC_FDS_MAX)
                in->fds[in->fd_count++] = fd;
            else
                fd_close(&fd);
        }
    }
}

int packet_receive(int fd, struct packet_header *header, struct ipc_in *in, int flags)
{
    char *room = receive_room();
    struct iovec part = {room, IPC_PACKET_MAX};
    union descriptors control;
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof(control.bytes)};
    ssize_t n;
    do
        n = recvmsg(fd, &message, flags | MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -1;
    *in = (struct ipc_in){.failed = false};
    descriptors_take(&message, in);
    if (n == 0 && in->fd_count == 0)
        return 0; /* no packet of ours is empty */
    if ((size_t)n >= sizeof(*header))
        memcpy(header, room, sizeof(*header));
    if ((size_t)n < sizeof(*header) || message.msg_flags & (MSG_TRUNC | MSG_CTRUNC) ||
        header->magic != PACKET_MAGIC) {
        ipc_in_free(in);
        errno = EBADMSG;
        return -1;
    }
    size_t len = (size_t)n - sizeof(*header);
    in->packet = mem_alloc(len);
    memcpy(in->packet, room + sizeof(*header), len);
    in->rest = str_of(in->packet, len);
    return 1;
}
