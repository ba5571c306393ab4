/* config.c - reads a configuration file by its table. Writing one out again: config_print.c. */
#include "base/config.h"

#include "base/config_value.h"

/* What is known while a file is read. Settings are taken into the section that the last header
 * opened; behind a wrong header they are passed over, so that one mistake gives one error. */
struct parse {
    const struct config_table *table;
    const char *file_name;
    struct arena *arena;
    char *result;
    struct buf *errors;
    size_t error_count;
    size_t line;
    const struct setting_section *section; /* NULL: none, or one that is passed over */
    bool before_sections;
    size_t section_line;
    char *values;   /* the section's struct, or the present element */
    size_t *lines;  /* per setting of the table: where it was given in this section; 0 = not */
    size_t *opened; /* per section of the table: the line of its header; 0 = not */
};

/* A repeated section's field: {pointer, count}. */
struct elements {
    void *items;
    size_t count;
};

static void complain(struct parse *p, size_t line, const char *format, ...) PRINTF(3, 4);
static void complain(struct parse *p, size_t line, const char *format, ...)
{
    if (p->error_count++ >= CONFIG_ERRORS_MAX)
        return;
    va_list args;
    va_start(args, format);
    if (line)
        buf_printf(p->errors, "%s:%zu: ", p->file_name, line);
    else
        buf_printf(p->errors, "%s: ", p->file_name);
    buf_vprintf(p->errors, format, args);
    buf_add_char(p->errors, '\n');
    va_end(args);
}

/* ------------------------------------------------------------------------- "did you mean" */

/* Edit distance with transpositions of neighbours; above `most` it does not matter how far. */
static unsigned name_distance(struct str a, struct str b, unsigned most)
{
    enum { LONGEST = 48 };
    unsigned rows[3][LONGEST + 1];
    if (a.len > LONGEST || b.len > LONGEST)
        return most + 1;
    unsigned *before = rows[0], *last = rows[1], *now = rows[2];
    for (unsigned j = 0; j <= b.len; j++)
        last[j] = j;
    for (unsigned i = 1; i <= a.len; i++) {
        now[0] = i;
        for (unsigned j = 1; j <= b.len; j++) {
            char x = ascii_lower(a.data[i - 1]), y = ascii_lower(b.data[j - 1]);
            now[j] = MIN(MIN(last[j], now[j - 1]) + 1, last[j - 1] + (x != y));
            if (i > 1 && j > 1 && x == ascii_lower(b.data[j - 2]) &&
                y == ascii_lower(a.data[i - 2]))
                now[j] = MIN(now[j], before[j - 2] + 1);
        }
        unsigned *free_row = before;
        before = last;
        last = now;
        now = free_row;
    }
    return last[b.len];
}

static bool name_is_nearer(struct str given, const char *known, unsigned *best)
{
    unsigned distance = name_distance(given, str_from(known), *best);
    if (distance >= *best)
        return false;
    *best = distance;
    return true;
}

static unsigned distance_allowed(struct str given)
{
    return (unsigned)MIN(MAX(given.len / 3, (size_t)2), (size_t)5) + 1;
}

static const char *setting_nearest(const struct parse *p, struct str given)
{
    const char *nearest = NULL;
    unsigned best = distance_allowed(given);
    for (size_t i = 0; i < p->table->setting_count; i++) {
        const struct setting *s = &p->table->settings[i];
        if (strcmp(s->section, p->section->name) == 0 && name_is_nearer(given, s->name, &best))
            nearest = s->name;
    }
    return nearest;
}

/* The section that has a setting of exactly this name, when it was put into the wrong one. */
static const char *setting_home(const struct parse *p, struct str given)
{
    for (size_t i = 0; i < p->table->setting_count; i++)
        if (str_equal(str_from(p->table->settings[i].name), given))
            return p->table->settings[i].section;
    return NULL;
}

static void complain_unknown_setting(struct parse *p, struct str name)
{
    const char *near = setting_nearest(p, name), *home = setting_home(p, name);
    if (home)
        complain(p, p->line, "'" STR_FMT "' belongs into section [%s], not [%s]", STR_ARG(name),
                 home, p->section->name);
    else if (near)
        complain(p, p->line,
                 "there is no setting '" STR_FMT "' in section [%s]; did you mean '%s'?",
                 STR_ARG(name), p->section->name, near);
    else
        complain(p, p->line,
                 "there is no setting '" STR_FMT
                 "' in section [%s]; see posthouse config --defaults",
                 STR_ARG(name), p->section->name);
}

