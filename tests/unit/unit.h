/* unit.h - what every unit test includes: cmocka, and a few comparisons that print both sides.
 */
#ifndef TESTS_UNIT_H
#define TESTS_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/str.h"

/* Compares bytes; prints both when they differ. */
#define assert_str(got, expected)                                                    \
    do {                                                                             \
        struct str got_ = (got), expected_ = (expected);                             \
        if (!str_equal(got_, expected_))                                             \
            fail_msg("got \"" STR_FMT "\", expected \"" STR_FMT "\"", STR_ARG(got_), \
                     STR_ARG(expected_));                                            \
    } while (0)
#define assert_str_literal(got, literal) assert_str(got, STR(literal))

#endif
