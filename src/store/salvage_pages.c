/* salvage_pages.c - pages of a database file, read without SQLite. See salvage_pages.h. */
#include "store/salvage_pages.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    HEADER_SIZE = 100, /* of the file, in page 1 */
    LOG_HEADER = 32,
    FRAME_HEADER = 24,
    PAGES_MAX = 1 << 30,
    PAYLOAD_MAX = 128 << 20, /* no row of ours is larger */
    MAP_ENTRY = 5,
    MAP_ROOT = 1,
    MAP_FREE = 2,
    MAP_TREE = 5,
};

static int read_at(int fd, uint64_t offset, void *room, size_t size)
{
    char *to = room;
    for (size_t done = 0; done < size;) {
        ssize_t n = pread(fd, to + done, size - done, (off_t)(offset + done));
        if (n <= 0)
            return -1;
        done += (size_t)n;
    }
    return 0;
}

static bool page_size_valid(uint32_t size)
{
    return size >= 512 && size <= 65536 && (size & (size - 1)) == 0;
}

/* ------------------------------------------------------------------ the write-ahead log */

struct checksum {
    uint32_t a, b;
    bool big_endian;
};

static void checksum_add(struct checksum *c, const unsigned char *data, size_t size)
{
    for (size_t i = 0; i + 8 <= size; i += 8) {
        uint32_t words[2];
        for (int k = 0; k < 2; k++) {
            uint32_t word = number32(data + i + 4 * k);
            words[k] = c->big_endian ? word : __builtin_bswap32(word);
        }
        c->a += words[0] + c->b;
        c->b += words[1] + c->a;
    }
}

static bool checksum_is(const struct checksum *c, const unsigned char *at)
{
    return c->a == number32(at) && c->b == number32(at + 4);
}

/* The header of the log. False: there is nothing in it. */
static bool log_open(const struct pages *p, uint32_t *page_size, struct checksum *sum,
                     unsigned char header[static LOG_HEADER])
{
    if (p->log < 0 || read_at(p->log, 0, header, LOG_HEADER) < 0 ||
        (number32(header) & ~1u) != 0x377F0682)
        return false;
    *sum = (struct checksum){.big_endian = (number32(header) & 1) != 0};
    checksum_add(sum, header, 24);
    *page_size = number32(header + 8);
    return checksum_is(sum, header + 24) && page_size_valid(*page_size);
}

static void in_log_grow(struct pages *p, uint32_t *capacity, uint32_t number)
{
    if (number < *capacity)
        return;
    uint32_t before = *capacity;
    *capacity = MAX(number + 1, *capacity * 2);
    p->in_log = mem_resize(p->in_log, *capacity, sizeof(*p->in_log));
    memset(p->in_log + before, 0, (*capacity - before) * sizeof(*p->in_log));
}

/* Frames count up to the last one that ends a transaction, each of which is checked against all before. */
static void log_read(struct pages *p)
{
    unsigned char header[LOG_HEADER], frame[FRAME_HEADER];
    struct checksum sum;
    uint32_t page_size, capacity = p->count + 1;
    if (!log_open(p, &page_size, &sum, header) || page_size != p->size)
        return;
    struct {
        uint32_t *pages;
        uint64_t *offsets;
        size_t count, room;
    } open = {0}; /* of the transaction that is being read */
    unsigned char *data = mem_alloc(p->size);
    for (uint64_t at = LOG_HEADER; read_at(p->log, at, frame, FRAME_HEADER) == 0 &&
                                   read_at(p->log, at + FRAME_HEADER, data, p->size) == 0;
         at += FRAME_HEADER + p->size) {
        uint32_t number = number32(frame), commit = number32(frame + 4);
        checksum_add(&sum, frame, 8);
        checksum_add(&sum, data, p->size);
        if (memcmp(frame + 8, header + 16, 8) != 0 || !checksum_is(&sum, frame + 16) ||
            number == 0 || number > PAGES_MAX)
            break;
        if (open.count == open.room) {
            open.room = open.room ? open.room * 2 : 64;
            open.pages = mem_resize(open.pages, open.room, sizeof(*open.pages));
            open.offsets = mem_resize(open.offsets, open.room, sizeof(*open.offsets));
        }
        open.pages[open.count] = number;
        open.offsets[open.count++] = at + FRAME_HEADER;
        if (!commit)
            continue;
        for (size_t i = 0; i < open.count; i++) {
            in_log_grow(p, &capacity, open.pages[i]);
            p->in_log[open.pages[i]] = open.offsets[i];
        }
        open.count = 0;
        p->count = MIN(commit, (uint32_t)PAGES_MAX);
        in_log_grow(p, &capacity, p->count);
    }
    mem_free(data);
    mem_free(open.pages);
    mem_free(open.offsets);
}

