/* test_password.c - hashes of every scheme that people bring along, with vectors of others, and those that
 * must fit nothing. */
#include "auth/password.h"
#include "auth/prepare.h"
#include "unit.h"

/* bcrypt's first vector is of crypt_blowfish, those of Argon2 of its reference implementation; the rest was
 * made by crypt(3) and hashlib of Python. */
static const struct {
    const char *password, *hash;
} vectors[] = {
    {"secret", "$y$j9T$abcdefgh$IUWJt2doU4Kf6E/JP1UkAT3S5O3Q7SSA8SJirXIlEu9"},
    {"secret", "{CRYPT}$y$j9T$abcdefgh$IUWJt2doU4Kf6E/JP1UkAT3S5O3Q7SSA8SJirXIlEu9"},
    {"Hello world!",
     "{SHA512-CRYPT}$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEd"
     "FCoEOfaS35inz1"},
    {"Hello world!", "{SHA256-CRYPT}$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"},
    {"Hello world!",
     "$5$rounds=10000$saltstringsaltst$3xv.VbSHBb41AL9AvLeujZkZRBAwqFMz2.opqey6IcA"},
    {"secret", "{sha256-crypt}$5$rounds=1500$saltsalt$.QN5EFjREHzaSPVbD8IpSpN3dAhUi.iLmQ7MnxmN/hB"},
    {"U*U", "{BLF-CRYPT}$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"},
    {"secret", "{BLF-CRYPT}$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a"},
    {"secret", "{MD5-CRYPT}$1$saltsalt$9xy1btjgzLYfb7hivXtC//"},
    {"password",
     "{ARGON2ID}$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"},
    {"password",
     "$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc"},
    {"secret",
     "{SSHA512}E491yrR9AdCoE7rbOPYS3EZgSuZpVE65AD9xko08s6floNesY/Zpe9zMVvLix4S2FiQSJ99RIkNvhHomNO9uL3Nh"
     "bHQ="},
    {"secret", "{SSHA256}+E+iFJ27Yu1ODPH1UNKUmzOmUT06dwfghQJRHHnMsO5zYWx0"},
    {"secret", "{SSHA}gVK8WC9YyFT1gMsQHTGCgT3sSv5zYWx0"},
    {"secret", "{ssha.b64}gVK8WC9YyFT1gMsQHTGCgT3sSv5zYWx0"},
    {"secret", "{SHA.hex}e5e9fa1ba31ecd1ae84f75caaa474f3a663f05f4"},
    {"secret", "{SHA256.HEX}2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"},
    {"secret", "{PLAIN}secret"},
    {"{odd} $y$", "{PLAIN}{odd} $y$"},
};

static void fits(void **state UNUSED)
{
    for (size_t i = 0; i < countof(vectors); i++) {
        struct str hash = str_from(vectors[i].hash), password = str_from(vectors[i].password);
        struct error e = {0};
        char other[64];
        if (!password_fits(password, hash))
            fail_msg("%s does not fit %s", vectors[i].password, vectors[i].hash);
        if (password_hash_check(hash, &e) < 0)
            fail_msg("%s: %s", vectors[i].hash, e.text);
        assert_int_equal(password_is_current(hash), i == 0);
        snprintf(other, sizeof(other), "%sx", vectors[i].password);
        assert_false(password_fits(str_from(other), hash));
        assert_false(password_fits(str_slice(password, 0, password.len - 1), hash));
        assert_false(password_fits(str_of(other, password.len + 2), hash)); /* with a NUL */
        assert_false(password_fits(STR(""), hash));
        /* Its last character but one carries bits in every form. */
        struct buf changed = BUF_INIT(1000);
        buf_add(&changed, hash);
        char *at = &changed.data[changed.len - 3];
        *at = *at == 'a' ? 'b' : 'a';
        assert_false(password_fits(password, buf_str(&changed)));
        buf_free(&changed);
    }
}

static const struct {
    const char *hash;
    enum error_class class;
} malformed[] = {
    {"", ERROR_INVALID},
    {"secret", ERROR_INVALID},
    {"{", ERROR_INVALID},
    {"{}", ERROR_INVALID},
    {"{PLAIN}", ERROR_INVALID},
    {"{PLAIN}a\nb", ERROR_INVALID},
    {"{UNKNOWN}secret", ERROR_INVALID},
    {"{SSHA}", ERROR_INVALID},
    {"{SSHA}gVK8WC9YyFT1gMsQHTGCgT3sSv5zYWx", ERROR_INVALID}, /* not base64 */
    {"{SSHA}c2hvcnQ=", ERROR_INVALID},                        /* shorter than the digest */
    {"{SHA}gVK8WC9YyFT1gMsQHTGCgT3sSv5zYWx0", ERROR_INVALID}, /* longer */
    {"{SHA.hex}e5e9fa1ba31ecd1ae84f75caaa474f3a663f05fx", ERROR_INVALID},
    {"{SHA512-CRYPT}$6$saltstring", ERROR_INVALID}, /* no hash */
    {"{SHA512-CRYPT}$6$saltstring$short", ERROR_INVALID},
    {"{BLF-CRYPT}$2a$05$CCCCCCCCCCCCCCCCCCCCC", ERROR_INVALID},
    {"$y$j9T$abcdefgh$IUWJt2doU4Kf6E", ERROR_INVALID},
    {"{CRYPT}*0aaaaaaaaaaaaaaaa", ERROR_INVALID},
    {"{ARGON2ID}secret", ERROR_INVALID},
    {"$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ", ERROR_INVALID},
    {"$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$!!!!", ERROR_INVALID},
    /* Costs nobody may bring along. */
    {"$argon2id$v=19$m=4294967295,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
     ERROR_LIMIT},
    {"$argon2id$v=19$m=256,t=4000000,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
     ERROR_LIMIT},
    {"$argon2id$v=19$m=1048576,t=2,p=100000$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
     ERROR_LIMIT},
    {"$argon2id$v=19$m=,t=,p=$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
     ERROR_LIMIT},
    {"{SHA512-CRYPT}$6$rounds=999999999$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjlO",
     ERROR_LIMIT},
    {"$5$rounds=99999999999999999999$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc8",
     ERROR_LIMIT},
    {"{BLF-CRYPT}$2a$31$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", ERROR_LIMIT},
    {"$y$jZT$abcdefgh$IUWJt2doU4Kf6E/JP1UkAT3S5O3Q7SSA8SJirXIlEu9", ERROR_LIMIT},
    {"$7$zzzzzzzzzzz$abcdefgh$IUWJt2doU4Kf6E/JP1UkAT3S5O3Q7SSA8SJirXIlEu9", ERROR_LIMIT},
};

