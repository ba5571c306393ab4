/* test_scram.c - the arithmetic of SCRAM with the examples of the RFCs, and its messages. */
#include "auth/scram.h"
#include "base/codec.h"
#include "unit.h"

static struct arena arena;

static struct str decode(const char *base64)
{
    struct buf out = BUF_INIT(1000);
    assert_int_equal(base64_decode(&out, str_from(base64)), 0);
    struct str copy = arena_copy(&arena, buf_str(&out));
    buf_free(&out);
    return copy;
}

/* RFC 5802 §5, RFC 7677 §3: user "user", password "pencil". */
static const struct {
    enum scram_hash hash;
    const char *client_first, *server_first, *client_final, *server_final, *salt;
} examples[] = {
    {SCRAM_SHA1, "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
     "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
     "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
     "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=", "QSXCR+Q6sek8bf92"},
    {SCRAM_SHA256, "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
     "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
     "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
     "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", "W22ZaJ0SNY7soEsUEjb6gQ=="},
};

static void examples_of_the_rfcs(void **state UNUSED)
{
    for (size_t i = 0; i < countof(examples); i++) {
        enum scram_hash hash = examples[i].hash;
        struct scram_secret secret, other;
        struct scram_first first;
        struct scram_final final;
        struct buf answer = BUF_INIT(200);
        assert_int_equal(scram_first_parse(str_from(examples[i].client_first), &arena, &first), 0);
        assert_int_equal(scram_final_parse(str_from(examples[i].client_final), &arena, &final), 0);
        assert_int_equal(first.binding, 'n');
        assert_str_literal(first.name, "user");
        assert_str_literal(first.gs2_header, "n,,");
        assert_str_literal(final.binding, "n,,");
        assert_true(str_starts(final.nonce, first.nonce));
        struct str text = arena_printf(&arena, STR_FMT ",%s," STR_FMT, STR_ARG(first.bare),
                                       examples[i].server_first, STR_ARG(final.without_proof));
        scram_derive(hash, STR("pencil"), decode(examples[i].salt), 4096, &secret);
        struct str stored = str_of(secret.stored_key, scram_key_len(hash)),
                   server = str_of(secret.server_key, scram_key_len(hash));
        assert_true(scram_proof_check(hash, stored, text, final.proof));
        scram_server_final(hash, server, text, &answer);
        assert_str(buf_str(&answer), str_from(examples[i].server_final));

        assert_false(scram_proof_check(hash, stored, str_from_pos(text, 1), final.proof));
        assert_false(scram_proof_check(hash, server, text, final.proof));
        assert_false(
            scram_proof_check(hash, stored, text, str_slice(final.proof, 0, final.proof.len - 1)));
        assert_false(scram_proof_check(hash, stored, text, STR("")));
        assert_false(scram_proof_check(hash == SCRAM_SHA1 ? SCRAM_SHA256 : SCRAM_SHA1, stored, text,
                                       final.proof));
        char *changed = arena_c_string(&arena, final.proof);
        changed[0] ^= 1;
        assert_false(scram_proof_check(hash, stored, text, str_of(changed, final.proof.len)));
        scram_derive(hash, STR("pencil2"), decode(examples[i].salt), 4096, &other);
        assert_false(scram_proof_check(hash, str_of(other.stored_key, scram_key_len(hash)), text,
                                       final.proof));
        scram_derive(hash, STR("pencil"), decode(examples[i].salt), 4097, &other);
        assert_false(scram_proof_check(hash, str_of(other.stored_key, scram_key_len(hash)), text,
                                       final.proof));
        buf_free(&answer);
    }
    arena_free(&arena);
}

