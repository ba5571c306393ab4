/* search_segment.h - private to the room: the form of the search index.
 *
 *     state     one row: the form's version, and up to which email the index goes
 *     segment   the emails it covers (ascending, as varints of the differences), its words
 *     block     for up to BLOCK_WORDS words, one after the other: the length of a posting in bytes, and
 *               the posting: places in the segment's list of emails, as varints of the differences
 *
 * The words of a segment stand in byte order, each with a NUL behind it, and an \1 before the first of
 * each block but the first: no byte below '0' is in a word, so a needle of word bytes is found with
 * memmem. The word "" has the emails whose text is not indexed because there is too much of it.
 */
#ifndef STORE_SEARCH_SEGMENT_H
#define STORE_SEARCH_SEGMENT_H

#include "base/vec.h"
#include "store/db.h"

enum {
    WORD_MAX = 200,                /* bytes; longer ones are stored in pieces ... */
    WORD_STEP = 100,               /* ... that begin so far from each other: what is no longer
                                          than this lies whole in one of them */
    SEGMENT_EMAILS_MAX = 16384,    /* segments are not merged beyond */
    SEGMENT_WORDS_MAX = 256 << 20, /* bytes: a bound on what is read back */
};

extern const struct db_step search_schema[];
extern const size_t search_schema_count;

/* Takes the next word (or piece of one) off the front of folded text. False at its end. *whole: the word
 * is no piece. */
bool word_next(struct str *text, struct str *word);

/* ------------------------------------------------------------------ reading */

struct segment {
    struct db *db;
    int64_t id;
    VEC(uint64_t) emails;
    struct buf words;
};
/* ERROR_CORRUPT when its row is no segment. */
int segment_load(struct segment *s, struct db *db, int64_t id, struct str emails, struct str words,
                 struct error *e);
void segment_free(struct segment *s);
int64_t
segment_first_block(int64_t id); /* its blocks are numbered from here, below the next one's */

/* Goes through the words of a segment in order. */
struct word_cursor {
    const struct segment *segment;
    size_t start, end, next; /* of the present word; where the next record begins */
    uint32_t block, index;   /* the present word's */
    struct buf data;         /* the block that was read last */
    int64_t data_block;      /* -1: none */
    uint32_t data_index;     /* the posting that begins at data_at */
    size_t data_at;
};
void word_cursor_open(struct word_cursor *c, const struct segment *s);
bool word_cursor_next(struct word_cursor *c);
struct str word_cursor_word(const struct word_cursor *c);
/* The present word's posting; valid until the cursor reads another block. */
int word_cursor_posting(struct word_cursor *c, struct str *out, struct error *e);
void word_cursor_close(struct word_cursor *c);

/* The next place of a posting. *place is UINT32_MAX before the first. 1, 0 at the end, -1 damaged: the
 * place is below count. */
int posting_next(struct str *posting, size_t count, uint32_t *place);

/* ------------------------------------------------------------------ writing */

struct segment_writer {
    struct db *db;
    int64_t id;
    struct buf words, block, posting;
    uint32_t block_words, blocks;
    uint32_t last; /* place of the present word */
};
void segment_writer_begin(struct segment_writer *w, struct db *db, int64_t id);
/* Words in byte order; of each its places, ascending. A word without places is left out. */
void segment_writer_place(struct segment_writer *w, uint32_t place);
void segment_writer_word(struct segment_writer *w,
                         struct str word); /* ends it, behind its places */
int segment_writer_end(struct segment_writer *w, const uint64_t *emails, size_t count,
                       struct error *e);
void segment_writer_free(struct segment_writer *w);

#endif
