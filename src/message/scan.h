/* scan.h - what the scan process does, as the others call it.
 *
 * A message travels as a sealed memfd; the answer is a summary block. The callers (mx for mail that
 * arrives, box for APPEND and for indexing) do not trust the answer: they open it with
 * summary_open() before use.
 */
#ifndef MESSAGE_SCAN_H
#define MESSAGE_SCAN_H

#include "base/buf.h"

/* Summary of the message in message_fd (sealed, size bytes). Appends the checked block to out. A
 * scan that dies is asked once more; the second time the plain summary is made here. Cannot fail. */
void scan_summarize(int message_fd, size_t size, struct buf *out);

/* The decoded text (message_text) of a message, at most max bytes. -1 when scan cannot be reached
 * or died on it twice. */
int scan_text(int message_fd, size_t size, size_t max, struct buf *out);

/* The text of a message as it is searched: decoded and case folded (text_fold). 0; -1 when scan could not
 * decode it: then out has its bytes, folded. */
int scan_folded_text(struct str message, struct buf *out);

/* The rows that the scan process serves: registers them with the IPC server (run/ipc.h). */
void scan_serve(void);

#endif