static void malformed_fit_nothing(void **state UNUSED)
{
    for (size_t i = 0; i < countof(malformed); i++) {
        struct str hash = str_from(malformed[i].hash);
        struct error e = {0};
        if (password_hash_check(hash, &e) == 0 || e.class != malformed[i].class)
            fail_msg("\"%s\": %s", malformed[i].hash, error_class_name(e.class));
        if (!str_equal(hash, STR("{PLAIN}a\nb")))
            assert_false(password_fits(hash, hash));
        assert_false(password_fits(STR("Hello world!"), hash));
        assert_false(password_fits(STR("secret"), hash));
    }
    /* Every shorter piece of a right one. */
    for (size_t i = 0; i < countof(vectors); i++)
        for (size_t len = 0; len < strlen(vectors[i].hash); len++) {
            struct str piece = str_slice(str_from(vectors[i].hash), 0, len);
            if (password_fits(str_from(vectors[i].password), piece))
                fail_msg(STR_FMT, STR_ARG(piece));
            if (len > 60 && str_starts(piece, STR("$argon2")))
                break; /* a shorter tag is a hash too, and takes its time */
        }
}

static void makes_its_own(void **state UNUSED)
{
    static char text[PASSWORD_MAX + 1];
    struct buf one = BUF_INIT(1024), two = BUF_INIT(1024);
    struct error e;
    memset(text, 'p', sizeof(text));
    assert_int_equal(password_hash(STR("gr\xC3\xBC\xC3\x9F dich"), &one, &e), 0);
    assert_int_equal(password_hash(STR("gr\xC3\xBC\xC3\x9F dich"), &two, &e), 0);
    assert_false(str_equal(buf_str(&one), buf_str(&two))); /* salted */
    assert_true(password_is_current(buf_str(&one)));
    assert_true(password_fits(STR("gr\xC3\xBC\xC3\x9F dich"), buf_str(&one)));
    assert_true(password_fits(STR("gr\xC3\xBC\xC3\x9F dich"), buf_str(&two)));
    assert_false(password_fits(STR("gruss dich"), buf_str(&one)));
    assert_int_equal(password_hash_check(buf_str(&one), &e), 0);
    assert_int_equal(password_hash(STR(""), &two, &e), -1);
    assert_int_equal(password_hash(str_of("a\0b", 3), &two, &e), -1);
    assert_int_equal(password_hash(str_of(text, PASSWORD_MAX + 1), &two, &e), -1);
    assert_false(password_fits(str_of(text, PASSWORD_MAX + 1), buf_str(&one)));
    buf_free(&one);
    buf_free(&two);
}

/* RFC 4013 §3, and what else SASLprep does. NULL: refused. */
static const struct {
    struct str in;
    const char *out;
} prepared[] = {
    {STR_INIT("I\xC2\xADX"), "IX"},
    {STR_INIT("user"), "user"},
    {STR_INIT("USER"), "USER"},
    {STR_INIT("\xC2\xAA"), "a"},
    {STR_INIT("\xE2\x85\xA8"), "IX"},
    {STR_INIT("\x07"), NULL},
    {STR_INIT("a\xC2\xA0"
              "b"),
     "a b"},
    {STR_INIT("e\xCC\x81"), "\xC3\xA9"},
    {STR_INIT(""), NULL},
    {STR_INIT("\xC2\xAD"), NULL}, /* nothing is left */
    {STR_INIT("\xff"), NULL},
    {STR_INIT("a\0b"), NULL},
    {STR_INIT("\xEE\x80\x80"), NULL},                   /* private use */
    {STR_INIT("\xE2\x80\xAE"), NULL},                   /* changes the direction of display */
    {STR_INIT("\xED\xA0\x80"), NULL},                   /* a surrogate */
    {STR_INIT("\xF0\x9F\x98\x80"), "\xF0\x9F\x98\x80"}, /* newer than the tables of Unicode 3.2 */
};

static void prepares(void **state UNUSED)
{
    for (size_t i = 0; i < countof(prepared); i++) {
        struct buf out = BUF_INIT(100);
        int result = sasl_prepare(prepared[i].in, &out);
        if ((result == 0) != (prepared[i].out != NULL))
            fail_msg("row %zu: %d", i, result);
        if (result == 0)
            assert_str(buf_str(&out), str_from(prepared[i].out));
        buf_free(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fits),
        cmocka_unit_test(malformed_fit_nothing),
        cmocka_unit_test(makes_its_own),
        cmocka_unit_test(prepares),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
