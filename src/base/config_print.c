/* config_print.c - writes a table's settings with their explanations, in the file's own syntax. */
#include "base/config.h"

#include "base/config_value.h"

enum { LINE_WIDTH = 90 };

/* Text as comment lines, broken at spaces. */
static void comment_print(struct str text, struct buf *out)
{
    size_t column = 0;
    struct str word;
    while (str_next_part(&text, ' ', &word)) {
        if (column + 1 + word.len > LINE_WIDTH && column) {
            buf_add_char(out, '\n');
            column = 0;
        }
        buf_printf(out, "%s " STR_FMT, column ? "" : "#", STR_ARG(word));
        column += 1 + word.len;
    }
    if (column)
        buf_add_char(out, '\n');
}

static void help_print(const struct setting *s, struct buf *out)
{
    struct buf text = BUF_INIT(BUF_UNBOUNDED);
    buf_add(&text, str_from(s->help));
    if (s->type == SETTING_CHOICE)
        buf_printf(&text, " One of: %s.", s->choices);
    if (!s->fallback)
        buf_add_literal(&text, " Must be given.");
    else if (s->fallback[0])
        buf_printf(&text, " Default: %s.", s->fallback);
    comment_print(buf_str(&text), out);
    buf_free(&text);
}

/* values NULL: the defaults, commented out. */
static void section_print(const struct config_table *table, const struct setting_section *section,
                          const char *values, bool help, struct buf *out)
{
    for (size_t i = 0; i < table->setting_count; i++) {
        const struct setting *s = &table->settings[i];
        if (strcmp(s->section, section->name) != 0)
            continue;
        if (help) {
            buf_add_char(out, '\n');
            help_print(s, out);
        }
        buf_printf(out, "%s%s =", values ? "" : "#", s->name);
        size_t before = out->len;
        buf_add_char(out, ' ');
        if (values)
            setting_format(s, values, out);
        else if (s->fallback)
            buf_add(out, str_from(s->fallback));
        if (out->len == before + 1)
            buf_truncate(out, before);
        buf_add_char(out, '\n');
    }
}

static void repeated_print(const struct config_table *table, const struct setting_section *section,
                           const char *result, struct buf *out)
{
    struct {
        const char *items;
        size_t count;
    } list = {NULL, 0};
    struct str kind = section_kind(section);
    if (result)
        memcpy(&list, result + section->offset, sizeof(list));
    for (size_t i = 0; i < list.count; i++) {
        const char *values = list.items + i * section->size;
        const struct str *name = (const void *)values;
        buf_printf(out, "%s[" STR_FMT " " STR_FMT "]\n", i ? "\n" : "", STR_ARG(kind),
                   STR_ARG(*name));
        section_print(table, section, values, i == 0, out);
    }
    if (list.count == 0) {
        buf_printf(out, "#[" STR_FMT " NAME]\n", STR_ARG(kind));
        section_print(table, section, NULL, true, out);
    }
}

void config_print(const struct config_table *table, const void *result, struct buf *out)
{
    for (size_t i = 0; i < table->section_count; i++) {
        const struct setting_section *section = &table->sections[i];
        if (i)
            buf_add_char(out, '\n');
        comment_print(str_from(section->help), out);
        if (section_is_repeated(section)) {
            repeated_print(table, section, result, out);
        } else {
            buf_printf(out, "[%s]\n", section->name);
            section_print(table, section, result ? (const char *)result + section->offset : NULL,
                          true, out);
        }
    }
}
