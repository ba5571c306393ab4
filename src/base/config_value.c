/* config_value.c - one setting's value: numbers with units, choices, lists, from text and back. */
#include "base/config_value.h"

struct unit {
    const char *name;
    uint64_t factor;
};

/* From the largest, so that writing takes the largest that divides. */
static const struct unit size_units[] = {
    {"T", 1ull << 40}, {"G", 1ull << 30}, {"M", 1ull << 20}, {"K", 1ull << 10}, {"", 1}};
static const struct unit time_units[] = {
    {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};
static const struct unit no_units[] = {{"", 1}};

static const struct unit *setting_units(const struct setting *s, size_t *count)
{
    if (s->type == SETTING_SIZE) {
        *count = countof(size_units);
        return size_units;
    }
    if (s->type == SETTING_TIME) {
        *count = countof(time_units);
        return time_units;
    }
    *count = 1;
    return no_units;
}

static int wrong(char *why, const char *format, ...) PRINTF(2, 3);
static int wrong(char *why, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(why, CONFIG_WHY_MAX, format, args);
    va_end(args);
    return -1;
}

/* ---------------------------------------------------------------------------------- numbers */

static void number_format(const struct setting *s, uint64_t number, struct buf *out)
{
    size_t count;
    const struct unit *units = setting_units(s, &count);
    if (number == 0) {
        buf_add_char(out, '0');
        return;
    }
    for (size_t i = 0; i < count; i++)
        if (number % units[i].factor == 0) {
            buf_add_u64(out, number / units[i].factor);
            buf_add(out, str_from(units[i].name));
            return;
        }
}

static int number_out_of_bounds(const struct setting *s, char *why)
{
    struct buf text = BUF_INIT(128);
    buf_add_literal(&text, "must be ");
    if (s->max) {
        buf_add_literal(&text, "from ");
        number_format(s, s->min, &text);
        buf_add_literal(&text, " to ");
        number_format(s, s->max, &text);
    } else {
        buf_add_literal(&text, "at least ");
        number_format(s, s->min, &text);
    }
    wrong(why, "%s", buf_c_string(&text));
    buf_free(&text);
    return -1;
}

static int number_parse(const struct setting *s, struct str value, uint64_t *out, char *why)
{
    size_t count, digits = 0;
    const struct unit *units = setting_units(s, &count);
    while (digits < value.len && ascii_is_digit(value.data[digits]))
        digits++;
    struct str name = str_trim(str_from_pos(value, digits));
    uint64_t number;
    const struct unit *unit = NULL;
    for (size_t i = 0; i < count; i++)
        if (str_equal_nocase(name, str_from(units[i].name)))
            unit = &units[i];
    bool parsed = digits && str_to_u64(str_slice(value, 0, digits), UINT64_MAX, &number) == 0;
    if (parsed && number == 0 && name.len == 0)
        unit = &units[count - 1]; /* zero needs no unit */
    if (!parsed || !unit)
        return wrong(why, "%s",
                     s->type == SETTING_SIZE ? "expected a size, such as 512K, 50M or 2G"
                     : s->type == SETTING_TIME
                         ? "expected a time with its unit, such as 500ms, 30s, 5m, 2h or 7d"
                         : "expected a number");
    if (__builtin_mul_overflow(number, unit->factor, &number) || number < s->min ||
        (s->max && number > s->max))
        return number_out_of_bounds(s, why);
    *out = number;
    return 0;
}

/* ------------------------------------------------------------------------------------- text */

static int text_check(const struct setting *s, struct str value, char *why)
{
    if (value.len < s->min)
        return value.len == 0
                   ? wrong(why, "must not be empty")
                   : wrong(why, "must have at least %llu characters", (unsigned long long)s->min);
    if (s->max && value.len > s->max)
        return wrong(why, "must have at most %llu characters", (unsigned long long)s->max);
    if (s->type == SETTING_PATH && value.len && value.data[0] != '/')
        return wrong(why, "must be an absolute path, beginning with '/'");
    if (s->type != SETTING_NETWORKS)
        return 0;
    struct str entry;
    const char *reason;
    while (list_next(&value, &entry))
        if (network_check(entry, &reason) < 0)
            return wrong(why, "'" STR_FMT "' %s; write for example 192.0.2.0/24 or 2001:db8::/32",
                         STR_ARG(str_slice(entry, 0, CONFIG_NAME_MAX)), reason);
    return 0;
}

static int choice_parse(const struct setting *s, struct str value, int *out, char *why)
{
    struct str rest = str_from(s->choices), choice;
    for (int i = 0; list_next(&rest, &choice); i++)
        if (str_equal_nocase(choice, value)) {
            *out = i;
            return 0;
        }
    return wrong(why, "must be one of: %s", s->choices);
}

int setting_parse(const struct setting *s, struct str value, struct arena *arena, char *values,
                  char why[static CONFIG_WHY_MAX])
{
    void *field = values + s->offset;
    switch (s->type) {
    case SETTING_BOOL:
        if (!str_equal_nocase(value, STR("yes")) && !str_equal_nocase(value, STR("no")))
            return wrong(why, "must be yes or no");
        *(bool *)field = str_equal_nocase(value, STR("yes"));
        return 0;
    case SETTING_COUNT:
    case SETTING_SIZE:
    case SETTING_TIME:
        return number_parse(s, value, field, why);
    case SETTING_CHOICE:
        return choice_parse(s, value, field, why);
    case SETTING_TEXT:
    case SETTING_PATH:
    case SETTING_LIST:
    case SETTING_NETWORKS:
        if (text_check(s, value, why) < 0)
            return -1;
        *(struct str *)field = arena_copy(arena, value);
        return 0;
    }
    panic_at(__FILE__, __LINE__, __func__, "setting type");
}

void setting_format(const struct setting *s, const char *values, struct buf *out)
{
    const void *field = values + s->offset;
    struct str rest, choice;
    switch (s->type) {
    case SETTING_BOOL:
        buf_add(out, *(const bool *)field ? STR("yes") : STR("no"));
        return;
    case SETTING_COUNT:
    case SETTING_SIZE:
    case SETTING_TIME:
        number_format(s, *(const uint64_t *)field, out);
        return;
    case SETTING_CHOICE:
        rest = str_from(s->choices);
        for (int i = 0; list_next(&rest, &choice); i++)
            if (i == *(const int *)field)
                buf_add(out, choice);
        return;
    case SETTING_TEXT:
    case SETTING_PATH:
    case SETTING_LIST:
    case SETTING_NETWORKS:
        buf_add(out, *(const struct str *)field);
        return;
    }
}
