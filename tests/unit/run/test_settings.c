/* The settings: defaults hold together, cross checks, snapshots and their references. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <netinet/in.h>
#include <sys/un.h>

#include "run/settings.h"

static void defaults(void **state UNUSED)
{
    struct buf errors = BUF_INIT(BUF_UNBOUNDED);
    assert_int_equal(settings_load("f", STR("[server]\nhost-name = mail.example.org\n"), &errors),
                     0);
    const struct settings *s = settings_ref();
    assert_int_equal(s->limits.message_size, 50 << 20);
    assert_int_equal(s->imap.idle_timeout, 30 * 60 * 1000);
    assert_string_equal(s->server.data_directory.data, "/var/lib/posthouse");
    assert_int_equal(s->listener_count, 0);
    settings_unref(&s);
    assert_null(s);
    buf_free(&errors);
}

/* Every row has an explanation that is a sentence, and its default is within its bounds. */
static void rows(void **state UNUSED)
{
    for (size_t i = 0; i < settings_table.setting_count; i++) {
        const struct setting *s = &settings_table.settings[i];
        struct str help = str_from(s->help);
        assert_true(help.len > 10 && str_ends(help, STR(".")));
        bool found = false;
        for (size_t j = 0; j < settings_table.section_count; j++)
            found = found || strcmp(settings_table.sections[j].name, s->section) == 0;
        assert_true(found);
    }
}

static void mistakes(void **state UNUSED)
{
    static const struct {
        const char *text, *error;
    } cases[] = {
        {"[server]\nhost-name = a b\n", "is no host name"},
        {"[server]\nhost-name = -a.example\n", "is no host name"},
        {"[server]\nhost-name = a\n[listener x]\nprotocol = imap\naddress = 1.2.3.4\n",
         "[listener x]: address: '1.2.3.4' has no port"},
        {"[server]\nhost-name = a\n[listener x]\nprotocol = imap\naddress = ::1:25\n",
         "'::1:25' is no address with a port"},
        {"[server]\nhost-name = a\n[listener x]\nprotocol = imap\naddress = ,\n",
         "names no address"},
        {"[server]\nhost-name = a\n[listener x]\nprotocol = imap\naddress = 1.2.3.4:5, 1.2.3.4:5\n",
         "1.2.3.4:5 is used by [listener x] already"},
        {"[server]\nhost-name = a\n[listener x]\nprotocol = imap\naddress = [::]:5\n"
         "[listener y]\nprotocol = pop3\naddress = [::]:5\n",
         "[::]:5 is used by [listener x] already"},
        {"[server]\nhost-name = a\n[listener x]\nprotocol = imap\naddress = /a\nsocket-mode = 0688\n",
         "must be octal"},
        {"[server]\nhost-name = a\n[listener x]\nprotocol = imap\naddress = /a\ntls = implicit\n",
         "needs a section [certificate NAME]"},
        {"[server]\nhost-name = a\n[limits]\nheader-size = 1M\nmessage-size = 64K\n",
         "header-size must not be larger"},
    };
    const struct settings *before = settings_ref();
    for (size_t i = 0; i < countof(cases); i++) {
        struct buf errors = BUF_INIT(BUF_UNBOUNDED);
        assert_int_equal(settings_load("f", str_from(cases[i].text), &errors), -1);
        assert_non_null(strstr(buf_c_string(&errors), cases[i].error));
        buf_free(&errors);
    }
    const struct settings *after = settings_ref();
    assert_ptr_equal(before, after); /* a wrong file changes nothing */
    settings_unref(&before);
    settings_unref(&after);
}

/* A session keeps what it began with, and its memory, when the settings change. */
static void snapshots(void **state UNUSED)
{
    struct buf errors = BUF_INIT(BUF_UNBOUNDED);
    const struct settings *old = settings_ref();
    assert_int_equal(settings_load("f", STR("[server]\nhost-name = new.example\n"), &errors), 0);
    const struct settings *new = settings_ref();
    assert_true(str_equal(old->server.host_name, STR("mail.example.org")));
    assert_true(str_equal(new->server.host_name, STR("new.example")));
    settings_unref(&old);
    settings_unref(&new);
    buf_free(&errors);
}

static void addresses(void **state UNUSED)
{
    struct sockaddr_storage a;
    socklen_t len;
    const char *why;
    assert_int_equal(settings_address(STR("127.0.0.1:25"), &a, &len, &why), 0);
    assert_int_equal(a.ss_family, AF_INET);
    assert_int_equal(ntohs(((struct sockaddr_in *)(void *)&a)->sin_port), 25);
    assert_int_equal(settings_address(STR("[::1]:65535"), &a, &len, &why), 0);
    assert_int_equal(a.ss_family, AF_INET6);
    assert_int_equal(settings_address(STR("/run/x.sock"), &a, &len, &why), 0);
    assert_string_equal(((struct sockaddr_un *)(void *)&a)->sun_path, "/run/x.sock");
    static const char *const wrong[] = {
        "",     ":",    "[::1]", "[::1]:", "[::1]:0", "1.2.3.4:65536", "x:25", "[1.2.3.4]:25",
        "]:25", "[:25", "*:25"};
    for (size_t i = 0; i < countof(wrong); i++)
        assert_int_equal(settings_address(str_from(wrong[i]), &a, &len, &why), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),  cmocka_unit_test(rows),      cmocka_unit_test(mistakes),
        cmocka_unit_test(snapshots), cmocka_unit_test(addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
