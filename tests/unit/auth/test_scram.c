/* test_scram.c - the examples of RFC 5802 §5 and RFC 7677 §3, and messages that are none. */
#include "auth/scram.h"
#include "base/codec.h"
#include "unit.h"

static const struct {
    enum scram_hash hash;
    const char *salt, *first, *server_first, *final, *server_final;
} examples[] = {
    {SCRAM_SHA1, "QSXCR+Q6sek8bf92", "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
     "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
     "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
     "v=rmF9pqV8S7suAoZWja4dJRkFsKQ="},
    {SCRAM_SHA256, "W22ZaJ0SNY7soEsUEjb6gQ==", "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
     "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
     "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
     "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="},
};

static void examples_of_the_standards(void **state UNUSED)
{
    for (size_t i = 0; i < countof(examples); i++) {
        struct arena arena = ARENA_INIT;
        struct buf salt = BUF_INIT(100), signed_text = BUF_INIT(2000), answer = BUF_INIT(200);
        struct scram_secret secret;
        struct scram_first first;
        struct scram_final final;
        enum scram_hash hash = examples[i].hash;
        assert_int_equal(base64_decode(&salt, str_from(examples[i].salt)), 0);
        scram_derive(hash, STR("pencil"), buf_str(&salt), 4096, &secret);
        struct str stored = str_of(secret.stored_key, scram_key_len(hash));
        struct str server = str_of(secret.server_key, scram_key_len(hash));
        assert_int_equal(scram_first_parse(str_from(examples[i].first), &arena, &first), 0);
        assert_str_literal(first.name, "user");
        assert_int_equal(first.binding, 'n');
        assert_str_literal(first.gs2_header, "n,,");
        assert_int_equal(scram_final_parse(str_from(examples[i].final), &arena, &final), 0);
        assert_str_literal(final.binding, "n,,");
        buf_printf(&signed_text, STR_FMT ",%s," STR_FMT, STR_ARG(first.bare),
                   examples[i].server_first, STR_ARG(final.without_proof));
        assert_true(scram_proof_check(hash, stored, buf_str(&signed_text), final.proof));
        scram_server_final(hash, server, buf_str(&signed_text), &answer);
        assert_str(buf_str(&answer), str_from(examples[i].server_final));
        /* Another password, a changed message, a short proof: no. */
        assert_false(scram_proof_check(hash, stored, buf_str(&signed_text),
                                       str_slice(final.proof, 0, final.proof.len - 1)));
        signed_text.data[3] ^= 1;
        assert_false(scram_proof_check(hash, stored, buf_str(&signed_text), final.proof));
        signed_text.data[3] ^= 1;
        scram_derive(hash, STR("pencils"), buf_str(&salt), 4096, &secret);
        assert_false(scram_proof_check(hash, stored, buf_str(&signed_text), final.proof));
        buf_free(&salt);
        buf_free(&signed_text);
        buf_free(&answer);
        arena_free(&arena);
    }
}

static void names_and_bindings(void **state UNUSED)
{
    struct arena arena = ARENA_INIT;
    struct scram_first first;
    assert_int_equal(
        scram_first_parse(STR("p=tls-exporter,a=admin=3Dx,n=a=2Cb,r=abc"), &arena, &first), 0);
    assert_int_equal(first.binding, 'p');
    assert_str_literal(first.binding_type, "tls-exporter");
    assert_str_literal(first.authzid, "admin=x");
    assert_str_literal(first.name, "a,b");
    assert_str_literal(first.bare, "n=a=2Cb,r=abc");
    assert_int_equal(scram_first_parse(STR("y,,n=x,r=abc"), &arena, &first), 0);
    assert_int_equal(first.binding, 'y');
    arena_free(&arena);
}

static void wrong_messages(void **state UNUSED)
{
    static const char *const firsts[] = {"",
                                         "n",
                                         "n,",
                                         "n,,",
                                         "n,,n=user",
                                         "n,,r=abc",
                                         "x,,n=user,r=abc",
                                         "p=,,n=user,r=abc",
                                         "p,,n=user,r=abc",
                                         "n,,n=us=er,r=abc",
                                         "n,,n=us=2,r=a",
                                         "n,,m=x,n=user,r=abc",
                                         "n,b=x,n=user,r=abc",
                                         "n,,n=,r=abc",
                                         "n,,n=user,r="};
    static const char *const finals[] = {"",
                                         "c=biws",
                                         "c=biws,r=abc",
                                         "r=abc,c=biws,p=YQ==",
                                         "c=!!,r=abc,p=YQ==",
                                         "c=biws,r=abc,p=!!",
                                         "c=biws,r=,p=YQ==",
                                         "c=biws,p=YQ=="};
    struct arena arena = ARENA_INIT;
    struct scram_first first;
    struct scram_final final;
    for (size_t i = 0; i < countof(firsts); i++)
        if (scram_first_parse(str_from(firsts[i]), &arena, &first) == 0)
            fail_msg("'%s' was taken", firsts[i]);
    for (size_t i = 0; i < countof(finals); i++)
        if (scram_final_parse(str_from(finals[i]), &arena, &final) == 0)
            fail_msg("'%s' was taken", finals[i]);
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(examples_of_the_standards),
                                       cmocka_unit_test(names_and_bindings),
                                       cmocka_unit_test(wrong_messages)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
