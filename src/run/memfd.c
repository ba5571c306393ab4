/* memfd.c - sealed memory files: how messages, summaries and PEM texts travel between processes.
 *
 * The receiver maps a file that somebody else made, so it checks that all the seals are there: then
 * nobody can change the bytes under it, or shrink the file so that a read gets SIGBUS.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "run/ipc.h"

enum { SEALS = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE, COPY_MAX = 64 * 1024 };

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U /* since Linux 6.3 */
#endif

int memfd_make(const char *name)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
    if (fd < 0 && errno == EINVAL)
        fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    return fd;
}

int memfd_seal(int fd)
{
    return fcntl(fd, F_ADD_SEALS, SEALS);
}

int memfd_from(struct str data, const char *name)
{
    int fd = memfd_make(name);
    if (fd >= 0 && (fd_write_all(fd, data.data, data.len) < 0 || memfd_seal(fd) < 0))
        fd_close(&fd);
    return fd;
}

/* Copying a few pages costs less than mapping them: unmapping interrupts the other processors. */
static void *copied(int fd, size_t size)
{
    char *data = mem_alloc(size);
    size_t done = 0;
    while (done < size) {
        ssize_t n = pread(fd, data + done, size - done, (off_t)done);
        if (n <= 0) {
            mem_free(data);
            return NULL;
        }
        done += (size_t)n;
    }
    return data;
}

/* Private, since kernels before 6.7 map no write-sealed file shared; the pages are the same. */
static void *mapped_privately(int fd, size_t size)
{
    void *data = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    return data == MAP_FAILED ? NULL : data;
}

int memfd_map(int fd, size_t max, struct str *out)
{
    struct stat st;
    int seals = fcntl(fd, F_GET_SEALS); /* fails for what is no memfd */
    if (seals < 0 || fstat(fd, &st) < 0)
        return -1;
    if ((seals & SEALS) != SEALS || st.st_size < 0 || (uint64_t)st.st_size > max) {
        errno = (seals & SEALS) != SEALS ? EPERM : EFBIG;
        return -1;
    }
    if (st.st_size == 0) {
        *out = STR("");
        return 0;
    }
    size_t size = (size_t)st.st_size;
    void *data = size <= COPY_MAX ? copied(fd, size) : mapped_privately(fd, size);
    if (!data)
        return -1;
    *out = str_of(data, size);
    return 0;
}

void memfd_unmap(struct str *mapped)
{
    void *data = (void *)(uintptr_t)mapped->data;
    if (mapped->len > COPY_MAX)
        munmap(data, mapped->len);
    else if (mapped->len)
        mem_free(data);
    *mapped = STR("");
}
