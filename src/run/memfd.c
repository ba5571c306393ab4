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

enum { SEALS = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE };

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
    /* Private, since kernels before 6.7 map no write-sealed file shared; the pages are the same. */
    void *data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED)
        return -1;
    *out = str_of(data, (size_t)st.st_size);
    return 0;
}

void memfd_unmap(struct str *mapped)
{
    if (mapped->len)
        munmap((void *)(uintptr_t)mapped->data, mapped->len);
    *mapped = STR("");
}