/* ------------------------------------------------------------------ opening and reading */

int pages_open(struct pages *p, const char *path, const char *log_path)
{
    unsigned char header[LOG_HEADER];
    struct checksum sum;
    struct stat st;
    *p = (struct pages){.file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW), .log = -1};
    if (p->file < 0 || fstat(p->file, &st) < 0) {
        pages_close(p);
        return -1;
    }
    p->log = open(log_path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    uint32_t size = 0;
    if (read_at(p->file, 0, header, 24) == 0)
        size = number16(header + 16) == 1 ? 65536 : number16(header + 16);
    if (!page_size_valid(size) && !log_open(p, &size, &sum, header))
        size = 4096; /* what ours are made with */
    /* Bytes at each page's end that are not used: none in files of ours. */
    p->size = p->usable = size;
    p->count = (uint32_t)MIN((uint64_t)st.st_size / size, (uint64_t)PAGES_MAX);
    p->in_log = mem_alloc_array((size_t)p->count + 1, sizeof(*p->in_log));
    p->map = mem_alloc(size);
    log_read(p);
    return 0;
}

void pages_close(struct pages *p)
{
    fd_close(&p->file);
    fd_close(&p->log);
    mem_free(p->in_log);
    mem_free(p->map);
    *p = (struct pages){.file = -1, .log = -1};
}

int page_read(const struct pages *p, uint32_t number, unsigned char *room)
{
    if (number == 0 || number > p->count)
        return -1;
    return p->in_log[number] ? read_at(p->log, p->in_log[number], room, p->size)
                             : read_at(p->file, (uint64_t)(number - 1) * p->size, room, p->size);
}

/* ------------------------------------------------------------------ which pages are whose */

/* The pointer map: one page in so many has an entry for each of those behind it. */
static int map_entry(struct pages *p, uint32_t number, uint32_t *parent)
{
    uint32_t group = p->usable / MAP_ENTRY + 1;
    if (number < 3 || number > p->count)
        return -1;
    uint32_t map = (number - 2) / group * group + 2, offset = MAP_ENTRY * (number - map - 1);
    if (number == map)
        return -1;
    if (p->map_page != map && page_read(p, map, p->map) < 0)
        return -1;
    p->map_page = map;
    *parent = number32(p->map + offset + 1);
    return p->map[offset];
}

int64_t page_parent(struct pages *p, uint32_t number)
{
    uint32_t parent;
    int type = map_entry(p, number, &parent);
    return type == MAP_ROOT ? 0 : type == MAP_TREE && parent ? (int64_t)parent : -1;
}

bool page_is_free(struct pages *p, uint32_t number)
{
    uint32_t parent;
    return map_entry(p, number, &parent) == MAP_FREE;
}

void pages_mark_free(const struct pages *p, bool *is_free)
{
    unsigned char *data = mem_alloc(p->size);
    uint32_t trunk = page_read(p, 1, data) == 0 ? number32(data + 32) : 0;
    while (trunk && trunk <= p->count && !is_free[trunk] && page_read(p, trunk, data) == 0) {
        uint32_t leaves = number32(data + 4);
        is_free[trunk] = true;
        for (uint32_t i = 0; i < leaves && 8 + 4 * i + 4 <= p->usable; i++) {
            uint32_t leaf = number32(data + 8 + 4 * i);
            if (leaf <= p->count)
                is_free[leaf] = true;
        }
        trunk = number32(data);
    }
    mem_free(data);
}

