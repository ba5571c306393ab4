/* subject.h - the base subject of RFC 5256 §2.1, for SORT and THREAD.
 */
#ifndef MESSAGE_SUBJECT_H
#define MESSAGE_SUBJECT_H

#include "base/buf.h"

/* subject is decoded and unfolded; appends the base subject, case folded. True when something of a reply
 * or forward was removed. */
bool base_subject(struct str subject, struct buf *out);

#endif
