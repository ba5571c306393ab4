/* test_queue_crash.c - kill -9 at any instant, many times over: what was accepted is delivered, once. */
#include <signal.h>
#include <sys/wait.h>

#include "delivery/post.h"

enum { ROUNDS = 40, ACCEPTS = 30 };

/* Opens everything, takes messages in, tells each acceptance, and delivers until it is killed. */
static void NORETURN child(int round, int told)
{
    struct error e;
    post_open(PROCESS_MX);
    if (queue_start(post_directory, &e) < 0)
        _exit(1);
    struct post_message m = post_message("crash", 3000);
    const char *to[] = {"both@example.test", "carol@example.test"};
    for (int i = 0; i < ACCEPTS; i++) {
        char id[16] = "";
        snprintf(id, sizeof(id), "C%d-%d", round, i);
        if (post_accept(&m, id, to, 2, &e) < 0 || write(told, id, sizeof(id)) != sizeof(id))
            _exit(1);
    }
    for (;;)
        pause();
}

static unsigned round_run(int round)
{
    int ends[2];
    unsigned told = 0;
    char id[16];
    uint32_t noise;
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        child(round, ends[1]);
    close(ends[1]);
    random_bytes(&noise, sizeof(noise));
    usleep(noise % 60000);
    kill(pid, SIGKILL);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status)); /* it did not fail by itself */
    while (read(ends[0], id, sizeof(id)) == sizeof(id))
        told++;
    close(ends[0]);
    return told;
}

static void accepted_is_delivered_once(void **state UNUSED)
{
    struct error e;
    unsigned told = 0;
    post_directory_make();
    ipc_loopback(PROCESS_CORE, PROCESS_MX);
    assert_int_equal(directory_open(post_directory, &e), 0);
    post_domain();
    uint64_t ids[] = {post_account("alice@example.test", 0), post_account("bob@example.test", 0),
                      post_account("carol@example.test", 0)};
    struct str both[] = {STR("alice@example.test"), STR("bob@example.test")};
    assert_int_equal(directory_alias_add(STR("both@example.test"), both, 2, &e), 0);
    directory_close(); /* no database may be open over fork */
    for (int round = 0; round < ROUNDS; round++)
        told += round_run(round);
    post_open(PROCESS_MX);
    assert_int_equal(queue_start(post_directory, &e), 0);
    uint64_t messages = 1, recipients = 1, bytes;
    for (int i = 0; i < 3000 && recipients; i++) {
        assert_int_equal(queue_counts(&messages, &recipients, &bytes, &e), 0);
        usleep(10 * 1000);
    }
    assert_int_equal(recipients, 0);
    assert_int_equal(messages, 0);
    /* At most one per round was accepted without being told: all three have the same number then. */
    uint64_t each = post_count(ids[0], "INBOX");
    print_message("%u accepted over %d crashes, %llu delivered\n", told, ROUNDS,
                  (unsigned long long)each);
    assert_true(each >= told && each <= told + ROUNDS);
    assert_int_equal(post_count(ids[1], "INBOX"), each);
    assert_int_equal(post_count(ids[2], "INBOX"), each);
    queue_stop();
    post_close();
    post_directory_remove();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(accepted_is_delivered_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