static void first_messages(void **state UNUSED)
{
    static const struct {
        const char *text;
        char binding;
        const char *type, *authzid, *name, *nonce, *header;
    } good[] = {
        {"n,,n=user,r=abc", 'n', "", "", "user", "abc", "n,,"},
        {"y,,n=user,r=abc", 'y', "", "", "user", "abc", "y,,"},
        {"p=tls-exporter,,n=u,r=abc", 'p', "tls-exporter", "", "u", "abc", "p=tls-exporter,,"},
        {"n,a=other,n=u,r=abc", 'n', "", "other", "u", "abc", "n,a=other,"},
        {"n,,n=a=2Cb=3Dc,r=!~", 'n', "", "", "a,b=c", "!~", "n,,"},
        {"n,,n=u,r=abc,x=ignored,y=too", 'n', "", "", "u", "abc", "n,,"},
        {"n,,n=j\xC3\xB6rg,r=abc", 'n', "", "", "j\xC3\xB6rg", "abc", "n,,"},
    };
    static const char *const bad[] = {
        "",
        "n",
        "n,",
        "n,,",
        ",,",
        "n,,n=u",
        "n,,n=u,",
        "n,,r=abc,n=u",
        "n,,n=,r=abc",
        "n,,n=u,r=",
        "n,,n=u,r=a b",
        "n,,n=u,r=a\x7f",
        "n,,n=a=2cb,r=abc",
        "n,,n=a=,r=abc",
        "n,,n=a=2,r=abc",
        "n,,n==,r=abc",
        "n,,n=\xff,r=abc",
        "n,,m=x,n=u,r=abc",
        "n,,n=u,r=abc,m=x",
        "n,,n=u,r=abc,=x",
        "n,,n=u,r=abc,x",
        "x,,n=u,r=abc",
        "nn,,n=u,r=abc",
        "p,,n=u,r=abc",
        "p=,,n=u,r=abc",
        "p=a b,,n=u,r=abc",
        "p=tls_x,,n=u,r=abc",
        "n,b=x,n=u,r=abc",
        "n,a=,n=u,r=abc",
        "n,x,n=u,r=abc",
        "n=u,r=abc",
    };
    struct scram_first out;
    for (size_t i = 0; i < countof(good); i++) {
        if (scram_first_parse(str_from(good[i].text), &arena, &out) < 0)
            fail_msg("refused: %s", good[i].text);
        assert_int_equal(out.binding, good[i].binding);
        assert_str(out.binding_type, str_from(good[i].type));
        assert_str(out.authzid, str_from(good[i].authzid));
        assert_str(out.name, str_from(good[i].name));
        assert_str(out.nonce, str_from(good[i].nonce));
        assert_str(out.gs2_header, str_from(good[i].header));
        assert_str(out.bare, str_from(good[i].text + strlen(good[i].header)));
    }
    for (size_t i = 0; i < countof(bad); i++)
        if (scram_first_parse(str_from(bad[i]), &arena, &out) == 0)
            fail_msg("taken: %s", bad[i]);
    assert_int_equal(scram_first_parse(str_of("n,,n=a\0b,r=abc", 14), &arena, &out), -1);
    struct buf text = BUF_INIT(1000);
    buf_add_literal(&text, "n,,n=u,r=");
    for (int i = 0; i < SCRAM_NONCE_MAX; i++)
        buf_add_char(&text, 'r');
    assert_int_equal(scram_first_parse(buf_str(&text), &arena, &out), 0);
    buf_add_char(&text, 'r');
    assert_int_equal(scram_first_parse(buf_str(&text), &arena, &out), -1);
    buf_free(&text);
    arena_free(&arena);
}

static void final_messages(void **state UNUSED)
{
    static const char *const bad[] = {
        "",
        "c=biws",
        "c=biws,r=abc",
        "c=biws,r=abc,",
        "c=biws,r=abc,p=",
        "c=biws,r=abc,p=!!!!",
        "c=biws,r=abc,p=YQ",
        "c=biw,r=abc,p=YQ==",
        "c=,r=abc,p=YQ==",
        "r=abc,c=biws,p=YQ==",
        "c=biws,p=YQ==",
        "c=biws,r=,p=YQ==",
        "c=biws,r=abc,p=YQ==,x=y",
        "c=biws,r=abc,m=x,p=YQ==",
        "c=biws,r=a\tb,p=YQ==",
        "p=YQ==",
    };
    struct scram_final out;
    assert_int_equal(scram_final_parse(STR("c=biws,r=abc,x=ignored,p=YQ=="), &arena, &out), 0);
    assert_str_literal(out.binding, "n,,");
    assert_str_literal(out.nonce, "abc");
    assert_str_literal(out.proof, "a");
    assert_str_literal(out.without_proof, "c=biws,r=abc,x=ignored");
    for (size_t i = 0; i < countof(bad); i++)
        if (scram_final_parse(str_from(bad[i]), &arena, &out) == 0)
            fail_msg("taken: %s", bad[i]);
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(examples_of_the_rfcs),
        cmocka_unit_test(first_messages),
        cmocka_unit_test(final_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
