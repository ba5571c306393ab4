/* date.h - dates of mail (RFC 5322 §3.3, §4.3) and of IMAP (RFC 9051 §9 date-time, date).
 */
#ifndef MESSAGE_DATE_H
#define MESSAGE_DATE_H

#include "base/buf.h"

/* Reads a Date field's value: with or without the day of the week, comments, seconds, obsolete zones,
 * two-digit years, and asctime's form. seconds since 1970 UTC; zone in minutes east. 0 or -1. */
int date_parse(struct str text, int64_t *seconds, int32_t *zone_minutes) MUST_CHECK;

/* "Mon, 23 Nov 2026 18:00:00 +0000" */
int date_format_rfc5322(struct buf *out, int64_t seconds, int32_t zone_minutes);

/* "23-Nov-2026 18:00:00 +0000", without quotes. */
int date_format_imap(struct buf *out, int64_t seconds, int32_t zone_minutes);
int date_parse_imap(struct str text, int64_t *seconds) MUST_CHECK;

/* "23-Nov-2026" or "3-Nov-2026": the day's first second in UTC. */
int date_parse_imap_day(struct str text, int64_t *seconds) MUST_CHECK;

#endif
