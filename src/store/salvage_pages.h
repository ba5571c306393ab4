/* salvage_pages.h - private to the room: the pages of a database file and its write-ahead log, read without
 * SQLite. Numbers are big-endian; pages are counted from 1.
 */
#ifndef STORE_SALVAGE_PAGES_H
#define STORE_SALVAGE_PAGES_H

#include "base/buf.h"

enum page_type {
    PAGE_OTHER, /* no page of a tree, or unreadable */
    PAGE_INDEX_INNER = 2,
    PAGE_TABLE_INNER = 5,
    PAGE_INDEX_LEAF = 10,
    PAGE_TABLE_LEAF = 13,
};

struct pages {
    int file, log;
    uint32_t size, usable; /* bytes of a page; of those that are used */
    uint32_t count;
    uint64_t
        *in_log; /* by page: where its newest committed form stands in the log; 0 in the file */
    unsigned char *map; /* the page of the pointer map that was read last */
    uint32_t map_page;
};

/* 0; -1 with errno: the file cannot be opened. A log that is not there or not whole is used as far as
 * SQLite would use it. */
int pages_open(struct pages *p, const char *path, const char *log_path);
void pages_close(struct pages *p);

/* Reads a page into room, which has p->size bytes. -1: it is not there. */
int page_read(const struct pages *p, uint32_t number, unsigned char *room);

/* The parent of a page in its tree, by the pointer map: 0 it is a root, -1 unknown or no page of a tree. */
int64_t page_parent(struct pages *p, uint32_t number);
bool page_is_free(struct pages *p, uint32_t number); /* by the pointer map */
/* Marks the pages of the list of free pages, as far as it can be followed. */
void pages_mark_free(const struct pages *p, bool *is_free);

static inline uint32_t number16(const unsigned char *at)
{
    return (uint32_t)at[0] << 8 | at[1];
}
static inline uint32_t number32(const unsigned char *at)
{
    return number16(at) << 16 | number16(at + 2);
}

/* A page of a tree. */
struct tree_page {
    const unsigned char *data;
    uint32_t size, usable;
    enum page_type type;
    uint32_t cells;
    uint32_t header; /* where its header begins: behind the file's in page 1 */
};
/* The type is PAGE_OTHER when the page is none of a tree. */
void tree_page_open(struct tree_page *t, const struct pages *p, uint32_t number,
                    const unsigned char *data);
/* Child i of an inner page; the last is number `cells`. 0: damaged. */
uint32_t tree_page_child(const struct tree_page *t, uint32_t i);
/* The payload of cell i, with what stands on other pages, and the key of a table's row. -1: damaged. */
int tree_page_cell(const struct pages *p, const struct tree_page *t, uint32_t i, int64_t *key,
                   struct buf *payload);

#endif