static void complain_unknown_section(struct parse *p, struct str kind)
{
    const char *nearest = NULL;
    unsigned best = distance_allowed(kind);
    for (size_t i = 0; i < p->table->section_count; i++) {
        struct str known = section_kind(&p->table->sections[i]);
        unsigned distance = name_distance(kind, known, best);
        if (distance < best) {
            best = distance;
            nearest = p->table->sections[i].name;
        }
    }
    if (nearest)
        complain(p, p->line, "there is no section [" STR_FMT "]; did you mean [%s]?", STR_ARG(kind),
                 nearest);
    else
        complain(p, p->line, "there is no section [" STR_FMT "]; see posthouse config --defaults",
                 STR_ARG(kind));
}

/* ------------------------------------------------------------------------------- sections */

static void values_default(struct parse *p, const struct setting_section *section, char *values)
{
    char why[CONFIG_WHY_MAX];
    for (size_t i = 0; i < p->table->setting_count; i++) {
        const struct setting *s = &p->table->settings[i];
        if (s->fallback && strcmp(s->section, section->name) == 0)
            panic_unless(setting_parse(s, str_from(s->fallback), p->arena, values, why) == 0);
    }
}

/* The section ends: was everything given that has no default? */
static void section_end(struct parse *p)
{
    const struct setting_section *section = p->section;
    for (size_t i = 0; section && i < p->table->setting_count; i++) {
        const struct setting *s = &p->table->settings[i];
        if (!s->fallback && !p->lines[i] && strcmp(s->section, section->name) == 0)
            complain(p, p->section_line, "'%s' is missing in this section; it must be given",
                     s->name);
    }
    p->section = NULL;
}

static const struct setting_section *section_find(const struct config_table *t, struct str kind)
{
    for (size_t i = 0; i < t->section_count; i++)
        if (str_equal(section_kind(&t->sections[i]), kind))
            return &t->sections[i];
    return NULL;
}

static bool name_is_good(struct str name)
{
    for (size_t i = 0; i < name.len; i++)
        if (!ascii_is_alnum(name.data[i]) && name.data[i] != '-' && name.data[i] != '_' &&
            name.data[i] != '.')
            return false;
    return name.len > 0 && name.len <= CONFIG_NAME_MAX;
}

/* A new element of a repeated section, with its defaults; NULL after a complaint. */
static char *element_add(struct parse *p, const struct setting_section *section, struct str name)
{
    struct elements *list = (struct elements *)(void *)(p->result + section->offset);
    struct str kind = section_kind(section);
    if (!name_is_good(name)) {
        complain(p, p->line,
                 "a section [" STR_FMT
                 " ...] needs a name of letters, digits, '-', '_' and '.', as in "
                 "[" STR_FMT " main]",
                 STR_ARG(kind), STR_ARG(kind));
        return NULL;
    }
    for (size_t i = 0; i < list->count; i++) {
        const struct str *other = (const void *)((char *)list->items + i * section->size);
        if (str_equal_nocase(*other, name)) {
            complain(p, p->line, "there is a section [" STR_FMT " " STR_FMT "] already",
                     STR_ARG(kind), STR_ARG(name));
            return NULL;
        }
    }
    char *values = arena_grow(p->arena, &list->items, &list->count, section->size);
    *(struct str *)(void *)values = arena_copy(p->arena, name);
    values_default(p, section, values);
    return values;
}

static void section_begin(struct parse *p, struct str header)
{
    section_end(p);
    p->before_sections = false;
    if (!str_ends(header, STR("]"))) {
        complain(p, p->line, "a section header ends with ']', as in [server]");
        return;
    }
    header = str_trim(str_slice(header, 1, header.len - 2));
    size_t space = str_find_char(header, ' ');
    struct str kind = str_slice(header, 0, space), name = str_trim(str_from_pos(header, space));
    const struct setting_section *section = section_find(p->table, kind);
    if (!section) {
        complain_unknown_section(p, kind);
        return;
    }
    char *values = p->result + section->offset;
    size_t *opened = &p->opened[section - p->table->sections];
    if (section_is_repeated(section)) {
        values = element_add(p, section, name);
        if (!values)
            return;
    } else if (name.len) {
        complain(p, p->line, "section [" STR_FMT "] has no name behind it", STR_ARG(kind));
        return;
    } else if (*opened) {
        complain(p, p->line,
                 "section [" STR_FMT "] was begun at line %zu already; put them together",
                 STR_ARG(kind), *opened);
        return;
    }
    *opened = p->section_line = p->line;
    p->section = section;
    p->values = values;
    memset(p->lines, 0, p->table->setting_count * sizeof(*p->lines));
}

