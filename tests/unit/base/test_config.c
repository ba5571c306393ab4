/* The configuration file: values, defaults, and every kind of mistake with its line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/config.h"

struct port {
    struct str name;
    struct str networks;
    uint64_t size;
};
struct sample {
    struct {
        bool on;
        uint64_t count, size, time;
        struct str text, path, list;
        int choice;
    } main;
    const struct port *ports;
    size_t port_count;
};

#define MAIN(field) (offsetof(struct sample, main.field) - offsetof(struct sample, main))
static const struct setting_section sections[] = {
    {"main", offsetof(struct sample, main), sizeof(((struct sample *)NULL)->main),
     "The main thing."},
    {"port *", offsetof(struct sample, ports), sizeof(struct port), "One per port."},
};
static const struct setting settings[] = {
    {"main", "on", SETTING_BOOL, MAIN(on), "yes", 0, 0, NULL, "Whether."},
    {"main", "count", SETTING_COUNT, MAIN(count), "3", 1, 10, NULL, "How many."},
    {"main", "size", SETTING_SIZE, MAIN(size), "64K", 1, 0, NULL, "How large."},
    {"main", "time", SETTING_TIME, MAIN(time), "90s", 0, 3600000, NULL, "How long."},
    {"main", "text", SETTING_TEXT, MAIN(text), NULL, 1, 8, NULL, "What."},
    {"main", "path", SETTING_PATH, MAIN(path), "/tmp", 1, 0, NULL, "Where."},
    {"main", "list", SETTING_LIST, MAIN(list), "", 0, 0, NULL, "Which."},
    {"main", "choice", SETTING_CHOICE, MAIN(choice), "green", 0, 0, "red,green,blue", "Colour."},
    {"port *", "networks", SETTING_NETWORKS, offsetof(struct port, networks), "", 0, 0, NULL,
     "Who."},
    {"port *", "size", SETTING_SIZE, offsetof(struct port, size), NULL, 0, 0, NULL, "How large."},
};
static const struct config_table table = {sections, countof(sections), settings, countof(settings)};

static int parse(const char *text, struct sample *out, struct arena *arena, struct buf *errors)
{
    memset(out, 0, sizeof(*out));
    buf_init(errors, BUF_UNBOUNDED);
    return config_parse(&table, "f", str_from(text), arena, out, errors);
}

static void values_and_defaults(void **state UNUSED)
{
    struct sample s;
    struct arena arena = ARENA_INIT;
    struct buf errors;
    assert_int_equal(parse("\xef\xbb\xbf# a comment\r\n"
                           "[main]\n"
                           "  text = a = b \n"
                           "size=2g\ntime = 1h\nlist = a, ,b\nchoice = Blue\non = no\n"
                           "[port x]\nsize = 0\nnetworks = 10.0.0.0/8, ::1\n"
                           "[ port  y.z ]\nsize = 5",
                           &s, &arena, &errors),
                     0);
    assert_int_equal(errors.len, 0);
    assert_true(str_equal(s.main.text, STR("a = b")));
    assert_int_equal(s.main.size, 2ull << 30);
    assert_int_equal(s.main.time, 3600000);
    assert_int_equal(s.main.count, 3);
    assert_false(s.main.on);
    assert_int_equal(s.main.choice, 2);
    assert_string_equal(s.main.path.data, "/tmp");
    assert_int_equal(s.port_count, 2);
    assert_true(str_equal(s.ports[1].name, STR("y.z")));
    assert_int_equal(s.ports[1].size, 5);
    struct str rest = s.main.list, entry;
    assert_true(list_next(&rest, &entry) && str_equal(entry, STR("a")));
    assert_true(list_next(&rest, &entry) && str_equal(entry, STR("b")));
    assert_false(list_next(&rest, &entry));
    buf_free(&errors);
    arena_free(&arena);
}

/* Each text gives exactly these errors. */
static void mistakes(void **state UNUSED)
{
    static const struct {
        const char *text, *errors;
    } rows[] = {
        {"", "f: 'text' is missing in section [main]; it must be given\n"},
        {"[main]\n", "f:1: 'text' is missing in this section; it must be given\n"},
        {"[main]\ntext=x\nconut = 3\nnothing-like-it = 1\n",
         "f:3: there is no setting 'conut' in section [main]; did you mean 'count'?\n"
         "f:4: there is no setting 'nothing-like-it' in section [main]; see posthouse config "
         "--defaults\n"},
        {"[mian]\ntext=x\n[main]\ntext=x\n",
         "f:1: there is no section [mian]; did you mean [main]?\n"},
        {"[elsewhere]\n[main]\ntext=x\n",
         "f:1: there is no section [elsewhere]; see posthouse config --defaults\n"},
        {"text = x\n[main]\ntext=x\n",
         "f:1: 'text' stands before the first section header, such as [server]\n"},
        {"[main\ntext=x\n[main]\ntext=x\n",
         "f:1: a section header ends with ']', as in [server]\n"},
        {"[main]\ntext=x\ntext=y\n", "f:3: 'text' was given at line 2 already\n"},
        {"[main]\ntext=x\n[main]\non=no\n",
         "f:3: section [main] was begun at line 1 already; put them together\n"},
        {"[main x]\n[main]\ntext=x\n", "f:1: section [main] has no name behind it\n"},
        {"[main]\ntext=x\nwhat\n", "f:3: expected 'key = value', '[section]' or '# comment'\n"},
        {"[main]\ntext=\n", "f:2: text: must not be empty\n"},
        {"[main]\ntext=123456789\n", "f:2: text: must have at most 8 characters\n"},
        {"[main]\ntext=\x01\ntext=x\n", "f:2: the line holds a control character\n"},
        {"[main]\ntext=\xff\ntext=x\n", "f:2: the line is not UTF-8 text\n"},
        {"[main]\ntext=x\ncount=0\n", "f:3: count: must be from 1 to 10\n"},
        {"[main]\ntext=x\ncount=-1\n", "f:3: count: expected a number\n"},
        {"[main]\ntext=x\nsize=99999999999999T\n", "f:3: size: must be at least 1\n"},
        {"[main]\ntext=x\nsize=1X\n", "f:3: size: expected a size, such as 512K, 50M or 2G\n"},
        {"[main]\ntext=x\ntime=5\n",
         "f:3: time: expected a time with its unit, such as 500ms, 30s, 5m, 2h or 7d\n"},
        {"[main]\ntext=x\ntime=2h\n", "f:3: time: must be from 0 to 1h\n"},
        {"[main]\ntext=x\non=maybe\n", "f:3: on: must be yes or no\n"},
        {"[main]\ntext=x\nchoice=pink\n", "f:3: choice: must be one of: red,green,blue\n"},
        {"[main]\ntext=x\npath=tmp\n", "f:3: path: must be an absolute path, beginning with '/'\n"},
        {"[main]\ntext=x\n[port]\n",
         "f:3: a section [port ...] needs a name of letters, digits, '-', '_' and '.', as in [port "
         "main]\n"},
        {"[main]\ntext=x\n[port a]\nsize=1\n[port A]\nsize=1\n",
         "f:5: there is a section [port A] already\n"},
        {"[main]\ntext=x\n[port a]\n",
         "f:3: 'size' is missing in this section; it must be given\n"},
        {"[main]\ntext=x\n[port a]\nsize=1\ncount=2\n",
         "f:5: 'count' belongs into section [main], not [port *]\n"},
        {"[main]\ntext=x\n[port a]\nsize=1\nnetworks=10.0.0.1/8\n",
         "f:5: networks: '10.0.0.1/8' has bits set behind its prefix length; write for example "
         "192.0.2.0/24 or 2001:db8::/32\n"},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct sample s;
        struct arena arena = ARENA_INIT;
        struct buf errors;
        assert_int_equal(parse(rows[i].text, &s, &arena, &errors), -1);
        assert_string_equal(buf_c_string(&errors), rows[i].errors);
        buf_free(&errors);
        arena_free(&arena);
    }
}