/* ------------------------------------------------------------------ pages of trees */

void tree_page_open(struct tree_page *t, const struct pages *p, uint32_t number,
                    const unsigned char *data)
{
    uint32_t header = number == 1 ? HEADER_SIZE : 0;
    unsigned type = data[header];
    bool inner = type == PAGE_INDEX_INNER || type == PAGE_TABLE_INNER;
    bool leaf = type == PAGE_INDEX_LEAF || type == PAGE_TABLE_LEAF;
    *t = (struct tree_page){.data = data,
                            .size = p->size,
                            .usable = p->usable,
                            .header = header,
                            .cells = number16(data + header + 3)};
    if ((inner || leaf) && header + (inner ? 12 : 8) + 2 * t->cells <= p->usable)
        t->type = (enum page_type)type;
}

static bool is_inner(const struct tree_page *t)
{
    return t->type == PAGE_INDEX_INNER || t->type == PAGE_TABLE_INNER;
}

/* Where cell i begins; 0: damaged. */
static uint32_t cell_at(const struct tree_page *t, uint32_t i)
{
    uint32_t pointers = t->header + (is_inner(t) ? 12 : 8);
    if (i >= t->cells)
        return 0;
    uint32_t at = number16(t->data + pointers + 2 * i);
    return at >= pointers + 2 * t->cells && at + 4 <= t->usable ? at : 0;
}

uint32_t tree_page_child(const struct tree_page *t, uint32_t i)
{
    if (i == t->cells)
        return number32(t->data + t->header + 8);
    uint32_t at = cell_at(t, i);
    return at ? number32(t->data + at) : 0;
}

/* A varint of the file format: up to 9 bytes, the last of which has 8 bits. */
static int big_varint(const struct tree_page *t, uint32_t *at, uint64_t *out)
{
    uint64_t value = 0;
    for (int i = 0; i < 9; i++) {
        if (*at >= t->usable)
            return -1;
        unsigned char c = t->data[(*at)++];
        if (i == 8) {
            *out = value << 8 | c;
            return 0;
        }
        value = value << 7 | (c & 0x7F);
        if (c < 0x80) {
            *out = value;
            return 0;
        }
    }
    return -1;
}

/* How many of a payload's bytes stand in the cell itself. */
static uint32_t local_size(const struct tree_page *t, uint64_t payload)
{
    uint32_t u = t->usable, most = t->type == PAGE_TABLE_LEAF ? u - 35 : (u - 12) * 64 / 255 - 23;
    uint32_t least = (u - 12) * 32 / 255 - 23;
    if (payload <= most)
        return (uint32_t)payload;
    uint32_t fitting = least + (uint32_t)((payload - least) % (u - 4));
    return fitting <= most ? fitting : least;
}

int tree_page_cell(const struct pages *p, const struct tree_page *t, uint32_t i, int64_t *key,
                   struct buf *payload)
{
    uint64_t size, row = 0;
    uint32_t at = cell_at(t, i);
    if (!at)
        return -1;
    if (t->type == PAGE_INDEX_INNER)
        at += 4;
    if (t->type == PAGE_TABLE_INNER || big_varint(t, &at, &size) < 0 ||
        (t->type == PAGE_TABLE_LEAF && big_varint(t, &at, &row) < 0) ||
        size > MIN((uint64_t)p->count * p->size, (uint64_t)PAYLOAD_MAX))
        return -1;
    uint32_t local = local_size(t, size);
    if (local > t->usable - at)
        return -1;
    buf_reset(payload);
    buf_add_bytes(payload, t->data + at, local);
    *key = (int64_t)row;
    if (local == size)
        return 0;
    if (t->usable - at - local < 4)
        return -1;
    uint32_t next = number32(t->data + at + local);
    unsigned char *data = mem_alloc(p->size);
    while (payload->len < size && page_read(p, next, data) == 0) {
        buf_add_bytes(payload, data + 4, (size_t)MIN(size - payload->len, (uint64_t)p->usable - 4));
        next = number32(data);
    }
    mem_free(data);
    return payload->len == size ? 0 : -1;
}
