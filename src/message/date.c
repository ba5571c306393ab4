/* date.c - dates of mail and of IMAP. See date.h. */
#include "message/date.h"

#include "base/clock.h"

/* The words and numbers of a date; comments and punctuation between them are passed over. */
enum { TOKENS_MAX = 12 };

static size_t tokens_read(struct str text, struct str tokens[static TOKENS_MAX])
{
    size_t count = 0;
    unsigned depth = 0;
    for (size_t i = 0; i < text.len && count < TOKENS_MAX;) {
        char c = text.data[i];
        if (c == '(') {
            depth++;
            i++;
        } else if (c == ')') {
            depth -= depth > 0;
            i++;
        } else if (depth || !(ascii_is_alnum(c) || c == ':' || c == '+' || c == '-')) {
            i++;
        } else if (c == '-' && count && ascii_is_alnum(text.data[i - 1])) {
            i++; /* 23-Nov-2026 */
        } else {
            size_t start = i++;
            while (i < text.len && (ascii_is_alnum(text.data[i]) || text.data[i] == ':'))
                i++;
            tokens[count++] = str_slice(text, start, i - start);
        }
    }
    return count;
}

static int month_number(struct str word)
{
    for (int i = 0; i < 12 && word.len >= 3; i++)
        if (str_equal_nocase(str_slice(word, 0, 3), str_of(civil_month_names[i], 3)))
            return i + 1;
    return 0;
}

static int time_read(struct str word, struct civil_time *t)
{
    uint32_t parts[3] = {0, 0, 0};
    size_t count = 0;
    struct str rest = word, part;
    while (str_next_part(&rest, ':', &part)) {
        if (count == 3 || str_to_u32(part, 99, &parts[count++]) < 0)
            return -1;
    }
    if (count < 2 || parts[0] > 24 || parts[1] > 59 || parts[2] > 60)
        return -1;
    t->hour = (int)parts[0];
    t->minute = (int)parts[1];
    t->second = (int)parts[2];
    return 0;
}

/* RFC 5322 §4.3: the names of North American zones; all other letters mean an unknown zone, UTC. */
static int32_t zone_read(struct str word)
{
    static const struct {
        char name[4];
        int hours;
    } names[] = {{"EDT", -4}, {"EST", -5}, {"CDT", -5}, {"CST", -6}, {"MDT", -6},
                 {"MST", -7}, {"PDT", -7}, {"PST", -8}, {"CET", 1},  {"BST", 1}};
    uint32_t digits;
    if (word.len >= 3 && (word.data[0] == '+' || word.data[0] == '-')) {
        struct str number = str_slice(word, 1, 5);
        struct str hours = number.len > 2 ? str_slice(number, 0, number.len - 2) : number;
        struct str minutes = number.len > 2 ? str_from_pos(number, number.len - 2) : STR("0");
        uint32_t extra = 0;
        if (str_has_char(number, ':')) {
            hours = str_slice(number, 0, str_find_char(number, ':'));
            minutes = str_from_pos(number, str_find_char(number, ':') + 1);
        }
        if (str_to_u32(hours, 99, &digits) < 0 || str_to_u32(minutes, 99, &extra) < 0 ||
            digits * 60 + extra > 24 * 60)
            return 0;
        int32_t zone = (int32_t)(digits * 60 + extra);
        return word.data[0] == '-' ? -zone : zone;
    }
    for (size_t i = 0; i < countof(names); i++)
        if (str_equal_nocase(word, str_of(names[i].name, 3)))
            return names[i].hours * 60;
    return 0;
}

static int day_set(struct civil_time *t, uint32_t day, uint32_t year, size_t year_digits)
{
    static const int days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (year_digits <= 2) /* RFC 5322 §4.3 */
        year += year < 50 ? 2000 : 1900;
    else if (year_digits == 3)
        year += 1900;
    if (year < 1900 || year > 9999 || day < 1 || t->month < 1 || (int)day > days[t->month - 1])
        return -1;
    t->day = (int)day;
    t->year = (int)year;
    return 0;
}