static void errors_are_bounded(void **state UNUSED)
{
    struct buf text = BUF_INIT(BUF_UNBOUNDED);
    for (int i = 0; i < 5000; i++)
        buf_add_literal(&text, "[x]\n");
    struct sample s;
    struct arena arena = ARENA_INIT;
    struct buf errors;
    assert_int_equal(parse(buf_c_string(&text), &s, &arena, &errors), -1);
    size_t lines = 0;
    for (size_t i = 0; i < errors.len; i++)
        lines += errors.data[i] == '\n';
    assert_int_equal(lines, CONFIG_ERRORS_MAX + 1);
    assert_true(str_ends(buf_str(&errors), STR("f: ... and 4901 more errors\n")));
    buf_free(&errors);
    buf_free(&text);
    arena_free(&arena);
}

/* What is printed says everything, and reads back to the same values. */
static void printing(void **state UNUSED)
{
    struct sample s, again;
    struct arena arena = ARENA_INIT;
    struct buf errors, out = BUF_INIT(BUF_UNBOUNDED), out_again = BUF_INIT(BUF_UNBOUNDED);
    assert_int_equal(parse("[main]\ntext = T\nsize = 3M\ntime = 1500ms\nchoice=red\n"
                           "[port one]\nsize = 5K\n[port two]\nsize = 1\nnetworks = ::1\n",
                           &s, &arena, &errors),
                     0);
    config_print(&table, &s, &out);
    struct str text = buf_str(&out);
    static const char *const parts[] = {"# The main thing.\n[main]\n",
                                        "\nsize = 3M\n",
                                        "\ntime = 1500ms\n",
                                        "\nchoice = red\n",
                                        "\nlist =\n",
                                        "# Colour. One of: red,green,blue. Default: green.\n",
                                        "[port one]\n",
                                        "\n[port two]\nnetworks = ::1\nsize = 1\n"};
    for (size_t i = 0; i < countof(parts); i++)
        assert_true(str_find(text, str_from(parts[i])) < text.len);
    assert_int_equal(parse(buf_c_string(&out), &again, &arena, &errors), 0);
    config_print(&table, &again, &out_again);
    assert_true(str_equal(buf_str(&out), buf_str(&out_again)));

    buf_reset(&out);
    config_print(&table, NULL, &out);
    text = buf_str(&out);
    assert_true(str_find(text, STR("\n#size = 64K\n")) < text.len);
    assert_true(str_find(text, STR("\n#[port NAME]\n")) < text.len);
    assert_true(str_find(text, STR("What. Must be given.\n#text =\n")) < text.len);
    buf_free(&errors);
    buf_free(&out);
    buf_free(&out_again);
    arena_free(&arena);
}

