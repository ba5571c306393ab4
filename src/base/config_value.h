/* config_value.h - one setting's value from and to text; between the files of base/config. */
#ifndef BASE_CONFIG_VALUE_H
#define BASE_CONFIG_VALUE_H

#include "base/config.h"

enum { CONFIG_WHY_MAX = 240, CONFIG_NAME_MAX = 64 };

/* Parses value into its field of values (the section's struct). -1 with a sentence in why that says
 * what is wrong and what would be right. */
int setting_parse(const struct setting *s, struct str value, struct arena *arena, char *values,
                  char why[static CONFIG_WHY_MAX]);

/* Appends the field's value in the file's syntax. */
void setting_format(const struct setting *s, const char *values, struct buf *out);

static inline bool section_is_repeated(const struct setting_section *s)
{
    return str_ends(str_from(s->name), STR(" *"));
}

/* "listener" of "listener *". */
static inline struct str section_kind(const struct setting_section *s)
{
    struct str name = str_from(s->name);
    return str_slice(name, 0, name.len - (section_is_repeated(s) ? 2 : 0));
}

#endif
