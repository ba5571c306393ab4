/* test_password.c - every kind of hash that people bring along, right, wrong and broken. */
#include "auth/password.h"
#include "unit.h"

static const struct {
    const char *hash, *password;
} vectors[] = {
    {"$y$j9T$abcdefghijklmnop$EUfgOvTaLrKx87aYb7xDnngz.JEcWbLILGShVqEeRZ1", "pencil"},
    {"{SHA512-CRYPT}$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoE"
     "OfaS35inz1",
     "Hello world!"},
    {"{SHA256-CRYPT}$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5", "Hello world!"},
    {"{BLF-CRYPT}$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U"},
    {"{ARGON2ID}$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
     "password"},
    {"{SSHA}M0YXe+4K7AXJbpIQR++HGoshE8JzYWx0c2FsdA==", "pencil"},
    {"{SSHA512}"
     "EM/40PpOwDFyRBvlEBPAPcAotwYXhUelFtA2c9wqybUh7KPyAKJRMdmih7JvDHLIZX4mudDr3ExMpxduNEz0VXNhbHRzYWx0",
     "pencil"},
    {"{PLAIN}pencil", "pencil"},
    {"{plain}pencil", "pencil"},
};

static void right_and_wrong(void **state UNUSED)
{
    for (size_t i = 0; i < countof(vectors); i++) {
        struct str hash = str_from(vectors[i].hash), password = str_from(vectors[i].password);
        struct error e;
        if (!password_fits(password, hash))
            fail_msg("%s does not fit its password", vectors[i].hash);
        assert_false(password_fits(STR("wrong"), hash));
        assert_false(password_fits(STR(""), hash));
        assert_false(password_fits(str_slice(password, 0, password.len - 1), hash));
        assert_int_equal(password_hash_check(hash, &e), 0);
    }
}

static void broken_hashes_fit_nothing(void **state UNUSED)
{
    static const char *const broken[] = {
        "",
        "{",
        "{}",
        "{NONSENSE}pencil",
        "{SSHA}",
        "{SSHA}!!!!",
        "{SSHA}cGVuY2ls",
        "{SSHA512}cGVuY2ls",
        "{SHA512-CRYPT}",
        "{SHA512-CRYPT}$6$",
        "{BLF-CRYPT}$2a$31$CCCCCCCCCCCCCCCCCCCCC.",
        "*",
        "!",
        "x",
        "{ARGON2ID}$argon2id$v=19$m=4194304000,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
    };
    for (size_t i = 0; i < countof(broken); i++)
        if (password_fits(STR("pencil"), str_from(broken[i])) ||
            password_fits(STR(""), str_from(broken[i])))
            fail_msg("'%s' fits something", broken[i]);
    struct error e;
    assert_int_equal(password_hash_check(STR("{NONSENSE}x"), &e), -1);
    /* Cut off anywhere, a hash fits no more. */
    for (size_t i = 0; i < countof(vectors) - 2; i++) {
        struct str hash = str_from(vectors[i].hash);
        for (size_t cut = hash.len > 12 ? hash.len - 12 : 0; cut < hash.len; cut++)
            assert_false(password_fits(str_from(vectors[i].password), str_slice(hash, 0, cut)));
    }
}

static void new_hashes(void **state UNUSED)
{
    struct buf once = BUF_INIT(BUF_UNBOUNDED), twice = BUF_INIT(BUF_UNBOUNDED);
    struct error e;
    assert_int_equal(password_hash(STR("p\xC3\xA4ss w\xC3\xB6rd"), &once, &e), 0);
    assert_int_equal(password_hash(STR("p\xC3\xA4ss w\xC3\xB6rd"), &twice, &e), 0);
    assert_true(str_starts(buf_str(&once), STR("$y$")));
    assert_false(str_equal(buf_str(&once), buf_str(&twice)));
    assert_true(password_fits(STR("p\xC3\xA4ss w\xC3\xB6rd"), buf_str(&once)));
    assert_true(password_is_current(buf_str(&once)));
    for (size_t i = 1; i < countof(vectors); i++)
        assert_false(password_is_current(str_from(vectors[i].hash)));
    buf_free(&once);
    buf_free(&twice);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(right_and_wrong),
                                       cmocka_unit_test(broken_hashes_fit_nothing),
                                       cmocka_unit_test(new_hashes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