static void networks(void **state UNUSED)
{
    static const struct {
        const char *networks, *address;
        bool inside;
    } rows[] = {
        {"192.0.2.0/24", "192.0.2.255", true},
        {"192.0.2.0/24", "192.0.3.0", false},
        {"192.0.2.0/24", "::ffff:192.0.2.1", true},
        {"10.0.0.0/8, 192.0.2.7", "192.0.2.7", true},
        {"192.0.2.6/31", "192.0.2.7", true},
        {"192.0.2.6/31", "192.0.2.8", false},
        {"0.0.0.0/0", "8.8.8.8", true},
        {"0.0.0.0/0", "2001:db8::1", false},
        {"::/0", "2001:db8::1", true},
        {"2001:db8::/33", "2001:db8:7fff::1", true},
        {"2001:db8::/33", "2001:db8:8000::1", false},
        {"", "127.0.0.1", false},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
        struct sockaddr_in v4 = {.sin_family = AF_INET};
        bool inside;
        if (inet_pton(AF_INET, rows[i].address, &v4.sin_addr) == 1) {
            inside = networks_contain(str_from(rows[i].networks), &v4, sizeof(v4));
        } else {
            assert_int_equal(inet_pton(AF_INET6, rows[i].address, &v6.sin6_addr), 1);
            inside = networks_contain(str_from(rows[i].networks), &v6, sizeof(v6));
        }
        assert_int_equal(inside, rows[i].inside);
    }
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    assert_false(networks_contain(STR("0.0.0.0/0, ::/0"), &local, sizeof(local)));
    const char *why;
    static const char *const wrong[] = {"192.0.2.0/33", "192.0.2",    "::/129",
                                        "::1/127",      "a",          "1.2.3.4/",
                                        "192.0.2.1/24", "1.2.3.4/8/8"};
    for (size_t i = 0; i < countof(wrong); i++)
        assert_int_equal(network_check(str_from(wrong[i]), &why), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_and_defaults),
        cmocka_unit_test(mistakes),
        cmocka_unit_test(errors_are_bounded),
        cmocka_unit_test(printing),
        cmocka_unit_test(networks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
