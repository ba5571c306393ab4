/* salvage.h - private to the room: rows of an account's file that SQLite cannot read any more.
 *
 * Reads the file and its write-ahead log page by page (https://www.sqlite.org/fileformat2.html says what
 * is in them), whatever is damaged: the tree of a table is followed from its root as far as it goes; pages
 * that hang on a lost page are found by the pointer map, which tells every page's parent, and when that
 * is lost too by what their rows look like. Pages that are free are left alone: what was expunged does not
 * come back. The bytes are taken for hostile.
 */
#ifndef STORE_SALVAGE_H
#define STORE_SALVAGE_H

#include "store/db.h"

/* Copies every row that can be read into a database with the present schema, in which there is nothing but
 * the account's row. Nobody has the damaged file open. What was copied and what was not, a line each, is
 * added to report. ERROR_FULL, ERROR_INTERNAL. */
int salvage_rows(const char *database_path, const char *log_path, struct db *into,
                 struct buf *report, struct error *e);

#endif