int date_parse(struct str text, int64_t *seconds, int32_t *zone_minutes)
{
    struct str tokens[TOKENS_MAX];
    size_t count = tokens_read(str_slice(text, 0, 200), tokens), at = 0;
    struct civil_time t = {0};
    uint32_t day, year;
    if (count && !ascii_is_digit(tokens[0].data[0]) && !month_number(tokens[0]))
        at++; /* the day of the week */
    else if (count && month_number(tokens[0]) == 0 && !ascii_is_digit(tokens[0].data[0]))
        return -1;
    if (count - at < 4)
        return -1;
    size_t day_at = at, month_at = at + 1, year_at = at + 2, time_at = at + 3;
    if (month_number(tokens[at])) { /* asctime: Nov 23 18:00:00 2026 */
        month_at = at;
        day_at = at + 1;
        time_at = str_has_char(tokens[at + 2], ':') ? at + 2 : at + 3;
        year_at = time_at == at + 2 ? at + 3 : at + 2;
    }
    t.month = month_number(tokens[month_at]);
    if (str_to_u32(tokens[day_at], 31, &day) < 0 || str_to_u32(tokens[year_at], 9999, &year) < 0 ||
        day_set(&t, day, year, tokens[year_at].len) < 0 || time_read(tokens[time_at], &t) < 0)
        return -1;
    size_t zone_at = MAX(time_at, year_at) + 1;
    t.zone_minutes = zone_at < count ? zone_read(tokens[zone_at]) : 0;
    *seconds = civil_to_seconds(&t);
    *zone_minutes = t.zone_minutes;
    return 0;
}

static int zone_format(struct buf *out, int32_t zone)
{
    char sign = zone < 0 ? '-' : '+';
    zone = zone < 0 ? -zone : zone;
    return buf_printf(out, "%c%02d%02d", sign, zone / 60, zone % 60);
}

int date_format_rfc5322(struct buf *out, int64_t seconds, int32_t zone_minutes)
{
    struct civil_time t;
    civil_from_seconds(seconds, zone_minutes, &t);
    buf_printf(out, "%s, %d %s %04d %02d:%02d:%02d ", civil_weekday_names[t.weekday], t.day,
               civil_month_names[t.month - 1], t.year, t.hour, t.minute, t.second);
    return zone_format(out, zone_minutes);
}

static char *two_digits(char *at, int number)
{
    *at++ = (char)('0' + number / 10 % 10);
    *at++ = (char)('0' + number % 10);
    return at;
}

/* Without printf: FETCH INTERNALDATE of a large mailbox asks for many. */
int date_format_imap(struct buf *out, int64_t seconds, int32_t zone_minutes)
{
    struct civil_time t;
    char text[32], *at = text;
    civil_from_seconds(seconds, zone_minutes, &t);
    at = two_digits(at, t.day);
    *at++ = '-';
    memcpy(at, civil_month_names[t.month - 1], 3);
    at += 3;
    *at++ = '-';
    at = two_digits(two_digits(at, t.year / 100), t.year % 100);
    *at++ = ' ';
    at = two_digits(at, t.hour);
    *at++ = ':';
    at = two_digits(at, t.minute);
    *at++ = ':';
    at = two_digits(at, t.second);
    *at++ = ' ';
    int zone = zone_minutes < 0 ? -zone_minutes : zone_minutes;
    *at++ = zone_minutes < 0 ? '-' : '+';
    at = two_digits(two_digits(at, zone / 60), zone % 60);
    return buf_add_bytes(out, text, (size_t)(at - text));
}

/* "23-Nov-2026" at the front; the number of bytes, 0 = broken. */
static size_t imap_day(struct str text, struct civil_time *t)
{
    struct str rest = text, day, month, year;
    uint32_t day_number, year_number;
    if (!str_next_part(&rest, '-', &day) || !str_next_part(&rest, '-', &month) || rest.len < 4)
        return 0;
    year = str_slice(rest, 0, 4);
    t->month = month.len == 3 ? month_number(month) : 0;
    day = str_trim(day); /* date-day-fixed has a space for the first digit */
    if (day.len < 1 || day.len > 2 || str_to_u32(day, 31, &day_number) < 0 ||
        str_to_u32(year, 9999, &year_number) < 0 || day_set(t, day_number, year_number, 4) < 0)
        return 0;
    return (size_t)(year.data + 4 - text.data);
}

int date_parse_imap_day(struct str text, int64_t *seconds)
{
    struct civil_time t = {0};
    if (imap_day(text, &t) != text.len || text.len == 0)
        return -1;
    *seconds = civil_to_seconds(&t);
    return 0;
}

int date_parse_imap(struct str text, int64_t *seconds)
{
    struct civil_time t = {0};
    size_t used = imap_day(text, &t);
    struct str rest = str_from_pos(text, used);
    if (used == 0 || rest.len != 15 || rest.data[0] != ' ' || rest.data[9] != ' ' ||
        (rest.data[10] != '+' && rest.data[10] != '-'))
        return -1;
    uint32_t zone;
    if (time_read(str_slice(rest, 1, 8), &t) < 0 ||
        str_to_u32(str_slice(rest, 11, 4), 9999, &zone) < 0)
        return -1;
    t.zone_minutes = zone_read(str_slice(rest, 10, 5));
    *seconds = civil_to_seconds(&t);
    return 0;
}
