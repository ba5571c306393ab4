/* search.h - which messages have a text in their bodies: an index beside each account.
 *
 * The index holds words: runs of letters and digits of the decoded, case-folded text of a message's body
 * (message/scan.h), words of the scripts that are written without spaces being single characters. It is
 * made in the background, after deliveries have ceased for a while, and says up to which email it goes;
 * what is newer, the caller looks through. It is derived: DATA/accounts/ab/123.search may be deleted at
 * any time, and is when it is damaged or does not belong to the account's file.
 *
 * The file consists of segments that are never changed, only replaced by a merged one: the emails they
 * cover, a sorted list of the words in which a part of a word is found by plain searching, and for each
 * word the emails that have it.
 */
#ifndef STORE_SEARCH_H
#define STORE_SEARCH_H

#include "base/vec.h"
#include "store/account.h"

typedef VEC(uint64_t) email_list; /* ascending */

struct search_hits {
    uint64_t indexed; /* emails with a greater id are not in the index: look through them */
    email_list sure;  /* have it */
    email_list maybe; /* may have it: look through them; no other email up to indexed has it */
};

enum search_answer { SEARCH_NO, SEARCH_YES, SEARCH_LOOK };

/* Which emails of an account have that text, which is folded (text_fold) and not empty. Never fails: with
 * no index, or one that cannot be read, indexed is 0. The lists are freed with search_hits_free(). */
void search_find(struct account *a, struct str folded, struct search_hits *out);
enum search_answer search_answer(const struct search_hits *hits, uint64_t email);
void search_hits_free(struct search_hits *hits);

/* Starts and ends the thread that keeps the indexes of open accounts up to date, while disk_has_room()
 * says so. */
int search_start(bool (*disk_has_room)(void), struct error *e);
void search_stop(void);

/* What the thread does for one account: takes the next emails into the index. 1 there are more, 0 none,
 * -1 with *e. */
int search_index(struct account *a, struct error *e);

#endif