/* ------------------------------------------------------------------------------- settings */

static void setting_line(struct parse *p, struct str line)
{
    size_t equals = str_find_char(line, '=');
    if (equals == line.len) {
        complain(p, p->line, "expected 'key = value', '[section]' or '# comment'");
        return;
    }
    struct str name = str_trim(str_slice(line, 0, equals));
    struct str value = str_trim(str_from_pos(line, equals + 1));
    if (p->before_sections) {
        complain(p, p->line,
                 "'" STR_FMT "' stands before the first section header, such as [server]",
                 STR_ARG(str_slice(name, 0, CONFIG_NAME_MAX)));
        return;
    }
    if (!p->section)
        return;
    for (size_t i = 0; i < p->table->setting_count; i++) {
        const struct setting *s = &p->table->settings[i];
        if (!str_equal(str_from(s->name), name) || strcmp(s->section, p->section->name) != 0)
            continue;
        char why[CONFIG_WHY_MAX];
        if (p->lines[i])
            complain(p, p->line, "'%s' was given at line %zu already", s->name, p->lines[i]);
        else if (setting_parse(s, value, p->arena, p->values, why) < 0)
            complain(p, p->line, "%s: %s", s->name, why);
        p->lines[i] = p->line;
        return;
    }
    complain_unknown_setting(p, str_slice(name, 0, CONFIG_NAME_MAX));
}

static void line_parse(struct parse *p, struct str line)
{
    line = str_trim(line);
    if (line.len == 0 || line.data[0] == '#')
        return;
    for (size_t i = 0; i < line.len; i++)
        if (ascii_is_control(line.data[i]) && line.data[i] != '\t') {
            complain(p, p->line, "the line holds a control character");
            return;
        }
    if (!str_is_utf8(line))
        complain(p, p->line, "the line is not UTF-8 text");
    else if (line.data[0] == '[')
        section_begin(p, line);
    else
        setting_line(p, line);
}

/* Sections that never came: their defaults stand, but what must be given is missing. */
static void sections_absent(struct parse *p)
{
    for (size_t i = 0; i < p->table->setting_count; i++) {
        const struct setting *s = &p->table->settings[i];
        for (size_t j = 0; j < p->table->section_count && !s->fallback; j++) {
            const struct setting_section *section = &p->table->sections[j];
            if (!p->opened[j] && !section_is_repeated(section) &&
                strcmp(s->section, section->name) == 0)
                complain(p, 0, "'%s' is missing in section [%s]; it must be given", s->name,
                         s->section);
        }
    }
}

int config_parse(const struct config_table *table, const char *file_name, struct str text,
                 struct arena *arena, void *result, struct buf *errors)
{
    struct parse p = {.table = table,
                      .file_name = file_name,
                      .arena = arena,
                      .result = result,
                      .errors = errors,
                      .before_sections = true};
    struct str line;
    p.lines = arena_alloc_array(arena, table->setting_count, sizeof(*p.lines));
    p.opened = arena_alloc_array(arena, table->section_count, sizeof(*p.opened));
    for (size_t i = 0; i < table->section_count; i++)
        if (!section_is_repeated(&table->sections[i]))
            values_default(&p, &table->sections[i], p.result + table->sections[i].offset);
    if (text.len > CONFIG_FILE_MAX) {
        complain(&p, 0, "the file is larger than %d bytes", CONFIG_FILE_MAX);
        return -1;
    }
    if (str_starts(text, STR("\xef\xbb\xbf")))
        text = str_from_pos(text, 3);
    while (str_next_part(&text, '\n', &line)) {
        p.line++;
        line_parse(&p, line);
    }
    section_end(&p);
    sections_absent(&p);
    if (p.error_count > CONFIG_ERRORS_MAX)
        buf_printf(errors, "%s: ... and %zu more errors\n", file_name,
                   p.error_count - CONFIG_ERRORS_MAX);
    return p.error_count ? -1 : 0;
}
