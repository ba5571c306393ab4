/* clock.h - time. Two kinds, never mixed: real time for what people see, monotonic for waiting.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include "base/buf.h"

int64_t clock_real_seconds(void);      /* since 1970-01-01 UTC */
int64_t clock_real_milliseconds(void); /* the same in ms */
int64_t clock_monotonic_ms(void);      /* for deadlines and durations */
int64_t clock_monotonic_us(void);

/* Civil time from a count of seconds and a zone offset in minutes east, without libc's zone files
 * (a sandbox has none). Years 1 to 9999. */
struct civil_time {
    int year, month, day;     /* 2026, 1..12, 1..31 */
    int hour, minute, second; /* 0..23, 0..59, 0..60 */
    int weekday;              /* 0 = Sunday */
    int zone_minutes;         /* east of UTC */
};
void civil_from_seconds(int64_t seconds, int zone_minutes, struct civil_time *out);
int64_t civil_to_seconds(const struct civil_time *t); /* the fields need not be normalised */
extern const char civil_month_names[12][4];
extern const char civil_weekday_names[7][4];

#endif
